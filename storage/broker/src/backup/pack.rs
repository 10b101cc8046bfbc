//! Making an archive: piece by piece, with next to nothing in memory, while the broker runs.

use std::io;

use crc32c::crc32c_append;
use mailrail_commitlog::{CopiedFile, LogCopy, Position};

use super::format::*;
use crate::limits::BACKUP_CHUNK_BYTES_MAX;

/// A backup that is being read. Nothing of the log goes as long as it lives.
#[derive(Debug)]
pub struct Backup {
    copy: LogCopy,
    files: Vec<CopiedFile>,
    manifest: Manifest,
    made_s: u64,
    sum: u32,
    next: Next,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Manifest,
    File { number: usize, offset: u64 },
    End,
    Nothing,
}

impl Backup {
    pub(crate) fn new(copy: LogCopy, wall_ms: u64) -> Backup {
        let files: Vec<_> = copy.files().collect();
        let manifest = Manifest {
            start: copy.start(),
            end: copy.end(),
            files: u64::try_from(files.len()).unwrap_or(u64::MAX),
            bytes: files.iter().map(|file| file.bytes).sum(),
        };
        Backup { copy, files, manifest, made_s: wall_ms / 1000, sum: 0, next: Next::Manifest }
    }

    /// Everything below this log position is in it.
    pub fn end(&self) -> Position {
        self.manifest.end
    }

    /// Length of the whole archive.
    pub fn bytes(&self) -> u64 {
        let block = u64::try_from(BLOCK_BYTES).unwrap_or(0);
        let contents: u64 = self.files.iter().map(|file| block + file.bytes + padding(file.bytes)).sum();
        // The manifest and the checksum have a header and a block each; two blocks are the end.
        contents + 6 * block
    }

    /// The next bytes, `None` at the end. Blocks for as long as the disk takes.
    pub fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let chunk = match self.next {
            Next::Manifest => self.first_chunk()?,
            Next::File { number, offset } => self.file_chunk(number, offset)?,
            Next::End => self.last_chunk()?,
            Next::Nothing => return Ok(None),
        };
        Ok(Some(chunk))
    }

    fn first_chunk(&mut self) -> io::Result<Vec<u8>> {
        let text = self.manifest.encode();
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let mut chunk = manifest_header(bytes, self.made_s)?.to_vec();
        chunk.extend_from_slice(text.as_bytes());
        self.next = self.file(0);
        Ok(self.counted(chunk))
    }

    fn file_chunk(&mut self, number: usize, offset: u64) -> io::Result<Vec<u8>> {
        let file = self.files.get(number).ok_or(io::ErrorKind::NotFound)?;
        let left = file.bytes - offset;
        let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(BACKUP_CHUNK_BYTES_MAX);
        let mut chunk = if offset == 0 {
            header(&file.name, file.bytes, self.made_s)?.to_vec()
        } else {
            Vec::with_capacity(bytes)
        };
        chunk.extend_from_slice(&self.copy.read(number, offset, bytes)?);
        let offset = offset + u64::try_from(bytes).unwrap_or(left);
        self.next = if offset < file.bytes { Next::File { number, offset } } else { self.file(number + 1) };
        Ok(self.counted(chunk))
    }

    fn last_chunk(&mut self) -> io::Result<Vec<u8>> {
        self.next = Next::Nothing;
        let mut chunk = sum_header(self.made_s)?.to_vec();
        chunk.extend_from_slice(&sum_block(self.sum));
        chunk.resize(chunk.len() + END_BYTES, 0);
        Ok(chunk)
    }

    fn file(&self, number: usize) -> Next {
        if number < self.files.len() { Next::File { number, offset: 0 } } else { Next::End }
    }

    /// Pads a chunk to whole blocks, which only a content's last one lacks, and takes it into the checksum.
    fn counted(&mut self, mut chunk: Vec<u8>) -> Vec<u8> {
        chunk.resize(chunk.len().next_multiple_of(BLOCK_BYTES), 0);
        self.sum = crc32c_append(self.sum, &chunk);
        chunk
    }
}

const _: () = assert!(BACKUP_CHUNK_BYTES_MAX.is_multiple_of(BLOCK_BYTES), "only a last chunk is padded");
