//! The leases of a group on a queue. What was handed out together is one run, which costs the same whether it has one
//! entry or a thousand, until parts of it end apart.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use crate::ids::SessionId;

/// Who holds an entry, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub number: u64,
    pub owner: SessionId,
    pub end: LeaseEnd,
}

/// What ends a lease that nobody settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseEnd {
    /// Monotonic time.
    At(Duration),
    /// The owner going away.
    WithOwner,
    /// It is being moved to the dead letter topic; nobody can settle it.
    Dying,
}

/// Entries next to one another whose lease numbers count up.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    /// Of the first.
    lease: Lease,
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    /// By their last entry: what is settled in order shortens a run in its place.
    runs: BTreeMap<u64, Run>,
    /// Runs that end with time: when, last entry.
    timed: BTreeSet<(Duration, u64)>,
    count: usize,
}

impl Leases {
    /// Number of leased entries.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn get(&self, offset: u64) -> Option<Lease> {
        let (_, run) = self.runs.range(offset..).next().filter(|(_, run)| run.first <= offset)?;
        Some(Lease { number: run.lease.number + (offset - run.first), ..run.lease })
    }

    pub fn contains(&self, offset: u64) -> bool {
        self.end_of(offset).is_some()
    }

    /// Where the run ends that an entry is in: the offset behind it.
    pub fn end_of(&self, offset: u64) -> Option<u64> {
        self.runs.range(offset..).next().filter(|(_, run)| run.first <= offset).map(|(last, _)| last + 1)
    }

    /// The first leased entry from an offset on.
    pub fn next_from(&self, offset: u64) -> Option<u64> {
        self.runs.range(offset..).next().map(|(_, run)| run.first.max(offset))
    }

    /// Leased entries in a range, in order.
    pub fn offsets(&self, range: Range<u64>) -> impl Iterator<Item = u64> + '_ {
        let runs = self.runs.range(range.start..).take_while(move |(_, run)| run.first < range.end);
        runs.flat_map(move |(last, run)| run.first.max(range.start)..(last + 1).min(range.end))
    }

    /// Entries whose leases end when their owner goes.
    pub fn owned_by(&self, owner: SessionId) -> Vec<u64> {
        let owned = self
            .runs
            .iter()
            .filter(|(_, run)| run.lease.owner == owner && run.lease.end == LeaseEnd::WithOwner);
        owned.flat_map(|(last, run)| run.first..=*last).collect()
    }

    /// Entries whose leases have ended by a time.
    pub fn ended(&self, now: Duration) -> Vec<u64> {
        let ended = self.timed.iter().take_while(|(at, _)| *at <= now);
        ended.filter_map(|(_, last)| Some(self.runs.get(last)?.first..=*last)).flatten().collect()
    }

    /// When the next one ends.
    pub fn next_end(&self) -> Option<Duration> {
        self.timed.first().map(|(at, _)| *at)
    }

    /// Leases entries of which none is leased; their numbers count up from that of `lease`.
    pub fn insert(&mut self, entries: Range<u64>, lease: Lease) {
        let Some(last) = entries.end.checked_sub(1).filter(|last| *last >= entries.start) else { return };
        self.count += usize::try_from(entries.end - entries.start).unwrap_or(usize::MAX);
        self.insert_run(last, Run { first: entries.start, lease });
    }

    /// Ends the leases that there are on entries.
    pub fn remove(&mut self, entries: Range<u64>) {
        while let Some((last, run)) = self.runs.range(entries.start..).next().map(|(last, run)| (*last, *run))
        {
            let (from, to) = (run.first.max(entries.start), (last + 1).min(entries.end));
            if from >= to {
                return;
            }
            self.count -= usize::try_from(to - from).unwrap_or(usize::MAX);
            if to > last {
                self.remove_run(last);
            } else if let Some(rest) = self.runs.get_mut(&last) {
                rest.first = to;
                rest.lease.number += to - run.first;
            }
            if from > run.first {
                self.insert_run(from - 1, run);
            }
        }
    }

    fn insert_run(&mut self, last: u64, run: Run) {
        if let LeaseEnd::At(at) = run.lease.end {
            self.timed.insert((at, last));
        }
        self.runs.insert(last, run);
    }

    fn remove_run(&mut self, last: u64) {
        if let Some(Run { lease: Lease { end: LeaseEnd::At(at), .. }, .. }) = self.runs.remove(&last) {
            self.timed.remove(&(at, last));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Insert { first: u64, count: u64, end_ms: Option<u64> },
        Remove { first: u64, count: u64 },
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let end_ms = prop_oneof![Just(None), (1u64..5).prop_map(Some)];
        let act = prop_oneof![
            (0u64..60, 1u64..20, end_ms).prop_map(|(first, count, end_ms)| Act::Insert {
                first,
                count,
                end_ms
            }),
            (0u64..60, 0u64..20).prop_map(|(first, count)| Act::Remove { first, count }),
        ];
        proptest::collection::vec(act, 1..40)
    }

    proptest! {
        /// Against one lease for each entry.
        #[test]
        fn runs_are_as_good_as_single_leases(acts in acts()) {
            let (mut leases, mut model) = (Leases::default(), BTreeMap::new());
            let mut number = 1;
            for act in acts {
                match act {
                    Act::Insert { first, count, end_ms } => {
                        let end = (first..first + count).find(|at| model.contains_key(at)).unwrap_or(first + count);
                        let until = end_ms.map_or(LeaseEnd::WithOwner, |ms| LeaseEnd::At(Duration::from_millis(ms)));
                        let lease = Lease { number, owner: SessionId(number % 3), end: until };
                        leases.insert(first..end, lease);
                        for offset in first..end {
                            model.insert(offset, Lease { number, ..lease });
                            number += 1;
                        }
                    }
                    Act::Remove { first, count } => {
                        leases.remove(first..first + count);
                        model.retain(|offset, _| !(first..first + count).contains(offset));
                    }
                }
                prop_assert_eq!((leases.len(), leases.is_empty()), (model.len(), model.is_empty()));
                for offset in 0..90 {
                    prop_assert_eq!(leases.get(offset), model.get(&offset).copied());
                    prop_assert_eq!(leases.contains(offset), model.contains_key(&offset));
                    prop_assert_eq!(leases.next_from(offset), model.range(offset..).next().map(|(at, _)| *at));
                    if let Some(end) = leases.end_of(offset) {
                        prop_assert!((offset..end).all(|at| model.contains_key(&at)));
                    }
                }
                let all: Vec<u64> = model.range(5..50).map(|(at, _)| *at).collect();
                prop_assert_eq!(leases.offsets(5..50).collect::<Vec<_>>(), all);
                let is_owned = |lease: &Lease| lease.owner == SessionId(1) && lease.end == LeaseEnd::WithOwner;
                let owned: Vec<u64> = model.iter().filter(|(_, lease)| is_owned(lease)).map(|(at, _)| *at).collect();
                prop_assert_eq!(leases.owned_by(SessionId(1)), owned);
                let now = Duration::from_millis(2);
                let has_ended = |lease: &Lease| matches!(lease.end, LeaseEnd::At(at) if at <= now);
                let mut ended = leases.ended(now);
                ended.sort_unstable();
                let expected: Vec<u64> = model.iter().filter(|(_, lease)| has_ended(lease)).map(|(at, _)| *at).collect();
                prop_assert_eq!(ended, expected);
                let ends = model.values().filter_map(|lease| match lease.end {
                    LeaseEnd::At(at) => Some(at),
                    _ => None,
                });
                prop_assert_eq!(leases.next_end(), ends.min());
            }
        }
    }
}
