//! Opens a log: finds its segments, has them walked, and tells a torn tail, which is cut, from corruption, which is
//! reported. It repairs nothing that had been synced.
use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;

use crate::append::{Appender, Tail};
use crate::cache::Cache;
use crate::config::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::disk::{Disk, DiskFile, read_full, write_full};
use crate::error::{AppendError, OpenError, is_full};
use crate::format::{FORMAT_VERSION, HeaderFault, Mark, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::hand::HandOver;
use crate::kept::{self, KeptFiles};
use crate::log::Log;
use crate::planted::{Bug, planted};
use crate::read::LogReader;
use crate::scan::{self, Chain, End};
use crate::segment::{PASSING_SUFFIX, Segment, base_of};
use crate::spare::Spare;
use crate::sync::Syncer;
use crate::width::{narrow, wide};
use crate::write::Writer;
use crate::{LogConfig, Position, Visitor};

/// Folder of the segment files.
pub(crate) const LOG_DIR: &str = "log";
/// Bytes that are written again at once.
const REWRITE_BYTES: usize = 1 << 20;
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

/// Finds the log's files and where it ends.
struct Finder<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    segments: Vec<Arc<Segment>>,
    kept: KeptFiles,
    /// What the segments' headers say is synced.
    marks: Vec<Mark>,
    log_id: Option<u64>,
}

/// The end of the log, as the segments have it.
struct Found {
    stop: Stop,
    chain: Chain,
    end: Position,
    cut: Option<Cut>,
}

struct Recovered {
    tail: Tail,
    recovery: Recovery,
    next_base: Position,
}

/// Where the walk stopped.
struct Stop {
    /// Index of the segment it stopped in.
    index: usize,
    position: Position,
    /// The segment at `index` takes no more groups.
    sealed: bool,
    what: Option<String>,
    /// Written parts of the segment's file, as they were before it was read.
    parts: Vec<Range<u64>>,
}

impl<'a> Finder<'a> {
    fn new(disk: &'a dyn Disk, dir: &'a Path) -> Self {
        Self { disk, dir, segments: Vec::new(), kept: Vec::new(), marks: Vec::new(), log_id: None }
    }

    fn start(&self) -> Position {
        self.segments.first().map_or(0, |first| first.base)
    }

    /// Finds segments and kept files; returns the files that are on their way to become one, or to go.
    fn find_files(&mut self) -> Result<Vec<PathBuf>, OpenError> {
        let names = self.disk.list(self.dir).map_err(|error| OpenError::io("listing", self.dir, error))?;
        let (mut bases, mut passing) = (Vec::new(), Vec::new());
        for name in &names {
            let path = self.dir.join(name);
            match base_of(name) {
                Some(Ok(base)) => bases.push((base, path)),
                Some(Err(())) => {
                    let what = "its name is not that of a log segment".to_owned();
                    let hint = "move the file out of the log's folder".to_owned();
                    return Err(OpenError::Corrupt { file: path, position: 0, what, hint });
                }
                None if name.ends_with(PASSING_SUFFIX) => passing.push(path),
                None => {}
            }
        }
        bases.sort_unstable();
        bases.into_iter().try_for_each(|(base, path)| self.add_segment(base, path))?;
        let (kept, needless) =
            kept::find(self.disk, self.dir, &names, self.log_id.unwrap_or(0), self.start())?;
        self.kept = kept;
        passing.extend(needless);
        Ok(passing)
    }

    fn remove(&self, path: &Path) -> Result<(), OpenError> {
        self.disk.remove(path).map_err(|error| OpenError::io("removing", path, error))
    }

