//! The bytes of segments and groups, both ways. It does no IO and decides nothing about recovery.
//!
//! All numbers are little-endian. A **position** is a log address for ever: a segment file holds the positions from its
//! base to base + `segment_bytes`, and file offset = position - base. The first base is 0, the next is the previous one
//! plus the previous file's own `segment_bytes`. A file is named by its base in 20 digits.
//!
//! **Segment header**, the file's first 4096 bytes; the first 52 mean the same in every version:
//! ```text
//!  0  8 bytes  magic
//!  8  u32      format version
//! 12  u32      bytes of this header, 4096
//! 16  u64      log id: random, the same in all segments of a log
//! 24  u64      base
//! 32  u64      segment_bytes
//! 40  u64      epoch that made the file
//! 48  u32      CRC-32C of bytes 0..48
//! 52  u8       1 when the file held another segment before: what lies behind the last group then means nothing
//! 53           zeros
//! 2048 20 bytes mark of an open with an even epoch
//! 3072 20 bytes mark of an open with an odd epoch
//! ```
//! A mark says how far the log is known to be synced. It is written when the log is opened, durably before the open
//! returns, and when it is closed in order. The two lie in disk sectors of their own, so that tearing one leaves the
//! mark of the open before, and with it the highest epoch ever used. Where the checksum is wrong there is no mark.
//! ```text
//!  0  u64  position up to which all is synced
//!  8  u64  epoch of the open
//! 16  u32  CRC-32C of the log id and bytes 0..16
//! ```
//!
//! **Group**, 8-aligned: a header of 64 bytes, then the payload, a row of padded records (see [`crate::record`]):
//! ```text
//!  0  u32  magic
//!  4  u16  format version
//!  6  u16  flags: bit 0 = this group, which has no payload, seals its segment
//!  8  u32  payload bytes, a multiple of 8
//! 12  u32  number of records
//! 16  u64  epoch of the open that wrote it, never smaller than that of an earlier group
//! 24  u64  its own position
//! 32  u64  highest position known to be synced when this was written
//! 40  u64  position of the group before it, 0 for the log's first
//! 48  u32  CRC-32C of the payload
//! 52  u32  CRC-32C of the log id and bytes 0..52
//! 56       zeros
//! ```
//! The log id in the checksum keeps a client from sending a body that recovery takes for a group, since it can't know
//! the id, and keeps bytes of another log from being taken for this one's.
use bytes::{Buf, BufMut};
use crc32c::{crc32c, crc32c_append};

use crate::Position;

pub const FORMAT_VERSION: u32 = 1;
pub const SEGMENT_HEADER_BYTES: usize = 4096;
pub const GROUP_HEADER_BYTES: usize = 64;
pub const GROUP_ALIGN_BYTES: usize = 8;
const MARK_EVEN_OFFSET: usize = 2048;
const MARK_ODD_OFFSET: usize = 3072;
const MARK_BYTES: usize = 20;

const SEGMENT_MAGIC: [u8; 8] = *b"MRSEG\0\0\x01";
const SEGMENT_FIXED_BYTES: usize = 52;
const SEGMENT_SUMMED_BYTES: usize = 48;
/// "MRgp" as it lies in the file.
pub const GROUP_MAGIC: u32 = u32::from_le_bytes(*b"MRgp");
const GROUP_VERSION: u16 = 1;
const GROUP_SUMMED_BYTES: usize = 52;
const FLAG_SEALS: u16 = 1;

/// What a segment file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub log_id: u64,
    pub base: Position,
    pub segment_bytes: u64,
    pub epoch: u64,
    /// The file held another segment before, and bytes of that are still in it.
    pub recycled: bool,
}

/// Why bytes are not a header of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderFault {
    /// Only zeros: nothing was written here.
    Blank,
    /// Written by a later release.
    Newer { found: u32, supported: u32 },
    /// Damaged, or other bytes altogether; says what is wrong with them.
    Bad(&'static str),
}

impl SegmentHeader {
    /// The header page, without a mark.
    pub fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        page.put_slice(&SEGMENT_MAGIC);
        page.put_u32_le(FORMAT_VERSION);
        page.put_u32_le(4096);
        page.put_u64_le(self.log_id);
        page.put_u64_le(self.base);
        page.put_u64_le(self.segment_bytes);
        page.put_u64_le(self.epoch);
        let sum = crc32c(&page);
        page.put_u32_le(sum);
        page.put_u8(self.recycled.into());
        page.resize(SEGMENT_HEADER_BYTES, 0);
        page
    }

    pub fn decode(page: &[u8]) -> Result<Self, HeaderFault> {
        let fixed =
            page.first_chunk::<SEGMENT_FIXED_BYTES>().ok_or(HeaderFault::Bad("the header is cut off"))?;
        let (summed, mut sum) = fixed.split_at(SEGMENT_SUMMED_BYTES);
        let mut fields = summed;
        let mut magic = [0; 8];
        fields.copy_to_slice(&mut magic);
        if magic != SEGMENT_MAGIC {
            return Err(HeaderFault::Bad("the file does not start as a log segment"));
        }
        if crc32c(summed) != sum.get_u32_le() {
            return Err(HeaderFault::Bad("the segment header's checksum is wrong"));
        }
        let found = fields.get_u32_le();
        if found != FORMAT_VERSION {
            return Err(HeaderFault::Newer { found, supported: FORMAT_VERSION });
        }
        fields.advance(4);
        let (log_id, base) = (fields.get_u64_le(), fields.get_u64_le());
        let (segment_bytes, epoch) = (fields.get_u64_le(), fields.get_u64_le());
        let recycled = page.get(SEGMENT_FIXED_BYTES).is_some_and(|&byte| byte != 0);
        Ok(Self { log_id, base, segment_bytes, epoch, recycled })
    }
}

