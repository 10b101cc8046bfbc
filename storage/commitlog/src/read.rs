//! Reads ranges of the log from any thread: the newest from memory, others by positioned reads that fetch near ranges
//! together. It checks no checksum: recovery did, or this process wrote the bytes; and it knows nothing of records.
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};

use crate::ahead::{self, Streams};
use crate::config::{READ_FILES_MAX, READ_GAP_BYTES_MAX, READ_RUN_BYTES_MAX};
use crate::disk::DiskFile;
use crate::error::{KeepError, OpenError, ReadError};
use crate::kept::{self, Extent};
use crate::log::{Log, locked};
use crate::segment::Segment;
use crate::width::{from_u32, narrow};
use crate::{Position, Visitor};

/// Reads the log from any thread. Cheap to clone; shares no lock with the appender or the log's threads.
#[derive(Debug, Clone)]
pub struct LogReader {
    log: Arc<Log>,
    /// Segments whose files were opened for reading, oldest first. Shared by the readers only.
    listed: Arc<Mutex<VecDeque<Arc<Segment>>>>,
    streams: Arc<Streams>,
}

/// Ranges of one segment that one read fetches.
struct Run<'a> {
    segment: &'a Arc<Segment>,
    start: Position,
    end: Position,
    ranges: &'a [(Position, u32)],
}

impl LogReader {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { log, listed: Arc::default(), streams: Arc::default() }
    }

    pub(crate) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    /// The `len` bytes at `position` if they are among the newest, which are kept in memory. Not copied. They may not
    /// be written yet: whoever reads here knows from elsewhere how far it may look.
    pub fn cached(&self, position: Position, len: usize) -> Option<Bytes> {
        self.log.cache.get(position, len)
    }

    /// Bytes kept in memory, without those of the part that is being filled.
    pub fn cached_bytes(&self) -> usize {
        self.log.cache.bytes()
    }

    /// Lowest position of the segments; below it there is only what is kept.
    pub fn start(&self) -> Position {
        self.log.start.load(Ordering::Acquire)
    }

    /// Reads ranges of (position, bytes) from the files, whether or not they are also in memory. One result per range,
    /// in the same order. The ranges should be sorted by position: those that lie near the one before are fetched
    /// together with it. Blocks for as long as the disk takes.
    pub fn read(&self, wanted: &[(Position, u32)]) -> Vec<Result<Bytes, ReadError>> {
        let mut results = Vec::with_capacity(wanted.len());
        // In this order: what is below `written` lies in a segment that was listed before.
        let written = self.log.written();
        let segments = self.log.segments.load();
        while let Some(rest) = wanted.get(results.len()..)
            && let Some(&(position, bytes)) = rest.first()
        {
            match self.locate(&segments, position, bytes, written) {
                Ok(segment) => {
                    let run = gather(segment, rest, written.min(segment.end));
                    self.read_run(&run, &mut results);
                }
                Err(ReadError::Trimmed { .. }) => kept::read(&self.log, rest, &mut results),
                Err(error) => results.push(Err(error)),
            }
        }
        results
    }

    /// The parts of the log that can be given back, in order: all but the newest segments.
    pub fn extents(&self) -> Vec<Extent> {
        kept::extents(&self.log)
    }

    /// Sees to it that the records at `live` (sorted, each the start of a record, all synced) are still found when the
    /// segments in `range` are trimmed, and that kept files in `range` hold nothing else. `range` goes from the start of
    /// an extent to the end of one. Blocks for as long as copying takes.
    pub fn keep(&self, range: Range<Position>, live: &[Position]) -> Result<(), KeepError> {
        kept::keep(&self.log, range, live)
    }

    /// Shows the records in `range`, in order, as far as they are written, with every checksum: what is kept of it, then
    /// what its segments hold. Blocks for as long as the disk takes.
    pub fn walk(&self, range: Range<Position>, visitor: &mut dyn Visitor) -> Result<(), OpenError> {
        kept::walk(&self.log, range, visitor)
    }

    fn locate<'a>(
        &self,
        segments: &'a [Arc<Segment>],
        position: Position,
        bytes: u32,
        written: Position,
    ) -> Result<&'a Arc<Segment>, ReadError> {
        let found = segments.get(segments.partition_point(|segment| segment.end <= position));
        match found.filter(|segment| segment.base <= position) {
            None if position < written => Err(ReadError::Trimmed { position, start: self.start() }),
            Some(segment) if fits(position, bytes, written.min(segment.end)) => Ok(segment),
            found => {
                let end = found.map_or(written, |segment| written.min(segment.end));
                Err(ReadError::Beyond { position, bytes, end })
            }
        }
    }

    fn read_run(&self, run: &Run<'_>, results: &mut Vec<Result<Bytes, ReadError>>) {
        let mut buffer = BytesMut::zeroed(narrow(run.end - run.start));
        let (start, end) = (run.start - run.segment.base, run.end - run.segment.base);
        let goes_on = self.streams.goes_on(run.start, run.end);
        let reach = if goes_on { ahead::reach(end).min(run.segment.bytes()) } else { end };
        let read = self.file(run.segment).and_then(|file| {
            let read = ahead::read(&*file, &mut buffer, start, reach)?;
            if read < buffer.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        });
        if read.is_err() && run.start < self.start() {
            // The segment was trimmed while it was read.
            return kept::read(&self.log, run.ranges, results);
        }
        let buffer = buffer.freeze();
        // Whoever keeps one range must not keep all that lies between them.
        let wanted: usize = run.ranges.iter().map(|&(_, bytes)| from_u32(bytes)).sum();
        let is_sparse = wanted < buffer.len() / 2;
        results.extend(run.ranges.iter().map(|&(position, bytes)| match &read {
            Ok(()) => {
                let from = narrow(position - run.start);
                let range = buffer.slice(from..from + from_u32(bytes));
                Ok(if is_sparse { Bytes::copy_from_slice(&range) } else { range })
            }
            Err(error) => {
                Err(ReadError::Io { position, errno: error.raw_os_error(), why: error.to_string() })
            }
        }));
    }

    /// The segment's file. Only so many are kept open for readers; the one opened longest ago is closed first.
    fn file(&self, segment: &Arc<Segment>) -> io::Result<Arc<dyn DiskFile>> {
        let file = segment.file(&*self.log.disk)?;
        if !segment.listed_for_readers.load(Ordering::Relaxed) {
            let mut listed = locked(&self.listed);
            if !segment.listed_for_readers.swap(true, Ordering::Relaxed) {
                listed.push_back(Arc::clone(segment));
            }
            if listed.len() > READ_FILES_MAX
                && let Some(oldest) = listed.pop_front()
            {
                oldest.close();
            }
        }
        Ok(file)
    }
}

