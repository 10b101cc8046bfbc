//! `mailrail check`: says what the data folder of a stopped broker holds, or where it is damaged.

use std::io::Write;

use mailrail_broker::CheckReport;
use serde_json::json;

use crate::config::CheckFlags;

/// Says on standard output what was found. The error is the one line of data that is damaged, missing or in use.
pub fn run(flags: &CheckFlags) -> Result<(), String> {
    let report = mailrail_broker::check(&flags.data).map_err(|error| error.to_string())?;
    let text = if flags.json { as_json(&report) } else { as_text(&report) };
    // Whoever closed the pipe has the exit code.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}

fn as_json(report: &CheckReport) -> String {
    let log = &report.log;
    let cut =
        log.cut.as_ref().map(|cut| json!({"position": cut.position, "bytes": cut.bytes, "what": cut.what}));
    json!({
        "log": {"segments": log.segments, "kept_files": log.kept_files, "groups": log.groups, "start": log.start, "end": log.end, "torn_tail": cut},
        "messages": report.messages,
        "queues": report.queues,
        "waiting": report.waiting,
        "changes": report.changes,
    })
    .to_string()
}

fn as_text(report: &CheckReport) -> String {
    let log = &report.log;
    let tail = match &log.cut {
        None => "nothing behind it".to_owned(),
        Some(cut) => {
            format!("behind it {cut}; the next start cuts that off, it was never acknowledged as synced")
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
