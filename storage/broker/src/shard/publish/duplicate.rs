//! What was stored before and is sent again: told by its key, answered with the first one's receipt, and not stored.

use super::*;
use crate::deduplication::Remembered;

impl Chosen {
    pub(super) fn duplicate_of(first: Option<Stored>) -> Self {
        Chosen { places: Places::new(), durability: Durability::Memory, full: None, first }
    }

    /// True where all topics have the message already.
    pub(super) fn is_duplicate(&self) -> bool {
        self.places.is_empty() && self.first.is_some()
    }
}

impl Shard {
    /// What a topic remembers of a message that it has stored already; `None` for any other message.
    pub(super) fn first_in(&self, topic: TopicId, wanted: &Wanted) -> Result<Option<Stored>, Error> {
        let Some(key) = &wanted.key else { return Ok(None) };
        let Some(window_ms) = self.state.window_ms(topic) else {
            return match self.state.topics.get(&topic) {
                // A light queue that a message names besides its topic gets what that stores.
                Some(found) if found.shared.lite_of.is_some() && wanted.own != Some(topic) => Ok(None),
                Some(found) if wanted.needs_deduplication => {
                    Err(Error::NoDeduplication(found.shared.name.to_string()))
                }
                _ => Ok(None),
            };
        };
        let first = self.state.windows().first(topic, key, (window_ms, wanted.now_ms))?;
        Ok(first.map(|Remembered { position, queue_index, offset, .. }| {
            let queues = u32::from(offset.is_some());
            Stored { position, queue_index, offset, queues, duplicate: true }
        }))
    }

    /// A duplicate is answered no sooner than its first is on the disk, however little that one was to wait for: whoever
    /// sends again asks whether it is safe.
    pub(super) fn durability_of_duplicate(&self, first: &Stored) -> Durability {
        let is_synced = first.position < self.synced_to || planted(Bug::DuplicateToldEarly);
        if is_synced { Durability::Memory } else { Durability::Disk }
    }

    /// A message with a key was stored: those that deduplicate among its topics remember it.
    pub(super) fn remember(
        &mut self,
        item: &PublishItem,
        key: DeduplicationKey,
        places: &[Place],
        (position, store_ms): (Position, u64),
    ) {
        for place in places {
            let Some(topic) = self.state.queues.get(&place.queue.id).map(|queue| queue.topic) else {
                continue;
            };
            let offset = (!item.waits()).then_some(place.offset);
            let queue_index = place.queue.index;
            self.state.remember(topic, key, Remembered { position, queue_index, offset, store_ms });
        }
    }
}
