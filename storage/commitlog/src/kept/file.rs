//! Kept files: records that outlive the segments they were written to, each at its own position for ever. A kept file
//! is made whole, from segments and older kept files, and then never changes. Which records are worth keeping is the
//! caller's matter.
//!
//! A file is named `FROM-TO-GENERATION.kept` (20, 20 and 10 digits) and holds what is left of the positions from FROM
//! up to TO. Where two overlap, the one of the higher generation was made from the other and replaces it. All numbers
//! are little-endian; every part is a multiple of 8 bytes long.
//!
//! ```text
//! header      8 bytes magic, u32 version, u32 0, u64 log id, u64 from, u64 to, u64 0,
//!             u32 CRC-32C of bytes 0..48, zeros up to 64
//! blocks      each: u32 magic, u32 payload bytes, u64 position of the first record, u64 0, u32 number of records,
//!             u32 CRC-32C of the payload, u32 CRC-32C of the log id and bytes 0..32, u32 0;
//!             then per record its u64 position and the padded record
//! directory   per block: u64 position of its first record, u64 offset in the file
//! trailer     u64 number of blocks, u64 offset of the directory, u64 bytes of all records,
//!             u32 CRC-32C of the directory, u32 CRC-32C of the log id and of the trailer's bytes before this
//! ```
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc32c::{crc32c, crc32c_append};

use crate::disk::{Disk, DiskFile, create_anew, read_full, write_full};
use crate::error::OpenError;
use crate::record::{self, RECORD_HEADER_BYTES};
use crate::width::{from_u32, narrow, wide};
use crate::{Position, Visitor};

const SUFFIX: &str = ".kept";
/// A kept file that is being made; an open removes it.
const UNFINISHED_FILE: &str = "kept.tmp";
const MAGIC: [u8; 8] = *b"MRKEPT\0\x01";
const VERSION: u32 = 1;
const BLOCK_MAGIC: u32 = u32::from_le_bytes(*b"MRkb");
const HEADER_BYTES: usize = 64;
const BLOCK_HEADER_BYTES: usize = 40;
const TRAILER_BYTES: usize = 32;
/// A kept file without a block.
pub(crate) const FILE_BYTES_MIN: u64 = 96;
const POSITION_BYTES: usize = 8;
const DIRECTORY_ENTRY_BYTES: usize = 16;
/// A block that has reached this size takes no more records: what one read of a record fetches.
const BLOCK_BYTES_SOFT: usize = 64 << 10;
/// Largest directory that is read into memory: that of 4 TiB.
const DIRECTORY_BYTES_MAX: u64 = 1 << 30;

const _: () = assert!(wide(HEADER_BYTES + TRAILER_BYTES) == FILE_BYTES_MIN);

const HINT: &str =
    "a kept file is synced before what it replaces goes: restore it from a backup or another copy";

/// A whole kept file.
#[derive(Debug)]
pub(crate) struct Kept {
    pub range: Range<Position>,
    pub generation: u32,
    pub path: PathBuf,
    log_id: u64,
    /// Bytes of the records in it, with their headers and padding.
    pub record_bytes: u64,
    /// First position and file offset of each block.
    directory: Vec<(Position, u64)>,
    /// Where the last block ends.
    blocks_end: u64,
}

/// The records of one block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    payload: Bytes,
}

impl Block {
    /// The records in order: position and padded bytes.
    fn records(&self) -> impl Iterator<Item = (Position, Bytes)> {
        let mut rest = self.payload.clone();
        std::iter::from_fn(move || {
            let mut head = rest.get(..POSITION_BYTES + RECORD_HEADER_BYTES)?;
            let position = head.get_u64_le();
            let own = from_u32(head.get_u32_le()).checked_sub(RECORD_HEADER_BYTES)?;
            let end = POSITION_BYTES.checked_add(record::padded(own))?;
            if end > rest.len() {
                return None;
            }
            Some((position, rest.split_to(end).split_off(POSITION_BYTES)))
        })
    }

    /// The `len` bytes at `position`, which lie in one record.
    pub fn get(&self, position: Position, len: usize) -> Option<Bytes> {
        let (start, bytes) = self.records().take_while(|(start, _)| *start <= position).last()?;
        let from = narrow(position - start);
        let to = from.checked_add(len)?;
        (to <= bytes.len()).then(|| bytes.slice(from..to))
    }
}

