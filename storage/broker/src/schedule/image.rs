//! The schedule as a piece of the state: what a checkpoint stores of it, and the less that a snapshot does.

use serde::{Deserialize, Serialize};

use super::{BlockRef, END, REGION_BITS, Schedule, Timer, TimerKey, timer};
use crate::retention::stored_bytes;

/// Late timers in one record of a snapshot.
const RECORD_TIMERS: usize = 32_768;

/// The schedule at some position of the log. Blocks are named; what is in them is in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScheduleImage {
    pub floor: TimerKey,
    pub late: Vec<Timer>,
    /// The rest is not in a snapshot: records that are retained say it.
    pub horizon: TimerKey,
    pub near: Vec<Timer>,
    pub fresh: Vec<Timer>,
    pub blocks: Vec<BlockRef>,
    pub recalled: Vec<u64>,
    pub next_block: u64,
    pub needless: Vec<u64>,
    pub regions: Vec<(u64, u64)>,
    pub recalls: Vec<u64>,
}

impl ScheduleImage {
    /// Numbers that it lists.
    pub fn parts(&self) -> usize {
        let timers = self.late.len() + self.near.len() + self.fresh.len();
        timers + self.blocks.len() + self.recalled.len() + self.needless.len() + self.regions.len()
    }

    /// In pieces that fit into a record each: restoring one adds its timers.
    pub fn into_pieces(mut self) -> Vec<ScheduleImage> {
        let mut pieces = Vec::new();
        while self.late.len() > RECORD_TIMERS {
            let late = self.late.split_off(self.late.len() - RECORD_TIMERS);
            pieces.push(ScheduleImage { late, ..self.clone() });
        }
        pieces.push(self);
        pieces
    }
}

impl Schedule {
    /// All of it, for a checkpoint.
    pub fn image(&self) -> ScheduleImage {
        ScheduleImage {
            floor: self.floor,
            late: self.late.iter().map(timer).collect(),
            horizon: self.horizon,
            near: self.near.iter().map(timer).collect(),
            fresh: self.fresh.clone(),
            blocks: self.blocks.values().copied().collect(),
            recalled: self.recalled.iter().copied().collect(),
            next_block: self.next_block,
            needless: self.dropping.iter().chain(&self.needless).copied().collect(),
            regions: self.regions.iter().map(|(number, bytes)| (*number, *bytes)).collect(),
            recalls: self.recalls.iter().copied().collect(),
        }
    }

    /// What retained records do not say.
    pub fn snapshot(&self) -> ScheduleImage {
        self.snapshot_of(self.late.iter().map(timer).collect())
    }

    pub(super) fn snapshot_of(&self, late: Vec<Timer>) -> ScheduleImage {
        ScheduleImage {
            floor: self.floor,
            late,
            horizon: END,
            near: Vec::new(),
            fresh: Vec::new(),
            blocks: Vec::new(),
            recalled: Vec::new(),
            next_block: 0,
            needless: Vec::new(),
            regions: Vec::new(),
            recalls: Vec::new(),
        }
    }

    /// Puts back what was taken at `as_of`.
    pub fn restore(&mut self, as_of: u64, image: ScheduleImage) {
        self.as_of = as_of;
        self.floor = image.floor;
        self.horizon = image.horizon;
        if image.regions.is_empty() {
            for timer in &image.late {
                *self.regions.entry(timer.position >> REGION_BITS).or_default() += stored_bytes(timer.bytes);
            }
        }
        self.regions.extend(image.regions);
        self.recalls.extend(image.recalls);
        self.late.extend(image.late.iter().map(|timer| (timer.key(), timer.bytes)));
        self.near.extend(image.near.iter().map(|timer| (timer.key(), timer.bytes)));
        self.fresh.extend(image.fresh);
        self.blocks.extend(image.blocks.into_iter().map(|block| ((block.first, block.id), block)));
        self.recalled.extend(image.recalled);
        self.next_block = self.next_block.max(image.next_block);
        self.needless.extend(image.needless);
    }
}
