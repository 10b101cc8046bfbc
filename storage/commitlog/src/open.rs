//! Opens a log: finds its segments, has them walked, and tells a torn tail, which is cut, from corruption, which is
//! reported. It repairs nothing that had been synced.

mod finder;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;

use self::finder::{Finder, Found, Recovered};
use crate::append::{Appender, Tail};
use crate::cache::Cache;
use crate::disk::Disk;
use crate::error::{AppendError, OpenError};
use crate::format::{FORMAT_VERSION, Mark};
use crate::hand::HandOver;
use crate::log::Log;
use crate::read::LogReader;
use crate::spare::Spare;
use crate::sync::Syncer;
use crate::write::Writer;
use crate::{LogConfig, Position, Visitor};

/// Folder of the segment files.
pub(crate) const LOG_DIR: &str = "log";
pub(crate) const RESTORE_HINT: &str = "it had been synced, so nothing was cut: restore the file from a backup or another copy, or check the disk";

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

/// Bytes that a crash left behind the last whole group. They were never acknowledged as synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Where the whole part ends.
    pub position: Position,
    /// Bytes from there to the last one that was written.
    pub bytes: u64,
    /// What was wrong with the group at `position`.
    pub what: String,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes of an unfinished write at log position {}: {}",
            self.bytes, self.position, self.what
        )
    }
}

/// Opens the log in the `log` folder of `dir`, making it if there is none, and shows `visitor` the records from `from`
/// on (`None` = all: what is kept from before the log's start, then the segments). A torn tail is cut off, durably, before this returns; the epoch is a new one. A log
/// that was opened with `from` is checked from the segment of `from` on.
pub fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    config: LogConfig,
    from: Option<Position>,
    visitor: &mut dyn Visitor,
) -> Result<Opened, OpenError> {
    config.check()?;
    let folder = dir.join(LOG_DIR);
    make_folder(&*disk, dir, &folder)?;
    let mut finder = Finder::new(&*disk, &folder);
    finder.find_files()?.into_iter().try_for_each(|passing| finder.remove(&passing))?;
    let recovered = finder.recover(from, visitor)?;

    let Recovered { tail, recovery, next_base } = recovered;
    let log_id = finder.log_id.unwrap_or_else(|| disk.nonce());
    let (segments, kept) = (finder.segments, finder.kept);
    let overwrites = disk.overwrites(&folder).map_err(|error| OpenError::io("looking at", &folder, error))?;
    let log = Arc::new(Log {
        dir: folder,
        config,
        log_id,
        epoch: recovery.epoch,
        segments: ArcSwap::from_pointee(segments),
        kept: ArcSwap::from_pointee(kept),
        keeping: Mutex::new(()),
        cache: Cache::new(),
        hand: HandOver::new(recovery.end),
        start: recovery.start.into(),
        written: recovery.end.into(),
        synced: recovery.end.into(),
        halted: AtomicBool::new(false),
        fault: OnceLock::new(),
        fault_told: AtomicBool::new(false),
        spare: Mutex::new(Spare::new(next_base)),
        overwrites,
        disk,
    });
    finish(&log, &tail)?;
    Ok(Opened {
        appender: Appender::new(Arc::clone(&log), tail),
        writer: Writer::new(Arc::clone(&log)),
        syncer: Syncer::new(Arc::clone(&log)),
        reader: LogReader::new(log),
        recovery,
    })
}

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub segments: usize,
    /// What the newest segment holds at most, its header included.
    pub segment_bytes: u64,
    /// Files with what is left of trimmed segments.
    pub kept_files: usize,
    pub groups: u64,
    /// Lowest position the log still holds.
    pub start: Position,
    /// Where the whole part ends.
    pub end: Position,
    /// The torn tail that the next open will cut, if there is one.
    pub cut: Option<Cut>,
}

/// Reads the whole log in the `log` folder of `dir` as [`open`] does, every checksum, and shows `visitor` every record.
/// Changes nothing: a torn tail is reported and stays. For a log that no other process has open.
pub fn check(disk: &dyn Disk, dir: &Path, visitor: &mut dyn Visitor) -> Result<Checked, OpenError> {
    let folder = dir.join(LOG_DIR);
    let mut finder = Finder::new(disk, &folder);
    finder.find_files()?;
    let (segments, kept_files) = (finder.segments.len(), finder.kept.len());
    let segment_bytes = finder.segments.last().map_or(0, |newest| newest.bytes());
    let found = finder.find_end(None, visitor)?;
    let Found { chain, end, cut, .. } = found.ok_or_else(|| OpenError::NoLog { dir: folder.clone() })?;
    let (groups, start) = (chain.groups, finder.start());
    Ok(Checked { segments, segment_bytes, kept_files, groups, start, end, cut })
}

fn make_folder(disk: &dyn Disk, dir: &Path, folder: &Path) -> Result<(), OpenError> {
    disk.create_dir(folder).map_err(|error| OpenError::io("creating", folder, error))?;
    if let Some(above) = dir.parent().filter(|above| above.as_os_str().len() > 1) {
        // The folder itself may be as new as the log. Where the one above can't be read, it is no doing of ours.
        let _ = disk.sync_dir(above);
    }
    disk.sync_dir(dir).map_err(|error| OpenError::io("syncing", dir, error))
}

/// Notes durably that this epoch is used and how far the log is synced, and makes sure that a segment is there to write to.
fn finish(log: &Log, tail: &Tail) -> Result<(), OpenError> {
    let segments = log.segments.load();
    if let Some(last) = segments.last() {
        let mark = Mark { synced_to: tail.position.min(last.end), epoch: log.epoch };
        let marked = last.write_mark(&*log.disk, log.log_id, mark);
        marked.map_err(|error| OpenError::io("marking the end in", &last.path, error))?;
    }
    if tail.segment.is_some() {
        return Ok(());
    }
    match log.prepare_spare() {
        Ok(()) => Ok(()),
        // An old log without space can be read, and written again when there is room.
        Err(AppendError::NoSpace { why }) if !segments.is_empty() => {
            tracing::warn!(why, "no space for a further log segment");
            Ok(())
        }
        Err(error) => Err(OpenError::io("making a segment in", &log.dir, io::Error::other(error))),
    }
}

const _: () = assert!(FORMAT_VERSION == 1, "a later version must say here how it opens the earlier ones");
