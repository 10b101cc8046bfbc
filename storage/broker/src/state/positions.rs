//! Positions of groups on queues, found by either: with many thousand queues of one group each, nobody may look at all.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::ProgressState;
use crate::ids::{GroupId, QueueId};

#[derive(Debug, Default)]
pub(super) struct Positions {
    all: FxHashMap<(GroupId, QueueId), ProgressState>,
    by_queue: BTreeSet<(QueueId, GroupId)>,
    /// On how many queues each group has one.
    queues_of: FxHashMap<GroupId, usize>,
}

impl Positions {
    pub fn get(&self, key: (GroupId, QueueId)) -> Option<&ProgressState> {
        self.all.get(&key)
    }

    /// The position, made if it is not there.
    pub fn entry(&mut self, key: (GroupId, QueueId)) -> &mut ProgressState {
        let (group, queue) = key;
        self.all.entry(key).or_insert_with(|| {
            self.by_queue.insert((queue, group));
            *self.queues_of.entry(group).or_default() += 1;
            ProgressState::default()
        })
    }

    /// False when there was none.
    pub fn remove(&mut self, key: (GroupId, QueueId)) -> bool {
        let (group, queue) = key;
        if self.all.remove(&key).is_none() {
            return false;
        }
        self.by_queue.remove(&(queue, group));
        let left = self.queues_of.get_mut(&group).map_or(0, |count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == 0 {
            self.queues_of.remove(&group);
        }
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = (&(GroupId, QueueId), &ProgressState)> {
        self.all.iter()
    }

    /// Groups that have a position on a queue, in order.
    pub fn groups_on(&self, queue: QueueId) -> Vec<GroupId> {
        let from = (queue, GroupId(0))..=(queue, GroupId(u64::MAX));
        self.by_queue.range(from).map(|(_, group)| *group).collect()
    }

    pub fn has(&self, group: GroupId) -> bool {
        self.queues_of.contains_key(&group)
    }
}
