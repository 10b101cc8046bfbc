//! What can go wrong in a log, by what it ends: the open, one append, one read, or all further writing. Text is for
//! people; whoever calls decides by the variant.
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Position;
use crate::config::ConfigError;

/// Why a log was not opened. Nothing in the folder was changed, but that unused spare files may be gone.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// Written by a later release. Only that release can read it.
    #[error("{} has log format {found}, this release knows formats up to {supported}: use a later release", file.display())]
    NewerFormat { file: PathBuf, found: u32, supported: u32 },
    /// Bytes that had been synced are damaged or missing. Never skipped, never cut.
    #[error("{} is corrupt at log position {position}: {what}; {hint}", file.display())]
    Corrupt { file: PathBuf, position: Position, what: String, hint: String },
    /// There is nothing to check.
    #[error("there is no log segment in {}", dir.display())]
    NoLog { dir: PathBuf },
    /// The visitor stopped the open.
    #[error("the record at log position {position} was not accepted: {why}")]
    Visitor { position: Position, why: String },
    /// The position asked for was trimmed away.
    #[error("the log starts at {start}, records from {from} on were asked for")]
    FromTrimmed { from: Position, start: Position },
    /// The position asked for was never written here: the log is older than what points into it.
    #[error("the log ends at {end}, records from {from} on were asked for")]
    FromBeyond { from: Position, end: Position },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// What ended all writing. A log with a fault is read-only until it is opened again: after a failed sync nobody
/// knows which pages reached the disk, so a repeated sync could report data as safe that is not.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogFault {
    #[error("{action} {}: {why}", file.display())]
    Io { action: &'static str, file: PathBuf, errno: Option<i32>, why: String },
    #[error("the log's {thread} thread panicked")]
    Panicked { thread: &'static str },
}

impl LogFault {
    pub(crate) fn io(action: &'static str, file: &Path, error: &io::Error) -> Self {
        Self::Io { action, file: file.to_owned(), errno: error.raw_os_error(), why: error.to_string() }
    }
}

/// Why records were not taken. The log is as it was before the call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// No further segment could be allocated. The next call tries again.
    #[error("no space for a further log segment: {why}")]
    NoSpace { why: String },
    /// A further segment could not be made for another reason, such as too many open files. The next call tries again.
    #[error("no further log segment: {why}")]
    NoSegment { why: String },
    #[error("{bytes} bytes in one group, the most is {max}")]
    TooLarge { bytes: usize, max: usize },
    /// The disk ran full under preallocated space. What lies from `from` on is written once there is room.
    #[error("the disk is full: groups from log position {from} on wait for room")]
    Refused { from: Position },
    #[error("the log is read-only since a fault: {0}")]
    Poisoned(LogFault),
}

/// Why a kept file was not made. Nothing has changed.
#[derive(Debug, Error)]
pub enum KeepError {
    #[error("making a kept file in {}: {why}", dir.display())]
    Io { dir: PathBuf, errno: Option<i32>, why: String },
    #[error("log positions {} to {} cut {}", range.start, range.end, file.display())]
    CutsKeptFile { range: Range<Position>, file: PathBuf },
    /// What is to be kept is not in the log.
    #[error("no record lies at log position {position}")]
    Missing { position: Position },
    /// What is kept comes from files that are not as they were written.
    #[error(transparent)]
    Source(#[from] OpenError),
}

/// Why one range was not read. Other ranges of the same call are not affected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    #[error("log position {position} was trimmed, the log starts at {start}")]
    Trimmed { position: Position, start: Position },
    #[error("{bytes} bytes at log position {position} pass the end {end} of what is written there")]
    Beyond { position: Position, bytes: u32, end: Position },
    #[error("reading log position {position}: {why}")]
    Io { position: Position, errno: Option<i32>, why: String },
}

/// The disk, or the user's share of it, is full. This is the one error of a write after which writing may go on.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The device itself failed.
pub(crate) fn is_broken(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