impl Kept {
    /// Reads what the file says of itself; its blocks are checked when they are read.
    pub fn open(disk: &dyn Disk, path: PathBuf, name: &Name, log_id: u64) -> Result<Self, OpenError> {
        let file = disk.open(&path).map_err(|error| OpenError::io("opening", &path, error))?;
        let io = |error| OpenError::io("reading", &path, error);
        let corrupt = |what: &str| OpenError::Corrupt {
            file: path.clone(),
            position: name.range.start,
            what: what.to_owned(),
            hint: HINT.to_owned(),
        };
        let mut header = [0; HEADER_BYTES];
        read_full(&*file, &mut header, 0).map_err(io)?;
        match check_header(&header, log_id, &name.range) {
            Ok(()) => {}
            Err(HeaderFault::Newer { found }) => {
                return Err(OpenError::NewerFormat { file: path, found, supported: VERSION });
            }
            Err(HeaderFault::Bad(what)) => return Err(corrupt(what)),
        }
        let bytes = file.bytes().map_err(io)?;
        let trailer_at =
            bytes.checked_sub(wide(TRAILER_BYTES)).ok_or_else(|| corrupt("the file is cut off"))?;
        let mut trailer = [0; TRAILER_BYTES];
        read_full(&*file, &mut trailer, trailer_at).map_err(io)?;
        let (mut fields, mut sum) = trailer.split_at(TRAILER_BYTES - 4);
        if crc32c_append(seed(log_id), fields) != sum.get_u32_le() {
            return Err(corrupt("the trailer's checksum is wrong, or the file is cut off"));
        }
        let (count, blocks_end, record_bytes) =
            (fields.get_u64_le(), fields.get_u64_le(), fields.get_u64_le());
        let directory_crc = fields.get_u32_le();
        let directory_bytes = directory_bytes(count, blocks_end..trailer_at)
            .ok_or_else(|| corrupt("the trailer and the length of the file do not agree"))?;
        let mut packed = vec![0; narrow(directory_bytes)];
        read_full(&*file, &mut packed, blocks_end).map_err(io)?;
        if crc32c(&packed) != directory_crc {
            return Err(corrupt("the directory's checksum is wrong"));
        }
        let mut rest = &packed[..];
        let directory = (0..count).map(|_| (rest.get_u64_le(), rest.get_u64_le())).collect();
        let Name { range, generation } = name.clone();
        Ok(Self { range, generation, path, log_id, record_bytes, directory, blocks_end })
    }

    /// Number of the block that holds a position, if any does.
    pub fn block_of(&self, position: Position) -> Option<usize> {
        self.directory.partition_point(|(first, _)| *first <= position).checked_sub(1)
    }

    /// Reads and checks a block. The error says what is wrong with it.
    pub fn read_block(&self, file: &dyn DiskFile, number: usize) -> io::Result<Block> {
        let bad = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{what} in {}", self.path.display()))
        };
        let &(first, start) = self.directory.get(number).ok_or_else(|| bad("no such block"))?;
        let end = self.directory.get(number + 1).map_or(self.blocks_end, |(_, offset)| *offset);
        let bytes = end.checked_sub(start).ok_or_else(|| bad("blocks are out of order"))?;
        let mut block = BytesMut::zeroed(narrow(bytes));
        if read_full(file, &mut block, start)? < block.len() {
            return Err(bad("a block is cut off"));
        }
        let mut payload = block.freeze();
        let header = payload.split_to(BLOCK_HEADER_BYTES.min(payload.len()));
        let summed = header.get(..32).ok_or_else(|| bad("a block is too short"))?;
        let mut fields = &header[..];
        let (magic, length, position) = (fields.get_u32_le(), fields.get_u32_le(), fields.get_u64_le());
        fields.advance(12);
        let (payload_crc, header_crc) = (fields.get_u32_le(), fields.get_u32_le());
        let is_header = magic == BLOCK_MAGIC && crc32c_append(seed(self.log_id), summed) == header_crc;
        if !is_header || from_u32(length) != payload.len() || position != first {
            return Err(bad("a block's header is damaged"));
        }
        if crc32c(&payload) != payload_crc {
            return Err(bad("a block does not match its checksum"));
        }
        Ok(Block { payload })
    }

    /// Shows the records below `end`, in order.
    pub fn walk(&self, disk: &dyn Disk, end: Position, visitor: &mut dyn Visitor) -> Result<(), OpenError> {
        let file = disk.open(&self.path).map_err(|error| OpenError::io("opening", &self.path, error))?;
        for (number, &(first, _)) in self.directory.iter().enumerate() {
            let block = self.read_block(&*file, number).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => OpenError::Corrupt {
                    file: self.path.clone(),
                    position: first,
                    what: error.to_string(),
                    hint: HINT.to_owned(),
                },
                _ => OpenError::io("reading", &self.path, error),
            })?;
            for (position, bytes) in block.records().take_while(|(position, _)| *position < end) {
                let mut head = &bytes[..];
                let own = from_u32(head.get_u32_le());
                let kind = head.get_u8();
                visitor
                    .record(position, kind, bytes.get(RECORD_HEADER_BYTES..own).unwrap_or_default())
                    .map_err(|why| OpenError::Visitor { position, why })?;
            }
        }
        Ok(())
    }
}

