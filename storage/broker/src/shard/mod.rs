//! The shard: takes inputs, changes the state, appends records, and says what is to be sent to whom. One thread runs
//! it; it blocks on nothing, reads no clock and knows no protocol. A simulation drives it with the same inputs.

mod access;
mod answer;
mod begin;
mod check_back;
mod checkpoint;
mod commands;
mod compact;
mod consume;
mod copy;
mod counts;
mod dead_letter;
mod disconnect;
mod dispatch;
mod exchange;
mod filtering;
mod idle;
mod journal;
mod keys;
mod length;
mod lite;
mod membership;
mod pending;
mod position;
mod publish;
mod recall;
mod reclaim;
mod settle;
mod sweep;
mod topology;
mod trace;
mod transaction;
mod turn;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mailrail_commitlog::Position;
use mailrail_commitlog::planted::{Bug, planted};
use rustc_hash::{FxHashMap, FxHashSet};

use self::access::Administered;
use self::check_back::{Checks, Producers};
pub(crate) use self::checkpoint::CheckpointPolicy;
use self::checkpoint::Checkpoints;
pub(crate) use self::compact::Compacted;
use self::compact::Compactions;
use self::counts::Counts;
use self::dead_letter::Dead;
pub(crate) use self::exchange::{Input, Outputs, Work};
use self::filtering::{Look, Wishes};
use self::idle::Idle;
pub(crate) use self::journal::Journal;
use self::keys::Keys;
use self::length::Lengths;
use self::lite::Orphans;
use self::pending::{Due, Pending};
use self::recall::Recall;
use self::reclaim::Reclaim;
pub(crate) use self::reclaim::ReclaimPolicy;
use self::sweep::{Sweep, Sweeps};
use self::trace::Tracing;
use self::transaction::{Ending, Endings};
use self::waiting::{Dispatch, Waits};
use crate::command::{Command, Receipt};
use crate::delivery::{Flow, Members, Subscription};
use crate::directory::Directory;
use crate::error::Error;
use crate::event::{Event, Reply};
use crate::ids::*;
use crate::queue::Blocks;
use crate::record::Change;
use crate::session::{Letter, Mailbox};
use crate::state::State;
use crate::store_thread::StoreJob;
use crate::time::Now;

/// A group on a queue.
type Line = (GroupId, QueueId);

pub(crate) struct Shard {
    state: State,
    journal: Journal,
    /// For searches by time and position, which administrators ask for.
    blocks: Arc<Blocks>,
    pending: Pending,
    flows: FxHashMap<Line, Flow>,
    /// When flows want to be looked at, and what is noted for each.
    flow_times: BTreeSet<(Duration, Line)>,
    flow_time: FxHashMap<Line, Duration>,
    subscriptions: FxHashMap<(GroupId, TopicId), Subscription>,
    /// What each consumer consumes.
    consumers: BTreeMap<(SessionId, ConsumerId), (GroupId, TopicId)>,
    /// Whose active consumer was cancelled and still holds messages: the next one waits for those, so that order holds.
    handing_over: FxHashSet<(GroupId, TopicId)>,
    /// Groups with consumers or receivers, by topic.
    served: FxHashMap<TopicId, Vec<GroupId>>,
    /// Subscriptions to look at before the turn ends.
    hungry: FxHashSet<(GroupId, TopicId)>,
    receive_times: BTreeSet<(Duration, GroupId, TopicId)>,
    /// Where sessions may hold leases, and the topics that go with them.
    leased: FxHashMap<SessionId, FxHashSet<Line>>,
    owned: FxHashMap<TopicId, SessionId>,
    members: Members,
    wishes: Wishes,
    waits: Waits,
    endings: Endings,
    producers: Producers,
    sweeps: Sweeps,
    lengths: Lengths,
    idle: Idle,
    orphans: Orphans,
    compactions: Compactions,
    checkpoints: Checkpoints,
    reclaim: Reclaim,
    keys: Keys,
    counts: Counts,
    tracing: Tracing,
    next_lease: u64,
    /// Queues below the position of their last entry that waits for a sync.
    unsynced: FxHashMap<QueueId, publish::Unsynced>,
    outputs: Outputs,
    letter_slots: FxHashMap<SessionId, usize>,
    /// Whether anything waits for a write rather than for a sync.
    writes_awaited: Arc<AtomicBool>,
    /// Everything below was reported as written, and as synced.
    written_to: Position,
    synced_to: Position,
    /// Behind the last change of topics, groups, exchanges or bindings.
    topology_end: Position,
    /// Blocks to drop from the store once the log is synced to a position: what made them needless might be lost.
    block_drops: VecDeque<(Position, StoreJob)>,
    /// The disk is nearly full: what is left of it is for settlements and for giving space back.
    is_short_of_room: bool,
    poisoned: Option<String>,
    stopping: bool,
}

