//! The bytes of an archive beside the log's own: headers, the manifest, the checksum. No IO.

use mailrail_commitlog::{CopiedFile, Position};
use thiserror::Error;

/// What tar counts in: headers have one block, contents are padded to whole ones.
pub const BLOCK_BYTES: usize = 512;
/// Zero blocks that end a tar archive.
pub const END_BYTES: usize = 2 * BLOCK_BYTES;
const MANIFEST_NAME: &str = "mailrail-backup.txt";
const SUM_NAME: &str = "mailrail-backup.crc32c";
/// First line of the manifest; the number is that of the archive's form.
const TITLE: &str = "mailrail-backup 1";
const TITLE_WORD: &[u8] = b"mailrail-backup ";
/// "xxxxxxxx" and a line end.
const SUM_BYTES: u64 = 9;
/// Only the user who unpacks it may read what users wrote.
const FILE_MODE: u32 = 0o600;

pub type Block = [u8; BLOCK_BYTES];

/// Bytes are no archive of ours, or not all of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("at byte {position}: {what}")]
pub struct ArchiveError {
    /// Offset in the archive.
    pub position: u64,
    pub what: String,
}

/// What an archive says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Log positions: lowest one held, and where the next group would begin.
    pub start: Position,
    pub end: Position,
    /// Segments, and their bytes without headers and padding.
    pub files: u64,
    pub bytes: u64,
}

impl Manifest {
    pub fn encode(&self) -> String {
        let Manifest { start, end, files, bytes } = self;
        format!("{TITLE}\nstart {start}\nend {end}\nfiles {files}\nbytes {bytes}\n")
    }

    pub fn decode(text: &[u8]) -> Result<Manifest, String> {
        let parsed = std::str::from_utf8(text).ok().and_then(|text| {
            let mut lines = text.lines().skip(1);
            let mut number = |key| lines.next()?.strip_prefix(key)?.strip_prefix(' ')?.parse::<u64>().ok();
            let (start, end) = (number("start")?, number("end")?);
            Some(Manifest { start, end, files: number("files")?, bytes: number("bytes")? })
        });
        match parsed.filter(|manifest| manifest.encode().as_bytes() == text) {
            Some(manifest) => Ok(manifest),
            None if text.starts_with(TITLE_WORD) && !text.starts_with(TITLE.as_bytes()) => {
                Err("a later release made it: restore it with that".to_owned())
            }
            None => Err("its description is damaged".to_owned()),
        }
    }
}

/// Bytes that fill up the last block of a content.
pub fn padding(bytes: u64) -> u64 {
    bytes.next_multiple_of(u64::try_from(BLOCK_BYTES).unwrap_or(1)) - bytes
}

/// The header of an entry. `made_s` is when the backup was made, in seconds since 1970.
pub fn header(name: &str, bytes: u64, made_s: u64) -> std::io::Result<Block> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(FILE_MODE);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(made_s);
    header.set_size(bytes);
    header.set_cksum();
    Ok(*header.as_bytes())
}

pub fn manifest_header(bytes: u64, made_s: u64) -> std::io::Result<Block> {
    header(MANIFEST_NAME, bytes, made_s)
}

pub fn sum_header(made_s: u64) -> std::io::Result<Block> {
    header(SUM_NAME, SUM_BYTES, made_s)
}

/// The checksum's block.
pub fn sum_block(sum: u32) -> Vec<u8> {
    let mut block = format!("{sum:08x}\n").into_bytes();
    block.resize(BLOCK_BYTES, 0);
    block
}

/// Name, length and time that a header says, if it is one at all.
pub fn read_header(block: &Block) -> Option<(CopiedFile, u64)> {
    let header = tar::Header::from_byte_slice(block);
    let name = String::from_utf8(header.path_bytes().into_owned()).ok()?;
    Some((CopiedFile { name, bytes: header.size().ok()? }, header.mtime().ok()?))
}
