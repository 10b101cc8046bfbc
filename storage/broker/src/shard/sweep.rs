//! Messages whose time is over: taken away from the group that owns them when they are due, whether or not anybody
//! consumes. Other groups, and readers by offset, are kept from them where messages are read.
//!
//! There is one set of due queues, and no timer for each: a queue is looked at when the earliest of its entries is due.

use mailrail_message::DeathReason;

use super::settle::runs;
use super::*;
use crate::delivery::{Run, attempts, wait_until};
use crate::queue::{Entry, IndexError, NEVER_MS, Queue, Slice};
use crate::reader::ReadContext;

/// Most sweeps under way at once.
const SWEEPS_MAX: usize = 8;
/// Least time between two sweeps of one queue, and longer by a millisecond for so many blocks of it: how late a message may
/// go. Nobody gets it in the meantime.
const SWEEP_WAIT_MS: u64 = 20;
const SWEEP_WAIT_BLOCKS: u64 = 100;
/// Wait before a sweep that failed is tried again.
const RETRY_MS: u64 = 1_000;

/// Queues by the wall time at which something in them is due.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    due: BTreeSet<(u64, QueueId)>,
    queues: FxHashMap<QueueId, Noted>,
    under_way: usize,
}

#[derive(Debug)]
struct Noted {
    due_ms: u64,
    /// Earliest deadline of entries that cannot be seen yet.
    unseen_ms: u64,
    is_under_way: bool,
    /// Earliest deadline that the sweep under way has passed so far.
    passed_ms: u64,
    passed_blocks: u64,
    /// Leased when their time came: they go when they come back.
    overdue: BTreeMap<u64, Entry>,
}

impl Default for Noted {
    fn default() -> Self {
        Noted {
            due_ms: NEVER_MS,
            unseen_ms: NEVER_MS,
            is_under_way: false,
            passed_ms: NEVER_MS,
            passed_blocks: 0,
            overdue: BTreeMap::new(),
        }
    }
}

impl Sweeps {
    pub fn new(state: &State) -> Self {
        let mut sweeps = Sweeps::default();
        for queue in state.queues.values().filter(|queue| queue.shared.is_owned()) {
            sweeps.note_due(queue.shared.id, queue.shared.earliest_deadline_ms());
        }
        sweeps
    }

    /// An entry is to be appended.
    pub fn note(&mut self, queue: &Queue, entry: &Entry) {
        let due_ms = if queue.is_owned() { queue.deadline_ms(entry) } else { NEVER_MS };
        if due_ms != NEVER_MS {
            let noted = self.queues.entry(queue.id).or_default();
            noted.unseen_ms = noted.unseen_ms.min(due_ms);
        }
    }

    /// A queue has entries more that can be seen.
    pub fn seen(&mut self, queue: QueueId) {
        if let Some(noted) = self.queues.get_mut(&queue) {
            let due_ms = std::mem::replace(&mut noted.unseen_ms, NEVER_MS);
            self.note_due(queue, due_ms);
        }
    }

    fn note_due(&mut self, queue: QueueId, due_ms: u64) {
        if due_ms == NEVER_MS {
            return;
        }
        let noted = self.queues.entry(queue).or_default();
        if due_ms < noted.due_ms {
            self.due.remove(&(noted.due_ms, queue));
            self.due.insert((due_ms, queue));
            noted.due_ms = due_ms;
        }
    }

    pub fn forget(&mut self, queue: QueueId) {
        if let Some(noted) = self.queues.remove(&queue) {
            self.due.remove(&(noted.due_ms, queue));
        }
    }

    pub fn deadline(&self, now: Now) -> Option<Duration> {
        let (due_ms, _) = self.due.first().filter(|_| self.under_way < SWEEPS_MAX)?;
        Some(wait_until(*due_ms, now))
    }
}

/// A sweep of one queue on its way: one slice of it at a time.
#[derive(Debug)]
pub(crate) struct Sweep {
    queue: Arc<Queue>,
    from: u64,
    now_ms: u64,
    found: Option<Result<Slice, IndexError>>,
}

impl Sweep {
    /// Looks for what is due; on a reader's thread.
    pub fn look(mut self, context: &ReadContext) -> Sweep {
        self.found = Some(self.queue.sweep(self.from, self.now_ms, &context.blocks));
        self
    }
}

impl Shard {
    pub(super) fn start_due_sweeps(&mut self, now: Now) {
        while self.sweeps.under_way < SWEEPS_MAX && self.refusal().is_none() {
            let due = self.sweeps.due.first().copied().filter(|(due_ms, _)| *due_ms <= now.wall_ms);
            let Some((due_ms, id)) = due else { return };
            self.sweeps.due.remove(&(due_ms, id));
            let shared = self.state.queues.get(&id).map(|queue| queue.shared.clone());
            let (Some(queue), Some(noted)) = (shared, self.sweeps.queues.get_mut(&id)) else {
                self.sweeps.queues.remove(&id);
                continue;
            };
            noted.due_ms = NEVER_MS;
            if !noted.is_under_way {
                (noted.is_under_way, noted.passed_ms, noted.passed_blocks) = (true, NEVER_MS, 0);
                self.sweeps.under_way += 1;
                let sweep = Sweep { queue, from: 0, now_ms: now.wall_ms, found: None };
                self.outputs.work.push(Work::Sweep(sweep));
            }
        }
    }

