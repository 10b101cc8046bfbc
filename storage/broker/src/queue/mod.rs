//! A queue's index: which message is at which offset. The shard appends and says how far entries are visible; readers
//! look without passing through the shard and without a lock on the open end.
//!
//! The newest entries are in memory chunks; older ones are packed into blocks of the store, of which only a directory
//! stays in memory.

mod block;
mod blocks;
mod chunk;
mod columns;
mod expiry;
mod image;
mod removed;
mod rows;
mod sealing;
mod turn;
mod waits;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;

use self::chunk::Chunk;
use self::waits::Wait;
use crate::command::Name;
use crate::ids::*;
use crate::lite::LITE_PREFIX;
use crate::retention::{Run, stored_bytes};
use crate::statistics::{QueueCounts, QueueMeter};
use crate::store::StoreError;

pub(crate) use self::block::{BlockRef, put_varint, take, varint};
pub(crate) use self::blocks::Blocks;
pub use self::chunk::Entry;
pub(crate) use self::expiry::{NEVER_MS, Slice};
pub(crate) use self::image::{IndexImage, PackedRun};
pub(crate) use self::sealing::{Sealing, block_key};
pub(crate) use self::turn::PrioritySet;

/// Entries that make the open end be sealed into a block: half a KiB packed where messages are alike, and some 20 KiB where
/// they are not, far below the store's limit.
const BLOCK_ENTRIES: usize = 2_048;
/// As many make it be sealed when a checkpoint has written some of them already.
const WRITTEN_ENTRIES: usize = 256;
/// Of the first chunk: most of very many queues have few entries.
const CHUNK_ENTRIES_MIN: usize = 4;
const CHUNK_ENTRIES_MAX: usize = 256;

/// A queue of a topic, shared by the shard (which alone writes) and all readers.
///
/// What every message touches comes first, in about one line of the processor's cache: with many queues each of them is
/// found in none.
#[derive(Debug)]
#[repr(C)]
pub struct Queue {
    pub id: QueueId,
    tail: ArcSwap<Vec<Arc<Chunk>>>,
    end_offset: AtomicU64,
    min_offset: AtomicU64,
    ttl_ms: AtomicU64,
    has_expiry: AtomicBool,
    has_waits: AtomicBool,
    gone: AtomicBool,
    is_owned: AtomicBool,
    priority_max: AtomicU8,
    /// Of a million messages, so many are traced.
    trace_sample: AtomicU32,
    /// Number within its topic, from 0.
    pub index: u32,
    /// Made with the first message. Light queues have none: there may be very many.
    meter: OnceLock<Box<QueueMeter>>,
    /// Name of its topic.
    pub topic: Name,
    sealed: RwLock<VecDeque<BlockRef>>,
    /// Chunks below are sealed, or on their way. Only the shard looks.
    sealing_to: AtomicU64,
    waits: Mutex<Vec<Wait>>,
    swept: Mutex<expiry::Swept>,
    priorities: Mutex<turn::Priorities>,
    removed: OnceLock<Box<removed::Removed>>,
}

/// Why entries could not be read. The log still has the messages: the index is rebuilt when the store is set aside.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Damaged(#[from] block::DamagedBlock),
    #[error("the index block at offset {first_offset} is missing")]
    Missing { first_offset: u64 },
}

/// The chunk at the end of a queue's index, once something was appended. It is known to the shard without going through
/// what readers share: with many queues, each step there waits for memory.
#[derive(Debug, Default)]
pub(crate) struct Filling(Option<Arc<Chunk>>);

