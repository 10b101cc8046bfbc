//! Reading an archive as it comes, in pieces of any length, and checking all of it. No IO.

use crc32c::crc32c_append;
use mailrail_commitlog::{CopiedFile, is_copied_file};

use super::format::*;

/// What an archive has next.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A file begins.
    File(CopiedFile),
    /// More of the file that began last.
    Bytes(&'a [u8]),
}

/// Takes an archive apart. What it gave is right only when [`Unpacker::finish`] says so.
#[derive(Clone, Debug)]
pub struct Unpacker {
    /// Bytes taken so far.
    position: u64,
    sum: u32,
    expects: Expects,
    /// Part of the block that is expected.
    block: Vec<u8>,
    made_s: u64,
    /// Of the manifest's content, once its header is there.
    manifest_bytes: usize,
    manifest: Option<Manifest>,
    files: u64,
    bytes: u64,
    last_name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    ManifestHeader,
    Manifest,
    Header,
    Content { left: u64, padding: u64 },
    Sum,
    End { blocks: usize },
}

impl Default for Unpacker {
    fn default() -> Self {
        Unpacker {
            position: 0,
            sum: 0,
            expects: Expects::ManifestHeader,
            block: Vec::with_capacity(BLOCK_BYTES),
            made_s: 0,
            manifest_bytes: 0,
            manifest: None,
            files: 0,
            bytes: 0,
            last_name: String::new(),
        }
    }
}

impl Unpacker {
    /// Takes bytes from the front of `input` until they give a piece; `None` when all are taken.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, ArchiveError> {
        while !input.is_empty() {
            match self.expects {
                Expects::Content { left: 0, padding: 0 } => self.expects = Expects::Header,
                Expects::Content { left: 0, padding } => {
                    let taken = self.take(input, padding);
                    if taken.iter().any(|byte| *byte != 0) {
                        return Err(self.wrong(taken.len(), "what fills up a file is not empty"));
                    }
                    self.sum = crc32c_append(self.sum, taken);
                    self.expects = Expects::Content { left: 0, padding: padding - length(taken) };
                }
                Expects::Content { left, padding } => {
                    let taken = self.take(input, left);
                    self.sum = crc32c_append(self.sum, taken);
                    self.expects = Expects::Content { left: left - length(taken), padding };
                    return Ok(Some(Piece::Bytes(taken)));
                }
                Expects::End { blocks: 0 } => return Err(self.wrong(0, "there are bytes behind its end")),
                _ => {
                    let missing = BLOCK_BYTES - self.block.len();
                    let taken = self.take(input, u64::try_from(missing).unwrap_or(0));
                    self.block.extend_from_slice(taken);
                    if let Ok(block) = Block::try_from(self.block.as_slice()) {
                        self.block.clear();
                        if let Some(file) = self.block(&block)? {
                            return Ok(Some(Piece::File(file)));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// To be called when there are no more bytes: an error if any are missing. Gives the log positions between which
    /// the archive holds all, and when it was made, in seconds since 1970.
    pub fn finish(self) -> Result<Contents, ArchiveError> {
        match self.manifest {
            Some(Manifest { start, end, .. }) if self.expects == (Expects::End { blocks: 0 }) => {
                Ok(Contents { start, end, made_s: self.made_s, bytes: self.position })
            }
            _ => Err(self.wrong(0, "it ends here, and the rest is missing")),
        }
    }

    fn take<'a>(&mut self, input: &mut &'a [u8], most: u64) -> &'a [u8] {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
        let (taken, rest) = input.split_at_checked(most).unwrap_or((input, &[]));
        *input = rest;
        self.position += length(taken);
        taken
    }

    /// An error about the last so many bytes.
    fn wrong(&self, back: usize, what: impl Into<String>) -> ArchiveError {
        let back = u64::try_from(back).unwrap_or(0);
        ArchiveError { position: self.position.saturating_sub(back), what: what.into() }
    }

    /// A whole block of any kind but content.
    fn block(&mut self, block: &Block) -> Result<Option<CopiedFile>, ArchiveError> {
        match self.expects {
            Expects::ManifestHeader => self.manifest_header(block)?,
            Expects::Manifest => self.manifest(block)?,
            Expects::Header => return self.header(block),
            Expects::Sum => {
                if block.as_slice() != sum_block(self.sum) {
                    return Err(self.wrong(BLOCK_BYTES, "its bytes do not match its checksum"));
                }
                self.expects = Expects::End { blocks: END_BYTES / BLOCK_BYTES };
            }
            Expects::End { blocks } => {
                if block.iter().any(|byte| *byte != 0) {
                    return Err(self.wrong(BLOCK_BYTES, "it does not end where it should"));
                }
                self.expects = Expects::End { blocks: blocks.saturating_sub(1) };
            }
            Expects::Content { .. } => {}
        }
        Ok(None)
    }

    fn manifest_header(&mut self, block: &Block) -> Result<(), ArchiveError> {
        let found = read_header(block);
        let expected = found.as_ref().and_then(|(file, made_s)| manifest_header(file.bytes, *made_s).ok());
        let Some((file, made_s)) = found.filter(|_| expected.as_ref() == Some(block)) else {
            return Err(self.wrong(BLOCK_BYTES, "this is not the beginning of a backup"));
        };
        self.manifest_bytes = usize::try_from(file.bytes).unwrap_or(usize::MAX);
        self.made_s = made_s;
        self.sum = crc32c_append(self.sum, block);
        self.expects = Expects::Manifest;
        Ok(())
    }

    fn manifest(&mut self, block: &Block) -> Result<(), ArchiveError> {
        let (text, rest) = block.split_at_checked(self.manifest_bytes).unwrap_or((block, &[]));
        let manifest = Manifest::decode(text).map_err(|what| self.wrong(BLOCK_BYTES, what))?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(self.wrong(BLOCK_BYTES, "its description is damaged"));
        }
        self.manifest = Some(manifest);
        self.sum = crc32c_append(self.sum, block);
        self.expects = Expects::Header;
        Ok(())
    }

    fn header(&mut self, block: &Block) -> Result<Option<CopiedFile>, ArchiveError> {
        let Some(manifest) = self.manifest else { return Ok(None) };
        if self.files == manifest.files {
            if self.bytes != manifest.bytes || sum_header(self.made_s).ok().as_ref() != Some(block) {
                return Err(self.wrong(BLOCK_BYTES, "its checksum should be here"));
            }
            self.expects = Expects::Sum;
            return Ok(None);
        }
        let found = read_header(block).map(|(file, _)| file);
        let is_ours = |file: &CopiedFile| {
            is_copied_file(file)
                && file.name > self.last_name
                && file.bytes <= manifest.bytes - self.bytes
                && header(&file.name, file.bytes, self.made_s).ok().as_ref() == Some(block)
        };
        let Some(file) = found.filter(is_ours) else {
            return Err(self.wrong(BLOCK_BYTES, "a segment of the log should begin here"));
        };
        self.sum = crc32c_append(self.sum, block);
        self.files += 1;
        self.bytes += file.bytes;
        self.last_name.clone_from(&file.name);
        self.expects = Expects::Content { left: file.bytes, padding: padding(file.bytes) };
        Ok(Some(file))
    }
}

/// What a whole archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Lowest log position held, and where the next group would begin.
    pub start: u64,
    pub end: u64,
    /// When it was made, in seconds since 1970.
    pub made_s: u64,
    /// Length of the archive.
    pub bytes: u64,
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
