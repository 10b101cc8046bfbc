//! Consumer groups in the state, and how far each has got on the queues.

use super::*;

impl State {
    /// Everything below an offset is settled from now on, and nothing from it on but what has gone already.
    pub(super) fn reposition(&mut self, position: u64, group: GroupId, queue: QueueId, offset: u64) {
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

    pub(super) fn put_group(&mut self, id: GroupId, name: &str, settings: &GroupSettings) {
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

    pub(super) fn forget_group(&mut self, group: GroupId, topic: TopicId) {
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
    pub(super) fn remove_idle_group(&mut self, id: GroupId) {
        if self.progress.has(id) {
            return;
        }
        self.before_change(ItemKey::Group(id));
        if let Some(group) = self.groups.remove(&id) {
            self.directory.remove_group(&group.name);
            self.dirty.insert(ItemKey::Group(id));
        }
    }

    pub(super) fn change_progress(
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

    /// In a topic whose entries go when settled, what the default group has settled goes.
    pub(super) fn drop_settled(&mut self, group: GroupId, queue: QueueId) {
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
}
