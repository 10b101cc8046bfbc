//! Consumption by lease: consumers with credit, receives that wait, and single gets.

use super::*;
use crate::delivery::{Consumer, Receiver};
use crate::directory::Topic;
use crate::event::Recipient;
use crate::filter::Filter;
use crate::limits::*;
use crate::settings::Lifetime;
use crate::state::Progress;

/// What a receive asks for.
pub(super) struct Asked {
    pub token: Token,
    pub max: u32,
    pub wait_ms: u64,
    pub lease_ms: u64,
    pub filter: Option<Filter>,
}

/// What a consumer wants.
pub(super) struct Wanted {
    pub consumer: ConsumerId,
    pub credit: u32,
    pub no_ack: bool,
    pub exclusive: bool,
    pub priority: i64,
}

impl Shard {
    pub(super) fn receive(
        &mut self,
        now: Now,
        mailbox: &Arc<Mailbox>,
        group: &str,
        topic: &str,
        asked: Asked,
    ) -> Result<(), Error> {
        limit("messages of one receive", asked.max.into(), RECEIVE_MESSAGES_MAX.into())?;
        limit("milliseconds of waiting", asked.wait_ms, RECEIVE_WAIT_MS_MAX)?;
        limit("milliseconds of a lease", asked.lease_ms, LEASE_MS_MAX)?;
        let (group, topic) = self.by_lease(now, mailbox.session, group, topic)?;
        if let Some(filter) = asked.filter {
            self.subscribe(now, group, &topic, filter)?;
        }
        let deadline = now.mono + Duration::from_millis(asked.wait_ms);
        let (token, max) = (asked.token, u64::from(asked.max));
        let lease_ms = asked.lease_ms.max(LEASE_MS_MIN);
        let receiver = Receiver { mailbox: mailbox.clone(), token, max, lease_ms, deadline };
        let key = (group, topic.id);
        self.subscriptions.entry(key).or_default().receivers.push_back(receiver);
        self.receive_times.insert((deadline, group, topic.id));
        self.start_serving(key);
        Ok(())
    }

    pub(super) fn consume(
        &mut self,
        now: Now,
        mailbox: &Arc<Mailbox>,
        group: &str,
        topic: &str,
        wanted: Wanted,
    ) -> Result<(), Error> {
        let (group_id, shared) = self.by_lease(now, mailbox.session, group, topic)?;
        // Where one consumer is active, others may wait for their turn.
        let single_active = self.is_single_active(group_id);
        let others = self.subscriptions.get(&(group_id, shared.id)).map(Subscription::consumers);
        let may_be_alone = others.is_none_or(VecDeque::is_empty) && !single_active;
        let is_taken = others.is_some_and(|others| others.iter().any(|consumer| consumer.exclusive));
        if (wanted.exclusive && !may_be_alone) || is_taken {
            return Err(Error::ExclusiveConsumer(topic.to_owned()));
        }
        let subscription = self.subscriptions.entry((group_id, shared.id)).or_default();
        self.consumers.insert((mailbox.session, wanted.consumer), (group_id, shared.id));
        subscription.add(Consumer {
            mailbox: mailbox.clone(),
            id: wanted.consumer,
            credit: wanted.credit.into(),
            no_ack: wanted.no_ack,
            exclusive: wanted.exclusive,
            priority: wanted.priority,
        });
        self.start_serving((group_id, shared.id));
        Ok(())
    }

    pub(super) fn credit(&mut self, session: SessionId, consumer: ConsumerId, add: u32) {
        let Some(key) = self.consumers.get(&(session, consumer)).copied() else { return };
        let Some(subscription) = self.subscriptions.get_mut(&key) else { return };
        if let Some(found) = subscription.consumer_mut(session, consumer) {
            found.credit = found.credit.saturating_add(add.into());
            self.hungry.insert(key);
        }
    }

    pub(super) fn cancel(&mut self, session: SessionId, consumer: ConsumerId) {
        let Some(key) = self.consumers.remove(&(session, consumer)) else { return };
        let holds = self.leases_on(key) > 0;
        if let Some(subscription) = self.subscriptions.get_mut(&key) {
            if holds && subscription.is_active(session, consumer) {
                self.handing_over.insert(key);
            }
            subscription.remove(session, Some(consumer));
            self.hungry.insert(key);
        }
        self.left(key);
    }

    pub(super) fn get(
        &mut self,
        now: Now,
        mailbox: &Arc<Mailbox>,
        group: &str,
        topic: &str,
        token: Token,
        no_ack: bool,
    ) -> Result<(), Error> {
        let (group, topic) = self.by_lease(now, mailbox.session, group, topic)?;
        self.use_topic(now, topic.id);
        let to = Recipient::Request(token);
        if !self.hand_out_one(now, mailbox, group, topic.id, to, no_ack) {
            self.send(mailbox, Letter::Event(Event::Deliveries { to, deliveries: Vec::new() }));
        }
        Ok(())
    }

    /// Looks up a group and a topic that are to be consumed by lease. What was asked of them before is over if nobody
    /// counts on it.
    fn by_lease(
        &mut self,
        now: Now,
        session: SessionId,
        group: &str,
        topic: &str,
    ) -> Result<(GroupId, Arc<Topic>), Error> {
        let found = self.line_of(group, topic)?;
        self.check_owner(&found.1, session)?;
        if !found.1.settings().readable {
            return Err(Error::NotReadable(topic.to_owned()));
        }
        let queues = &self.state.topics.get(&found.1.id).map_or(&[][..], |topic| &topic.queues);
        let is_locked = self.members.is_locked(group, queues.iter().copied(), now.mono);
        if is_locked || self.members.reads(group, topic, now.mono) {
            let (group, topic) = (group.to_owned(), topic.to_owned());
            return Err(Error::Mode { group, topic, found: "offset", asked: "lease" });
        }
        self.forget_wish(now, (found.0, found.1.id));
        Ok(found)
    }

