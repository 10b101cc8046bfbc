//! `mailrail repair`: rebuilds what a stopped broker has derived from its log, and says what it found and did.

use std::sync::Arc;

use mailrail_broker::{BrokerConfig, RepairReport};
use serde_json::json;

use crate::check::{self, log_as_json};
use crate::client::say;
use crate::clock::{SystemClock, boot_id};
use crate::config::RepairFlags;

/// Says on standard output what was done. The error is the one line of why nothing was, or of what is in the way.
pub fn run(flags: &RepairFlags) -> Result<(), String> {
    let config = BrokerConfig::new(&flags.data, Arc::new(SystemClock::start()), boot_id());
    let report = mailrail_broker::repair(config).map_err(|error| error.to_string())?;
    say(&if flags.json { as_json(&report) } else { as_text(&report) });
    Ok(())
}

fn as_json(report: &RepairReport) -> String {
    let left_over: Vec<_> =
        report.left_over.iter().map(|(path, bytes)| json!({"path": path, "bytes": bytes})).collect();
    json!({
        "log": log_as_json(&report.found.log),
        "messages": report.found.messages,
        "waiting": report.found.waiting,
        "topics": report.topics,
        "queues": report.queues,
        "groups": report.groups,
        "exchanges": report.exchanges,
        "set_aside": report.set_aside,
        "left_over": left_over,
    })
    .to_string()
}

fn as_text(report: &RepairReport) -> String {
    let aside = match &report.set_aside {
        Some(to) => format!("the store that was there is in {}", to.display()),
        None => "there was no store".to_owned(),
    };
    let mut text = format!(
        "{}\nrebuilt: {} topics with {} queues, {} groups, {} exchanges; {aside}",
        check::as_text(&report.found, "it was cut off"),
        report.topics,
        report.queues,
        report.groups,
        report.exchanges,
    );
    for (path, bytes) in &report.left_over {
        text +=
            &format!("\nset aside earlier, may be removed: {}, {} KiB", path.display(), bytes.div_ceil(1024));
    }
    text
}
