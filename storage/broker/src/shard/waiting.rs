//! Dispatch of messages whose time has come: a new complete record in place of the waiting one. The schedule knows all
//! that wait; here is what is under way. One batch at a time is read and then stored, so that messages come in the order
//! of their times, and those of one time in the order in which they were published.

use bytes::Bytes;
use mailrail_message::{AnnexKind, StoredMessage, property};

use super::copy::Differences;
use super::trace::Change as Trace;
use super::*;
use crate::command::Name;
use crate::delivery::wait_until;
use crate::event::Stored;
use crate::limits::*;
use crate::publish::{Destination, queue_of};
use crate::reader::{ReadContext, behind_header};
use crate::schedule::{Timer, TimerKey};
use crate::store_thread::GatherOutcome;
use crate::trace::TraceStage;

/// Wait before a dispatch that failed is tried again, and before far timers are.
const RETRY_MS: u64 = 1_000;
/// Shortest sleep while something waits.
const WRITE_WAIT: Duration = Duration::from_millis(1);
/// Longest sleep while something waits: the clock may be set, and nobody tells of it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Dispatches under way.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// Not taken yet though they come before what was: published late, or before the clock was set back.
    behind: BTreeSet<TimerKey>,
    /// What failed, by the wall time at which it is tried again.
    again: BTreeSet<(u64, TimerKey)>,
    is_under_way: bool,
    /// The log took no copies: none are made before, so that they come in order.
    dispatch_from: Duration,
    /// Far timers could not be gathered: not before.
    gather_from: Duration,
}

/// Waiting messages whose time has come.
#[derive(Debug)]
pub(crate) struct Dispatch {
    timers: Vec<Timer>,
    messages: Vec<Result<Bytes, Error>>,
}

impl Dispatch {
    /// Reads the messages; on a reader's thread.
    pub fn read(mut self, context: &ReadContext) -> Dispatch {
        // A reader wants positions in order.
        let mut order: Vec<(usize, &Timer)> = self.timers.iter().enumerate().collect();
        order.sort_by_key(|(_, timer)| timer.position);
        let wanted: Vec<(u64, u32)> =
            order.iter().map(|(_, timer)| (behind_header(timer.position), timer.bytes)).collect();
        let mut read: Vec<_> = order.iter().map(|(at, _)| *at).zip(context.whole(&wanted)).collect();
        read.sort_by_key(|(at, _)| *at);
        self.messages = read.into_iter().map(|(_, message)| message).collect();
        self
    }
}

impl Shard {
    /// A waiting message was appended.
    pub(super) fn start_wait(&mut self, timer: Timer) {
        self.state.wait(timer);
        if self.state.schedule().is_behind(timer.key()) {
            self.waits.behind.insert(timer.key());
        }
    }

    /// The first start finds timers below the floor, which nothing else leads to.
    pub(super) fn find_late_waits(&mut self) {
        self.waits.behind.extend(self.state.schedule().late().map(|timer| timer.key()));
    }

    /// Monotonic time at which something may be due.
    pub(super) fn waits_deadline(&self, now: Now) -> Option<Duration> {
        if self.waits.is_under_way || self.is_behind_with_syncs() || self.refusal().is_some() {
            return None;
        }
        let behind = self.waits.behind.first().map(|(due_ms, _)| *due_ms);
        let again = self.waits.again.first().map(|(at_ms, _)| *at_ms);
        let next = self.state.schedule().next().map(|timer| timer.due_ms);
        let due_ms = [behind, again, next].into_iter().flatten().min();
        let due = due_ms.map(|due_ms| wait_until(due_ms, now).min(now.mono + LOOK_AGAIN));
        // What is still due after a turn is not written yet, and the news of that may come without a wake.
        let due = due.map(|due| due.max(self.waits.dispatch_from).max(now.mono + WRITE_WAIT));
        let gather = self.state.schedule().is_short().then_some(self.waits.gather_from);
        [due, gather].into_iter().flatten().min()
    }

    /// So much is on its way to the disk that what is due may wait.
    fn is_behind_with_syncs(&self) -> bool {
        self.journal.end().saturating_sub(self.synced_to) > DISPATCH_UNSYNCED_BYTES_MAX
    }

    pub(super) fn start_due_dispatches(&mut self, now: Now) {
        self.gather_timers(now);
        let may_dispatch = now.mono >= self.waits.dispatch_from && !self.is_behind_with_syncs();
        if self.waits.is_under_way || !may_dispatch || self.refusal().is_some() {
            return;
        }
        let early_ms = if planted(Bug::DispatchedEarly) { 1_000 } else { 0 };
        let mut timers: Vec<Timer> = Vec::new();
        let mut bytes = 0;
        while timers.len() < DISPATCHED_MESSAGES_MAX
            && bytes < DISPATCHED_BYTES_MAX
            && let Some(timer) = self.take_due(now.wall_ms + early_ms)
        {
            bytes += u64::from(timer.bytes);
            timers.push(timer);
        }
        if planted(Bug::DispatchedInAnyOrder) {
            timers.reverse();
        }
        if !timers.is_empty() {
            self.waits.is_under_way = true;
            self.outputs.work.push(Work::Dispatch(Dispatch { timers, messages: Vec::new() }));
        }
    }

