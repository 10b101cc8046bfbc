//! Putting the pieces of a checkpoint or a snapshot back.

use super::item::QueueItem;
use super::*;
use crate::queue::PackedRun;
use crate::schedule::Timer;

impl State {
    /// Puts a piece back that was taken at `as_of`.
    pub fn restore(&mut self, as_of: u64, item: Item) {
        match item {
            Item::Shard { next_id, epoch, boot, checkpoint } => {
                self.next_id = self.next_id.max(next_id);
                (self.epoch, self.boot, self.checkpoint) = (epoch, boot, checkpoint);
            }
            Item::Topic { id, name, settings, queues, bindings } => {
                self.put_topic(0, id, &name, &settings, &queues);
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.as_of = as_of;
                }
                bindings.into_iter().for_each(|binding| self.add_binding(RouteEnd::Topic(id), binding));
            }
            Item::Queue(queue) => self.restore_queue(as_of, queue),
            Item::QueueCompacted { queue, removed } => {
                let id = queue.id;
                self.restore_queue(as_of, queue);
                if let Some(state) = self.queues.get(&id) {
                    // What is gone with them is nowhere in what a checkpoint holds.
                    state.shared.remove(&removed, &[]);
                }
            }
            Item::Index { queue, sealed, priorities, open } => {
                let entries: Vec<Entry> = open.iter().flat_map(PackedRun::entries).collect();
                if let Some(state) = self.queues.get(&queue) {
                    let min = state.shared.min_offset();
                    state.shared.restore(min, sealed, priorities, &entries);
                }
            }
            Item::Group { id, name, settings } => self.put_group(id, &name, &settings),
            Item::GroupInTurns { id, name, settings, turns } => {
                self.put_group(id, &name, &GroupSettings { turns, ..settings })
            }
            Item::Exchange { id, name, settings, bindings } => {
                self.put_exchange(id, &name, &settings);
                if let Some(exchange) = self.exchanges.get_mut(&id) {
                    exchange.as_of = as_of;
                }
                bindings.into_iter().for_each(|binding| self.add_binding(RouteEnd::Exchange(id), binding));
            }
            Item::Progress { group, queue, floor, settled, failed, granted_to } => {
                let progress = progress_of(floor, settled, failed, granted_to);
                *self.progress.entry((group, queue)) = ProgressState { progress, as_of };
            }
            Item::ProgressApart { group, queue, floor, settled, failed, granted_to, granted } => {
                let mut progress = progress_of(floor, settled, failed, granted_to);
                granted.into_iter().for_each(|(first, end)| progress.granted.insert(first, end));
                *self.progress.entry((group, queue)) = ProgressState { progress, as_of };
            }
            Item::Waiting { position, waiting } => {
                self.wait(Timer { due_ms: waiting.due_ms, position, bytes: waiting.bytes })
            }
            Item::Schedule(image) => self.schedule.restore(as_of, *image),
            Item::Halves { region, halves } => self.halves.restore(as_of, region, halves),
            Item::User { id, name, settings } => self.put_user(id, &name, &settings),
            Item::Audit(entries) => self.audit.extend(entries),
            Item::Window { topic, region, remembered } => {
                self.windows.restore(as_of, topic, region, remembered)
            }
        }
    }

    fn restore_queue(&mut self, as_of: u64, queue: QueueItem) {
        let QueueItem { id, topic, index, next_offset, min_offset, last_store_ms, reserved_to, gaps } = queue;
        self.saw_id(id.0);
        let name = self.topics.get(&topic).map_or_else(|| Arc::from(""), |t| t.shared.name.clone());
        let new = || QueueState::new(Arc::new(Queue::new(id, name, index, min_offset)), topic);
        let state = self.queues.entry(id).or_insert_with(new);
        (state.next_offset, state.last_store_ms) = (next_offset, last_store_ms);
        (state.reserved_to, state.gaps, state.as_of) = (reserved_to, gaps, as_of);
        state.shared.trim(min_offset);
    }

    /// Drops what belongs to topics that are not there: a checkpoint was cut off after one was removed, or before one was
    /// added whose records replay brings.
    pub fn drop_orphans(&mut self) {
        self.queues.retain(|_, queue| self.topics.contains_key(&queue.topic));
        let stray =
            self.progress.iter().map(|(key, _)| *key).filter(|(_, queue)| !self.queues.contains_key(queue));
        for key in stray.collect::<Vec<_>>() {
            self.progress.remove(key);
        }
        self.drop_orphaned_windows();
    }
}

fn progress_of(
    floor: u64,
    settled: Vec<(u64, u64)>,
    failed: Vec<(u64, u32, u64)>,
    granted_to: u64,
) -> Progress {
    let mut progress = Progress::at(floor);
    settled.into_iter().for_each(|(first, end)| progress.settled.insert(first, end));
    let failures = failed
        .into_iter()
        .map(|(offset, attempts, not_before_ms)| (offset, Failed { attempts, not_before_ms }));
    progress.failed = failures.collect();
    progress.granted_to = granted_to;
    progress
}
