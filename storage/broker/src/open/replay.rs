//! Reading the log back into the state.

use std::sync::Arc;

use mailrail_commitlog::planted::{Bug, planted};
use mailrail_commitlog::{Position, Visitor};
use mailrail_message::{AnnexKind, StoredMessage, property, tag_hash};

use crate::ids::QueueId;
use crate::publish::{expiry_ms, time_to_live_ms};
use crate::queue::Entry;
use crate::record::{Change, kind};
use crate::state::{Item, State, Waiting};
use crate::store::Store;
use crate::store_thread;

/// Applies records to a state.
pub(super) struct Replay {
    state: State,
    store: Arc<dyn Store>,
    /// The state holds everything below but indexes: there, only messages are looked at.
    snapshot: Position,
    /// The log's own start is where the state starts; a log that begins later needs a snapshot first.
    from_scratch: bool,
    pub trimmed: bool,
}

impl Replay {
    pub fn new(state: State, store: Arc<dyn Store>) -> Self {
        Replay { state, store, snapshot: 0, from_scratch: false, trimmed: false }
    }

    /// Begins with nothing. Stops at a log from which something was trimmed, and says so in `trimmed`.
    pub fn from_scratch(store: Arc<dyn Store>) -> Self {
        Replay { from_scratch: true, ..Replay::new(State::default(), store) }
    }

    /// A replay from the start of a log, of which the state below a snapshot is known.
    pub fn after_snapshot((snapshot, state): (Position, State), store: Arc<dyn Store>) -> Self {
        Replay { snapshot, ..Replay::new(state, store) }
    }

    /// The state at the end of the log; everything in it may be seen.
    pub fn finish(self) -> State {
        for queue in self.state.queues.values() {
            queue.shared.publish(queue.next_offset);
        }
        self.state
    }

    fn message(&mut self, position: Position, payload: &[u8]) -> Result<(), String> {
        let stored = StoredMessage::parse(payload).map_err(|error| error.to_string())?;
        let bytes = u32::try_from(payload.len()).map_err(|error| error.to_string())?;
        let tag_hash = stored.properties().get(property::TAGS).map_or(0, tag_hash);
        let ttl_ms = time_to_live_ms(stored.properties()).filter(|_| !planted(Bug::ExpiryNotReplayed));
        let expires_ms = expiry_ms(stored.store_ms(), ttl_ms);
        for target in stored.targets().map_err(|error| error.to_string())? {
            let (offset, store_ms) = (target.offset, stored.store_ms());
            let entry = Entry { offset, position, bytes, tag_hash, store_ms, expires_ms };
            let queue = QueueId(target.queue);
            if self.state.is_transient(queue) {
                // It goes before anybody is served.
                continue;
            }
            if position < self.snapshot {
                self.state.append_retained(queue, &entry);
            } else {
                self.state.append(queue, &entry).map_err(|error| error.to_string())?;
            }
        }
        let replaced = stored.annex(AnnexKind::DispatchOf).and_then(|bytes| bytes.try_into().ok());
        let replaced = replaced.filter(|_| !planted(Bug::DispatchNotReplayed));
        if let Some(waited) = replaced.map(u64::from_le_bytes) {
            self.state.end_wait(waited);
        }
        Ok(())
    }

    fn waiting(&mut self, position: Position, payload: &[u8]) -> Result<(), String> {
        let stored = StoredMessage::parse(payload).map_err(|error| error.to_string())?;
        let due = stored.annex(AnnexKind::Due).and_then(|due| due.first_chunk::<8>());
        let due_ms = u64::from_le_bytes(*due.ok_or("a waiting message says no time")?);
        let bytes = u32::try_from(payload.len()).map_err(|error| error.to_string())?;
        self.state.wait(position, Waiting { due_ms, bytes });
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
            _ if position < self.snapshot => {}
            kind::WAITING_MESSAGE => self.waiting(position, payload)?,
            kind::CHANGE => {
                let change = Change::decode(payload).map_err(|error| error.to_string())?;
                let forgotten = matches!(change, Change::Settled { .. }) && planted(Bug::SettleNotReplayed);
                if !forgotten {
                    self.state.apply(position, &change);
                }
            }
            unknown => return Err(format!("its kind {unknown} is unknown: use the release that wrote it")),
        }
        for job in std::mem::take(&mut self.state.store_jobs) {
            store_thread::apply(&*self.store, job).map_err(|error| error.to_string())?;
        }
        Ok(())
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
    /// The state of the snapshot and its position; `None` when the log holds no complete one.
    pub fn into_state(self) -> Option<(Position, State)> {
        let mut state = State::default();
        let (position, mut items) = self.complete?;
        items.sort_by_key(|(_, item)| item.rank());
        items.into_iter().for_each(|(_, item)| state.restore(position, item));
        state.mark_all_dirty();
        Some((position, state))
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
