//! Giving space back. From time to time, and when asked, what retention lets go is dropped from the queues; once that is
//! on the disk, a reader copies what is left of the log's oldest parts; and once a snapshot and a checkpoint behind it
//! are stored, the log starts later.

use super::*;
use crate::retention::{Expired, Expiry, LiveQueue, RetentionPolicy, Run, Survey, Surveyed};
use crate::settings::Retention;
use crate::state::{ItemKey, QueueState};

/// How often it is looked whether something is too old, or was settled.
const INTERVAL: Duration = Duration::from_secs(60);
/// How soon after an end it is begun again where much was deleted.
const PAUSE: Duration = Duration::from_secs(1);

/// When space is given back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReclaimPolicy {
    pub retention: RetentionPolicy,
    /// Size of a segment: with less in the log, there is nothing to give back.
    pub segment_bytes: u64,
}

/// Where giving space back stands.
#[derive(Debug)]
pub(super) struct Reclaim {
    policy: ReclaimPolicy,
    stage: Stage,
    /// When it ended last, and where the log ended then.
    at: Duration,
    position: Position,
    /// Much may have become free at once.
    is_wanted: bool,
    /// Who asked for a later start of the log and was not served yet; and is being served.
    asked: Vec<Asked>,
    serving: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    mailbox: Arc<Mailbox>,
    token: Token,
    before: Position,
}

#[derive(Debug)]
enum Stage {
    Idle,
    /// A reader looks for what is too old.
    Expiring,
    /// Dropped from the queues; `survey` is right once the log is synced up to here.
    Expired {
        end: Position,
        survey: Survey,
    },
    /// A reader copies what is live.
    Surveying,
    /// The log may start at `start` once a checkpoint behind the snapshot is stored.
    Snapshot {
        start: Position,
        end: Position,
    },
}

impl Reclaim {
    pub fn new(policy: ReclaimPolicy, position: Position, now: Now) -> Self {
        let (asked, serving) = (Vec::new(), Vec::new());
        Reclaim { policy, stage: Stage::Idle, at: now.mono, position, is_wanted: false, asked, serving }
    }

    pub fn segment_bytes(&self) -> u64 {
        self.policy.segment_bytes
    }

    /// A topic or much of a queue is gone.
    pub fn want(&mut self) {
        self.is_wanted = true;
    }

    /// The log waits only for a checkpoint to start later.
    pub fn awaits_checkpoint(&self) -> bool {
        matches!(self.stage, Stage::Snapshot { .. })
    }

    fn is_due(&self, start: Position, end: Position, now: Now) -> bool {
        let held = end.saturating_sub(start);
        let grown = end.saturating_sub(self.position);
        let since = now.mono.saturating_sub(self.at);
        let much = grown >= (held / 4).max(2 * self.policy.segment_bytes);
        !self.asked.is_empty()
            || (held > self.policy.segment_bytes
                && (much || since >= INTERVAL || (self.is_wanted && since >= PAUSE)))
    }
}

impl Shard {
    /// Monotonic time at which to look again.
    pub(super) fn reclaim_deadline(&self) -> Option<Duration> {
        let reclaim = &self.reclaim;
        let held = self.journal.end().saturating_sub(self.journal.start());
        let idle = matches!(reclaim.stage, Stage::Idle) && self.refusal().is_none();
        (idle && held > reclaim.policy.segment_bytes)
            .then(|| reclaim.at + if reclaim.is_wanted { PAUSE } else { INTERVAL })
    }

    /// Drops what lies below `before`: messages of topics that retain by time and size are lost to groups that have not
    /// read them; all else that is still needed is kept. The answer is the log's new start.
    pub(super) fn trim(&mut self, mailbox: &Arc<Mailbox>, token: Token, before: Position) {
        match self.refusal() {
            Some(refusal) => self.reply(mailbox, token, Err(refusal)),
            None => self.reclaim.asked.push(Asked { mailbox: mailbox.clone(), token, before }),
        }
    }

    pub(super) fn reclaim_if_due(&mut self, now: Now) {
        let (start, end) = (self.journal.start(), self.journal.end());
        let idle = matches!(self.reclaim.stage, Stage::Idle) && self.refusal().is_none();
        if !idle || !self.reclaim.is_due(start, end, now) {
            return;
        }
        self.reclaim.serving = std::mem::take(&mut self.reclaim.asked);
        self.reclaim.is_wanted = false;
        let RetentionPolicy { age, bytes } = self.reclaim.policy.retention;
        let age_ms = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let queues =
            self.state.queues.values().filter(|queue| self.retention_of(queue) == Retention::TimeSize);
        let expiry = Expiry {
            queues: queues.map(|queue| queue.shared.clone()).collect(),
            before_ms: age_ms.map(|age_ms| now.wall_ms.saturating_sub(age_ms)),
            before: self.wanted_start(),
            bytes_max: bytes,
        };
        self.reclaim.stage = Stage::Expiring;
        self.outputs.work.push(Work::Expire(expiry));
    }

    #[cfg(test)]
    pub fn retain(&mut self, retention: RetentionPolicy) {
        self.reclaim.policy.retention = retention;
    }

    fn wanted_start(&self) -> Position {
        let wanted = self.reclaim.serving.iter().map(|asked| asked.before).max().unwrap_or(0);
        wanted.min(self.journal.end())
    }

    fn retention_of(&self, queue: &QueueState) -> Retention {
        let topic = self.state.topics.get(&queue.topic);
        topic.map_or(Retention::TimeSize, |topic| topic.shared.settings().retention)
    }

