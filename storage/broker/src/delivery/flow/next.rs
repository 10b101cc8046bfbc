//! Which entries are next, by the sequence in which a group gets them.

use super::*;
use crate::delivery::fifo::{Fifo, Standing};
use crate::delivery::ranks::{self, Ranks};
use crate::limits::GROUP_LEASES_MAX;
use crate::queue::{Entry, PrioritySet};

/// A run of entries that may be handed out now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub first: u64,
    pub count: u64,
    /// Failed attempts of each so far.
    pub attempts: u32,
    /// Of each; 0 where they are handed out in another sequence.
    pub priority: u8,
}

/// The sequence in which a group gets the entries of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// What came back first, else as they arrived; others go on while some are out.
    #[default]
    Arrival,
    /// Of each message group (`by_key`), or of the whole queue, one batch at a time.
    Fifo { by_key: bool },
    /// The highest priority first, and within one as by [`Sequence::Arrival`].
    Priority,
}

/// What is asked of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// Entries below can be seen.
    pub end: u64,
    pub max: u64,
    /// Changes with each batch: of one message group, a batch may get more than one run.
    pub batch: u64,
    pub priorities: PrioritySet,
}

/// What a flow answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Run(Run),
    /// It has to know these entries first: [`Flow::learn`].
    Entries(Range<u64>),
    /// It has to know the first entries of a priority from an offset on: [`Flow::found`].
    OfPriority(u8, u64),
    Nothing,
}

/// What the sequence is decided by.
#[derive(Debug, Default)]
pub(super) enum Known {
    #[default]
    Arrival,
    Queue(QueueTurn),
    Keys(Fifo),
    Ranks(Ranks),
}

/// Strict order of a whole queue: its next entry is the lowest that is not settled, and what is leased is of one batch.
#[derive(Debug, Default)]
pub(super) struct QueueTurn {
    /// The batch that was asked for last, and the one that is leased.
    pub asked: u64,
    pub out: u64,
}

impl Known {
    pub fn new(sequence: Sequence, floor: u64) -> Self {
        match sequence {
            Sequence::Arrival => Known::Arrival,
            Sequence::Fifo { by_key: false } => Known::Queue(QueueTurn::default()),
            Sequence::Fifo { by_key: true } => Known::Keys(Fifo::new(floor)),
            Sequence::Priority => Known::Ranks(Ranks::new(floor)),
        }
    }
}

impl Flow {
    /// The next entries to hand out, at most as many as are asked for and as there may be leases. Does not change what is
    /// handed out.
    pub fn next_run(&mut self, progress: &Progress, ask: &Ask, now: Now) -> Next {
        self.release_due(now);
        let room = u64::try_from(GROUP_LEASES_MAX.saturating_sub(self.leases.len())).unwrap_or(u64::MAX);
        let max = ask.max.min(room);
        if max == 0 {
            return Next::Nothing;
        }
        let run =
            |(first, count), priority| Run { first, count, attempts: attempts(progress, first), priority };
        let alike = |first: u64, other: u64| attempts(progress, first) == attempts(progress, other);
        let Flow { known, delayed, .. } = self;
        match known {
            Known::Arrival => self.next_in_arrival(progress, ask.end, max).map_or(Next::Nothing, Next::Run),
            Known::Queue(_) => self.next_in_queue(progress, ask, max).map_or(Next::Nothing, Next::Run),
            Known::Keys(fifo) => {
                let is_delayed = |offset: u64| delayed.contains_key(&offset);
                if let Some(found) = fifo.next(ask.batch, max, &is_delayed, alike) {
                    return Next::Run(run(found, 0));
                }
                fifo.wanted(progress.floor, ask.end).map_or(Next::Nothing, Next::Entries)
            }
            Known::Ranks(ranks) => {
                let in_use = ask.priorities.descending();
                match ranks.next((progress.floor, ask.end), in_use, max, alike) {
                    ranks::Next::Run { first, count, priority } => Next::Run(run((first, count), priority)),
                    ranks::Next::LookFor(priority, from) => Next::OfPriority(priority, from),
                    ranks::Next::Nothing => Next::Nothing,
                }
            }
        }
    }

    /// Answers [`Next::Entries`]. What the index lacks in the range is no more, and has no key: who is handed it finds out.
    pub fn learn(&mut self, progress: &Progress, wanted: Range<u64>, entries: &[Entry]) {
        let Flow { known: Known::Keys(fifo), delayed, leases, .. } = self else { return };
        let is_delayed = |offset: u64| delayed.contains_key(&offset);
        let mut entries = entries.iter().peekable();
        for offset in wanted {
            while entries.next_if(|entry| entry.offset < offset).is_some() {}
            let key = entries.next_if(|entry| entry.offset == offset).map_or(0, |entry| entry.key_hash);
            fifo.learn(key, standing(progress, leases, offset), &is_delayed);
        }
    }

