//! Compaction: when a queue is looked through, and what becomes of what that finds. One pass at a time, in steps on a
//! reader's thread; between them the shard does whatever else there is.

use super::sweep::Live;
use super::*;
use crate::compaction::{Compaction, Terms};
use crate::delivery::Run;
use crate::queue::Queue;
use crate::settings::Retention;
use crate::state::TopicState;

/// How often it is looked whether a queue is worth a pass.
const INTERVAL: Duration = Duration::from_secs(60);
/// What has come is compared after so long, however little it is.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How soon it is tried again where something could not be read or recorded.
const RETRY: Duration = Duration::from_secs(5);

/// What a step has given: an error says why the pass is over.
pub(crate) type Compacted = (QueueId, Result<Box<Compaction>, String>);

/// Where compaction stands. Volatile: after a start everything is compared anew.
#[derive(Debug, Default)]
pub(super) struct Compactions {
    queues: FxHashMap<QueueId, Progressed>,
    due: BTreeSet<(Duration, QueueId)>,
    under_way: Option<QueueId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progressed {
    /// No two messages below have the same key.
    to: u64,
    /// When the last pass ended.
    at: Duration,
    /// It left much for the next one.
    is_cut: bool,
    tombstone_due_ms: Option<u64>,
}

impl Compactions {
    pub fn new(state: &State, now: Now) -> Self {
        let mut compactions = Compactions::default();
        for topic in state.topics.values() {
            compactions.note_topic(topic, now);
        }
        compactions
    }

    /// A topic is there.
    pub fn note_topic(&mut self, topic: &TopicState, now: Now) {
        if topic.shared.settings().retention == Retention::Compacted {
            for queue in &topic.queues {
                let progressed = Progressed { at: now.mono, ..Progressed::default() };
                if self.queues.insert(*queue, progressed).is_none() {
                    self.due.insert((now.mono + INTERVAL, *queue));
                }
            }
        }
    }

    pub fn forget(&mut self, queue: QueueId) {
        self.queues.remove(&queue);
    }

    pub fn deadline(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at).filter(|_| self.under_way.is_none())
    }

    fn end(&mut self, queue: QueueId, again: Duration) {
        self.under_way = None;
        if self.queues.contains_key(&queue) {
            self.due.insert((again, queue));
        }
    }
}

impl Shard {
    pub(super) fn note_compaction(&mut self, now: Now, topic: TopicId) {
        if let Some(topic) = self.state.topics.get(&topic) {
            self.compactions.note_topic(topic, now);
        }
    }

    pub(super) fn compact_if_due(&mut self, now: Now) {
        while self.compactions.under_way.is_none()
            && self.refusal().is_none()
            && let Some((_, id)) = self.compactions.due.pop_first_if_due(now.mono)
        {
            let Some(progressed) = self.compactions.queues.get(&id).copied() else { continue };
            let Some(queue) = self.state.queues.get(&id) else { continue };
            let (shared, topic) = (queue.shared.clone(), self.state.topics.get(&queue.topic));
            let Some(policy) = topic.map(|topic| topic.policy.clone()) else { continue };
            let terms = Terms {
                now_ms: now.wall_ms,
                lag_ms: policy.compaction_lag_ms,
                tombstone_ms: policy.tombstone_ms,
            };
            if is_worth_it(&shared, &progressed, &terms, now) {
                let compaction = Compaction::new(shared, progressed.to, terms);
                self.compactions.under_way = Some(id);
                self.outputs.work.push(Work::Compact(Box::new(compaction)));
            } else {
                self.compactions.due.insert((now.mono + INTERVAL, id));
            }
        }
    }

    /// The first part of a run whose messages are there; what was removed before it is settled. `None` where that could
    /// not be recorded.
    pub(super) fn without_removed(&mut self, line: Line, run: Run) -> Option<Live> {
        let queue = self.state.queues.get(&line.1)?.shared.clone();
        let end = run.first + run.count;
        match queue.next_removed(run.first).filter(|first| *first < end) {
            None => Some(Live::Run(run)),
            Some(first) if first > run.first => Some(Live::Run(Run { count: first - run.first, ..run })),
            Some(first) => {
                let gone_to = queue.behind_removed(first);
                self.settle_now(line.0, line.1, vec![(first, gone_to - first)]).ok().map(|()| Live::LookAgain)
            }
        }
    }

    /// A step of a pass is done: what it found goes.
    pub(super) fn compacted(&mut self, now: Now, (id, stepped): Compacted) {
        if self.refusal().is_some() {
            return;
        }
        let recorded = stepped.and_then(|compaction| {
            let runs: Vec<(u64, u64)> =
                compaction.found.iter().map(|(first, end)| (*first, end - first)).collect();
            if !runs.is_empty() && self.state.queues.contains_key(&id) {
                self.log(Change::Compacted { queue: id, runs }).map_err(|error| error.to_string())?;
                self.reclaim.want();
            }
            Ok(compaction)
        });
        let compaction = match recorded {
            Ok(compaction) => compaction,
            Err(why) => {
                tracing::warn!(queue = id.0, %why, "a queue was not compacted; trying again");
                return self.compactions.end(id, now.mono + RETRY);
            }
        };
        if !compaction.is_done() {
            return self.outputs.work.push(Work::Compact(compaction));
        }
        let Compaction { to, is_cut, tombstone_due_ms, .. } = *compaction;
        if let Some(progressed) = self.compactions.queues.get_mut(&id) {
            *progressed = Progressed { to, at: now.mono, is_cut, tombstone_due_ms };
        }
        self.compactions.end(id, now.mono + if is_cut { Duration::ZERO } else { INTERVAL });
    }
}

/// Whether there is enough to compare: half as much as is known to be of different keys, or anything that has waited
/// for long, or a tombstone whose time is over.
fn is_worth_it(queue: &Queue, progressed: &Progressed, terms: &Terms, now: Now) -> bool {
    if progressed.is_cut || progressed.tombstone_due_ms.is_some_and(|due_ms| due_ms <= now.wall_ms) {
        return true;
    }
    let (min, end) = (queue.min_offset(), queue.end_offset());
    let from = progressed.to.max(min);
    if from >= end || queue.store_ms_about(from).saturating_add(terms.lag_ms) > now.wall_ms {
        return false;
    }
    let compared = queue.messages_below(from);
    (end - from).saturating_mul(2) >= compared || now.mono >= progressed.at + PATIENCE
}

/// Takes what is due off an ordered set.
trait PopDue {
    fn pop_first_if_due(&mut self, now: Duration) -> Option<(Duration, QueueId)>;
}

impl PopDue for BTreeSet<(Duration, QueueId)> {
    fn pop_first_if_due(&mut self, now: Duration) -> Option<(Duration, QueueId)> {
        let first = self.first().copied().filter(|(at, _)| *at <= now)?;
        self.remove(&first);
        Some(first)
    }
}
