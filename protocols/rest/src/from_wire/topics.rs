//! The settings of a topic.

use std::collections::BTreeMap;

use mailrail_broker::{
    COMPACTION_LAG_MS, DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY, DEAD_LETTER_TOPIC, DEDUPLICATION_WINDOW_MS,
    Durability, EXPIRES_MS, LENGTH_BYTES_MAX, LENGTH_MAX, Lifetime, MESSAGE_TTL_MS, OVERFLOW, Overflow,
    PRIORITY_MAX, Retention, TOMBSTONE_MS, TRACE_SAMPLE, TopicSettings, lite,
};

use crate::schema::publish::DurabilityName;
use crate::schema::topic::{LifetimeRequest, OverflowName, RetentionName, TopicRequest};

/// The settings a topic should have: what the request says, else what it has, else the defaults.
pub(crate) fn topic_settings(
    request: &TopicRequest,
    found: Option<&TopicSettings>,
    default_queues: u32,
) -> TopicSettings {
    let defaults = TopicSettings { queues: default_queues, ..TopicSettings::default() };
    let base = found.unwrap_or(&defaults).clone();
    TopicSettings {
        queues: request.queues.unwrap_or(base.queues),
        retention: request.retention.map_or(base.retention, |retention| match retention {
            RetentionName::UntilSettled => Retention::UntilSettled,
            RetentionName::TimeSize => Retention::TimeSize,
            RetentionName::Compacted => Retention::Compacted,
        }),
        durability: request.durability.map_or(base.durability, |durability| match durability {
            DurabilityName::Memory => Durability::Memory,
            DurabilityName::Disk => Durability::Disk,
        }),
        lifetime: request.lifetime.map_or(base.lifetime, |lifetime| match lifetime {
            LifetimeRequest::Durable => Lifetime::Durable,
            LifetimeRequest::Transient => Lifetime::Transient,
        }),
        attributes: policy_attributes(request, base.attributes),
        ..base
    }
}

/// Adds what a request says to what the topic has.
fn policy_attributes(
    request: &TopicRequest,
    mut attributes: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    if request.dead_letter.is_some() {
        // One target takes the place of another as a whole.
        attributes.retain(|name, _| {
            ![DEAD_LETTER_TOPIC, DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY].contains(&name.as_str())
        });
    }
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    let overflow = request.overflow.map(|overflow| match overflow {
        OverflowName::DropHead => Overflow::DropHead,
        OverflowName::RejectPublish => Overflow::Reject,
        OverflowName::RejectPublishDlx => Overflow::RejectToDeadLetter,
    });
    let to = request.dead_letter.as_ref();
    let said = [
        (MESSAGE_TTL_MS, number(request.message_ttl_ms)),
        (EXPIRES_MS, number(request.expires_ms)),
        (LENGTH_MAX, number(request.length_max)),
        (LENGTH_BYTES_MAX, number(request.length_bytes_max)),
        (OVERFLOW, overflow.map(|overflow| overflow.name().to_owned())),
        (COMPACTION_LAG_MS, number(request.compaction_lag_ms)),
        (TOMBSTONE_MS, number(request.tombstone_ms)),
        (lite::LITE, request.lite.map(|lite| lite.to_string())),
        (lite::LITE_EXPIRES_MS, number(request.lite_expires_ms)),
        (PRIORITY_MAX, number(request.priority_max.map(u64::from))),
        (TRACE_SAMPLE, number(request.trace_sample)),
        (DEDUPLICATION_WINDOW_MS, number(request.deduplication_window_ms)),
        (DEAD_LETTER_TOPIC, to.and_then(|to| to.topic.clone())),
        (DEAD_LETTER_EXCHANGE, to.and_then(|to| to.exchange.clone())),
        (DEAD_LETTER_KEY, to.and_then(|to| to.key.clone())),
    ];
    attributes.extend(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    attributes
}
