//! Messages that wait for their time. The state holds all of them; here is when each is due, and the dispatch, which
//! appends a new complete record in place of the waiting one.

use std::collections::BTreeMap;

use bytes::Bytes;
use mailrail_message::{AnnexKind, StoredMessage, property};

use super::copy::Differences;
use super::*;
use crate::delivery::wait_until;
use crate::limits::DAMAGED_RETRY_MS_MAX;
use crate::publish::Destination;
use crate::reader::{ReadContext, behind_header};
use crate::state::Waiting;

/// Most dispatches under way at once, so that a burst of due messages does not fill memory.
const DISPATCHES_MAX: usize = 1_024;
/// Wait before a dispatch that failed is tried again.
const RETRY_MS: u64 = 1_000;

/// Waiting messages by due time (wall milliseconds) and position.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    due: BTreeSet<(u64, u64)>,
    under_way: usize,
}

impl Waits {
    pub fn new(waiting: &BTreeMap<u64, Waiting>) -> Self {
        Waits { due: waiting.iter().map(|(position, w)| (w.due_ms, *position)).collect(), under_way: 0 }
    }

    pub fn deadline(&self, now: Now) -> Option<Duration> {
        let (due_ms, _) = self.due.first().filter(|_| self.under_way < DISPATCHES_MAX)?;
        Some(wait_until(*due_ms, now))
    }
}

/// A waiting message whose time has come.
#[derive(Debug)]
pub(crate) struct Dispatch {
    position: u64,
    bytes: u32,
    message: Option<Result<Bytes, Error>>,
}

impl Dispatch {
    /// Reads the message; on a reader's thread.
    pub fn read(mut self, context: &ReadContext) -> Dispatch {
        self.message = context.whole(&[(behind_header(self.position), self.bytes)]).pop();
        self
    }
}

impl Shard {
    /// A waiting message was appended.
    pub(super) fn start_wait(&mut self, position: Position, waiting: Waiting) {
        self.state.wait(position, waiting);
        self.waits.due.insert((waiting.due_ms, position));
    }

    pub(super) fn start_due_dispatches(&mut self, now: Now) {
        let early_ms = if planted(Bug::DispatchedEarly) { 1_000 } else { 0 };
        while self.waits.under_way < DISPATCHES_MAX {
            let Some((due_ms, position)) =
                self.waits.due.first().copied().filter(|(due, _)| *due <= now.wall_ms + early_ms)
            else {
                return;
            };
            self.waits.due.remove(&(due_ms, position));
            if let Some(waiting) = self.state.waiting.get(&position) {
                self.waits.under_way += 1;
                let dispatch = Dispatch { position, bytes: waiting.bytes, message: None };
                self.outputs.work.push(Work::Dispatch(dispatch));
            }
        }
    }

    pub(super) fn dispatch_waiting(&mut self, now: Now, dispatch: Dispatch) {
        self.waits.under_way = self.waits.under_way.saturating_sub(1);
        let position = dispatch.position;
        if !self.state.waiting.contains_key(&position) {
            return;
        }
        let done = match dispatch.message {
            Some(Ok(message)) => self.store_dispatched(now, position, &message),
            Some(Err(error)) => Err(error),
            None => Err(Error::NoMessage(position)),
        };
        match done {
            Ok(()) => self.state.end_wait(position),
            Err(Error::NoTopic(topic)) => {
                tracing::warn!(%topic, position, "a waiting message is dropped: its topic was deleted");
                self.log_loosely(Change::WaitingDropped { position });
            }
            // It was told of when it was read.
            Err(Error::Damaged(_)) => {
                self.waits.due.insert((now.wall_ms + DAMAGED_RETRY_MS_MAX, position));
            }
            Err(error) => {
                tracing::error!(%error, position, "a waiting message could not be dispatched; trying again");
                self.waits.due.insert((now.wall_ms + RETRY_MS, position));
            }
        }
    }

    fn store_dispatched(&mut self, now: Now, position: Position, message: &Bytes) -> Result<(), Error> {
        let stored = StoredMessage::parse(message).map_err(|error| Error::Read(error.to_string()))?;
        let topic = self.state.directory.topic(stored.topic());
        let topic = topic.ok_or_else(|| Error::NoTopic(stored.topic().to_owned()))?;
        let queues = u32::try_from(topic.queues().len()).unwrap_or(u32::MAX);
        let queue_index = due_queue(&stored).filter(|index| *index < queues);
        let destination = Destination::Topic { topic: topic.id, queue_index };
        let differences = Differences {
            without: &[
                property::DELAY_LEVEL,
                "TIMER_DELAY_SEC",
                "TIMER_DELAY_MS",
                "TIMER_DELIVER_MS",
                "TIMER_OUT_MS",
            ],
            dispatch_of: Some(position),
            ..Differences::default()
        };
        self.store_copy(now, &stored, (topic.id, destination), differences, None)
    }
}

/// The queue that the producer chose for a waiting message.
fn due_queue(stored: &StoredMessage<'_>) -> Option<u32> {
    let annex = stored.annex(AnnexKind::Due)?;
    let index: [u8; 4] = annex.get(8..12)?.try_into().ok()?;
    u32::try_from(i32::from_le_bytes(index)).ok()
}
