//! What topics remember of the messages that they have stored, so that a message which is sent again is stored once. It
//! decides by key and age; it reads no clock and no file.
//!
//! **What survives.** The record of a message that has a key says it, in its annex
//! [`mailrail_message::AnnexKind::Deduplication`], and its store time. So the windows are what the log adds up to: a
//! publish that was refused, or that a crash took away, is not in them, and its key is free. An entry outlives the
//! record that it came from, by trim, purge or expiry: what was sent was sent.
//!
//! **What is forgotten.** A topic's oldest entries, once they are older than its window, a few with each new one; until
//! then they count for nothing. Of one producer's sequence numbers only the newest
//! [`DEDUPLICATION_PRODUCER_RECEIPTS_MAX`] are kept, the highest of which stands for all below. With more than
//! [`DEDUPLICATION_TOPIC_ENTRIES_MAX`] of a topic or [`DEDUPLICATION_ENTRIES_MAX`] of all the oldest go early: a window
//! gets shorter, but no message is refused or taken for another one.
//!
//! **What is where.** All are in memory, by topic. A checkpoint has those of one topic and one region of the log as one
//! piece, and writes the pieces in which something changed.

mod image;
mod key;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

pub(crate) use self::image::RememberedImage;
pub use self::key::DeduplicationKey;
use crate::error::Error;
use crate::ids::TopicId;
use crate::limits::{
    DEDUPLICATION_ENTRIES_MAX, DEDUPLICATION_PRODUCER_RECEIPTS_MAX, DEDUPLICATION_TOPIC_ENTRIES_MAX,
};

/// Messages whose records lie in one part of 2 to this many bytes of the log are one piece of the state, for each topic.
const REGION_BITS: u32 = 16;
/// Old entries that go with a new one, at most: more than one, so that there are ever fewer.
const OUTDATED_AT_ONCE: usize = 4;

/// Where the first message with a key went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// Of its record.
    pub position: u64,
    pub queue_index: u32,
    /// `None` where it waited for its time or its producer.
    pub offset: Option<u64>,
    pub store_ms: u64,
}

/// What one topic remembers.
#[derive(Debug, Default)]
struct Window {
    known: BTreeMap<DeduplicationKey, Remembered>,
    /// Keys by the positions of their records, the oldest first.
    order: BTreeMap<u64, DeduplicationKey>,
    /// Regions that come from a checkpoint, with the log position up to which it holds them.
    as_of: FxHashMap<u64, u64>,
}

/// What all topics remember.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    topics: FxHashMap<TopicId, Window>,
    /// Topics by how much they remember.
    sizes: BTreeSet<(usize, TopicId)>,
    entries: usize,
}

/// The region in which a record lies.
pub(crate) fn region_of(position: u64) -> u64 {
    position >> REGION_BITS
}

impl Remembered {
    fn is_within(&self, window_ms: u64, now_ms: u64) -> bool {
        now_ms < self.store_ms.saturating_add(window_ms)
    }
}

impl Windows {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether a topic has stored a message with this key within its window: `Ok` with what is remembered of it, or
    /// `None` for a new one. Errors: [`Error::Forgotten`], [`Error::OutOfSequence`].
    pub fn first(
        &self,
        topic: TopicId,
        key: &DeduplicationKey,
        (window_ms, now_ms): (u64, u64),
    ) -> Result<Option<Remembered>, Error> {
        let Some(window) = self.topics.get(&topic) else { return Ok(None) };
        let DeduplicationKey::Sequence { sequence, .. } = *key else {
            let first = window.known.get(key).copied();
            return Ok(first.filter(|first| first.is_within(window_ms, now_ms)));
        };
        let mut of_producer = window.of_producer(key);
        let newest = of_producer.next_back().filter(|(_, newest)| newest.is_within(window_ms, now_ms));
        let Some((highest, newest)) = newest else { return Ok(None) };
        let oldest = of_producer.next().map_or(highest, |(oldest, _)| oldest);
        match window.known.get(key) {
            _ if sequence > highest => Ok(None),
            _ if sequence == highest => Ok(Some(*newest)),
            Some(first) => Ok(Some(*first)),
            None if sequence < oldest => Err(Error::Forgotten { sequence, highest }),
            None => Err(Error::OutOfSequence { sequence, highest }),
        }
    }