    fn add_segment(&mut self, base: Position, path: PathBuf) -> Result<(), OpenError> {
        let io = |error| OpenError::io("reading", &path, error);
        let mut page = vec![0; SEGMENT_HEADER_BYTES];
        let file = self.disk.open(&path).map_err(|error| OpenError::io("opening", &path, error))?;
        read_full(&*file, &mut page, 0).map_err(io)?;
        let corrupt = |what: String| {
            OpenError::Corrupt {
            file: path.clone(),
            position: base,
            what,
            hint: "a segment's header is synced before the file gets its name: restore the file from a backup or \
                   another copy"
                .to_owned(),
        }
        };
        let header = SegmentHeader::decode(&page).map_err(|fault| match fault {
            HeaderFault::Newer { found, supported } => {
                OpenError::NewerFormat { file: path.clone(), found, supported }
            }
            HeaderFault::Bad(what) => corrupt(what.to_owned()),
            HeaderFault::Blank => corrupt("the segment header is missing".to_owned()),
        })?;
        let sizes = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        if !sizes.contains(&header.segment_bytes) || base.checked_add(header.segment_bytes).is_none() {
            return Err(corrupt(format!("it says it holds {} bytes", header.segment_bytes)));
        }
        if header.base != base {
            return Err(corrupt(format!("it says it starts at {}", header.base)));
        }
        if *self.log_id.get_or_insert(header.log_id) != header.log_id {
            return Err(corrupt("it belongs to another log".to_owned()));
        }
        if let Some(gap) = self.segments.last().filter(|last| last.end != base) {
            return Err(corrupt(format!("the segment before it ends at {}: one is missing", gap.end)));
        }
        self.marks.extend(Mark::decode_both(&page, header.log_id));
        self.segments.push(Arc::new(Segment::new(&header, path, None)));
        Ok(())
    }

    fn recover(&mut self, from: Option<Position>, visitor: &mut dyn Visitor) -> Result<Recovered, OpenError> {
        let start = self.start();
        let Some(Found { stop, chain, end, cut }) = self.find_end(from, visitor)? else {
            return no_segments(from);
        };
        let next_base = self.segments.get(stop.index).map_or(0, |last| last.end);
        let marked = self.marks.iter().map(|mark| mark.epoch);
        let epochs = self.segments.iter().map(|segment| segment.epoch).chain(marked);
        let epoch = epochs.chain([chain.epoch]).max().unwrap_or(0) + 1;
        self.settle(&stop, cut.as_ref(), chain.synced_to..end)?;
        let last = self.segments.last().filter(|_| !stop.sealed).cloned();
        let empty = chain.groups == 0 && self.segments.len() <= 1;
        let tail = Tail { segment: last, position: end, prev_group: chain.prev_group.unwrap_or(0) };
        Ok(Recovered { tail, recovery: Recovery { start, end, epoch, cut, empty }, next_base })
    }

    /// Shows the records from `from` on and finds where they end; `None` when there are no segments.
    fn find_end(
        &self,
        from: Option<Position>,
        visitor: &mut dyn Visitor,
    ) -> Result<Option<Found>, OpenError> {
        let start = self.start();
        visitor.begins(start).map_err(|why| OpenError::Visitor { position: start, why })?;
        if let Some(from) = from.filter(|&from| from < start) {
            return Err(OpenError::FromTrimmed { from, start });
        }
        if from.is_none() {
            // What lies behind the start is still in its segment, which will show it.
            self.kept.iter().try_for_each(|kept| kept.walk(self.disk, start, visitor))?;
        }
        let mut chain = Chain {
            log_id: self.log_id.unwrap_or(0),
            prev_group: None,
            epoch: 0,
            synced_to: self.marks.iter().map(|mark| mark.synced_to).max().unwrap_or(0),
            groups: 0,
        };
        let Some(stop) = self.walk(from, &mut chain, visitor)? else { return Ok(None) };
        let cut = self.judge(&stop, &chain)?;
        // A sealed last segment ends where the next one's header would.
        let end = if stop.sealed { stop.position + wide(SEGMENT_HEADER_BYTES) } else { stop.position };
        if let Some(from) = from.filter(|&from| from > end) {
            return Err(OpenError::FromBeyond { from, end });
        }
        Ok(Some(Found { stop, chain, end, cut }))
    }

