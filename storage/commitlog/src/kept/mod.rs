//! What outlives its segments: which kept files there are, reading from them, and making new ones out of segments and
//! older kept files.
mod file;

use std::io;
use std::iter::Peekable;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use self::file::{Block, KeptWriter};
pub(crate) use self::file::{FILE_BYTES_MIN, Kept, Name};
use crate::disk::Disk;
use crate::error::{KeepError, OpenError, ReadError};
use crate::log::{Log, locked};
use crate::open::RESTORE_HINT;
use crate::scan::{self, Chain, End};
use crate::segment::Segment;
use crate::width::from_u32;
use crate::{Position, Visitor};

pub(crate) type KeptFiles = Vec<Arc<Kept>>;

/// A part of the log that is given back as a whole: a kept file, or a segment that is synced to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    pub positions: Range<Position>,
    /// What it takes on the disk.
    pub bytes: u64,
    pub is_kept: bool,
    /// It is a kept file that was made for positions behind these too, for a trim that did not come about. What is made
    /// of those positions must be made of it as well.
    pub reaches_on: bool,
}

/// Finds the kept files of a log that starts at `start`, in order. Those that others replace, or of which nothing lies
/// before the start, are returned second.
pub(crate) fn find(
    disk: &dyn Disk,
    dir: &Path,
    names: &[String],
    log_id: u64,
    start: Position,
) -> Result<(KeptFiles, Vec<PathBuf>), OpenError> {
    let (mut found, mut needless) = (Vec::new(), Vec::new());
    for name in names {
        match Name::parse(name) {
            Some(Ok(parsed)) => found.push((parsed, dir.join(name))),
            Some(Err(())) => {
                let what = "its name is not that of a kept file".to_owned();
                let hint = "move the file out of the log's folder".to_owned();
                return Err(OpenError::Corrupt { file: dir.join(name), position: 0, what, hint });
            }
            None => {}
        }
    }
    found.sort_by_key(|(name, _)| std::cmp::Reverse(name.generation));
    let mut kept: KeptFiles = Vec::new();
    for (name, path) in found {
        let is_replaced =
            |newer: &Arc<Kept>| newer.range.start < name.range.end && name.range.start < newer.range.end;
        if name.range.start >= start || kept.iter().any(is_replaced) {
            needless.push(path);
        } else {
            kept.push(Arc::new(Kept::open(disk, path, &name, log_id)?));
        }
    }
    kept.sort_by_key(|kept| kept.range.start);
    Ok((kept, needless))
}

/// Reads the first of `ranges`, which lies below the log's start, and those behind it that the same block holds; adds
/// their results.
pub(crate) fn read(log: &Log, ranges: &[(Position, u32)], results: &mut Vec<Result<Bytes, ReadError>>) {
    let Some(&(position, _)) = ranges.first() else { return };
    let block = read_block(log, position);
    let start = log.start.load(Ordering::Acquire);
    let before = results.len();
    // The first gets its result whatever comes: who asked goes on behind it.
    let below = |(at, (position, _)): &(usize, &(Position, u32))| *at == 0 || *position < start;
    for (_, &(position, bytes)) in ranges.iter().enumerate().take_while(below) {
        let found = match &block {
            Ok(Some(block)) => block.get(position, from_u32(bytes)),
            Ok(None) => None,
            Err(error) => {
                let (errno, why) = (error.raw_os_error(), error.to_string());
                results.push(Err(ReadError::Io { position, errno, why }));
                return;
            }
        };
        match found {
            Some(bytes) => results.push(Ok(bytes)),
            // The first is in this block or nowhere; another may be in the next one.
            None if results.len() == before => {
                results.push(Err(ReadError::Trimmed { position, start }));
                return;
            }
            None => return,
        }
    }
}

fn read_block(log: &Log, position: Position) -> io::Result<Option<Block>> {
    loop {
        let files = log.kept.load();
        let Some(kept) = files.iter().find(|kept| kept.range.contains(&position)) else { return Ok(None) };
        let Some(number) = kept.block_of(position) else { return Ok(None) };
        match log.disk.open(&kept.path).and_then(|file| kept.read_block(&*file, number)) {
            // It was replaced in the meantime.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && !log.kept.load().iter().any(|now| Arc::ptr_eq(now, kept)) => {}
            read => return read.map(Some),
        }
    }
}

/// What a kept file says that the log's segments do not. For a trim that did not come about, or not wholly, a file may
/// have been made of positions whose segments are still there.
struct Source<'a> {
    kept: &'a Kept,
    positions: Range<Position>,
}

impl<'a> Source<'a> {
    fn of(kept: &'a Kept, start: Position) -> Option<Self> {
        let positions = kept.range.start..kept.range.end.min(start);
        (!positions.is_empty()).then_some(Source { kept, positions })
    }
}

/// What the log consists of, but for segments that are not synced: kept files, then segments, in order.
pub(crate) fn extents(log: &Log) -> Vec<Extent> {
    let synced = log.synced();
    // In this order: what is trimmed from now on is seen twice rather than never.
    let segments = log.segments.load();
    let kept = log.kept.load();
    let start = segments.first().map_or(0, |first| first.base);
    let of_kept = |kept: &Arc<Kept>| {
        let Source { positions, .. } = Source::of(kept, start)?;
        let reaches_on = positions.end < kept.range.end;
        Some(Extent { positions, bytes: kept.record_bytes, is_kept: true, reaches_on })
    };
    let of_segment = |segment: &Arc<Segment>| Extent {
        positions: segment.base..segment.end,
        bytes: segment.bytes(),
        is_kept: false,
        reaches_on: false,
    };
    kept.iter()
        .filter_map(of_kept)
        .chain(segments.iter().filter(|segment| segment.end <= synced).map(of_segment))
        .collect()
}

