//! What a group has in hand on one queue: leases, entries that came back, and how far it has been served. Volatile; the
//! part that survives is [`Progress`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use mailrail_commitlog::planted::{Bug, planted};

use super::fifo::{Fifo, Standing};
use super::leases::{Lease, Leases};
use super::ranks::{self, Ranks};
use crate::ids::*;
use crate::limits::GROUP_LEASES_MAX;
use crate::queue::{Entry, PrioritySet};
use crate::state::{Progress, Ranges};
use crate::time::Now;

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
enum Known {
    #[default]
    Arrival,
    Queue(QueueTurn),
    Keys(Fifo),
    Ranks(Ranks),
}

/// Strict order of a whole queue: its next entry is the lowest that is not settled, and what is leased is of one batch.
#[derive(Debug, Default)]
struct QueueTurn {
    /// The batch that was asked for last, and the one that is leased.
    asked: u64,
    out: u64,
}

impl Known {
    fn new(sequence: Sequence, floor: u64) -> Self {
        match sequence {
            Sequence::Arrival => Known::Arrival,
            Sequence::Fifo { by_key: false } => Known::Queue(QueueTurn::default()),
            Sequence::Fifo { by_key: true } => Known::Keys(Fifo::new(floor)),
            Sequence::Priority => Known::Ranks(Ranks::new(floor)),
        }
    }
}

/// Volatile state of a group on a queue.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    sequence: Sequence,
    known: Known,
    /// Entries from here on were never handed out since the flow began.
    cursor: u64,
    leases: Leases,
    /// Came back and may be handed out again; where the sequence is arrival.
    returned: BTreeSet<u64>,
    /// Came back and must wait: until a monotonic time, by offset and in the order of time.
    delayed: BTreeMap<u64, Duration>,
    delay_ends: BTreeSet<(Duration, u64)>,
    /// What decides the sequence, or what the group wants, could not be read: not before.
    look_again: Option<Duration>,
    wanted: Wanted,
}

/// What is known of the entries of a queue by a group's filter. Those that do not pass were settled.
#[derive(Debug, Default)]
struct Wanted {
    /// Number of the filter.
    by: u64,
    passed: Ranges,
    /// Number of the look at others that is under way.
    look: Option<u64>,
}

impl Flow {
    /// A flow that takes up where `progress` stands.
    pub fn new(progress: &Progress, sequence: Sequence, now: Now) -> Self {
        let known = Known::new(sequence, progress.floor);
        let mut flow = Flow { sequence, known, cursor: progress.floor, ..Flow::default() };
        for (offset, failed) in &progress.failed {
            flow.come_back(*offset, wait_until(failed.not_before_ms, now), now);
        }
        flow
    }

    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Goes on in another sequence; what is leased stays leased.
    pub fn change_sequence(&mut self, progress: &Progress, sequence: Sequence) {
        (self.sequence, self.known) = (sequence, Known::new(sequence, progress.floor));
        (self.cursor, self.returned) = (progress.floor, BTreeSet::new());
        if sequence == Sequence::Arrival {
            let is_free =
                |offset: &&u64| !self.leases.contains(**offset) && !self.delayed.contains_key(offset);
            self.returned = progress.failed.keys().filter(is_free).copied().collect();
        }
    }

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

    /// Up to where entries from an offset on are known to pass the filter of a number; `None` for an offset that was not
    /// looked at by it.
    pub fn passes_to(&self, filter: u64, offset: u64) -> Option<u64> {
        if self.wanted.by == filter { self.wanted.passed.run_of(offset) } else { None }
    }

    /// A look at entries by a filter is to begin; false where one is under way.
    pub fn begin_look(&mut self, filter: u64, look: u64) -> bool {
        if self.wanted.by != filter {
            self.wanted = Wanted { by: filter, ..Wanted::default() };
        }
        let may_begin = self.wanted.look.is_none();
        self.wanted.look.get_or_insert(look);
        may_begin
    }

    /// A look has ended; false where the flow has begun anew since, and knows nothing of it.
    pub fn end_look(&mut self, look: u64) -> bool {
        self.wanted.look.take_if(|under_way| *under_way == look).is_some()
    }

    pub fn is_looking(&self) -> bool {
        self.wanted.look.is_some()
    }

    /// What is unsettled of a range passes, but for some offsets.
    pub fn looked_at(&mut self, range: Range<u64>, but: &[u64]) {
        self.wanted.passed.insert(range.start, range.end);
        but.iter().for_each(|offset| self.wanted.passed.remove(*offset, offset + 1));
    }

    /// True while an index that could not be read is not to be asked again.
    pub fn is_waiting(&self) -> bool {
        self.look_again.is_some()
    }

