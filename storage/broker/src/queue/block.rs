//! Sealed runs of index entries, packed for the store: 7 to 12 bytes an entry.
//!
//! Layout (little-endian): u8 version, u32 count, u64 first offset, u64 first position, u64 first store time, then per
//! entry the varints position delta, bytes, tag (zigzag of the difference to the one before), store time delta. Version 2,
//! for blocks with entries that expire, has one more: milliseconds from store time to expiry and 1, or 0 = never. Versions
//! 3 and 4 are those for blocks with entries that have an ordering key or a priority: the last varint has both.

use super::chunk::{Entry, wide};
use crate::retention::stored_bytes;

const VERSION: u8 = 1;
/// Added to the version, for what the entries have besides.
const WITH_EXPIRY: u8 = 1;
const WITH_TURN: u8 = 2;

/// What the directory keeps of a sealed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct BlockRef {
    pub first_offset: u64,
    pub count: u32,
    pub first_position: u64,
    pub first_store_ms: u64,
    /// Bytes that its messages take in the log.
    pub bytes: u64,
    /// Earliest expiry of its messages by what they say themselves; 0 = none expires.
    pub expires_ms: u64,
}

impl BlockRef {
    pub fn end_offset(&self) -> u64 {
        self.first_offset + u64::from(self.count)
    }
}

/// A packed block that does not hold what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("index block at offset {first_offset} is damaged")]
pub(crate) struct DamagedBlock {
    pub first_offset: u64,
}

/// Packs entries with contiguous offsets; `None` where there are none.
pub(super) fn pack(entries: impl Iterator<Item = Entry> + Clone) -> Option<(BlockRef, Vec<u8>)> {
    let first = entries.clone().next()?;
    let (mut count, mut bytes, mut expires_ms, mut with_turn) = (0u32, 0, 0, false);
    for entry in entries.clone() {
        count += 1;
        bytes += stored_bytes(entry.bytes);
        if entry.expires_ms > 0 && (expires_ms == 0 || entry.expires_ms < expires_ms) {
            expires_ms = entry.expires_ms;
        }
        with_turn |= entry.turn() > 0;
    }
    let mut out = Vec::with_capacity(32 + usize::try_from(count).ok()? * 12);
    out.push(VERSION + u8::from(expires_ms > 0) * WITH_EXPIRY + u8::from(with_turn) * WITH_TURN);
    out.extend_from_slice(&count.to_le_bytes());
    for word in [first.offset, first.position, first.store_ms] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    let (mut position, mut tag, mut store_ms) = (first.position, 0i32, first.store_ms);
    for entry in entries {
        put_varint(&mut out, entry.position.wrapping_sub(position));
        put_varint(&mut out, u64::from(entry.bytes));
        let difference = entry.tag_hash.wrapping_sub(tag);
        put_varint(&mut out, u64::from(((difference << 1) ^ (difference >> 31)).cast_unsigned()));
        put_varint(&mut out, entry.store_ms.wrapping_sub(store_ms));
        if expires_ms > 0 {
            put_varint(&mut out, life_and_1(&entry));
        }
        if with_turn {
            put_varint(&mut out, entry.turn());
        }
        (position, tag, store_ms) = (entry.position, entry.tag_hash, entry.store_ms);
    }
    let block = BlockRef {
        first_offset: first.offset,
        count,
        first_position: first.position,
        first_store_ms: first.store_ms,
        bytes,
        expires_ms,
    };
    Some((block, out))
}

/// Unpacks a block and checks it against its directory entry.
pub(super) fn unpack(block: &BlockRef, bytes: &[u8]) -> Result<Vec<Entry>, DamagedBlock> {
    let is_it = |entries: &Vec<Entry>| {
        wide(entries.len()) == u64::from(block.count)
            && entries.first().is_some_and(|first| first.offset == block.first_offset)
    };
    unpack_any(bytes).filter(is_it).ok_or(DamagedBlock { first_offset: block.first_offset })
}

/// Unpacks a block; `None` when it is damaged.
pub(super) fn unpack_any(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut rest = bytes;
    let [version] = take(&mut rest)?;
    let count = u32::from_le_bytes(take(&mut rest)?);
    let first_offset = u64::from_le_bytes(take(&mut rest)?);
    let mut position = u64::from_le_bytes(take(&mut rest)?);
    let mut store_ms = u64::from_le_bytes(take(&mut rest)?);
    let with = version.checked_sub(VERSION)?;
    let (with_expiry, with_turn) = (with & WITH_EXPIRY > 0, with & WITH_TURN > 0);
    if with > WITH_EXPIRY + WITH_TURN {
        return None;
    }
    let mut tag = 0i32;
    let mut entries = Vec::with_capacity(bytes.len() / 4);
    for step in 0..u64::from(count) {
        position = position.wrapping_add(varint(&mut rest)?);
        let bytes = u32::try_from(varint(&mut rest)?).ok()?;
        let zigzag = u32::try_from(varint(&mut rest)?).ok()?;
        tag = tag.wrapping_add((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        store_ms = store_ms.wrapping_add(varint(&mut rest)?);
        let life = if with_expiry { varint(&mut rest)? } else { 0 };
        let expires_ms = if life > 0 { store_ms.wrapping_add(life - 1) } else { 0 };
        let turn = if with_turn { varint(&mut rest)? } else { 0 };
        let offset = first_offset.wrapping_add(step);
        let entry =
            Entry { offset, position, bytes, tag_hash: tag, store_ms, expires_ms, key_hash: 0, priority: 0 };
        entries.push(entry.with_turn(turn));
    }
    rest.is_empty().then_some(entries)
}

/// Milliseconds that an entry lives, and 1; 0 where it lives for ever.
fn life_and_1(entry: &Entry) -> u64 {
    // One whose store time was raised may have expired before it.
    if entry.expires_ms == 0 { 0 } else { entry.expires_ms.saturating_sub(entry.store_ms).saturating_add(1) }
}

pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7F);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(crate) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unpacks_what_was_packed_and_rejects_damage(
            first in 0u64..1 << 50,
            rows in proptest::collection::vec((0u64..1 << 40, any::<u32>(), any::<i32>(), 0u64..1 << 20, 0u64..4, 0u64..3), 1..200),
            damage in any::<(usize, u8)>(),
        ) {
            let (mut position, mut store_ms) = (first, 1_700_000_000_000);
            let entries: Vec<Entry> = rows.iter().enumerate().map(|(i, (gap, bytes, tag_hash, later, life, turn))| {
                position += gap;
                store_ms += later;
                let expires_ms = if *life > 1 { store_ms + life - 2 } else { 0 };
                let offset = first + i as u64;
                let entry = Entry {
                    offset, position, bytes: *bytes, tag_hash: *tag_hash, store_ms, expires_ms, key_hash: 0, priority: 0,
                };
                entry.with_turn(turn.saturating_sub(1) * 0xFF_1234_5677)
            }).collect();
            let (block, bytes) = pack(entries.iter().copied()).unwrap();
            prop_assert_eq!(unpack(&block, &bytes).unwrap(), entries);
            let mut broken = bytes.clone();
            let at = damage.0 % broken.len();
            broken[at] ^= damage.1;
            let _ = unpack(&block, &broken);
            prop_assert!(unpack(&block, &bytes[..bytes.len() - 1]).is_err());
        }
    }
}
