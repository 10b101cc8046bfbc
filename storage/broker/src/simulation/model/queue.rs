//! The model of a queue: entries at offsets, and nothing else.

use std::collections::BTreeMap;

use mailrail_message::DeathReason;

/// A topic or a group.
pub type Name = &'static str;

/// A message as it was sent, by the number in its body, with what it has been through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub number: u64,
    pub ttl_ms: Option<u64>,
    /// 0 = none.
    pub key: u8,
    pub priority: u8,
    /// The newest first.
    pub deaths: Vec<Death>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    pub topic: Name,
    pub reason: DeathReason,
    pub count: u64,
}

impl Message {
    /// The copy that goes to the dead letters. It expires no more.
    pub fn died(&self, topic: Name, reason: DeathReason) -> Message {
        let mut deaths = self.deaths.clone();
        let known = deaths.iter().position(|death| death.topic == topic && death.reason == reason);
        let count = known.map_or(0, |at| deaths.remove(at).count) + 1;
        deaths.insert(0, Death { topic, reason, count });
        Message { ttl_ms: None, deaths, ..self.clone() }
    }

    /// It died in that topic, and nobody has rejected it since.
    pub fn goes_round_to(&self, topic: Name) -> bool {
        let back = self.deaths.iter().position(|death| death.topic == topic);
        back.is_some_and(|at| self.deaths[..=at].iter().all(|death| death.reason != DeathReason::Rejected))
    }
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub message: Message,
    /// As far as the topic has priorities.
    pub priority: u8,
    pub store_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// As the broker numbers it.
    pub id: u64,
    pub entries: BTreeMap<u64, Entry>,
    /// Runs (first, end) that no message has or will have.
    pub gaps: Vec<(u64, u64)>,
    pub next: u64,
    /// Entries below can be seen.
    pub visible: u64,
    /// Offsets below were seen before what they named was lost.
    pub seen_to: u64,
}

impl Queue {
    pub fn append(&mut self, offset: u64, entry: Entry) {
        self.entries.insert(offset, entry);
        self.next = offset + 1;
    }

    /// No message has the offsets up to one.
    pub fn skip_to(&mut self, offset: u64) {
        if offset > self.next {
            self.gaps.push((self.next, offset));
            self.next = offset;
        }
    }

    pub fn last_store_ms(&self) -> u64 {
        self.entries.values().next_back().map_or(0, |entry| entry.store_ms)
    }

    /// Where the gap ends that an offset is in.
    pub fn end_of_gap(&self, offset: u64) -> Option<u64> {
        self.gaps.iter().find(|(first, end)| (*first..*end).contains(&offset)).map(|(_, end)| *end)
    }

    /// Offsets that can be seen.
    pub fn seen_from(&self, offset: u64) -> impl Iterator<Item = u64> + '_ {
        self.entries.range(offset.min(self.visible)..self.visible).map(|(offset, _)| *offset)
    }
}
