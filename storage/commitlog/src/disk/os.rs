//! The real file system of a Linux machine. No memory maps: their page tables and page cache growth are what users of
//! other brokers complain about.
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, Mode, OFlags, SeekFrom, fadvise, fallocate, seek, statfs, statvfs};
use rustix::io::{Errno, pwritev};

use super::{DirLock, Disk, DiskFile, LockError};

/// Magic numbers, as statfs(2) tells them, of file systems that write a block again where it lies: ext2 to ext4, XFS.
const OVERWRITING_FILE_SYSTEMS: [i64; 2] = [0xef53, 0x5846_5342];

/// Zeros to write past the page cache, which asks for memory that begins with a page.
#[repr(align(4096))]
struct Zeros([u8; 1 << 20]);

static ZEROS: Zeros = Zeros([0; 1 << 20]);

/// The file system that the operating system offers.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

#[derive(Debug)]
struct OsFile(File);

impl Disk for OsDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // A name that is not text is none of ours, and it must not hide the others.
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OsFile::new(OpenOptions::new().read(true).write(true).create_new(true).open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OsFile::new(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn overwrites(&self, dir: &Path) -> io::Result<bool> {
        Ok(OVERWRITING_FILE_SYSTEMS.contains(&statfs(dir)?.f_type))
    }

    fn fill(&self, path: &Path, part: Range<u64>) -> io::Result<()> {
        // Past the page cache, which has better things to hold than zeros that nobody reads.
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let mut offset = part.start;
        while offset < part.end {
            let left = usize::try_from(part.end - offset).unwrap_or(usize::MAX);
            let zeros = ZEROS.0.get(..left.min(ZEROS.0.len())).unwrap_or_default();
            offset += crate::width::wide(file.write_at(zeros, offset)?);
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let found = statvfs(dir)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn lock(&self, dir: &Path) -> Result<DirLock, LockError> {
        DirLock::acquire(dir)
    }

    fn nonce(&self) -> u64 {
        // The standard library seeds its hash maps from the kernel's random source.
        RandomState::new().hash_one(std::process::id())
    }
}

impl OsFile {
    /// The kernel reads no more of it than was asked for. What it would read ahead of one reader, up to 8 MiB at once on
    /// common disks, keeps the disk busy while others wait; and many readers of one file look like nobody's order.
    fn new(file: File) -> Self {
        // Where the advice is not taken, reading is only less even.
        let _ = fadvise(&file, 0, None, Advice::Random);
        OsFile(file)
    }
}

impl DiskFile for OsFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.bytes()? < bytes => self.0.set_len(bytes),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(pwritev(&self.0, pieces, offset)?)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, into, offset)
    }

    fn will_read(&self, part: Range<u64>) {
        if let Some(bytes) = part.end.checked_sub(part.start).and_then(std::num::NonZeroU64::new) {
            let _ = fadvise(&self.0, part.start, Some(bytes), Advice::WillNeed);
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn written_parts(&self) -> io::Result<Vec<Range<u64>>> {
        let bytes = self.bytes()?;
        let mut parts = Vec::new();
        let mut offset = 0;
        loop {
            match seek(&self.0, SeekFrom::Data(offset)) {
                Ok(start) => {
                    let end = seek(&self.0, SeekFrom::Hole(start))?.max(start + 1);
                    parts.push(start..end);
                    offset = end;
                }
                Err(Errno::NXIO) => return Ok(parts),
                // A file system that can't tell: anything may be written.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(std::iter::once(0..bytes).collect()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
