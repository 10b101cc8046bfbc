//! Taking messages: route, assign offsets, fill in places, append.

mod choose;
mod duplicate;
mod enter;
mod seen;
mod together;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mailrail_commitlog::planted::{Bug, planted};
use mailrail_commitlog::record::RECORD_HEADER_BYTES;
use mailrail_message::{Target, TargetSlot, targets_annex};
use metrics::counter;
use smallvec::SmallVec;

use self::choose::{Chosen, Wanted};
use self::seen::{Known, Seen};
use super::consume::limit;
use super::trace::unique_id_of;
use super::*;
use crate::deduplication::DeduplicationKey;
use crate::event::Stored;
use crate::limits::{DELAY_MS_MAX, HALF_FIRST_CHECK_MS_MAX, HALF_MESSAGES_MAX, NAME_BYTES_MAX};
use crate::publish::{Destination, HalfTerms, PublishBatch, PublishItem};
use crate::queue::Queue;
use crate::schedule::LATE_TIMERS_MAX;
use crate::settings::Durability;

pub(super) use self::seen::{RESERVED_OFFSETS, Unsynced};

/// What came of storing without anybody waiting.
pub(super) struct Quiet {
    pub refused: usize,
}

/// Records of a batch that lie behind one another and are not pushed yet.
#[derive(Default)]
pub(super) struct Run {
    pub bytes: usize,
    records: u32,
}

/// A message's way into the log.
pub(super) struct Placed {
    pub stored: Stored,
    pub durability: Durability,
    /// Of several topics, one that did without because it is full.
    full: Option<Error>,
}

/// Nearly every message goes to one queue.
type Places = SmallVec<[Place; 1]>;

/// A chosen queue with the offset the message gets there.
struct Place {
    queue: Arc<Queue>,
    offset: u64,
    /// The queue goes with this run of the broker, so nothing in it waits for a sync.
    is_transient: bool,
}

impl Shard {
    pub(super) fn publish(&mut self, now: Now, mailbox: &Arc<Mailbox>, token: Token, batch: PublishBatch) {
        let bytes = u64::try_from(batch.bytes()).unwrap_or(u64::MAX);
        let PublishBatch { mut buffer, items } = batch;
        let mut results = Vec::with_capacity(items.len());
        let mut durability = Durability::Memory;
        let mut seen = FxHashMap::default();
        let mut run = Run::default();
        let mut refused = Vec::new();
        for item in &items {
            let placed = match self.check_publish(mailbox, item) {
                Ok(()) => self.take_message(now, &mut buffer, &mut run, item, (&mut seen, &mut refused)),
                Err(denied) => {
                    self.cut_out(&mut buffer, &mut run, item);
                    Err(denied)
                }
            };
            match &placed {
                Ok(placed) => {
                    self.outputs.published += u64::from(!placed.stored.duplicate);
                    durability = durability.max(placed.durability);
                    placed.full.iter().for_each(|full| self.count_refused(item, full));
                }
                // Whatever it is a duplicate of may not be on the disk yet.
                Err(Error::Forgotten { .. }) => durability = Durability::Disk,
                Err(error) => self.count_refused(item, error),
            }
            results.push(placed.and_then(|placed| placed.full.map_or(Ok(placed.stored), Err)));
        }
        self.push_run(&mut buffer, &mut run);
        let position = self.journal.end();
        for (_, seen) in seen {
            if self.show(now, seen, position) == Known::OnceSynced {
                durability = Durability::Disk;
            }
        }
        self.bury_refused(now, refused);
        let stored_any = results.iter().any(|result| matches!(result, Ok(_) | Err(Error::Forgotten { .. })));
        let letter = Letter::Event(Event::Published { token, results });
        if !stored_any {
            self.free(bytes);
            return self.send(mailbox, letter);
        }
        let due = Due::Letter { mailbox: mailbox.clone(), letter, bytes };
        match durability {
            // All are duplicates of what is safe already.
            Durability::Disk if position <= self.synced_to => self.carry_out(due),
            Durability::Memory if position <= self.written_to => self.carry_out(due),
            Durability::Disk if !planted(Bug::AckBeforeSync) => {
                self.journal.want_sync();
                self.pending.when_synced(position, due);
            }
            _ => self.pending.when_written(position, due),
        }
    }

    /// Stores the one message of a batch that nobody waits for.
    pub(super) fn store_batch_of_one(&mut self, now: Now, batch: PublishBatch) -> Result<Stored, Error> {
        let PublishBatch { mut buffer, items } = batch;
        let mut seen = FxHashMap::default();
        let mut run = Run::default();
        let item = items.first().ok_or(Error::Unroutable)?;
        let placed = self.take_message(now, &mut buffer, &mut run, item, (&mut seen, &mut Vec::new()))?;
        self.push_run(&mut buffer, &mut run);
        self.journal.want_sync();
        for (_, seen) in seen {
            self.show(now, seen, self.journal.end());
        }
        Ok(placed.stored)
    }

    /// Stores what nobody waits for, as durable as its messages ask.
    pub(super) fn store_quietly(&mut self, now: Now, batch: PublishBatch) -> Quiet {
        let PublishBatch { mut buffer, items } = batch;
        let (mut seen, mut run) = (FxHashMap::default(), Run::default());
        let mut refused = 0;
        for item in &items {
            let taken = self.take_message(now, &mut buffer, &mut run, item, (&mut seen, &mut Vec::new()));
            refused += usize::from(taken.is_err());
        }
        self.push_run(&mut buffer, &mut run);
        for (_, seen) in seen {
            self.show(now, seen, self.journal.end());
        }
        Quiet { refused }
    }

