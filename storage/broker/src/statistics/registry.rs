//! Where those counts are found that belong to no topic: of groups, of clients, and of the broker as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use super::client::Client;
use super::{GroupTotals, Meter, TopicTotals, add_all, group, queue};
use crate::ids::{GroupId, TopicId};
use crate::time::Now;

/// Shared by the shard, readers and whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    started: OnceLock<Now>,
    pub all: Meter<{ queue::COUNTS }>,
    pub refused: Meter<1>,
    groups: RwLock<Groups>,
    /// What topics had counted that are deleted.
    topics_gone: Mutex<TopicTotals>,
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_client: AtomicU64,
}

#[derive(Debug, Default)]
struct Groups {
    meters: BTreeMap<GroupKey, Arc<GroupMeter>>,
    /// What those had counted that are forgotten.
    gone: GroupTotals,
}

/// A group on a topic.
pub(crate) type GroupKey = (TopicId, GroupId);
pub(crate) type GroupMeter = Meter<{ group::COUNTS }>;

impl Statistics {
    /// Counting begins. What is called later changes nothing.
    pub fn start(&self, now: Now) {
        self.started.get_or_init(|| now);
    }

    pub fn started(&self) -> Now {
        let zero = Now { wall_ms: 0, mono: std::time::Duration::ZERO };
        self.started.get().copied().unwrap_or(zero)
    }

    /// The counts of a group on a topic, if it did anything there.
    pub fn group(&self, key: (TopicId, GroupId)) -> Option<Arc<GroupMeter>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).meters.get(&key).cloned()
    }

    pub fn group_or_new(&self, key: (TopicId, GroupId)) -> Arc<GroupMeter> {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).meters.entry(key).or_default().clone()
    }

    /// What each group did on each topic, and what those did that are forgotten: nothing is in both, or missing.
    pub fn group_totals(&self) -> (Vec<(GroupKey, GroupTotals)>, GroupTotals) {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        (groups.meters.iter().map(|(key, meter)| (*key, meter.counts())).collect(), groups.gone)
    }

    /// A topic is no more.
    pub fn topic_gone(&self, totals: &TopicTotals) {
        add_all(&mut self.topics_gone.lock().unwrap_or_else(PoisonError::into_inner), totals);
    }

    pub fn topics_gone(&self) -> TopicTotals {
        *self.topics_gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the counts of a topic's groups, or of one of them.
    pub fn forget(&self, group: Option<GroupId>, topic: TopicId) {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let Groups { meters, gone } = &mut *groups;
        let first = (topic, group.unwrap_or(GroupId(0)));
        let is_it = |key: &(TopicId, GroupId)| key.0 == topic && group.is_none_or(|group| group == key.1);
        while let Some(key) = meters.range(first..).next().map(|(key, _)| *key).filter(is_it) {
            meters.remove(&key).into_iter().for_each(|meter| add_all(gone, &meter.counts()));
        }
    }

    pub fn enter(&self, client: impl FnOnce(u64) -> Client) -> Arc<Client> {
        let number = self.last_client.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(client(number));
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).insert(number, client.clone());
        client
    }

    pub fn leave(&self, number: u64) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// Clients behind a number, at most so many.
    pub fn clients(&self, after: u64, max: usize) -> Vec<Arc<Client>> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = clients.range(after.saturating_add(1)..);
        behind.take(max).map(|(_, client)| client.clone()).collect()
    }
}
