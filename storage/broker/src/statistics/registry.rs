//! Where those counts are found that belong to no topic: of groups, of clients, and of the broker as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use super::client::Client;
use super::{Meter, group, queue};
use crate::ids::{GroupId, TopicId};
use crate::time::Now;

/// Shared by the shard, readers and whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    started: OnceLock<Now>,
    pub all: Meter<{ queue::COUNTS }>,
    pub refused: Meter<1>,
    groups: RwLock<BTreeMap<(TopicId, GroupId), Arc<GroupMeter>>>,
    clients: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_client: AtomicU64,
}

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
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    pub fn group_or_new(&self, key: (TopicId, GroupId)) -> Arc<GroupMeter> {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
    }

    /// Groups that did something on a topic.
    pub fn groups_on(&self, topic: TopicId) -> Vec<(GroupId, Arc<GroupMeter>)> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let of_topic = groups.range((topic, GroupId(0))..).take_while(|((its, _), _)| *its == topic);
        of_topic.map(|((_, group), meter)| (*group, meter.clone())).collect()
    }

    /// Drops the counts of a topic's groups, or of one of them.
    pub fn forget(&self, group: Option<GroupId>, topic: TopicId) {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let first = (topic, group.unwrap_or(GroupId(0)));
        let is_it = |key: &(TopicId, GroupId)| key.0 == topic && group.is_none_or(|group| group == key.1);
        while let Some(key) = groups.range(first..).next().map(|(key, _)| *key).filter(is_it) {
            groups.remove(&key);
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
