//! Checking the data folder of a stopped broker: every checksum of the log, every record's form, every message's body,
//! and that no offset of a queue names two messages. Changes nothing, and leaves out the store, since all of it can be
//! made anew from the log.

use std::collections::HashMap;
use std::path::Path;

pub use mailrail_commitlog::Checked;
use mailrail_commitlog::disk::{DirLock, OsDisk};
use mailrail_commitlog::{Position, Visitor};
use mailrail_message::StoredMessage;

use crate::open::OpenError;
use crate::record::{Change, kind};

/// What was found in a data folder without damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    pub log: Checked,
    /// Messages in queues; one that is in many counts once.
    pub messages: u64,
    /// Queues that got any of them.
    pub queues: u64,
    /// Messages stored to be seen at a later time, or once they are committed, those that were seen since included.
    pub waiting: u64,
    /// Records of all other changes.
    pub changes: u64,
}

/// Reads all of the data folder of a broker that does not run.
pub fn check(data: &Path) -> Result<CheckReport, OpenError> {
    // The lock is a file of its own, and must not be left where there is no data.
    std::fs::read_dir(data).map_err(|error| OpenError::NoFolder { path: data.to_path_buf(), error })?;
    let _lock = DirLock::acquire(data)?;
    inspect(data)
}

/// As [`check`], for a folder that is this process's own.
pub(crate) fn inspect(data: &Path) -> Result<CheckReport, OpenError> {
    let mut found = Inspector::default();
    let log = mailrail_commitlog::check(&OsDisk, data, &mut found)?;
    Ok(CheckReport {
        log,
        messages: found.messages,
        queues: u64::try_from(found.next_offsets.len()).unwrap_or(u64::MAX),
        waiting: found.waiting,
        changes: found.changes,
    })
}

#[derive(Default)]
struct Inspector {
    messages: u64,
    waiting: u64,
    changes: u64,
    /// By queue.
    next_offsets: HashMap<u64, u64>,
}

impl Inspector {
    fn message(&mut self, payload: &[u8]) -> Result<(), String> {
        let stored = whole(payload)?;
        for target in stored.targets().map_err(|error| error.to_string())? {
            let next = self.next_offsets.entry(target.queue).or_insert(target.offset);
            if target.offset < *next {
                return Err(format!(
                    "it has offset {} of queue #{}, where {next} is next",
                    target.offset, target.queue
                ));
            }
            *next = target.offset + 1;
        }
        self.messages += 1;
        Ok(())
    }
}

/// A message whose body is what its checksum says.
fn whole(payload: &[u8]) -> Result<StoredMessage<'_>, String> {
    let stored = StoredMessage::parse(payload).map_err(|error| error.to_string())?;
    if !stored.has_whole_body() {
        return Err("its body does not match its checksum".to_owned());
    }
    Ok(stored)
}

impl Visitor for Inspector {
    fn record(&mut self, _position: Position, record_kind: u8, payload: &[u8]) -> Result<(), String> {
        match record_kind {
            kind::MESSAGE => self.message(payload)?,
            kind::WAITING_MESSAGE | kind::HALF_MESSAGE => {
                whole(payload)?;
                self.waiting += 1;
            }
            kind::CHANGE => {
                Change::decode(payload).map_err(|error| error.to_string())?;
                self.changes += 1;
            }
            unknown => return Err(format!("its kind {unknown} is unknown: use the release that wrote it")),
        }
        Ok(())
    }
}
