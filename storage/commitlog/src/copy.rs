//! Copies of an open log: its files, as they were up to a synced position, read while others write. It makes no
//! file itself and checks no checksum: [`crate::check`] does, wherever the copy ends up.
use std::io;
use std::sync::Arc;

use crate::disk::{DiskFile, read_full};
use crate::format::{Mark, SEGMENT_HEADER_BYTES};
use crate::kept::{self, Kept};
use crate::log::Log;
use crate::open::LOG_DIR;
use crate::segment::{Segment, base_of, file_name};
use crate::width::{narrow, wide};
use crate::{LogReader, Position, SEGMENT_BYTES_MAX};

/// A log from its start to a position up to which it was synced. Whatever is trimmed while this lives stays on the
/// disk, so it should not live longer than it is read.
///
/// The files together are a whole log: the last one ends at the position, and its header says that everything below
/// was synced, so that a copy that was cut short is told from one that a crash tore.
#[derive(Debug)]
pub struct LogCopy {
    log: Arc<Log>,
    /// What is kept from before the first segment; open, since another may replace it.
    kept: Vec<(CopiedFile, Arc<dyn DiskFile>)>,
    segments: Vec<Arc<Segment>>,
    end: Position,
}

/// One file of a [`LogCopy`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedFile {
    /// Path from the folder that the log was opened in, with `/`.
    pub name: String,
    pub bytes: u64,
}

impl LogCopy {
    pub(crate) fn new(log: Arc<Log>) -> io::Result<Self> {
        log.hand.lock().copies += 1;
        let mut copy = Self { log, kept: Vec::new(), segments: Vec::new(), end: 0 };
        while !copy.take_files()? {}
        Ok(copy)
    }

    /// Lists what is there; false when a kept file was made meanwhile, so that it must be done again.
    fn take_files(&mut self) -> io::Result<bool> {
        let log = &self.log;
        let kept = log.kept.load_full();
        // From here on no file goes whose segment is listed. In this order: what is synced lies in a listed segment.
        let segments = log.segments.load();
        self.end = log.synced().min(segments.last().map_or(0, |last| last.end));
        self.segments = segments.iter().filter(|segment| segment.base < self.end).cloned().collect();
        let start = self.start();
        let opened: io::Result<Vec<_>> =
            kept.iter().filter(|kept| kept.range.start < start).map(|kept| open_kept(log, kept)).collect();
        if !Arc::ptr_eq(&kept, &log.kept.load()) {
            return Ok(false);
        }
        self.kept = opened?;
        Ok(true)
    }

    /// Lowest position that is copied.
    pub fn start(&self) -> Position {
        self.segments.first().map_or(0, |first| first.base)
    }

    /// Everything below is copied.
    pub fn end(&self) -> Position {
        self.end
    }

    /// The files, in the order of their positions.
    pub fn files(&self) -> impl Iterator<Item = CopiedFile> + '_ {
        let segments = self.segments.iter().map(|segment| CopiedFile {
            name: copied_name(&file_name(segment.base)),
            bytes: self.end.min(segment.end) - segment.base,
        });
        self.kept.iter().map(|(file, _)| file.clone()).chain(segments)
    }

    /// Reads `bytes` of the file with this number from `offset` on. A read from the start should take in the whole
    /// segment header. Blocks for as long as the disk takes.
    pub fn read(&self, number: usize, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        let Some(number) = number.checked_sub(self.kept.len()) else {
            let (_, file) = self.kept.get(number).ok_or(io::ErrorKind::NotFound)?;
            read_full(&**file, &mut buffer, offset)?;
            return Ok(buffer);
        };
        let segment = self.segments.get(number).ok_or(io::ErrorKind::NotFound)?;
        // Behind the group that seals a segment the file may end early, and nothing is there.
        read_full(&*segment.file(&*self.log.disk)?, &mut buffer, offset)?;
        if offset == 0 && number + 1 == self.segments.len() {
            self.mark_end(segment, &mut buffer);
        }
        Ok(buffer)
    }

    /// Has the header say that what is copied was synced, and no more, whatever it says by now of this open.
    fn mark_end(&self, segment: &Segment, page: &mut [u8]) {
        let mark = Mark { synced_to: self.end.min(segment.end), epoch: self.log.epoch };
        let bytes = mark.encode(self.log.log_id);
        if let Some(place) = page.get_mut(mark.offset()..mark.offset() + bytes.len()) {
            place.copy_from_slice(&bytes);
        }
    }
}

impl Drop for LogCopy {
    fn drop(&mut self) {
        let mut hand = self.log.hand.lock();
        hand.copies -= 1;
        self.log.hand.unlock_and_wake_keeper(hand);
    }
}

impl LogReader {
    /// A copy of everything that is synced now.
    pub fn copy(&self) -> io::Result<LogCopy> {
        LogCopy::new(self.log())
    }
}

fn open_kept(log: &Log, kept: &Kept) -> io::Result<(CopiedFile, Arc<dyn DiskFile>)> {
    let file = log.disk.open(&kept.path)?;
    let name = copied_name(&kept.path.file_name().unwrap_or_default().to_string_lossy());
    Ok((CopiedFile { name, bytes: file.bytes()? }, file))
}

/// Whether a [`CopiedFile`] can have this name and length.
pub fn is_copied_file(file: &CopiedFile) -> bool {
    let Some(name) = file.name.strip_prefix(LOG_DIR).and_then(|rest| rest.strip_prefix('/')) else {
        return false;
    };
    let is_segment = matches!(base_of(name), Some(Ok(_)))
        && (wide(SEGMENT_HEADER_BYTES)..=SEGMENT_BYTES_MAX).contains(&file.bytes);
    is_segment || (matches!(kept::Name::parse(name), Some(Ok(_))) && file.bytes >= kept::FILE_BYTES_MIN)
}

fn copied_name(file_name: &str) -> String {
    format!("{LOG_DIR}/{file_name}")
}

const _: () = assert!(narrow(SEGMENT_BYTES_MAX) > SEGMENT_HEADER_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_file_has_its_least_bytes_and_a_segment_no_more_than_its_most() {
        let kept = format!("{:020}-{:020}-{:010}.kept", 0, 4096, 1);
        let segment = file_name(4096);
        let header_bytes = wide(SEGMENT_HEADER_BYTES);
        for (name, bytes, expected) in [
            (&kept, kept::FILE_BYTES_MIN, true),
            (&kept, kept::FILE_BYTES_MIN - 1, false),
            (&segment, header_bytes, true),
            (&segment, header_bytes - 1, false),
            (&segment, SEGMENT_BYTES_MAX, true),
            (&segment, SEGMENT_BYTES_MAX + 1, false),
        ] {
            let file = CopiedFile { name: copied_name(name), bytes };
            assert_eq!(is_copied_file(&file), expected, "{file:?}");
        }
    }
}