    /// Answers [`Next::OfPriority`]: entries of the priority, all of those below `to`.
    pub fn found(&mut self, progress: &Progress, priority: u8, offsets: &[u64], to: u64) {
        let Flow { known: Known::Ranks(ranks), delayed, leases, .. } = self else { return };
        for offset in offsets {
            match standing(progress, leases, *offset) {
                Standing::Settled => {}
                Standing::Leased => ranks.found(priority, *offset, false),
                Standing::Waiting => ranks.found(priority, *offset, !delayed.contains_key(offset)),
            }
        }
        ranks.looked(priority, to);
    }

    fn next_in_arrival(&mut self, progress: &Progress, end: u64, max: u64) -> Option<Run> {
        self.cursor = self.cursor.max(progress.floor);
        if let Some(first) = self.returned.iter().copied().find(|offset| *offset < end) {
            let attempts = attempts(progress, first);
            let same = |(step, offset): &(u64, &u64)| {
                **offset == first + step && attempts_eq(progress, **offset, attempts)
            };
            let count = (0u64..).zip(self.returned.range(first..end)).take_while(same).count();
            return Some(Run {
                first,
                count: u64::try_from(count).unwrap_or(1).min(max),
                attempts,
                priority: 0,
            });
        }
        // Skip what was settled out of order, or came back and is waiting.
        loop {
            if let Some(end) = progress.settled.run_of(self.cursor) {
                self.cursor = end;
            } else if let Some(end) = self.leases.end_of(self.cursor) {
                self.cursor = end;
            } else if progress.failed.contains_key(&self.cursor) {
                self.cursor += 1;
            } else {
                break;
            }
        }
        let mut stop = end.min(self.cursor.saturating_add(max));
        stop = progress.settled.next_start(self.cursor).map_or(stop, |next| stop.min(next));
        let failed = progress.failed.range(self.cursor..).next().map(|(offset, _)| *offset);
        stop = failed.map_or(stop, |next| stop.min(next));
        stop = self.leases.next_from(self.cursor).map_or(stop, |next| stop.min(next));
        (stop > self.cursor).then(|| Run {
            first: self.cursor,
            count: stop - self.cursor,
            attempts: 0,
            priority: 0,
        })
    }

    fn next_in_queue(&mut self, progress: &Progress, ask: &Ask, max: u64) -> Option<Run> {
        let Known::Queue(turn) = &mut self.known else { return None };
        turn.asked = ask.batch;
        if !self.leases.is_empty() && turn.out != ask.batch {
            return None;
        }
        let mut first = progress.floor;
        let passed_over = |first: u64| {
            let is_passed = planted(Bug::FifoPassesRetry) && self.delayed.contains_key(&first);
            is_passed.then_some(first + 1)
        };
        while let Some(end) = progress
            .settled
            .run_of(first)
            .or_else(|| self.leases.end_of(first))
            .or_else(|| passed_over(first))
        {
            first = end;
        }
        let mut stop = ask.end.min(first.saturating_add(max));
        stop = progress.settled.next_start(first).map_or(stop, |next| stop.min(next));
        stop = self.leases.next_from(first).map_or(stop, |next| stop.min(next));
        let is_like_first = |offset: u64| {
            attempts_eq(progress, offset, attempts(progress, first)) && !self.delayed.contains_key(&offset)
        };
        // Between entries that came back all are alike.
        let mut failed = progress.failed.range(first..stop.max(first)).map(|(offset, _)| *offset);
        stop = match failed.next() {
            Some(offset) if offset == first => (first..stop).find(|at| !is_like_first(*at)).unwrap_or(stop),
            Some(offset) => offset,
            None => stop,
        };
        let attempts = attempts(progress, first);
        (stop > first).then(|| Run { first, count: stop - first, attempts, priority: 0 })
    }
}

/// How an entry stands whose turn is not known yet.
fn standing(progress: &Progress, leases: &Leases, offset: u64) -> Standing {
    if progress.is_settled(offset) {
        Standing::Settled
    } else if leases.contains(offset) {
        Standing::Leased
    } else {
        Standing::Waiting
    }
}

fn attempts_eq(progress: &Progress, offset: u64, expected: u32) -> bool {
    attempts(progress, offset) == expected
}
