//! Which messages wait for their time, however many and however far ahead. It decides nothing about messages, reads no
//! clock and no file: time comes from the shard, which dispatches, and blocks are read and written as jobs of the store.
//!
//! **What is where.** A timer is known by its due time and the position of its record, in that order, which is also the
//! order of dispatch. Those below the *horizon* are in memory, few of them; those from it on are in a short list of the
//! newest (`fresh`) and in sorted blocks of the store, of which memory has a directory. A full list is sorted and cut
//! into blocks. When few are left below the horizon, the blocks that begin first are *gathered*: read, merged, the
//! nearest of them taken into memory and the rest written again, so that runs which overlap are merged on their way to
//! being due. What is recalled while it lies in a block is remembered by position until that block is read.
//!
//! **What survives.** The record of a waiting message says its time itself, and is retained as long as it waits. The
//! *floor* rises with each dispatch: what lies below it was dispatched or is listed (`late`), what lies from it on waits,
//! unless a record [`crate::record::Change::WaitingRecalled`] says that it was recalled. So a snapshot holds the floor and
//! the list, which is empty but for what could not be dispatched or came when the clock was set back; the survey for
//! survivors knows what waits from the records themselves and keeps those of recalls like it; and a rebuild after a lost
//! store finds all timers in the retained records. A checkpoint holds what is in memory and the directory, as one piece:
//! blocks never change, have new numbers, and are dropped only behind the next checkpoint, which knows no more of them.
//! How timers are spread over memory and blocks is no part of what the log adds up to, and differs after a replay.

mod block;
mod gather;
mod image;
mod levels;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use mailrail_message::{AnnexKind, StoredMessage};
use serde::{Deserialize, Serialize};

use crate::publish::time_of;
use crate::retention::stored_bytes;

pub(crate) use self::block::{BlockRef, block_key};
pub(crate) use self::gather::{Gather, GatherError, Gathered, Seal, read_block};
pub(crate) use self::image::ScheduleImage;
pub use self::levels::{DelayLevels, DelayLevelsError};

/// Most timers in memory below the horizon, but for late ones. Tests have few, so that all that moves them does so.
pub(crate) const NEAR_TIMERS_MAX: usize = if cfg!(test) { 8 } else { 16_384 };
/// With fewer, further ones are gathered.
const NEAR_TIMERS_LOW: usize = if cfg!(test) { 3 } else { 4_096 };
/// Timers that go into blocks together.
const FRESH_TIMERS_MAX: usize = if cfg!(test) { 6 } else { 16_384 };
/// Most timers that are taken into memory at once.
const GATHERED_TIMERS_MAX: usize = if cfg!(test) { 4 } else { 4_096 };
/// Most blocks that are merged at once: a few megabytes while it lasts.
const GATHERED_BLOCKS_MAX: usize = if cfg!(test) { 4 } else { 32 };
/// Most recalled timers that are remembered until their time comes near: 16 bytes of memory each, or a little more.
pub(crate) const RECALLED_TIMERS_MAX: u64 = if cfg!(test) { 40 } else { 1_000_000 };
/// Most timers that must stay in memory, since later ones were dispatched before: some while the clock is set back, and
/// what is published for the next moment faster than it is dispatched.
pub(crate) const LATE_TIMERS_MAX: u64 = if cfg!(test) { 200 } else { 1_000_000 };
/// The log is cut into parts of 2 to this many bytes, of each of which is known how much of it waits.
const REGION_BITS: u32 = if cfg!(test) { 14 } else { 20 };

const _: () = assert!(NEAR_TIMERS_LOW + GATHERED_TIMERS_MAX <= NEAR_TIMERS_MAX);

/// A message that waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Timer {
    /// Wall time in milliseconds of the Unix epoch.
    pub due_ms: u64,
    /// Of its record.
    pub position: u64,
    /// Of the stored message.
    pub bytes: u32,
}

/// Due time and position: what a timer is known by.
pub(crate) type TimerKey = (u64, u64);

/// Behind every timer.
const END: TimerKey = (u64::MAX, u64::MAX);

impl Timer {
    pub fn key(&self) -> TimerKey {
        (self.due_ms, self.position)
    }

