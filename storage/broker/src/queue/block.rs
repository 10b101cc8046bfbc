//! Sealed runs of index entries, packed for the store: less than a byte an entry where messages of a size and a tag follow
//! each other.
//!
//! Layout: u8 version 5, then the varints count, first offset, first position, first store time. Then columns of up to
//! [`COLUMN_VALUES`] entries, until there are all of them: bytes; gap between the end of the record before and the
//! position; tag (zigzag of the difference to the one before); store time delta; milliseconds from store time to expiry
//! and 1, or 0 = never; ordering key and priority. Older versions had rows: [`super::rows`].

use super::chunk::{Entry, wide};
use super::columns::{self, COLUMN_BYTES_MIN, COLUMN_VALUES};
use super::rows;
use crate::retention::stored_bytes;

const VERSION: u8 = 5;
/// Of the columns of as many entries.
const COLUMNS_BYTES_MIN: usize = 6 * COLUMN_BYTES_MIN;

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
pub(super) fn pack(entries: impl Iterator<Item = Entry>) -> Option<(BlockRef, Vec<u8>)> {
    let entries: Vec<Entry> = entries.collect();
    let first = entries.first()?;
    let expiries = entries.iter().map(|entry| entry.expires_ms).filter(|expires_ms| *expires_ms > 0);
    let block = BlockRef {
        first_offset: first.offset,
        count: u32::try_from(entries.len()).ok()?,
        first_position: first.position,
        first_store_ms: first.store_ms,
        bytes: entries.iter().map(|entry| stored_bytes(entry.bytes)).sum(),
        expires_ms: expiries.min().unwrap_or(0),
    };
    let mut out = Vec::with_capacity(64 + entries.len());
    out.push(VERSION);
    for number in [u64::from(block.count), first.offset, first.position, first.store_ms] {
        put_varint(&mut out, number);
    }
    let (mut end, mut tag_hash, mut store_ms) = (first.position, 0i32, first.store_ms);
    for part in entries.chunks(COLUMN_VALUES) {
        columns::put(&mut out, part.iter().map(|entry| u64::from(entry.bytes)));
        let gap = |entry: &Entry| entry.position.wrapping_sub(std::mem::replace(&mut end, end_of(entry)));
        columns::put(&mut out, part.iter().map(gap));
        let zigzag = |entry: &Entry| {
            let difference = entry.tag_hash.wrapping_sub(std::mem::replace(&mut tag_hash, entry.tag_hash));
            u64::from(((difference << 1) ^ (difference >> 31)).cast_unsigned())
        };
        columns::put(&mut out, part.iter().map(zigzag));
        let later =
            |entry: &Entry| entry.store_ms.wrapping_sub(std::mem::replace(&mut store_ms, entry.store_ms));
        columns::put(&mut out, part.iter().map(later));
        columns::put(&mut out, part.iter().map(life_and_1));
        columns::put(&mut out, part.iter().map(Entry::turn));
    }
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

/// Unpacks a block of any version; `None` when it is damaged.
pub(super) fn unpack_any(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut rest = bytes;
    match take(&mut rest)? {
        [VERSION] => unpack_columns(rest),
        [older] => rows::unpack(older, rest),
    }
}

fn unpack_columns(mut rest: &[u8]) -> Option<Vec<Entry>> {
    let count = usize::try_from(varint(&mut rest)?).ok()?;
    let first_offset = varint(&mut rest)?;
    let (mut end, mut store_ms) = (varint(&mut rest)?, varint(&mut rest)?);
    if count.div_ceil(COLUMN_VALUES) > rest.len() / COLUMNS_BYTES_MIN {
        return None;
    }
    let mut tag_hash = 0i32;
    let mut column = [0; COLUMN_VALUES];
    let mut entries: Vec<Entry> =
        (0..wide(count)).map(|step| Entry { offset: first_offset.wrapping_add(step), ..EMPTY }).collect();
    for part in entries.chunks_mut(COLUMN_VALUES) {
        let column = column.get_mut(..part.len())?;
        columns::fill(column, &mut rest)?;
        for (entry, bytes) in part.iter_mut().zip(&*column) {
            entry.bytes = u32::try_from(*bytes).ok()?;
        }
        columns::fill(column, &mut rest)?;
        for (entry, gap) in part.iter_mut().zip(&*column) {
            entry.position = end.wrapping_add(*gap);
            end = end_of(entry);
        }
        columns::fill(column, &mut rest)?;
        for (entry, zigzag) in part.iter_mut().zip(&*column) {
            let zigzag = u32::try_from(*zigzag).ok()?;
            tag_hash = tag_hash.wrapping_add((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
            entry.tag_hash = tag_hash;
        }
        columns::fill(column, &mut rest)?;
        for (entry, later) in part.iter_mut().zip(&*column) {
            store_ms = store_ms.wrapping_add(*later);
            entry.store_ms = store_ms;
        }
        columns::fill(column, &mut rest)?;
        for (entry, life_and_1) in part.iter_mut().zip(&*column) {
            entry.expires_ms = expiry_ms(entry.store_ms, *life_and_1);
        }
        columns::fill(column, &mut rest)?;
        for (entry, turn) in part.iter_mut().zip(&*column) {
            *entry = entry.with_turn(*turn);
        }
    }
    rest.is_empty().then_some(entries)
}

const EMPTY: Entry = Entry {
    offset: 0,
    position: 0,
    bytes: 0,
    tag_hash: 0,
    store_ms: 0,
    expires_ms: 0,
    key_hash: 0,
    priority: 0,
};

/// Where the next record of a queue lies if nothing else is between them. A message that is no more is said to lie
/// where the next one does.
fn end_of(entry: &Entry) -> u64 {
    let bytes = if entry.is_there() { stored_bytes(entry.bytes) } else { 0 };
    entry.position.wrapping_add(bytes)
}

/// Milliseconds that an entry lives, and 1; 0 where it lives for ever.
pub(super) fn life_and_1(entry: &Entry) -> u64 {
    // One whose store time was raised may have expired before it.
    if entry.expires_ms == 0 { 0 } else { entry.expires_ms.saturating_sub(entry.store_ms).saturating_add(1) }
}

/// The other way.
pub(super) fn expiry_ms(store_ms: u64, life_and_1: u64) -> u64 {
    life_and_1.checked_sub(1).map_or(0, |life| store_ms.wrapping_add(life))
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

    const SIZE: u32 = 1_100;
    const GROUP_HEADER_BYTES: u64 = 64;

    /// Messages of one size, of which so many lie in one write group, and each comes so many milliseconds after the one
    /// before.
    fn regular(count: u64, group: u64, later_ms: impl Fn(u64) -> u64) -> Vec<Entry> {
        let (mut position, mut store_ms) = (1 << 40, 1_700_000_000_000);
        let entry = |n| {
            position += stored_bytes(SIZE) + if n % group == 0 { GROUP_HEADER_BYTES } else { 0 };
            store_ms += later_ms(n);
            Entry { offset: n, position, bytes: SIZE, tag_hash: 7, store_ms, ..EMPTY }
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn a_block_of_each_older_version_is_read() {
        for (expires_ms, turn) in [(0, 0), (1_700_000_009_000, 0), (0, 9), (1_700_000_009_000, 9)] {
            let mut entries = regular(300, 64, |n| n % 2);
            entries[5] = Entry { expires_ms, ..entries[5] }.with_turn(turn);
            let (block, bytes) = pack(entries.iter().copied()).unwrap();
            let older = rows::pack(&entries);
            assert_ne!(older[0], bytes[0]);
            assert_eq!(unpack(&block, &older).unwrap(), entries);
            assert!(unpack(&block, &older[..older.len() - 1]).is_err());
        }
        assert_eq!(
            unpack_any(&[VERSION + 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            None,
            "of a later version"
        );
    }

    #[test]
    fn regular_entries_take_less_than_a_byte() {
        let bytes = |entries: Vec<Entry>| {
            let (packed, rows) = (pack(entries.iter().copied()).unwrap().1.len(), rows::pack(&entries).len());
            (packed * 100 / entries.len(), rows * 100 / entries.len())
        };
        let is_odd = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63;
        let hundredths = [
            bytes(regular(2_048, 64, |n| u64::from(n.is_multiple_of(100)))),
            bytes(regular(2_048, 64, is_odd)),
            bytes(regular(2_048, 8, is_odd)),
        ];
        assert_eq!(hundredths, [(21, 601), (28, 601), (72, 601)], "of a byte an entry, and as rows");
    }

    #[test]
    fn a_few_entries_take_no_more_than_as_rows() {
        for count in 1..20 {
            let entries = regular(count, 1, |n| 1_000 * n);
            let (packed, rows) = (pack(entries.iter().copied()).unwrap().1, rows::pack(&entries));
            assert!(packed.len() <= rows.len(), "{count}: {} and {}", packed.len(), rows.len());
        }
    }

    #[test]
    fn a_count_that_so_few_bytes_cannot_hold_asks_for_no_memory() {
        let found = |count: u64, bytes: usize| {
            let mut claimed = vec![VERSION];
            put_varint(&mut claimed, count);
            claimed.resize(claimed.len() + 3 + bytes, 0);
            unpack_any(&claimed).map(|entries| wide(entries.len()))
        };
        let most = wide(COLUMN_VALUES);
        assert_eq!(found(most, COLUMNS_BYTES_MIN), Some(most));
        assert_eq!(found(most, COLUMNS_BYTES_MIN - 1), None);
        assert_eq!(found(most + 1, 2 * COLUMNS_BYTES_MIN), Some(most + 1));
        for count in [most + 1, u64::from(u32::MAX), 1 << 62, u64::MAX] {
            assert_eq!(found(count, 2 * COLUMNS_BYTES_MIN - 1), None, "{count}");
        }
    }

    proptest! {
        #[test]
        fn unpacks_what_was_packed_and_rejects_damage(
            first in 0u64..1 << 50,
            rows in proptest::collection::vec((0u64..1 << 40, any::<u32>(), any::<i32>(), 0u64..1 << 20, 0u64..4, 0u64..3), 1..300),
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

        /// Records lie behind each other, with anything between them.
        #[test]
        fn packs_random_entries_in_no_more_than_rows(
            rows in proptest::collection::vec((0u64..1 << 20, 1u32..1 << 16, any::<i32>(), 0u64..1 << 20, 0u64..1 << 30), 1..600),
        ) {
            let mut entry = EMPTY;
            let entries: Vec<Entry> = rows.iter().map(|(gap, bytes, tag_hash, later, turn)| {
                let (position, store_ms) = (end_of(&entry) + gap, entry.store_ms + later);
                let next = Entry { offset: entry.offset + 1, position, bytes: *bytes, tag_hash: *tag_hash, store_ms, ..EMPTY };
                entry = next.with_turn(*turn);
                entry
            }).collect();
            let (_, bytes) = pack(entries.iter().copied()).unwrap();
            // The form of each column, and the one of expiries, which rows may be without.
            let columns = entries.len().div_ceil(COLUMN_VALUES) * 7;
            prop_assert!(bytes.len() <= rows::pack(&entries).len() + columns);
        }
    }
}
