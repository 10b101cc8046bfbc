//! `mailrail check`: says what the data folder of a stopped broker holds, or where it is damaged.

use mailrail_broker::{CheckReport, Checked};
use serde_json::json;

use crate::client::say;
use crate::config::CheckFlags;

/// Says on standard output what was found. The error is the one line of data that is damaged, missing or in use.
pub fn run(flags: &CheckFlags) -> Result<(), String> {
    let report = mailrail_broker::check(&flags.data).map_err(|error| error.to_string())?;
    say(&if flags.json { as_json(&report) } else { as_text(&report, "the next start cuts that off") });
    Ok(())
}

/// What a check found in the log.
pub fn log_as_json(log: &Checked) -> serde_json::Value {
    let cut =
        log.cut.as_ref().map(|cut| json!({"position": cut.position, "bytes": cut.bytes, "what": cut.what}));
    json!({"segments": log.segments, "kept_files": log.kept_files, "groups": log.groups, "start": log.start, "end": log.end, "torn_tail": cut})
}

fn as_json(report: &CheckReport) -> String {
    json!({
        "log": log_as_json(&report.log),
        "messages": report.messages,
        "queues": report.queues,
        "waiting": report.waiting,
        "changes": report.changes,
    })
    .to_string()
}

/// What a check found, and in these words what becomes of a torn tail.
pub fn as_text(report: &CheckReport, of_tail: &str) -> String {
    let log = &report.log;
    let tail = match &log.cut {
        None => "nothing behind it".to_owned(),
        Some(cut) => {
            format!("behind it {cut}; {of_tail}, it was never acknowledged as synced")
        }
    };
    format!(
        "whole: {} segments with {} groups, {} kept files, log positions {} to {}, {tail}\n\
         {} messages in {} queues, {} stored for a later time, {} other changes",
        log.segments,
        log.groups,
        log.kept_files,
        log.start,
        log.end,
        report.messages,
        report.queues,
        report.waiting,
        report.changes
    )
}
