//! Topics in the state, with the queues that they have.

use super::*;
use crate::trace::TRACE_TOPIC;

impl State {
    /// Whether a topic outlives this run of the broker.
    pub(super) fn lasts(settings: &TopicSettings) -> bool {
        settings.lifetime == Lifetime::Durable
    }

    /// Topics that do not outlive a run of the broker.
    pub fn transient_topics(&self) -> Vec<TopicId> {
        let transient = |topic: &&TopicState| !Self::lasts(&topic.shared.settings());
        self.topics.values().filter(transient).map(|topic| topic.shared.id).collect()
    }

    pub(super) fn put_topic(
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

    pub(super) fn delete_topic(&mut self, id: TopicId) {
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
}
