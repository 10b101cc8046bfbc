//! Messages that are given up: copied to where dead letters go and settled, both in one write group; or settled alone
//! where there is no such place. The copy carries the history of its deaths.
//!
//! The default group of a topic sends them where the topic says; else, and for all other groups, the group names a topic.

use bytes::Bytes;
use mailrail_message::{AnnexKind, Death, DeathReason, Deaths, OffsetId, StoredMessage, property};

use super::copy::Differences;
use super::*;
use crate::command::Name;
use crate::delivery::{Lease, LeaseEnd};
use crate::event::Stored;
use crate::policy::DeadLetter;
use crate::publish::Destination;
use crate::queue::Queue;
use crate::reader::ReadContext;
use crate::record::RouteEnd;
use crate::settings::TopicSettings;
use crate::statistics::group as counted;
use crate::trace::TRACE_TOPIC;

/// An entry on its way to the dead letters.
#[derive(Debug)]
pub(crate) struct Dead {
    group: GroupId,
    queue: Arc<Queue>,
    offset: u64,
    attempts: u32,
    reason: DeathReason,
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

/// A death, and what belongs to it.
struct Passing<'a> {
    /// Name of the topic in which the message dies.
    topic: &'a str,
    reason: DeathReason,
    attempts: u32,
    to: DeadLetter,
    /// Properties that the copy has more.
    with: Vec<(&'static str, String)>,
    settled: Option<Change>,
}

impl Shard {
    /// Gives an entry up.
    pub(super) fn give_up(
        &mut self,
        group: GroupId,
        queue: QueueId,
        offset: u64,
        attempts: u32,
        reason: DeathReason,
    ) {
        self.counts.add((group, queue), counted::GIVEN_UP, 1);
        self.trace_given_up((group, queue), offset, attempts, reason.name());
        let shared = self.state.queues.get(&queue).map(|queue| queue.shared.clone());
        let (true, Some(queue)) = (self.has_dead_letter(group, queue), shared) else {
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
        let dead = Dead { group, queue, offset, attempts, reason, message: None, is_damaged: false };
        self.outputs.work.push(Work::Dead(dead));
    }

    /// Whether what a group gives up goes anywhere.
    pub(super) fn has_dead_letter(&self, group: GroupId, queue: QueueId) -> bool {
        self.dead_letter_of(group, queue).is_some()
    }

    fn dead_letter_of(&self, group: GroupId, queue: QueueId) -> Option<DeadLetter> {
        let group = self.state.groups.get(&group)?;
        let topic = self.state.topics.get(&self.state.queues.get(&queue)?.topic)?;
        let own = topic.policy.dead_letter.as_ref().filter(|_| group.name == topic.shared.name);
        own.cloned().or_else(|| group.settings().dead_letter.clone().map(DeadLetter::Topic))
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
                let line = (group, queue.id);
                if let Some(flow) = self.flows.get_mut(&line) {
                    flow.settled(offset, 1);
                }
                // What it held back comes now.
                self.reschedule(line);
                self.look_at(line);
            }
            Err(error) => {
                tracing::error!(queue = queue.id.0, offset, %error, "a dead letter could not be stored; trying again");
                self.put_back(now, group, queue.id, offset, dead.attempts, RETRY_MS);
            }
        }
    }

    /// One that is damaged is stored as it is, and says so: who looks through dead letters may know what it was.
    fn store_dead(&mut self, now: Now, dead: &Dead, message: &Bytes) -> Result<(), Error> {
        let Dead { group, queue, offset, .. } = dead;
        let to = self.dead_letter_of(*group, queue.id).ok_or(Error::Unroutable)?;
        let stored = StoredMessage::parse(message).map_err(|error| Error::Read(error.to_string()))?;
        let origin = OffsetId { host: stored.store_host(), position: stored.position() };
        let mut with = vec![(property::DLQ_ORIGIN_MESSAGE_ID, origin.to_string())];
        if dead.is_damaged {
            with.push((property::DAMAGED, format!("offset {offset} of queue {}", queue.index)));
        }
        let settled = Change::Settled { group: *group, queue: queue.id, runs: vec![(*offset, 1)] };
        let settled = Some(settled).filter(|_| !planted(Bug::DeadLetterNotSettled));
        let (topic, reason, attempts) = (&*queue.topic, dead.reason, dead.attempts);
        let copy = self.pass_on(now, &stored, Passing { topic, reason, attempts, to, with, settled })?;
        if let Some((to, copy)) = copy {
            let line = (*group, queue.id);
            self.trace_dead_lettered(line, *offset, (stored.position(), copy.position, &to));
        }
        Ok(())
    }

    /// Messages that topics refused because they are full, and that were to be dead-lettered then.
    pub(super) fn bury_refused(&mut self, now: Now, refused: Vec<(TopicId, Bytes)>) {
        for (topic, message) in refused {
            let Some(state) = self.state.topics.get(&topic) else { continue };
            let (shared, to) = (state.shared.clone(), state.policy.dead_letter.clone());
            let (Some(to), Ok(stored)) = (to, StoredMessage::parse(&message)) else { continue };
            let (reason, attempts) = (DeathReason::LengthLimit, stored.reconsume_times());
            let (topic, with, settled) = (&*shared.name, Vec::new(), None);
            let passing = Passing { topic, reason, attempts, to, with, settled };
            if let Err(error) = self.pass_on(now, &stored, passing) {
                tracing::warn!(%topic, %error, "a message that was refused could not be dead-lettered");
            }
        }
    }

