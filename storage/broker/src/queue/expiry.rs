//! When entries of a queue expire: their own times and the topic's time to live. Sealed blocks keep their earliest
//! deadline, and only those that are due are opened. What becomes of an expired entry is the shard's to decide.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use mailrail_commitlog::planted::{Bug, planted};

use super::chunk::Chunk;
use super::{BlockRef, Blocks, Entry, IndexError, Queue};

/// Entries that one slice of a sweep may find before it stops, and blocks that it may open.
const SLICE_ENTRIES: usize = 1_024;
const SLICE_BLOCKS: usize = 16;
/// No deadline.
pub(crate) const NEVER_MS: u64 = u64::MAX;

/// What a slice of a sweep found.
#[derive(Debug)]
pub(crate) struct Slice {
    /// Entries whose time is over, whether or not they are settled or leased.
    pub expired: Vec<Entry>,
    /// Where to go on; `None` at the end of the queue.
    pub next: Option<u64>,
    /// Earliest deadline of what it passed and is not due.
    pub due_ms: u64,
    /// Sealed blocks that it passed, opened or not.
    pub blocks: u64,
}

/// Earliest deadlines of blocks that were opened, by their first offset: what was due then counts no more.
pub(super) type Swept = BTreeMap<u64, u64>;

impl Queue {
    /// Milliseconds that each entry lives at most (`None` = as long as it says itself), and whether one group owns the
    /// entries, so that they go when they expire.
    pub(crate) fn set_ttl(&self, ttl_ms: Option<u64>, is_owned: bool) {
        self.ttl_ms.store(ttl_ms.unwrap_or(NEVER_MS), Ordering::Release);
        self.is_owned.store(is_owned, Ordering::Release);
    }

    pub(crate) fn is_owned(&self) -> bool {
        self.is_owned.load(Ordering::Acquire)
    }

    /// False while no entry expires: nobody need look.
    pub(crate) fn may_expire(&self) -> bool {
        self.has_expiry.load(Ordering::Acquire) || self.ttl_ms() != NEVER_MS
    }

    fn ttl_ms(&self) -> u64 {
        self.ttl_ms.load(Ordering::Acquire)
    }

    /// When an entry expires.
    pub(crate) fn deadline_ms(&self, entry: &Entry) -> u64 {
        if planted(Bug::OwnExpiryIgnored) {
            return entry.store_ms.saturating_add(self.ttl_ms());
        }
        entry.deadline_ms(self.ttl_ms())
    }

    /// Whether an entry's time is over, so that nobody gets it any more.
    pub(crate) fn is_overdue(&self, entry: &Entry, now_ms: u64) -> bool {
        self.may_expire() && self.deadline_ms(entry) <= now_ms
    }

    /// Earliest deadline of an entry, seen yet or not; [`NEVER_MS`] when nothing expires.
    pub(crate) fn earliest_deadline_ms(&self) -> u64 {
        if !self.may_expire() {
            return NEVER_MS;
        }
        let tail = self.tail.load_full();
        let sealed = self.sealed_from(0);
        let swept = self.swept();
        let blocks = sealed.iter().map(|block| self.block_due_ms(block, &swept));
        let open = self.open_entries(&tail, self.min_offset()..u64::MAX, sealed.last());
        blocks.chain(open.map(|entry| self.deadline_ms(&entry))).min().unwrap_or(NEVER_MS)
    }