/// Bytes of a directory with so many entries that lies there, if it can.
fn directory_bytes(count: u64, place: Range<u64>) -> Option<u64> {
    let bytes = place.end.checked_sub(place.start).filter(|bytes| *bytes <= DIRECTORY_BYTES_MAX)?;
    (count.checked_mul(wide(DIRECTORY_ENTRY_BYTES)) == Some(bytes)).then_some(bytes)
}

/// What a kept file's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub range: Range<Position>,
    pub generation: u32,
}

impl Name {
    fn file_name(&self) -> String {
        format!("{:020}-{:020}-{:010}{SUFFIX}", self.range.start, self.range.end, self.generation)
    }

    /// `None` when it is not a kept file's name, an error when it nearly is.
    pub fn parse(name: &str) -> Option<Result<Self, ()>> {
        let numbers = name.strip_suffix(SUFFIX)?;
        let parsed = || {
            let mut parts = numbers.split('-');
            let (start, end) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let name = Self { range: start..end, generation: parts.next()?.parse().ok()? };
            (parts.next().is_none() && start < end).then_some(name)
        };
        Some(parsed().filter(|parsed: &Self| parsed.file_name() == name).ok_or(()))
    }
}

enum HeaderFault {
    Newer { found: u32 },
    Bad(&'static str),
}

fn encode_header(log_id: u64, range: &Range<Position>) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.put_slice(&MAGIC);
    header.put_u32_le(VERSION);
    header.put_u32_le(0);
    for word in [log_id, range.start, range.end, 0] {
        header.put_u64_le(word);
    }
    let sum = crc32c(&header);
    header.put_u32_le(sum);
    header.resize(HEADER_BYTES, 0);
    header
}

fn check_header(
    header: &[u8; HEADER_BYTES],
    log_id: u64,
    range: &Range<Position>,
) -> Result<(), HeaderFault> {
    let (mut fields, mut sum) = header.split_at(48);
    let summed = fields;
    if !fields.starts_with(&MAGIC) {
        return Err(HeaderFault::Bad("the file does not start as a kept file"));
    }
    fields.advance(MAGIC.len());
    if crc32c(summed) != sum.get_u32_le() {
        return Err(HeaderFault::Bad("the header's checksum is wrong"));
    }
    let found = fields.get_u32_le();
    if found != VERSION {
        return Err(HeaderFault::Newer { found });
    }
    fields.advance(4);
    if fields.get_u64_le() != log_id {
        return Err(HeaderFault::Bad("it belongs to another log"));
    }
    if (fields.get_u64_le()..fields.get_u64_le()) != *range {
        return Err(HeaderFault::Bad("its name and its header do not agree"));
    }
    Ok(())
}

fn seed(log_id: u64) -> u32 {
    crc32c(&log_id.to_le_bytes())
}

/// Makes one kept file; without [`KeptWriter::finish`] nothing of it is left after the next open.
pub(crate) struct KeptWriter<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    log_id: u64,
    name: Name,
    unfinished: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Bytes of the file so far.
    offset: u64,
    block: BytesMut,
    block_records: u32,
    block_first: Position,
    directory: Vec<(Position, u64)>,
    record_bytes: u64,
}

