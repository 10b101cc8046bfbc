//! The signatures of the log's parts, replaced by the parts themselves in the commits that follow.
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::Disk;
use crate::{AppendError, LogConfig, LogEvents, LogFault, OpenError, Position, ReadError, Visitor};

const SOON: &str = "this part of the log arrives with a later commit";

/// A log that is open for reading and appending.
#[derive(Debug)]
pub struct Opened {
    pub appender: Appender,
    pub writer: Writer,
    pub syncer: Syncer,
    pub reader: LogReader,
    pub recovery: Recovery,
}

/// What the open found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Lowest position the log still holds.
    pub start: Position,
    /// Where the next group will begin. Everything below is synced.
    pub end: Position,
    /// Number of this open: one more than the highest that ever wrote here.
    pub epoch: u64,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Cut>,
    /// True when the log holds no group at all.
    pub empty: bool,
}

/// Bytes that a crash left behind the last whole group. They were never acknowledged at `disk` level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Where the whole part ends.
    pub position: Position,
    /// Bytes from there to the last one that was not zero.
    pub bytes: u64,
    /// What was wrong with the group at `position`.
    pub what: String,
}

/// Opens the log in the `log` folder of `dir`, making it if there is none, and shows `visitor` the records from `from`
/// on (`None` = the log's start). A torn tail is cut off; the epoch is a new one.
pub fn open(
    _disk: Arc<dyn Disk>,
    _dir: &Path,
    _config: LogConfig,
    _from: Option<Position>,
    _visitor: &mut dyn Visitor,
) -> Result<Opened, OpenError> {
    panic!("{SOON}")
}

/// The one that adds records. Owned by the shard's thread.
#[derive(Debug)]
pub struct Appender(());

impl Appender {
    /// Where the next pushed byte lands.
    pub fn position(&self) -> Position {
        panic!("{SOON}")
    }
    /// Bytes of records that still fit the current group (0 = [`Appender::roll`] first).
    pub fn room(&self) -> usize {
        panic!("{SOON}")
    }
    /// Closes the current group, if there is one, and starts one that can hold `unit_bytes`, in the next segment if
    /// need be. Returns the new [`Appender::position`].
    pub fn roll(&mut self, _unit_bytes: usize) -> Result<Position, AppendError> {
        panic!("{SOON}")
    }
    /// Adds whole padded records, which lie at [`Appender::position`]. At most [`Appender::room`] bytes.
    pub fn push(&mut self, _piece: Bytes, _records: u32) {
        panic!("{SOON}")
    }
    /// Closes the group and hands everything to the writer. Returns the end of what was handed over, `None` when there
    /// was nothing or it can't be taken any more. `sync`: somebody waits for the disk.
    pub fn submit(&mut self, _sync: bool) -> Option<Position> {
        panic!("{SOON}")
    }
    /// Takes up writing after a refusal: the position to go on from, which is the `from` of the refusal.
    pub fn resume(&mut self) -> Result<Position, AppendError> {
        panic!("{SOON}")
    }
    pub fn synced_to(&self) -> Position {
        panic!("{SOON}")
    }
    pub fn written_to(&self) -> Position {
        panic!("{SOON}")
    }
    pub fn poisoned(&self) -> bool {
        panic!("{SOON}")
    }
    /// Drops whole segments below `before`; returns the new start. Their files go in the background.
    pub fn trim(&mut self, _before: Position) -> Position {
        panic!("{SOON}")
    }
    /// Lowest position the log still holds.
    pub fn start(&self) -> Position {
        panic!("{SOON}")
    }
    pub fn epoch(&self) -> u64 {
        panic!("{SOON}")
    }
}

/// What one step of a log thread did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There was nothing to do.
    Idle,
    /// Something was done; there may be more.
    Worked,
    /// There is work that must wait for a sync.
    Blocked,
    /// The log is poisoned; no step will ever do anything.
    Poisoned,
}

/// Writes submitted groups.
#[derive(Debug)]
pub struct Writer(());

impl Writer {
    pub fn step(&mut self, _events: &dyn LogEvents) -> Step {
        panic!("{SOON}")
    }
}

/// Syncs written groups, prepares segments, removes trimmed ones.
#[derive(Debug)]
pub struct Syncer(());

impl Syncer {
    pub fn step(&mut self, _events: &dyn LogEvents) -> Step {
        panic!("{SOON}")
    }
}

/// The log's two running threads.
#[derive(Debug)]
pub struct LogThreads(());

/// Runs writer and syncer on threads of their own.
pub fn spawn(_writer: Writer, _syncer: Syncer, _events: Arc<dyn LogEvents>) -> LogThreads {
    panic!("{SOON}")
}

impl LogThreads {
    /// Waits until everything submitted is written and synced, then ends the threads.
    pub fn shutdown(self) -> Result<(), LogFault> {
        panic!("{SOON}")
    }
}

/// Reads the log from any thread. Cheap to clone; shares no lock with the appender or the log's threads.
#[derive(Debug, Clone)]
pub struct LogReader(());

impl LogReader {
    /// The `len` bytes at `position` if they are among the newest, which are kept in memory. Not copied.
    pub fn cached(&self, _position: Position, _len: usize) -> Option<Bytes> {
        panic!("{SOON}")
    }
    /// Reads ranges of (position, bytes), which must be sorted by position, from the files. One result per range.
    pub fn read(&self, _wanted: &[(Position, u32)]) -> Vec<Result<Bytes, ReadError>> {
        panic!("{SOON}")
    }
    /// Lowest position that can be read.
    pub fn start(&self) -> Position {
        panic!("{SOON}")
    }
}
