//! Order by priority: of each priority in use one sub-sequence of a queue, of which only the next few entries are in
//! memory, and those that came back. Volatile.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use mailrail_commitlog::planted::{Bug, planted};

/// What is known of the sub-sequences of a queue.
#[derive(Debug)]
pub(super) struct Ranks {
    floor: u64,
    ranks: BTreeMap<u8, Rank>,
    /// Priorities of entries that were found and do not wait: they are leased, or must not be handed out yet.
    away: BTreeMap<u64, u8>,
}

/// A sub-sequence.
#[derive(Debug)]
struct Rank {
    waiting: BTreeSet<u64>,
    /// Entries below were looked at.
    looked_to: u64,
}

/// What comes next.
pub(super) enum Next {
    /// So many entries without a gap.
    Run {
        first: u64,
        count: u64,
        priority: u8,
    },
    /// Entries of a priority are to be looked for from an offset on.
    LookFor(u8, u64),
    Nothing,
}

impl Ranks {
    pub fn new(floor: u64) -> Self {
        Ranks { floor, ranks: BTreeMap::new(), away: BTreeMap::new() }
    }

    /// The first entries of the highest priority; `alike` tells which may be in one run with the first.
    pub fn next(
        &mut self,
        (floor, end): (u64, u64),
        in_use: impl Iterator<Item = u8>,
        max: u64,
        alike: impl Fn(u64, u64) -> bool,
    ) -> Next {
        self.floor = self.floor.max(floor);
        for priority in in_use {
            let looked_to = self.floor;
            let rank = self.ranks.entry(priority).or_insert(Rank { waiting: BTreeSet::new(), looked_to });
            rank.looked_to = rank.looked_to.max(self.floor);
            if planted(Bug::NewestOfPriorityFirst)
                && let Some(first) = rank.waiting.last().copied()
            {
                return Next::Run { first, count: 1, priority };
            }
            if let Some(first) = rank.waiting.first().copied() {
                let in_a_row = (0..max).zip(&rank.waiting);
                let run = in_a_row.take_while(|(step, at)| first + step == **at && alike(first, **at));
                let count = u64::try_from(run.count()).unwrap_or(1);
                return Next::Run { first, count, priority };
            }
            if rank.looked_to < end {
                return Next::LookFor(priority, rank.looked_to);
            }
        }
        Next::Nothing
    }

    /// An entry of a priority was found.
    pub fn found(&mut self, priority: u8, offset: u64, may_be_handed_out: bool) {
        match self.ranks.get_mut(&priority).filter(|_| may_be_handed_out) {
            Some(rank) => drop(rank.waiting.insert(offset)),
            None => drop(self.away.insert(offset, priority)),
        }
    }

    /// All entries of a priority below an offset were looked at.
    pub fn looked(&mut self, priority: u8, to: u64) {
        if let Some(rank) = self.ranks.get_mut(&priority) {
            rank.looked_to = rank.looked_to.max(to);
        }
    }

    /// Entries are leased that waited.
    pub fn grant(&mut self, first: u64, count: u64) {
        for offset in first..first + count {
            let mut ranks = self.ranks.iter_mut();
            let found = ranks.find_map(|(priority, rank)| rank.waiting.remove(&offset).then_some(*priority));
            self.away.extend(found.map(|priority| (offset, priority)));
        }
    }

    /// Entries are neither leased nor waiting any more.
    pub fn end(&mut self, first: u64, end: u64) {
        for rank in self.ranks.values_mut() {
            while let Some(gone) = rank.waiting.range(first..end).next().copied() {
                rank.waiting.remove(&gone);
            }
        }
        while let Some(gone) = self.away.range(first..end).next().map(|(offset, _)| *offset) {
            self.away.remove(&gone);
        }
    }

    /// An entry that was away, or waited, may be handed out, or must not be yet. One that was not found yet will be.
    pub fn come_back(&mut self, offset: u64, may_be_handed_out: bool) {
        if let Some(priority) = self.away.get(&offset).copied().filter(|_| may_be_handed_out) {
            self.away.remove(&offset);
            self.found(priority, offset, true);
        }
    }
}