    /// Looks up a topic and a group by name.
    pub(super) fn line_of(&self, group: &str, topic: &str) -> Result<(GroupId, Arc<Topic>), Error> {
        let shared = self.state.directory.topic(topic).ok_or_else(|| Error::NoTopic(topic.to_owned()))?;
        let missing = || Error::NoGroup { group: group.to_owned(), topic: topic.to_owned() };
        let group = self.state.directory.group(group).ok_or_else(missing)?;
        Ok((group.id, shared))
    }

    /// Leases of a group on all queues of a topic.
    pub(super) fn leases_on(&self, (group, topic): (GroupId, TopicId)) -> usize {
        let queues = self.state.topics.get(&topic).map_or(&[][..], |topic| &topic.queues);
        queues.iter().filter_map(|queue| self.flows.get(&(group, *queue))).map(Flow::leases).sum()
    }

    /// True while the group consumes the topic by lease: somebody asks for entries, or holds some.
    pub(super) fn is_leased(&self, group: GroupId, topic: TopicId) -> bool {
        self.subscriptions.contains_key(&(group, topic)) || self.leases_on((group, topic)) > 0
    }

    /// A topic that belongs to a session is for that session alone.
    pub(super) fn check_owner(&self, topic: &Topic, session: SessionId) -> Result<(), Error> {
        let foreign =
            topic.settings().lifetime == Lifetime::Session && self.owned.get(&topic.id) != Some(&session);
        if foreign { Err(Error::Locked(topic.name.to_string())) } else { Ok(()) }
    }

    /// The flow of a group on a queue, with the progress it goes by; both are made when they are missing: a new group
    /// begins at the earliest entry.
    pub(super) fn open_flow(&mut self, now: Now, line: Line) -> Result<(), Error> {
        let (group, queue) = line;
        let min = self.state.queues.get(&queue).map(|queue| queue.shared.min_offset());
        let min = min.ok_or_else(|| Error::NoTopic(format!("of queue #{}", queue.0)))?;
        let floor = self.state.progress(group, queue).map(|progress| progress.floor);
        match floor {
            None => self.log(Change::Positioned { group, queue, offset: min })?,
            // What retention took away before the group got to it is lost to the group.
            Some(floor) if floor < min => self.settle_now(group, queue, vec![(floor, min - floor)])?,
            Some(_) => {}
        }
        if !self.flows.contains_key(&line) {
            let progress = self.state.progress(group, queue).cloned().unwrap_or_else(|| Progress::at(min));
            self.flows.insert(line, Flow::new(&progress, self.sequence_of(line), now));
            self.reschedule(line);
        }
        Ok(())
    }

    fn start_serving(&mut self, key: (GroupId, TopicId)) {
        let (group, topic) = key;
        let groups = self.served.entry(topic).or_default();
        if !groups.contains(&group) {
            groups.push(group);
        }
        self.hungry.insert(key);
    }

    /// A consumer or receiver has left: tidy up behind it.
    pub(super) fn left(&mut self, key: (GroupId, TopicId)) {
        let (_, topic) = key;
        let Some(subscription) = self.subscriptions.get(&key) else { return };
        if !subscription.is_idle() {
            return;
        }
        let had_consumer = subscription.had_consumer;
        self.subscriptions.remove(&key);
        self.no_longer_served(key);
        self.idle.leave(topic);
        let unused = had_consumer && !self.served.contains_key(&topic);
        let shared = self.state.topics.get(&topic).map(|topic| topic.shared.clone());
        if let Some(shared) = shared.filter(|shared| unused && shared.settings().delete_when_unused) {
            self.remove_topic_loosely(&shared);
        }
    }

    /// Nobody consumes a topic for a group any more.
    pub(super) fn no_longer_served(&mut self, (group, topic): (GroupId, TopicId)) {
        if let Some(groups) = self.served.get_mut(&topic) {
            groups.retain(|served| *served != group);
            if groups.is_empty() {
                self.served.remove(&topic);
            }
        }
    }

    pub(super) fn expire_receives(&mut self, now: Now) {
        while let Some((at, group, topic)) =
            self.receive_times.first().copied().filter(|(at, ..)| *at <= now.mono)
        {
            // One that does not want to wait is served first.
            self.serve(now, (group, topic));
            self.receive_times.remove(&(at, group, topic));
            if !self.is_looking((group, topic)) {
                self.end_receives(now, (group, topic));
            }
        }
    }

    /// Answers the receives whose time is over.
    pub(super) fn end_receives(&mut self, now: Now, key: (GroupId, TopicId)) {
        let Some(subscription) = self.subscriptions.get_mut(&key) else { return };
        let waiting = std::mem::take(&mut subscription.receivers);
        let (over, still): (Vec<Receiver>, Vec<Receiver>) =
            waiting.into_iter().partition(|receiver| receiver.deadline <= now.mono);
        subscription.receivers = still.into();
        for receiver in over {
            let to = Recipient::Request(receiver.token);
            self.send(&receiver.mailbox, Letter::Event(Event::Deliveries { to, deliveries: Vec::new() }));
        }
        self.left(key);
    }
}

pub(super) fn limit(what: &'static str, value: u64, max: u64) -> Result<(), Error> {
    if value > max { Err(Error::Limit { what, value, max }) } else { Ok(()) }
}
