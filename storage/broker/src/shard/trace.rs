//! Steps of traced messages: noted where they happen, and written in batches as messages of a topic of their own. What is
//! traced is never held up and never fails for it: steps beyond a limit are lost, and the trace says how many.

use mailrail_message::{StoredMessage, property};

use super::publish::Quiet;
use super::settle::runs;
use super::*;
use crate::command::Name;
use crate::event::Stored;
use crate::limits::*;
use crate::publish::{Destination, PublishBatch};
use crate::queue::{Entry, Queue};
use crate::settings::Durability;
use crate::trace::{TRACE_TOPIC, TraceActor, TraceRecord, TraceStage, trace_topic_settings};
use crate::traced_read::TracedRead;

/// Longest wait of a step before it is written.
const WRITE_WAIT: Duration = Duration::from_millis(50);

/// Steps that wait, and what must be known to note them.
pub(super) struct Tracing {
    /// The time of this turn.
    now: Now,
    /// Whose command is carried out.
    by: Option<Arc<Mailbox>>,
    waiting: VecDeque<TraceRecord>,
    /// When the first of them was noted.
    since: Duration,
    lost: u64,
    /// Of the last batch something could not be written.
    is_failing: bool,
    copies: Copies,
}

/// Copies of traced messages: traced in their place, whatever their own positions say. A restart forgets them.
#[derive(Default)]
struct Copies {
    positions: FxHashSet<Position>,
    in_order: VecDeque<Position>,
}

impl Copies {
    fn follow(&mut self, position: Position) {
        if self.positions.insert(position) {
            self.in_order.push_back(position);
        }
        if self.in_order.len() > TRACE_COPIES_FOLLOWED_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.positions.remove(&oldest);
        }
    }
}

impl Tracing {
    pub fn new(now: Now) -> Self {
        let (waiting, copies) = (VecDeque::new(), Copies::default());
        Tracing { now, by: None, waiting, since: now.mono, lost: 0, is_failing: false, copies }
    }

    fn traces(&self, queue: &Queue, position: Position) -> bool {
        queue.traces(position) || (queue.may_trace() && self.copies.positions.contains(&position))
    }

    fn note(&mut self, record: TraceRecord) {
        let by = self.by.as_deref().map(actor);
        self.note_by(by, record);
    }

    fn note_by(&mut self, by: Option<TraceActor>, record: TraceRecord) {
        if self.waiting.len() >= TRACE_STEPS_WAITING_MAX {
            return self.lose(1);
        }
        if self.waiting.is_empty() {
            self.since = self.now.mono;
        }
        self.waiting.push_back(TraceRecord { by, ..record });
    }

    /// So many steps are missing: the trace says so with the next ones that are written.
    fn lose(&mut self, steps: u64) {
        metrics::counter!("mailrail_trace_lost_steps_total").increment(steps);
        self.lost += steps;
    }

    pub fn deadline(&self) -> Option<Duration> {
        // What is lost alone is no reason to try again where nothing can be written.
        let is_due = !self.waiting.is_empty() || (self.lost > 0 && !self.is_failing);
        is_due.then_some(self.since + WRITE_WAIT)
    }
}

fn actor(mailbox: &Mailbox) -> TraceActor {
    TraceActor::of(&mailbox.identity(), mailbox.client().as_deref())
}

/// How a message that is in no queue came to its end, or to a queue.
pub(super) struct Change<'a> {
    pub stage: TraceStage,
    pub topic: &'a str,
    pub position: Position,
    pub copy: Option<&'a Stored>,
    pub to: Option<Name>,
    pub how: Option<&'static str>,
}

impl Shard {
    /// From now on steps are noted at this time, and are somebody's. Costs nothing while nothing is traced.
    pub(super) fn trace_for(&mut self, now: Now, by: Option<&Arc<Mailbox>>) {
        if !self.state.traced.is_empty() {
            self.tracing.now = now;
            self.tracing.by = by.cloned();
        }
    }

    /// Steps are somebody else's for a while; returns whose they were.
    pub(super) fn tracing_by(&mut self, by: &Arc<Mailbox>) -> Option<Arc<Mailbox>> {
        self.tracing.by.replace(by.clone())
    }

    pub(super) fn trace_by(&mut self, by: Option<Arc<Mailbox>>) {
        self.tracing.by = by;
    }

    /// True while messages of some topic are traced.
    pub(super) fn is_tracing(&self) -> bool {
        !self.state.traced.is_empty()
    }

    /// A message was taken, into a queue or to wait for what brings it there.
    pub(super) fn trace_stored(
        &mut self,
        queue: &Queue,
        position: Position,
        offset: Option<u64>,
        id: Option<&str>,
    ) {
        if self.tracing.traces(queue, position) {
            let record = self.step(TraceStage::Stored, queue, position);
            let unique_id = id.map(str::to_owned);
            self.tracing.note(TraceRecord { offset, unique_id, ..record });
        }
    }

