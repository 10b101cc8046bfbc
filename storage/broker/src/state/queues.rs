//! Queues in the state: the entries that they get, the offsets that no message has, and what goes.

use super::*;

/// Gaps of a queue that are remembered. Also those below its first entry: a checkpoint of which only a part was stored
/// may hold the queue as it is now, and groups as they were before a gap.
pub(super) const GAPS_MAX: usize = 256;
/// Most missing entries in a row for which an index gets placeholders.
pub(super) const MISSING_ENTRIES_MAX: u64 = 4_096;

impl State {
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

    /// No message has the offsets up to `next`: for every group they are settled.
    pub(super) fn skip_offsets(&mut self, position: u64, queue: QueueId, next: u64) {
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

    pub(super) fn change_queue(
        &mut self,
        position: u64,
        queue: QueueId,
        change: impl FnOnce(&mut QueueState),
    ) {
        self.before_change(ItemKey::Queue(queue));
        if let Some(state) = self.queues.get_mut(&queue).filter(|state| state.as_of <= position) {
            change(state);
            self.dirty.insert(ItemKey::Queue(queue));
        }
    }

    pub(super) fn trim_queue(&mut self, id: QueueId, min: u64) {
        self.before_change(ItemKey::Queue(id));
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let blocks = queue.shared.trim(min.min(queue.next_offset));
        self.drop_blocks(id, blocks);
        self.dirty.insert(ItemKey::Queue(id));
    }

    pub(super) fn drop_blocks(&mut self, queue: QueueId, blocks: Vec<BlockRef>) {
        if !blocks.is_empty() {
            self.store_jobs.push(StoreJob::Drop { queue, blocks });
        }
    }
}
