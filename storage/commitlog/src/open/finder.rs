//! Finds the files of a log and where it ends, and makes it end there.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Cut, RESTORE_HINT, Recovery};
use crate::append::Tail;
use crate::config::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::disk::{Disk, DiskFile, read_full, write_full};
use crate::error::{OpenError, is_full};
use crate::format::{HeaderFault, Mark, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::kept::{self, KeptFiles};
use crate::planted::{Bug, planted};
use crate::scan::{self, Chain, End};
use crate::segment::{PASSING_SUFFIX, Segment, base_of};
use crate::width::{narrow, wide};
use crate::{Position, Visitor};

/// Bytes that are written again at once.
const REWRITE_BYTES: usize = 1 << 20;

/// Finds the log's files and where it ends.
pub(super) struct Finder<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    pub segments: Vec<Arc<Segment>>,
    pub kept: KeptFiles,
    /// What the segments' headers say is synced.
    marks: Vec<Mark>,
    pub log_id: Option<u64>,
}

/// The end of the log, as the segments have it.
pub(super) struct Found {
    stop: Stop,
    pub chain: Chain,
    pub end: Position,
    pub cut: Option<Cut>,
}

pub(super) struct Recovered {
    pub tail: Tail,
    pub recovery: Recovery,
    pub next_base: Position,
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
    pub fn new(disk: &'a dyn Disk, dir: &'a Path) -> Self {
        Self { disk, dir, segments: Vec::new(), kept: Vec::new(), marks: Vec::new(), log_id: None }
    }

    pub fn start(&self) -> Position {
        self.segments.first().map_or(0, |first| first.base)
    }

    /// Finds segments and kept files; returns the files that are on their way to become one, or to go.
    pub fn find_files(&mut self) -> Result<Vec<PathBuf>, OpenError> {
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

    pub fn remove(&self, path: &Path) -> Result<(), OpenError> {
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

    pub fn recover(
        &mut self,
        from: Option<Position>,
        visitor: &mut dyn Visitor,
    ) -> Result<Recovered, OpenError> {
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
    pub fn find_end(
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
