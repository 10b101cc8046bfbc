//! The shard's end of the log: puts whole records behind one another and knows where the next will lie.

use bytes::{Bytes, BytesMut};
use mailrail_commitlog::{AppendError, Appender, Position};

use crate::error::Error;
use crate::record::Change;

/// Appends records; nothing is on its way to the disk before [`Journal::submit`].
#[derive(Debug)]
pub(crate) struct Journal {
    appender: Appender,
    scratch: BytesMut,
    /// Somebody waits for what was appended to be synced.
    sync_wanted: bool,
    /// Something was appended since the last submit.
    open: bool,
    /// Behind the last record.
    end: Position,
}

impl Journal {
    pub fn new(appender: Appender) -> Self {
        // Everything that is there was synced by the open.
        let end = appender.synced_to();
        Journal { appender, scratch: BytesMut::new(), sync_wanted: false, open: false, end }
    }

    /// Position of the next record.
    pub fn position(&self) -> Position {
        self.appender.position()
    }

    /// Behind the last record: what waits for everything appended so far waits for this position. [`Journal::position`]
    /// may lie behind it, by what the log itself puts in between.
    pub fn end(&self) -> Position {
        self.end
    }

    pub fn synced_to(&self) -> Position {
        self.appender.synced_to()
    }

    /// Where the log's segments begin.
    pub fn start(&self) -> Position {
        self.appender.start()
    }

    pub fn written_to(&self) -> Position {
        self.appender.written_to()
    }

    pub fn epoch(&self) -> u64 {
        self.appender.epoch()
    }

    /// Most bytes for which there can be room in one write group.
    pub fn group_bytes_max(&self) -> usize {
        self.appender.group_bytes_max()
    }

    /// Makes sure that so many bytes fit behind one another in one write group, so that all or none survive. May move
    /// [`Journal::position`].
    pub fn reserve(&mut self, bytes: usize) -> Result<(), Error> {
        self.appender.reserve(bytes).map_err(refused)
    }

    /// True when so many bytes fit behind what is there, and behind `more` that is not pushed yet.
    pub fn has_room(&self, more: usize, bytes: usize) -> bool {
        self.appender.room() >= more + bytes
    }

    /// Appends whole padded records, for which room was reserved.
    pub fn push(&mut self, records: Bytes, count: u32) {
        if !records.is_empty() {
            self.appender.push(records, count);
            self.open = true;
            self.end = self.appender.position();
        }
    }

    /// Appends a change; returns its position.
    pub fn change(&mut self, change: &Change) -> Result<Position, Error> {
        let bytes = change.encode(&mut self.scratch);
        let record = self.scratch.split().freeze();
        self.reserve(bytes)?;
        let position = self.position();
        self.push(record, 1);
        Ok(position)
    }

    /// Whatever was appended so far is to be synced as soon as possible.
    pub fn want_sync(&mut self) {
        self.sync_wanted = true;
    }

    /// Hands everything appended to the log's writer; returns where it ends.
    pub fn submit(&mut self) -> Option<Position> {
        if std::mem::take(&mut self.open) || self.sync_wanted {
            return self.appender.submit(std::mem::take(&mut self.sync_wanted));
        }
        None
    }

    /// Drops whole segments below a position; returns the log's new start.
    pub fn trim(&mut self, before: Position) -> Position {
        self.appender.trim(before)
    }
}

fn refused(error: AppendError) -> Error {
    match error {
        AppendError::NoSpace { .. } | AppendError::NoSegment { .. } | AppendError::Refused { .. } => {
            Error::NoSpace
        }
        AppendError::TooLarge { bytes, max } => Error::Limit {
            what: "bytes stored together",
            value: u64::try_from(bytes).unwrap_or(u64::MAX),
            max: u64::try_from(max).unwrap_or(u64::MAX),
        },
        other => Error::Poisoned(other.to_string()),
    }
}