    /// What the record of a waiting message says.
    pub fn of_record(position: u64, message: &[u8]) -> Result<Timer, String> {
        let stored = StoredMessage::parse(message).map_err(|error| error.to_string())?;
        let due_ms =
            stored.annex(AnnexKind::Due).and_then(time_of).ok_or("a waiting message says no time")?;
        let bytes = u32::try_from(message.len()).map_err(|error| error.to_string())?;
        Ok(Timer { due_ms, position, bytes })
    }
}

/// A part of the log, and the bytes of waiting messages in it.
pub(crate) type Region = (Range<u64>, u64);

/// Whether a timer is waiting, as far as memory knows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Waits,
    Not,
    /// It waits if one of these blocks has it.
    In(Vec<BlockRef>),
}

/// All timers.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Every timer below was dispatched, or is in `late`.
    floor: TimerKey,
    late: BTreeMap<TimerKey, u32>,
    /// Timers from the floor up to the horizon, with the bytes of their messages.
    near: BTreeMap<TimerKey, u32>,
    horizon: TimerKey,
    /// Timers from the horizon on that are in no block, in the order in which they came.
    fresh: Vec<Timer>,
    /// Blocks by their first timer.
    blocks: BTreeMap<(TimerKey, u64), BlockRef>,
    /// Positions of recalled timers that are in `fresh` or in a block yet.
    recalled: BTreeSet<u64>,
    next_block: u64,
    /// Blocks that nothing leads to, but perhaps the last checkpoint; and those that wait for the next to be stored.
    needless: Vec<u64>,
    dropping: Vec<u64>,
    regions: BTreeMap<u64, u64>,
    /// Parts of the log with records of recalls.
    recalls: BTreeSet<u64>,
    /// The shard has taken every timer below, to dispatch it. Not stored.
    handed_to: TimerKey,
    is_gathering: bool,
    /// The state up to here is in a checkpoint.
    pub as_of: u64,
    /// Every timer, to compare with.
    #[cfg(test)]
    shadow: BTreeMap<TimerKey, u32>,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            floor: (0, 0),
            late: BTreeMap::new(),
            near: BTreeMap::new(),
            horizon: END,
            fresh: Vec::new(),
            blocks: BTreeMap::new(),
            recalled: BTreeSet::new(),
            next_block: 0,
            needless: Vec::new(),
            dropping: Vec::new(),
            regions: BTreeMap::new(),
            recalls: BTreeSet::new(),
            handed_to: (0, 0),
            is_gathering: false,
            as_of: 0,
            #[cfg(test)]
            shadow: BTreeMap::new(),
        }
    }
}

impl Schedule {
    pub fn floor(&self) -> TimerKey {
        self.floor
    }

    /// Timers below the floor that wait.
    pub fn late(&self) -> impl ExactSizeIterator<Item = Timer> {
        self.late.iter().map(timer)
    }

    /// Recalled timers that are remembered because a block has them.
    pub fn recalled_in_blocks(&self) -> usize {
        self.recalled.len()
    }

    /// Parts of the log in which something waits.
    pub fn regions(&self) -> Vec<Region> {
        self.regions.iter().map(|(number, bytes)| (region(*number), *bytes)).collect()
    }

    /// Parts of the log with records of recalls. Once there were some, what was rewritten of the log may have them too,
    /// which the first part stands for.
    pub fn recalls(&self) -> Vec<Range<u64>> {
        self.recalls.iter().map(|number| region(*number)).collect()
    }

    /// There is a record of a recall at a position.
    pub fn note_recall(&mut self, position: u64) {
        self.recalls.insert(position >> REGION_BITS);
    }

    /// The log begins here from now on: what lies below is in other files.
    pub fn log_trimmed(&mut self, start: u64) {
        let first = start >> REGION_BITS;
        if self.recalls.first().is_some_and(|number| *number < first) {
            self.recalls = self.recalls.split_off(&first);
            self.recalls.insert(first);
        }
    }

    /// A message begins to wait; returns what is to be written if that fills the list of fresh timers.
    pub fn add(&mut self, timer: Timer) -> Option<Seal> {
        #[cfg(test)]
        self.shadow.insert(timer.key(), timer.bytes);
        *self.regions.entry(timer.position >> REGION_BITS).or_default() += stored_bytes(timer.bytes);
        self.put(timer);
        self.spill();
        self.seal_if_full()
    }

