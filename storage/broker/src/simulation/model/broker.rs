//! The model of the delivery core: what acts do to it, and what the broker may do now. Plain lists, no cleverness.

use std::collections::{BTreeMap, BTreeSet};

use mailrail_message::DeathReason;

use super::halves::Half;
use super::line::Line;
use super::locks::Lock;
use super::queue::{Entry, Message, Name, Queue};
use super::subscription::{ConsumerKey, Subscription};
use super::waiting::{WaitKey, Waiting};
use super::{Said, must};
use crate::policy::Overflow;
use crate::settings::Order;

/// A group on a topic.
pub type Key = (Name, Name);

#[derive(Clone, Debug)]
pub struct TopicRules {
    pub queues: u32,
    /// Messages go when the group of the topic's name settles them.
    pub is_owned: bool,
    pub ttl_ms: Option<u64>,
    pub priority_max: u8,
    pub length_max: Option<u64>,
    pub overflow: Overflow,
    pub dead_letter: Option<Name>,
}

#[derive(Clone, Debug)]
pub struct GroupRules {
    pub attempts_max: Option<u32>,
    pub backoff_ms: Vec<u64>,
    pub dead_letter: Option<Name>,
    pub order: Order,
    pub single_active: bool,
}

impl GroupRules {
    pub fn is_used_up(&self, attempts: u32) -> bool {
        self.attempts_max.is_some_and(|max| attempts > max)
    }

    pub fn backoff_ms(&self, attempts: u32) -> u64 {
        let wait = self.backoff_ms.get(attempts as usize - 1).or(self.backoff_ms.last());
        wait.copied().unwrap_or(0)
    }
}

#[derive(Clone, Debug)]
pub struct Topic {
    pub rules: TopicRules,
    pub queues: Vec<Queue>,
}

/// A message that must be appended before the broker comes to rest.
#[derive(Clone, Debug)]
pub struct Coming {
    pub topic: Name,
    pub queue: Option<u32>,
    pub message: Message,
}

/// Who is handed a batch.
#[derive(Clone, Copy, Debug)]
pub enum Taker {
    Consumer(ConsumerKey),
    Receiver { session: u64, token: u64 },
    Getter { session: u64, no_ack: bool },
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub wall_ms: u64,
    pub mono_ms: u64,
    pub topics: BTreeMap<Name, Topic>,
    pub groups: BTreeMap<Name, GroupRules>,
    /// By group, topic and the queue's number.
    pub lines: BTreeMap<(Name, Name, u32), Line>,
    pub subscriptions: BTreeMap<Key, Subscription>,
    pub locks: BTreeMap<(Key, u32), Lock>,
    pub coming: Vec<Coming>,
    pub waiting: BTreeMap<WaitKey, Waiting>,
    /// By their numbers, which is the order in which they were stored.
    pub halves: BTreeMap<u64, Half>,
    /// Who may be asked for half messages of a group: sessions.
    pub producers: BTreeSet<(u64, Name)>,
    pub batches: u64,
    /// Of the batch that is being handed out: what the group does without.
    pub passed_over: Vec<(Key, u32, u64)>,
    pub counts: BTreeMap<&'static str, u64>,
}

impl Model {
    pub fn count(&mut self, what: &'static str, times: usize) {
        *self.counts.entry(what).or_default() += times as u64;
    }

    pub fn is_there(&self, key: Key) -> bool {
        self.topics.contains_key(key.1) && self.groups.contains_key(key.0)
    }

    pub fn queue(&self, topic: Name, index: u32) -> &Queue {
        &self.topics[topic].queues[index as usize]
    }

    pub fn line(&mut self, (group, topic): Key, index: u32) -> (&mut Line, &Queue) {
        let queue = &self.topics[topic].queues[index as usize];
        let line = self.lines.entry((group, topic, index)).or_default();
        line.move_floor(queue);
        (line, queue)
    }

    pub fn owns(&self, (group, topic): Key) -> bool {
        group == topic && self.topics[topic].rules.is_owned
    }

