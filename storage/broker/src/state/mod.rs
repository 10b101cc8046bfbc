//! The shard's state: a deterministic function of its log. Records change it through [`State::apply`] and
//! [`State::append`], in normal running and in replay alike; nothing here reads a clock or decides anything.
//!
//! Each part remembers the log position up to which a checkpoint already holds it (`as_of`), so that replay skips what
//! is in it.

mod compacted;
mod halves;
mod item;
mod pack;
mod picture;
mod positions;
mod progress;
mod ranges;
mod routes;
mod timers;
mod users;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mailrail_commitlog::planted::{Bug, planted};
use rustc_hash::{FxHashMap, FxHashSet};

use self::picture::Picture;
use self::positions::Positions;
use crate::access::{Audit, User};

pub(crate) use self::item::{Item, ItemKey};
pub(crate) use self::pack::{CheckpointImage, PackError, read_checkpoint};
pub(crate) use self::picture::Piece;
pub(crate) use self::progress::{Failed, Progress};
pub(crate) use self::ranges::Ranges;
use crate::deduplication::Windows;
use crate::directory::{Directory, Exchange, Group, Topic};
use crate::ids::*;
use crate::policy::Policy;
use crate::queue::{BlockRef, Entry, Filling, Queue, Sealing};
use crate::record::{Binding, Change, RouteEnd};
use crate::route::{Routes, Traits};
use crate::schedule::Schedule;
use crate::settings::*;
use crate::store_thread::StoreJob;
use crate::trace::TRACE_TOPIC;
use crate::transaction::Halves;

/// A record that contradicts the state it is applied to: the log is damaged or was written wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Contradiction {
    #[error("queue {queue} is at offset {next}, the record names offset {found}")]
    Offset { queue: u64, next: u64, found: u64 },
}

#[derive(Debug)]
pub(crate) struct TopicState {
    pub shared: Arc<Topic>,
    pub queues: Vec<QueueId>,
    /// Queue that the next message without a choice goes to.
    pub turn: usize,
    pub policy: Arc<Policy>,
    /// Bindings that have this topic as their source.
    pub routes: Option<Routes>,
    as_of: u64,
}

#[derive(Debug)]
pub(crate) struct QueueState {
    pub shared: Arc<Queue>,
    filling: Filling,
    pub topic: TopicId,
    pub next_offset: u64,
    pub last_store_ms: u64,
    /// Offsets below may be seen unsynced: the synced log says so.
    pub reserved_to: u64,
    /// Runs of offsets (first, end) that no message has or ever will have.
    pub gaps: Vec<(u64, u64)>,
    /// Round of [`State::dirty`] that holds it already, or [`NO_ROUND`].
    dirty_in: u64,
    as_of: u64,
}