    /// Takes one message of a batch. Its record is the first in `buffer` behind the run.
    fn take_message(
        &mut self,
        now: Now,
        buffer: &mut BytesMut,
        run: &mut Run,
        item: &PublishItem,
        (seen, refused): (&mut FxHashMap<QueueId, Seen>, &mut Vec<(TopicId, Bytes)>),
    ) -> Result<Placed, Error> {
        let Chosen { places, durability, full, first } = match self.find_room(now, buffer, run, item, refused)
        {
            Ok(chosen) => chosen,
            Err(error) => {
                self.cut_out(buffer, run, item);
                return Err(error);
            }
        };
        if let (true, Some(stored)) = (places.is_empty(), first) {
            self.cut_out(buffer, run, item);
            counter!("mailrail_duplicates_total").increment(1);
            let durability = self.durability_of_duplicate(&stored);
            return Ok(Placed { stored, durability, full });
        }
        let may_trace = places.iter().any(|place| place.queue.may_trace());
        let record = buffer.get(run.bytes..run.bytes + item.record_len).unwrap_or(&[]);
        let unique_id = if may_trace { unique_id_of(record) } else { None };
        let position = self.journal.position() + to_u64(run.bytes);
        let stored = match places.as_slice() {
            places if item.waits() => self.store_waiting(now, buffer, run, item, (places, position)),
            [place] => self.store_one(now, buffer, run, item, place, position),
            places => self.store_many(now, buffer, run, item, places)?,
        };
        if may_trace {
            // One that waits goes to one topic.
            let known = places.iter().take(if item.waits() { 1 } else { usize::MAX });
            for place in known {
                let offset = Some(place.offset).filter(|_| !item.waits());
                self.trace_stored(&place.queue, stored.position, offset, unique_id.as_deref());
            }
        }
        if let Some(key) = item.key {
            let stored_now = places.first().filter(|_| !item.waits());
            let store_ms = stored_now.map_or(now.wall_ms, |place| self.store_ms(now, place));
            self.remember(item, key, &places, (stored.position, store_ms));
        }
        // A waiting message is in no queue yet.
        for place in places.into_iter().filter(|_| !item.waits()) {
            let is_synced = durability == Durability::Disk;
            let Place { queue, offset, is_transient } = place;
            let id = queue.id;
            let seen = seen.entry(id).or_insert_with(|| Seen::of(queue, is_transient));
            seen.end = offset + 1;
            seen.messages += 1;
            seen.bytes += to_u64(item.message_len);
            seen.is_synced |= is_synced;
        }
        Ok(Placed { stored, durability, full })
    }

    /// Chooses where a message goes, and makes room for it there and in the log; a duplicate needs none.
    fn find_room(
        &mut self,
        now: Now,
        buffer: &mut BytesMut,
        run: &mut Run,
        item: &PublishItem,
        refused: &mut Vec<(TopicId, Bytes)>,
    ) -> Result<Chosen, Error> {
        if let Some(passing) = item.lites {
            self.make_lites(now, buffer, run, item, passing)?;
        }
        let record = buffer.get(run.bytes..run.bytes + item.record_len).unwrap_or(&[]);
        let chosen = self.choose(now, item, record);
        for topic in self.lengths.take_refused() {
            let message = record.get(RECORD_HEADER_BYTES..).unwrap_or_default();
            refused.push((topic, Bytes::copy_from_slice(message)));
        }
        let chosen = chosen?;
        if chosen.is_duplicate() {
            return Ok(chosen);
        }
        if let Some(due_ms) = item.due_ms {
            check_due(now, due_ms, to_u64(self.state.schedule().stuck()))?;
        }
        if let Some(half) = &item.half {
            check_half(now, half, self.state.halves().len())?;
        }
        self.make_room(buffer, run, item.record_len)?;
        self.reserve_offsets(buffer, run, item, &chosen.places, chosen.durability)?;
        Ok(chosen)
    }

    /// The record of a message that is not stored goes out of the buffer.
    fn cut_out(&mut self, buffer: &mut BytesMut, run: &mut Run, item: &PublishItem) {
        self.push_run(buffer, run);
        drop(buffer.split_to(item.record_len.min(buffer.len())));
    }

    /// Makes sure the next record fits behind the run, in one group.
    fn make_room(&mut self, buffer: &mut BytesMut, run: &mut Run, bytes: usize) -> Result<(), Error> {
        if !self.journal.has_room(run.bytes, bytes) {
            self.push_run(buffer, run);
            self.journal.reserve(bytes)?;
        }
        Ok(())
    }

    /// Pushes the run's records, which leaves the buffer behind them.
    pub(super) fn push_run(&mut self, buffer: &mut BytesMut, run: &mut Run) {
        if run.bytes > 0 {
            let records = buffer.split_to(run.bytes).freeze();
            self.journal.push(records, run.records);
            *run = Run::default();
        }
    }
}

/// Whether a message may wait so long, with so many that must stay in memory.
fn check_due(now: Now, due_ms: u64, late: u64) -> Result<(), Error> {
    let ahead_ms = due_ms.saturating_sub(now.wall_ms);
    limit("milliseconds before a message may be seen", ahead_ms, DELAY_MS_MAX)?;
    limit("waiting messages before the last dispatched one", late, LATE_TIMERS_MAX)
}

/// Whether there may be a half message more.
fn check_half(now: Now, half: &HalfTerms, open: usize) -> Result<(), Error> {
    let ahead_ms = half.first_check_ms.saturating_sub(now.wall_ms);
    limit("milliseconds before a producer is asked", ahead_ms, HALF_FIRST_CHECK_MS_MAX)?;
    limit("bytes of a producer group's name", to_u64(half.group.len()), to_u64(NAME_BYTES_MAX))?;
    limit("half messages that are open", to_u64(open) + 1, to_u64(HALF_MESSAGES_MAX))
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
