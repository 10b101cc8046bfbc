//! The index of a queue as it was at some time, to be written by somebody else later. Cheap to take, however long the
//! open end is.

use std::sync::Arc;

use super::block::BlockRef;
use super::chunk::{Chunk, Entry};
use super::turn::PrioritySet;

/// An offset, and a time in milliseconds of the Unix epoch.
type OffsetTime = (u64, u64);
/// An offset, and the priorities of the block that begins there.
type OffsetPriorities = (u64, PrioritySet);
/// An offset, and its turn.
type OffsetTurn = (u64, u64);

/// The index of a queue as it was when the image was taken. Chunks only grow, so those that it holds still show that.
#[derive(Debug)]
pub(crate) struct IndexImage {
    pub(super) sealed: Vec<BlockRef>,
    /// Of sealed blocks, by their first offset, where the topic has priorities.
    pub(super) priorities: Vec<OffsetPriorities>,
    pub(super) tail: Arc<Vec<Arc<Chunk>>>,
    pub(super) min: u64,
    pub(super) end: u64,
}

impl IndexImage {
    /// The directory of sealed blocks.
    pub fn sealed(&self) -> &[BlockRef] {
        &self.sealed
    }

    /// The entries behind them.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let from = self.sealed.last().map_or(self.min, |last| last.end_offset().max(self.min));
        let offsets = move |chunk: &Chunk| chunk.first_offset.max(from)..chunk.end_offset().min(self.end);
        self.tail.iter().flat_map(move |chunk| offsets(chunk).filter_map(|offset| chunk.get(offset)))
    }

    /// Expiries, where there are any: the earliest of each block (by its first offset), and those of entries behind them.
    pub fn expiries(&self) -> (Vec<OffsetTime>, Vec<OffsetTime>) {
        let blocks = self.sealed.iter().filter(|block| block.expires_ms > 0);
        let entries = self.entries().filter(|entry| entry.expires_ms > 0);
        (
            blocks.map(|block| (block.first_offset, block.expires_ms)).collect(),
            entries.map(|entry| (entry.offset, entry.expires_ms)).collect(),
        )
    }

    /// Turns, where entries have any: the priorities of each block (by its first offset), and those of entries behind
    /// them.
    pub fn turns(&self) -> (Vec<OffsetPriorities>, Vec<OffsetTurn>) {
        let entries = self.entries().map(|entry| (entry.offset, entry.turn()));
        (self.priorities.clone(), entries.filter(|(_, turn)| *turn > 0).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.entries().next().is_none()
    }

    pub fn blocks(&self) -> usize {
        self.sealed.len()
    }
}
