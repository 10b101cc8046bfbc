//! Taking messages: route, assign offsets, fill in places, append.

mod duplicate;
mod together;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mailrail_commitlog::planted::{Bug, planted};
use mailrail_commitlog::record::RECORD_HEADER_BYTES;
use mailrail_message::{
    Placement, StoredMessage, Target, TargetSlot, place, place_record, property, targets_annex,
};
use metrics::counter;
use smallvec::{SmallVec, smallvec};

use super::consume::limit;
use super::trace::unique_id_of;
use super::*;
use crate::deduplication::DeduplicationKey;
use crate::event::Stored;
use crate::limits::{
    DELAY_MS_MAX, HALF_FIRST_CHECK_MS_MAX, HALF_MESSAGES_MAX, NAME_BYTES_MAX, ROUTING_KEYS_MAX,
};
use crate::publish::{Destination, HalfTerms, PublishBatch, PublishItem, expiry_ms};
use crate::queue::{Entry, Queue};
use crate::record::RouteEnd;
use crate::route::{self, Traits};
use crate::schedule::{LATE_TIMERS_MAX, Timer};
use crate::settings::{Durability, Lifetime, Retention};
use crate::transaction::Half;

/// Offsets that a queue may let be seen unsynced, beyond those the synced log already allows.
pub(super) const RESERVED_OFFSETS: u64 = 65_536;

/// Where a queue stands between written and synced.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unsynced {
    /// Behind the last entry whose visibility waits for a sync.
    pub waits_to: Position,
    /// Behind the newest reservation of offsets.
    pub reserved_at: Position,
    /// Offsets below may be seen unsynced: the synced log says so.
    pub reserved: u64,
}

/// When somebody may be told an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    OnceWritten,
    /// The log does not say yet that offsets may run so far.
    OnceSynced,
}

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

/// Where a message goes, and how durable it must be there.
struct Chosen {
    places: Places,
    durability: Durability,
    /// Of several topics, one that refused it because it is full.
    full: Option<Error>,
    /// Of the topics that have it already, what the first one remembers.
    first: Option<Stored>,
}

/// What a message wants of a place.
#[derive(Clone, Copy)]
struct Wanted {
    durability: Durability,
    /// Bytes that there must be room for; one that waits needs none yet.
    bytes: Option<usize>,
    has_key: bool,
    /// What it is known by where it was stored before, and whether that must be told.
    key: Option<DeduplicationKey>,
    needs_deduplication: bool,
    now_ms: u64,
    /// The topic that it was sent to, if to one.
    own: Option<TopicId>,
}

impl Wanted {
    fn of(now: Now, item: &PublishItem) -> Self {
        let bytes = Some(item.message_len).filter(|_| !item.waits());
        let PublishItem { durability, key, needs_deduplication, .. } = *item;
        let has_key = item.handling.has_key;
        let own = match &item.destination {
            Destination::Topic { topic, .. } => Some(*topic),
            _ => None,
        };
        Wanted { durability, bytes, has_key, key, needs_deduplication, now_ms: now.wall_ms, own }
    }
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

/// A queue that got messages of a batch: up to where, and what their being seen waits for.
struct Seen {
    queue: Arc<Queue>,
    end: u64,
    is_synced: bool,
    is_transient: bool,
    messages: u64,
    bytes: u64,
}

impl Seen {
    fn of(queue: Arc<Queue>, is_transient: bool) -> Self {
        Seen { queue, end: 0, is_synced: false, is_transient, messages: 0, bytes: 0 }
    }
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
                }
                // Whatever it is a duplicate of may not be on the disk yet.
                Err(Error::Forgotten { .. }) => durability = Durability::Disk,
                Err(_) => self.counts.refused(item),
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