    /// Walks the segments from the one that holds `from` on. `None` when there are no segments.
    fn walk(
        &self,
        from: Option<Position>,
        chain: &mut Chain,
        visitor: &mut dyn Visitor,
    ) -> Result<Option<Stop>, OpenError> {
        let from = from.unwrap_or(0);
        let last = self.segments.len().saturating_sub(1);
        let first = self.segments.partition_point(|segment| segment.end <= from).min(last);
        let stop = self.walk_from(first, from, chain, visitor)?;
        if chain.groups > 0 || first == 0 {
            return Ok(stop);
        }
        // There is nothing in the segment yet. The next group must point back into the one before.
        self.walk_from(first - 1, from, chain, visitor)
    }

    fn walk_from(
        &self,
        first: usize,
        from: Position,
        chain: &mut Chain,
        visitor: &mut dyn Visitor,
    ) -> Result<Option<Stop>, OpenError> {
        let last = self.segments.len().saturating_sub(1);
        let mut sealed_at = None;
        for (segment, index) in self.segments.iter().zip(0..).skip(first) {
            let file =
                segment.file(self.disk).map_err(|error| OpenError::io("opening", &segment.path, error))?;
            let parts =
                file.written_parts().map_err(|error| OpenError::io("reading", &segment.path, error))?;
            // The first group of all points back to 0; the first one after a trim to what is gone.
            if segment.base == 0 {
                chain.prev_group = Some(0);
            }
            let (position, what) = match scan::walk(segment, &*file, chain, from, visitor)? {
                End::Sealed => {
                    sealed_at = Some(Stop { index, position: segment.end, sealed: true, what: None, parts });
                    if index < last {
                        segment.close();
                    }
                    continue;
                }
                End::Blank(position) => (position, None),
                End::Bad { position, what } => (position, Some(what)),
            };
            return Ok(Some(Stop { index, position, sealed: false, what, parts }));
        }
        Ok(sealed_at)
    }

    /// Decides what the bytes behind the last whole group are: nothing, a torn tail, or corruption.
    fn judge(&self, stop: &Stop, chain: &Chain) -> Result<Option<Cut>, OpenError> {
        if stop.sealed {
            return Ok(None);
        }
        let position = stop.position;
        let mut synced_to = chain.synced_to;
        let mut data_end = None;
        let unsettled = self.segments.get(stop.index..).unwrap_or_default();
        for (segment, index) in unsettled.iter().zip(stop.index..) {
            let io = |error| OpenError::io("reading", &segment.path, error);
            let file = segment.file(self.disk).map_err(io)?;
            let from = position.max(segment.first_group());
            let later_parts =
                if index == stop.index { None } else { Some(file.written_parts().map_err(io)?) };
            let parts = later_parts.as_ref().unwrap_or(&stop.parts);
            let beyond = scan::search(segment, &*file, parts, from, chain).map_err(io)?;
            synced_to = synced_to.max(beyond.witness.map_or(0, |header| header.synced_to));
            // What an earlier segment left says nothing; what was written here begins with a group.
            data_end = if segment.recycled { beyond.groups_end } else { beyond.data_end }.or(data_end);
        }
        let what = stop.what.clone().unwrap_or_else(|| "nothing is written here, but behind it".to_owned());
        if let Some(segment) = unsettled.first().filter(|_| synced_to > position) {
            let what = format!("{what}; the log was synced up to {synced_to}");
            let (file, hint) = (segment.path.clone(), RESTORE_HINT.to_owned());
            return Err(OpenError::Corrupt { file, position, what, hint });
        }
        Ok(data_end.map(|end| Cut { position, bytes: end - position, what }))
    }

