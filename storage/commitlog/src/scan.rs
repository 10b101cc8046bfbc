//! Walks the groups of a segment file and says where they end and why. It changes nothing: what a bad group means, and
//! what is done about it, is decided in `open`.
use std::io;
use std::ops::Range;
use std::path::Path;

use crc32c::crc32c;

use crate::disk::{DiskFile, read_full};
use crate::error::OpenError;
use crate::format::{GROUP_ALIGN_BYTES, GROUP_HEADER_BYTES, GROUP_MAGIC, GroupHeader, HeaderFault};
use crate::record::Records;
use crate::segment::Segment;
use crate::width::{from_u32, narrow, wide};
use crate::{Position, Visitor};

/// Bytes that one read fetches at least.
const WINDOW_BYTES: usize = 1 << 20;

/// Stretches of zeros of this length are skipped as a whole.
const SKIP_BYTES: usize = 512;

/// What the groups read so far say about the next: where it must point back to, and what its epoch can be.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub log_id: u64,
    /// The last group; `None` before the first one of a scan that does not begin at the log's first group.
    pub prev_group: Option<Position>,
    /// Of the last group, or of the segment file when that is higher.
    pub epoch: u64,
    /// Highest position that any group or mark says is synced.
    pub synced_to: Position,
    pub groups: u64,
}

/// How the groups of a segment end.
#[derive(Debug)]
pub(crate) enum End {
    /// By a group that seals the segment; the next one goes on.
    Sealed,
    /// Nothing was ever written at the position.
    Blank(Position),
    /// What is at the position is no group of this chain.
    Bad { position: Position, what: String },
}

/// What lies behind the end of the groups.
#[derive(Debug, Default)]
pub(crate) struct Beyond {
    /// The whole group header with the highest `synced_to`.
    pub witness: Option<GroupHeader>,
    /// End of the last group that has a whole header.
    pub groups_end: Option<Position>,
    /// End of the last bytes that are not zero.
    pub data_end: Option<Position>,
}

