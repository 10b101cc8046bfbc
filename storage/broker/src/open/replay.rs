//! Reading the log back into the state.

use std::collections::BTreeSet;
use std::sync::Arc;

use mailrail_commitlog::planted::{Bug, planted};
use mailrail_commitlog::{Position, Visitor};
use mailrail_message::{AnnexKind, StoredMessage, Target, property, tag_hash};

use crate::deduplication::{DeduplicationKey, Remembered};
use crate::ids::{QueueId, TopicId};
use crate::publish::{Handling, expiry_ms};
use crate::queue::Entry;
use crate::record::{Change, kind};
use crate::schedule::{self, GatherError, Timer, TimerKey};
use crate::settings::Lifetime;
use crate::state::{Item, State};
use crate::store::Store;
use crate::store_thread;
use crate::transaction::Half;

/// Applies records to a state.
pub(super) struct Replay {
    state: State,
    store: Arc<dyn Store>,
    /// The state holds everything below but indexes: there, only messages are looked at.
    snapshot: Position,
    waits: Waits,
    /// The log's own start is where the state starts; a log that begins later needs a snapshot first.
    from_scratch: bool,
    pub trimmed: bool,
}

impl Replay {
    pub fn new(state: State, store: Arc<dyn Store>) -> Self {
        Replay { state, store, snapshot: 0, waits: Waits::default(), from_scratch: false, trimmed: false }
    }

    /// Begins with nothing. Stops at a log from which something was trimmed, and says so in `trimmed`.
    pub fn from_scratch(store: Arc<dyn Store>) -> Self {
        Replay { from_scratch: true, ..Replay::new(State::default(), store) }
    }

    /// A replay from the start of a log, of which the state below a snapshot is known.
    pub fn after_snapshot(found: FoundSnapshot, store: Arc<dyn Store>) -> Self {
        let FoundSnapshot { position, state, waits } = found;
        Replay { snapshot: position, waits, ..Replay::new(state, store) }
    }

    /// The state at the end of the log; everything in it may be seen. An error says that the store is damaged.
    pub fn finish(mut self) -> Result<State, String> {
        self.carry_out_jobs()?;
        for queue in self.state.queues.values() {
            queue.shared.publish(queue.next_offset);
        }
        Ok(self.state)
    }

    /// Does at once what the broker leaves to the store's thread.
    fn carry_out_jobs(&mut self) -> Result<(), String> {
        loop {
            for job in std::mem::take(&mut self.state.store_jobs) {
                store_thread::apply(&*self.store, job).map_err(|error| error.to_string())?;
            }
            if !self.state.schedule().is_short() {
                return Ok(());
            }
            if let Some(gather) = self.state.gather_if_short() {
                let gathered = gather.carry_out(&*self.store).map_err(|error| error.to_string())?;
                self.state.gathered(gathered);
            }
        }
    }

    fn message(&mut self, position: Position, payload: &[u8]) -> Result<(), String> {
        let stored = StoredMessage::parse(payload).map_err(|error| error.to_string())?;
        let bytes = u32::try_from(payload.len()).map_err(|error| error.to_string())?;
        let tag_hash = stored.properties().get(property::TAGS).map_or(0, tag_hash);
        let Handling { ttl_ms, key_hash, priority, .. } = Handling::of(stored.properties());
        let ttl_ms = ttl_ms.filter(|_| !planted(Bug::ExpiryNotReplayed));
        let expires_ms = expiry_ms(stored.store_ms(), ttl_ms);
        for target in stored.targets().map_err(|error| error.to_string())? {
            let (offset, store_ms) = (target.offset, stored.store_ms());
            let entry = Entry { offset, position, bytes, tag_hash, store_ms, expires_ms, key_hash, priority };
            let queue = QueueId(target.queue);
            if self.state.is_transient(queue) {
                // It goes before anybody is served.
                continue;
            }
            if position < self.snapshot {
                self.state.append_retained(queue, &entry);
            } else {
                self.state.append(queue, &entry).map_err(|error| error.to_string())?;
                let topic = self.state.queues.get(&queue).map(|queue| queue.topic);
                self.remember(position, &stored, topic, Some(target));
            }
        }
        if let Some(half) = stored.annex(AnnexKind::CommitOf).filter(|_| position >= self.snapshot) {
            let half = half.first_chunk().ok_or("it does not say in which half message's place it is")?;
            if !planted(Bug::HalfEndsTwice) {
                self.state.half_ended(position, u64::from_le_bytes(*half));
            }
        }
        match stored.annex(AnnexKind::DispatchOf).filter(|_| !planted(Bug::DispatchNotReplayed)) {
            Some(waited) if position >= self.snapshot => self.dispatch(position, waited),
            _ => Ok(()),
        }
    }

