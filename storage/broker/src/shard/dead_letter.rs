//! Messages that are given up: copied to the group's dead letter topic and settled, both in one write group; or settled
//! alone where the group has no such topic.

use bytes::Bytes;
use mailrail_message::{OffsetId, StoredMessage, property};

use super::copy::Differences;
use super::*;
use crate::delivery::{Lease, LeaseEnd};
use crate::queue::Queue;
use crate::reader::ReadContext;
use crate::settings::TopicSettings;

/// An entry on its way to the dead letter topic.
#[derive(Debug)]
pub(crate) struct Dead {
    group: GroupId,
    queue: Arc<Queue>,
    offset: u64,
    attempts: u32,
    message: Option<Result<Bytes, Error>>,
}

impl Dead {
    /// Reads the message; on a reader's thread.
    pub fn read(mut self, context: &ReadContext) -> Dead {
        self.message = context.entry(&self.queue, self.offset).transpose();
        self
    }
}

impl Shard {
    /// Gives an entry up.
    pub(super) fn give_up(&mut self, group: GroupId, queue: QueueId, offset: u64, attempts: u32) {
        let has_topic =
            self.state.groups.get(&group).is_some_and(|group| group.settings().dead_letter.is_some());
        let shared = self.state.queues.get(&queue).map(|queue| queue.shared.clone());
        let (true, Some(queue)) = (has_topic, shared) else {
            if let Err(error) = self.settle_now(group, queue, vec![(offset, 1)]) {
                tracing::warn!(%error, "a message that was given up is tried again: that could not be recorded");
            }
            return;
        };
        // Nobody gets it in the meantime.
        let lease = Lease { number: self.next_lease, owner: SessionId(0), end: LeaseEnd::Dying };
        self.next_lease += 1;
        if let Some(flow) = self.flows.get_mut(&(group, queue.id)) {
            flow.end_lease_by(offset, lease);
        }
        self.outputs.work.push(Work::Dead(Dead { group, queue, offset, attempts, message: None }));
    }

    /// The message of an entry that is given up was read.
    pub(super) fn bury(&mut self, now: Now, dead: Dead) {
        let Dead { group, queue, offset, attempts, message } = dead;
        let dying = |flow: &Flow| flow.lease(offset).is_some_and(|lease| lease.end == LeaseEnd::Dying);
        if !self.flows.get(&(group, queue.id)).is_some_and(dying) {
            return;
        }
        let done = match message {
            Some(Ok(message)) => self.store_dead(now, group, &queue, offset, attempts, &message),
            Some(Err(error)) => Err(error),
            // Trimmed away in the meantime: there is nothing to keep.
            None => self.settle_now(group, queue.id, vec![(offset, 1)]),
        };
        match done {
            Ok(()) => {
                if let Some(flow) = self.flows.get_mut(&(group, queue.id)) {
                    flow.settled(offset, 1);
                }
            }
            Err(error) => {
                tracing::error!(queue = queue.id.0, offset, %error, "a dead letter could not be stored; trying again");
                self.put_back(now, group, queue.id, offset, attempts, RETRY_MS);
            }
        }
    }

    fn store_dead(
        &mut self,
        now: Now,
        group: GroupId,
        queue: &Queue,
        offset: u64,
        attempts: u32,
        message: &Bytes,
    ) -> Result<(), Error> {
        let settings = self.state.groups.get(&group).map(|group| group.settings());
        let name = settings.and_then(|settings| settings.dead_letter.clone()).ok_or(Error::Unroutable)?;
        let topic = match self.state.directory.topic(&name) {
            Some(topic) => topic.id,
            None => self.create_topic(&name, &TopicSettings { queues: 1, ..TopicSettings::default() })?,
        };
        let stored = StoredMessage::parse(message).map_err(|error| Error::Read(error.to_string()))?;
        let origin = OffsetId { host: stored.store_host(), position: stored.position() };
        let differences = Differences {
            reconsume_times: Some(attempts),
            with: vec![
                (property::DLQ_ORIGIN_TOPIC, queue.topic.to_string()),
                (property::DLQ_ORIGIN_MESSAGE_ID, origin.to_string()),
            ],
            ..Differences::default()
        };
        let settled = Change::Settled { group, queue: queue.id, runs: vec![(offset, 1)] };
        self.store_copy(now, &stored, topic, differences, Some(settled))
    }
}

/// Wait before a dead letter that could not be stored is tried again.
const RETRY_MS: u64 = 1_000;
