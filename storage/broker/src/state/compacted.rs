//! What compaction has removed.

use super::*;

impl State {
    /// Runs of offsets (first, count) are no more. That some are gone already changes nothing.
    pub(super) fn compacted(&mut self, id: QueueId, runs: &[(u64, u64)]) {
        self.before_change(ItemKey::Queue(id));
        let Some(queue) = self.queues.get(&id) else { return };
        let in_queue =
            |(first, count): &(u64, u64)| (*first, first.saturating_add(*count).min(queue.next_offset));
        let runs: Vec<(u64, u64)> = runs.iter().map(in_queue).collect();
        let (min, blocks) = queue.shared.remove(&runs, &queue.gaps);
        let is_behind = min > queue.shared.min_offset();
        self.drop_blocks(id, blocks);
        self.dirty.insert(ItemKey::Queue(id));
        if is_behind {
            self.trim_queue(id, min);
        }
    }
}
