//! The one that adds records: it gives out positions, forms groups, and hands them over. It does no IO but to make a
//! segment that is not ready in time, and it never waits for a write or a sync.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::Position;
use crate::cache::CacheFiller;
use crate::config::GROUP_BYTES_SOFT;
use crate::error::AppendError;
use crate::format::{GROUP_ALIGN_BYTES, GROUP_HEADER_BYTES};
use crate::hand::{Batch, Group};
use crate::log::Log;
use crate::segment::Segment;
use crate::width::{narrow, wide};

/// Segments this far behind the current one are closed until a reader wants them.
const SEGMENTS_KEPT_OPEN: usize = 2;

/// Adds records. Owned by the shard's thread.
///
/// Positions are for ever: once [`Appender::submit`] has returned, the bytes pushed at a position are found there in
/// every later open, or nothing is.
#[derive(Debug)]
pub struct Appender {
    log: Arc<Log>,
    cache: CacheFiller,
    /// Closed groups and the pieces of the open one, not handed over yet.
    pending: Batch,
    /// The segment that groups go to; `None` when the last one is sealed, or there never was one.
    current: Option<Arc<Segment>>,
    /// Where the next group begins.
    tail: Position,
    open: Option<OpenGroup>,
    prev_group: Position,
}

#[derive(Debug)]
struct OpenGroup {
    bytes: usize,
    bytes_max: usize,
    records: u32,
    pieces: usize,
}

/// Where an open log goes on.
#[derive(Debug)]
pub(crate) struct Tail {
    pub segment: Option<Arc<Segment>>,
    pub position: Position,
    pub prev_group: Position,
}

impl Appender {
    pub(crate) fn new(log: Arc<Log>, tail: Tail) -> Self {
        let cache = CacheFiller::new(log.config.cache_bytes);
        let Tail { segment: current, position: tail, prev_group } = tail;
        Self { log, cache, pending: Batch::default(), current, tail, open: None, prev_group }
    }

    /// Where the next pushed byte lands.
    pub fn position(&self) -> Position {
        let used = self.open.as_ref().map_or(0, |open| open.bytes);
        self.tail + wide(GROUP_HEADER_BYTES + used)
    }

    /// Bytes of records that still fit the current group; 0 means to [`Appender::roll`] first. A group that has begun
    /// keeps its room, whatever becomes of the log meanwhile.
    pub fn room(&self) -> usize {
        match &self.open {
            Some(open) => open.bytes_max - open.bytes,
            None if self.log.halted.load(Ordering::Acquire) => 0,
            None => self.room_in_segment().min(GROUP_BYTES_SOFT),
        }
    }

    /// Payload that a group at the tail could have. The group that seals the segment always finds room behind it.
    fn room_in_segment(&self) -> usize {
        let Some(segment) = &self.current else { return 0 };
        narrow(segment.end - self.tail).saturating_sub(2 * GROUP_HEADER_BYTES)
    }

