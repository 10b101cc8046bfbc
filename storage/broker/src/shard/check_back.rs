//! Check-back: producers are asked what becomes of half messages that they have not ended. Any live producer of the group
//! is asked, in turn; where there is none, nothing is asked and nothing is counted. What was asked too often, or could
//! not be asked for days, is given up.

use bytes::Bytes;

use super::transaction::GoesTo;
use super::*;
use crate::command::Name;
use crate::delivery::wait_until;
use crate::event::Check;
use crate::limits::*;
use crate::reader::{ReadContext, behind_header};
use crate::transaction::Half;

/// Shortest time between two batches of checks, so that they cost others next to nothing.
const CHECK_PAUSE: Duration = Duration::from_millis(50);
/// Wait before what is too old is given up, where that failed.
const GIVE_UP_RETRY: Duration = Duration::from_secs(30);
/// Longest sleep while something is to be asked: the clock may be set, and nobody tells of it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Who may be asked, and when.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    /// By group, the next to be asked first.
    groups: BTreeMap<Name, VecDeque<Arc<Mailbox>>>,
    of_session: FxHashMap<SessionId, BTreeSet<Name>>,
    /// First check of each group that has producers, and what is noted for it.
    times: BTreeSet<(u64, Name)>,
    time: FxHashMap<Name, u64>,
    is_under_way: bool,
    /// No check before, and nothing is given up because of its age.
    from: Duration,
    give_up_from: Duration,
}

/// Half messages whose producers are to be asked.
#[derive(Debug)]
pub(crate) struct Checks {
    wanted: Vec<Wanted>,
    messages: Vec<Result<Bytes, Error>>,
}

#[derive(Debug)]
struct Wanted {
    position: Position,
    half: Half,
    producer: Arc<Mailbox>,
}

impl Checks {
    /// Reads the messages; on a reader's thread.
    pub fn read(mut self, context: &ReadContext) -> Checks {
        self.wanted.sort_by_key(|wanted| wanted.position);
        let places = self.wanted.iter().map(|wanted| (behind_header(wanted.position), wanted.half.bytes));
        let places: Vec<(u64, u32)> = places.collect();
        let may_end = |(wanted, message): (&Wanted, Result<Bytes, Error>)| {
            let message = message?;
            super::transaction::may_end(context, &wanted.producer.identity(), &message).map(|()| message)
        };
        self.messages = self.wanted.iter().zip(context.whole(&places)).map(may_end).collect();
        self
    }
}

impl Shard {
    /// A session has a producer of a group from now on, until it says otherwise or ends.
    pub(super) fn produce(&mut self, mailbox: &Arc<Mailbox>, group: Name) -> Result<(), Error> {
        let groups = self.producers.of_session.entry(mailbox.session).or_default();
        if groups.contains(&group) {
            return Ok(());
        }
        let count = u64::try_from(groups.len()).unwrap_or(u64::MAX).saturating_add(1);
        super::consume::limit("groups of producers of one session", count, SESSION_PRODUCER_GROUPS_MAX)?;
        groups.insert(group.clone());
        self.producers.groups.entry(group.clone()).or_default().push_back(mailbox.clone());
        self.note_checks(&group);
        Ok(())
    }

    pub(super) fn stop_producing(&mut self, session: SessionId, group: &Name) {
        if let Some(groups) = self.producers.of_session.get_mut(&session) {
            groups.remove(group);
        }
        if let Some(producers) = self.producers.groups.get_mut(group) {
            producers.retain(|mailbox| mailbox.session != session);
            if producers.is_empty() {
                self.producers.groups.remove(group);
            }
        }
        self.note_checks(group);
    }

    /// A session has ended: the other producers of its groups are asked from now on.
    pub(super) fn forget_producer(&mut self, session: SessionId) {
        for group in self.producers.of_session.remove(&session).unwrap_or_default() {
            self.stop_producing(session, &group);
        }
    }

    /// Notes when producers of a group are to be asked next.
    pub(super) fn note_checks(&mut self, group: &Name) {
        let is_served = self.producers.groups.contains_key(group);
        let first = self.state.halves().of_group(group, (0, 0)).next().filter(|_| is_served);
        self.note_check(group, first.map(|(at_ms, _)| at_ms));
    }

    fn note_check(&mut self, group: &Name, at_ms: Option<u64>) {
        let Producers { times, time, .. } = &mut self.producers;
        if let Some(noted) = time.remove(group) {
            times.remove(&(noted, group.clone()));
        }
        if let Some(at_ms) = at_ms {
            time.insert(group.clone(), at_ms);
            times.insert((at_ms, group.clone()));
        }
    }

    /// Monotonic time at which somebody may have to be asked.
    pub(super) fn checks_deadline(&self, now: Now) -> Option<Duration> {
        if self.producers.is_under_way || self.refusal().is_some() {
            return None;
        }
        let next = self.producers.times.first().map(|(at_ms, _)| *at_ms);
        let next = next.map(|at_ms| wait_until(at_ms, now));
        let oldest = self.state.halves().from(0).next().map(|(_, half)| unasked_until(half));
        let oldest = oldest.map(|at_ms| wait_until(at_ms, now).max(self.producers.give_up_from));
        let at = [next, oldest].into_iter().flatten().min()?.min(now.mono + LOOK_AGAIN);
        Some(at.max(self.producers.from).max(now.mono + CHECK_PAUSE))
    }