impl QueueState {
    fn new(shared: Arc<Queue>, topic: TopicId) -> Self {
        QueueState {
            shared,
            filling: Filling::default(),
            topic,
            next_offset: 0,
            last_store_ms: 0,
            reserved_to: 0,
            gaps: Vec::new(),
            dirty_in: NO_ROUND,
            as_of: 0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct ExchangeState {
    pub shared: Arc<Exchange>,
    pub routes: Routes,
    as_of: u64,
}

#[derive(Debug, Default)]
struct ProgressState {
    progress: Progress,
    as_of: u64,
}

/// A message that waits for its time, as snapshots of older versions have each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Waiting {
    pub due_ms: u64,
    /// Bytes of the stored message.
    pub bytes: u32,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub directory: Arc<Directory>,
    pub topics: FxHashMap<TopicId, TopicState>,
    pub queues: FxHashMap<QueueId, QueueState>,
    pub groups: FxHashMap<GroupId, Arc<Group>>,
    pub exchanges: FxHashMap<ExchangeId, ExchangeState>,
    /// Target and source of every binding, the other way round than bindings are kept.
    sources: BTreeSet<(RouteEnd, RouteEnd)>,
    progress: Positions,
    schedule: Schedule,
    halves: Halves,
    windows: Windows,
    pub users: FxHashMap<UserId, Arc<User>>,
    pub audit: Audit,
    /// Topics of which messages are traced.
    pub traced: FxHashSet<TopicId>,
    pub next_id: u64,
    pub epoch: u64,
    pub boot: String,
    /// True when the last record seen is that of a clean stop.
    pub closed: bool,
    pub checkpoint: u64,
    /// Where the newest checkpoint of this run was begun.
    pub checkpoint_at: u64,
    /// Pieces that the store does not hold as they are.
    dirty: FxHashSet<ItemKey>,
    /// Counts how often those were taken.
    dirty_round: u64,
    picture: Option<Picture>,
    /// Work for the store that applying records brought up.
    pub store_jobs: Vec<StoreJob>,
}

const NO_ROUND: u64 = u64::MAX;
/// Gaps of a queue that are remembered. Also those below its first entry: a checkpoint of which only a part was stored
/// may hold the queue as it is now, and groups as they were before a gap.
const GAPS_MAX: usize = 256;
/// Most missing entries in a row for which an index gets placeholders.
const MISSING_ENTRIES_MAX: u64 = 4_096;

impl State {
    /// Whether a topic outlives this run of the broker.
    fn lasts(settings: &TopicSettings) -> bool {
        settings.lifetime == Lifetime::Durable
    }

    /// Puts an entry behind the last one of a queue, and not before it in time. Entries of queues that are no more are skipped.
    pub fn append(&mut self, id: QueueId, entry: &Entry) -> Result<(), Contradiction> {
        self.before_change(ItemKey::Queue(id));
        let Some(queue) = self.queues.get_mut(&id) else { return Ok(()) };
        if entry.position < queue.as_of || entry.offset < queue.shared.min_offset() {
            return Ok(());
        }
        if entry.offset != queue.next_offset {
            return Err(Contradiction::Offset { queue: id.0, next: queue.next_offset, found: entry.offset });
        }
        // A message in several queues has one store time, and the others may be later already.
        let last_ms = if planted(Bug::StoreTimeGoesBack) { 0 } else { queue.last_store_ms };
        let entry = Entry { store_ms: entry.store_ms.max(last_ms), ..*entry };
        queue.next_offset = entry.offset + 1;
        queue.last_store_ms = entry.store_ms;
        let sealing: Option<Sealing> = queue.shared.append(&mut queue.filling, &entry, self.checkpoint_at);
        self.store_jobs.extend(sealing.map(StoreJob::Seal));
        // Looking for it among the others, for each message, would cost more than the rest of this.
        if std::mem::replace(&mut queue.dirty_in, self.dirty_round) != self.dirty_round {
            self.dirty.insert(ItemKey::Queue(id));
        }
        Ok(())
    }

    /// As [`State::append`], for messages that lie before the snapshot that the rest of the state comes from.
    pub fn append_retained(&mut self, id: QueueId, entry: &Entry) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        if (queue.shared.min_offset()..queue.next_offset).contains(&entry.offset) {
            // Of a row that was settled here and there only the rest is kept. Its index stays one row.
            let entry = Entry { store_ms: entry.store_ms.max(queue.shared.last_store_ms()), ..*entry };
            let is_near = |next: &u64| entry.offset.saturating_sub(*next) <= MISSING_ENTRIES_MAX;
            let next = queue.shared.appended_end().filter(is_near);
            let checkpoint = self.checkpoint_at;
            for offset in next.unwrap_or(entry.offset)..entry.offset {
                let missing =
                    Entry { offset, bytes: 0, tag_hash: 0, expires_ms: 0, key_hash: 0, priority: 0, ..entry };
                let sealing = queue.shared.append(&mut queue.filling, &missing, checkpoint);
                self.store_jobs.extend(sealing.map(StoreJob::Seal));
            }
            let sealing = queue.shared.append(&mut queue.filling, &entry, checkpoint);
            self.store_jobs.extend(sealing.map(StoreJob::Seal));
        }
    }

    /// Carries out a change that is, or is about to be, in the log at `position`.
    pub fn apply(&mut self, position: u64, change: &Change) {
        self.closed = matches!(change, Change::Closed { .. });
        match change {
            Change::Opened { epoch, boot, .. } => {
                (self.epoch, self.boot) = (*epoch, boot.clone());
                self.dirty.insert(ItemKey::Shard);
            }
            Change::Closed { .. } => {}
            Change::TopicPut { id, name, settings, queues } => {
                self.put_topic(position, *id, name, settings, queues)
            }
            Change::TopicDeleted { id } => self.delete_topic(*id),
            Change::GroupPut { id, name, settings } => self.put_group(*id, name, settings),
            Change::GroupPutInTurns { id, name, settings, turns } => {
                self.put_group(*id, name, &GroupSettings { turns: *turns, ..settings.clone() });
            }
            Change::GroupForgotten { group, topic } => self.forget_group(*group, *topic),
            Change::ExchangePut { id, name, settings } => self.put_exchange(*id, name, settings),
            Change::ExchangeDeleted { id } => self.delete_exchange(*id),
            Change::Bound { source, binding } => self.bind(position, *source, binding),
            Change::Unbound { source, binding } => self.unbind(position, *source, binding),
            Change::Positioned { group, queue, offset } => self.reposition(position, *group, *queue, *offset),
            Change::Settled { group, queue, runs } => {
                self.change_progress(position, *group, *queue, |progress| {
                    for (first, count) in runs {
                        progress.settle(*first, *count);
                    }
                });
                self.drop_settled(*group, *queue);
            }
            Change::Returned { group, queue, first, count, attempts, not_before_ms } => {
                let failed = Failed { attempts: *attempts, not_before_ms: *not_before_ms };
                self.change_progress(position, *group, *queue, |progress| {
                    progress.fail(*first, *count, failed)
                });
            }
            Change::Granted { group, queue, to } => {
                self.change_progress(position, *group, *queue, |progress| progress.mark_granted(*to));
            }
            Change::GrantedApart { group, queue, first, count } => {
                let end = first.saturating_add(*count);
                self.change_progress(position, *group, *queue, |progress| progress.grant(*first, end));
            }
            Change::OffsetsReserved { queue, to } => self.change_queue(position, *queue, |state| {
                state.reserved_to = state.reserved_to.max(*to);
            }),
            Change::OffsetGap { queue, next } => self.skip_offsets(position, *queue, *next),
            Change::QueueTrimmed { queue, min } => self.trim_queue(*queue, *min),
            // A replay gives them with what it knows of them besides.
            Change::WaitingDropped { .. } => {}
            Change::WaitingRecalled { timer } => self.recalled(position, *timer),
            Change::HalfRolledBack { position: half } => self.half_ended(position, *half),
            Change::HalvesChecked { positions, next_check_ms } => {
                self.halves_checked(position, positions, *next_check_ms)
            }
            Change::UserPut { id, name, settings } => self.put_user(*id, name, settings),
            Change::UserDeleted { id } => self.delete_user(*id),
            Change::Audited(entry) => self.add_audit(entry),
            Change::Compacted { queue, runs } => self.compacted(*queue, runs),
            // Snapshots repeat what the state holds already; a rebuild reads them before anything else.
            Change::Snapshot(_) | Change::SnapshotEnd { .. } => {}
            Change::Checkpoint { number, .. } => self.checkpoint = self.checkpoint.max(*number),
        }
    }

    /// Everything below an offset is settled from now on, and nothing from it on but what has gone already.
    fn reposition(&mut self, position: u64, group: GroupId, queue: QueueId, offset: u64) {
        let gaps = self.queues.get(&queue).map(|state| state.gaps.clone()).unwrap_or_default();
        let is_final = self.is_final(group, queue);
        self.change_progress(position, group, queue, |progress| {
            let before = std::mem::replace(progress, Progress::at(offset));
            if is_final {
                progress.pass(0, before.floor);
                before.settled.iter().for_each(|(first, end)| progress.pass(first, end));
            }
            gaps.iter().for_each(|(first, end)| progress.pass(*first, *end));
        });
        self.drop_settled(group, queue);
    }

    pub fn progress(&self, group: GroupId, queue: QueueId) -> Option<&Progress> {
        self.progress.get((group, queue)).map(|state| &state.progress)
    }

    /// Groups that have a position on a queue.
    pub fn groups_on(&self, queue: QueueId) -> Vec<GroupId> {
        self.progress.groups_on(queue)
    }

    /// All positions of groups on queues.
    pub fn all_progress(&self) -> impl Iterator<Item = (GroupId, QueueId, &Progress)> {
        self.progress.iter().map(|((group, queue), state)| (*group, *queue, &state.progress))
    }

    /// A number that nothing had before.
    pub fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Topics that do not outlive a run of the broker.
    pub fn transient_topics(&self) -> Vec<TopicId> {
        let transient = |topic: &&TopicState| !Self::lasts(&topic.shared.settings());
        self.topics.values().filter(transient).map(|topic| topic.shared.id).collect()
    }

    fn put_topic(
        &mut self,
        position: u64,
        id: TopicId,
        name: &str,
        settings: &TopicSettings,
        queues: &[QueueId],
    ) {
        self.saw_id(id.0);
        let known = self.topics.get(&id);
        if known.is_some_and(|topic| topic.as_of > position) {
            return;
        }
        let shared_name = known.map_or_else(|| Arc::from(name), |topic| topic.shared.name.clone());
        self.before_change(ItemKey::Topic(id));
        let mut shared_queues = Vec::with_capacity(queues.len());
        for (index, queue) in (0u32..).zip(queues) {
            self.saw_id(queue.0);
            self.before_change(ItemKey::Queue(*queue));
            let new = || QueueState::new(Arc::new(Queue::new(*queue, shared_name.clone(), index, 0)), id);
            let state = self.queues.entry(*queue).or_insert_with(new);
            shared_queues.push(state.shared.clone());
            self.dirty.insert(ItemKey::Queue(*queue));
        }
        let (lite_of, sibling) = self.directory.shared_by_lites(settings);
        let shared_policy = sibling.as_ref().and_then(|sibling| self.topics.get(&sibling.id));
        let policy = match shared_policy {
            Some(sibling) => sibling.policy.clone(),
            None => Arc::new(Policy::of(settings).unwrap_or_else(|error| {
                // It was checked before it was recorded.
                tracing::error!(topic = name, %error, "what a topic's attributes say is left out");
                Policy::default()
            })),
        };
        // Traces of traces would never end.
        let trace_sample = if name == TRACE_TOPIC { 0 } else { policy.trace_sample };
        if trace_sample > 0 {
            self.traced.insert(id)
        } else {
            self.traced.remove(&id)
        };
        let is_owned = settings.retention == Retention::UntilSettled;
        for queue in &shared_queues {
            queue.set_ttl(policy.message_ttl_ms, is_owned);
            queue.set_priority_max(policy.priority_max);
            queue.set_trace_sample(trace_sample);
        }
        match self.topics.get_mut(&id) {
            Some(topic) => {
                topic.policy = policy;
                topic.queues = queues.to_vec();
                topic.shared.set(settings.clone(), shared_queues);
            }
            None => {
                let settings =
                    sibling.map_or_else(|| Arc::new(settings.clone()), |sibling| sibling.settings());
                let shared = Arc::new(Topic::new(id, shared_name, lite_of, settings, shared_queues));
                let queues = queues.to_vec();
                let state = TopicState { shared, queues, turn: 0, policy, routes: None, as_of: 0 };
                self.topics.insert(id, state);
            }
        }
        if let Some(topic) = self.topics.get(&id) {
            self.directory.put_topic(topic.shared.clone());
        }
        self.dirty.insert(ItemKey::Topic(id));
        if self.window_ms(id).is_none() {
            self.forget_window(id);
        }
    }

    fn delete_topic(&mut self, id: TopicId) {
        self.remove_target(RouteEnd::Topic(id));
        self.forget_window(id);
        self.before_change(ItemKey::Topic(id));
        let Some(topic) = self.topics.remove(&id) else { return };
        if let Some(routes) = &topic.routes {
            self.forget_source(RouteEnd::Topic(id), routes);
        }
        self.traced.remove(&id);
        self.directory.remove_topic(&topic.shared);
        self.dirty.insert(ItemKey::Topic(id));
        for queue in &topic.queues {
            self.before_change(ItemKey::Queue(*queue));
            self.queues.remove(queue);
            self.dirty.insert(ItemKey::Queue(*queue));
        }
        for shared in topic.shared.queues().iter() {
            let blocks = shared.close();
            self.drop_blocks(shared.id, blocks);
        }
        let on = |&queue: &QueueId| {
            let groups = self.progress.groups_on(queue);
            groups.into_iter().map(move |group| (group, queue))
        };
        let gone: Vec<(GroupId, QueueId)> = topic.queues.iter().flat_map(on).collect();
        for (group, queue) in gone {
            self.before_change(ItemKey::Progress(group, queue));
            self.progress.remove((group, queue));
            self.dirty.insert(ItemKey::Progress(group, queue));
        }
        // A queue's default group goes with it.
        let group = self.directory.group(&topic.shared.name).map(|group| group.id);
        let goes_with_it =
            topic.shared.settings().retention == Retention::UntilSettled || topic.shared.lite_of.is_some();
        if let Some(group) = group.filter(|_| goes_with_it) {
            self.remove_idle_group(group);
        }
    }

    fn put_group(&mut self, id: GroupId, name: &str, settings: &GroupSettings) {
        self.saw_id(id.0);
        self.before_change(ItemKey::Group(id));
        match self.groups.get(&id) {
            Some(group) => group.set(settings.clone()),
            None => {
                let group = Arc::new(Group::new(id, Arc::from(name), settings.clone()));
                self.directory.put_group(group.clone());
                self.groups.insert(id, group);
            }
        }
        self.dirty.insert(ItemKey::Group(id));
    }

    fn forget_group(&mut self, group: GroupId, topic: TopicId) {
        for queue in self.topics.get(&topic).map(|topic| topic.queues.clone()).unwrap_or_default() {
            self.before_change(ItemKey::Progress(group, queue));
            if self.progress.remove((group, queue)) {
                self.dirty.insert(ItemKey::Progress(group, queue));
            }
        }
        self.directory.statistics().forget(Some(group), topic);
        // A queue's default group has no life of its own.
        let is_default =
            |group: &Arc<Group>| self.topics.get(&topic).is_some_and(|t| t.shared.name == group.name);
        if self.groups.get(&group).is_some_and(is_default) {
            self.remove_idle_group(group);
        }
    }

    /// Removes a group that has no position anywhere.
    fn remove_idle_group(&mut self, id: GroupId) {
        if self.progress.has(id) {
            return;
        }
        self.before_change(ItemKey::Group(id));
        if let Some(group) = self.groups.remove(&id) {
            self.directory.remove_group(&group.name);
            self.dirty.insert(ItemKey::Group(id));
        }
    }

    /// No message has the offsets up to `next`: for every group they are settled.
    fn skip_offsets(&mut self, position: u64, queue: QueueId, next: u64) {
        let Some(state) = self.queues.get(&queue) else { return };
        // A checkpoint may hold the queue behind the gap and groups before it.
        let known = state.gaps.iter().find(|(_, end)| *end == next);
        let first = known.map_or(state.next_offset, |(first, _)| *first);
        if first >= next {
            return;
        }
        let is_new = known.is_none();
        self.change_queue(position, queue, |state| {
            if is_new {
                state.gaps.push((first, next));
                let needless = state.gaps.len().saturating_sub(GAPS_MAX);
                state.gaps.drain(..needless);
                state.next_offset = next;
            }
        });
        for group in self.progress.groups_on(queue) {
            self.change_progress(position, group, queue, |progress| progress.pass(first, next));
            self.drop_settled(group, queue);
        }
    }

    /// Entries of a queue from an offset to an end, without gaps.
    pub fn entries_between(&self, queue: &QueueState, from: u64, end: u64) -> u64 {
        let missing = |(first, gap_end): &(u64, u64)| (*gap_end).min(end).saturating_sub((*first).max(from));
        end.saturating_sub(from).saturating_sub(queue.gaps.iter().map(missing).sum())
    }

    /// True for a queue of a topic that keeps the newest message of each key.
    pub fn is_compacted(&self, queue: &QueueState) -> bool {
        let topic = self.topics.get(&queue.topic);
        topic.is_some_and(|topic| topic.shared.settings().retention == Retention::Compacted)
    }

    /// True for a queue of a topic that does not outlive a run of the broker.
    pub fn is_transient(&self, queue: QueueId) -> bool {
        let topic = self.queues.get(&queue).and_then(|queue| self.topics.get(&queue.topic));
        topic.is_some_and(|topic| !Self::lasts(&topic.shared.settings()))
    }

    fn put_exchange(&mut self, id: ExchangeId, name: &str, settings: &ExchangeSettings) {
        self.saw_id(id.0);
        if self.exchanges.contains_key(&id) {
            return;
        }
        self.before_change(ItemKey::Exchange(id));
        let shared = Arc::new(Exchange::new(id, Arc::from(name), settings.clone()));
        self.directory.put_exchange(shared.clone());
        self.exchanges.insert(id, ExchangeState { shared, routes: Routes::new(settings.kind), as_of: 0 });
        self.dirty.insert(ItemKey::Exchange(id));
    }

    fn delete_exchange(&mut self, id: ExchangeId) {
        self.remove_target(RouteEnd::Exchange(id));
        self.before_change(ItemKey::Exchange(id));
        let Some(exchange) = self.exchanges.remove(&id) else { return };
        self.forget_source(RouteEnd::Exchange(id), &exchange.routes);
        self.directory.remove_exchange(&exchange.shared);
        self.dirty.insert(ItemKey::Exchange(id));
    }

    fn change_progress(
        &mut self,
        position: u64,
        group: GroupId,
        queue: QueueId,
        change: impl FnOnce(&mut Progress),
    ) {
        if !self.queues.contains_key(&queue) {
            return;
        }
        self.before_change(ItemKey::Progress(group, queue));
        let state = self.progress.entry((group, queue));
        let as_of = state.as_of + u64::from(planted(Bug::ReplaySkipsTooMuch) && state.as_of > 0) * 4_096;
        if as_of <= position {
            change(&mut state.progress);
            self.dirty.insert(ItemKey::Progress(group, queue));
        }
    }

    fn change_queue(&mut self, position: u64, queue: QueueId, change: impl FnOnce(&mut QueueState)) {
        self.before_change(ItemKey::Queue(queue));
        if let Some(state) = self.queues.get_mut(&queue).filter(|state| state.as_of <= position) {
            change(state);
            self.dirty.insert(ItemKey::Queue(queue));
        }
    }

    /// In a topic whose entries go when settled, what the default group has settled goes.
    fn drop_settled(&mut self, group: GroupId, queue: QueueId) {
        let Some(floor) = self.progress(group, queue).map(|progress| progress.floor) else { return };
        if self.is_final(group, queue) {
            self.trim_queue(queue, floor);
        }
    }

    /// True where what the group settles is gone: for the default group of a topic whose entries go when settled.
    fn is_final(&self, group: GroupId, queue: QueueId) -> bool {
        let topic = self.queues.get(&queue).and_then(|state| self.topics.get(&state.topic));
        topic.is_some_and(|topic| {
            topic.shared.settings().retention == Retention::UntilSettled
                && self.groups.get(&group).is_some_and(|group| group.name == topic.shared.name)
        })
    }

    fn trim_queue(&mut self, id: QueueId, min: u64) {
        self.before_change(ItemKey::Queue(id));
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let blocks = queue.shared.trim(min.min(queue.next_offset));
        self.drop_blocks(id, blocks);
        self.dirty.insert(ItemKey::Queue(id));
    }

    fn drop_blocks(&mut self, queue: QueueId, blocks: Vec<BlockRef>) {
        if !blocks.is_empty() {
            self.store_jobs.push(StoreJob::Drop { queue, blocks });
        }
    }

    fn saw_id(&mut self, id: u64) {
        if id > self.next_id {
            self.next_id = id;
            self.dirty.insert(ItemKey::Shard);
        }
    }
}

#[cfg(test)]
mod tests;
