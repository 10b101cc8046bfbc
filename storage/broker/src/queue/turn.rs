//! What of a queue's entries decides their turn among others: the ordering key, and the priority, as far as the topic
//! has priorities. Sealed blocks keep the set of priorities in them, so that looking for the next entry of one opens
//! only blocks in which there is one. Who gets which entry is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::{BlockRef, Blocks, Entry, IndexError, Queue};

/// Entries looked at together.
const LOOK_ENTRIES: usize = 256;

/// A set of priorities, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PrioritySet([u64; 4]);

impl PrioritySet {
    pub fn insert(&mut self, priority: u8) {
        if let Some(word) = self.0.get_mut(usize::from(priority >> 6)) {
            *word |= 1 << (priority & 63);
        }
    }

    pub fn contains(&self, priority: u8) -> bool {
        self.0.get(usize::from(priority >> 6)).is_some_and(|word| word >> (priority & 63) & 1 == 1)
    }

    fn add(&mut self, other: PrioritySet) {
        self.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
    }

    /// The highest first.
    pub fn descending(self) -> impl Iterator<Item = u8> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let (at, word) = left.iter_mut().enumerate().rev().find(|(_, word)| **word != 0)?;
            let bit = 63 - word.leading_zeros();
            *word &= !(1 << bit);
            u8::try_from(at * 64).ok()?.checked_add(u8::try_from(bit).ok()?)
        })
    }
}

/// Which priorities there are, in a queue whose topic has any.
#[derive(Debug, Default)]
pub(super) struct Priorities {
    /// Of all entries since the queue was opened, and of those that were there then.
    in_use: PrioritySet,
    /// Of sealed blocks, by their first offset.
    blocks: BTreeMap<u64, PrioritySet>,
}

impl Queue {
    /// The highest priority that an entry may have; 0 = there are none.
    pub(crate) fn set_priority_max(&self, max: u8) {
        self.priority_max.store(max, Ordering::Release);
    }

    pub(crate) fn priority_max(&self) -> u8 {
        self.priority_max.load(Ordering::Acquire)
    }

    /// Priorities that any entry has, or had.
    pub(crate) fn priorities_in_use(&self) -> PrioritySet {
        if self.priority_max() == 0 { PrioritySet::default() } else { self.priorities().in_use }
    }

    /// First entries of a priority from an offset on, below an end: at most so many offsets, and where to go on. May block
    /// on the store.
    pub(crate) fn of_priority(
        &self,
        priority: u8,
        (from, end): (u64, u64),
        max: usize,
        blocks: &Blocks,
    ) -> Result<(Vec<u64>, u64), IndexError> {
        let (mut found, mut next) = (Vec::new(), from.max(self.min_offset()));
        while next < end && found.len() < max {
            if let Some(behind) = self.end_of_block_without(priority, next) {
                next = behind;
                continue;
            }
            let entries = self.entries(next, LOOK_ENTRIES, blocks)?;
            // A gap up to the end.
            let Some(last) = entries.last() else {
                next = end;
                break;
            };
            next = last.offset + 1;
            for entry in entries.iter().take_while(|entry| entry.offset < end) {
                if entry.priority == priority {
                    found.push(entry.offset);
                }
                if found.len() == max {
                    next = entry.offset + 1;
                    break;
                }
            }
        }
        Ok((found, next.min(end.max(from))))
    }

    /// Where the sealed block ends that has an offset, if nothing in it has a priority.
    fn end_of_block_without(&self, priority: u8, offset: u64) -> Option<u64> {
        let block = self.block_of(offset).filter(|block| block.first_offset <= offset)?;
        let priorities = self.priorities();
        let there = priorities.blocks.get(&block.first_offset)?;
        (!there.contains(priority)).then(|| block.end_offset())
    }

    /// An entry as it is kept: with no higher priority than there may be.
    pub(super) fn capped(&self, entry: &Entry) -> Entry {
        let max = self.priority_max();
        if max > 0 {
            self.priorities().in_use.insert(entry.priority.min(max));
        }
        Entry { priority: entry.priority.min(max), ..*entry }
    }

    /// A block was sealed.
    pub(super) fn note_block(&self, block: &BlockRef, entries: impl Iterator<Item = Entry>) {
        if self.priority_max() > 0 {
            let mut set = PrioritySet::default();
            entries.for_each(|entry| set.insert(entry.priority));
            self.priorities().blocks.insert(block.first_offset, set);
        }
    }

    pub(super) fn forget_blocks(&self, gone: &[BlockRef]) {
        if self.priority_max() > 0 {
            let mut priorities = self.priorities();
            for block in gone {
                priorities.blocks.remove(&block.first_offset);
            }
        }
    }

    /// Of sealed blocks, by their first offset.
    pub(super) fn priorities_of_blocks(&self) -> Vec<(u64, PrioritySet)> {
        self.priorities().blocks.iter().map(|(first, set)| (*first, *set)).collect()
    }

    /// Notes the priorities of blocks (by the first offset) that a checkpoint held, and those of entries behind them.
    pub(super) fn restore_priorities(&self, blocks: Vec<(u64, PrioritySet)>, entries: &[Entry]) {
        if self.priority_max() == 0 {
            return;
        }
        let mut priorities = self.priorities();
        blocks.iter().for_each(|(_, set)| priorities.in_use.add(*set));
        entries.iter().for_each(|entry| priorities.in_use.insert(entry.priority));
        priorities.blocks = blocks.into_iter().collect();
    }

    fn priorities(&self) -> MutexGuard<'_, Priorities> {
        self.priorities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_the_highest_first() {
        let mut set = PrioritySet::default();
        [0, 255, 64, 63, 64].into_iter().for_each(|priority| set.insert(priority));
        assert_eq!(set.descending().collect::<Vec<_>>(), [255, 64, 63, 0]);
        assert!(set.contains(63) && !set.contains(62));
    }
}
