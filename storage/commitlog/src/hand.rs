//! The hand-over between the appender and the log's threads: one small lock, taken once per batch, a wake-up only for a
//! thread that really waits, and what there is to do next. No IO happens under it.
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
    /// Bytes of a sync, on the average of the newest dozen.
    pub sync_bytes: u64,
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
    /// Somebody writes, or syncs, right now.
    pub writing: bool,
    pub syncing: bool,
    /// The writer has groups in its own hands.
    pub writer_holds: bool,
    pub gate: Gate,
    /// The keeper has more of the next segment to fill once this is written.
    pub fill_from: Option<Position>,
    /// Workers that sleep, and whether one of them has been called and is not up yet.
    sleeping: usize,
    called: bool,
    keeper_waits: bool,
}

/// What a write has to wait for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    #[default]
    Open,
    /// All that is written must be synced before a segment is begun.
    Sync,
    /// The disk was full, and it is worth a try again then.
    Room(Instant),
}

/// What a worker should do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    Write,
    Sync,
    /// Nothing, for no longer than that.
    Sleep(Option<Duration>),
    /// Nothing, ever again.
    End,
}

impl Hand {
    /// Notes what was written.
    pub fn note_written(&mut self, segment: &Arc<Segment>, to: Position, sync: bool) {
        self.written = to;
        if self.unsynced.as_ref().is_none_or(|known| !Arc::ptr_eq(known, segment)) {
            self.unsynced = Some(Arc::clone(segment));
        }
        self.unsynced_since.get_or_insert_with(Instant::now);
        let much = to - self.synced >= UNSYNCED_BYTES_MAX;
        let asked_late = self.sync_when_written.take_if(|asked| *asked <= to).is_some();
        if sync || asked_late || much {
            self.sync_to = to;
        }
    }

    /// What is to be done by somebody who has nothing to do. A sync goes before a write: the one who wrote also syncs,
    /// and others may write meanwhile.
    pub fn duty(&self, sync_interval: Duration) -> Duty {
        let behind = self.written > self.synced && !self.syncing;
        let waited = self.unsynced_since.filter(|_| behind).map(|since| since.elapsed());
        let sync_in = waited.map(|waited| sync_interval.saturating_sub(waited));
        let last = self.closing && !self.writing && !self.has_groups();
        if behind && (self.sync_to > self.synced || last || sync_in.is_some_and(|left| left.is_zero())) {
            return Duty::Sync;
        }
        if self.may_write() {
            return Duty::Write;
        }
        if last && !self.syncing && !behind {
            return Duty::End;
        }
        let room_in = match self.gate {
            Gate::Room(at) if !self.writing => Some(at.saturating_duration_since(Instant::now())),
            _ => None,
        };
        Duty::Sleep(sync_in.into_iter().chain(room_in).min())
    }

    fn has_groups(&self) -> bool {
        self.writer_holds || !self.queue.groups.is_empty()
    }

    fn may_write(&self) -> bool {
        let is_open = match self.gate {
            Gate::Open => true,
            Gate::Sync => self.synced >= self.written,
            Gate::Room(at) => self.closing || Instant::now() >= at,
        };
        is_open && !self.writing && self.has_groups()
    }

    /// Trimmed segments that may go now, lowest first.
    pub fn take_removals(&mut self) -> Vec<Arc<Segment>> {
        if self.copies == 0 { std::mem::take(&mut self.removals) } else { Vec::new() }
    }

    /// Whether there is anything for the keeper to do.
    pub fn has_files_to_keep(&self) -> bool {
        self.spare_wanted || self.fills() || (self.copies == 0 && !self.removals.is_empty())
    }

    /// Whether the next segment should be filled further.
    pub fn fills(&self) -> bool {
        self.fill_from.is_some_and(|from| self.written >= from)
    }

    /// Notes that everything below `to` is synced.
    pub fn note_synced(&mut self, to: Position) {
        self.sync_bytes = (self.sync_bytes * 7 + (to - self.synced)) / 8;
        self.synced = to;
        // What was written while the sync ran waits from now on, which is later than its write by one sync at most.
        self.unsynced_since = (self.written > to).then(Instant::now);
    }
}

/// The lock and those who sleep on it.
#[derive(Debug, Default)]
pub(crate) struct HandOver {
    hand: Mutex<Hand>,
    workers: Condvar,
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

    /// Unlocks, and calls a worker if there is something that it could write.
    pub fn unlock_and_call_to_write(&self, hand: MutexGuard<'_, Hand>) {
        let needed = hand.may_write();
        self.unlock_and_call(hand, needed);
    }

    /// Unlocks, and calls a worker for the sync that was asked for, unless one syncs and will look again.
    pub fn unlock_and_call_to_sync(&self, hand: MutexGuard<'_, Hand>) {
        let needed = !hand.syncing;
        self.unlock_and_call(hand, needed);
    }

    /// A worker that is up looks for everything there is to do, so one call at a time is enough.
    fn unlock_and_call(&self, mut hand: MutexGuard<'_, Hand>, needed: bool) {
        let calls = needed && hand.sleeping > 0 && !std::mem::replace(&mut hand.called, true);
        drop(hand);
        if calls {
            self.workers.notify_one();
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
        hand.called = false;
        hand.keeper_waits = false;
        drop(hand);
        self.workers.notify_all();
        self.keeper.notify_one();
    }

    /// Sleeps until called; with `longest` for no longer than that.
    pub fn sleep<'a>(
        &self,
        mut hand: MutexGuard<'a, Hand>,
        longest: Option<Duration>,
    ) -> MutexGuard<'a, Hand> {
        hand.sleeping += 1;
        let mut hand = wait(&self.workers, hand, longest);
        hand.sleeping -= 1;
        hand.called = false;
        hand
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
}

fn wait<'a>(on: &Condvar, hand: MutexGuard<'a, Hand>, longest: Option<Duration>) -> MutexGuard<'a, Hand> {
    match longest {
        None => on.wait(hand).unwrap_or_else(PoisonError::into_inner),
        Some(longest) => on.wait_timeout(hand, longest).unwrap_or_else(PoisonError::into_inner).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::SegmentHeader;

    #[test]
    fn so_many_written_bytes_are_synced_though_nobody_asked() {
        let header = SegmentHeader { log_id: 1, base: 0, segment_bytes: 1 << 30, epoch: 1, recycled: false };
        let segment = Arc::new(Segment::new(&header, "a".into(), None));
        let mut hand = Hand { synced: 100, ..Hand::default() };
        hand.note_written(&segment, 100 + UNSYNCED_BYTES_MAX - 1, false);
        assert_eq!(hand.sync_to, 0);
        hand.note_written(&segment, 100 + UNSYNCED_BYTES_MAX, false);
        assert_eq!(hand.sync_to, 100 + UNSYNCED_BYTES_MAX);
    }
}
