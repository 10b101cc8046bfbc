//! Strict order by key: of each message group one batch is out at a time, and its next entry is the lowest that is not settled.
//! A message group is the entries of a queue with one ordering key. Volatile.
//!
//! What decides is in memory for a window of entries from the oldest unsettled one on; keys of further ones are learned
//! only when none of those may be handed out, and none beyond [`FIFO_LOOKAHEAD_ENTRIES_MAX`] behind it.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::limits::FIFO_LOOKAHEAD_ENTRIES_MAX;

/// Entries whose keys are learned together.
const LEARNED_ENTRIES: u64 = 256;

/// How an entry stands when its key is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Settled,
    Leased,
    /// Neither, whether or not it must wait.
    Waiting,
}

/// What strict order knows of a queue.
#[derive(Debug, Default)]
pub(super) struct Fifo {
    /// Keys of the entries from an offset on, as far as they were learned.
    first: u64,
    keys: VecDeque<u32>,
    groups: FxHashMap<u32, MessageGroup>,
    /// Message groups that may be handed out, by their first entry.
    free: BTreeSet<(u64, u32)>,
    /// The batch being handed out, and the message group that got into it last.
    batch: u64,
    last: Option<u32>,
}

/// A message group, as far as it is in the window.
#[derive(Debug, Default)]
struct MessageGroup {
    /// In order.
    waiting: VecDeque<u64>,
    /// Leases, all of one batch.
    out: u32,
    batch: u64,
    /// Where it is among those that may be handed out.
    free_at: Option<u64>,
}

impl Fifo {
    pub fn new(floor: u64) -> Self {
        Fifo { first: floor, ..Fifo::default() }
    }

    /// Entries to learn the keys of, since none that are known may be handed out.
    pub fn wanted(&mut self, floor: u64, end: u64) -> Option<Range<u64>> {
        self.trim(floor);
        let from = self.first + to_u64(self.keys.len());
        let to = end.min(floor.saturating_add(FIFO_LOOKAHEAD_ENTRIES_MAX)).min(from + LEARNED_ENTRIES);
        (from < to).then_some(from..to)
    }

    /// Takes in the next entry of the window.
    pub fn learn(&mut self, key: u32, standing: Standing, is_delayed: &impl Fn(u64) -> bool) {
        let offset = self.first + to_u64(self.keys.len());
        self.keys.push_back(key);
        let group = match standing {
            Standing::Settled => return,
            Standing::Leased | Standing::Waiting => self.groups.entry(key).or_default(),
        };
        match standing {
            Standing::Leased => group.out += 1,
            _ => group.waiting.push_back(offset),
        }
        self.look_at(key, is_delayed);
    }

    /// The next entries that may be handed out: the first, and how many follow it without a gap. `alike` tells which may
    /// be in one run with it. As much as there is of the message group that the batch got last, then the oldest.
    pub fn next(
        &mut self,
        batch: u64,
        max: u64,
        is_delayed: &impl Fn(u64) -> bool,
        alike: impl Fn(u64, u64) -> bool,
    ) -> Option<(u64, u64)> {
        if self.batch != batch {
            (self.batch, self.last) = (batch, None);
        }
        let goes_on = self.last.filter(|key| {
            let group = self.groups.get(key).filter(|group| group.batch == batch || group.out == 0);
            group.and_then(|group| group.waiting.front()).is_some_and(|first| !is_delayed(*first))
        });
        let mut key = goes_on.or_else(|| self.free.first().map(|(_, key)| *key))?;
        let first = *self.groups.get(&key)?.waiting.front()?;
        let (mut count, mut taken) = (1, 1);
        while count < max {
            let next = first + count;
            match self.groups.get(&key)?.waiting.get(taken) {
                Some(own) if *own != next || is_delayed(*own) => break,
                Some(_) => taken += 1,
                None => {
                    let Some((_, other)) = self.free.range((next, 0)..=(next, u32::MAX)).next() else {
                        break;
                    };
                    (key, taken) = (*other, 1);
                }
            }
            if !alike(first, next) {
                break;
            }
            count += 1;
        }
        Some((first, count))
    }

    /// Entries of the batch that [`Fifo::next`] was asked for are leased.
    pub fn grant(&mut self, first: u64, count: u64) {
        for offset in first..first + count {
            let Some(key) = self.key(offset) else { continue };
            let Some(group) = self.groups.get_mut(&key) else { continue };
            take(&mut group.waiting, offset);
            group.out += 1;
            group.batch = self.batch;
            if let Some(at) = group.free_at.take() {
                self.free.remove(&(at, key));
            }
            self.last = Some(key);
        }
    }

    /// Entries are neither leased nor waiting any more; `was_leased` tells which were.
    pub fn end(
        &mut self,
        run: Range<u64>,
        was_leased: impl Fn(u64) -> bool,
        is_delayed: &impl Fn(u64) -> bool,
    ) {
        let known = run.start.max(self.first)..run.end.min(self.first + to_u64(self.keys.len()));
        for offset in known {
            let Some(key) = self.key(offset) else { continue };
            let Some(group) = self.groups.get_mut(&key) else { continue };
            if was_leased(offset) {
                group.out = group.out.saturating_sub(1);
            } else {
                take(&mut group.waiting, offset);
            }
            self.look_at(key, is_delayed);
        }
    }

    /// An entry waits in its place.
    pub fn wait(&mut self, offset: u64, is_delayed: &impl Fn(u64) -> bool) {
        let Some(key) = self.key(offset) else { return };
        let waiting = &mut self.groups.entry(key).or_default().waiting;
        if let Err(at) = waiting.binary_search(&offset) {
            waiting.insert(at, offset);
        }
        self.look_at(key, is_delayed);
    }

    /// An entry that waited is leased without having been handed out.
    pub fn hold(&mut self, offset: u64, is_delayed: &impl Fn(u64) -> bool) {
        let Some(key) = self.key(offset) else { return };
        self.groups.entry(key).or_default().out += 1;
        self.look_at(key, is_delayed);
    }

    fn key(&self, offset: u64) -> Option<u32> {
        let at = usize::try_from(offset.checked_sub(self.first)?).ok()?;
        self.keys.get(at).copied()
    }

    /// Notes whether a message group may be handed out; forgets one of which nothing is left.
    fn look_at(&mut self, key: u32, is_delayed: &impl Fn(u64) -> bool) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let first = group.waiting.front().copied();
        let free_at = first.filter(|first| group.out == 0 && !is_delayed(*first));
        if free_at != group.free_at {
            if let Some(before) = std::mem::replace(&mut group.free_at, free_at) {
                self.free.remove(&(before, key));
            }
            self.free.extend(free_at.map(|at| (at, key)));
        }
        if first.is_none() && group.out == 0 {
            self.groups.remove(&key);
        }
    }

    /// Everything below is settled.
    fn trim(&mut self, floor: u64) {
        while self.first < floor && self.keys.pop_front().is_some() {
            self.first += 1;
        }
        if self.keys.is_empty() {
            self.first = self.first.max(floor);
        }
    }
}

/// Removes an offset, which is nearly always the first.
fn take(waiting: &mut VecDeque<u64>, offset: u64) {
    if waiting.front() == Some(&offset) {
        waiting.pop_front();
    } else if let Ok(at) = waiting.binary_search(&offset) {
        waiting.remove(at);
    }
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
