//! Waiting messages in the state: what records and the store's news do to the schedule.

use super::*;
use crate::schedule::{Gather, Gathered, Known, Timer, TimerKey};

impl State {
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Makes a message wait.
    pub fn wait(&mut self, timer: Timer) {
        if timer.position < self.schedule.as_of {
            return;
        }
        self.changing_schedule();
        let seal = self.schedule.add(timer);
        self.store_jobs.extend(seal.map(StoreJob::SealTimers));
    }

    /// As [`State::wait`], for the record of a message that lies before the snapshot that the rest of the state comes
    /// from. What lies below its floor waits only if it is listed there.
    pub fn wait_retained(&mut self, timer: Timer, floor: TimerKey) {
        if timer.key() >= floor {
            self.changing_schedule();
            let seal = self.schedule.add(timer);
            self.store_jobs.extend(seal.map(StoreJob::SealTimers));
        }
    }

    /// A waiting message was dispatched, by a record at `position`: all that were to come before it have come, or are late.
    pub fn dispatched(&mut self, position: u64, timer: Timer) {
        if position >= self.schedule.as_of {
            self.raise_floor(timer.key());
            self.schedule.end(timer);
        }
    }

    /// What [`State::dispatched`] does first. In a replay blocks must be gathered behind it, as far as the floor reaches.
    pub fn raise_floor(&mut self, key: TimerKey) {
        self.changing_schedule();
        self.schedule.raise_floor(key);
    }

    /// A waiting message was recalled, by a record at `position`.
    pub fn recalled(&mut self, position: u64, timer: Timer) {
        if position >= self.schedule.as_of {
            self.recalled_before_snapshot(position, timer);
        }
    }

    /// As [`State::recalled`], of one that lies before the snapshot that the rest of the state comes from.
    pub fn recalled_before_snapshot(&mut self, position: u64, timer: Timer) {
        self.changing_schedule();
        self.schedule.note_recall(position);
        self.schedule.end(timer);
    }

    /// The shard takes the first timer that it has not taken yet, to dispatch it.
    pub fn hand_timer(&mut self, timer: Timer) {
        self.schedule.hand(timer.key());
    }

    pub fn knows_timer(&self, key: TimerKey) -> Known {
        self.schedule.knows(key)
    }

    /// Begins to gather timers into memory, if few are left there.
    pub fn gather_if_short(&mut self) -> Option<Gather> {
        if !self.schedule.is_short() {
            return None;
        }
        self.changing_schedule();
        self.schedule.begin_gather()
    }

    pub fn gathered(&mut self, gathered: Gathered) {
        self.changing_schedule();
        let seal = self.schedule.gathered(gathered);
        self.store_jobs.extend(seal.map(StoreJob::SealTimers));
    }

    pub fn gather_failed(&mut self, first_id: u64, blocks: usize) {
        self.changing_schedule();
        self.schedule.gather_failed(first_id, blocks);
    }

    /// The log begins here from now on.
    pub fn log_trimmed(&mut self, start: u64) {
        self.changing_schedule();
        self.schedule.log_trimmed(start);
    }

    /// A checkpoint begins, or the one that began could not be stored: blocks that are needless by then go behind it.
    pub fn set_needless_blocks_aside(&mut self) {
        self.schedule.begin_checkpoint();
    }

    /// The checkpoint is stored: what it knows no more of goes.
    pub fn drop_needless_blocks(&mut self) {
        let ids = self.schedule.checkpoint_stored();
        if !ids.is_empty() {
            self.store_jobs.push(StoreJob::DropTimers(ids));
        }
    }

    /// After a replay: what waits is what there is.
    #[cfg(test)]
    pub fn find_timers(&mut self, store: &dyn crate::store::Store) {
        self.schedule.found(store);
    }

    fn changing_schedule(&mut self) {
        self.before_change(ItemKey::Schedule);
        self.dirty.insert(ItemKey::Schedule);
    }
}
