//! The list of administrative changes: the newest [`AUDIT_ENTRIES_MAX`] of them, part of the shard's state.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::limits::{AUDIT_ENTRIES_MAX, AUDIT_TEXT_BYTES_MAX};

/// One change that somebody made, or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Counts up from 1 without gaps.
    pub number: u64,
    /// Wall time in milliseconds of the Unix epoch.
    pub at_ms: u64,
    /// Name of the user, or what stands for one.
    pub who: String,
    /// Address of the client.
    pub from: String,
    /// In words.
    pub what: String,
    /// Why it was refused; `None` = it was done.
    pub refused: Option<String>,
}

/// The newest entries, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit {
    entries: VecDeque<AuditEntry>,
}

impl Audit {
    pub fn next_number(&self) -> u64 {
        self.entries.back().map_or(0, |last| last.number) + 1
    }

    /// Adds an entry, unless it is there already: a checkpoint may hold what replay brings again.
    pub fn add(&mut self, entry: AuditEntry) {
        if entry.number < self.next_number() {
            return;
        }
        self.entries.push_back(entry);
        while self.entries.len() > AUDIT_ENTRIES_MAX {
            self.entries.pop_front();
        }
    }

    pub fn extend(&mut self, entries: Vec<AuditEntry>) {
        entries.into_iter().for_each(|entry| self.add(entry));
    }

    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &AuditEntry> + '_ {
        self.entries.iter()
    }
}

/// The beginning of a text, as long as an entry may hold.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > AUDIT_TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(AUDIT_TEXT_BYTES_MAX - 3));
        text.push_str("...");
    }
    text
}