impl Shard {
    pub fn new(
        state: State,
        journal: Journal,
        blocks: Arc<Blocks>,
        policy: CheckpointPolicy,
        reclaim: ReclaimPolicy,
        now: Now,
    ) -> Self {
        let (sweeps, idle) = (Sweeps::new(&state), Idle::new(&state, now));
        let orphans = Orphans::new(&state);
        let compactions = Compactions::new(&state, now);
        let end = journal.end();
        let checkpoints = Checkpoints::new(policy, state.checkpoint, end, now);
        let reclaim = Reclaim::new(reclaim, journal.start(), now);
        Shard {
            state,
            journal,
            blocks,
            pending: Pending::default(),
            flows: FxHashMap::default(),
            flow_times: BTreeSet::new(),
            flow_time: FxHashMap::default(),
            subscriptions: FxHashMap::default(),
            consumers: BTreeMap::new(),
            handing_over: FxHashSet::default(),
            served: FxHashMap::default(),
            hungry: FxHashSet::default(),
            receive_times: BTreeSet::new(),
            leased: FxHashMap::default(),
            owned: FxHashMap::default(),
            members: Members::default(),
            wishes: Wishes::default(),
            waits: Waits::default(),
            endings: Endings::default(),
            producers: Producers::default(),
            sweeps,
            lengths: Lengths::default(),
            idle,
            orphans,
            compactions,
            checkpoints,
            reclaim,
            keys: Keys::default(),
            counts: Counts::default(),
            tracing: Tracing::new(now),
            next_lease: 1,
            unsynced: FxHashMap::default(),
            outputs: Outputs::default(),
            letter_slots: FxHashMap::default(),
            writes_awaited: Arc::default(),
            written_to: end,
            synced_to: end,
            topology_end: 0,
            block_drops: VecDeque::new(),
            is_short_of_room: false,
            poisoned: None,
            stopping: false,
        }
    }

    pub fn directory(&self) -> Arc<Directory> {
        self.state.directory.clone()
    }

