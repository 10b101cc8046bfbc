//! Deduplication windows in the state: what records of messages with keys, and changes of topics, do to them.

use super::*;
use crate::deduplication::{DeduplicationKey, Remembered, Windows, region_of};

impl State {
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// For how long a topic remembers what it has stored; `None` = it does not.
    pub fn window_ms(&self, topic: TopicId) -> Option<u64> {
        self.topics.get(&topic)?.policy.deduplication_window_ms
    }

    /// A message with a key was stored in a topic, by the record at its position.
    pub fn remember(&mut self, topic: TopicId, key: DeduplicationKey, remembered: Remembered) {
        let Some(window_ms) = self.window_ms(topic) else { return };
        if self.windows.is_known(topic, remembered.position) {
            return;
        }
        for (topic, position) in self.windows.in_the_way(topic, &key, (window_ms, remembered.store_ms)) {
            self.changing_window(topic, region_of(position));
            self.windows.forget(topic, position);
        }
        self.changing_window(topic, region_of(remembered.position));
        self.windows.add(topic, key, remembered);
    }

    /// Everything that a topic remembers is forgotten.
    pub(super) fn forget_window(&mut self, topic: TopicId) {
        for region in self.windows.regions(topic) {
            self.changing_window(topic, region);
        }
        self.windows.forget_topic(topic);
    }

    /// Drops windows of topics that are not there, or have none any more.
    pub(super) fn drop_orphaned_windows(&mut self) {
        let topics: Vec<TopicId> = self.windows.topics().collect();
        let orphaned = |topic: &TopicId| self.window_ms(*topic).is_none();
        let orphaned: Vec<TopicId> = topics.into_iter().filter(orphaned).collect();
        orphaned.into_iter().for_each(|topic| self.forget_window(topic));
    }

    fn changing_window(&mut self, topic: TopicId, region: u64) {
        let key = ItemKey::Window(topic, region);
        self.before_change(key);
        self.dirty.insert(key);
    }
}
