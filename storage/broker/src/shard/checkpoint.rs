//! Checkpoints: from time to time what has changed in the state goes into the store, so that a start need not replay
//! the whole log. What changed is taken over several turns, however much it is, and packed and written by the store's
//! thread.

use super::*;
use crate::state::{CheckpointImage, ItemKey, Piece};

/// When checkpoints are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckpointPolicy {
    pub log_bytes: u64,
    pub interval: Duration,
    /// Pieces of the state that a checkpoint or a snapshot takes in one turn.
    pub turn_pieces: usize,
}

/// Where checkpointing stands.
#[derive(Debug)]
pub(super) struct Checkpoints {
    policy: CheckpointPolicy,
    number: u64,
    /// Where the last one was begun, which is what it is right for, and when.
    position: Position,
    at: Duration,
    state: Stage,
    /// Pieces that the last one holds, also those that are no more.
    taken: Vec<ItemKey>,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// So much of it is taken.
    Taking {
        pieces: Vec<Piece>,
    },
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

    pub fn turn_pieces(&self) -> usize {
        self.policy.turn_pieces
    }

    pub fn deadline(&self) -> Option<Duration> {
        self.are_idle().then(|| self.at + self.policy.interval)
    }
}

impl Shard {
    #[cfg(test)]
    pub fn take_in_a_turn(&mut self, pieces: usize) {
        self.checkpoints.policy.turn_pieces = pieces;
    }

    pub(super) fn checkpoint_if_due(&mut self, now: Now) {
        self.go_on_with_checkpoint();
        let since = self.journal.end().saturating_sub(self.checkpoints.position);
        let due = self.reclaim.awaits_checkpoint()
            || since >= self.checkpoints.policy.log_bytes
            || now.mono >= self.checkpoints.at + self.checkpoints.policy.interval;
        // A snapshot that is being taken comes first; the turn after it is soon.
        if due && self.checkpoints.are_idle() && !self.state.has_picture() {
            if since == 0 {
                self.checkpoints.at = now.mono;
            } else {
                self.begin_checkpoint(now);
            }
        }
    }

    /// Begins to take what has changed, as it is now. Chunks that are being sealed are part of it, so it rests on
    /// nothing that is under way.
    pub(crate) fn begin_checkpoint(&mut self, now: Now) {
        if !self.checkpoints.are_idle() || self.state.has_picture() || self.poisoned.is_some() {
            return;
        }
        self.checkpoints.number += 1;
        (self.state.checkpoint, self.state.checkpoint_at) = (self.checkpoints.number, self.journal.end());
        self.state.set_needless_blocks_aside();
        self.checkpoints.taken = self.state.begin_picture_of_changes();
        self.checkpoints.state = Stage::Taking { pieces: Vec::new() };
        (self.checkpoints.position, self.checkpoints.at) = (self.journal.end(), now.mono);
        self.journal.want_sync();
    }

    /// The log has failed: what is not taken yet will never be.
    pub(super) fn abandon_checkpoint(&mut self) {
        if let Stage::Taking { .. } = self.checkpoints.state {
            self.state.drop_picture();
            self.checkpoints.state = Stage::Idle;
        }
    }

    /// Takes so much of what is being taken as a turn has time for.
    fn go_on_with_checkpoint(&mut self) {
        let Stage::Taking { pieces } = &mut self.checkpoints.state else { return };
        pieces.extend(self.state.take_pieces(self.checkpoints.policy.turn_pieces));
        if self.state.has_picture() {
            return;
        }
        let (number, position) = (self.checkpoints.number, self.checkpoints.position);
        let image = CheckpointImage { number, position, pieces: std::mem::take(pieces) };
        self.checkpoints.state = Stage::Taken { job: StoreJob::Checkpoint(image) };
        if self.synced_to >= position || planted(Bug::CheckpointAheadOfLog) {
            self.checkpoint_synced(position);
        }
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
        let taken = std::mem::take(&mut self.checkpoints.taken);
        if !stored {
            // What it held must be written again.
            self.state.mark_dirty(taken);
        } else {
            self.state.drop_needless_blocks();
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