    /// Makes sure that so many bytes fit the current group, beginning another as [`Appender::roll`] does if need be. They
    /// stay reserved until [`Appender::submit`], so that what is then pushed is one group.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), AppendError> {
        if self.room() < bytes {
            self.roll(bytes)?;
        } else if self.open.is_none() {
            self.open_group(GROUP_BYTES_SOFT);
        }
        Ok(())
    }

    /// Closes the current group, if there is one, and starts one that can hold `unit_bytes`, in the next segment if
    /// need be. Returns the new [`Appender::position`]. After an error what was pushed before is still pending and the
    /// log takes whatever fits its present segment.
    pub fn roll(&mut self, unit_bytes: usize) -> Result<Position, AppendError> {
        if self.log.halted.load(Ordering::Acquire) {
            self.halted()?;
        }
        let max = self.log.config.group_bytes_max();
        if unit_bytes > max {
            return Err(AppendError::TooLarge { bytes: unit_bytes, max });
        }
        self.close_group();
        let unit_bytes = unit_bytes.next_multiple_of(GROUP_ALIGN_BYTES);
        if self.room_in_segment() < unit_bytes {
            // The next segment exists, durably, before this one is given up.
            let next = self.log.take_spare()?;
            self.seal_segment();
            self.enter_segment(next);
        }
        self.open_group(unit_bytes.max(GROUP_BYTES_SOFT));
        Ok(self.position())
    }

    fn halted(&self) -> Result<(), AppendError> {
        if let Some(fault) = self.log.fault.get() {
            return Err(AppendError::Poisoned(fault.clone()));
        }
        let refused = self.log.hand.lock().refused_from;
        refused.map_or(Ok(()), |from| Err(AppendError::Refused { from }))
    }

    fn open_group(&mut self, bytes_max: usize) {
        let bytes_max = self.room_in_segment().min(bytes_max);
        self.open = Some(OpenGroup { bytes: 0, bytes_max, records: 0, pieces: 0 });
    }

    /// Adds whole padded records, which lie at [`Appender::position`].
    ///
    /// # Panics
    /// When the piece is larger than [`Appender::room`], or not padded: a group that overflows its segment, or whose
    /// next record is not aligned, would make the log unreadable.
    pub fn push(&mut self, piece: Bytes, records: u32) {
        if piece.is_empty() {
            return;
        }
        if self.open.is_none() {
            self.open_group(GROUP_BYTES_SOFT);
        }
        let position = self.position();
        let Some(open) = &mut self.open else { return };
        assert!(
            piece.len().is_multiple_of(GROUP_ALIGN_BYTES),
            "a piece of {} bytes is not padded",
            piece.len()
        );
        let room = open.bytes_max - open.bytes;
        assert!(piece.len() <= room, "a piece of {} bytes where {room} fit", piece.len());
        open.bytes += piece.len();
        open.records += records;
        open.pieces += 1;
        self.cache.add(&self.log.cache, position, piece.clone());
        self.pending.pieces.push(piece);
    }

    fn close_group(&mut self) {
        let Some(open) = self.open.take() else { return };
        if open.bytes > 0 {
            self.add_group(&open, false);
        }
    }

    fn add_group(&mut self, open: &OpenGroup, seals: bool) {
        let Some(segment) = &self.current else { return };
        let group = Group {
            segment: Arc::clone(segment),
            position: self.tail,
            prev_group: self.prev_group,
            payload_bytes: u32::try_from(open.bytes).expect("a group is at most 64 MiB"),
            records: open.records,
            pieces: open.pieces,
            seals,
            sync: false,
        };
        self.prev_group = self.tail;
        self.tail = group.end();
        self.pending.groups.push(group);
    }

    fn seal_segment(&mut self) {
        self.add_group(&OpenGroup { bytes: 0, bytes_max: 0, records: 0, pieces: 0 }, true);
    }

    fn enter_segment(&mut self, next: Arc<Segment>) {
        let segments = self.log.segments.load();
        if let Some(old) = segments.iter().rev().nth(SEGMENTS_KEPT_OPEN - 1)
            && !old.listed_for_readers.load(Ordering::Relaxed)
        {
            old.close();
        }
        let with_next = segments.iter().chain([&next]).cloned().collect();
        self.log.segments.store(Arc::new(with_next));
        self.tail = next.first_group();
        self.current = Some(next);
        let mut hand = self.log.hand.lock();
        hand.spare_wanted = true;
        self.log.hand.unlock_and_wake_keeper(hand);
    }

    /// Closes the group and hands everything to the writer. Returns the end of what was handed over: it is stored when
    /// `written` or `synced` has reached that. `None` when there was nothing, or the log takes nothing any more
    /// (poisoned or shut down). With `sync` somebody waits for the disk, for this or what went before;
    /// without, the sync follows within the configured interval.
    pub fn submit(&mut self, sync: bool) -> Option<Position> {
        self.close_group();
        let mut hand = self.log.hand.lock();
        if self.log.poisoned() || hand.closing {
            drop(hand);
            self.pending.clear();
            return None;
        }
        if let Some(last) = self.pending.groups.last_mut() {
            last.sync = sync;
            hand.queue.append(&mut self.pending);
            self.log.hand.unlock_and_call_to_write(hand);
            return Some(self.tail);
        }
        if sync && hand.written > hand.synced && hand.queue.groups.is_empty() && hand.written >= self.tail {
            hand.sync_to = hand.written;
            self.log.hand.unlock_and_call_to_sync(hand);
        } else if sync && let Some(last) = hand.queue.groups.last_mut() {
            last.sync = true;
        } else if sync && hand.written < self.tail {
            hand.sync_when_written = Some(self.tail);
        }
        None
    }

    /// Drops whole segments below `before`, of those that are synced and not the newest; returns the new start. Readers
    /// see the new start at once, the files go in the background. Never reuses a position.
    pub fn trim(&mut self, before: Position) -> Position {
        let limit = before.min(self.log.synced());
        let segments = self.log.segments.load();
        let newest = segments.len().saturating_sub(1);
        let dropped = segments.iter().take(newest).take_while(|segment| segment.end <= limit).count();
        if let (Some(first), true) = (segments.get(dropped), dropped > 0) {
            self.log.start.store(first.base, Ordering::Release);
            self.log.segments.store(Arc::new(segments.iter().skip(dropped).cloned().collect()));
            let mut hand = self.log.hand.lock();
            hand.removals.extend(segments.iter().take(dropped).cloned());
            self.log.hand.unlock_and_wake_keeper(hand);
        }
        self.start()
    }

    /// Lowest position the log still holds.
    pub fn start(&self) -> Position {
        self.log.start.load(Ordering::Acquire)
    }

    /// Everything below is on the disk.
    pub fn synced_to(&self) -> Position {
        self.log.synced()
    }

    /// Everything below is in the page cache.
    pub fn written_to(&self) -> Position {
        self.log.written()
    }

    /// Bytes that were given positions and are not written yet. The caller bounds it: the log itself takes all.
    pub fn backlog_bytes(&self) -> u64 {
        (self.position() - wide(GROUP_HEADER_BYTES)).saturating_sub(self.log.written())
    }

    pub fn poisoned(&self) -> bool {
        self.log.poisoned()
    }

    /// Number of this open of the log, in every group it writes.
    pub fn epoch(&self) -> u64 {
        self.log.epoch
    }

    /// Largest `unit_bytes` that [`Appender::roll`] takes.
    pub fn group_bytes_max(&self) -> usize {
        self.log.config.group_bytes_max()
    }
}
