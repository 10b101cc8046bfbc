//! The model of leases: who may be handed what, and how that ends.

use std::collections::BTreeSet;

use mailrail_message::DeathReason;

use super::broker::{Key, Model, Taker};
use super::line::{Failed, Lease, LeaseNumber, Line};
use super::queue::Name;
use super::subscription::{Consumer, ConsumerKey, Subscription};
use super::{Said, must};
use crate::command::Outcome;
use crate::settings::Order;

impl Model {
    /// What may be handed out next, by queue. The highest priority of all queues comes first. What is late is passed
    /// over, as it is on its way to where it is given up.
    pub fn next(&mut self, key: Key, batch: u64) -> Vec<(u32, u64)> {
        let late = self.late_of(key).into_iter().map(|(index, offset, _)| (index, offset)).collect();
        self.next_without(key, batch, &late)
    }

    pub fn next_without(&mut self, key: Key, batch: u64, late: &BTreeSet<(u32, u64)>) -> Vec<(u32, u64)> {
        let (rules, order) = (self.topics[key.1].rules.clone(), self.groups[key.0].order);
        let has_priorities = rules.priority_max > 0;
        let mut next = Vec::new();
        for index in 0..rules.queues {
            let (line, queue) = self.line(key, index);
            let is_late = |offset| late.contains(&(index, offset));
            let of_line = line.next(queue, order, has_priorities, batch, is_late);
            next.extend(of_line.into_iter().map(|offset| (index, offset)));
        }
        if has_priorities && order == Order::Any {
            let priority = |at: &(u32, u64)| self.queue(key.1, at.0).entries[&at.1].priority;
            let sure = next.iter().filter(|at| !self.is_to_be_swept(key, at.0));
            let highest = sure.map(priority).max().unwrap_or_default();
            next.retain(|at| priority(at) >= highest);
        }
        next
    }

    pub fn choose_active(&mut self, key: Key) {
        let (single_active, leases) = (self.groups[key.0].single_active, self.leases_on(key));
        let subscription = self.subscriptions.entry(key).or_default();
        subscription.hands_over &= single_active && leases > 0;
        if single_active {
            subscription.choose_active();
        }
    }

    /// A batch begins for somebody. Returns its number, and the most that may be in it.
    pub fn begin_batch(&mut self, key: Key, taker: Taker) -> Said<(u64, u64)> {
        self.batches += 1;
        let single_active = self.groups[key.0].single_active;
        self.choose_active(key);
        let subscription = self.subscriptions.entry(key).or_default();
        let max = match taker {
            Taker::Consumer(consumer) => {
                let may_get = subscription.may_get(consumer, single_active) && !subscription.hands_over;
                must!(may_get, "it is not the turn of {consumer:?}: {subscription:?}");
                subscription.consumer(consumer).unwrap().credit
            }
            Taker::Receiver { session, token } => {
                let first = subscription.receivers.first();
                let first = first.filter(|first| (first.session, first.token) == (session, token));
                must!(first.is_some(), "receive {token} of {session} is not the first: {subscription:?}");
                let is_alone = subscription.consumers.is_empty();
                must!(!single_active || is_alone, "a receive gets what is the active consumer's");
                first.unwrap().max
            }
            Taker::Getter { .. } => 1,
        };
        Ok((self.batches, max))
    }

