//! When key files are made: after a start, and when the log has grown by a segment.

use super::*;

/// Where making key files stands.
#[derive(Debug, Default)]
pub(super) struct Keys {
    is_under_way: bool,
    /// How far the log was synced when there was nothing more to make; 0 before the first look.
    done: Position,
    looked: Position,
}

impl Keys {
    /// A reader made a file, or found that there is none to make.
    pub fn made(&mut self, more: bool) {
        self.is_under_way = false;
        if !more {
            self.done = self.looked;
        }
    }
}

impl Shard {
    pub(super) fn make_keys_if_due(&mut self) {
        let grown = self.synced_to.saturating_sub(self.keys.done);
        if !self.keys.is_under_way && grown >= self.reclaim.segment_bytes() && self.refusal().is_none() {
            self.keys.is_under_way = true;
            self.keys.looked = self.synced_to;
            self.outputs.work.push(Work::MakeKeys);
        }
    }

    /// The log's parts have changed: some have no key file, and some key files no part.
    pub(super) fn make_keys_again(&mut self) {
        self.keys.done = 0;
    }
}
