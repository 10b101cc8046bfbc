//! One segment file and its name. Its header is written here; what lies behind the header is not looked at.
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use crate::Position;
use crate::disk::{Disk, DiskFile, create_anew, write_full};
use crate::format::{Mark, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::planted::{Bug, planted};
use crate::width::wide;

/// A segment that is being made. It gets its real name only when it is whole and synced, so a file with a segment's
/// name always has a whole header.
pub(crate) const UNFINISHED_FILE: &str = "next.tmp";
/// Files with this suffix are being made or removed, and mean nothing at an open.
pub(crate) const PASSING_SUFFIX: &str = ".tmp";
const SUFFIX: &str = ".seg";
const BASE_DIGITS: usize = 20;

/// Positions `base..end`, held by one file. The file is opened when it is needed and may be closed between uses.
pub(crate) struct Segment {
    pub base: Position,
    pub end: Position,
    /// The open that made the file.
    pub epoch: u64,
    /// Behind the last group may lie bytes of an earlier segment.
    pub recycled: bool,
    pub path: PathBuf,
    file: ArcSwapOption<Arc<dyn DiskFile>>,
    /// True once the readers' list of open files holds it, which then says when it is closed.
    pub listed_for_readers: AtomicBool,
}

impl Segment {
    pub fn new(header: &SegmentHeader, path: PathBuf, file: Option<Arc<dyn DiskFile>>) -> Self {
        Self {
            base: header.base,
            end: header.base + header.segment_bytes,
            epoch: header.epoch,
            recycled: header.recycled,
            path,
            file: ArcSwapOption::new(file.map(Arc::new)),
            listed_for_readers: AtomicBool::new(false),
        }
    }

    /// The open file, opened now if it is not.
    pub fn file(&self, disk: &dyn Disk) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.file.load().as_ref() {
            return Ok(Arc::clone(file));
        }
        let file = disk.open(&self.path)?;
        self.file.store(Some(Arc::new(Arc::clone(&file))));
        Ok(file)
    }

    /// Closes the file once its present users are done with it.
    pub fn close(&self) {
        self.file.store(None);
        self.listed_for_readers.store(false, Ordering::Relaxed);
    }

    /// Closes the file; true when nobody uses it any more, which nobody can begin to, since there is no other owner.
    pub fn close_for_good(&mut self) -> bool {
        self.file.swap(None).is_none_or(|file| Arc::strong_count(&file) == 1)
    }

    /// First position that a group can have here.
    pub fn first_group(&self) -> Position {
        self.base + wide(SEGMENT_HEADER_BYTES)
    }

    pub fn bytes(&self) -> u64 {
        self.end - self.base
    }

    /// Records in the file's header that everything below `mark.synced_to` is synced, durably.
    pub fn write_mark(&self, disk: &dyn Disk, log_id: u64, mark: Mark) -> io::Result<()> {
        let file = self.file(disk)?;
        let bytes = mark.encode(log_id);
        write_full(&*file, &mut [IoSlice::new(&bytes)], wide(mark.offset())).map_err(|(_, error)| error)?;
        file.sync_data()
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({}..{})", self.base, self.end)
    }
}

/// File name of the segment with this base.
pub(crate) fn file_name(base: Position) -> String {
    format!("{base:0BASE_DIGITS$}{SUFFIX}")
}

/// Name of a trimmed segment's file until it is gone.
pub(crate) fn trimmed_file_name(base: Position) -> String {
    format!("{base:0BASE_DIGITS$}{PASSING_SUFFIX}")
}

/// The base that a file's name says, `None` when it is not a segment's name, an error when it nearly is.
pub(crate) fn base_of(name: &str) -> Option<Result<Position, ()>> {
    let digits = name.strip_suffix(SUFFIX)?;
    let well_formed = digits.len() == BASE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    Some(digits.parse().ok().filter(|_| well_formed).ok_or(()))
}

/// At which step making a segment failed, which decides what that means for the log.
#[derive(Debug)]
pub(crate) enum MakeError {
    /// Before anything was synced; nothing is left behind.
    Before(io::Error),
    /// A sync failed.
    Sync(io::Error),
}

/// Makes a segment file with its space reserved and its header and name durable; of the file `used` if there is one.
pub(crate) fn make(
    disk: &dyn Disk,
    dir: &Path,
    header: &SegmentHeader,
    used: Option<&Path>,
) -> Result<(PathBuf, Arc<dyn DiskFile>), MakeError> {
    let unfinished = dir.join(UNFINISHED_FILE);
    let result = fill(disk, &unfinished, header, used).and_then(|file| {
        let path = dir.join(file_name(header.base));
        disk.rename(&unfinished, &path).map_err(MakeError::Before)?;
        Ok((path, file))
    });
    let (path, file) = result.inspect_err(|_| {
        // It is removed at the next attempt or the next open in any case.
        let _ = disk.remove(&unfinished);
    })?;
    if !planted(Bug::NameNotSynced) {
        disk.sync_dir(dir).map_err(MakeError::Sync)?;
    }
    Ok((path, file))
}

fn fill(
    disk: &dyn Disk,
    path: &Path,
    header: &SegmentHeader,
    used: Option<&Path>,
) -> Result<Arc<dyn DiskFile>, MakeError> {
    let file = match used {
        None => create_anew(disk, path),
        Some(used) => disk.rename(used, path).and_then(|()| disk.open(path)),
    };
    let file = file.map_err(MakeError::Before)?;
    file.allocate(header.segment_bytes).map_err(MakeError::Before)?;
    let page = header.encode();
    write_full(&*file, &mut [IoSlice::new(&page)], 0).map_err(|(_, error)| MakeError::Before(error))?;
    file.sync_data().map_err(MakeError::Sync)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(file_name(134_217_728), "00000000000134217728.seg");
        assert_eq!(base_of("00000000000134217728.seg"), Some(Ok(134_217_728)));
        assert_eq!(base_of(&file_name(u64::MAX)), Some(Ok(u64::MAX)));
        assert_eq!(base_of("99999999999999999999.seg"), Some(Err(())));
        assert_eq!(base_of("0.seg"), Some(Err(())));
        assert_eq!(base_of("+0000000000134217728.seg"), Some(Err(())));
        assert_eq!(base_of(UNFINISHED_FILE), None);
    }
}
