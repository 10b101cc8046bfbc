//! The settings of a group.

use mailrail_broker::limits::DELAY_MS_MAX;
use mailrail_broker::{GroupSettings, Order};

use crate::problem::{Kind, Refusal};
use crate::schema::group::{GroupRequest, OrderName};

/// The settings a group should have: what the request says, else what it has, else the defaults.
pub(crate) fn group_settings(
    request: GroupRequest,
    found: Option<&GroupSettings>,
    name: &str,
) -> Result<GroupSettings, Refusal> {
    let mut settings = found.cloned().unwrap_or_else(|| GroupSettings::rocketmq(name));
    if let Some(max_attempts) = request.max_attempts {
        if max_attempts == Some(0) {
            return Err(Refusal::invalid("max_attempts counts the first delivery too, so it is at least 1"));
        }
        // The core counts failures, which the last delivery adds one to.
        settings.attempts_max = max_attempts.map(|max| max - 1);
    }
    if let Some(backoff_ms) = request.backoff_ms {
        if let Some(step) = backoff_ms.iter().find(|step| **step > DELAY_MS_MAX) {
            let detail = format!("a backoff of {step} ms is too long; at most {DELAY_MS_MAX} are allowed");
            return Err(Refusal::new(Kind::LimitExceeded, detail));
        }
        settings.backoff_ms = backoff_ms;
    }
    if let Some(dead_letter) = request.dead_letter {
        settings.dead_letter = dead_letter;
    }
    if let Some(order) = request.order {
        settings.turns.order = match order {
            OrderName::Any => Order::Any,
            OrderName::Queue => Order::Queue,
            OrderName::OrderingKey => Order::Key,
        };
    }
    settings.turns.single_active = request.single_active.unwrap_or(settings.turns.single_active);
    Ok(settings)
}
