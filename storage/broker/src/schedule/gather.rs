//! What the store's thread does for the schedule: writes sorted blocks, and merges those that are due next.

use super::block::{BLOCK_TIMERS_MAX, BlockRef, DamagedBlock, block_key, pack, unpack};
use super::{Timer, TimerKey};
use crate::store::{Change, Store, StoreError};

/// Timers that are to be written as blocks.
#[derive(Debug)]
pub(crate) struct Seal {
    blocks: Vec<BlockRef>,
    /// Sorted; as many as the blocks have.
    timers: Vec<Timer>,
}

impl Seal {
    /// Cuts sorted timers into blocks with numbers from `first_id` on.
    pub(super) fn new(timers: Vec<Timer>, first_id: u64) -> Seal {
        let cut = (first_id..).zip(timers.chunks(BLOCK_TIMERS_MAX));
        let blocks = cut.filter_map(|(id, timers)| BlockRef::of(id, timers)).collect();
        Seal { blocks, timers }
    }

    pub fn blocks(&self) -> &[BlockRef] {
        &self.blocks
    }

    pub fn store(&self, store: &dyn Store) -> Result<(), StoreError> {
        let packed = self.blocks.iter().zip(self.timers.chunks(BLOCK_TIMERS_MAX));
        let changes: Vec<Change> =
            packed.map(|(block, timers)| (block_key(block.id), Some(pack(timers)))).collect();
        store.apply(changes)
    }
}

/// Blocks to be merged, which begin before all others.
#[derive(Debug)]
pub(crate) struct Gather {
    pub(super) blocks: Vec<BlockRef>,
    /// Others may have timers from here on.
    pub(super) bound: TimerKey,
    pub(super) taken_max: usize,
    pub(super) first_id: u64,
}

/// Why blocks were not merged; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatherError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Damaged(#[from] DamagedBlock),
}

/// Blocks that were merged.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// The nearest timers, which no block has any more.
    pub(super) taken: Vec<Timer>,
    /// Below are none but those.
    pub(super) horizon: TimerKey,
    pub(super) read: Vec<BlockRef>,
    /// Hold what was not taken.
    pub(super) made: Vec<BlockRef>,
}

impl Gather {
    /// Numbers that were set aside for the blocks it makes.
    pub fn numbers(&self) -> (u64, usize) {
        (self.first_id, self.blocks.len())
    }

    pub fn carry_out(self, store: &dyn Store) -> Result<Gathered, GatherError> {
        let mut timers = Vec::with_capacity(self.blocks.iter().map(BlockRef::timers).sum());
        for block in &self.blocks {
            timers.append(&mut read_block(store, block)?);
        }
        timers.sort_unstable();
        let below = timers.partition_point(|timer| timer.key() < self.bound);
        let rest = timers.split_off(below.min(self.taken_max));
        let horizon = rest.first().map_or(self.bound, |first| first.key().min(self.bound));
        let seal = Seal::new(rest, self.first_id);
        seal.store(store)?;
        Ok(Gathered { taken: timers, horizon, read: self.blocks, made: seal.blocks })
    }
}

/// The timers of a block, in order.
pub(crate) fn read_block(store: &dyn Store, block: &BlockRef) -> Result<Vec<Timer>, GatherError> {
    let packed = store.get(&block_key(block.id))?.ok_or(DamagedBlock { id: block.id })?;
    Ok(unpack(block, &packed)?)
}