    /// A slice of a queue was looked at.
    pub(super) fn swept(&mut self, now: Now, sweep: Sweep) {
        if self.refusal().is_some() {
            // Whoever starts next looks again.
            return;
        }
        let Sweep { queue, now_ms, found, .. } = sweep;
        let line = match &found {
            Some(Ok(slice)) if !slice.expired.is_empty() => self.make_owner(&queue),
            _ => self.owner_of(queue.id),
        };
        let done = match (line, found) {
            (Some(line), Some(Ok(slice))) => self.take_expired(now, line, &slice).map(|()| Some(slice)),
            (None, Some(Ok(slice))) if slice.expired.is_empty() => Ok(Some(slice)),
            (None, Some(Ok(_))) => Err(Error::Read("nobody owns the queue".to_owned())),
            (_, Some(Err(error))) => Err(Error::Read(error.to_string())),
            (_, None) => Ok(None),
        };
        let Some(noted) = self.sweeps.queues.get_mut(&queue.id) else {
            self.sweeps.under_way = self.sweeps.under_way.saturating_sub(1);
            return;
        };
        let due_ms = match done {
            Ok(Some(slice)) => {
                noted.passed_ms = noted.passed_ms.min(slice.due_ms);
                noted.passed_blocks += slice.blocks;
                if let Some(from) = slice.next {
                    let sweep = Sweep { queue, from, now_ms, found: None };
                    return self.outputs.work.push(Work::Sweep(sweep));
                }
                noted.passed_ms
            }
            Ok(None) => NEVER_MS,
            Err(error) => {
                tracing::error!(queue = queue.id.0, %error, "expired messages could not be taken away; trying again");
                now.wall_ms + RETRY_MS
            }
        };
        noted.is_under_way = false;
        // What was noted in the meantime may be due already.
        let due_ms = due_ms.min(noted.due_ms);
        self.sweeps.due.remove(&(noted.due_ms, queue.id));
        noted.due_ms = NEVER_MS;
        self.sweeps.under_way = self.sweeps.under_way.saturating_sub(1);
        let soonest_ms = now.wall_ms + SWEEP_WAIT_MS + noted.passed_blocks / SWEEP_WAIT_BLOCKS;
        self.sweeps.note_due(queue.id, if due_ms == NEVER_MS { NEVER_MS } else { due_ms.max(soonest_ms) });
        if let Some(line) = line {
            self.look_at(line);
        }
    }

    /// The group that owns the entries of a queue: the default group of a topic whose messages go when settled.
    pub(super) fn owner_of(&self, queue: QueueId) -> Option<Line> {
        let shared = &self.state.queues.get(&queue)?.shared;
        let group = shared.is_owned().then(|| self.state.directory.group(&shared.topic))??;
        Some((group.id, queue))
    }

    /// As [`Shard::owner_of`], for entries that must go whether or not anybody has consumed them yet.
    fn make_owner(&mut self, queue: &Queue) -> Option<Line> {
        if queue.is_owned() && self.state.queues.contains_key(&queue.id) {
            let made = self.put_group_unless_there(&queue.topic);
            made.inspect_err(|error| tracing::warn!(%error, "a queue's own group cannot be made")).ok()?;
        }
        self.owner_of(queue.id)
    }

    fn take_expired(&mut self, now: Now, line: Line, slice: &Slice) -> Result<(), Error> {
        if slice.expired.is_empty() {
            return Ok(());
        }
        self.open_flow(now, line)?;
        let (Some(progress), Some(flow)) = (self.state.progress(line.0, line.1), self.flows.get(&line))
        else {
            return Ok(());
        };
        let unsettled = slice.expired.iter().filter(|entry| !progress.is_settled(entry.offset));
        let (leased, free): (Vec<&Entry>, Vec<&Entry>) =
            unsettled.partition(|entry| flow.lease(entry.offset).is_some());
        if let Some(noted) = self.sweeps.queues.get_mut(&line.1) {
            noted.overdue = noted.overdue.split_off(&progress.floor);
            noted.overdue.extend(leased.into_iter().map(|entry| (entry.offset, *entry)));
        }
        let free: Vec<u64> = free.into_iter().map(|entry| entry.offset).collect();
        self.end_expired(line, &free)
    }

    /// Ends entries that nobody holds: to the dead letter, or for good.
    fn end_expired(&mut self, line: Line, offsets: &[u64]) -> Result<(), Error> {
        metrics::counter!("mailrail_expired_messages_total").increment(to_u64(offsets.len()));
        self.end_all(line, offsets, DeathReason::Expired)
    }

