//! What the shard counts: gathered while it works, and added to what everybody sees once a turn.

use super::*;
use crate::publish::{Destination, PublishItem};
use crate::queue::Queue;
use crate::statistics::{Meter, group, queue};

/// Counts of a turn, and the meters they go to.
#[derive(Default)]
pub(super) struct Counts {
    groups: FxHashMap<Line, [u64; group::COUNTS]>,
    meters: BTreeMap<(TopicId, GroupId), Arc<Meter<{ group::COUNTS }>>>,
    refused: FxHashMap<Option<TopicId>, u64>,
    /// Messages in queues, and their bytes.
    received: (u64, u64),
}

impl Counts {
    /// Counts something that a group did on a queue; `what` is a place of [`group`].
    pub fn add(&mut self, line: Line, what: usize, count: u64) {
        if let Some(counter) = self.groups.entry(line).or_default().get_mut(what) {
            *counter += count;
        }
    }

    /// A batch has put so many messages into a queue.
    pub fn received(&mut self, now: Now, queue: &Queue, messages: u64, bytes: u64) {
        queue.count(now.mono, &queue::received(messages, bytes));
        self.received.0 += messages;
        self.received.1 += bytes;
    }

    /// A message was not taken.
    pub fn refused(&mut self, item: &PublishItem) {
        let topic = match &item.destination {
            Destination::Topic { topic, .. } => Some(*topic),
            Destination::Topics(_) | Destination::Routed(_) | Destination::Exchange { .. } => None,
        };
        self.refused_by(topic);
    }

    /// A topic did not take a message, or nobody knows which.
    fn refused_by(&mut self, topic: Option<TopicId>) {
        *self.refused.entry(topic).or_default() += 1;
    }

    fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.refused.is_empty() && self.received == (0, 0)
    }

    /// A topic is no more, or a group has left it: what comes later is counted anew.
    pub fn forget(&mut self, group: Option<GroupId>, topic: TopicId) {
        let first = (topic, GroupId(0));
        let of_topic: Vec<_> =
            self.meters.range(first..).map(|(key, _)| *key).take_while(|key| key.0 == topic).collect();
        for key in of_topic.into_iter().filter(|key| group.is_none_or(|group| group == key.1)) {
            self.meters.remove(&key);
        }
    }
}

impl Shard {
    /// Counts a message that was not taken, by the topic that is full if it is for that.
    pub(super) fn count_refused(&mut self, item: &PublishItem, error: &Error) {
        match error {
            Error::Full { topic, .. } => {
                let topic = self.state.directory.topic(topic).map(|topic| topic.id);
                self.counts.refused_by(topic);
            }
            _ => self.counts.refused(item),
        }
    }

    /// Shows what was counted in this turn.
    pub(super) fn show_counts(&mut self, now: Now) {
        let directory = &self.state.directory;
        if self.counts.is_empty() {
            return;
        }
        let Counts { groups, meters, refused, received } = &mut self.counts;
        for (line, counts) in groups.drain() {
            // The group may have left the topic since.
            let is_there = self.state.progress(line.0, line.1).is_some();
            let queue = self.state.queues.get(&line.1).filter(|_| is_there);
            let Some(topic) = queue.map(|queue| queue.topic) else { continue };
            // Light queues may be very many.
            let is_lite = |topic: &crate::state::TopicState| topic.shared.lite_of.is_some();
            if self.state.topics.get(&topic).is_none_or(is_lite) {
                continue;
            }
            let key = (topic, line.0);
            let meter = meters.entry(key).or_insert_with(|| directory.statistics().group_or_new(key));
            meter.add(now.mono, &counts);
        }
        let (messages, bytes) = std::mem::take(received);
        if messages > 0 {
            directory.statistics().all.add(now.mono, &queue::received(messages, bytes));
        }
        for (topic, count) in refused.drain() {
            directory.statistics().refused.add(now.mono, &[count]);
            if let Some(topic) = topic.and_then(|topic| self.state.topics.get(&topic)) {
                topic.shared.refused.add(now.mono, &[count]);
            }
        }
    }
}