    /// It could not be told what was asked for: it asks again later.
    pub fn look_again(&mut self, from: Duration) {
        self.look_again = Some(from);
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

    /// Leases a run that [`Flow::next_run`] gave; lease numbers count up from `lease.number`.
    pub fn grant(&mut self, run: &Run, lease: Lease) {
        self.leases.insert(run.first..run.first + run.count, lease);
        match &mut self.known {
            Known::Arrival => self.go_past(run),
            Known::Queue(turn) => turn.out = turn.asked,
            Known::Keys(fifo) => fifo.grant(run.first, run.count),
            Known::Ranks(ranks) => ranks.grant(run.first, run.count),
        }
    }

    /// Passes a run without leasing it: it is settled at once.
    pub fn pass(&mut self, run: &Run) {
        self.end_turns(run.first..run.first + run.count);
        self.go_past(run);
    }

    fn go_past(&mut self, run: &Run) {
        for offset in run.first..run.first + run.count {
            if !self.returned.remove(&offset) {
                self.cursor = self.cursor.max(offset + 1);
            }
        }
    }

    /// The lease on an entry.
    pub fn lease(&self, offset: u64) -> Option<Lease> {
        self.leases.get(offset)
    }

    /// Changes what ends a lease; one is made where there is none.
    pub fn end_lease_by(&mut self, offset: u64, lease: Lease) {
        if !self.leases.contains(offset) {
            let Flow { known, delayed, .. } = self;
            match known {
                Known::Arrival | Known::Queue(_) => {}
                Known::Keys(fifo) => {
                    let is_delayed = |offset: u64| delayed.contains_key(&offset);
                    fifo.end(offset..offset + 1, |_| false, &is_delayed);
                    fifo.hold(offset, &is_delayed);
                }
                Known::Ranks(ranks) => ranks.grant(offset, 1),
            }
        }
        self.forget(offset..offset + 1);
        self.leases.insert(offset..offset + 1, lease);
    }

    /// Ends leases for good: their entries are settled. Also forgets entries that came back.
    pub fn settled(&mut self, first: u64, count: u64) {
        let run = first..first.saturating_add(count);
        self.end_turns(run.clone());
        self.forget(run);
    }

    /// Entries have no turn any more. Before leases on them are forgotten.
    fn end_turns(&mut self, run: Range<u64>) {
        let Flow { known, delayed, leases, .. } = self;
        match known {
            Known::Arrival | Known::Queue(_) => {}
            Known::Keys(fifo) => {
                let is_delayed = |offset: u64| delayed.contains_key(&offset);
                fifo.end(run, |offset| leases.contains(offset), &is_delayed);
            }
            Known::Ranks(ranks) => ranks.end(run.start, run.end),
        }
    }

    fn forget(&mut self, run: Range<u64>) {
        self.leases.remove(run.clone());
        let returned: Vec<u64> = self.returned.range(run.clone()).copied().collect();
        for offset in returned {
            self.returned.remove(&offset);
        }
        let delayed: Vec<(u64, Duration)> = self.delayed.range(run).map(|(o, at)| (*o, *at)).collect();
        for (offset, at) in delayed {
            self.delayed.remove(&offset);
            self.delay_ends.remove(&(at, offset));
        }
    }

    /// Ends a lease and puts its entry back, to be handed out from `from` on.
    pub fn come_back(&mut self, offset: u64, from: Duration, now: Now) {
        if let Known::Keys(_) = self.known {
            self.end_turns(offset..offset + 1);
        }
        self.forget(offset..offset + 1);
        if from > now.mono {
            self.delayed.insert(offset, from);
            self.delay_ends.insert((from, offset));
        }
        self.take_back(offset);
    }

    /// An entry that came back waits in its place.
    fn take_back(&mut self, offset: u64) {
        let Flow { known, delayed, returned, .. } = self;
        let is_delayed = |offset: u64| delayed.contains_key(&offset);
        match known {
            Known::Queue(_) => {}
            Known::Arrival if is_delayed(offset) => {}
            Known::Arrival => drop(returned.insert(offset)),
            Known::Keys(_) if is_delayed(offset) && planted(Bug::FifoPassesRetry) => {}
            Known::Keys(fifo) => fifo.wait(offset, &is_delayed),
            Known::Ranks(ranks) => ranks.come_back(offset, !is_delayed(offset)),
        }
    }

    /// Forgets everything and starts again from `offset`.
    pub fn reset(&mut self, offset: u64) {
        let (sequence, known) = (self.sequence, Known::new(self.sequence, offset));
        *self = Flow { sequence, known, cursor: offset, ..Flow::default() };
    }

    /// Offsets leased to a session.
    pub fn leased_to(&self, owner: SessionId) -> Vec<u64> {
        self.leases.owned_by(owner)
    }

    /// Leases whose time has come.
    pub fn expired(&self, now: Now) -> Vec<u64> {
        self.leases.ended(now.mono)
    }

    /// When something happens by itself next: a lease ends, or an entry's wait is over.
    pub fn deadline(&self) -> Option<Duration> {
        let delay_end = self.delay_ends.first().map(|(at, _)| *at);
        self.leases.next_end().into_iter().chain(delay_end).chain(self.look_again).min()
    }

    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    /// Entries below an end that nobody holds and that are not settled, in order.
    pub fn oldest_ready<'a>(&'a self, progress: &Progress, end: u64) -> impl Iterator<Item = u64> + use<'a> {
        let unsettled = progress.unsettled_runs(end).into_iter().flat_map(|(first, end)| first..end);
        unsettled.filter(|offset| !self.leases.contains(*offset) || planted(Bug::LeasedDropped))
    }

    /// Leased offsets below an end, in order.
    pub fn leased_below(&self, end: u64) -> impl Iterator<Item = u64> + '_ {
        self.leases.offsets(0..end)
    }

    /// Entries whose wait is over may be handed out.
    pub fn release_due(&mut self, now: Now) {
        while let Some((at, offset)) = self.delay_ends.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.delay_ends.remove(&(at, offset));
            self.delayed.remove(&offset);
            self.take_back(offset);
        }
        self.look_again.take_if(|at| *at <= now.mono);
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

