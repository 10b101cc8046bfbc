//! Blocks that older versions packed, row by row.
//!
//! Layout (little-endian) behind the version: u32 count, u64 first offset, u64 first position, u64 first store time, then
//! per entry the varints position delta, bytes, tag (zigzag of the difference to the one before), store time delta.
//! Version 2, for blocks with entries that expire, has one more: milliseconds from store time to expiry and 1, or 0 =
//! never. Versions 3 and 4 are those for blocks with entries that have an ordering key or a priority: the last varint has
//! both.

use super::block::{expiry_ms, take, varint};
use super::chunk::Entry;

const VERSION: u8 = 1;
/// Added to the version, for what the entries have besides.
const WITH_EXPIRY: u8 = 1;
const WITH_TURN: u8 = 2;

/// Unpacks what is behind a version; `None` when it is damaged.
pub(super) fn unpack(version: u8, mut rest: &[u8]) -> Option<Vec<Entry>> {
    let with = version.checked_sub(VERSION)?;
    if with > WITH_EXPIRY + WITH_TURN {
        return None;
    }
    let (with_expiry, with_turn) = (with & WITH_EXPIRY > 0, with & WITH_TURN > 0);
    let mut entries = Vec::with_capacity(rest.len() / 4);
    let count = u32::from_le_bytes(take(&mut rest)?);
    let first_offset = u64::from_le_bytes(take(&mut rest)?);
    let mut position = u64::from_le_bytes(take(&mut rest)?);
    let mut store_ms = u64::from_le_bytes(take(&mut rest)?);
    let mut tag = 0i32;
    for step in 0..u64::from(count) {
        position = position.wrapping_add(varint(&mut rest)?);
        let bytes = u32::try_from(varint(&mut rest)?).ok()?;
        let zigzag = u32::try_from(varint(&mut rest)?).ok()?;
        tag = tag.wrapping_add((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        store_ms = store_ms.wrapping_add(varint(&mut rest)?);
        let expires_ms = expiry_ms(store_ms, if with_expiry { varint(&mut rest)? } else { 0 });
        let turn = if with_turn { varint(&mut rest)? } else { 0 };
        let offset = first_offset.wrapping_add(step);
        let entry =
            Entry { offset, position, bytes, tag_hash: tag, store_ms, expires_ms, key_hash: 0, priority: 0 };
        entries.push(entry.with_turn(turn));
    }
    rest.is_empty().then_some(entries)
}

/// Packs as older versions did.
#[cfg(test)]
pub(super) fn pack(entries: &[Entry]) -> Vec<u8> {
    use super::block::{life_and_1, put_varint};

    let with_expiry = entries.iter().any(|entry| entry.expires_ms > 0);
    let with_turn = entries.iter().any(|entry| entry.turn() > 0);
    let mut out = vec![VERSION + u8::from(with_expiry) * WITH_EXPIRY + u8::from(with_turn) * WITH_TURN];
    out.extend_from_slice(&u32::try_from(entries.len()).unwrap().to_le_bytes());
    let first = entries[0];
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
        if with_expiry {
            put_varint(&mut out, life_and_1(entry));
        }
        if with_turn {
            put_varint(&mut out, entry.turn());
        }
        (position, tag, store_ms) = (entry.position, entry.tag_hash, entry.store_ms);
    }
    out
}
