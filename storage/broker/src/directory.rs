//! The names every thread can look up: topics, groups, exchanges. Written by the shard alone, read by anybody.

use std::collections::hash_map::Values;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::{ArcSwap, Guard};

use crate::access::{Access, Action, Denial, Identity, Resource, ResourceKind};
use crate::command::Name;
use crate::ids::*;
use crate::lite::{LITE_OF, LITE_PREFIX};
use crate::policy;
use crate::queue::Queue;
use crate::settings::*;
use crate::statistics::{Meter, Statistics};
use crate::traced_read::TracedReads;

/// A topic. Handles may be kept: a deleted one says so, and commands that name it are refused.
#[derive(Debug)]
pub struct Topic {
    pub id: TopicId,
    pub name: Name,
    /// Of a light queue: the name of its parent topic.
    pub lite_of: Option<Name>,
    settings: ArcSwap<TopicSettings>,
    queues: ArcSwap<Vec<Arc<Queue>>>,
    deduplicates: AtomicBool,
    gone: AtomicBool,
    /// Messages sent to it that were not taken.
    pub(crate) refused: Meter<1>,
}

impl Topic {
    pub(crate) fn new(
        id: TopicId,
        name: Name,
        lite_of: Option<Name>,
        settings: Arc<TopicSettings>,
        queues: Vec<Arc<Queue>>,
    ) -> Self {
        Topic {
            id,
            name,
            lite_of,
            deduplicates: AtomicBool::new(is_deduplicating(&settings)),
            settings: ArcSwap::new(settings),
            queues: ArcSwap::from_pointee(queues),
            gone: AtomicBool::new(false),
            refused: Meter::default(),
        }
    }

    pub fn settings(&self) -> Arc<TopicSettings> {
        self.settings.load_full()
    }

    /// The topic's queues, by their number in it.
    pub fn queues(&self) -> Guard<Arc<Vec<Arc<Queue>>>> {
        self.queues.load()
    }

    pub fn queue(&self, index: u32) -> Option<Arc<Queue>> {
        let index = usize::try_from(index).ok()?;
        self.queues.load().get(index).cloned()
    }

    /// True where messages that are sent again are stored once, if they have a deduplication key.
    pub fn deduplicates(&self) -> bool {
        self.deduplicates.load(Ordering::Relaxed)
    }

    /// True once the topic is deleted; a new one of the same name is another topic.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, settings: TopicSettings, queues: Vec<Arc<Queue>>) {
        self.queues.store(Arc::new(queues));
        self.deduplicates.store(is_deduplicating(&settings), Ordering::Relaxed);
        self.settings.store(Arc::new(settings));
    }
}

fn is_deduplicating(settings: &TopicSettings) -> bool {
    policy::deduplication(settings).is_ok_and(|window| window.is_some())
}

/// A consumer group.
#[derive(Debug)]
pub struct Group {
    pub id: GroupId,
    pub name: Name,
    settings: ArcSwap<GroupSettings>,
}

impl Group {
    pub(crate) fn new(id: GroupId, name: Name, settings: GroupSettings) -> Self {
        Group { id, name, settings: ArcSwap::from_pointee(settings) }
    }

    pub fn settings(&self) -> Arc<GroupSettings> {
        self.settings.load_full()
    }

    pub(crate) fn set(&self, settings: GroupSettings) {
        self.settings.store(Arc::new(settings));
    }
}

/// An exchange.
#[derive(Debug)]
pub struct Exchange {
    pub id: ExchangeId,
    pub name: Name,
    pub settings: ExchangeSettings,
    gone: AtomicBool,
}