    /// What is too old was found: it goes from the queues.
    pub(super) fn expired(&mut self, now: Now, expired: Expired) {
        if self.poisoned.is_some() {
            return;
        }
        let expired = match expired {
            Ok(expired) => expired,
            Err(why) => return self.end_reclaim(now, Err(Error::Read(why))),
        };
        for (queue, min) in expired {
            let is_live = self.state.queues.get(&queue).is_some_and(|queue| queue.shared.min_offset() < min);
            if is_live && let Err(error) = self.log(Change::QueueTrimmed { queue, min }) {
                return self.end_reclaim(now, Err(error));
            }
        }
        let (end, survey) = (self.journal.end(), self.survey());
        self.reclaim.stage = Stage::Expired { end, survey };
        self.journal.want_sync();
        self.reclaim_synced(self.synced_to);
    }

    /// What must be found again by a later start.
    fn survey(&self) -> Survey {
        let live =
            |queue: &QueueState| LiveQueue { queue: queue.shared.clone(), runs: self.live_runs(queue) };
        let segment_bytes = self.reclaim.policy.segment_bytes;
        let waiting = self.state.waiting.iter().filter(|_| !planted(Bug::TrimPassesWaiting));
        let waiting = waiting.map(|(position, waiting)| (*position, waiting.bytes));
        Survey {
            queues: self.state.queues.values().map(live).collect(),
            waiting: waiting.collect(),
            seen_to: self.journal.end(),
            wanted_start: self.wanted_start(),
            dead_bytes_min: segment_bytes / 2,
            kept_file_bytes: segment_bytes / 2,
        }
    }

    fn live_runs(&self, queue: &QueueState) -> Vec<Run> {
        let (min, end) = (queue.shared.min_offset(), queue.next_offset);
        if self.retention_of(queue) == Retention::UntilSettled
            && let Some(group) = self.state.directory.group(&queue.shared.topic)
            && let Some(progress) = self.state.progress(group.id, queue.shared.id)
        {
            return progress.unsettled_runs(end);
        }
        if min < end { vec![(min, end)] } else { Vec::new() }
    }

    /// The log is synced up to here.
    pub(super) fn reclaim_synced(&mut self, to: Position) {
        self.reclaim.stage = match std::mem::replace(&mut self.reclaim.stage, Stage::Idle) {
            Stage::Expired { end, survey } if end <= to => {
                self.outputs.work.push(Work::Survey(survey));
                Stage::Surveying
            }
            other => other,
        };
    }

    /// What is live of the oldest parts lies in kept files.
    pub(super) fn surveyed(&mut self, now: Now, surveyed: Surveyed) {
        if self.poisoned.is_some() {
            return;
        }
        let start = match surveyed {
            Ok(Some(start)) => start,
            Ok(None) => return self.end_reclaim(now, Ok(())),
            Err(why) => return self.end_reclaim(now, Err(Error::Read(why))),
        };
        match self.snapshot() {
            Ok(()) if planted(Bug::TrimAheadOfSnapshot) => {
                self.journal.trim(start);
                self.end_reclaim(now, Ok(()));
            }
            Ok(()) => self.reclaim.stage = Stage::Snapshot { start, end: self.journal.end() },
            Err(error) => self.end_reclaim(now, Err(error)),
        }
    }

    /// A checkpoint is stored: if it lies behind the snapshot, what lies before the new start is needed by nobody.
    pub(super) fn trim_behind(&mut self, now: Now, checkpoint: Position) {
        if let Stage::Snapshot { start, end } = self.reclaim.stage
            && end <= checkpoint
        {
            self.journal.trim(start.min(checkpoint));
            self.make_keys_again();
            self.end_reclaim(now, Ok(()));
        }
    }

    /// The log has failed, so it will not start later.
    pub(super) fn abandon_reclaim(&mut self) {
        let Some(refusal) = self.refusal() else { return };
        let reclaim = &mut self.reclaim;
        reclaim.stage = Stage::Idle;
        let asked: Vec<Asked> = reclaim.serving.drain(..).chain(reclaim.asked.drain(..)).collect();
        for Asked { mailbox, token, .. } in asked {
            self.reply(&mailbox, token, Err(refusal.clone()));
        }
    }

    fn end_reclaim(&mut self, now: Now, result: Result<(), Error>) {
        if let Err(error) = &result {
            tracing::warn!(%error, "no space was given back");
        }
        self.reclaim.stage = Stage::Idle;
        (self.reclaim.at, self.reclaim.position) = (now.mono, self.journal.end());
        for Asked { mailbox, token, .. } in std::mem::take(&mut self.reclaim.serving) {
            let start = self.journal.start();
            self.reply(&mailbox, token, result.clone().map(|()| Reply::Count(start)));
        }
    }

    /// Writes the whole state into the log, but for indexes, which retained messages carry.
    fn snapshot(&mut self) -> Result<(), Error> {
        let start = self.journal.end();
        let keys: Vec<ItemKey> = self.state.all_keys();
        let mut items: Vec<_> = keys.into_iter().filter_map(|key| self.state.item(key)).collect();
        items.sort_by_key(|item| item.rank());
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        for item in items {
            self.log(Change::Snapshot(Box::new(item)))?;
        }
        self.log(Change::SnapshotEnd { start, items: count })?;
        self.journal.want_sync();
        Ok(())
    }
}
