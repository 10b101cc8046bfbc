//! Key files: for a part of the log, the hash of every message key with the position of its message, sorted by hash.
//! Made whole and never changed; everything in them can be made again from the log.
//!
//! A file is named `FROM-TO.keys` (20 digits each) for the positions that it covers. All numbers are little-endian.
//! ```text
//! header     8 bytes magic, u32 version, u32 CRC-32C of the rest of the header, u64 from, u64 to, u64 entries
//! pages      each: up to 5,461 entries (u64 hash, u32 (position - from) / 8), u32 CRC-32C of the entries
//! directory  per page: u64 hash of its first entry; then u32 CRC-32C of these
//! ```
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut};
use crc32c::crc32c;
use mailrail_commitlog::Position;
use mailrail_commitlog::disk::{Disk, DiskFile, create_anew, read_full, write_full};

const SUFFIX: &str = ".keys";
/// A file that is being made.
pub(super) const UNFINISHED_FILE: &str = "keys.tmp";
const MAGIC: [u8; 8] = *b"MRKEYS\0\x01";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 40;
const ENTRY_BYTES: usize = 12;
/// Entries of a page: 64 KiB.
const PAGE_ENTRIES: usize = 5_461;
const POSITION_STEP: u64 = 8;

/// A key's hash and where its message lies.
pub(super) type KeyAt = (u64, Position);

/// A key file that can be searched.
#[derive(Debug)]
pub(super) struct KeyFile {
    pub range: Range<Position>,
    pub path: PathBuf,
    entries: u64,
    /// Hash of the first entry of each page.
    directory: Vec<u64>,
}

/// Name of the key file for a range.
fn file_name(range: &Range<Position>) -> String {
    format!("{:020}-{:020}{SUFFIX}", range.start, range.end)
}

