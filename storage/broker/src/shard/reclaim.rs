//! Giving space back. From time to time, and when asked, what retention lets go is dropped from the queues; once that is
//! on the disk, a reader copies what is left of the log's oldest parts; and once a snapshot and a checkpoint behind it
//! are stored, the log starts later. What has to be done for each queue is spread over turns.

use super::*;
use crate::retention::{Expired, Expiry, LiveQueue, LiveWaits, RetentionPolicy, Run, Survey, Surveyed};
use crate::settings::Retention;
use crate::state::{Item, QueueState};

/// How often it is looked whether something is too old, or was settled.
const INTERVAL: Duration = Duration::from_secs(60);
/// How soon after an end it is begun again where much was deleted.
const PAUSE: Duration = Duration::from_secs(1);
/// Runs of unsettled messages that make a queue twice as costly to list.
const RUNS_OF_A_SMALL_QUEUE: usize = 16;
/// Half messages that cost as much.
const HALVES_OF_A_SMALL_QUEUE: usize = 64;

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
    /// It is dropped from the queues: first offsets are left to be set.
    Dropping {
        left: std::vec::IntoIter<(QueueId, u64)>,
    },
    /// What is live is listed: so many queues are left to be looked at.
    Listing {
        queues: Vec<QueueId>,
        /// Half messages below this are listed.
        halves_to: Position,
        survey: Survey,
    },
    /// `survey` is right once the log is synced up to here.
    Listed {
        end: Position,
        survey: Survey,
    },
    /// A reader copies what is live.
    Surveying,
    /// The log may start at `start` once there is a snapshot.
    Surveyed {
        start: Position,
    },
    /// A snapshot of the state at `from` is written; it has so many items yet.
    Snapshotting {
        start: Position,
        from: Position,
        items: u64,
    },
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

    /// There is more to do than one turn has time for.
    pub fn is_amid_work(&self) -> bool {
        matches!(self.stage, Stage::Dropping { .. } | Stage::Listing { .. })
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
        if self.refusal().is_some() {
            return;
        }
        let (start, end) = (self.journal.start(), self.journal.end());
        match self.reclaim.stage {
            Stage::Idle if self.reclaim.is_due(start, end, now) => self.begin_reclaim(now),
            Stage::Dropping { .. } => self.go_on_dropping(now),
            Stage::Listing { .. } => self.go_on_listing(),
            Stage::Surveyed { start } if !self.state.has_picture() => {
                self.state.begin_picture_of_all();
                self.reclaim.stage = Stage::Snapshotting { start, from: end, items: 0 };
                self.go_on_with_snapshot(now);
            }
            Stage::Snapshotting { .. } => self.go_on_with_snapshot(now),
            _ => {}
        }
    }

    fn begin_reclaim(&mut self, now: Now) {
        self.reclaim.serving = std::mem::take(&mut self.reclaim.asked);
        self.reclaim.is_wanted = false;
        let RetentionPolicy { age, bytes } = self.reclaim.policy.retention;
        let age_ms = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let expiry = Expiry {
            before_ms: age_ms.map(|age_ms| now.wall_ms.saturating_sub(age_ms)),
            before: self.wanted_start(),
            bytes_max: bytes,
        };
        self.reclaim.stage = Stage::Expiring;
        self.outputs.work.push(Work::Expire(expiry));
    }

    #[cfg(test)]
    pub fn is_taking_a_snapshot(&self) -> bool {
        matches!(self.reclaim.stage, Stage::Snapshotting { .. })
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
        if self.refusal().is_some() {
            return;
        }
        match expired {
            Ok(expired) => self.reclaim.stage = Stage::Dropping { left: expired.into_iter() },
            Err(why) => self.end_reclaim(now, Err(Error::Read(why))),
        }
    }

    fn go_on_dropping(&mut self, now: Now) {
        for _ in 0..self.checkpoints.turn_pieces() {
            let Stage::Dropping { left } = &mut self.reclaim.stage else { return };
            let Some((queue, min)) = left.next() else { return self.begin_survey() };
            let is_live = self.state.queues.get(&queue).is_some_and(|queue| queue.shared.min_offset() < min);
            if is_live && let Err(error) = self.log(Change::QueueTrimmed { queue, min }) {
                return self.end_reclaim(now, Err(error));
            }
        }
    }

    /// Begins to list what must be found again by a later start. That may take its time: what was stored before its
    /// beginning can only cease to be live.
    fn begin_survey(&mut self) {
        let segment_bytes = self.reclaim.policy.segment_bytes;
        let survey = Survey {
            queues: Vec::new(),
            waits: self.live_waits(),
            halves: Vec::new(),
            seen_to: self.journal.end(),
            wanted_start: self.wanted_start(),
            dead_bytes_min: segment_bytes / 2,
            kept_file_bytes: segment_bytes / 2,
        };
        let queues = self.state.queues.keys().copied().collect();
        self.reclaim.stage = Stage::Listing { queues, halves_to: 0, survey };
    }

    fn go_on_listing(&mut self) {
        let Stage::Listing { mut queues, mut halves_to, mut survey } =
            std::mem::replace(&mut self.reclaim.stage, Stage::Idle)
        else {
            return;
        };
        let mut left = self.checkpoints.turn_pieces();
        while left > 0
            && let Some(id) = queues.pop()
        {
            left -= 1;
            let Some(queue) = self.state.queues.get(&id) else { continue };
            let live = LiveQueue { queue: queue.shared.clone(), runs: self.live_runs(queue) };
            left = left.saturating_sub(live.runs.len() / RUNS_OF_A_SMALL_QUEUE);
            survey.queues.push(live);
        }
        let halves = self.state.halves().from(halves_to).take(left.saturating_mul(HALVES_OF_A_SMALL_QUEUE));
        let halves_before = survey.halves.len();
        survey.halves.extend(halves.map(|(position, half)| (position, half.bytes)));
        let is_whole = left > 0 && survey.halves.len() - halves_before < left * HALVES_OF_A_SMALL_QUEUE;
        if let Some((last, _)) = survey.halves.last() {
            halves_to = last + 1;
        }
        if !queues.is_empty() || !is_whole {
            self.reclaim.stage = Stage::Listing { queues, halves_to, survey };
            return;
        }
        self.reclaim.stage = Stage::Listed { end: self.journal.end(), survey };
        self.journal.want_sync();
        self.reclaim_synced(self.synced_to);
    }

    /// A message that is dispatched or recalled from now on waits no more, and what tells of it lies behind.
    fn live_waits(&self) -> LiveWaits {
        let schedule = self.state.schedule();
        LiveWaits {
            regions: schedule.regions(),
            recalls: schedule.recalls(),
            floor: schedule.floor(),
            late: schedule.late().map(|timer| timer.position).collect(),
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
        if self.retention_of(queue) == Retention::Compacted {
            return queue.shared.kept_runs(end);
        }
        if min < end { vec![(min, end)] } else { Vec::new() }
    }

    /// The log is synced up to here.
    pub(super) fn reclaim_synced(&mut self, to: Position) {
        self.reclaim.stage = match std::mem::replace(&mut self.reclaim.stage, Stage::Idle) {
            Stage::Listed { end, survey } if end <= to => {
                self.outputs.work.push(Work::Survey(survey));
                Stage::Surveying
            }
            other => other,
        };
    }

    /// What is live of the oldest parts lies in kept files.
    pub(super) fn surveyed(&mut self, now: Now, surveyed: Surveyed) {
        if self.refusal().is_some() {
            return;
        }
        match surveyed {
            Ok(Some(start)) => self.reclaim.stage = Stage::Surveyed { start },
            Ok(None) => self.end_reclaim(now, Ok(())),
            Err(why) => self.end_reclaim(now, Err(Error::Read(why))),
        }
    }

    /// A checkpoint is stored: if it lies behind the snapshot, what lies before the new start is needed by nobody.
    pub(super) fn trim_behind(&mut self, now: Now, checkpoint: Position) {
        if let Stage::Snapshot { start, end } = self.reclaim.stage
            && end <= checkpoint
        {
            let start = self.journal.trim(start.min(checkpoint));
            self.state.log_trimmed(start);
            self.make_keys_again();
            self.end_reclaim(now, Ok(()));
        }
    }

    /// The log has failed or the broker is to stop, so the log will not start later.
    pub(super) fn abandon_reclaim(&mut self) {
        let Some(refusal) = self.refusal() else { return };
        let reclaim = &mut self.reclaim;
        if let Stage::Snapshotting { .. } = reclaim.stage {
            self.state.drop_picture();
        }
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

    /// Writes so much of the whole state into the log as a turn has time for. Other records come in between; what they
    /// change is not in the snapshot, and a rebuild reads them behind it.
    fn go_on_with_snapshot(&mut self, now: Now) {
        let Stage::Snapshotting { start, from, mut items } = self.reclaim.stage else { return };
        let pieces = self.state.take_pieces(self.checkpoints.turn_pieces()).into_iter();
        let records = pieces.filter_map(|piece| piece.item).flat_map(Item::into_records);
        let mut changes: Vec<Change> = records.map(|item| Change::Snapshot(Box::new(item))).collect();
        items += u64::try_from(changes.len()).unwrap_or(u64::MAX);
        self.reclaim.stage = Stage::Snapshotting { start, from, items };
        if !self.state.has_picture() {
            changes.push(Change::SnapshotEnd { start: from, items });
        }
        if let Err(error) = changes.into_iter().try_for_each(|change| self.log(change)) {
            self.state.drop_picture();
            return self.end_reclaim(now, Err(error));
        }
        if self.state.has_picture() {
            return;
        }
        self.journal.want_sync();
        self.reclaim.stage = Stage::Snapshot { start, end: self.journal.end() };
        if planted(Bug::TrimAheadOfSnapshot) {
            self.journal.trim(start);
            self.end_reclaim(now, Ok(()));
        }
    }
}