/// Makes what is left of the positions in `range` into one kept file: the records at `live`, which are sorted. What kept
/// files say of the range is replaced by it. Every group and block that is read is checked.
pub(crate) fn keep(log: &Log, range: Range<Position>, live: &[Position]) -> Result<(), KeepError> {
    let _one_at_a_time = locked(&log.keeping);
    let files = log.kept.load_full();
    let overlaps = |kept: &&Arc<Kept>| kept.range.start < range.end && range.start < kept.range.end;
    let replaced: Vec<Arc<Kept>> = files.iter().filter(overlaps).cloned().collect();
    let segments = log.segments.load();
    let sources = sources(&segments, &replaced);
    // Also what it says of other positions would go with a file that is replaced.
    let is_cut =
        |source: &&Source<'_>| source.positions.start < range.start || source.positions.end > range.end;
    if let Some(cut) = sources.iter().find(is_cut) {
        return Err(KeepError::CutsKeptFile { file: cut.kept.path.clone(), range });
    }
    let generation = replaced.iter().map(|kept| kept.generation + 1).max().unwrap_or(0);
    let name = Name { range: range.clone(), generation };
    let made =
        if live.is_empty() { None } else { Some(Arc::new(make(log, name, (&sources, &segments), live)?)) };
    let mut now: KeptFiles = files.iter().filter(|kept| !overlaps(kept)).cloned().chain(made).collect();
    now.sort_by_key(|kept| kept.range.start);
    log.kept.store(Arc::new(now));
    if replaced.is_empty() {
        return Ok(());
    }
    let removed = replaced.iter().try_for_each(|kept| log.disk.remove(&kept.path));
    if let Err(error) = removed.and_then(|()| log.disk.sync_dir(&log.dir)) {
        // It takes room until the next open, which knows what others replace.
        tracing::warn!(%error, "a replaced file was not removed");
    }
    Ok(())
}

/// What kept files say that segments do not, in order.
fn sources<'a>(segments: &[Arc<Segment>], files: &'a [Arc<Kept>]) -> Vec<Source<'a>> {
    let start = segments.first().map_or(0, |first| first.base);
    files.iter().filter_map(|kept| Source::of(kept, start)).collect()
}

/// What to read, in order: kept files, then segments.
type Files<'a> = (&'a [Source<'a>], &'a [Arc<Segment>]);

fn make(log: &Log, name: Name, files: Files<'_>, live: &[Position]) -> Result<Kept, KeepError> {
    let io = |error: io::Error| KeepError::Io {
        dir: log.dir.clone(),
        errno: error.raw_os_error(),
        why: error.to_string(),
    };
    let range = name.range.clone();
    let writer = KeptWriter::create(&*log.disk, &log.dir, log.log_id, name).map_err(io)?;
    let mut copy = Copy { writer, wanted: live.iter().peekable() };
    walk_files(log, &range, files, &mut copy)?;
    let Copy { writer, mut wanted } = copy;
    if let Some(&position) = wanted.next() {
        return Err(KeepError::Missing { position });
    }
    writer.finish().map_err(io)
}

/// Shows the records in a range, as far as they are written. An error where what is read is trimmed meanwhile.
pub(crate) fn walk(log: &Log, range: Range<Position>, visitor: &mut dyn Visitor) -> Result<(), OpenError> {
    // In this order: what is trimmed from now on fails to open, and is not passed over.
    let segments = log.segments.load_full();
    let files = log.kept.load_full();
    let mut sources = sources(&segments, &files);
    sources.retain(|s| s.positions.start < range.end && range.start < s.positions.end);
    walk_files(log, &range, (&sources, &segments), visitor)
}

/// Shows the records of kept files, then those of the segments behind them in a range.
fn walk_files(
    log: &Log,
    range: &Range<Position>,
    (sources, segments): Files<'_>,
    visitor: &mut dyn Visitor,
) -> Result<(), OpenError> {
    for Source { kept, positions } in sources {
        kept.walk(&*log.disk, positions.end, visitor)?;
    }
    let from = sources.last().map_or(range.start, |source| source.positions.end);
    let synced = log.synced();
    for segment in segments.iter().filter(|segment| segment.base >= from && segment.base < range.end) {
        let file =
            log.disk.open(&segment.path).map_err(|error| OpenError::io("opening", &segment.path, error))?;
        let mut chain = Chain { log_id: log.log_id, prev_group: None, epoch: 0, synced_to: 0, groups: 0 };
        let position = match scan::walk(segment, &*file, &mut chain, segment.base, visitor)? {
            End::Sealed => continue,
            End::Blank(position) | End::Bad { position, .. } => position,
        };
        if position < synced {
            return Err(OpenError::Corrupt {
                file: segment.path.clone(),
                position,
                what: "a group that was synced is damaged".to_owned(),
                hint: RESTORE_HINT.to_owned(),
            });
        }
        return Ok(());
    }
    Ok(())
}

/// Copies the wanted ones of the records it is shown.
struct Copy<'a> {
    writer: KeptWriter<'a>,
    /// Still to come, in order.
    wanted: Peekable<std::slice::Iter<'a, Position>>,
}

impl Visitor for Copy<'_> {
    fn record(&mut self, position: Position, kind: u8, payload: &[u8]) -> Result<(), String> {
        if self.wanted.next_if(|wanted| **wanted == position).is_none() {
            return Ok(());
        }
        self.writer.add(position, kind, payload).map_err(|error| error.to_string())
    }
}
