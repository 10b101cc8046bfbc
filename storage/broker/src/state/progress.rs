//! How far a group has got on one queue: the part of delivery that survives.

use std::collections::BTreeMap;

use super::ranges::Ranges;

/// Position of a group on a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Everything below is settled.
    pub floor: u64,
    /// Settled offsets above the floor.
    pub settled: Ranges,
    /// Unsettled offsets that have failed before.
    pub failed: BTreeMap<u64, Failed>,
    /// Entries below may have been handed out in this epoch.
    pub granted_to: u64,
    /// Unsettled offsets that may have been as well, where a group does not get them in the order of arrival.
    pub granted: Ranges,
}

/// An entry that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub attempts: u32,
    /// Wall time in milliseconds of the Unix epoch.
    pub not_before_ms: u64,
}

impl Progress {
    pub fn at(offset: u64) -> Self {
        Progress { floor: offset, granted_to: offset, ..Progress::default() }
    }

    pub fn is_settled(&self, offset: u64) -> bool {
        offset < self.floor || self.settled.contains(offset)
    }

    /// Settles a run; returns true when the floor moved.
    pub fn settle(&mut self, first: u64, count: u64) -> bool {
        let end = first.saturating_add(count);
        if end <= self.floor {
            return false;
        }
        let first = first.max(self.floor);
        self.granted.remove(first, end);
        if !self.failed.is_empty() {
            let gone: Vec<u64> = self.failed.range(first..end).map(|(offset, _)| *offset).collect();
            for offset in gone {
                self.failed.remove(&offset);
            }
        }
        if first > self.floor {
            self.settled.insert(first, end);
            return false;
        }
        self.floor = end;
        while let Some(end) = self.settled.take_from(self.floor) {
            self.floor = self.floor.max(end);
        }
        true
    }

    /// Settles a run (first, end) of offsets that no message has.
    pub fn pass(&mut self, first: u64, end: u64) {
        self.settle(first, end.saturating_sub(first));
    }

    /// Runs (first, end) at or above the floor that are not settled, up to `end`.
    pub fn unsettled_runs(&self, end: u64) -> Vec<(u64, u64)> {
        let mut runs = Vec::new();
        let mut from = self.floor;
        for (first, settled_end) in self.settled.iter().take_while(|(first, _)| *first < end) {
            runs.push((from, first));
            from = settled_end;
        }
        runs.push((from, end));
        runs.retain(|(first, end)| first < end);
        runs
    }

    /// Entries below an offset may have been handed out; below the floor, none.
    pub fn mark_granted(&mut self, to: u64) {
        self.granted_to = to;
        if to <= self.floor {
            self.granted = Ranges::default();
        }
    }

    /// Unsettled entries of a run (first, end) may have been handed out.
    pub fn grant(&mut self, first: u64, end: u64) {
        self.granted.insert(first.max(self.floor), end);
    }

    pub fn may_have_been_granted(&self, offset: u64) -> bool {
        offset < self.granted_to || self.granted.contains(offset)
    }

    /// True while anything that is not settled may have been handed out.
    pub fn has_grants(&self) -> bool {
        self.granted_to > self.floor || self.granted.len() > 0
    }

    pub fn fail(&mut self, first: u64, count: u64, failed: Failed) {
        for offset in first..first.saturating_add(count) {
            if !self.is_settled(offset) {
                self.failed.insert(offset, failed);
            }
        }
    }

    /// Entries at or above the floor that are not settled, up to `end`.
    pub fn unsettled(&self, end: u64) -> u64 {
        // Offsets that are skipped are settled before anything behind them can be seen.
        end.saturating_sub(self.floor).saturating_sub(self.settled.len_below(end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_floor_is_the_lowest_unsettled(settles in proptest::collection::vec((0u64..50, 1u64..8), 0..40)) {
            let (mut progress, mut plain) = (Progress::at(5), (0..5).collect::<BTreeSet<u64>>());
            for (first, count) in settles {
                progress.fail(first, count, Failed { attempts: 1, not_before_ms: 0 });
                progress.settle(first, count);
                plain.extend(first..first + count);
                let lowest = (0..).find(|offset| !plain.contains(offset)).unwrap();
                prop_assert_eq!(progress.floor, lowest);
                prop_assert!((0..70).all(|offset| progress.is_settled(offset) == plain.contains(&offset)));
                prop_assert!(progress.failed.keys().all(|offset| !plain.contains(offset)));
                let unsettled = progress.unsettled_runs(60).into_iter().flat_map(|(first, end)| first..end);
                prop_assert!(unsettled.eq((lowest..60).filter(|offset| !plain.contains(offset))));
                for end in [lowest, 20, 60] {
                    let unsettled = (lowest..end).filter(|offset| !plain.contains(offset)).count() as u64;
                    prop_assert_eq!(progress.unsettled(end), unsettled);
                }
            }
        }
    }
}