fn fits(position: Position, bytes: u32, end: Position) -> bool {
    position.checked_add(u64::from(bytes)).is_some_and(|range_end| range_end <= end)
}

/// As many of the first ranges as one read serves well.
fn gather<'a>(segment: &'a Arc<Segment>, ranges: &'a [(Position, u32)], limit: Position) -> Run<'a> {
    let start = ranges.first().map_or(0, |&(position, _)| position);
    let mut end = start;
    let mut count = 0;
    for &(position, bytes) in ranges {
        let near = position >= start && position <= end.saturating_add(READ_GAP_BYTES_MAX);
        if !fits(position, bytes, limit) || (count > 0 && !near) {
            break;
        }
        let with_it = end.max(position + u64::from(bytes));
        if count > 0 && with_it - start > READ_RUN_BYTES_MAX {
            break;
        }
        end = with_it;
        count += 1;
    }
    Run { segment, start, end, ranges: ranges.get(..count).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::disk::{Disk, FaultDisk};
    use crate::format::SegmentHeader;
    use crate::width::wide;
    use crate::{LogConfig, Visitor};

    struct Blind;

    impl Visitor for Blind {
        fn record(&mut self, _position: Position, _kind: u8, _payload: &[u8]) -> Result<(), String> {
            Ok(())
        }
    }

    fn segment(base: Position) -> Arc<Segment> {
        let header = SegmentHeader { log_id: 1, base, segment_bytes: 1 << 30, epoch: 1, recycled: false };
        Arc::new(Segment::new(&header, "/file".into(), None))
    }

    #[test]
    fn one_read_fetches_so_many_bytes_and_one_range_always() {
        let segment = segment(0);
        let fetched = |first: u64, second: u64| {
            let ranges = [(0, first.try_into().unwrap()), (first, second.try_into().unwrap())];
            gather(&segment, &ranges, 1 << 30).ranges.len()
        };
        assert_eq!(fetched(READ_RUN_BYTES_MAX - 1, 1), 2);
        assert_eq!(fetched(READ_RUN_BYTES_MAX - 1, 2), 1);
        assert_eq!(fetched(READ_RUN_BYTES_MAX + 1, 1), 1);
    }

    #[test]
    fn so_many_files_are_kept_open_for_readers() {
        let disk = FaultDisk::new(1);
        let config = LogConfig { sync_interval: Duration::from_secs(3600), ..LogConfig::default() };
        let log = crate::open(Arc::new(disk.clone()), Path::new("/data"), config, None, &mut Blind).unwrap();
        disk.create(Path::new("/file")).unwrap();
        let segments: Vec<_> = (0..=wide(READ_FILES_MAX)).map(|number| segment(number << 30)).collect();
        let open = || {
            let is_listed = |segment: &&Arc<Segment>| segment.listed_for_readers.load(Ordering::Relaxed);
            segments.iter().filter(is_listed).map(|segment| segment.base >> 30).collect::<Vec<_>>()
        };
        let (last, first) = (segments.last().unwrap(), segments.first().unwrap());
        for segment in segments.iter().take(READ_FILES_MAX) {
            log.reader.file(segment).unwrap();
        }
        assert_eq!(open(), (0..wide(READ_FILES_MAX)).collect::<Vec<_>>());
        log.reader.file(last).unwrap();
        assert_eq!(open(), (1..=wide(READ_FILES_MAX)).collect::<Vec<_>>());
        log.reader.file(first).unwrap();
        assert_eq!(open().len(), READ_FILES_MAX, "the one closed is opened again, in place of another");
    }
}