/// Part of a file in memory. What lies past the end of the file reads as zeros.
struct Window<'a> {
    file: &'a dyn DiskFile,
    bytes: Vec<u8>,
    offset: u64,
    /// No use in reading ahead past this.
    limit: u64,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn DiskFile, segment: &Segment) -> Self {
        Self { file, bytes: Vec::new(), offset: 0, limit: segment.bytes() }
    }

    fn get(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let held = self.offset..self.offset + wide(self.bytes.len());
        if offset < held.start || offset + wide(len) > held.end {
            let keep = if held.contains(&offset) { narrow(offset - held.start) } else { self.bytes.len() };
            self.bytes.drain(..keep);
            self.offset = offset;
            let kept = self.bytes.len();
            let ahead = narrow(self.limit.saturating_sub(offset)).min(WINDOW_BYTES);
            self.bytes.resize(len.max(ahead), 0);
            let fresh = self.bytes.get_mut(kept..).unwrap_or_default();
            let read = read_full(self.file, fresh, offset + wide(kept))?;
            fresh.get_mut(read..).unwrap_or_default().fill(0);
        }
        let from = narrow(offset - self.offset);
        self.bytes.get(from..from + len).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Walks all groups of one segment, in order, and shows the visitor the records from `from` on. Payloads of groups that
/// lie wholly below `from` are not read.
pub(crate) fn walk(
    segment: &Segment,
    file: &dyn DiskFile,
    chain: &mut Chain,
    from: Position,
    visitor: &mut dyn Visitor,
) -> Result<End, OpenError> {
    let mut window = Window::new(file, segment);
    let mut position = segment.first_group();
    chain.epoch = chain.epoch.max(segment.epoch);
    loop {
        let left = segment.end - position;
        if left < wide(GROUP_HEADER_BYTES) {
            let what = "the segment is full and not sealed".to_owned();
            return Ok(End::Bad { position, what });
        }
        let header = match next_header(&mut window, segment, position, chain) {
            Ok(header) => header,
            Err(Stop::End(end)) => return Ok(end),
            Err(Stop::Error(error)) => return Err(error),
        };
        let payload_offset = position + wide(GROUP_HEADER_BYTES) - segment.base;
        let end = position + wide(GROUP_HEADER_BYTES + from_u32(header.payload_bytes));
        if end > from && !header.seals {
            let payload = window
                .get(payload_offset, from_u32(header.payload_bytes))
                .map_err(|error| OpenError::io("reading", &segment.path, error))?;
            if crc32c(payload) != header.payload_crc {
                let what = "the group's payload does not match its checksum".to_owned();
                return Ok(End::Bad { position, what });
            }
            show(payload, &header, from, &segment.path, visitor)?;
        }
        chain.prev_group = Some(position);
        chain.epoch = header.epoch;
        chain.synced_to = chain.synced_to.max(header.synced_to);
        chain.groups += 1;
        position = end;
        if header.seals {
            return Ok(End::Sealed);
        }
    }
}

enum Stop {
    End(End),
    Error(OpenError),
}

/// The header at `position`, if it is the next of the chain.
fn next_header(
    window: &mut Window<'_>,
    segment: &Segment,
    position: Position,
    chain: &Chain,
) -> Result<GroupHeader, Stop> {
    let bad = |what: &str| Err(Stop::End(End::Bad { position, what: what.to_owned() }));
    let bytes = window
        .get(position - segment.base, GROUP_HEADER_BYTES)
        .map_err(|error| Stop::Error(OpenError::io("reading", &segment.path, error)))?;
    let Some(bytes) = bytes.first_chunk::<GROUP_HEADER_BYTES>() else { return bad("the file ends here") };
    let header = match GroupHeader::decode(bytes, chain.log_id) {
        Ok(header) => header,
        Err(HeaderFault::Blank) => return Err(Stop::End(End::Blank(position))),
        Err(HeaderFault::Bad(what)) => return bad(what),
        Err(HeaderFault::Newer { found, supported }) => {
            let file = segment.path.clone();
            return Err(Stop::Error(OpenError::NewerFormat { file, found, supported }));
        }
    };
    let payload_end = position.saturating_add(wide(GROUP_HEADER_BYTES + from_u32(header.payload_bytes)));
    if header.position != position {
        return bad("the group was written for another position");
    }
    if header.epoch < chain.epoch {
        return bad("the group is older than the one before it");
    }
    if chain.prev_group.is_some_and(|prev| prev != header.prev_group) || header.prev_group >= position {
        return bad("the group does not follow the one before it");
    }
    if payload_end > segment.end {
        return bad("the group is longer than its segment");
    }
    Ok(header)
}

/// A payload whose checksum is right but whose records are not was written wrongly; no cut can mend that.
fn show(
    payload: &[u8],
    header: &GroupHeader,
    from: Position,
    file: &Path,
    visitor: &mut dyn Visitor,
) -> Result<(), OpenError> {
    let corrupt = |position, what| OpenError::Corrupt {
        file: file.to_owned(),
        position,
        what,
        hint: "the checksum is right, so this was written by a faulty release; keep the file and report it"
            .to_owned(),
    };
    let mut count = 0;
    for record in Records::new(payload, header.position + wide(GROUP_HEADER_BYTES)) {
        let record = record.map_err(|error| corrupt(header.position, error.to_string()))?;
        count += 1;
        if record.position >= from {
            visitor
                .record(record.position, record.kind, record.bytes)
                .map_err(|why| OpenError::Visitor { position: record.position, why })?;
        }
    }
    if count != header.records {
        let what = format!("the group has {count} records and says it has {}", header.records);
        return Err(corrupt(header.position, what));
    }
    Ok(())
}

/// Looks at everything from `position` to the end of the segment for group headers that a write of this log left there,
/// and for any byte at all. `parts` are the file's written parts as they were before anything was read.
pub(crate) fn search(
    segment: &Segment,
    file: &dyn DiskFile,
    parts: &[Range<u64>],
    position: Position,
    chain: &Chain,
) -> io::Result<Beyond> {
    let mut beyond = Beyond::default();
    let mut window = Window::new(file, segment);
    let align = wide(GROUP_ALIGN_BYTES);
    for part in parts {
        let mut offset = (part.start / align * align).max(position - segment.base);
        let end = part.end.min(segment.bytes());
        while offset < end {
            // A group header that begins in this stretch may end behind it.
            let len = narrow(end - offset).min(WINDOW_BYTES - GROUP_HEADER_BYTES);
            let bytes = window.get(offset, len + GROUP_HEADER_BYTES)?;
            search_stretch(bytes, len, segment.base + offset, chain, &mut beyond);
            offset += wide(len.next_multiple_of(GROUP_ALIGN_BYTES));
        }
    }
    Ok(beyond)
}

fn search_stretch(bytes: &[u8], len: usize, position: Position, chain: &Chain, beyond: &mut Beyond) {
    let blocks = bytes.get(..len).unwrap_or_default().chunks(SKIP_BYTES);
    for (block, block_offset) in blocks.zip((0..).step_by(SKIP_BYTES)) {
        if is_zero(block) {
            continue;
        }
        for (word, offset) in block.chunks(GROUP_ALIGN_BYTES).zip((block_offset..).step_by(GROUP_ALIGN_BYTES))
        {
            if !is_zero(word) {
                beyond.data_end = Some(position + wide(offset + word.len()));
            }
            let at = position + wide(offset);
            if word.starts_with(&GROUP_MAGIC.to_le_bytes())
                && let Some(header) = bytes.get(offset..).and_then(|rest| rest.first_chunk())
                && let Ok(header) = GroupHeader::decode(header, chain.log_id)
                && header.position == at
                && header.epoch >= chain.epoch
            {
                beyond.groups_end = Some(at + wide(GROUP_HEADER_BYTES + from_u32(header.payload_bytes)));
                beyond.witness =
                    beyond.witness.filter(|known| known.synced_to >= header.synced_to).or(Some(header));
            }
        }
    }
}

/// Without an early end, which makes it several times faster on the long rows of zeros that it is for.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, &byte| seen | byte) == 0
}
