//! When what was stored may be seen, and its offset be told: once it is written, or once it is synced.

use super::*;

/// Offsets that a queue may let be seen unsynced, beyond those the synced log already allows.
pub(in crate::shard) const RESERVED_OFFSETS: u64 = 65_536;

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
pub(super) enum Known {
    OnceWritten,
    /// The log does not say yet that offsets may run so far.
    OnceSynced,
}

/// A queue that got messages of a batch: up to where, and what their being seen waits for.
pub(super) struct Seen {
    pub queue: Arc<Queue>,
    pub end: u64,
    pub is_synced: bool,
    pub is_transient: bool,
    pub messages: u64,
    pub bytes: u64,
}

impl Seen {
    pub fn of(queue: Arc<Queue>, is_transient: bool) -> Self {
        Seen { queue, end: 0, is_synced: false, is_transient, messages: 0, bytes: 0 }
    }
}

impl Shard {
    /// Makes a queue's entries visible when they are durable enough; says when their offsets may be told at all.
    pub(super) fn show(&mut self, now: Now, seen: Seen, position: Position) -> Known {
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

    /// Entries that may be seen before they are synced need the log to say so first, so that no crash of the machine
    /// lets their offsets be given to other messages.
    pub(super) fn reserve_offsets(
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
    pub(in crate::shard) fn reserve_to(&mut self, queue: QueueId, to: u64) -> Result<(), Error> {
        self.log(Change::OffsetsReserved { queue, to })?;
        self.unsynced.entry(queue).or_default().reserved_at = self.journal.end();
        self.journal.want_sync();
        Ok(())
    }
}
