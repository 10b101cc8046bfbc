//! Reading by offset: what is asked and what comes back. The work is done in [`crate::session`] (newest bytes, at
//! once) and on the reader pool (the rest).

use std::sync::Arc;

use bytes::Bytes;

use crate::filter::Filter;
use crate::queue::Queue;

/// Asks for entries of one queue from an offset on.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    pub queue: Arc<Queue>,
    pub offset: u64,
    /// At most [`crate::limits::READ_ENTRIES_MAX`] are returned.
    pub max_entries: usize,
    /// Bytes of messages; one message is returned even if it is longer.
    pub max_bytes: usize,
    /// What is wanted. It passes over a bounded number of entries and bytes: with nothing found, go on at `next_offset`.
    pub filter: Filter,
}

/// What was found. Without entries, `next_offset` and the queue's bounds say why.
#[derive(Clone, Debug)]
pub struct ReadBatch {
    pub entries: Vec<ReadEntry>,
    /// Where to go on: behind everything looked at, filtered entries included.
    pub next_offset: u64,
    /// First offset the queue still has.
    pub min_offset: u64,
    /// Offset behind the last visible entry.
    pub end_offset: u64,
}

impl ReadBatch {
    /// Bytes of its messages.
    pub(crate) fn message_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.message.len()).sum()
    }
}

/// One entry with its stored message.
#[derive(Clone, Debug)]
pub struct ReadEntry {
    pub offset: u64,
    pub store_ms: u64,
    /// The stored message with annexes; read it with `mailrail_message::StoredMessage`.
    pub message: Bytes,
}