    /// A message was stored in a topic, which may know it again by its key. Below a snapshot, that says what is known.
    fn remember(
        &mut self,
        position: Position,
        stored: &StoredMessage<'_>,
        topic: Option<TopicId>,
        target: Option<Target>,
    ) {
        let topic = topic.filter(|topic| self.state.window_ms(*topic).is_some());
        let Some(topic) = topic.filter(|_| !planted(Bug::KeysNotReplayed)) else { return };
        let Some(key) = DeduplicationKey::of_stored(stored) else { return };
        let queue = target.and_then(|target| self.state.queues.get(&QueueId(target.queue)));
        let queue_index = queue.map_or(stored.queue_index(), |queue| queue.shared.index);
        let (offset, store_ms) = (target.map(|target| target.offset), stored.store_ms());
        self.state.remember(topic, key, Remembered { position, queue_index, offset, store_ms });
    }

    /// As [`Replay::remember`], of a message that is in no queue yet.
    fn remember_waiting(&mut self, position: Position, payload: &[u8]) -> Result<(), String> {
        let stored = StoredMessage::parse(payload).map_err(|error| error.to_string())?;
        let topic = self.state.directory.topic(stored.topic());
        let topic = topic.filter(|topic| topic.settings().lifetime == Lifetime::Durable);
        self.remember(position, &stored, topic.map(|topic| topic.id), None);
        Ok(())
    }

    /// A message was stored in place of one that waited.
    fn dispatch(&mut self, position: Position, waited: &[u8]) -> Result<(), String> {
        let word = |at: usize| waited.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        let waited_at = u64::from_le_bytes(word(0).ok_or("it does not say in whose place it is")?);
        let bytes = waited.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        match (word(8).map(u64::from_le_bytes), bytes) {
            (Some(due_ms), Some(bytes)) => {
                self.end_wait(position, Timer { due_ms, position: waited_at, bytes })
            }
            _ => self.end_wait_at(position, waited_at),
        }
    }

    fn end_wait(&mut self, position: Position, timer: Timer) -> Result<(), String> {
        if position >= self.state.schedule().as_of {
            self.state.raise_floor(timer.key());
            self.carry_out_jobs()?;
        }
        self.state.dispatched(position, timer);
        Ok(())
    }

    /// Older versions tell only the position of what waits no more.
    fn end_wait_at(&mut self, position: Position, waited: Position) -> Result<(), String> {
        let mut found = self.state.schedule().find(waited);
        for block in self.state.schedule().all_blocks() {
            if found.is_some() {
                break;
            }
            let timers = schedule::read_block(&*self.store, block);
            let timers = timers.map_err(|error: GatherError| error.to_string())?;
            found = timers.into_iter().find(|timer| timer.position == waited);
        }
        found.map_or(Ok(()), |timer| self.end_wait(position, timer))
    }

    fn waiting(&mut self, position: Position, payload: &[u8]) -> Result<(), String> {
        let timer = Timer::of_record(position, payload)?;
        match &self.waits {
            _ if position >= self.snapshot => {
                self.state.wait(timer);
                self.remember_waiting(position, payload)?;
            }
            Waits::From(floor) => self.state.wait_retained(timer, *floor),
            Waits::Listed(listed) if listed.contains(&position) => {}
            // It is still there, but its time is over.
            Waits::Listed(_) => self.end_wait(position, timer)?,
        }
        Ok(())
    }

    /// Below a snapshot it is there, and nowhere else, that it is said what is open.
    fn half(&mut self, position: Position, payload: &[u8]) -> Result<(), String> {
        if position >= self.snapshot {
            self.state.add_half(position, Half::of_record(payload)?);
            self.remember_waiting(position, payload)?;
        }
        Ok(())
    }

