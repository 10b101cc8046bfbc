//! Windows as pieces of the state: of one topic, those whose records lie in one region of the log together.

use serde::{Deserialize, Serialize};

use super::{DeduplicationKey, REGION_BITS, Remembered, Windows, region_of};
use crate::ids::TopicId;

/// A remembered message in a checkpoint or a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RememberedImage {
    key: DeduplicationKey,
    position: u64,
    queue_index: u32,
    offset: Option<u64>,
    store_ms: u64,
}

impl Windows {
    /// All pieces.
    pub fn pieces(&self) -> Vec<(TopicId, u64)> {
        self.topics()
            .flat_map(|topic| self.regions(topic).into_iter().map(move |region| (topic, region)))
            .collect()
    }

    /// Regions of a topic's window.
    pub fn regions(&self, topic: TopicId) -> Vec<u64> {
        let Some(window) = self.topics.get(&topic) else { return Vec::new() };
        let mut regions = Vec::new();
        let mut from = 0;
        while let Some((position, _)) = window.order.range(from..).next() {
            let region = region_of(*position);
            regions.push(region);
            from = (region + 1) << REGION_BITS;
        }
        regions
    }

    /// What is remembered of a region; `None` where that is nothing.
    pub fn image(&self, topic: TopicId, region: u64) -> Option<Vec<RememberedImage>> {
        let window = self.topics.get(&topic)?;
        let inside = window.order.range(region << REGION_BITS..(region + 1) << REGION_BITS);
        let image = inside.filter_map(|(position, key)| {
            let Remembered { queue_index, offset, store_ms, .. } = *window.known.get(key)?;
            Some(RememberedImage { key: *key, position: *position, queue_index, offset, store_ms })
        });
        let image: Vec<RememberedImage> = image.collect();
        Some(image).filter(|image| !image.is_empty())
    }

    /// Puts a piece back that was taken at `as_of`.
    pub fn restore(&mut self, as_of: u64, topic: TopicId, region: u64, image: Vec<RememberedImage>) {
        self.topics.entry(topic).or_default().as_of.insert(region, as_of);
        for RememberedImage { key, position, queue_index, offset, store_ms } in image {
            self.add(topic, key, Remembered { position, queue_index, offset, store_ms });
        }
    }
}
