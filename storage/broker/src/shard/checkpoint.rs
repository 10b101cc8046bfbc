//! Checkpoints: from time to time what has changed in the state goes into the store, so that a start need not replay
//! the whole log.

use super::*;
use crate::state::{ItemKey, checkpoint_key, encode_parts};

/// Where the newest checkpoint is noted in the store: number and position (u64 each) and the version of its form (u32),
/// all little-endian. A store of another form is made again from the log.
pub(crate) const MARK_KEY: &[u8] = b"c";
/// Counts up when what a store holds changes its form: 1, without a number, had no bytes in the directory of blocks.
pub(crate) const STORE_VERSION: u32 = 2;

/// When checkpoints are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckpointPolicy {
    pub log_bytes: u64,
    pub interval: Duration,
}

/// Where checkpointing stands.
#[derive(Debug)]
pub(super) struct Checkpoints {
    policy: CheckpointPolicy,
    number: u64,
    /// Where the last one was taken, and when.
    position: Position,
    at: Duration,
    state: Stage,
    /// Pieces that the last one holds, also those that are no more.
    taken: Vec<ItemKey>,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// Taken, and waiting for the log to be synced up to it: the store must never be ahead of the log.
    Taken {
        job: StoreJob,
    },
    Storing,
}

impl Checkpoints {
    pub fn new(policy: CheckpointPolicy, number: u64, position: Position, now: Now) -> Self {
        let (at, state) = (now.mono, Stage::Idle);
        Checkpoints { policy, number, position, at, state, taken: Vec::new() }
    }

    pub fn are_idle(&self) -> bool {
        matches!(self.state, Stage::Idle)
    }

    pub fn deadline(&self) -> Option<Duration> {
        self.are_idle().then(|| self.at + self.policy.interval)
    }
}

impl Shard {
    pub(super) fn checkpoint_if_due(&mut self, now: Now) {
        let since = self.journal.end().saturating_sub(self.checkpoints.position);
        let due = self.reclaim.awaits_checkpoint()
            || since >= self.checkpoints.policy.log_bytes
            || now.mono >= self.checkpoints.at + self.checkpoints.policy.interval;
        if due && self.checkpoints.are_idle() {
            if since == 0 {
                self.checkpoints.at = now.mono;
            } else {
                self.begin_checkpoint(now);
            }
        }
    }

    /// Takes what has changed, as it is now. Chunks that are being sealed are part of it, so it rests on nothing that
    /// is under way.
    pub(crate) fn begin_checkpoint(&mut self, now: Now) {
        if !self.checkpoints.are_idle() || self.poisoned.is_some() {
            return;
        }
        self.checkpoints.number += 1;
        self.state.checkpoint = self.checkpoints.number;
        let (number, position) = (self.checkpoints.number, self.journal.end());
        let mut items = Vec::new();
        let mut keys = self.state.take_dirty();
        self.checkpoints.taken.clone_from(&keys);
        keys.push(ItemKey::Shard);
        // A store may end up with the first of them only. What others point to comes before those, and of what is no
        // more, groups go before the topics that replay would remove them with.
        keys.sort_by_key(|key| (!self.state.has(*key), key.rank()));
        for key in keys {
            self.add_item(position, key, &mut items);
        }
        let mut mark = [number.to_le_bytes(), position.to_le_bytes()].concat();
        mark.extend_from_slice(&STORE_VERSION.to_le_bytes());
        items.push((MARK_KEY.to_vec(), Some(mark)));
        self.checkpoints.state = Stage::Taken { job: StoreJob::Checkpoint { number, items } };
        (self.checkpoints.position, self.checkpoints.at) = (position, now.mono);
        self.journal.want_sync();
        if self.synced_to >= position || planted(Bug::CheckpointAheadOfLog) {
            self.checkpoint_synced(position);
        }
    }

    fn add_item(&self, as_of: Position, key: ItemKey, items: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        let mut pieces: Vec<_> = self.state.item(key).into_iter().collect();
        if let ItemKey::Queue(queue) = key {
            pieces.extend(self.state.index(queue));
        }
        let part_key = |number: u32| [checkpoint_key(key), number.to_be_bytes().to_vec()].concat();
        if pieces.is_empty() {
            // Without its first part an item is none; ids are never used again, so what is left is never read.
            return items.push((part_key(0), None));
        }
        let parts = encode_parts(as_of, &pieces);
        items.extend((0u32..).zip(parts).map(|(number, part)| (part_key(number), Some(part))));
    }

    /// The log is synced up to here.
    pub(super) fn checkpoint_synced(&mut self, to: Position) {
        if to < self.checkpoints.position {
            return;
        }
        match std::mem::replace(&mut self.checkpoints.state, Stage::Idle) {
            Stage::Taken { job } => {
                self.take_store_jobs();
                self.outputs.store_jobs.push(job);
                self.checkpoints.state = Stage::Storing;
            }
            other => self.checkpoints.state = other,
        }
    }

    pub(super) fn checkpoint_stored(&mut self, now: Now, number: u64, stored: bool) {
        self.checkpoints.state = Stage::Idle;
        if !stored {
            // What it held must be written again.
            self.state.mark_dirty(std::mem::take(&mut self.checkpoints.taken));
        }
        let position = self.checkpoints.position;
        if stored && self.log_loosely(Change::Checkpoint { number, position }) {
            self.trim_behind(now, position);
        }
        if self.stopping {
            self.log_loosely(Change::Closed { wall_ms: now.wall_ms });
            self.journal.want_sync();
        }
    }
}