    fn step(&self, stage: TraceStage, queue: &Queue, position: Position) -> TraceRecord {
        let at_ms = self.tracing.now.wall_ms;
        TraceRecord {
            queue: Some(queue.index),
            ..TraceRecord::new(stage, at_ms, queue.topic.clone(), position)
        }
    }

    /// Entries of a group are handed out.
    pub(super) fn trace_handed_out(&mut self, line: Line, run: &crate::delivery::Run, no_ack: bool) {
        let attempt = Some(run.attempts.saturating_add(1));
        let offsets = run.first..run.first + run.count;
        self.trace_entries(line, offsets.clone(), |record| TraceRecord {
            stage: TraceStage::HandedOut,
            attempt,
            ..record
        });
        if no_ack {
            let how = Some("no_ack".to_owned());
            self.trace_entries(line, offsets, |record| TraceRecord { how: how.clone(), ..record });
        }
    }

    /// Entries were read by offset. Copies that are traced in a message's place are not known where they are read.
    pub(super) fn trace_reads(&mut self) {
        let (reads, lost) = self.state.directory.traced_reads().take();
        self.tracing.lose(lost);
        for TracedRead { by, queue, entries } in reads {
            for (offset, position) in entries {
                let record = self.step(TraceStage::Read, &queue, position);
                let record = TraceRecord { offset: Some(offset), ..record };
                self.tracing.note_by(Some(by.clone()), record);
            }
        }
    }

    /// Leases of sorted offsets end. To be called before that is carried out, as entries go with it.
    pub(super) fn trace_settled(&mut self, line: Line, offsets: &[u64], how: &str) {
        if self.traced_queue(line.1).is_none() {
            return;
        }
        for (first, count) in runs(offsets) {
            self.trace_entries(line, first..first + count, |record| TraceRecord {
                how: Some(how.to_owned()),
                ..record
            });
        }
    }

    /// A commit passes entries.
    pub(super) fn trace_committed_to(&mut self, line: Line, offsets: std::ops::Range<u64>) {
        if self.traced_queue(line.1).is_some() {
            let end = offsets.end.min(offsets.start.saturating_add(TRACE_COMMIT_ENTRIES_MAX));
            self.trace_entries(line, offsets.start..end, |record| TraceRecord {
                how: Some("commit".to_owned()),
                ..record
            });
        }
    }

    /// An entry is handed out no more.
    pub(super) fn trace_given_up(&mut self, line: Line, offset: u64, attempts: u32, how: &str) {
        self.trace_entries(line, offset..offset + 1, |record| TraceRecord {
            stage: TraceStage::GivenUp,
            how: Some(how.to_owned()),
            attempt: Some(attempts).filter(|attempts| *attempts > 0),
            ..record
        });
    }

    /// A copy of an entry's message was stored where dead letters go.
    pub(super) fn trace_dead_lettered(
        &mut self,
        line: Line,
        offset: u64,
        (position, copy, to): (Position, Position, &Name),
    ) {
        let Some(queue) = self.traced_queue(line.1) else { return };
        if self.tracing.traces(&queue, position) {
            let record = self.step(TraceStage::DeadLettered, &queue, position);
            let group = self.state.groups.get(&line.0).map(|group| group.name.clone());
            self.tracing.copies.follow(copy);
            let (copy, to, offset) = (Some(copy), Some(to.to_string()), Some(offset));
            self.tracing.note(TraceRecord { group, offset, copy, to, ..record });
        }
    }

    /// What waited, or was half a message, came to its end; a copy in its place is traced if it is.
    pub(super) fn trace_change(&mut self, change: &Change<'_>) {
        let topic = self.state.directory.topic(change.topic);
        let Some(queue) = topic.as_ref().and_then(|topic| topic.queue(0)).filter(|queue| queue.may_trace())
        else {
            return;
        };
        let position = change.position;
        let copy = change.copy.map(|copy| copy.position);
        let is_traced = self.tracing.traces(&queue, position);
        if !is_traced && !copy.is_some_and(|copy| queue.traces(copy)) {
            return;
        }
        copy.into_iter().for_each(|copy| self.tracing.copies.follow(copy));
        let record = TraceRecord::new(change.stage, self.tracing.now.wall_ms, queue.topic.clone(), position);
        self.tracing.note(TraceRecord {
            queue: change.copy.map(|copy| copy.queue_index),
            offset: change.copy.and_then(|copy| copy.offset),
            copy,
            to: change.to.as_ref().map(|to| to.to_string()),
            how: change.how.map(str::to_owned),
            ..record
        });
    }