    /// The next message that is due: what was passed over first, as it comes before all others.
    fn take_due(&mut self, now_ms: u64) -> Option<Timer> {
        let Waits { again, behind, .. } = &mut self.waits;
        while again.first().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
            behind.extend(again.pop_first().map(|(_, key)| key));
        }
        while let Some(key) = self.waits.behind.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms) {
            let timer = self.state.schedule().near_timer(key);
            if timer.is_some_and(|timer| !self.is_written(timer)) {
                return None;
            }
            self.waits.behind.remove(&key);
            // It may have been recalled.
            if timer.is_some() {
                return timer;
            }
        }
        let next = self.state.schedule().next();
        let timer = next.filter(|timer| timer.due_ms <= now_ms && self.is_written(*timer))?;
        self.state.hand_timer(timer);
        Some(timer)
    }

    /// Whether a message can be read: one of the next moment may be due before it is written.
    fn is_written(&self, timer: Timer) -> bool {
        behind_header(timer.position).saturating_add(u64::from(timer.bytes)) <= self.journal.written_to()
    }

    fn gather_timers(&mut self, now: Now) {
        if now.mono >= self.waits.gather_from
            && let Some(gather) = self.state.gather_if_short()
        {
            self.outputs.store_jobs.push(StoreJob::Gather(gather));
        }
    }

    pub(super) fn timers_gathered(&mut self, now: Now, outcome: GatherOutcome) {
        match outcome {
            Ok(gathered) => self.state.gathered(gathered),
            Err((first_id, blocks)) => {
                self.state.gather_failed(first_id, blocks);
                self.waits.gather_from = now.mono + Duration::from_millis(RETRY_MS);
            }
        }
    }

    pub(super) fn dispatch_waiting(&mut self, now: Now, dispatch: Dispatch) {
        self.waits.is_under_way = false;
        let Dispatch { timers, messages } = dispatch;
        for (timer, message) in timers.into_iter().zip(messages) {
            if now.mono < self.waits.dispatch_from {
                self.waits.behind.insert(timer.key());
            } else if self.state.schedule().is_near(timer.key()) {
                self.dispatch_one(now, timer, message);
            }
        }
    }

    fn dispatch_one(&mut self, now: Now, timer: Timer, message: Result<Bytes, Error>) {
        let position = timer.position;
        let record = self.journal.position();
        match message.and_then(|message| self.store_dispatched(now, timer, &message)) {
            Ok((topic, copy)) => {
                self.state.dispatched(record, timer);
                let (stage, copy) = (TraceStage::Dispatched, Some(&copy));
                self.trace_change(&Trace { stage, topic: &topic, position, copy, to: None, how: None });
            }
            Err(Error::NoTopic(topic)) => {
                tracing::warn!(%topic, position, "a waiting message is dropped: its topic was deleted");
                if !self.log_loosely(Change::WaitingRecalled { timer }) {
                    self.waits.again.insert((now.wall_ms.saturating_add(RETRY_MS), timer.key()));
                }
            }
            Err(Error::NoSpace | Error::Poisoned(_)) => {
                self.waits.behind.insert(timer.key());
                self.waits.dispatch_from = now.mono + Duration::from_millis(RETRY_MS);
            }
            // It was told of when it was read.
            Err(Error::Damaged(_)) => {
                let at_ms = now.wall_ms.saturating_add(DAMAGED_RETRY_MS_MAX);
                self.waits.again.insert((at_ms, timer.key()));
            }
            Err(error) => {
                tracing::error!(%error, position, "a waiting message could not be dispatched; trying again");
                self.waits.again.insert((now.wall_ms.saturating_add(RETRY_MS), timer.key()));
            }
        }
    }

    fn store_dispatched(&mut self, now: Now, timer: Timer, message: &Bytes) -> Result<(Name, Stored), Error> {
        let stored = StoredMessage::parse(message).map_err(|error| Error::Read(error.to_string()))?;
        let topic = self.state.directory.topic(stored.topic());
        let topic = topic.ok_or_else(|| Error::NoTopic(stored.topic().to_owned()))?;
        let queues = u32::try_from(topic.queues().len()).unwrap_or(u32::MAX);
        let queue_index = stored.annex(AnnexKind::Due).and_then(queue_of).filter(|index| *index < queues);
        let destination = Destination::Topic { topic: topic.id, queue_index };
        let differences =
            Differences { without: property::DELAYS, dispatch_of: Some(timer), ..Differences::default() };
        let copy = self.store_copy(now, &stored, (topic.id, destination), differences, None)?;
        Ok((topic.name.clone(), copy))
    }
}
