//! Half messages in the state: what records do to them.

use super::*;
use crate::transaction::{Half, Halves, region_of};

impl State {
    pub fn halves(&self) -> &Halves {
        &self.halves
    }

    /// A half message was stored, by the record at a position.
    pub fn add_half(&mut self, position: u64, half: Half) {
        if !self.halves.is_known(position, position) {
            self.changing_half(position);
            self.halves.add(position, half);
        }
    }

    /// The half message at a position was ended, by a record at `record`.
    pub fn half_ended(&mut self, record: u64, position: u64) {
        if !self.halves.is_known(position, record) && self.halves.get(position).is_some() {
            self.changing_half(position);
            self.halves.end(position);
        }
    }

    /// The producers of half messages were asked, as a record at `record` says.
    pub(super) fn halves_checked(&mut self, record: u64, positions: &[u64], next_check_ms: u64) {
        for position in positions {
            if !self.halves.is_known(*position, record) && self.halves.get(*position).is_some() {
                self.changing_half(*position);
                self.halves.checked(*position, next_check_ms);
            }
        }
    }

    fn changing_half(&mut self, position: u64) {
        let key = ItemKey::Halves(region_of(position));
        self.before_change(key);
        self.dirty.insert(key);
    }
}