    pub fn is_expired(&self, topic: Name, entry: &Entry) -> bool {
        let limits = [entry.message.ttl_ms, self.topics[topic].rules.ttl_ms];
        let lives_ms = limits.into_iter().flatten().min();
        lives_ms.is_some_and(|ms| entry.store_ms + ms <= self.wall_ms)
    }

    pub fn ready(&mut self, key: Key) -> u64 {
        let queues = self.topics[key.1].rules.queues;
        let ready = |index| {
            let (line, queue) = self.line(key, index);
            line.ready(queue).count() as u64
        };
        (0..queues).map(ready).sum()
    }

    // Messages on their way in.

    /// Whether a topic is too full for one more beside those that are on their way.
    pub fn is_full(&mut self, topic: Name) -> bool {
        let rules = self.topics[topic].rules.clone();
        let on_their_way = self.coming.iter().filter(|coming| coming.topic == topic).count() as u64;
        let max = rules.length_max.filter(|_| rules.overflow != Overflow::DropHead);
        let Some(max) = max else { return false };
        let (line, queue) = self.line((topic, topic), 0);
        let is_ready = |offset: &&u64| !line.is_settled(**offset) && !line.leases.contains_key(offset);
        queue.entries.keys().filter(is_ready).count() as u64 + on_their_way + 1 > max
    }

    /// One is published; false where it is refused.
    pub fn publish(&mut self, topic: Name, queue: Option<u32>, message: &Message) -> bool {
        if self.is_full(topic) {
            self.count("refused because full", 1);
            if self.topics[topic].rules.overflow == Overflow::RejectToDeadLetter
                && let Some(to) = self.topics[topic].rules.dead_letter
            {
                self.bury(topic, to, message, DeathReason::LengthLimit);
            }
            return false;
        }
        self.coming.push(Coming { topic, queue, message: message.clone() });
        true
    }

    pub fn bury(&mut self, topic: Name, to: Name, message: &Message, reason: DeathReason) {
        let copy = message.died(topic, reason);
        let is_open = reason == DeathReason::Rejected || !copy.goes_round_to(to);
        if is_open && self.topics.contains_key(to) && !self.is_full(to) {
            self.count(
                match reason {
                    DeathReason::Expired => "dead letters: expired",
                    DeathReason::LengthLimit => "dead letters: too many",
                    DeathReason::DeliveryLimit => "dead letters: attempts used up",
                    DeathReason::Rejected => "dead letters: rejected",
                },
                1,
            );
            self.coming.push(Coming { topic: to, queue: None, message: copy });
        }
    }

    /// The broker has appended a message.
    pub fn arrived(
        &mut self,
        topic: Name,
        index: u32,
        offset: u64,
        store_ms: u64,
        (number, deaths): (u64, &[super::queue::Death]),
    ) -> Said {
        let is_it = |coming: &Coming| {
            coming.topic == topic
                && coming.message.number == number
                && coming.message.deaths == deaths
                && coming.queue.is_none_or(|queue| queue == index)
        };
        self.end_wait(number)?;
        if !self.coming.iter().any(is_it) {
            self.end_late_by_death(topic, number)?;
        }
        let at = self.coming.iter().position(is_it);
        let why =
            || format!("{:?} are expected, not {number} in {topic}/{index} with {deaths:?}", self.coming);
        let at = at.ok_or_else(why)?;
        let message = self.coming.remove(at).message;
        let priority_max = self.topics[topic].rules.priority_max;
        let priority = message.priority.min(priority_max);
        let now_ms = self.wall_ms;
        let queue = &mut self.topics.get_mut(topic).unwrap().queues[index as usize];
        must!(
            offset == queue.next,
            "message {number} got offset {offset} of {topic}/{index}, not {}",
            queue.next
        );
        must!(
            store_ms == now_ms.max(queue.last_store_ms()),
            "message {number} has the store time {store_ms}"
        );
        queue.append(offset, Entry { message, priority, store_ms });
        Ok(())
    }
}