/// A position known to be synced, as kept in a segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub synced_to: Position,
    pub epoch: u64,
}

impl Mark {
    pub fn encode(&self, log_id: u64) -> [u8; MARK_BYTES] {
        let mut out = [0; MARK_BYTES];
        let mut into = &mut out[..];
        into.put_u64_le(self.synced_to);
        into.put_u64_le(self.epoch);
        let sum = self.sum(log_id);
        into.put_u32_le(sum);
        out
    }

    /// Where in a segment's header page this mark goes.
    pub fn offset(&self) -> usize {
        if self.epoch.is_multiple_of(2) { MARK_EVEN_OFFSET } else { MARK_ODD_OFFSET }
    }

    /// The whole marks in a segment's header page.
    pub fn decode_both(page: &[u8], log_id: u64) -> impl Iterator<Item = Self> {
        [MARK_EVEN_OFFSET, MARK_ODD_OFFSET].into_iter().filter_map(move |offset| {
            let mut fields = page.get(offset..offset + MARK_BYTES)?;
            let mark = Self { synced_to: fields.get_u64_le(), epoch: fields.get_u64_le() };
            (fields.get_u32_le() == mark.sum(log_id)).then_some(mark)
        })
    }

    fn sum(&self, log_id: u64) -> u32 {
        let sum = crc32c_append(seed(log_id), &self.synced_to.to_le_bytes());
        crc32c_append(sum, &self.epoch.to_le_bytes())
    }
}

/// What stands before a group's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupHeader {
    pub seals: bool,
    pub payload_bytes: u32,
    pub records: u32,
    pub epoch: u64,
    pub position: Position,
    pub synced_to: Position,
    pub prev_group: Position,
    pub payload_crc: u32,
}

impl GroupHeader {
    pub fn encode(&self, log_id: u64) -> [u8; GROUP_HEADER_BYTES] {
        let mut out = [0; GROUP_HEADER_BYTES];
        let mut into = &mut out[..];
        into.put_u32_le(GROUP_MAGIC);
        into.put_u16_le(GROUP_VERSION);
        into.put_u16_le(if self.seals { FLAG_SEALS } else { 0 });
        into.put_u32_le(self.payload_bytes);
        into.put_u32_le(self.records);
        into.put_u64_le(self.epoch);
        into.put_u64_le(self.position);
        into.put_u64_le(self.synced_to);
        into.put_u64_le(self.prev_group);
        into.put_u32_le(self.payload_crc);
        let (summed, mut sum) = out.split_at_mut(GROUP_SUMMED_BYTES);
        sum.put_u32_le(crc32c_append(seed(log_id), summed));
        out
    }

    /// Checks everything that the header alone can tell; its place in the chain and its payload are the caller's.
    pub fn decode(bytes: &[u8; GROUP_HEADER_BYTES], log_id: u64) -> Result<Self, HeaderFault> {
        let (mut fields, mut rest) = bytes.split_at(GROUP_SUMMED_BYTES);
        let summed = fields;
        if fields.get_u32_le() != GROUP_MAGIC {
            let blank = bytes.iter().all(|&byte| byte == 0);
            return Err(if blank { HeaderFault::Blank } else { HeaderFault::Bad("no group starts here") });
        }
        if crc32c_append(seed(log_id), summed) != rest.get_u32_le() {
            return Err(HeaderFault::Bad("the group header's checksum is wrong"));
        }
        let version = fields.get_u16_le();
        if version != GROUP_VERSION {
            return Err(HeaderFault::Newer { found: version.into(), supported: GROUP_VERSION.into() });
        }
        let flags = fields.get_u16_le();
        let header = Self {
            seals: flags & FLAG_SEALS != 0,
            payload_bytes: fields.get_u32_le(),
            records: fields.get_u32_le(),
            epoch: fields.get_u64_le(),
            position: fields.get_u64_le(),
            synced_to: fields.get_u64_le(),
            prev_group: fields.get_u64_le(),
            payload_crc: fields.get_u32_le(),
        };
        if flags & !FLAG_SEALS != 0 || rest.iter().any(|&byte| byte != 0) {
            return Err(HeaderFault::Bad("the group header's spare bits are not zero"));
        }
        if !header.payload_bytes.is_multiple_of(8) || (header.seals && header.payload_bytes != 0) {
            return Err(HeaderFault::Bad("the group's length cannot be"));
        }
        Ok(header)
    }
}