/// Failed attempts of an entry.
pub(crate) fn attempts(progress: &Progress, offset: u64) -> u32 {
    progress.failed.get(&offset).map_or(0, |failed| failed.attempts)
}

fn attempts_eq(progress: &Progress, offset: u64, expected: u32) -> bool {
    attempts(progress, offset) == expected
}

/// The monotonic time at which a wall time will have come, as far as the clocks agree now.
pub(crate) fn wait_until(wall_ms: u64, now: Now) -> Duration {
    now.mono + Duration::from_millis(wall_ms.saturating_sub(now.wall_ms))
}

#[cfg(test)]
mod tests {
    use super::super::leases::LeaseEnd;
    use super::*;
    use crate::state::Failed;

    fn at(ms: u64) -> Now {
        Now { wall_ms: ms, mono: Duration::from_millis(ms) }
    }

    fn lease(number: u64) -> Lease {
        Lease { number, owner: SessionId(1), end: LeaseEnd::WithOwner }
    }

    fn next(flow: &mut Flow, progress: &Progress, (end, max): (u64, u64), ms: u64) -> Option<Run> {
        let ask = Ask { end, max, batch: 1, priorities: PrioritySet::default() };
        match flow.next_run(progress, &ask, at(ms)) {
            Next::Run(run) => Some(run),
            Next::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hands_out_in_order_skips_what_is_settled_and_brings_back_in_place() {
        let mut progress = Progress::at(0);
        progress.settle(2, 1);
        let mut flow = Flow::new(&progress, Sequence::Arrival, at(0));
        let run = next(&mut flow, &progress, (5, 10), 0).unwrap();
        assert_eq!((run.first, run.count), (0, 2));
        flow.grant(&run, lease(1));
        let run = next(&mut flow, &progress, (5, 10), 0).unwrap();
        assert_eq!((run.first, run.count), (3, 2));
        flow.grant(&run, lease(3));
        assert_eq!(next(&mut flow, &progress, (5, 10), 0), None);
        progress.fail(1, 1, Failed { attempts: 1, not_before_ms: 0 });
        flow.come_back(1, Duration::from_millis(50), at(0));
        assert_eq!(next(&mut flow, &progress, (5, 10), 49), None);
        assert_eq!(flow.deadline(), Some(Duration::from_millis(50)));
        assert_eq!(
            next(&mut flow, &progress, (5, 10), 50),
            Some(Run { first: 1, count: 1, attempts: 1, priority: 0 })
        );
    }

    #[test]
    fn as_many_leases_are_granted_as_there_may_be() {
        let max = u64::try_from(GROUP_LEASES_MAX).unwrap();
        let (mut progress, end) = (Progress::at(0), max + 10);
        let mut flow = Flow::new(&progress, Sequence::Arrival, at(0));
        flow.grant(&Run { first: 0, count: max - 1, attempts: 0, priority: 0 }, lease(1));
        let run = next(&mut flow, &progress, (end, 10), 0).unwrap();
        assert_eq!((run.first, run.count), (max - 1, 1), "no run goes past the limit");
        flow.grant(&run, lease(max));
        assert_eq!((flow.leases(), next(&mut flow, &progress, (end, 10), 0)), (GROUP_LEASES_MAX, None));
        progress.settle(5, 1);
        flow.settled(5, 1);
        assert_eq!(next(&mut flow, &progress, (end, 10), 0).map(|run| run.count), Some(1));
    }

    #[test]
    fn a_new_flow_takes_up_what_had_failed() {
        let mut progress = Progress::at(3);
        progress.fail(4, 2, Failed { attempts: 2, not_before_ms: 100 });
        let mut flow = Flow::new(&progress, Sequence::Arrival, at(0));
        assert_eq!(
            next(&mut flow, &progress, (9, 1), 0),
            Some(Run { first: 3, count: 1, attempts: 0, priority: 0 })
        );
        flow.grant(&Run { first: 3, count: 1, attempts: 0, priority: 0 }, lease(1));
        assert_eq!(
            next(&mut flow, &progress, (9, 9), 0),
            Some(Run { first: 6, count: 3, attempts: 0, priority: 0 })
        );
        assert_eq!(
            next(&mut flow, &progress, (9, 9), 100),
            Some(Run { first: 4, count: 2, attempts: 2, priority: 0 })
        );
    }
}