    /// Carries out one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.trace_for(now, None);
        match input {
            Input::Commands { mailbox, commands, .. } => {
                self.trace_for(now, Some(&mailbox));
                for command in commands {
                    self.command(now, &mailbox, command);
                }
            }
            Input::Disconnected { mailbox } => self.disconnected(now, &mailbox),
            Input::Written { to, .. } => self.written(to),
            Input::Synced { to, .. } => self.synced(to),
            Input::Refused { from } => self.refused(from),
            Input::ShortOfRoom { is_short } => {
                self.is_short_of_room = is_short;
                self.reclaim.want();
            }
            Input::Poisoned(why) => self.poison(why),
            Input::Unread { receipts } => self.unread(now, receipts),
            Input::Damaged { receipts } => self.damaged(now, receipts),
            Input::Gone { receipts } => self.gone(receipts),
            Input::Expired(expired) => self.expired(now, expired),
            Input::Surveyed(surveyed) => self.surveyed(now, surveyed),
            Input::KeysMade { more } => self.keys.made(more),
            Input::Overdue { receipts } => self.overdue(receipts),
            Input::Compacted(compacted) => self.compacted(now, compacted),
            Input::TracedReads => self.trace_reads(),
            Input::Swept(sweep) => self.swept(now, sweep),
            Input::Looked(look) => self.looked(now, look),
            Input::DeadReady(dead) => self.bury(now, dead),
            Input::DispatchReady(dispatch) => self.dispatch_waiting(now, dispatch),
            Input::RecallReady(recall) => self.go_on_with_recall(recall),
            Input::HalfRead(ending) => self.go_on_with_ending(now, ending),
            Input::ChecksRead(checks) => self.ask_producers(checks),
            Input::Gathered(outcome) => self.timers_gathered(now, outcome),
            Input::CheckpointStored { number, stored } => self.checkpoint_stored(now, number, stored),
            Input::Trim { mailbox, token, before } => self.trim(&mailbox, token, before),
            Input::Stop => self.stop(now),
        }
    }

    /// Does what time has brought due, serves who can be served, and hands the turn's records to the log; returns where
    /// they end, if there were any.
    pub fn finish_turn(&mut self, now: Now) -> Option<Position> {
        self.trace_for(now, None);
        self.expire_leases(now);
        self.expire_receives(now);
        self.expire_members(now);
        self.start_due_dispatches(now);
        self.start_due_checks(now);
        self.serve_hungry(now);
        self.limit_lengths(now);
        self.start_due_sweeps(now);
        self.delete_idle(now);
        self.delete_orphans();
        self.compact_if_due(now);
        self.write_due_traces(now);
        self.reclaim_if_due(now);
        self.make_keys_if_due();
        self.checkpoint_if_due(now);
        self.take_store_jobs();
        self.show_counts(now);
        // Before the log gets to know of it: its writer looks once it has written.
        self.writes_awaited.store(self.pending.awaits_writes(), Ordering::SeqCst);
        self.journal.submit()
    }

    /// Shared with whoever reports writes.
    pub fn writes_awaited(&self) -> Arc<AtomicBool> {
        self.writes_awaited.clone()
    }

    /// Monotonic time at which [`Shard::finish_turn`] should be called even without input.
    pub fn deadline(&self, now: Now) -> Option<Duration> {
        let flows = self.flow_times.first().map(|(at, _)| *at);
        let receives = self.receive_times.first().map(|(at, _, _)| *at);
        let members = self.members.deadline();
        let waits = self.waits_deadline(now);
        let checks = self.checks_deadline(now);
        if self.is_amid_work() {
            return Some(now.mono);
        }
        // A log that has failed takes no checkpoint, however late it is.
        let checkpoints = self.checkpoints.deadline().filter(|_| self.poisoned.is_none());
        let is_serving = self.refusal().is_none();
        let sweeps = self.sweeps.deadline(now).filter(|_| is_serving);
        let idle = self.idle.deadline().filter(|_| is_serving);
        let compactions = self.compactions.deadline().filter(|_| is_serving);
        let traces = self.tracing.deadline().filter(|_| is_serving);
        let reclaim = self.reclaim_deadline();
        let all = [
            flows,
            receives,
            members,
            waits,
            checks,
            checkpoints,
            reclaim,
            sweeps,
            idle,
            compactions,
            traces,
        ];
        all.into_iter().flatten().min()
    }

    #[cfg(test)]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether a group's deliveries from a queue have begun since the start.
    #[cfg(test)]
    pub fn has_flow(&self, line: Line) -> bool {
        self.flows.contains_key(&line)
    }

    /// True while there is more to do than one turn has time for.
    pub fn is_amid_work(&self) -> bool {
        // What the end of a turn took away may have held back what somebody waits for.
        let is_hungry = !self.hungry.is_empty();
        let has_slices = self.state.has_picture() || self.reclaim.is_amid_work() || self.has_orphans();
        self.poisoned.is_none() && (is_hungry || has_slices)
    }

    #[cfg(test)]
    pub fn log_start(&self) -> Position {
        self.journal.start()
    }

    #[cfg(test)]
    pub fn log_end(&self) -> Position {
        self.journal.end()
    }

    /// Up to where the log says it is written, and synced.
    #[cfg(test)]
    pub fn log_reached(&self) -> (Position, Position) {
        (self.journal.written_to(), self.journal.synced_to())
    }

    #[cfg(test)]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    /// True when a stop has nothing left to wait for.
    pub fn is_idle(&self) -> bool {
        self.poisoned.is_some() || (self.pending.is_empty() && self.checkpoints.are_idle())
    }

    pub fn take_outputs(&mut self) -> Outputs {
        self.letter_slots.clear();
        std::mem::take(&mut self.outputs)
    }

    /// Appends a change and carries it out.
    fn log(&mut self, change: Change) -> Result<(), Error> {
        let position = self.journal.change(&change)?;
        self.state.apply(position, &change);
        Ok(())
    }

    /// As [`Shard::log`], for changes whose loss only means that something is done again.
    fn log_loosely(&mut self, change: Change) -> bool {
        let done = self.log(change);
        if let Err(error) = &done {
            tracing::warn!(%error, "a settlement was not recorded; it will be redelivered");
        }
        done.is_ok()
    }

    fn written(&mut self, to: Position) {
        self.written_to = self.written_to.max(to);
        while let Some(due) = self.pending.next_written(to) {
            self.carry_out(due);
        }
    }

    fn synced(&mut self, to: Position) {
        self.written(to);
        self.synced_to = self.synced_to.max(to);
        while let Some(due) = self.pending.next_synced(to) {
            self.carry_out(due);
        }
        while let Some((_, job)) = self.block_drops.pop_front_if(|(position, _)| *position <= to) {
            self.outputs.store_jobs.push(job);
        }
        self.checkpoint_synced(to);
        self.reclaim_synced(to);
    }

    fn carry_out(&mut self, due: Due) {
        match due {
            Due::Letter { mailbox, letter, bytes } => {
                self.free(bytes);
                self.send(&mailbox, letter);
            }
            Due::Visible { queue, end } => {
                queue.publish(end);
                self.sweeps.seen(queue.id);
                let topic = self.state.queues.get(&queue.id).map(|queue| queue.topic);
                let state = topic.and_then(|topic| self.state.topics.get(&topic));
                if state.is_some_and(|topic| topic.policy.is_limited()) {
                    self.lengths.note(queue.id);
                }
                if let Some(topic) = topic
                    && let Some(groups) = self.served.get(&topic)
                {
                    self.hungry.extend(groups.iter().map(|group| (*group, topic)));
                }
            }
        }
    }

    /// The disk is full: what lies from a position on is not stored, though it may be yet when there is room. Whoever
    /// waits for it is told so, and nothing more is taken in the meantime.
    fn refused(&mut self, from: Position) {
        for due in self.pending.refuse(from) {
            self.answer_with_error(due, &Error::NoSpace);
        }
    }

    /// The log has failed: nothing that waits for it will ever be acknowledged.
    fn poison(&mut self, why: String) {
        tracing::error!(%why, "the log has failed; this broker is read-only from now on");
        let abandoned: Vec<Due> = self.pending.abandon().collect();
        for due in abandoned {
            self.answer_with_error(due, &Error::Poisoned(why.clone()));
        }
        self.poisoned = Some(why);
        self.abandon_checkpoint();
        self.abandon_reclaim();
    }

    /// Hands on what applying changes brought up for the store.
    fn take_store_jobs(&mut self) {
        for job in self.state.store_jobs.drain(..) {
            match job {
                StoreJob::Drop { .. } if self.journal.end() > self.synced_to => {
                    self.block_drops.push_back((self.journal.end(), job));
                }
                job => self.outputs.store_jobs.push(job),
            }
        }
    }
}
