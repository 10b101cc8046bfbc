//! `mailrail restore`: makes a data folder of a backup, and says what it holds.

use serde_json::json;

use crate::check::{self, log_as_json};
use crate::client::say;
use crate::config::RestoreFlags;

/// Says on standard output what was restored. The error is the one line of why nothing was.
pub fn run(flags: &RestoreFlags) -> Result<(), String> {
    let restored = mailrail_broker::restore(&flags.from, &flags.data).map_err(|error| error.to_string())?;
    let found = &restored.found;
    let text = if flags.json {
        json!({
            "log": log_as_json(&found.log),
            "messages": found.messages,
            "queues": found.queues,
            "waiting": found.waiting,
            "backup": {"made_s": restored.archive.made_s, "bytes": restored.archive.bytes},
        })
        .to_string()
    } else {
        format!("restored into {}\n{}", flags.data.display(), check::as_text(found, "that is not part of it"))
    };
    say(&text);
    Ok(())
}