    /// An entry of a batch is handed out. `body` is `None` where its time was over, so that the group does without.
    pub fn hand_out(
        &mut self,
        key: Key,
        (index, offset): (u32, u64),
        taker: Taker,
        (batch, number): (u64, LeaseNumber),
        (attempts, body): (u32, Option<u64>),
    ) -> Said {
        let next = self.next(key, batch);
        must!(
            next.contains(&(index, offset)),
            "{key:?} got {offset} of queue {index}, and {next:?} was next"
        );
        let entry = self.queue(key.1, index).entries[&offset].clone();
        let is_expired = self.is_expired(key.1, &entry);
        self.line(key, index).0.handed.insert(offset);
        let Some(body) = body else {
            must!(is_expired && !self.owns(key), "{offset} of {key:?} is passed over before its time");
            self.count("passed over: expired", 1);
            // Its credit comes back when who read it says so.
            if let Taker::Consumer(consumer) = taker {
                self.add_credit(key, consumer, -1);
            }
            if self.settles_at_once(key, taker) {
                self.settle(key, index, offset);
            } else {
                let lease = Lease { number, batch, session: 0, ends_ms: None };
                self.line(key, index).0.leases.insert(offset, lease);
                self.passed_over.push((key, index, offset));
            }
            return Ok(());
        };
        must!(!is_expired, "{key:?} got message {body}, which has expired");
        must!(body == entry.message.number, "{offset} is {body}, not {}", entry.message.number);
        let known = self.line(key, index).0.attempts(offset);
        must!(attempts == known, "message {body} comes to {key:?} after {attempts} attempts, not {known}");
        must!(!self.groups[key.0].is_used_up(attempts), "message {body} comes after {attempts} attempts");
        self.count(if attempts > 0 { "redeliveries" } else { "deliveries" }, 1);
        let now_ms = self.mono_ms;
        let subscription = self.subscriptions.entry(key).or_default();
        let (session, ends_ms, no_ack) = match taker {
            Taker::Consumer(consumer) => {
                let consumer = subscription.consumer(consumer).unwrap();
                must!(consumer.credit > 0, "{:?} has no credit left", consumer.key);
                consumer.credit -= 1;
                (consumer.key.0, None, consumer.no_ack)
            }
            Taker::Receiver { session, .. } => {
                (session, Some(now_ms + subscription.receivers[0].lease_ms), false)
            }
            Taker::Getter { session, no_ack } => (session, None, no_ack),
        };
        if no_ack {
            self.settle(key, index, offset);
            return Ok(());
        }
        let (line, _) = self.line(key, index);
        line.returned.remove(&offset);
        line.leases.insert(offset, Lease { number, batch, session, ends_ms });
        Ok(())
    }

    /// What a consumer consumes.
    pub fn key_of(&self, consumer: ConsumerKey) -> Option<Key> {
        let has_it = |s: &Subscription| s.consumers.iter().any(|other| other.key == consumer);
        self.subscriptions.iter().find(|(_, subscription)| has_it(subscription)).map(|(key, _)| *key)
    }

    pub fn add_credit(&mut self, key: Key, consumer: ConsumerKey, add: i64) {
        let subscription = self.subscriptions.entry(key).or_default();
        if let Some(consumer) = subscription.consumer(consumer) {
            consumer.credit = consumer.credit.saturating_add_signed(add);
        }
    }

    fn settles_at_once(&mut self, key: Key, taker: Taker) -> bool {
        let subscription = self.subscriptions.entry(key).or_default();
        match taker {
            Taker::Consumer(consumer) => subscription.consumer(consumer).is_some_and(|found| found.no_ack),
            Taker::Getter { no_ack, .. } => no_ack,
            Taker::Receiver { .. } => false,
        }
    }

    /// A batch has ended: a receive gets all that there is.
    pub fn end_batch(&mut self, key: Key, taker: Taker, (batch, count, max): (u64, u64, u64)) -> Said {
        must!(count <= max, "{taker:?} got {count}, and at most {max} was asked for");
        if let Taker::Receiver { .. } = taker {
            // Of a message group that was looked up late, a batch may get only a part.
            self.batches += 1;
            let batch = if self.groups[key.0].order == Order::Key { self.batches } else { batch };
            let next = self.next_to_get(key, batch);
            must!(count == max || next.is_empty(), "a receive got {count}, and not {next:?}");
            self.subscriptions.get_mut(&key).unwrap().receivers.remove(0);
        }
        for (key, index, offset) in std::mem::take(&mut self.passed_over) {
            self.settle(key, index, offset);
        }
        Ok(())
    }