    /// Gives up entries of a line for a reason that is not a failed attempt.
    pub(super) fn end_all(&mut self, line: Line, offsets: &[u64], reason: DeathReason) -> Result<(), Error> {
        let (group, queue) = line;
        if !self.has_dead_letter(group, queue) {
            for offset in offsets {
                self.trace_given_up(line, *offset, 0, reason.name());
            }
            return if offsets.is_empty() { Ok(()) } else { self.settle_now(group, queue, runs(offsets)) };
        }
        for offset in offsets {
            let failed = self.state.progress(group, queue).map_or(0, |progress| attempts(progress, *offset));
            self.give_up(group, queue, *offset, failed, reason);
        }
        self.reschedule(line);
        Ok(())
    }

    /// Entries came back: those whose time was over meanwhile go now, unless the clock was set back since.
    pub(super) fn end_overdue(&mut self, now: Now, line: Line, offsets: impl Iterator<Item = u64>) {
        let has_any = |sweeps: &Sweeps| sweeps.queues.get(&line.1).is_some_and(|n| !n.overdue.is_empty());
        if !has_any(&self.sweeps) || self.owner_of(line.1) != Some(line) {
            return;
        }
        let queue = self.state.queues.get(&line.1).map(|queue| queue.shared.clone());
        let (Some(queue), Some(noted)) = (queue, self.sweeps.queues.get_mut(&line.1)) else { return };
        let back = offsets.filter_map(|offset| noted.overdue.remove(&offset));
        let (late, early): (Vec<Entry>, Vec<Entry>) =
            back.partition(|entry| queue.is_overdue(entry, now.wall_ms));
        for entry in early {
            queue.unsweep(&entry);
            self.sweeps.note_due(line.1, queue.deadline_ms(&entry));
        }
        let late: Vec<u64> = late.iter().map(|entry| entry.offset).collect();
        if let Err(error) = self.end_expired(line, &late) {
            tracing::warn!(%error, "expired messages are still there: that could not be recorded");
        }
    }

    /// No lease of a line goes on: as if all entries had come back.
    pub(super) fn end_all_overdue(&mut self, now: Now, line: Line) {
        let (Some(noted), Some(progress)) =
            (self.sweeps.queues.get(&line.1), self.state.progress(line.0, line.1))
        else {
            return;
        };
        let unsettled = noted.overdue.keys().copied().filter(|offset| !progress.is_settled(*offset));
        let unsettled: Vec<u64> = unsettled.collect();
        self.end_overdue(now, line, unsettled.into_iter());
    }

    /// The first part of a run of which nothing is expired; what is expired before it is ended. `None` while that has
    /// to be looked up first, or could not be recorded.
    pub(super) fn without_expired(&mut self, now: Now, line: Line, run: Run) -> Option<Live> {
        let queue = self.state.queues.get(&line.1)?.shared.clone();
        if !queue.may_expire() || self.owner_of(line.1) != Some(line) || planted(Bug::ExpiredHandedOut) {
            return Some(Live::Run(run));
        }
        let end = run.first + run.count;
        match queue.first_overdue(run.first..end, now.wall_ms) {
            None => Some(Live::Run(run)),
            Some(first) if first > run.first => Some(Live::Run(Run { count: first - run.first, ..run })),
            Some(_) => {
                let count = usize::try_from(run.count).unwrap_or(usize::MAX);
                let entries = queue.in_memory(run.first, count).unwrap_or_default();
                let is_over = |entry: &&Entry| entry.offset < end && queue.is_overdue(entry, now.wall_ms);
                let over: Vec<u64> = entries.iter().take_while(is_over).map(|entry| entry.offset).collect();
                if over.is_empty() {
                    self.sweeps.note_due(line.1, now.wall_ms);
                    return None;
                }
                self.end_expired(line, &over).ok().map(|()| Live::LookAgain)
            }
        }
    }
}

/// What is left of a run.
pub(super) enum Live {
    Run(Run),
    /// Its first entries are gone now.
    LookAgain,
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_sweeps_run_at_once_as_may_and_the_next_waits_for_one() {
        let mut sweeps = Sweeps::default();
        sweeps.note_due(QueueId(7), 5_000);
        sweeps.note_due(QueueId(7), 6_000);
        let now = Now { wall_ms: 4_000, mono: Duration::from_secs(1) };
        sweeps.under_way = SWEEPS_MAX - 1;
        assert_eq!(sweeps.deadline(now), Some(Duration::from_secs(2)));
        sweeps.under_way = SWEEPS_MAX;
        assert_eq!(sweeps.deadline(now), None);
        sweeps.under_way = 0;
        sweeps.forget(QueueId(7));
        assert_eq!(sweeps.deadline(now), None);
    }
}