impl Exchange {
    pub(crate) fn new(id: ExchangeId, name: Name, settings: ExchangeSettings) -> Self {
        Exchange { id, name, settings, gone: AtomicBool::new(false) }
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// All names of a shard.
#[derive(Debug, Default)]
pub struct Directory {
    topics: RwLock<HashMap<Name, Arc<Topic>>>,
    /// Light queues by the name of their parent and their own.
    lites: RwLock<HashMap<Name, BTreeMap<Name, Arc<Topic>>>>,
    groups: RwLock<HashMap<Name, Arc<Group>>>,
    exchanges: RwLock<HashMap<Name, Arc<Exchange>>>,
    queues: RwLock<HashMap<QueueId, Arc<Queue>>>,
    access: Access,
    statistics: Statistics,
    traced_reads: TracedReads,
}

impl Directory {
    /// Who may do what.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// What was counted of groups, clients and all of it.
    pub(crate) fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    pub(crate) fn traced_reads(&self) -> &TracedReads {
        &self.traced_reads
    }

    pub fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn group(&self, name: &str) -> Option<Arc<Group>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn exchange(&self, name: &str) -> Option<Arc<Exchange>> {
        self.exchanges.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn queue(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// All topics but light queues, sorted by name.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        // Of light queues there may be very many.
        let own = |topic: &&Arc<Topic>| topic.lite_of.is_none();
        let mut all: Vec<_> = self.with_topics(|topics| topics.filter(own).cloned().collect());
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Looks at all topics and light queues, in no order; none is made or deleted meanwhile.
    pub(crate) fn with_topics<T>(&self, look: impl FnOnce(Values<'_, Name, Arc<Topic>>) -> T) -> T {
        look(self.topics.read().unwrap_or_else(PoisonError::into_inner).values())
    }

    /// All topics and light queues, in no order.
    pub(crate) fn topics_and_lites(&self) -> Vec<Arc<Topic>> {
        self.with_topics(|topics| topics.cloned().collect())
    }

    /// Light queues of a topic, sorted by name: so many of those behind a name, or from the first on.
    pub fn lites(&self, parent: &str, after: Option<&str>, max: usize) -> Vec<Arc<Topic>> {
        let lites = self.lites.read().unwrap_or_else(PoisonError::into_inner);
        let Some(lites) = lites.get(parent) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        lites.range::<str, _>((from, Bound::Unbounded)).take(max).map(|(_, lite)| lite.clone()).collect()
    }

    pub fn lite_count(&self, parent: &str) -> usize {
        self.lites.read().unwrap_or_else(PoisonError::into_inner).get(parent).map_or(0, BTreeMap::len)
    }

    /// Names of topics that have light queues, whether there still are such topics or not.
    pub(crate) fn lite_parents(&self) -> Vec<Name> {
        self.lites.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Whether somebody may do something; see [`Access::check`]. What holds for a topic holds for its light queues, and for
    /// the groups that have their names.
    pub fn check(
        &self,
        identity: &Identity,
        action: Action,
        resource: Resource<'_>,
        key: Option<&str>,
    ) -> Result<(), Box<Denial>> {
        let is_lite = resource.name.starts_with(LITE_PREFIX)
            && matches!(resource.kind, ResourceKind::Topic | ResourceKind::Group);
        let parent = if is_lite && !self.access.is_open() {
            self.topic(resource.name).and_then(|topic| topic.lite_of.clone())
        } else {
            None
        };
        let meant = parent.as_deref().map_or(resource, |name| Resource { name, ..resource });
        self.access.check(identity, action, meant, key)
    }

    /// All groups, sorted by name.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        sorted(&self.groups, |group| group.name.clone())
    }

    /// All exchanges, sorted by name.
    pub fn exchanges(&self) -> Vec<Arc<Exchange>> {
        sorted(&self.exchanges, |exchange| exchange.name.clone())
    }

    pub(crate) fn put_topic(&self, topic: Arc<Topic>) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.extend(topic.queues().iter().map(|queue| (queue.id, queue.clone())));
        if let Some(parent) = &topic.lite_of {
            let mut lites = self.lites.write().unwrap_or_else(PoisonError::into_inner);
            lites.entry(parent.clone()).or_default().insert(topic.name.clone(), topic.clone());
        }
        self.topics.write().unwrap_or_else(PoisonError::into_inner).insert(topic.name.clone(), topic);
    }

    /// What a light queue of a topic can share with its siblings: the parent's name, and settings like theirs.
    pub(crate) fn shared_by_lites(&self, settings: &TopicSettings) -> (Option<Name>, Option<Arc<Topic>>) {
        let Some(parent) = settings.attributes.get(LITE_OF) else { return (None, None) };
        let sibling = self.lites(parent, None, 1).pop();
        let same = sibling.filter(|sibling| *sibling.settings() == *settings);
        let name = same.as_ref().and_then(|same| same.lite_of.clone());
        let name = name.or_else(|| self.topic(parent).map(|topic| topic.name.clone()));
        (Some(name.unwrap_or_else(|| Name::from(parent.as_str()))), same)
    }

    pub(crate) fn remove_topic(&self, topic: &Topic) {
        topic.gone.store(true, Ordering::Release);
        self.statistics.forget(None, topic.id);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.remove(&topic.name);
        self.keep_totals(topic);
        drop(topics);
        if let Some(parent) = &topic.lite_of {
            let mut all = self.lites.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(lites) = all.get_mut(parent) {
                lites.remove(&topic.name);
                if lites.is_empty() {
                    all.remove(parent);
                }
            }
        }
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        for queue in topic.queues().iter() {
            queues.remove(&queue.id);
        }
    }

    pub(crate) fn put_group(&self, group: Arc<Group>) {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).insert(group.name.clone(), group);
    }

    pub(crate) fn remove_group(&self, name: &str) {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(crate) fn put_exchange(&self, exchange: Arc<Exchange>) {
        self.exchanges
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(exchange.name.clone(), exchange);
    }

    pub(crate) fn remove_exchange(&self, exchange: &Exchange) {
        exchange.gone.store(true, Ordering::Release);
        self.exchanges.write().unwrap_or_else(PoisonError::into_inner).remove(&exchange.name);
    }
}

fn sorted<T>(map: &RwLock<HashMap<Name, Arc<T>>>, name: impl Fn(&T) -> Name) -> Vec<Arc<T>> {
    let mut all: Vec<_> = map.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
    all.sort_by_key(|item| name(item));
    all
}