    pub fn check_nothing_left(&mut self, key: Key) -> Said {
        self.batches += 1;
        let next = self.next_to_get(key, self.batches);
        must!(next.is_empty(), "{key:?} is told that there is nothing, and there is {next:?}");
        Ok(())
    }

    /// After a power cut the index of a queue is cut into blocks. One of which something has expired is looked through
    /// first, and what is in it may come a moment later.
    pub fn is_to_be_swept(&self, key: Key, index: u32) -> bool {
        let queue = self.queue(key.1, index);
        let mut entries = queue.entries.values();
        self.owns(key) && !queue.gaps.is_empty() && entries.any(|entry| self.is_expired(key.1, entry))
    }

    /// What must be handed out next. In strict order, what is late holds others up until it is gone.
    pub fn next_to_get(&mut self, key: Key, batch: u64) -> Vec<(u32, u64)> {
        let late = self.late_of(key);
        let mut next = match self.groups[key.0].order {
            Order::Any => self.next(key, batch),
            Order::Queue | Order::Key => self.next_without(key, batch, &BTreeSet::new()),
        };
        let is_late = |at: &(u32, u64)| late.iter().any(|late| *at == (late.0, late.1));
        next.retain(|at| !is_late(at) && !self.is_to_be_swept(key, at.0));
        next
    }

    pub fn settle(&mut self, key: Key, index: u32, offset: u64) {
        let (line, queue) = self.line(key, index);
        line.settle(queue, offset);
    }

    pub fn give_up(&mut self, key: Key, index: u32, offset: u64, reason: DeathReason) {
        let message = self.queue(key.1, index).entries[&offset].message.clone();
        self.settle(key, index, offset);
        let own = self.topics[key.1].rules.dead_letter.filter(|_| key.0 == key.1);
        if let Some(to) = own.or(self.groups[key.0].dead_letter) {
            self.line(key, index).0.dying.insert(offset);
            self.bury(key.1, to, &message, reason);
        }
    }

    /// One failed attempt more.
    pub fn fail(&mut self, key: Key, index: u32, offset: u64, delay_ms: Option<u64>) {
        let attempts = self.line(key, index).0.attempts(offset) + 1;
        if self.groups[key.0].is_used_up(attempts) {
            return self.give_up(key, index, offset, DeathReason::DeliveryLimit);
        }
        let delay_ms = delay_ms.unwrap_or(self.groups[key.0].backoff_ms(attempts));
        let (wall_ms, mono_ms) = (self.wall_ms, self.mono_ms);
        let (line, _) = self.line(key, index);
        line.failed.insert(offset, Failed { attempts, not_before_ms: wall_ms + delay_ms });
        line.come_back(offset, mono_ms + delay_ms, mono_ms);
    }

    /// Whether a receipt of an epoch up to this one ends its lease so.
    pub fn is_valid(
        &mut self,
        key: Key,
        index: u32,
        queue_id: u64,
        offset: u64,
        number: LeaseNumber,
        is_ack: bool,
    ) -> bool {
        if !self.is_there(key) || self.queue(key.1, index).id != queue_id {
            return false;
        }
        let (line, queue) = self.line(key, index);
        match line.leases.get(&offset) {
            _ if line.is_settled(offset) || !queue.entries.contains_key(&offset) => false,
            Some(lease) => lease.number == number,
            None => is_ack,
        }
    }

    /// A valid receipt is settled.
    pub fn end_lease(&mut self, key: Key, index: u32, offset: u64, outcome: Outcome) {
        match outcome {
            Outcome::Ack => self.settle(key, index, offset),
            Outcome::Retry { delay_ms } => self.fail(key, index, offset, delay_ms),
            Outcome::Reject => self.give_up(key, index, offset, DeathReason::Rejected),
            Outcome::Release => {
                let now_ms = self.mono_ms;
                self.line(key, index).0.come_back(offset, now_ms, now_ms);
            }
        }
    }