    fn put(&mut self, timer: Timer) {
        let key = timer.key();
        if key < self.floor {
            self.late.insert(key, timer.bytes);
        } else if key < self.horizon {
            self.near.insert(key, timer.bytes);
        } else {
            self.fresh.push(timer);
        }
    }

    /// With too many timers in memory, the furthest give way, but none that the shard has taken, nor the next of the
    /// others.
    fn spill(&mut self) {
        if self.near.len() <= NEAR_TIMERS_MAX {
            return;
        }
        let beyond_next = self.near.range(self.handed_to..).nth(NEAR_TIMERS_LOW);
        let Some(kept_to) = beyond_next.map(|(key, _)| *key) else { return };
        while self.near.len() > NEAR_TIMERS_MAX / 2
            && let Some(last) = self.near.last_entry().filter(|last| *last.key() >= kept_to)
        {
            self.horizon = *last.key();
            let timer = timer((last.key(), last.get()));
            last.remove();
            self.fresh.push(timer);
        }
    }

    fn seal_if_full(&mut self) -> Option<Seal> {
        if self.fresh.len() < FRESH_TIMERS_MAX {
            return None;
        }
        let mut timers = std::mem::take(&mut self.fresh);
        timers.retain(|timer| !self.recalled.remove(&timer.position));
        timers.sort_unstable();
        let seal = Seal::new(timers, self.next_block);
        for block in seal.blocks() {
            self.next_block += 1;
            self.blocks.insert((block.first, block.id), *block);
        }
        Some(seal)
    }

    /// Every timer up to this one was dispatched, or is late from now on. Where that reaches beyond the horizon, blocks
    /// must be gathered until [`Schedule::is_short`] is false.
    pub fn raise_floor(&mut self, key: TimerKey) {
        self.floor = self.floor.max((key.0, key.1.saturating_add(1)));
        while let Some(first) = self.near.first_entry().filter(|first| *first.key() < self.floor) {
            let (key, bytes) = first.remove_entry();
            self.late.insert(key, bytes);
        }
    }

    /// A message waits no more: it was dispatched, or recalled.
    pub fn end(&mut self, timer: Timer) {
        #[cfg(test)]
        self.shadow.remove(&timer.key());
        if let Some(bytes) = self.regions.get_mut(&(timer.position >> REGION_BITS)) {
            *bytes = bytes.saturating_sub(stored_bytes(timer.bytes));
            if *bytes == 0 {
                self.regions.remove(&(timer.position >> REGION_BITS));
            }
        }
        let key = timer.key();
        let was_known = self.near.remove(&key).is_some() || self.late.remove(&key).is_some();
        if !was_known && key >= self.horizon {
            self.recalled.insert(timer.position);
        }
    }

    /// Whether a timer that is known by its record is waiting.
    pub fn knows(&self, key: TimerKey) -> Known {
        if key < self.floor || key < self.horizon {
            let waits = self.near.contains_key(&key) || self.late.contains_key(&key);
            return if waits { Known::Waits } else { Known::Not };
        }
        if self.recalled.contains(&key.1) {
            return Known::Not;
        }
        if self.fresh.iter().any(|timer| timer.key() == key) {
            return Known::Waits;
        }
        let after = (key, u64::MAX);
        let blocks: Vec<BlockRef> = self
            .blocks
            .range(..=after)
            .map(|(_, block)| *block)
            .filter(|block| block.may_have(key))
            .collect();
        if blocks.is_empty() { Known::Not } else { Known::In(blocks) }
    }

    /// True for a timer that is in memory, as all are that may be dispatched.
    pub fn is_near(&self, key: TimerKey) -> bool {
        self.near.contains_key(&key) || self.late.contains_key(&key)
    }

    /// Bytes of the message of a timer in memory.
    pub fn near_timer(&self, key: TimerKey) -> Option<Timer> {
        let bytes = self.near.get(&key).or_else(|| self.late.get(&key))?;
        Some(timer((&key, bytes)))
    }

    /// The first timer that the shard has not taken.
    pub fn next(&self) -> Option<Timer> {
        self.near.range(self.handed_to..).next().map(timer)
    }

    /// The shard takes the timer that [`Schedule::next`] gave.
    pub fn hand(&mut self, key: TimerKey) {
        self.handed_to = (key.0, key.1.saturating_add(1));
    }

    /// True for a timer that comes before what the shard has taken already, or what was dispatched.
    pub fn is_behind(&self, key: TimerKey) -> bool {
        key < self.handed_to.max(self.floor)
    }