    /// First of a range of entries that is overdue, or lies in a block in which one may be. One that lives no time at
    /// all is handed out while it is there.
    pub(crate) fn first_overdue(&self, range: Range<u64>, now_ms: u64) -> Option<u64> {
        if !self.may_expire() {
            return None;
        }
        let tail = self.tail.load_full();
        let last_block = {
            let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner);
            let swept = self.swept();
            let first = sealed.partition_point(|block| block.end_offset() <= range.start);
            let mut among = sealed.iter().skip(first).take_while(|block| block.first_offset < range.end);
            if let Some(block) = among.find(|block| self.block_due_ms(block, &swept) <= now_ms) {
                return Some(block.first_offset.max(range.start));
            }
            sealed.back().copied()
        };
        let is_over = |entry: &Entry| {
            let deadline_ms = self.deadline_ms(entry);
            deadline_ms <= now_ms && deadline_ms > entry.store_ms
        };
        self.open_entries(&tail, range, last_block.as_ref()).find(is_over).map(|entry| entry.offset)
    }

    /// Looks for expired entries that can be seen, from an offset on and as far as one slice goes. May block on the
    /// store.
    pub(crate) fn sweep(&self, from: u64, now_ms: u64, blocks: &Blocks) -> Result<Slice, IndexError> {
        let tail = self.tail.load_full();
        let from = from.max(self.min_offset());
        let (sealed, end) = (self.sealed_from(from), self.end_offset());
        let mut slice = Slice { expired: Vec::new(), next: None, due_ms: NEVER_MS, blocks: 0 };
        let due: Vec<u64> = {
            let swept = self.swept();
            sealed.iter().map(|block| self.block_due_ms(block, &swept)).collect()
        };
        let mut opened = 0;
        for (block, due_ms) in sealed.iter().zip(due).filter(|(block, _)| block.first_offset < end) {
            slice.blocks += 1;
            if due_ms > now_ms {
                slice.due_ms = slice.due_ms.min(due_ms);
                continue;
            }
            if slice.expired.len() >= SLICE_ENTRIES || opened == SLICE_BLOCKS {
                slice.next = Some(block.first_offset);
                return Ok(slice);
            }
            opened += 1;
            let Some(entries) = blocks.unpacked(self.id, block)? else {
                if self.is_gone() || self.min_offset() >= block.end_offset() {
                    continue;
                }
                return Err(IndexError::Missing { first_offset: block.first_offset });
            };
            let left_ms = self.sort_out(entries.iter().copied(), (now_ms, end), &mut slice);
            self.note_swept(block.first_offset, left_ms);
        }
        self.sort_out(self.open_entries(&tail, from..u64::MAX, sealed.last()), (now_ms, end), &mut slice);
        Ok(slice)
    }

    /// Takes what is overdue and can be seen, and returns the earliest deadline of the rest.
    fn sort_out(
        &self,
        entries: impl Iterator<Item = Entry>,
        (now_ms, end): (u64, u64),
        slice: &mut Slice,
    ) -> u64 {
        let mut left_ms = NEVER_MS;
        for entry in entries.filter(Entry::is_there) {
            let deadline_ms = self.deadline_ms(&entry);
            if deadline_ms <= now_ms && entry.offset < end {
                slice.expired.push(entry);
            } else {
                left_ms = left_ms.min(deadline_ms);
            }
        }
        slice.due_ms = slice.due_ms.min(left_ms);
        left_ms
    }

    fn block_due_ms(&self, block: &BlockRef, swept: &Swept) -> u64 {
        let own = if block.expires_ms == 0 { NEVER_MS } else { block.expires_ms };
        let due_ms = own.min(block.first_store_ms.saturating_add(self.ttl_ms()));
        swept.get(&block.first_offset).copied().unwrap_or(due_ms)
    }

    fn note_swept(&self, first_offset: u64, left_ms: u64) {
        let min = self.min_offset();
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        while swept.first_key_value().is_some_and(|(first, _)| first + FAR_BELOW < min) {
            swept.pop_first();
        }
        swept.insert(first_offset, left_ms);
    }

    /// An entry that a sweep has found is due again.
    pub(crate) fn unsweep(&self, entry: &Entry) {
        let Some(block) = self.block_of(entry.offset) else { return };
        if let Some(left_ms) = self.swept().get_mut(&block.first_offset) {
            *left_ms = self.deadline_ms(entry).min(*left_ms);
        }
    }

    fn swept(&self) -> std::sync::MutexGuard<'_, Swept> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sealed blocks from the one with an offset on.
    fn sealed_from(&self, offset: u64) -> Vec<BlockRef> {
        let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner);
        let first = sealed.partition_point(|block| block.end_offset() <= offset);
        sealed.iter().skip(first).copied().collect()
    }

    /// Entries of a range that no block up to the last holds.
    fn open_entries<'a>(
        &self,
        tail: &'a [std::sync::Arc<Chunk>],
        range: Range<u64>,
        last_block: Option<&BlockRef>,
    ) -> impl Iterator<Item = Entry> + use<'a> {
        let from = range.start.max(last_block.map_or(0, BlockRef::end_offset)).max(self.min_offset());
        let offsets = move |chunk: &'a Chunk| chunk.first_offset.max(from)..chunk.end_offset().min(range.end);
        tail.iter().flat_map(move |chunk| offsets(chunk).filter_map(|offset| chunk.get(offset)))
    }
}

/// A block that ends at the first offset there may begin so far below it.
const FAR_BELOW: u64 = 1 << 16;