impl<'a> KeptWriter<'a> {
    pub fn create(disk: &'a dyn Disk, dir: &'a Path, log_id: u64, name: Name) -> io::Result<Self> {
        let unfinished = dir.join(UNFINISHED_FILE);
        let file = create_anew(disk, &unfinished)?;
        let mut writer = Self {
            disk,
            dir,
            log_id,
            name,
            unfinished,
            file,
            offset: 0,
            block: BytesMut::new(),
            block_records: 0,
            block_first: 0,
            directory: Vec::new(),
            record_bytes: 0,
        };
        let header = encode_header(log_id, &writer.name.range);
        writer.write(&[&header])?;
        Ok(writer)
    }

    /// Adds a record; positions only grow.
    pub fn add(&mut self, position: Position, kind: u8, own: &[u8]) -> io::Result<()> {
        if self.block_records == 0 {
            self.block_first = position;
        }
        let padded = record::padded(own.len());
        self.block.put_u64_le(position);
        let start = self.block.len();
        self.block.put_bytes(0, RECORD_HEADER_BYTES);
        self.block.put_slice(own);
        self.block.put_bytes(0, padded - RECORD_HEADER_BYTES - own.len());
        let header = self.block.get_mut(start..).unwrap_or_default();
        record::write_header(header, kind, own.len()).map_err(io::Error::other)?;
        self.block_records += 1;
        self.record_bytes += wide(padded);
        if self.block.len() >= BLOCK_BYTES_SOFT { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block_records == 0 {
            return Ok(());
        }
        let payload = self.block.split().freeze();
        let mut header = Vec::with_capacity(BLOCK_HEADER_BYTES);
        header.put_u32_le(BLOCK_MAGIC);
        header.put_u32_le(u32::try_from(payload.len()).map_err(io::Error::other)?);
        header.put_u64_le(self.block_first);
        header.put_u64_le(0);
        header.put_u32_le(self.block_records);
        header.put_u32_le(crc32c(&payload));
        let sum = crc32c_append(seed(self.log_id), &header);
        header.put_u32_le(sum);
        header.put_u32_le(0);
        self.directory.push((self.block_first, self.offset));
        self.block_records = 0;
        self.write(&[&header, &payload])
    }

    fn write(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        write_full(&*self.file, &mut slices, self.offset).map_err(|(_, error)| error)?;
        self.offset += pieces.iter().map(|piece| wide(piece.len())).sum::<u64>();
        Ok(())
    }

    /// Completes the file and gives it its name, durably.
    pub fn finish(mut self) -> io::Result<Kept> {
        self.end_block()?;
        let blocks_end = self.offset;
        let mut packed = Vec::with_capacity(self.directory.len() * DIRECTORY_ENTRY_BYTES);
        for (position, offset) in &self.directory {
            packed.put_u64_le(*position);
            packed.put_u64_le(*offset);
        }
        let mut trailer = Vec::with_capacity(TRAILER_BYTES);
        trailer.put_u64_le(wide(self.directory.len()));
        trailer.put_u64_le(blocks_end);
        trailer.put_u64_le(self.record_bytes);
        trailer.put_u32_le(crc32c(&packed));
        let sum = crc32c_append(seed(self.log_id), &trailer);
        trailer.put_u32_le(sum);
        self.write(&[&packed, &trailer])?;
        self.file.sync_data()?;
        let path = self.dir.join(self.name.file_name());
        self.disk.rename(&self.unfinished, &path)?;
        self.disk.sync_dir(self.dir)?;
        let Self { log_id, name, directory, record_bytes, .. } = self;
        let Name { range, generation } = name;
        Ok(Kept { range, generation, path, log_id, record_bytes, directory, blocks_end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_up_to_its_most_bytes() {
        let entry = wide(DIRECTORY_ENTRY_BYTES);
        let most = DIRECTORY_BYTES_MAX / entry;
        assert_eq!(most * entry, DIRECTORY_BYTES_MAX);
        assert_eq!(directory_bytes(most, 64..64 + DIRECTORY_BYTES_MAX), Some(DIRECTORY_BYTES_MAX));
        assert_eq!(directory_bytes(most + 1, 64..64 + DIRECTORY_BYTES_MAX + entry), None);
        assert_eq!(directory_bytes(most, 64..64 + DIRECTORY_BYTES_MAX - entry), None, "of another count");
        assert_eq!(directory_bytes(0, Range { start: 64, end: 63 }), None, "it would end before it begins");
    }
}
