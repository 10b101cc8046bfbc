//! Annexes: what follows the RocketMQ record of a stored message. Little-endian; each is a 4-byte header (kind in the
//! top byte, length below) and its bytes. The targets annex is always the last, so that it can be replaced without
//! moving anything.

use crate::layout::ANNEX_HEADER_BYTES;
use crate::read::{LayoutError, bytes_at, slice_at, to_usize};

/// What an annex holds. Numbers are part of the stored format and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnexKind {
    /// The queues the message is in, see [`crate::targets_annex`].
    Targets,
    /// AMQP birth: u8 exchange length, exchange, u8 key length, routing key, raw content header (flags and properties).
    Amqp,
    /// All properties, where the RocketMQ string could not hold them: (u32 length, bytes) for key and value in turn.
    Properties,
    /// A message that waits: due time u64 (milliseconds of the Unix epoch), queue index i32 (-1 = broker's choice).
    Due,
    /// Position u64 of the waiting message that this one replaces, its due time u64 and its bytes u32; older versions wrote
    /// the position alone.
    DispatchOf,
    /// A half message: when its producers are first asked what becomes of it u64 (milliseconds of the Unix epoch), queue
    /// index i32 (-1 = broker's choice), and the name of their group in the rest.
    Half,
    /// Position u64 of the half message that this one replaces.
    CommitOf,
    /// What the message is known by when it is sent again: u8 1 and the digest of its key (16 bytes), or u8 2, the digest
    /// of its producer's id (16 bytes) and its sequence number u64.
    Deduplication,
    /// Where the message was given up before, see [`crate::Deaths`].
    Deaths,
    /// Written by a later version; skipped by readers.
    Unknown(u8),
}

impl AnnexKind {
    pub(crate) fn number(self) -> u8 {
        match self {
            AnnexKind::Targets => 1,
            AnnexKind::Amqp => 2,
            AnnexKind::Properties => 3,
            AnnexKind::Due => 4,
            AnnexKind::DispatchOf => 5,
            AnnexKind::Half => 6,
            AnnexKind::CommitOf => 7,
            AnnexKind::Deduplication => 8,
            AnnexKind::Deaths => 16,
            AnnexKind::Unknown(number) => number,
        }
    }

    fn from_number(number: u8) -> AnnexKind {
        match number {
            1 => AnnexKind::Targets,
            2 => AnnexKind::Amqp,
            3 => AnnexKind::Properties,
            4 => AnnexKind::Due,
            5 => AnnexKind::DispatchOf,
            6 => AnnexKind::Half,
            7 => AnnexKind::CommitOf,
            8 => AnnexKind::Deduplication,
            16 => AnnexKind::Deaths,
            other => AnnexKind::Unknown(other),
        }
    }
}

/// One annex of a stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annex<'a> {
    pub kind: AnnexKind,
    pub bytes: &'a [u8],
}

/// The annexes of a stored message, in stored order.
#[derive(Clone, Copy, Debug)]
pub struct Annexes<'a> {
    rest: &'a [u8],
}

impl<'a> Annexes<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Annexes { rest }
    }
}

impl<'a> Iterator for Annexes<'a> {
    type Item = Result<Annex<'a>, LayoutError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let annex = next_annex(self.rest);
        match annex {
            Ok((annex, rest)) => {
                self.rest = rest;
                Some(Ok(annex))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

fn next_annex(bytes: &[u8]) -> Result<(Annex<'_>, &[u8]), LayoutError> {
    let header = u32::from_le_bytes(bytes_at(bytes, 0)?);
    let [number, ..] = header.to_be_bytes();
    let len = to_usize(header & 0x00FF_FFFF);
    let body = slice_at(bytes, ANNEX_HEADER_BYTES, len)?;
    let rest = bytes.get(ANNEX_HEADER_BYTES + len..).unwrap_or(&[]);
    Ok((Annex { kind: AnnexKind::from_number(number), bytes: body }, rest))
}

/// Appends one annex. `bytes` is shorter than 16 MiB, which the limits on drafts guarantee.
pub(crate) fn put_annex(out: &mut bytes::BytesMut, kind: AnnexKind, bytes: &[u8]) {
    debug_assert!(bytes.len() < 1 << 24);
    let header = u32::from(kind.number()) << 24 | (crate::read::len_u32(bytes.len()) & 0x00FF_FFFF);
    out.extend_from_slice(&header.to_le_bytes());
    out.extend_from_slice(bytes);
}