    /// Stores the copy of a message where dead letters go, and records that it is settled. Returns where that is, or the
    /// first of several.
    fn pass_on(
        &mut self,
        now: Now,
        stored: &StoredMessage<'_>,
        passing: Passing<'_>,
    ) -> Result<Option<(Name, Stored)>, Error> {
        let Passing { topic, reason, attempts, to, mut with, settled } = passing;
        let (exchange, key) = way_of(stored, topic);
        let known = stored.annex(AnnexKind::Deaths).filter(|_| !planted(Bug::DeathForgotten));
        let mut deaths = known.and_then(Deaths::read).unwrap_or_default();
        let expiration = stored.properties().get(property::TTL).map(str::to_owned);
        let (queue, sent_with) = (topic.to_owned(), key.clone());
        let (first_ms, count, is_first) = (now.wall_ms, 1, false);
        deaths.add(Death { queue, reason, count, first_ms, exchange, key, expiration, is_first });
        let targets = match to {
            DeadLetter::Topic(name) => {
                (deaths.exchange, deaths.key) = (String::new(), name.clone());
                vec![self.dead_letter_topic(&name)?]
            }
            DeadLetter::Exchange { exchange, key } => {
                (deaths.exchange, deaths.key) = (exchange, key.unwrap_or(sent_with));
                self.lead_dead(stored, &deaths)?
            }
        };
        let is_open = |target: &TopicId| {
            let name = self.state.topics.get(target).map(|topic| topic.shared.name.clone());
            let goes_round = name.as_ref().is_none_or(|name| deaths.cycles_to(name));
            let may_write = name.is_none_or(|name| &*name != TRACE_TOPIC);
            may_write && (reason == DeathReason::Rejected || !goes_round)
        };
        let targets: Vec<TopicId> = targets.into_iter().filter(is_open).collect();
        metrics::counter!("mailrail_dead_letters_total", "reason" => reason.name()).increment(1);
        let Some(first) = targets.first().copied() else {
            return settled.map_or(Ok(()), |settled| self.log(settled)).map(|()| None);
        };
        let name = self.state.topics.get(&first).map(|topic| topic.shared.name.clone());
        with.insert(0, (property::DLQ_ORIGIN_TOPIC, topic.to_owned()));
        let differences = Differences {
            reconsume_times: Some(attempts),
            without: &[property::TTL, property::DLQ_ORIGIN_TOPIC, property::DLQ_ORIGIN_MESSAGE_ID],
            with,
            deaths: Some(deaths.to_bytes()),
            ..Differences::default()
        };
        match self.store_copy(
            now,
            stored,
            (first, Destination::Routed(targets)),
            differences,
            settled.clone(),
        ) {
            // Whoever limits where dead letters go wants no more of them.
            Err(Error::Full { .. }) => settled.map_or(Ok(()), |settled| self.log(settled)).map(|()| None),
            stored => stored.map(|stored| name.zip(Some(stored))),
        }
    }

    /// The topic that a group or a topic names for its dead letters.
    pub(super) fn dead_letter_topic(&mut self, name: &str) -> Result<TopicId, Error> {
        match self.state.directory.topic(name) {
            Some(topic) => Ok(topic.id),
            None => self.create_topic(name, &TopicSettings { queues: 1, ..TopicSettings::default() }),
        }
    }

    /// The topics that an exchange leads a dead letter to; none where there is no such exchange.
    fn lead_dead(&self, stored: &StoredMessage<'_>, deaths: &Deaths) -> Result<Vec<TopicId>, Error> {
        let directory = &self.state.directory;
        if deaths.exchange.is_empty() {
            return Ok(directory.topic(&deaths.key).map(|topic| topic.id).into_iter().collect());
        }
        let mut topics = Vec::new();
        if let Some(exchange) = directory.exchange(&deaths.exchange) {
            let record = [&[0; mailrail_commitlog::record::RECORD_HEADER_BYTES], stored.as_bytes()].concat();
            self.reach(RouteEnd::Exchange(exchange.id), &[&deaths.key], &record, &mut topics)?;
        }
        Ok(topics)
    }
}

/// Exchange and key through which a message came to a topic.
fn way_of(stored: &StoredMessage<'_>, topic: &str) -> (String, String) {
    if let Some(deaths) = stored.annex(AnnexKind::Deaths).and_then(Deaths::read) {
        return (deaths.exchange, deaths.key);
    }
    if let Some((exchange, key)) = stored.published_to() {
        return (exchange.to_owned(), String::from_utf8_lossy(key).into_owned());
    }
    // As readers see it: through a binding, its own topic is the exchange and its tag the key.
    if stored.topic() == topic {
        return (String::new(), topic.to_owned());
    }
    let tag = stored.properties().get(property::TAGS).unwrap_or_default();
    (stored.topic().to_owned(), tag.to_owned())
}

/// Wait before a dead letter that could not be stored is tried again.
const RETRY_MS: u64 = 1_000;