    fn traced_queue(&self, id: QueueId) -> Option<Arc<Queue>> {
        self.state.queues.get(&id).map(|queue| &queue.shared).filter(|queue| queue.may_trace()).cloned()
    }

    /// Notes a step of those among some entries of a line that are traced.
    fn trace_entries(
        &mut self,
        line: Line,
        offsets: std::ops::Range<u64>,
        step: impl Fn(TraceRecord) -> TraceRecord,
    ) {
        let Some(queue) = self.traced_queue(line.1) else { return };
        let group = self.state.groups.get(&line.0).map(|group| group.name.clone());
        let mut next = offsets.start;
        while next < offsets.end {
            let max = usize::try_from(offsets.end - next).unwrap_or(usize::MAX);
            let found: Vec<Entry> = match queue.entries(next, max, &self.blocks) {
                Ok(entries) => entries.into_iter().filter(|entry| entry.offset < offsets.end).collect(),
                Err(error) => {
                    tracing::warn!(queue = line.1.0, %error, "steps of messages are missing in their traces");
                    self.tracing.lose(offsets.end - next);
                    return;
                }
            };
            let Some(last) = found.last() else { return };
            next = last.offset + 1;
            for entry in found.iter().filter(|entry| entry.is_there()) {
                if self.tracing.traces(&queue, entry.position) {
                    let (group, offset) = (group.clone(), Some(entry.offset));
                    let record = self.step(TraceStage::Settled, &queue, entry.position);
                    self.tracing.note(step(TraceRecord { group, offset, ..record }));
                }
            }
        }
    }

    /// Writes steps that have waited long enough, at most a batch of them.
    pub(super) fn write_due_traces(&mut self, now: Now) {
        let is_full = self.tracing.waiting.len() >= TRACE_BATCH_STEPS_MAX;
        let is_due = self.tracing.deadline().is_some_and(|at| at <= now.mono);
        if (is_due || is_full) && !self.stopping {
            self.write_traces(now);
        }
    }

    /// Writes all of them, before the broker stops.
    pub(super) fn write_all_traces(&mut self, now: Now) {
        while !self.tracing.waiting.is_empty() {
            self.write_traces(now);
        }
        if self.tracing.lost > 0 {
            self.write_traces(now);
        }
    }

    fn write_traces(&mut self, now: Now) {
        let steps = self.tracing.waiting.len().min(TRACE_BATCH_STEPS_MAX);
        let mut records: Vec<TraceRecord> = self.tracing.waiting.drain(..steps).collect();
        let lost = std::mem::take(&mut self.tracing.lost);
        if lost > 0 {
            let record = TraceRecord::new(TraceStage::Lost, now.wall_ms, Name::from(TRACE_TOPIC), 0);
            records.push(TraceRecord { lost: Some(lost), ..record });
        }
        let is_refused = self.poisoned.is_some() || self.is_short_of_room;
        let written = if is_refused { Err(Error::NoSpace) } else { self.store_traces(now, &records) };
        let missing = written.unwrap_or_else(|error| {
            if !self.tracing.is_failing {
                tracing::warn!(%error, "steps of traced messages are lost from now on");
            }
            records.len()
        });
        self.tracing.is_failing = missing > 0;
        if missing == records.len() {
            self.tracing.lost += lost;
        }
        self.tracing.lose(u64::try_from(missing.min(steps)).unwrap_or(u64::MAX));
    }

    /// Stores steps as messages that nobody waits for; says how many could not be.
    fn store_traces(&mut self, now: Now, records: &[TraceRecord]) -> Result<usize, Error> {
        let topic = match self.state.directory.topic(TRACE_TOPIC) {
            Some(topic) => topic.id,
            None => self.create_topic(TRACE_TOPIC, &trace_topic_settings())?,
        };
        let mut batch = PublishBatch::with_capacity(records.len() * 512, records.len());
        let mut missing = 0;
        for record in records {
            let properties = record.properties();
            let tag = mailrail_message::tag_hash(record.stage.name());
            let destination = Destination::Routed(vec![topic]);
            let pushed = batch.push(&record.draft(&properties), destination, tag, Durability::Memory);
            missing += usize::from(pushed.is_err());
        }
        let Quiet { refused } = self.store_quietly(now, batch);
        Ok(missing + refused)
    }
}

/// The id that the producer of a message in a record gave it.
pub(super) fn unique_id_of(record: &[u8]) -> Option<String> {
    let message = record.get(mailrail_commitlog::record::RECORD_HEADER_BYTES..)?;
    let stored = StoredMessage::parse(message).ok()?;
    stored.properties().get(property::UNIQUE_ID).map(str::to_owned)
}