    /// Timers in memory that may neither go into a block nor be dispatched yet.
    pub fn stuck(&self) -> usize {
        (self.near.len() + self.late.len()).saturating_sub(NEAR_TIMERS_MAX)
    }

    /// Timers below the horizon should be gathered, and can be. What the shard has taken may stay, where there is no
    /// room for it.
    pub fn is_short(&self) -> bool {
        let has_few = self.near.len() < NEAR_TIMERS_LOW || self.next().is_none();
        let is_low = has_few || self.horizon < self.floor;
        is_low && !self.is_gathering && !(self.blocks.is_empty() && self.fresh.is_empty())
    }

    /// Begins to gather; `None` where memory has all there is, which is in its place then.
    pub fn begin_gather(&mut self) -> Option<Gather> {
        if self.blocks.is_empty() {
            self.horizon = END;
            self.take_fresh_below_horizon();
            self.spill();
            return None;
        }
        let mut blocks: Vec<BlockRef> = Vec::new();
        let mut bound = END;
        for block in self.blocks.values() {
            let covered = blocks.iter().filter(|taken| taken.last < block.first);
            let covered: usize = covered.map(BlockRef::timers).sum();
            if covered >= GATHERED_TIMERS_MAX || blocks.len() == GATHERED_BLOCKS_MAX {
                bound = block.first;
                break;
            }
            blocks.push(*block);
        }
        self.is_gathering = true;
        let first_id = self.next_block;
        // What is left of them fits into as many.
        self.next_block += u64::try_from(blocks.len()).unwrap_or(u64::MAX);
        Some(Gather { blocks, bound, taken_max: GATHERED_TIMERS_MAX, first_id })
    }

    /// Blocks were merged: the nearest of their timers are in memory from now on.
    pub fn gathered(&mut self, gathered: Gathered) -> Option<Seal> {
        self.is_gathering = false;
        for block in &gathered.read {
            self.blocks.remove(&(block.first, block.id));
            self.needless.push(block.id);
        }
        self.blocks.extend(gathered.made.iter().map(|block| ((block.first, block.id), *block)));
        // Blocks that were made in the meantime may begin earlier.
        let first = self.blocks.first_key_value().map_or(END, |((first, _), _)| *first);
        self.horizon = self.horizon.max(gathered.horizon.min(first));
        for timer in gathered.taken {
            if !self.recalled.remove(&timer.position) {
                self.put(timer);
            }
        }
        self.take_fresh_below_horizon();
        self.spill();
        self.seal_if_full()
    }

    /// Blocks could not be merged; they stay as they are.
    pub fn gather_failed(&mut self, first_id: u64, blocks: usize) {
        self.is_gathering = false;
        self.needless.extend((first_id..).take(blocks));
    }

    fn take_fresh_below_horizon(&mut self) {
        let horizon = self.horizon;
        let (below, above) = std::mem::take(&mut self.fresh).into_iter().partition(|t| t.key() < horizon);
        self.fresh = above;
        let below: Vec<Timer> = below;
        for timer in below {
            if !self.recalled.remove(&timer.position) {
                self.put(timer);
            }
        }
    }

    /// The timer whose record is at a position, if memory has it: for records that say no more of it.
    pub fn find(&self, position: u64) -> Option<Timer> {
        let in_memory = self.late.iter().chain(&self.near).map(timer).chain(self.fresh.iter().copied());
        let mut waiting = in_memory.filter(|timer| !self.recalled.contains(&timer.position));
        waiting.find(|timer| timer.position == position)
    }

    /// All blocks, for a search.
    pub fn all_blocks(&self) -> impl Iterator<Item = &BlockRef> {
        self.blocks.values()
    }

    /// A checkpoint begins: once it is stored, what is needless now is needed by nobody.
    pub fn begin_checkpoint(&mut self) {
        self.dropping.append(&mut self.needless);
    }

    /// The blocks that go now that the checkpoint is stored.
    pub fn checkpoint_stored(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.dropping)
    }
}

fn region(number: u64) -> Range<u64> {
    number << REGION_BITS..(number + 1) << REGION_BITS
}

fn timer((key, bytes): (&TimerKey, &u32)) -> Timer {
    Timer { due_ms: key.0, position: key.1, bytes: *bytes }
}