    fn change(&mut self, position: Position, payload: &[u8]) -> Result<(), String> {
        let change = Change::decode(payload).map_err(|error| error.to_string())?;
        match change {
            // Kept for as long as the message that it is of may be found.
            Change::WaitingRecalled { timer } if position < self.snapshot => {
                let waits = matches!(self.waits, Waits::From(floor) if timer.key() >= floor);
                if waits && !planted(Bug::RecallNotReplayed) {
                    self.state.recalled_before_snapshot(position, timer);
                }
            }
            _ if position < self.snapshot => {}
            Change::WaitingDropped { position: waited } => self.end_wait_at(position, waited)?,
            Change::Settled { .. } if planted(Bug::SettleNotReplayed) => {}
            Change::Compacted { .. } if planted(Bug::CompactionNotReplayed) => {}
            Change::WaitingRecalled { .. } if planted(Bug::RecallNotReplayed) => {}
            Change::HalfRolledBack { .. } if planted(Bug::RollBackNotReplayed) => {}
            change => self.state.apply(position, &change),
        }
        Ok(())
    }
}

impl Visitor for Replay {
    fn begins(&mut self, start: Position) -> Result<(), String> {
        self.trimmed = self.from_scratch && start > 0;
        if self.trimmed { Err("the state before it must come from a snapshot".to_owned()) } else { Ok(()) }
    }

    fn record(&mut self, position: Position, record_kind: u8, payload: &[u8]) -> Result<(), String> {
        match record_kind {
            kind::MESSAGE => self.message(position, payload)?,
            kind::WAITING_MESSAGE => self.waiting(position, payload)?,
            kind::CHANGE => self.change(position, payload)?,
            kind::HALF_MESSAGE => self.half(position, payload)?,
            unknown => return Err(format!("its kind {unknown} is unknown: use the release that wrote it")),
        }
        self.carry_out_jobs()
    }
}

/// Finds the newest complete snapshot of a log. Other records may lie between its items: those show the state at its
/// start, whatever came since.
#[derive(Default)]
pub(super) struct SnapshotFinder {
    items: Vec<(Position, Item)>,
    complete: Option<(Position, Vec<(Position, Item)>)>,
}

impl SnapshotFinder {
    /// The state of the snapshot; `None` when the log holds no complete one.
    pub fn into_state(self) -> Option<FoundSnapshot> {
        let mut state = State::default();
        let (position, mut items) = self.complete?;
        items.sort_by_key(|(_, item)| item.rank());
        let listed = items.iter().filter_map(|(_, item)| match item {
            Item::Waiting { position, .. } => Some(*position),
            _ => None,
        });
        let listed = listed.collect();
        let has_schedule = items.iter().any(|(_, item)| matches!(item, Item::Schedule(_)));
        items.into_iter().for_each(|(_, item)| state.restore(position, item));
        state.mark_all_dirty();
        let waits = if has_schedule { Waits::From(state.schedule().floor()) } else { Waits::Listed(listed) };
        Some(FoundSnapshot { position, state, waits })
    }
}

/// What a snapshot says of the state at its position.
pub(super) struct FoundSnapshot {
    position: Position,
    state: State,
    waits: Waits,
}

/// Which messages wait whose records lie below a snapshot.
enum Waits {
    /// Those from here on that were not recalled; others are in the state.
    From(TimerKey),
    /// Those at these positions, which are in the state: a snapshot of an older version lists all.
    Listed(BTreeSet<Position>),
}

impl Default for Waits {
    fn default() -> Self {
        Waits::From((0, 0))
    }
}

impl Visitor for SnapshotFinder {
    fn record(&mut self, position: Position, record_kind: u8, payload: &[u8]) -> Result<(), String> {
        if record_kind != kind::CHANGE {
            return Ok(());
        }
        match Change::decode(payload).map_err(|error| error.to_string())? {
            Change::Snapshot(item) => self.items.push((position, *item)),
            Change::SnapshotEnd { start, items } => {
                let mut found = std::mem::take(&mut self.items);
                // What lies before is left of one that was not finished.
                found.retain(|(position, _)| *position >= start);
                if u64::try_from(found.len()) == Ok(items) {
                    self.complete = Some((start, found));
                }
            }
            // One that another run began is never finished.
            Change::Opened { .. } => self.items.clear(),
            _ => {}
        }
        Ok(())
    }
}