    pub(super) fn start_due_checks(&mut self, now: Now) {
        let may_ask = !self.producers.is_under_way && now.mono >= self.producers.from;
        if !may_ask || self.refusal().is_some() {
            return;
        }
        if now.mono >= self.producers.give_up_from {
            self.give_up_oldest(now);
        }
        let mut wanted: Vec<Wanted> = Vec::new();
        let (mut bytes, mut looked_at) = (0, 0);
        while looked_at < CHECKED_MESSAGES_MAX
            && bytes < CHECKED_BYTES_MAX
            && let Some((_, group)) = self.producers.times.first().filter(|(at_ms, _)| *at_ms <= now.wall_ms)
        {
            let group = group.clone();
            looked_at += 1;
            let taken = self.take_due_checks(now, &group, CHECKED_MESSAGES_MAX - wanted.len(), &mut bytes);
            looked_at += taken.len();
            wanted.extend(taken);
        }
        if !wanted.is_empty() {
            self.producers.is_under_way = true;
            self.outputs.work.push(Work::Check(Checks { wanted, messages: Vec::new() }));
        }
        self.producers.from = now.mono + CHECK_PAUSE;
    }

    /// Those of a group whose producers are to be asked now, at most so many; they count as asked. What was asked often
    /// enough is given up.
    fn take_due_checks(&mut self, now: Now, group: &Name, max: usize, bytes: &mut u64) -> Vec<Wanted> {
        let halves = self.state.halves();
        let due = halves.of_group(group, (0, 0)).take_while(|(at_ms, _)| *at_ms <= now.wall_ms);
        let due: Vec<(Position, Half)> = due
            .filter(|(_, position)| !self.endings.under_way.contains_key(position))
            .filter_map(|(_, position)| Some((position, halves.get(position)?.clone())))
            .filter(|(position, half)| self.is_half_written(*position, half))
            .take(max)
            .collect();
        let (mut wanted, mut asked, mut is_stuck) = (Vec::new(), Vec::new(), true);
        for (position, half) in due {
            if half.checks >= HALF_CHECKS_MAX {
                tracing::warn!(position, %group, "a half message is given up: no producer decided on it");
                self.begin_ending(position, &half, Some(GoesTo::Undecided), Vec::new());
                is_stuck = false;
            } else if *bytes < CHECKED_BYTES_MAX
                && let Some(producer) = self.next_producer(group)
            {
                is_stuck = false;
                *bytes += u64::from(half.bytes);
                asked.push(position);
                wanted.push(Wanted { position, half, producer });
            }
        }
        let is_noted = asked.is_empty() || self.put_check_off(now, asked);
        // What cannot be asked now must not keep the others waiting.
        let next = self.state.halves().of_group(group, (0, 0)).map(|(at_ms, _)| at_ms).next();
        let later_ms = if is_stuck || !is_noted { now.wall_ms.saturating_add(RETRY_MS) } else { 0 };
        self.note_check(group, next.map(|at_ms| at_ms.max(later_ms)));
        if is_noted { wanted } else { Vec::new() }
    }

    fn next_producer(&mut self, group: &Name) -> Option<Arc<Mailbox>> {
        let producers = self.producers.groups.get_mut(group)?;
        producers.retain(|mailbox| !mailbox.is_closed());
        producers.rotate_left(1.min(producers.len()));
        producers.back().cloned()
    }

    /// Counts a check for each; the next comes after the interval.
    fn put_check_off(&mut self, now: Now, positions: Vec<Position>) -> bool {
        let next_check_ms = now.wall_ms.saturating_add(HALF_CHECK_INTERVAL_MS);
        self.log_loosely(Change::HalvesChecked { positions, next_check_ms })
    }

    /// A half message could not be given up; that is tried again.
    pub(super) fn put_give_up_off(&mut self, now: Now, position: Position, group: &Name) {
        if self.producers.groups.contains_key(group) {
            self.put_check_off(now, vec![position]);
        } else {
            self.producers.give_up_from = now.mono + GIVE_UP_RETRY;
        }
    }

    /// Half messages that nobody could be asked of for days are given up, the oldest first.
    fn give_up_oldest(&mut self, now: Now) {
        let is_over = |(position, half): &(Position, &Half)| {
            let is_asked = self.producers.groups.contains_key(&half.group);
            unasked_until(half) <= now.wall_ms && !is_asked && !self.endings.under_way.contains_key(position)
        };
        let oldest = self.state.halves().from(0).take(CHECKED_MESSAGES_MAX).filter(is_over);
        let over: Vec<(Position, Half)> = oldest.map(|(position, half)| (position, half.clone())).collect();
        for (position, half) in over {
            tracing::warn!(position, group = %half.group, "a half message is given up: nobody could be asked");
            self.begin_ending(position, &half, Some(GoesTo::Undecided), Vec::new());
        }
    }

    /// Half messages were read: whoever was chosen is asked of those that are still open.
    pub(super) fn ask_producers(&mut self, checks: Checks) {
        self.producers.is_under_way = false;
        for (wanted, message) in checks.wanted.into_iter().zip(checks.messages) {
            let Wanted { position, half, producer } = wanted;
            match message {
                _ if self.state.halves().get(position).is_none() => {}
                Ok(message) => {
                    let check = Check { position, group: half.group, checks: half.checks, message };
                    self.send(&producer, Letter::Event(Event::Check(check)));
                }
                Err(Error::Denied(denial)) => {
                    tracing::warn!(%denial, position, "who produces for its group is not asked for a half message");
                }
                Err(error) => {
                    tracing::error!(%error, position, "a half message could not be read to ask for it");
                }
            }
        }
    }
}

/// When a half message is given up that nobody was asked of.
fn unasked_until(half: &Half) -> u64 {
    half.next_check_ms.saturating_add(HALF_UNASKED_MS_MAX)
}

/// Wait before a group's half messages are looked at again that could not be asked for.
const RETRY_MS: u64 = 200;
