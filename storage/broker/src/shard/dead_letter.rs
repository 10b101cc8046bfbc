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
    /// The message is not what was stored.
    is_damaged: bool,
}

impl Dead {
    /// Reads the message; on a reader's thread.
    pub fn read(mut self, context: &ReadContext) -> Dead {
        let mut read = context.entry(&self.queue, self.offset);
        if let Err(Error::Damaged(_)) = read {
            self.is_damaged = true;
            read = context.entry_unchecked(&self.queue, self.offset);
        }
        self.message = read.transpose();
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
        let dead = Dead { group, queue, offset, attempts, message: None, is_damaged: false };
        self.outputs.work.push(Work::Dead(dead));
    }

    /// The message of an entry that is given up was read.
    pub(super) fn bury(&mut self, now: Now, dead: Dead) {
        let Dead { group, ref queue, offset, .. } = dead;
        let dying = |flow: &Flow| flow.lease(offset).is_some_and(|lease| lease.end == LeaseEnd::Dying);
        if !self.flows.get(&(group, queue.id)).is_some_and(dying) {
            return;
        }
        let done = match &dead.message {
            Some(Ok(message)) => match self.store_dead(now, &dead, message) {
                Err(Error::Read(why)) if dead.is_damaged => {
                    tracing::error!(
                        queue = queue.id.0,
                        offset,
                        why,
                        "nothing of a damaged message can be kept"
                    );
                    self.settle_now(group, queue.id, vec![(offset, 1)])
                }
                stored => stored,
            },
            Some(Err(error)) => Err(error.clone()),
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
                self.put_back(now, group, queue.id, offset, dead.attempts, RETRY_MS);
            }
        }
    }

    /// One that is damaged is stored as it is, and says so: who looks through dead letters may know what it was.
    fn store_dead(&mut self, now: Now, dead: &Dead, message: &Bytes) -> Result<(), Error> {
        let Dead { group, queue, offset, attempts, .. } = dead;
        let (group, offset) = (*group, *offset);
        let settings = self.state.groups.get(&group).map(|group| group.settings());
        let name = settings.and_then(|settings| settings.dead_letter.clone()).ok_or(Error::Unroutable)?;
        let topic = match self.state.directory.topic(&name) {
            Some(topic) => topic.id,
            None => self.create_topic(&name, &TopicSettings { queues: 1, ..TopicSettings::default() })?,
        };
        let stored = StoredMessage::parse(message).map_err(|error| Error::Read(error.to_string()))?;
        let origin = OffsetId { host: stored.store_host(), position: stored.position() };
        let mut with = vec![
            (property::DLQ_ORIGIN_TOPIC, queue.topic.to_string()),
            (property::DLQ_ORIGIN_MESSAGE_ID, origin.to_string()),
        ];
        if dead.is_damaged {
            with.push((property::DAMAGED, format!("offset {offset} of queue {}", queue.index)));
        }
        let differences = Differences { reconsume_times: Some(*attempts), with, ..Differences::default() };
        let settled = Change::Settled { group, queue: queue.id, runs: vec![(offset, 1)] };
        self.store_copy(now, &stored, topic, differences, Some(settled))
    }
}

/// Wait before a dead letter that could not be stored is tried again.
const RETRY_MS: u64 = 1_000;
