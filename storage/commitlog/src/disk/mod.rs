//! The only door to files: what the log needs of a file system, as two traits, the real one, and (feature `testing`)
//! a double in memory with injected faults. It knows nothing of segments and records.
use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "testing")]
mod fault;
mod lock;
mod os;

#[cfg(feature = "testing")]
pub use fault::{FaultDisk, Loss, Op};
pub use lock::{DirLock, LockError};
pub use os::OsDisk;

/// What [`Disk::fill`] is done in multiples of.
pub const FILL_STEP_BYTES: u64 = 4096;

/// A file system. Names are durable only after [`Disk::sync_dir`] of their folder.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a folder and those above it. No error when it exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names of the files in a folder, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a new empty file, open for reading and writing. `AlreadyExists` when the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file; a file that has the new name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name. Who has it open keeps its bytes.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Whether a write to bytes that were written before goes to the same blocks, which are then cheaper to sync.
    fn overwrites(&self, dir: &Path) -> io::Result<bool>;
    /// Writes zeros to a part of a file whose space is reserved and that nobody else uses at present. Both ends of the
    /// part are multiples of [`FILL_STEP_BYTES`].
    fn fill(&self, path: &Path, part: Range<u64>) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that are free for this process where `dir` lies.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes a folder for this process until the lock is dropped.
    fn lock(&self, dir: &Path) -> Result<DirLock, LockError>;
    /// A number that cannot be foreseen from outside; a simulation draws it from its seed.
    fn nonce(&self) -> u64;
}

/// An open file. All access is positioned, so that no two users share a cursor.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Length in bytes.
    fn bytes(&self) -> io::Result<u64>;
    /// Makes the file at least `bytes` long with its space reserved, so that no later write inside can find the disk
    /// full. New bytes read as zero. Where the file system cannot reserve, only the length is set.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Writes the pieces one after another from `offset` on; returns how many bytes were written, which may be fewer.
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Reads from `offset` on; returns how many bytes were read, 0 at the end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Says that a part will soon be read, so that the disk may begin to bring it. Nothing else is read ahead.
    fn will_read(&self, part: Range<u64>);
    /// Makes the file's bytes and its length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file to `bytes`.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Parts of the file that may hold bytes that were written, in order. All outside them was never written and reads
    /// as zeros. Reading can make an unwritten part look written, so this is asked before it.
    fn written_parts(&self) -> io::Result<Vec<Range<u64>>>;
}

/// Makes a new empty file, in place of one that an earlier attempt left behind.
pub fn create_anew(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    match disk.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(path)?;
            disk.create(path)
        }
        created => created,
    }
}

/// Reads until `into` is full or the file ends; returns how many bytes were read.
pub fn read_full(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + crate::width::wide(done)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all pieces; returns the error together with how many bytes were written before it.
pub fn write_full(
    file: &dyn DiskFile,
    mut pieces: &mut [IoSlice<'_>],
    mut offset: u64,
) -> Result<(), (usize, io::Error)> {
    let mut done = 0;
    while !pieces.is_empty() {
        match file.write_at(pieces, offset) {
            Ok(0) => return Err((done, io::ErrorKind::WriteZero.into())),
            Ok(wrote) => {
                IoSlice::advance_slices(&mut pieces, wrote);
                offset += crate::width::wide(wrote);
                done += wrote;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((done, error)),
        }
    }
    Ok(())
}
