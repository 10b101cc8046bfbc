//! A segmented append-only log: write, group commit, recovery, read, trim. It knows groups and records (a kind and
//! bytes) and log positions; it knows nothing of topics, messages, or what a kind means, and replicates nothing.
//!
//! One thread owns the [`Appender`] and pushes encoded records; a writer and a syncer thread ([`spawn`]) bring them to
//! the disk and report through [`LogEvents`]; any thread reads through a [`LogReader`] and shares no lock with them.
//! A simulation spawns nothing and calls [`Writer::step`] and [`Syncer::step`] itself.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]

mod ahead;
mod append;
mod cache;
mod config;
mod copy;
pub mod disk;
mod error;
mod format;
mod hand;
mod keep;
mod kept;
mod log;
mod open;
#[doc(hidden)]
pub mod planted;
mod read;
pub mod record;
mod scan;
mod segment;
mod spare;
mod sync;
mod threads;
mod width;
mod write;

pub use append::Appender;
pub use config::{
    ConfigError, GROUP_BYTES_MAX, GROUP_BYTES_SOFT, LogConfig, READ_FILES_MAX, READ_GAP_BYTES_MAX,
    READ_RUN_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_STEP_BYTES, UNSYNCED_BYTES_MAX,
    WRITE_BYTES_MAX, WRITE_PIECES_MAX,
};
pub use copy::{CopiedFile, LogCopy, is_copied_file};
pub use error::{AppendError, KeepError, LogFault, OpenError, ReadError};
pub use format::{FORMAT_VERSION, GROUP_HEADER_BYTES, SEGMENT_HEADER_BYTES};
pub use kept::Extent;
pub use open::{Checked, Cut, Opened, Recovery, check, open};
pub use read::LogReader;
pub use sync::Syncer;
pub use threads::{LogThreads, spawn};
pub use write::{Step, Writer};

/// An address in the log. What lies at a position never moves to another and no position is used twice.
pub type Position = u64;

/// What the log's threads report. Called from those threads, so it must be quick and must not call back into the log.
/// Positions only grow, and `synced(to)` implies that everything below `to` was written, whichever comes first.
pub trait LogEvents: Send + Sync {
    /// Everything below `to` is in the page cache: it survives the end of this process.
    fn written(&self, to: Position);
    /// Everything below `to` is on the disk: it survives the end of power.
    fn synced(&self, to: Position);
    /// The disk turned out to be full while groups from `from` on were written. They are kept in memory and written when
    /// there is room; until then nothing more is taken, and whoever waits for them should be told that they are not
    /// stored. Told once; that there is room again shows in `written`.
    fn refused(&self, from: Position, why: &LogFault);
    /// Less than [`LogConfig::free_bytes_min`] of the disk is free, or no longer. Told when it changes.
    fn short_of_room(&self, is_short: bool);
    /// Nothing more will be written or synced by this log. Reads go on.
    fn poisoned(&self, why: &LogFault);
}

/// Sees the log once at open: every valid record from the asked position on, in order.
pub trait Visitor {
    /// Told where the log starts, before the first record. An error stops the open as in [`Visitor::record`].
    fn begins(&mut self, _start: Position) -> Result<(), String> {
        Ok(())
    }

    /// An error stops the open and comes back as [`OpenError::Visitor`].
    fn record(&mut self, position: Position, kind: u8, payload: &[u8]) -> Result<(), String>;
}