    /// Makes a queue's entries visible when they are durable enough; says when their offsets may be told at all.
    fn show(&mut self, now: Now, seen: Seen, position: Position) -> Known {
        let Seen { queue, end, is_synced, is_transient, messages, bytes } = seen;
        self.counts.received(now, &queue, messages, bytes);
        if is_transient || planted(Bug::SeenBeforeSync) {
            self.pending.when_written(position, Due::Visible { queue, end });
            return Known::OnceWritten;
        }
        let synced_to = self.journal.synced_to();
        let unsynced = self.unsynced.entry(queue.id).or_default();
        if unsynced.reserved_at <= synced_to {
            unsynced.reserved = self.state.queues.get(&queue.id).map_or(0, |queue| queue.reserved_to);
        }
        let may_be_seen = end <= unsynced.reserved || planted(Bug::OffsetsNotReserved);
        if is_synced || unsynced.waits_to > synced_to || !may_be_seen {
            unsynced.waits_to = position;
            if !is_synced {
                self.journal.want_sync();
            }
            self.pending.when_synced(position, Due::Visible { queue, end });
        } else {
            self.pending.when_written(position, Due::Visible { queue, end });
        }
        if may_be_seen { Known::OnceWritten } else { Known::OnceSynced }
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

    /// The queues a message goes to, with the offsets it will have there, and how durable it must be.
    fn choose(&mut self, now: Now, item: &PublishItem, record: &[u8]) -> Result<Chosen, Error> {
        let wanted = Wanted::of(now, item);
        let mut topics: Vec<TopicId> = Vec::new();
        match &item.destination {
            Destination::Topic { topic, queue_index } => {
                self.reach_by_tag(*topic, record, &mut topics)?;
                topics.retain(|other| other != topic);
                let first = self.first_in(*topic, &wanted)?;
                // Light queues get what their topic stores. One that waits goes to others when its time has come, and is
                // known by its own topic until then.
                if item.lites.is_some() && !item.waits() && first.is_none() {
                    self.reach_lites(*topic, record, &mut topics);
                }
                if topics.is_empty() || (wanted.key.is_some() && item.waits()) {
                    if first.is_some() {
                        return Ok(Chosen::duplicate_of(first));
                    }
                    let (place, durability) = self.place_in(*topic, *queue_index, wanted)?;
                    return Ok(Chosen { places: smallvec![place], durability, full: None, first });
                }
                return self
                    .places_in(std::iter::once((*topic, *queue_index)).chain(anywhere(topics)), wanted);
            }
            Destination::Routed(found) => topics.extend(found),
            Destination::Topics(named) => {
                limit("topics that a message names", to_u64(named.len()), to_u64(ROUTING_KEYS_MAX))?;
                for topic in named.iter().filter(|topic| self.state.topics.contains_key(topic)) {
                    topics.push(*topic);
                    self.reach_by_tag(*topic, record, &mut topics)?;
                }
                topics.sort_unstable();
                topics.dedup();
            }
            Destination::Exchange { exchange, keys } => {
                self.reach_by_keys(*exchange, keys, record, &mut topics)?
            }
        }
        if topics.is_empty() {
            return Err(Error::Unroutable);
        }
        self.places_in(anywhere(topics), wanted)
    }

    /// The topics that a message to a topic reaches through bindings that have it as their source.
    fn reach_by_tag(&self, topic: TopicId, record: &[u8], topics: &mut Vec<TopicId>) -> Result<(), Error> {
        let state = self.state.topics.get(&topic).ok_or_else(|| Error::NoTopic(format!("#{}", topic.0)))?;
        if !state.shared.settings().writable {
            return Err(Error::NotWritable(state.shared.name.to_string()));
        }
        if state.routes.is_none() {
            return Ok(());
        }
        self.reach(RouteEnd::Topic(topic), &[tag_of(record)], record, topics)
    }

    /// The topics that a message to an exchange reaches.
    fn reach_by_keys(
        &self,
        exchange: ExchangeId,
        keys: &[Bytes],
        record: &[u8],
        topics: &mut Vec<TopicId>,
    ) -> Result<(), Error> {
        let state = self.state.exchanges.get(&exchange);
        let state = state.ok_or_else(|| Error::NoExchange(format!("#{}", exchange.0)))?;
        if state.shared.settings.internal {
            return Err(Error::Internal(state.shared.name.to_string()));
        }
        limit("routing keys of a message", to_u64(keys.len()), to_u64(ROUTING_KEYS_MAX))?;
        let texts: SmallVec<[_; 1]> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
        let texts: SmallVec<[&str; 1]> = texts.iter().map(|text| &**text).collect();
        self.reach(RouteEnd::Exchange(exchange), &texts, record, topics)
    }

    /// The topics that the message in a record reaches from one end.
    pub(super) fn reach(
        &self,
        source: RouteEnd,
        keys: &[&str],
        record: &[u8],
        topics: &mut Vec<TopicId>,
    ) -> Result<(), Error> {
        let message = Traits::new(keys, record);
        route::resolve(source, |from, found| self.state.lead(from, &message, found), topics)
    }

    /// Places in all topics that are not full.
    fn places_in(
        &mut self,
        topics: impl Iterator<Item = (TopicId, Option<u32>)>,
        wanted: Wanted,
    ) -> Result<Chosen, Error> {
        let (mut places, mut durability, mut full) = (Places::new(), Durability::Memory, None);
        let mut first = None;
        for (topic, queue_index) in topics {
            if let Some(stored) = self.first_in(topic, &wanted)? {
                first = first.or(Some(stored));
                continue;
            }
            match self.place_in(topic, queue_index, wanted) {
                Ok((place, least)) => {
                    durability = durability.max(least);
                    places.push(place);
                }
                Err(error @ Error::Full { .. }) => full = Some(error),
                Err(error) => return Err(error),
            }
        }
        match full {
            Some(full) if places.is_empty() => Err(full),
            full => Ok(Chosen { places, durability, full, first }),
        }
    }

    /// A place in one topic, and how durable it must be there: what was asked, at least what the topic demands, and
    /// nothing for a topic that does not outlive this run.
    fn place_in(
        &mut self,
        topic: TopicId,
        wanted_index: Option<u32>,
        wanted: Wanted,
    ) -> Result<(Place, Durability), Error> {
        self.check_length(topic, wanted.bytes)?;
        let missing = || Error::NoTopic(format!("#{}", topic.0));
        let state = self.state.topics.get_mut(&topic).ok_or_else(missing)?;
        if !wanted.has_key && state.shared.settings().retention == Retention::Compacted {
            return Err(Error::NoKey(state.shared.name.to_string()));
        }
        let index = match wanted_index {
            Some(index) => usize::try_from(index).unwrap_or(usize::MAX),
            None => {
                state.turn = (state.turn + 1) % state.queues.len().max(1);
                state.turn
            }
        };
        let Some(id) = state.queues.get(index) else {
            return Err(Error::NoQueue {
                topic: state.shared.name.to_string(),
                index: wanted_index.unwrap_or(0),
                queues: u32::try_from(state.queues.len()).unwrap_or(u32::MAX),
            });
        };
        let settings = state.shared.settings();
        let is_transient = settings.lifetime != Lifetime::Durable;
        let durability =
            if is_transient { Durability::Memory } else { settings.durability.max(wanted.durability) };
        let queue = self.state.queues.get(id).ok_or_else(missing)?;
        Ok((Place { queue: queue.shared.clone(), offset: queue.next_offset, is_transient }, durability))
    }

    /// Makes sure the next record fits behind the run, in one group.
    fn make_room(&mut self, buffer: &mut BytesMut, run: &mut Run, bytes: usize) -> Result<(), Error> {
        if !self.journal.has_room(run.bytes, bytes) {
            self.push_run(buffer, run);
            self.journal.reserve(bytes)?;
        }
        Ok(())
    }

    /// Entries that may be seen before they are synced need the log to say so first, so that no crash of the machine
    /// lets their offsets be given to other messages.
    fn reserve_offsets(
        &mut self,
        buffer: &mut BytesMut,
        run: &mut Run,
        item: &PublishItem,
        places: &[Place],
        durability: Durability,
    ) -> Result<(), Error> {
        if durability == Durability::Disk || item.waits() {
            return Ok(());
        }
        for place in places.iter().filter(|place| !place.is_transient) {
            let id = place.queue.id;
            let reserved_to = self.state.queues.get(&id).map_or(0, |queue| queue.reserved_to);
            if place.offset + RESERVED_OFFSETS / 2 < reserved_to {
                continue;
            }
            self.push_run(buffer, run);
            self.reserve_to(id, place.offset + RESERVED_OFFSETS)?;
            self.journal.reserve(item.record_len)?;
        }
        Ok(())
    }

    /// Offsets of a queue below `to` may be seen unsynced, once the record of it is synced.
    pub(super) fn reserve_to(&mut self, queue: QueueId, to: u64) -> Result<(), Error> {
        self.log(Change::OffsetsReserved { queue, to })?;
        self.unsynced.entry(queue).or_default().reserved_at = self.journal.end();
        self.journal.want_sync();
        Ok(())
    }

    /// The usual case: the record stays where it lies in the batch's buffer.
    fn store_one(
        &mut self,
        now: Now,
        buffer: &mut BytesMut,
        run: &mut Run,
        item: &PublishItem,
        place: &Place,
        position: Position,
    ) -> Stored {
        let message_at = run.bytes + RECORD_HEADER_BYTES;
        if let Some(message) = buffer.get_mut(message_at..message_at + item.message_len) {
            self.fill_in(now, message, item, place, position);
        }
        run.bytes += item.record_len;
        run.records += 1;
        Stored {
            position,
            queue_index: place.queue.index,
            offset: Some(place.offset),
            queues: 1,
            duplicate: false,
        }
    }

    /// One stored message, several index entries: the reserved target gives way to the full list.
    fn store_many(
        &mut self,
        now: Now,
        buffer: &mut BytesMut,
        run: &mut Run,
        item: &PublishItem,
        places: &[Place],
    ) -> Result<Stored, Error> {
        self.push_run(buffer, run);
        let record = buffer.split_to(item.record_len.min(buffer.len()));
        let own = RECORD_HEADER_BYTES + item.message_len - TargetSlot::BYTES;
        let targets: Vec<Target> =
            places.iter().map(|place| Target { queue: place.queue.id.0, offset: place.offset }).collect();
        let mut longer = BytesMut::with_capacity(own + TargetSlot::BYTES * (targets.len() + 1));
        longer.extend_from_slice(record.get(..own).unwrap_or(&record));
        longer.extend_from_slice(&targets_annex(&targets));
        let message_len = longer.len() - RECORD_HEADER_BYTES;
        crate::record::finish(&mut longer, 0, crate::record::kind::MESSAGE);
        self.journal.reserve(longer.len())?;
        let position = self.journal.position();
        let first = places.first().ok_or(Error::Unroutable)?;
        let item = PublishItem { message_len, record_len: longer.len(), ..item.clone() };
        let store_ms = self.store_ms(now, first);
        if let Some(message) = longer.get_mut(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + message_len) {
            let filled = place_record(message, &placement(first, position, store_ms));
            debug_assert!(filled.is_ok(), "a drafted message has all its fields");
        }
        for place in places {
            self.enter(store_ms, &item, place, position);
        }
        self.journal.push(longer.freeze(), 1);
        let queues = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let (queue_index, offset) = (first.queue.index, Some(first.offset));
        Ok(Stored { position, queue_index, offset, queues, duplicate: false })
    }

    /// In no queue yet: the record stays as it lies in the batch's buffer.
    fn store_waiting(
        &mut self,
        now: Now,
        buffer: &mut BytesMut,
        run: &mut Run,
        item: &PublishItem,
        (places, position): (&[Place], Position),
    ) -> Stored {
        let bytes = u32::try_from(item.message_len).unwrap_or(u32::MAX);
        let message_at = run.bytes + RECORD_HEADER_BYTES;
        let message = buffer.get_mut(message_at..message_at + item.message_len);
        let queue_index = places.first().map_or(0, |place| place.queue.index);
        if let (Some(message), true) = (message, item.half.is_some() || item.key.is_some()) {
            // Its producers may be shown it as it is, and its key counts from when it was stored.
            let target = Target { queue: 0, offset: 0 };
            let store_ms = now.wall_ms;
            let filled = place_record(message, &Placement { queue_index, target, position, store_ms });
            debug_assert!(filled.is_ok(), "a drafted message has all its fields");
        }
        run.bytes += item.record_len;
        run.records += 1;
        if let Some(due_ms) = item.due_ms {
            self.start_wait(Timer { due_ms, position, bytes });
        }
        if let Some(HalfTerms { group, first_check_ms }) = item.half.clone() {
            self.start_half(position, Half { bytes, group, next_check_ms: first_check_ms, checks: 0 });
        }
        Stored { position, queue_index, offset: None, queues: 0, duplicate: false }
    }

    fn store_ms(&self, now: Now, place: &Place) -> u64 {
        let last = self.state.queues.get(&place.queue.id).map_or(0, |queue| queue.last_store_ms);
        if planted(Bug::StoreTimeGoesBack) { now.wall_ms } else { now.wall_ms.max(last) }
    }

    /// Fills a message's place into its bytes and enters it into the queue's index.
    fn fill_in(&mut self, now: Now, message: &mut [u8], item: &PublishItem, to: &Place, position: Position) {
        let store_ms = self.store_ms(now, to);
        let filled = place(message, &placement(to, position, store_ms));
        debug_assert!(filled.is_ok(), "a drafted message has all its fields");
        self.enter(store_ms, item, to, position);
    }

    fn enter(&mut self, store_ms: u64, item: &PublishItem, place: &Place, position: Position) {
        let entry = Entry {
            offset: place.offset,
            position,
            bytes: u32::try_from(item.message_len).unwrap_or(u32::MAX),
            tag_hash: item.tag_hash,
            store_ms,
            expires_ms: expiry_ms(store_ms, item.handling.ttl_ms),
            key_hash: item.handling.key_hash,
            priority: item.handling.priority,
        };
        self.sweeps.note(&place.queue, &entry);
        let entered = self.state.append(place.queue.id, &entry);
        debug_assert!(entered.is_ok(), "the offset was taken from the state");
        self.lengths.appended(place.queue.id, entry.offset, entry.bytes);
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

/// Topics that choose among their queues themselves.
fn anywhere(topics: Vec<TopicId>) -> impl Iterator<Item = (TopicId, Option<u32>)> {
    topics.into_iter().map(|topic| (topic, None))
}

/// The text that a topic acting as an exchange routes by.
fn tag_of(record: &[u8]) -> &str {
    let message = record.get(RECORD_HEADER_BYTES..).and_then(|bytes| StoredMessage::parse(bytes).ok());
    message.and_then(|message| message.properties().get(property::TAGS)).unwrap_or_default()
}

fn placement(place: &Place, position: Position, store_ms: u64) -> Placement {
    let target = Target { queue: place.queue.id.0, offset: place.offset };
    Placement { queue_index: place.queue.index, target, position, store_ms }
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
