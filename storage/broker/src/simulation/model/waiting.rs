//! The model of messages that wait for their time, which the wall clock tells.

use std::collections::BTreeSet;

use super::broker::{Coming, Model};
use super::queue::{Message, Name};
use super::{Said, must};
use crate::policy::Overflow;

/// Due time and number: the order in which messages come.
pub type WaitKey = (u64, u64);

#[derive(Clone, Debug)]
pub struct Waiting {
    pub topic: Name,
    pub queue: Option<u32>,
    pub message: Message,
}

impl Model {
    /// One is published to be seen from a time on. Whether there is room for it is asked then.
    pub fn wait(&mut self, topic: Name, queue: Option<u32>, message: Message, due_ms: u64) {
        self.waiting.insert((due_ms, message.number), Waiting { topic, queue, message });
    }

    /// False where it does not wait any more.
    pub fn recall(&mut self, number: u64, topic: Option<Name>) -> bool {
        let is_it = |(key, waiting): &(&WaitKey, &Waiting)| {
            key.1 == number && topic.is_none_or(|topic| topic == waiting.topic)
        };
        let key = self.waiting.iter().find(is_it).map(|(key, _)| *key);
        key.and_then(|key| self.waiting.remove(&key)).is_some()
    }

    /// A topic that refuses what it has no room for is tried again and again; until when is left open.
    fn may_be_put_off(&self, topic: Name) -> bool {
        let rules = &self.topics[topic].rules;
        rules.length_max.is_some() && rules.overflow != Overflow::DropHead
    }

    /// Topics for which messages wait until there is room.
    pub fn put_off(&self) -> BTreeSet<Name> {
        let topics = self.waiting.values().map(|waiting| waiting.topic);
        topics.filter(|topic| self.may_be_put_off(topic)).collect()
    }

    /// What must have come by now, the first first.
    pub fn overdue(&self) -> Option<WaitKey> {
        let due = self.waiting.range(..=(self.wall_ms, u64::MAX));
        let mut sure = due.filter(|(_, waiting)| !self.may_be_put_off(waiting.topic));
        sure.next().map(|(key, _)| *key)
    }

    /// When the next one is due, in monotonic time.
    pub fn next_due_ms(&self) -> Option<u64> {
        let mut sure = self.waiting.iter().filter(|(_, waiting)| !self.may_be_put_off(waiting.topic));
        sure.next().map(|(key, _)| self.mono_ms + key.0.saturating_sub(self.wall_ms))
    }

    /// A message is in a topic: if it waited, its time has come, and it is the next.
    pub fn end_wait(&mut self, number: u64) -> Said {
        let Some(key) = self.waiting.keys().find(|key| key.1 == number).copied() else { return Ok(()) };
        must!(key.0 <= self.wall_ms, "message {number} comes {} ms early", key.0 - self.wall_ms);
        let topic = self.waiting[&key].topic;
        if self.may_be_put_off(topic) {
            must!(!self.is_full(topic), "message {number} comes to {topic}, which is full");
        } else {
            let next = self.overdue();
            must!(next == Some(key), "message {number} comes before {next:?}");
        }
        let Waiting { topic, queue, message } = self.waiting.remove(&key).unwrap();
        self.count("messages that waited", 1);
        self.coming.push(Coming { topic, queue, message });
        Ok(())
    }
}
