//! The hand-over between the appender, the writer and the syncer: one small lock, taken once per batch, and a wake-up
//! only for a thread that really waits. No IO happens under it.
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::Position;
use crate::config::UNSYNCED_BYTES_MAX;
use crate::format::GROUP_HEADER_BYTES;
use crate::log::locked;
use crate::segment::Segment;
use crate::width::{from_u32, wide};

/// A closed group that waits to be written. Its pieces lie in the batch, in the order of the groups.
#[derive(Debug)]
pub(crate) struct Group {
    pub segment: Arc<Segment>,
    pub position: Position,
    pub prev_group: Position,
    pub payload_bytes: u32,
    pub records: u32,
    pub pieces: usize,
    pub seals: bool,
    /// Somebody waits until this is on the disk.
    pub sync: bool,
}

impl Group {
    pub fn bytes(&self) -> usize {
        GROUP_HEADER_BYTES + from_u32(self.payload_bytes)
    }

    pub fn end(&self) -> Position {
        self.position + wide(self.bytes())
    }
}

/// Groups and their pieces, both in log order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub groups: Vec<Group>,
    pub pieces: Vec<Bytes>,
}

impl Batch {
    /// Moves all of `other` to the end of this; both keep their memory.
    pub fn append(&mut self, other: &mut Self) {
        self.groups.append(&mut other.groups);
        self.pieces.append(&mut other.pieces);
    }

    pub fn clear(&mut self) {
        self.groups.clear();
        self.pieces.clear();
    }
}

/// What the threads leave for each other.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    pub queue: Batch,
    pub written: Position,
    pub synced: Position,
    /// The segment with all that is written and not synced: a next one is begun only after a sync.
    pub unsynced: Option<Arc<Segment>>,
    pub unsynced_since: Option<Instant>,
    /// Everything below must be synced without waiting for the interval.
    pub sync_to: Position,
    /// A sync was asked for a position that the writer still has in its hands.
    pub sync_when_written: Option<Position>,
    pub spare_wanted: bool,
    /// Trimmed, lowest first.
    pub removals: Vec<Arc<Segment>>,
    /// Copies of the log that are being read: until they are dropped, what is trimmed stays.
    pub copies: usize,
    /// The disk is full: what lies from here on waits for room.
    pub refused_from: Option<Position>,
    pub closing: bool,
    pub writer_done: bool,
    writer_waits: bool,
    syncer_waits: bool,
    keeper_waits: bool,
}

impl Hand {
    /// Notes what was written. True when the syncer has a reason to wake up that it had not before.
    pub fn note_written(&mut self, segment: &Arc<Segment>, to: Position, sync: bool) -> bool {
        self.written = to;
        if self.unsynced.as_ref().is_none_or(|known| !Arc::ptr_eq(known, segment)) {
            self.unsynced = Some(Arc::clone(segment));
        }
        let first = self.unsynced_since.is_none();
        if first {
            self.unsynced_since = Some(Instant::now());
        }
        let much = to - self.synced >= UNSYNCED_BYTES_MAX;
        let asked_late = self.sync_when_written.take_if(|asked| *asked <= to).is_some();
        if sync || asked_late || much {
            self.sync_to = to;
        }
        first || sync || asked_late || much
    }

    /// Trimmed segments that may go now, lowest first.
    pub fn take_removals(&mut self) -> Vec<Arc<Segment>> {
        if self.copies == 0 { std::mem::take(&mut self.removals) } else { Vec::new() }
    }

    /// Whether there is anything for the keeper to do.
    pub fn has_files_to_keep(&self) -> bool {
        self.spare_wanted || (self.copies == 0 && !self.removals.is_empty())
    }

    /// Notes that everything below `to` is synced.
    pub fn note_synced(&mut self, to: Position) {
        self.synced = to;
        // What was written while the sync ran waits from now on, which is later than its write by one sync at most.
        self.unsynced_since = (self.written > to).then(Instant::now);
    }
}

/// The lock and those who sleep on it.
#[derive(Debug, Default)]
pub(crate) struct HandOver {
    hand: Mutex<Hand>,
    writer: Condvar,
    syncer: Condvar,
    keeper: Condvar,
}

impl HandOver {
    pub fn new(end: Position) -> Self {
        let hand = Hand { written: end, synced: end, spare_wanted: true, ..Hand::default() };
        Self { hand: Mutex::new(hand), ..Self::default() }
    }

    pub fn lock(&self) -> MutexGuard<'_, Hand> {
        locked(&self.hand)
    }

    /// Unlocks, then wakes the writer if it waits.
    pub fn unlock_and_wake_writer(&self, mut hand: MutexGuard<'_, Hand>) {
        let waits = std::mem::take(&mut hand.writer_waits);
        drop(hand);
        if waits {
            self.writer.notify_one();
        }
    }

    /// Unlocks, then wakes the syncer if it waits.
    pub fn unlock_and_wake_syncer(&self, mut hand: MutexGuard<'_, Hand>) {
        let waits = std::mem::take(&mut hand.syncer_waits);
        drop(hand);
        if waits {
            self.syncer.notify_one();
        }
    }

    /// Unlocks, then wakes the keeper if it waits.
    pub fn unlock_and_wake_keeper(&self, mut hand: MutexGuard<'_, Hand>) {
        let waits = std::mem::take(&mut hand.keeper_waits);
        drop(hand);
        if waits {
            self.keeper.notify_one();
        }
    }

    pub fn wake_all(&self) {
        let mut hand = self.lock();
        hand.writer_waits = false;
        hand.syncer_waits = false;
        hand.keeper_waits = false;
        drop(hand);
        self.writer.notify_one();
        self.syncer.notify_one();
        self.keeper.notify_one();
    }

    pub fn wait_as_writer<'a>(&self, mut hand: MutexGuard<'a, Hand>) -> MutexGuard<'a, Hand> {
        hand.writer_waits = true;
        wait(&self.writer, hand, None)
    }

    /// As [`HandOver::wait_as_writer`], for no longer than that.
    pub fn wait_as_writer_for<'a>(
        &self,
        mut hand: MutexGuard<'a, Hand>,
        longest: Duration,
    ) -> MutexGuard<'a, Hand> {
        hand.writer_waits = true;
        wait(&self.writer, hand, Some(longest))
    }

    /// Waits for something to be kept or removed; with `longest` for no longer than that.
    pub fn wait_as_keeper<'a>(
        &self,
        mut hand: MutexGuard<'a, Hand>,
        longest: Option<Duration>,
    ) -> MutexGuard<'a, Hand> {
        hand.keeper_waits = true;
        wait(&self.keeper, hand, longest)
    }

    /// Waits for a reason to sync; with `longest` for no longer than that.
    pub fn wait_as_syncer<'a>(
        &self,
        mut hand: MutexGuard<'a, Hand>,
        longest: Option<Duration>,
    ) -> MutexGuard<'a, Hand> {
        hand.syncer_waits = true;
        wait(&self.syncer, hand, longest)
    }
}

fn wait<'a>(on: &Condvar, hand: MutexGuard<'a, Hand>, longest: Option<Duration>) -> MutexGuard<'a, Hand> {
    match longest {
        None => on.wait(hand).unwrap_or_else(PoisonError::into_inner),
        Some(longest) => on.wait_timeout(hand, longest).unwrap_or_else(PoisonError::into_inner).0,
    }
}
