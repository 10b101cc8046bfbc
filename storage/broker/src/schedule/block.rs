//! Sorted runs of timers, packed for the store: 6 to 10 bytes a timer.
//!
//! Layout (little-endian): u8 version, u32 count, then per timer the varints due time (difference to the one before),
//! position (zigzag of the difference), bytes. The first differs from zero.

use serde::{Deserialize, Serialize};

use super::{Timer, TimerKey};
use crate::queue::{put_varint, take, varint};
use crate::store::VALUE_BYTES_MAX;

const VERSION: u8 = 1;
/// Most timers of a block.
pub(super) const BLOCK_TIMERS_MAX: usize = if cfg!(test) { 3 } else { 4_000 };
/// Three varints at their longest.
const TIMER_BYTES_MAX: usize = 10 + 10 + 5;
const HEADER_BYTES: usize = 1 + 4;

const _: () = assert!(HEADER_BYTES + BLOCK_TIMERS_MAX * TIMER_BYTES_MAX < VALUE_BYTES_MAX);

/// What the directory keeps of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockRef {
    /// Never given to another block.
    pub id: u64,
    pub count: u32,
    pub first: TimerKey,
    pub last: TimerKey,
    /// Lowest and highest position of its timers' records.
    pub positions: (u64, u64),
}

impl BlockRef {
    /// Of sorted timers; `None` if there are none.
    pub(super) fn of(id: u64, timers: &[Timer]) -> Option<BlockRef> {
        let (first, last) = (timers.first()?.key(), timers.last()?.key());
        let positions = timers.iter().map(|timer| timer.position);
        let positions = (positions.clone().min()?, positions.max()?);
        Some(BlockRef { id, count: u32::try_from(timers.len()).ok()?, first, last, positions })
    }

    pub fn timers(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// False for a timer that it does not have.
    pub fn may_have(&self, key: TimerKey) -> bool {
        let (lowest, highest) = self.positions;
        (self.first..=self.last).contains(&key) && (lowest..=highest).contains(&key.1)
    }
}

/// A block that does not hold what its directory entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {id} of waiting messages is damaged or missing")]
pub(crate) struct DamagedBlock {
    pub id: u64,
}

/// Where a block lies in the store.
pub(crate) fn block_key(id: u64) -> Vec<u8> {
    let mut key = vec![b't'];
    key.extend_from_slice(&id.to_be_bytes());
    key
}

pub(super) fn pack(timers: &[Timer]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + timers.len() * 10);
    out.push(VERSION);
    out.extend_from_slice(&u32::try_from(timers.len()).unwrap_or(u32::MAX).to_le_bytes());
    let (mut due_ms, mut position) = (0, 0u64);
    for timer in timers {
        put_varint(&mut out, timer.due_ms.wrapping_sub(due_ms));
        let difference = timer.position.wrapping_sub(position).cast_signed();
        put_varint(&mut out, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
        put_varint(&mut out, u64::from(timer.bytes));
        (due_ms, position) = timer.key();
    }
    out
}

/// Unpacks a block and checks it against its directory entry.
pub(super) fn unpack(block: &BlockRef, bytes: &[u8]) -> Result<Vec<Timer>, DamagedBlock> {
    let damaged = DamagedBlock { id: block.id };
    let mut rest = bytes;
    let [version] = take(&mut rest).ok_or(damaged)?;
    let count = u32::from_le_bytes(take(&mut rest).ok_or(damaged)?);
    if version != VERSION || count != block.count {
        return Err(damaged);
    }
    let (mut due_ms, mut position) = (0u64, 0u64);
    let mut timers = Vec::with_capacity(bytes.len() / 3);
    for _ in 0..count {
        due_ms = due_ms.wrapping_add(varint(&mut rest).ok_or(damaged)?);
        let zigzag = varint(&mut rest).ok_or(damaged)?;
        let difference = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        position = position.wrapping_add(difference.cast_unsigned());
        let bytes = u32::try_from(varint(&mut rest).ok_or(damaged)?).map_err(|_| damaged)?;
        timers.push(Timer { due_ms, position, bytes });
    }
    let is_whole = rest.is_empty() && BlockRef::of(block.id, &timers).as_ref() == Some(block);
    if is_whole { Ok(timers) } else { Err(damaged) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_block_has_so_many_timers_and_the_next_has_the_others() {
        let timer = |n: usize| Timer { due_ms: n as u64, position: n as u64, bytes: 1 };
        for (timers, blocks) in [(0, 0), (1, 1), (BLOCK_TIMERS_MAX, 1), (BLOCK_TIMERS_MAX + 1, 2)] {
            let seal = super::super::Seal::new((0..timers).map(timer).collect(), 7);
            assert_eq!(seal.blocks().len(), blocks);
            assert_eq!(seal.blocks().iter().map(BlockRef::timers).sum::<usize>(), timers);
        }
    }

    proptest! {
        #[test]
        fn unpacks_what_was_packed_and_rejects_damage(
            rows in proptest::collection::vec(any::<(u64, u64, u32)>(), 1..200),
            damage in any::<(usize, u8)>(),
        ) {
            let mut timers: Vec<Timer> =
                rows.into_iter().map(|(due_ms, position, bytes)| Timer { due_ms, position, bytes }).collect();
            timers.sort_unstable();
            let block = BlockRef::of(7, &timers).unwrap();
            let bytes = pack(&timers);
            prop_assert!(bytes.len() <= HEADER_BYTES + timers.len() * TIMER_BYTES_MAX);
            prop_assert_eq!(unpack(&block, &bytes).unwrap(), timers);
            let mut broken = bytes.clone();
            let at = damage.0 % broken.len();
            broken[at] ^= damage.1;
            let _ = unpack(&block, &broken);
            prop_assert!(unpack(&block, &bytes[..bytes.len() - 1]).is_err());
        }
    }
}