/// Every checksum of a group header starts from the log's own id.
fn seed(log_id: u64) -> u32 {
    crc32c(&log_id.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupHeader = GroupHeader {
        seals: false,
        payload_bytes: 1024,
        records: 3,
        epoch: 7,
        position: 1 << 40,
        synced_to: 1 << 39,
        prev_group: (1 << 40) - 64,
        payload_crc: 0xdead_beef,
    };

    #[test]
    fn headers_come_back_as_written() {
        assert_eq!(GroupHeader::decode(&GROUP.encode(99), 99), Ok(GROUP));
        let seal = GroupHeader { seals: true, payload_bytes: 0, records: 0, ..GROUP };
        assert_eq!(GroupHeader::decode(&seal.encode(99), 99), Ok(seal));
        let segment =
            SegmentHeader { log_id: 99, base: 1 << 40, segment_bytes: 1 << 27, epoch: 7, recycled: true };
        assert_eq!(segment.encode().len(), SEGMENT_HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&segment.encode()), Ok(segment));
    }

    /// The format is final: these bytes must never change.
    #[test]
    fn encoded_bytes_are_those_of_version_1() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(&GROUP.encode(99)),
            concat!(
                "4d52677001000000000400000300000007000000000000000000000000010000",
                "0000000080000000c0ffffffff000000efbeadde03c749480000000000000000",
            )
        );
        let segment =
            SegmentHeader { log_id: 99, base: 1 << 40, segment_bytes: 1 << 27, epoch: 7, recycled: true };
        assert_eq!(
            hex(&segment.encode()[..SEGMENT_FIXED_BYTES]),
            concat!(
                "4d52534547000001010000000010000063000000000000000000000000010000",
                "000000080000000007000000000000007ed6729d",
            )
        );
        assert_eq!(
            hex(&Mark { synced_to: 123_456, epoch: 4 }.encode(99)),
            "40e20100000000000400000000000000b7586fca"
        );
    }

    #[test]
    fn every_flipped_bit_of_a_group_header_is_noticed() {
        let good = GROUP.encode(99);
        for bit in 0..GROUP_HEADER_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(GroupHeader::decode(&bad, 99), Err(HeaderFault::Bad(_))), "bit {bit}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_segment_header_is_noticed() {
        let good =
            SegmentHeader { log_id: 99, base: 0, segment_bytes: 1 << 27, epoch: 7, recycled: false }.encode();
        for bit in 0..SEGMENT_FIXED_BYTES * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(SegmentHeader::decode(&bad), Err(HeaderFault::Bad(_))), "bit {bit}");
        }
    }

    #[test]
    fn another_logs_group_is_none_of_ours() {
        let foreign = GroupHeader::decode(&GROUP.encode(99), 100);
        assert_eq!(foreign, Err(HeaderFault::Bad("the group header's checksum is wrong")));
    }

    #[test]
    fn zeros_are_blank_and_never_a_group() {
        assert_eq!(GroupHeader::decode(&[0; 64], 99), Err(HeaderFault::Blank));
        assert_eq!(GroupHeader::decode(&[0; 64], 0), Err(HeaderFault::Blank));
        assert!(SegmentHeader::decode(&[0; 4096]).is_err());
        assert_eq!(Mark::decode_both(&[0; 4096], 0).count(), 0);
    }

    #[test]
    fn later_versions_are_told_from_damage() {
        let mut page =
            SegmentHeader { log_id: 99, base: 0, segment_bytes: 1 << 27, epoch: 7, recycled: false }.encode();
        page[8] = 2;
        let sum = crc32c(&page[..48]);
        page[48..52].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&page), Err(HeaderFault::Newer { found: 2, supported: 1 }));
    }

    #[test]
    fn a_mark_is_whole_or_absent_and_leaves_the_one_before() {
        let marks = [Mark { synced_to: 123_456, epoch: 4 }, Mark { synced_to: 234_567, epoch: 5 }];
        let mut page = vec![0; SEGMENT_HEADER_BYTES];
        for mark in marks {
            page[mark.offset()..mark.offset() + MARK_BYTES].copy_from_slice(&mark.encode(99));
        }
        assert_eq!(Mark::decode_both(&page, 99).collect::<Vec<_>>(), marks);
        assert_eq!(Mark::decode_both(&page, 98).count(), 0);
        page[marks[1].offset() + 1] ^= 1;
        assert_eq!(Mark::decode_both(&page, 99).collect::<Vec<_>>(), marks[..1]);
    }
}