/// The range that a key file's name says.
pub(super) fn range_of(name: &str) -> Option<Range<Position>> {
    let (start, end) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let range = start.parse().ok()?..end.parse().ok()?;
    (file_name(&range) == name).then_some(range)
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn read_exactly(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<()> {
    if read_full(file, into, offset)? == into.len() { Ok(()) } else { Err(damaged("the file is cut off")) }
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl KeyFile {
    /// Opens the file for a range; the pages are checked when they are read.
    pub fn open(disk: &dyn Disk, path: PathBuf, range: Range<Position>) -> io::Result<Self> {
        let file = disk.open(&path)?;
        let mut header = [0; HEADER_BYTES];
        read_exactly(&*file, &mut header, 0)?;
        let (mut start, summed) = header.split_at(16);
        if !start.starts_with(&MAGIC) {
            return Err(damaged("the file does not start as a key file"));
        }
        start.advance(MAGIC.len());
        if start.get_u32_le() != VERSION || start.get_u32_le() != crc32c(summed) {
            return Err(damaged("the header is damaged or of another version"));
        }
        let mut fields = summed;
        if (fields.get_u64_le()..fields.get_u64_le()) != range {
            return Err(damaged("name and header do not agree"));
        }
        let entries = fields.get_u64_le();
        let found = Self { range, path, entries, directory: Vec::new() };
        let (pages, at) = (found.pages(), found.page_offset(found.pages()));
        if file.bytes()? != at + pages * 8 + 4 {
            return Err(damaged("the file has another length than its header says"));
        }
        let mut packed = vec![0; usize::try_from(pages * 8 + 4).map_err(io::Error::other)?];
        read_exactly(&*file, &mut packed, at)?;
        let (summed, mut sum) = packed.split_at(packed.len() - 4);
        if crc32c(summed) != sum.get_u32_le() {
            return Err(damaged("the directory is damaged"));
        }
        let directory = summed.chunks(8).map(|mut hash| hash.get_u64_le()).collect();
        Ok(Self { directory, ..found })
    }

    fn pages(&self) -> u64 {
        self.entries.div_ceil(wide(PAGE_ENTRIES))
    }

    fn page_offset(&self, page: u64) -> u64 {
        let entries = (page * wide(PAGE_ENTRIES)).min(self.entries);
        wide(HEADER_BYTES) + entries * wide(ENTRY_BYTES) + page * 4
    }

    /// Positions of the messages that have a key with this hash, lowest first.
    pub fn find(&self, disk: &dyn Disk, hash: u64) -> io::Result<Vec<Position>> {
        let mut found = Vec::new();
        // Equal hashes may begin in the page before the first that starts with it.
        let first = self.directory.partition_point(|start| *start < hash).saturating_sub(1);
        let mut file = None;
        for (start, page) in self.directory.iter().zip(0u64..).skip(first) {
            if *start > hash {
                break;
            }
            let file = match &file {
                Some(file) => file,
                None => file.insert(disk.open(&self.path)?),
            };
            self.find_in_page(&**file, page, hash, &mut found)?;
        }
        found.sort_unstable();
        Ok(found)
    }

    fn find_in_page(
        &self,
        file: &dyn DiskFile,
        page: u64,
        hash: u64,
        found: &mut Vec<Position>,
    ) -> io::Result<()> {
        let (start, end) = (self.page_offset(page), self.page_offset(page + 1));
        let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        read_exactly(file, &mut bytes, start)?;
        let (entries, mut sum) = bytes.split_at(bytes.len() - 4);
        if crc32c(entries) != sum.get_u32_le() {
            return Err(damaged("a page is damaged"));
        }
        for mut entry in entries.chunks(ENTRY_BYTES) {
            if entry.get_u64_le() == hash {
                found.push(self.range.start + u64::from(entry.get_u32_le()) * POSITION_STEP);
            }
        }
        Ok(())
    }
}

/// Makes the key file for a range.
pub(super) struct KeyWriter<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    range: Range<Position>,
    file: Arc<dyn DiskFile>,
    offset: u64,
    entries: u64,
    /// Fewer than a page's entries.
    pending: Vec<KeyAt>,
    directory: Vec<u64>,
}

impl<'a> KeyWriter<'a> {
    pub fn create(disk: &'a dyn Disk, dir: &'a Path, range: Range<Position>) -> io::Result<Self> {
        let unfinished = dir.join(UNFINISHED_FILE);
        let file = create_anew(disk, &unfinished)?;
        let (pending, directory) = (Vec::new(), Vec::new());
        Ok(Self { disk, dir, range, file, offset: wide(HEADER_BYTES), entries: 0, pending, directory })
    }

    /// Adds keys, all of which sort behind those that were added before; leaves `keys` empty.
    pub fn add(&mut self, keys: &mut Vec<KeyAt>) -> io::Result<()> {
        keys.sort_unstable();
        keys.dedup();
        self.pending.append(keys);
        let pending = std::mem::take(&mut self.pending);
        let pages = pending.chunks_exact(PAGE_ENTRIES);
        self.pending = pages.remainder().to_vec();
        pages.into_iter().try_for_each(|page| self.write_page(page))
    }

    fn write_page(&mut self, page: &[KeyAt]) -> io::Result<()> {
        let mut out = Vec::with_capacity(page.len() * ENTRY_BYTES + 4);
        for (hash, position) in page {
            out.put_u64_le(*hash);
            out.put_u32_le(
                u32::try_from((position - self.range.start) / POSITION_STEP).map_err(io::Error::other)?,
            );
        }
        let sum = crc32c(&out);
        out.put_u32_le(sum);
        self.directory.extend(page.first().map(|(hash, _)| *hash));
        self.entries += wide(page.len());
        self.write(&out, self.offset)?;
        self.offset += wide(out.len());
        Ok(())
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_full(&*self.file, &mut [IoSlice::new(bytes)], offset).map_err(|(_, error)| error)
    }

    /// Completes the file and gives it its name, durably.
    pub fn finish(mut self) -> io::Result<KeyFile> {
        let last = std::mem::take(&mut self.pending);
        if !last.is_empty() {
            self.write_page(&last)?;
        }
        let mut packed: Vec<u8> = self.directory.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        let sum = crc32c(&packed);
        packed.put_u32_le(sum);
        self.write(&packed, self.offset)?;
        let mut fields = Vec::with_capacity(HEADER_BYTES);
        for word in [self.range.start, self.range.end, self.entries] {
            fields.put_u64_le(word);
        }
        let mut header = MAGIC.to_vec();
        header.put_u32_le(VERSION);
        header.put_u32_le(crc32c(&fields));
        header.put_slice(&fields);
        self.write(&header, 0)?;
        self.file.sync_data()?;
        let path = self.dir.join(file_name(&self.range));
        self.disk.rename(&self.dir.join(UNFINISHED_FILE), &path)?;
        self.disk.sync_dir(self.dir)?;
        let Self { range, entries, directory, .. } = self;
        Ok(KeyFile { range, path, entries, directory })
    }
}

#[cfg(test)]
mod tests {
    use mailrail_commitlog::disk::FaultDisk;

    use super::*;

    /// Enough for several pages; every hash that is a multiple of 7 is there 3 times.
    fn written(disk: &FaultDisk) -> KeyFile {
        let keys = (0..20_000u64)
            .flat_map(|n| (0..if n % 7 == 0 { 3 } else { 1 }).map(move |c| (n * 10, 800 + n * 24 + c * 8)));
        write(disk, 800..10_000_000, keys.collect())
    }

    fn write(disk: &FaultDisk, range: Range<Position>, mut keys: Vec<KeyAt>) -> KeyFile {
        keys.sort_unstable();
        let mut writer = KeyWriter::create(disk, Path::new("/data"), range).unwrap();
        keys.chunks(7_777).for_each(|part| writer.add(&mut part.to_vec()).unwrap());
        writer.finish().unwrap()
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        let disk = FaultDisk::new(1);
        let made = written(&disk);
        let file = KeyFile::open(&disk, made.path.clone(), made.range.clone()).unwrap();
        assert_eq!(file.directory, made.directory);
        assert!(file.directory.len() > 3);
        for n in (0..20_000u64).step_by(37).chain([19_999]) {
            let expected: Vec<u64> =
                (0..if n % 7 == 0 { 3 } else { 1 }).map(|c| 800 + n * 24 + c * 8).collect();
            assert_eq!(file.find(&disk, n * 10).unwrap(), expected, "{n}");
        }
        for absent in [1, 199_991, u64::MAX] {
            assert_eq!(file.find(&disk, absent).unwrap(), []);
        }
        let empty = write(&disk, 0..800, Vec::new());
        assert_eq!(KeyFile::open(&disk, empty.path, 0..800).unwrap().find(&disk, 0).unwrap(), []);
    }

    #[test]
    fn one_hash_may_fill_pages() {
        let disk = FaultDisk::new(1);
        let keys: Vec<KeyAt> = (0..12_000).map(|n| (5, n * 8)).chain([(4, 0), (6, 0)]).collect();
        let file = write(&disk, 0..100_000, keys);
        assert_eq!(file.find(&disk, 5).unwrap().len(), 12_000);
        assert_eq!((file.find(&disk, 4).unwrap(), file.find(&disk, 6).unwrap()), (vec![0], vec![0]));
    }

    #[test]
    fn damage_is_an_error() {
        let disk = FaultDisk::new(1);
        let file = written(&disk);
        let bytes = disk.contents(&file.path).unwrap().len();
        for at in (0..HEADER_BYTES).chain((HEADER_BYTES..bytes).step_by(997)).chain([bytes - 1]) {
            let disk = disk.fork();
            disk.tamper(&file.path, |bytes| bytes[at] ^= 1);
            let searched = KeyFile::open(&disk, file.path.clone(), file.range.clone()).and_then(|file| {
                (0..20_000).step_by(1_500).try_for_each(|n| file.find(&disk, n * 10).map(drop))
            });
            assert!(searched.is_err(), "byte {at}");
        }
        for length in (0..bytes).step_by(1009) {
            let disk = disk.fork();
            disk.tamper(&file.path, |bytes| bytes.truncate(length));
            assert!(KeyFile::open(&disk, file.path.clone(), file.range.clone()).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn names_say_ranges() {
        assert_eq!(range_of(&file_name(&(5..800))), Some(5..800));
        assert_eq!(range_of("5-800.keys"), None);
        assert_eq!(range_of(UNFINISHED_FILE), None);
    }
}