    /// Positions, with their topics, of what is to be forgotten before a message of a store time is remembered that has
    /// this key.
    pub fn in_the_way(
        &self,
        topic: TopicId,
        key: &DeduplicationKey,
        (window_ms, store_ms): (u64, u64),
    ) -> Vec<(TopicId, u64)> {
        let mut gone = BTreeSet::new();
        let of_topic = self.topics.get(&topic);
        if let Some(window) = of_topic {
            gone.extend(window.known.get(key).map(|before| (topic, before.position)));
            let oldest = window.order.iter().take(OUTDATED_AT_ONCE);
            let is_outdated = |key| window.known.get(key).is_none_or(|e| !e.is_within(window_ms, store_ms));
            gone.extend(oldest.filter(|(_, key)| is_outdated(key)).map(|(position, _)| (topic, *position)));
            let mut of_producer = window.of_producer(key);
            if of_producer.clone().count() >= DEDUPLICATION_PRODUCER_RECEIPTS_MAX {
                gone.extend(of_producer.next().map(|(_, oldest)| (topic, oldest.position)));
            }
            // A producer whose messages are all outdated may begin again with any number.
            let not_below = of_producer.filter(|(sequence, _)| Some(*sequence) >= key.sequence());
            gone.extend(not_below.map(|(_, outdated)| (topic, outdated.position)));
            if window.known.len() >= DEDUPLICATION_TOPIC_ENTRIES_MAX && gone.is_empty() {
                gone.extend(window.order.keys().next().map(|position| (topic, *position)));
            }
        }
        if self.entries >= DEDUPLICATION_ENTRIES_MAX && gone.is_empty() {
            let largest = self.sizes.last().and_then(|(_, topic)| Some((*topic, self.topics.get(topic)?)));
            gone.extend(largest.and_then(|(topic, window)| Some((topic, *window.order.keys().next()?))));
        }
        gone.into_iter().collect()
    }

    /// A message with a key was stored in a topic. One with the same key that was stored before it is forgotten, and one
    /// that was stored behind it stays.
    pub fn add(&mut self, topic: TopicId, key: DeduplicationKey, remembered: Remembered) {
        let window = self.topics.entry(topic).or_default();
        let before = window.known.len();
        if window.known.get(&key).is_none_or(|known| known.position < remembered.position) {
            if let Some(known) = window.known.insert(key, remembered) {
                window.order.remove(&known.position);
            }
            window.order.insert(remembered.position, key);
        }
        let after = window.known.len();
        self.resized(topic, before, after);
    }

    /// Forgets the message whose record is at a position.
    pub fn forget(&mut self, topic: TopicId, position: u64) {
        let Some(window) = self.topics.get_mut(&topic) else { return };
        let before = window.known.len();
        if let Some(key) = window.order.remove(&position) {
            window.known.remove(&key);
        }
        let after = window.known.len();
        self.resized(topic, before, after);
    }

    /// Forgets all that a topic remembers.
    pub fn forget_topic(&mut self, topic: TopicId) {
        if let Some(window) = self.topics.remove(&topic) {
            self.resized(topic, window.known.len(), 0);
        }
    }

    fn resized(&mut self, topic: TopicId, before: usize, after: usize) {
        if before != after {
            self.sizes.remove(&(before, topic));
            self.sizes.extend((after > 0).then_some((after, topic)));
            self.entries = self.entries + after - before;
        }
    }

    /// Topics that remember something, or did when they were put back.
    pub fn topics(&self) -> impl Iterator<Item = TopicId> {
        self.topics.keys().copied()
    }

    /// True where a checkpoint already holds what the record at a position did to a topic's window.
    pub fn is_known(&self, topic: TopicId, record: u64) -> bool {
        let as_of = self.topics.get(&topic).and_then(|window| window.as_of.get(&region_of(record)));
        as_of.is_some_and(|as_of| record < *as_of)
    }
}

impl Window {
    /// Messages of the producer of a sequence number, by their own; of any other key none.
    fn of_producer(
        &self,
        key: &DeduplicationKey,
    ) -> impl DoubleEndedIterator<Item = (u64, &Remembered)> + Clone + use<'_> {
        let range = key.of_producer().map(|producer| self.known.range(producer));
        range.into_iter().flatten().filter_map(|(key, remembered)| Some((key.sequence()?, remembered)))
    }
}