    /// Makes the log end where the walk stopped, durably: nothing behind it, everything before it on the disk.
    fn settle(&mut self, stop: &Stop, cut: Option<&Cut>, unsynced: Range<Position>) -> Result<(), OpenError> {
        if let Some(segment) = self.segments.get(stop.index).filter(|_| !stop.sealed) {
            let cleared = self.clear(segment, cut);
            cleared.map_err(|error| OpenError::io("cutting", &segment.path, error))?;
        }
        self.drop_segments(stop.index + 1)?;
        self.segments.truncate(stop.index + 1);
        // After a killed process names and whole groups may be in memory only, and they are about to be built upon.
        self.disk.sync_dir(self.dir).map_err(|error| OpenError::io("syncing", self.dir, error))?;
        let last_two = self.segments.iter().skip(stop.index.saturating_sub(1));
        for segment in last_two.filter(|_| !planted(Bug::OpenWithoutSync)) {
            let file = segment.file(self.disk);
            let synced =
                file.and_then(|file| write_again(segment, &*file, &unsynced).and_then(|()| file.sync_data()));
            synced.map_err(|error| OpenError::io("syncing", &segment.path, error))?;
        }
        Ok(())
    }

    /// Makes everything behind the last group zeros, up to the segment's full length, so that no old byte can be taken
    /// for a group later, and no byte of the last group lies past the end of the file.
    fn clear(&self, segment: &Segment, cut: Option<&Cut>) -> io::Result<()> {
        let file = segment.file(self.disk)?;
        if let Some(cut) = cut {
            tracing::warn!(%cut, "the end of the log was torn and is cut");
            file.truncate(cut.position - segment.base - u64::from(planted(Bug::CutTooEarly)))?;
        }
        if file.bytes()? == segment.bytes() {
            return Ok(());
        }
        match file.allocate(segment.bytes()) {
            // The log can be read; whether there is space, a write will find out.
            Err(error) if is_full(&error) => file.truncate(segment.bytes()),
            allocated => allocated,
        }
    }

    /// Removes the segments from `index` on, which hold no group. Highest first, so that there is never a gap.
    fn drop_segments(&self, index: usize) -> Result<(), OpenError> {
        for segment in self.segments.iter().skip(index).rev() {
            let removed = self.disk.remove(&segment.path).and_then(|()| self.disk.sync_dir(self.dir));
            removed.map_err(|error| OpenError::io("removing", &segment.path, error))?;
        }
        Ok(())
    }
}

/// Writes what is not known to be synced once more. Where a sync failed before, memory holds pages that are not on the
/// disk and that count as clean, so that a sync alone would not write them.
fn write_again(segment: &Segment, file: &dyn DiskFile, unsynced: &Range<Position>) -> io::Result<()> {
    let (mut position, end) = (unsynced.start.max(segment.first_group()), unsynced.end.min(segment.end));
    while position < end {
        let mut bytes = vec![0; narrow(end - position).min(REWRITE_BYTES)];
        let read = read_full(file, &mut bytes, position - segment.base)?;
        bytes.truncate(read);
        if bytes.is_empty() {
            return Ok(());
        }
        match write_full(file, &mut [IoSlice::new(&bytes)], position - segment.base) {
            // A copy-on-write file system without room; the log can be read.
            Err((_, error)) if is_full(&error) => return Ok(()),
            written => written.map_err(|(_, error)| error)?,
        }
        position += wide(read);
    }
    Ok(())
}

fn no_segments(from: Option<Position>) -> Result<Recovered, OpenError> {
    let end = wide(SEGMENT_HEADER_BYTES);
    if let Some(from) = from.filter(|&from| from > end) {
        return Err(OpenError::FromBeyond { from, end });
    }
    let tail = Tail { segment: None, position: end, prev_group: 0 };
    let recovery = Recovery { start: 0, end, epoch: 1, cut: None, empty: true };
    Ok(Recovered { tail, recovery, next_base: 0 })
}

const _: () = assert!(FORMAT_VERSION == 1, "a later version must say here how it opens the earlier ones");