impl Queue {
    pub(crate) fn new(id: QueueId, topic: Name, index: u32, next_offset: u64) -> Self {
        Queue {
            id,
            topic,
            index,
            min_offset: AtomicU64::new(next_offset),
            end_offset: AtomicU64::new(next_offset),
            tail: ArcSwap::default(),
            sealed: RwLock::default(),
            sealing_to: AtomicU64::new(0),
            waits: Mutex::default(),
            has_waits: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            ttl_ms: AtomicU64::new(NEVER_MS),
            has_expiry: AtomicBool::new(false),
            swept: Mutex::default(),
            is_owned: AtomicBool::new(false),
            priority_max: AtomicU8::new(0),
            trace_sample: AtomicU32::new(0),
            priorities: Mutex::default(),
            removed: OnceLock::new(),
            meter: OnceLock::new(),
        }
    }

    /// First offset that is still there.
    pub fn min_offset(&self) -> u64 {
        self.min_offset.load(Ordering::Acquire)
    }

    /// Offset behind the last visible entry: the next one a reader may get.
    pub fn end_offset(&self) -> u64 {
        self.end_offset.load(Ordering::SeqCst)
    }

    /// True while somebody waits for something to read.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.has_waits.load(Ordering::SeqCst)
    }

    /// Counts what a batch came to.
    pub(crate) fn count(&self, now: Duration, counts: &QueueCounts) {
        if !self.topic.starts_with(LITE_PREFIX) {
            self.meter.get_or_init(Box::default).add(now, counts);
        }
    }

    /// What was counted, if anything was.
    pub(crate) fn meter(&self) -> Option<&QueueMeter> {
        self.meter.get().map(|meter| &**meter)
    }

    pub(crate) fn set_trace_sample(&self, of_a_million: u32) {
        self.trace_sample.store(of_a_million, Ordering::Release);
    }

    /// False while no message of it is traced: nobody need look.
    pub(crate) fn may_trace(&self) -> bool {
        self.trace_sample.load(Ordering::Relaxed) > 0
    }

    /// Whether the message at a log position is traced here.
    pub(crate) fn traces(&self, position: u64) -> bool {
        let sample = self.trace_sample.load(Ordering::Relaxed);
        sample > 0 && crate::trace::is_chosen(position, sample)
    }

    /// True when its topic was deleted.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Visible entries from an offset on, as far as they are in memory; `None` when the first of them is not.
    pub(crate) fn in_memory(&self, from: u64, max: usize) -> Option<Vec<Entry>> {
        let (from, end) = (self.behind_removed(from.max(self.min_offset())), self.end_offset());
        if from >= end {
            return Some(Vec::new());
        }
        let tail = self.tail.load();
        if tail.first().is_none_or(|first| first.first_offset > from) && self.block_of(from).is_some() {
            return None;
        }
        let mut entries = Vec::with_capacity(max.min(64));
        for chunk in tail.iter().skip_while(|chunk| chunk.end_offset() <= from) {
            for offset in chunk.first_offset.max(from)..chunk.end_offset().min(end) {
                if entries.len() == max {
                    break;
                }
                entries.extend(chunk.get(offset));
            }
        }
        self.hide(&mut entries);
        Some(entries)
    }

    /// Store time of an entry; between the first ones of sealed blocks, which are all that memory keeps of those, it is
    /// assumed to pass evenly.
    pub(crate) fn store_ms_about(&self, offset: u64) -> u64 {
        let tail = self.tail.load();
        let at = tail.partition_point(|chunk| chunk.end_offset() <= offset);
        if let Some(entry) = tail.get(at).and_then(|chunk| chunk.get(offset)) {
            return entry.store_ms;
        }
        let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner);
        let at = sealed.partition_point(|block| block.end_offset() <= offset);
        let Some(block) = sealed.get(at) else { return 0 };
        let first_open = || tail.first().and_then(|chunk| chunk.get(chunk.first_offset));
        let next_ms = match sealed.get(at + 1) {
            Some(next) => next.first_store_ms,
            None => first_open().map_or(block.first_store_ms, |entry| entry.store_ms),
        };
        let took = next_ms.saturating_sub(block.first_store_ms);
        let entries = offset.saturating_sub(block.first_offset);
        block.first_store_ms + took.saturating_mul(entries) / u64::from(block.count.max(1))
    }

    /// Store time of the newest entry in memory, visible or not.
    pub(crate) fn last_store_ms(&self) -> u64 {
        let tail = self.tail.load();
        let last = tail.last().and_then(|chunk| chunk.get(chunk.end_offset().checked_sub(1)?));
        last.map_or(0, |entry| entry.store_ms)
    }

    /// Visible entries from an offset on, from memory or the store. May block on the store; returns at most one
    /// block's worth.
    pub(crate) fn entries(&self, from: u64, max: usize, blocks: &Blocks) -> Result<Vec<Entry>, IndexError> {
        loop {
            if let Some(entries) = self.in_memory(from, max) {
                return Ok(entries);
            }
            let from = self.behind_removed(from.max(self.min_offset()));
            let Some(block) = self.block_of(from) else { continue };
            let Some(entries) = blocks.unpacked(self.id, &block)? else {
                if self.is_gone() || self.min_offset() >= block.end_offset() {
                    return Ok(Vec::new());
                }
                if self.behind_removed(block.first_offset) >= block.end_offset() {
                    continue;
                }
                return Err(IndexError::Missing { first_offset: block.first_offset });
            };
            let (start, end) = (entries.partition_point(|entry| entry.offset < from), self.end_offset());
            let wanted = entries.iter().skip(start).take_while(|entry| entry.offset < end);
            let mut wanted: Vec<Entry> = wanted.take(max).copied().collect();
            self.hide(&mut wanted);
            return Ok(wanted);
        }
    }

    /// First visible offset stored at or after a time; the end where there is none. May block on the store.
    pub(crate) fn offset_at(&self, time_ms: u64, blocks: &Blocks) -> Result<u64, IndexError> {
        self.search(|block| block.first_store_ms < time_ms, |entry| entry.store_ms >= time_ms, blocks)
    }

    /// First visible offset whose message lies at or behind a log position; the end where there is none. May block on
    /// the store.
    pub(crate) fn offset_at_position(&self, position: u64, blocks: &Blocks) -> Result<u64, IndexError> {
        self.search(|block| block.first_position < position, |entry| entry.position >= position, blocks)
    }

    /// First offset, from the last block that `before` holds for on, whose entry is `wanted`.
    fn search(
        &self,
        before: impl Fn(&BlockRef) -> bool,
        wanted: impl Fn(&Entry) -> bool,
        blocks: &Blocks,
    ) -> Result<u64, IndexError> {
        let mut from = self.min_offset();
        {
            let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner);
            let later = sealed.partition_point(before);
            if let Some(block) = later.checked_sub(1).and_then(|at| sealed.get(at)) {
                from = from.max(block.first_offset);
            }
        }
        loop {
            let entries = self.entries(from, usize::MAX, blocks)?;
            let Some(last) = entries.last() else { return Ok(self.end_offset()) };
            if let Some(found) = entries.iter().find(|entry| wanted(entry)) {
                return Ok(found.offset);
            }
            from = last.offset + 1;
        }
    }

    /// The block that holds an offset, or the first behind it.
    fn block_of(&self, offset: u64) -> Option<BlockRef> {
        let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner);
        sealed.get(sealed.partition_point(|block| block.end_offset() <= offset)).copied()
    }

    /// Tells where in the log the messages of runs of offsets lie, and what they take there: a range of positions and
    /// the bytes in it. Where the index is in the store, a block's messages are assumed to be alike.
    pub(crate) fn spread(&self, runs: &[Run], tell: &mut dyn FnMut(Range<u64>, u64)) {
        // In this order: what is sealed meanwhile is seen twice rather than never.
        let tail = self.tail.load_full();
        let sealed: Vec<BlockRef> =
            self.sealed.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let sealed_end = sealed.last().map_or(0, BlockRef::end_offset);
        let open = || tail.iter().filter(|chunk| chunk.end_offset() > sealed_end);
        let first_open = open().find_map(|chunk| chunk.get(chunk.first_offset)).map(|entry| entry.position);
        for (block, at) in sealed.iter().zip(1..) {
            let count = overlap(runs, block.first_offset..block.end_offset());
            if count > 0 {
                let next = sealed.get(at).map(|next| next.first_position).or(first_open);
                let end = next.unwrap_or(block.first_position + block.bytes).max(block.first_position + 1);
                let share = u128::from(block.bytes) * u128::from(count) / u128::from(block.count.max(1));
                tell(block.first_position..end, u64::try_from(share).unwrap_or(u64::MAX));
            }
        }
        for (first, end) in runs {
            for chunk in open() {
                let offsets = chunk.first_offset.max(*first)..chunk.end_offset().min(*end);
                for entry in offsets.filter_map(|offset| chunk.get(offset)).filter(Entry::is_there) {
                    tell(entry.position..entry.position + 1, stored_bytes(entry.bytes));
                }
            }
        }
    }

    /// Adds the log positions in a range that runs of offsets lead to. May block on the store.
    pub(crate) fn positions(
        &self,
        runs: &[Run],
        range: &Range<u64>,
        blocks: &Blocks,
        found: &mut Vec<u64>,
    ) -> Result<(), IndexError> {
        let start = self.offset_at_position(range.start, blocks)?;
        for (first, end) in runs.iter().filter(|(_, end)| *end > start) {
            let mut next = start.max(*first);
            while next < *end {
                let entries = self.entries(next, BLOCK_ENTRIES, blocks)?;
                let Some(last) = entries.last() else { return Ok(()) };
                next = last.offset + 1;
                for entry in entries.iter().take_while(|entry| entry.offset < *end) {
                    if entry.position >= range.end {
                        return Ok(());
                    }
                    if entry.is_there() {
                        found.push(entry.position);
                    }
                }
            }
        }
        Ok(())
    }

    // What only the shard does.

    /// Appends an entry, not visible yet. `checkpoint` is the log position of the newest checkpoint. Returns chunks to
    /// seal when the open end has grown long enough: each checkpoint writes an open end whole, so one that was written
    /// before is not left to grow.
    pub(crate) fn append(
        self: &Arc<Self>,
        filling: &mut Filling,
        entry: &Entry,
        checkpoint: u64,
    ) -> Option<Sealing> {
        if entry.expires_ms > 0 {
            self.has_expiry.store(true, Ordering::Release);
        }
        let entry = &self.capped(entry);
        if filling.0.as_ref().is_some_and(|chunk| chunk.push(entry)) {
            return None;
        }
        let tail = self.tail.load();
        let sealing_to = self.sealing_to.load(Ordering::Relaxed);
        let open = || tail.iter().filter(|chunk| chunk.first_offset >= sealing_to);
        let open_entries: usize = open().map(|chunk| chunk.len()).sum();
        let first = open().next().and_then(|chunk| chunk.get(chunk.first_offset));
        let was_written = first.is_some_and(|first| first.position < checkpoint);
        let end = tail.last().map_or(entry.offset, |last| last.end_offset());
        let chunk =
            Arc::new(Chunk::new(entry.offset, open_entries.clamp(CHUNK_ENTRIES_MIN, CHUNK_ENTRIES_MAX)));
        chunk.push(entry);
        filling.0 = Some(chunk.clone());
        self.tail.rcu(|tail| {
            let mut longer = Vec::with_capacity(tail.len() + 1);
            longer.extend(tail.iter().cloned());
            longer.push(chunk.clone());
            longer
        });
        let is_long = open_entries >= if was_written { WRITTEN_ENTRIES } else { BLOCK_ENTRIES };
        let has_gap = open_entries > 0 && end != entry.offset;
        (is_long || has_gap).then(|| {
            self.sealing_to.store(end, Ordering::Relaxed);
            Sealing { queue: self.clone(), end }
        })
    }

    /// Offset behind the last appended entry; `None` when there never was one.
    pub(crate) fn appended_end(&self) -> Option<u64> {
        self.tail.load().last().map(|last| last.end_offset())
    }

    /// Makes entries below `end` visible and tells whoever waits for them.
    pub(crate) fn publish(&self, end: u64) {
        if end <= self.end_offset() {
            return;
        }
        self.end_offset.store(end, Ordering::SeqCst);
        if self.has_waits.load(Ordering::SeqCst) {
            self.wake(|wait| wait.offset < end);
        }
    }

    /// Entries below `min` are no more. Returns the blocks that went with them.
    pub(crate) fn trim(&self, min: u64) -> Vec<BlockRef> {
        self.min_offset.fetch_max(min, Ordering::AcqRel);
        let mut gone = Vec::new();
        {
            let mut sealed = self.sealed.write().unwrap_or_else(PoisonError::into_inner);
            while let Some(first) = sealed.front().filter(|block| block.end_offset() <= min).copied() {
                sealed.pop_front();
                gone.push(first);
            }
        }
        self.forget_blocks(&gone);
        let tail = self.tail.load();
        // The last chunk stays: it is the one being filled.
        if tail.len() > 1 && tail.first().is_some_and(|first| first.end_offset() <= min) {
            self.tail.rcu(|tail| {
                let last = tail.len().saturating_sub(1);
                let keep = |(at, chunk): &(usize, &Arc<Chunk>)| *at == last || chunk.end_offset() > min;
                tail.iter().enumerate().filter(keep).map(|(_, chunk)| chunk.clone()).collect::<Vec<_>>()
            });
        }
        gone
    }

    /// Marks the queue as deleted and wakes everybody who waits on it.
    pub(crate) fn close(&self) -> Vec<BlockRef> {
        self.gone.store(true, Ordering::SeqCst);
        self.wake(|_| true);
        self.sealed.write().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }

    /// The index below an offset, as it is now: what a checkpoint holds of it.
    pub(crate) fn image(&self, end: u64) -> IndexImage {
        // In this order: what is sealed meanwhile is seen twice rather than never.
        let tail = self.tail.load_full();
        let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        IndexImage { sealed, priorities: self.priorities_of_blocks(), tail, min: self.min_offset(), end }
    }

    /// Puts back what [`Queue::image`] gave.
    pub(crate) fn restore(
        &self,
        min: u64,
        sealed: Vec<BlockRef>,
        priorities: Vec<(u64, PrioritySet)>,
        entries: &[Entry],
    ) {
        self.restore_priorities(priorities, entries);
        let expire = sealed.iter().any(|block| block.expires_ms > 0)
            || entries.iter().any(|entry| entry.expires_ms > 0);
        self.has_expiry.fetch_or(expire, Ordering::AcqRel);
        *self.sealed.write().unwrap_or_else(PoisonError::into_inner) = sealed.into();
        self.min_offset.store(min, Ordering::Release);
        for run in entries.chunks(CHUNK_ENTRIES_MAX) {
            let mut rest = run;
            while let Some(first) = rest.first() {
                let chunk = Arc::new(Chunk::new(first.offset, rest.len()));
                let taken = rest.iter().take_while(|entry| chunk.push(entry)).count();
                self.tail.rcu(|tail| tail.iter().cloned().chain([chunk.clone()]).collect::<Vec<_>>());
                rest = rest.get(taken..).unwrap_or(&[]);
            }
        }
    }
}

/// How many of the offsets in a range are in runs.
fn overlap(runs: &[Run], range: Range<u64>) -> u64 {
    let after = runs.partition_point(|(_, end)| *end <= range.start);
    let inside = runs.iter().skip(after).take_while(|(first, _)| *first < range.end);
    inside.map(|(first, end)| (*end).min(range.end) - (*first).max(range.start)).sum()
}

#[cfg(test)]
mod tests;
