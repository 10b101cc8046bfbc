//! Storing a message where it was found to go: its place is filled into its bytes, its entry goes into the index of each
//! queue. There is room for it already.

use mailrail_message::{Placement, place, place_record};

use super::*;
use crate::publish::expiry_ms;
use crate::queue::Entry;
use crate::schedule::Timer;
use crate::transaction::Half;

impl Shard {
    /// The usual case: the record stays where it lies in the batch's buffer.
    pub(super) fn store_one(
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
    pub(super) fn store_many(
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
    pub(super) fn store_waiting(
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

    pub(super) fn store_ms(&self, now: Now, place: &Place) -> u64 {
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
}

fn placement(place: &Place, position: Position, store_ms: u64) -> Placement {
    let target = Target { queue: place.queue.id.0, offset: place.offset };
    Placement { queue_index: place.queue.index, target, position, store_ms }
}
