//! What a group has in hand on one queue: leases, entries that came back, and how far it has been served. Volatile; the
//! part that survives is [`Progress`].

mod next;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use mailrail_commitlog::planted::{Bug, planted};

use self::next::Known;
use super::leases::{Lease, Leases};
use crate::ids::*;
use crate::state::{Progress, Ranges};
use crate::time::Now;

pub(crate) use self::next::{Ask, Next, Run, Sequence};

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

/// Failed attempts of an entry.
pub(crate) fn attempts(progress: &Progress, offset: u64) -> u32 {
    progress.failed.get(&offset).map_or(0, |failed| failed.attempts)
}

/// The monotonic time at which a wall time will have come, as far as the clocks agree now.
pub(crate) fn wait_until(wall_ms: u64, now: Now) -> Duration {
    now.mono + Duration::from_millis(wall_ms.saturating_sub(now.wall_ms))
}

#[cfg(test)]
mod tests {
    use super::super::leases::LeaseEnd;
    use super::*;
    use crate::limits::GROUP_LEASES_MAX;
    use crate::queue::PrioritySet;
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