    pub fn extend(&mut self, key: Key, index: u32, offset: u64, lease_ms: u64) -> bool {
        let ends_ms = self.mono_ms + lease_ms;
        match self.line(key, index).0.leases.get_mut(&offset) {
            Some(Lease { ends_ms: Some(at), .. }) => {
                *at = ends_ms;
                true
            }
            _ => false,
        }
    }

    /// Whether a consumer may begin.
    pub fn consume(&mut self, key: Key, consumer: Consumer) -> bool {
        let single_active = self.groups[key.0].single_active;
        let others = &mut self.subscriptions.entry(key).or_default().consumers;
        let is_alone = others.is_empty() && !single_active;
        let may = (is_alone || !consumer.exclusive) && others.iter().all(|other| !other.exclusive);
        if may {
            others.push(consumer);
        }
        may
    }

    pub fn cancel(&mut self, key: Key, consumer: ConsumerKey) {
        let holds = self.leases_on(key) > 0;
        let subscription = self.subscriptions.get_mut(&key).unwrap();
        subscription.consumers.retain(|other| other.key != consumer);
        if subscription.active == Some(consumer) {
            subscription.active = None;
            subscription.hands_over |= holds;
        }
    }

    /// True while somebody consumes by lease.
    pub fn is_leased(&self, key: Key) -> bool {
        let is_asked = |s: &Subscription| !s.consumers.is_empty() || !s.receivers.is_empty();
        self.subscriptions.get(&key).is_some_and(is_asked) || self.leases_on(key) > 0
    }

    // Positions.

    /// First offset that is there.
    pub fn min_offset(&mut self, topic: Name, index: u32) -> u64 {
        let owns = self.groups.contains_key(topic) && self.owns((topic, topic));
        if owns { self.line((topic, topic), index).0.floor } else { 0 }
    }

    /// Settles what nobody holds.
    pub fn purge(&mut self, key: Key) -> u64 {
        let mut purged = 0;
        for index in 0..self.topics[key.1].rules.queues {
            let (line, queue) = self.line(key, index);
            let ready: Vec<u64> = line.ready(queue).collect();
            purged += ready.len() as u64;
            ready.into_iter().for_each(|offset| self.settle(key, index, offset));
        }
        purged
    }

    pub fn move_to(&mut self, key: Key, index: u32, offset: u64) {
        let owns = self.owns(key);
        let (line, queue) = self.line(key, index);
        line.move_to(queue, offset, owns);
    }

    /// A session is gone, and all that it held.
    pub fn disconnect(&mut self, session: u64) {
        self.producers.retain(|(producer, _)| *producer != session);
        self.locks.retain(|_, lock| lock.session != session);
        for subscription in self.subscriptions.values_mut() {
            subscription.consumers.retain(|consumer| consumer.key.0 != session);
            subscription.receivers.retain(|receiver| receiver.session != session);
            subscription.active = subscription.active.filter(|active| active.0 != session);
        }
        for (key, index, offset, lease) in self.all_leases() {
            if lease.session == session && lease.ends_ms.is_none() {
                self.count("leases that ended with their session", 1);
                self.fail(key, index, offset, Some(0));
            }
        }
    }

    pub fn all_leases(&self) -> Vec<(Key, u32, u64, Lease)> {
        let of_line = |((group, topic, index), line): (&(Name, Name, u32), &Line)| {
            let key = ((*group, *topic), *index);
            line.leases.iter().map(|(offset, lease)| (key.0, key.1, *offset, *lease)).collect::<Vec<_>>()
        };
        self.lines.iter().flat_map(of_line).collect()
    }

    pub fn leases_on(&self, key: Key) -> usize {
        self.all_leases().iter().filter(|(of, ..)| *of == key).count()
    }
}
