//! Entries that compaction has removed: their offsets stay, and nobody sees them.

use std::sync::{PoisonError, RwLock};

use super::*;
use crate::state::Ranges;

/// Offsets at or above the first one that is there, of messages that are no more. Most queues have none.
#[derive(Debug, Default)]
pub(super) struct Removed(RwLock<Ranges>);

impl Queue {
    fn removed<T>(&self, look: impl FnOnce(&Ranges) -> T) -> Option<T> {
        let removed = self.removed.get()?;
        Some(look(&removed.0.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The offset, or where the removed entries end that it is among.
    pub(crate) fn behind_removed(&self, offset: u64) -> u64 {
        self.removed(|removed| removed.run_of(offset)).flatten().unwrap_or(offset)
    }

    /// First removed offset at or behind one.
    pub(crate) fn next_removed(&self, offset: u64) -> Option<u64> {
        self.removed(|removed| removed.run_of(offset).map(|_| offset).or(removed.next_start(offset)))
            .flatten()
    }

    /// Visible messages that are there.
    pub fn messages(&self) -> u64 {
        self.messages_below(self.end_offset())
    }

    /// Messages that are there, visible or not, below an offset.
    pub(crate) fn messages_below(&self, end: u64) -> u64 {
        let all = end.saturating_sub(self.min_offset());
        all.saturating_sub(self.removed_in(self.min_offset(), end))
    }

    /// How many of the offsets from one to another are of removed entries.
    pub(crate) fn removed_in(&self, from: u64, end: u64) -> u64 {
        self.removed(|removed| {
            let mut at = removed.run_of(from).map(|_| from).or(removed.next_start(from));
            let mut count = 0;
            while let Some(first) = at.filter(|first| *first < end) {
                let Some(run_end) = removed.run_of(first) else { break };
                count += run_end.min(end) - first;
                at = removed.next_start(run_end);
            }
            count
        })
        .unwrap_or(0)
    }

    /// Runs of removed offsets, in order.
    pub(crate) fn removed_runs(&self) -> Vec<Run> {
        self.removed(|removed| removed.iter().collect()).unwrap_or_default()
    }

    /// Runs of offsets below an end that are not removed, in order.
    pub(crate) fn kept_runs(&self, end: u64) -> Vec<Run> {
        let (mut runs, mut from) = (Vec::new(), self.min_offset());
        for (first, run_end) in self.removed_runs() {
            runs.push((from, first.min(end)));
            from = run_end;
        }
        runs.push((from, end));
        runs.retain(|(first, end)| first < end);
        runs
    }

    /// Marks entries as no more that are.
    pub(super) fn hide(&self, entries: &mut [Entry]) {
        self.removed(|removed| {
            if removed.len() > 0 {
                entries
                    .iter_mut()
                    .filter(|entry| removed.contains(entry.offset))
                    .for_each(|entry| entry.bytes = 0);
            }
        });
    }

    /// Removes entries, of which some may be removed already. `gaps` are offsets that no message has. Returns the first
    /// offset that is still there, which is for the caller to set, and blocks of which nothing is left.
    pub(crate) fn remove(&self, runs: &[Run], gaps: &[Run]) -> (u64, Vec<BlockRef>) {
        let removed = self.removed.get_or_init(Box::default);
        let mut removed = removed.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut min = self.min_offset();
        runs.iter().for_each(|(first, end)| removed.insert((*first).max(min), *end));
        loop {
            let gap = || gaps.iter().find(|(first, end)| (*first..*end).contains(&min)).map(|(_, end)| *end);
            match removed.take_from(min).or_else(gap) {
                Some(end) => min = min.max(end),
                None => break,
            }
        }
        let is_gone = |block: &BlockRef| {
            removed.run_of(block.first_offset).is_some_and(|end| end >= block.end_offset())
        };
        let mut gone: Vec<BlockRef> = Vec::new();
        let mut sealed = self.sealed.write().unwrap_or_else(PoisonError::into_inner);
        // The last one stays: it says where the open end begins.
        let others = sealed.len().saturating_sub(1);
        for (first, end) in runs {
            let at = sealed.partition_point(|block| block.end_offset() <= *first);
            let met = sealed.iter().take(others).skip(at).take_while(|block| block.first_offset < *end);
            gone.extend(met.filter(|block| is_gone(block)).copied());
        }
        if !gone.is_empty() {
            gone.sort_by_key(|block| block.first_offset);
            gone.dedup_by_key(|block| block.first_offset);
            let is_in = |block: &BlockRef| {
                gone.binary_search_by_key(&block.first_offset, |gone| gone.first_offset).is_ok()
            };
            sealed.retain(|block| !is_in(block));
        }
        drop(sealed);
        drop(removed);
        self.forget_blocks(&gone);
        (min, gone)
    }
}
