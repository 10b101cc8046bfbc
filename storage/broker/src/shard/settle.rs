//! How leases end: settled, back to their place, given up, or because their time or their owner is gone.

use mailrail_message::DeathReason;

use super::*;
use crate::command::Outcome;
use crate::delivery::{Lease, LeaseEnd, attempts};
use crate::limits::*;
use crate::settings::AfterFailure;
use crate::statistics::group as counted;

/// Entries next to one another that come back alike.
struct ComeBack {
    first: u64,
    count: u64,
    attempts: u32,
    delay_ms: u64,
}

impl Shard {
    /// Ends leases; one result per receipt, in their order.
    pub(super) fn settle(
        &mut self,
        now: Now,
        receipts: Vec<Receipt>,
        outcome: Outcome,
    ) -> Vec<Result<(), Error>> {
        let mut results: Vec<_> =
            receipts.iter().map(|receipt| self.check_receipt(receipt, outcome)).collect();
        // Each line's offsets, with the places of their results.
        let mut lines: Vec<(Line, Vec<u64>, Vec<usize>)> = Vec::new();
        let mut known = FxHashMap::default();
        let valid = receipts.iter().enumerate().filter(|(at, _)| results.get(*at).is_some_and(Result::is_ok));
        for (at, receipt) in valid {
            let line = (receipt.group, receipt.queue);
            let is_last = lines.last().is_some_and(|(last, ..)| *last == line);
            let place = if is_last { lines.len() - 1 } else { *known.entry(line).or_insert(lines.len()) };
            if place == lines.len() {
                lines.push((line, Vec::new(), Vec::new()));
            }
            if let Some((_, offsets, places)) = lines.get_mut(place) {
                offsets.push(receipt.offset);
                places.push(at);
            }
        }
        for (line, mut offsets, places) in lines {
            offsets.sort_unstable();
            offsets.dedup();
            let ended = self.end_leases(now, line, &offsets, outcome);
            for at in places.into_iter().filter(|_| ended.is_err()) {
                if let Some(result) = results.get_mut(at) {
                    result.clone_from(&ended);
                }
            }
        }
        results
    }

    fn end_leases(&mut self, now: Now, line: Line, offsets: &[u64], outcome: Outcome) -> Result<(), Error> {
        let (group, queue) = line;
        self.trace_settled(line, offsets, outcome.name());
        match outcome {
            Outcome::Ack => {
                self.settle_now(group, queue, runs(offsets))?;
                self.counts.add(line, counted::SETTLED, to_u64(offsets.len()));
            }
            Outcome::Retry { delay_ms } => self.fail(now, line, offsets, delay_ms),
            Outcome::Release => {
                if let Some(flow) = self.flows.get_mut(&line) {
                    offsets.iter().for_each(|offset| flow.come_back(*offset, now.mono, now));
                }
                self.end_overdue(now, line, offsets.iter().copied());
            }
            Outcome::Reject => {
                for offset in offsets {
                    let failed =
                        self.state.progress(group, queue).map_or(0, |progress| attempts(progress, *offset));
                    self.give_up(group, queue, *offset, failed + 1, DeathReason::Rejected);
                }
            }
        }
        self.reschedule(line);
        self.look_at(line);
        Ok(())
    }

    /// A receipt settles its lease, or an entry whose lease has ended and that nobody else holds.
    pub(super) fn check_receipt(&self, receipt: &Receipt, outcome: Outcome) -> Result<(), Error> {
        let line = (receipt.group, receipt.queue);
        let progress = self.state.progress(receipt.group, receipt.queue);
        let progress = progress.ok_or(Error::Receipt("its topic or group is gone"))?;
        if progress.is_settled(receipt.offset) {
            return Err(Error::Receipt("it was settled before"));
        }
        let end = self.state.queues.get(&receipt.queue).map_or(0, |queue| queue.next_offset);
        let (epoch, lease) = (self.journal.epoch(), receipt.lease);
        let is_of_later = receipt.epoch > epoch || (receipt.epoch == epoch && lease >= self.next_lease);
        if receipt.offset >= end || is_of_later {
            return Err(Error::Receipt("it was never handed out"));
        }
        match self.flows.get(&line).and_then(|flow| flow.lease(receipt.offset)) {
            Some(lease) if lease.end == LeaseEnd::Dying => Err(Error::Receipt("the message was given up")),
            Some(lease) if receipt.epoch == self.journal.epoch() && lease.number == receipt.lease => Ok(()),
            Some(_) => Err(Error::Receipt("the message was handed out again")),
            None if outcome == Outcome::Ack => Ok(()),
            None => Err(Error::Receipt("its lease has ended")),
        }
    }

    /// Settles runs (first, count) of a line. After an error nothing has changed.
    pub(super) fn settle_now(
        &mut self,
        group: GroupId,
        queue: QueueId,
        runs: Vec<(u64, u64)>,
    ) -> Result<(), Error> {
        self.log(Change::Settled { group, queue, runs: runs.clone() })?;
        if let Some(flow) = self.flows.get_mut(&(group, queue)) {
            runs.iter().for_each(|(first, count)| flow.settled(*first, *count));
        }
        self.reschedule((group, queue));
        Ok(())
    }

    /// One failed attempt more for each: back to its place after a wait, or given up.
    fn fail(&mut self, now: Now, line: Line, offsets: &[u64], delay_ms: Option<u64>) {
        let (group, queue) = line;
        let Some(settings) = self.state.groups.get(&group).map(|group| group.settings()) else { return };
        let mut back: Vec<ComeBack> = Vec::new();
        for offset in offsets {
            let before = self.state.progress(group, queue).map_or(0, |progress| attempts(progress, *offset));
            let failed = before.saturating_add(u32::from(!planted(Bug::AttemptNotCounted)));
            match settings.after_failure(failed) {
                AfterFailure::GiveUp => {
                    self.give_up(group, queue, *offset, failed, DeathReason::DeliveryLimit);
                }
                AfterFailure::RetryAfterMs(backoff_ms) => {
                    let delay_ms = delay_ms.unwrap_or(backoff_ms).min(DELAY_MS_MAX);
                    match back.last_mut() {
                        Some(last)
                            if last.first + last.count == *offset
                                && last.attempts == failed
                                && last.delay_ms == delay_ms =>
                        {
                            last.count += 1;
                        }
                        _ => back.push(ComeBack { first: *offset, count: 1, attempts: failed, delay_ms }),
                    }
                }
            }
        }
        for run in back {
            self.counts.add(line, counted::RETRIED, run.count);
            self.bring_back(now, line, &run);
        }
    }

    /// Puts one entry back that could not be dealt with; its attempts stay as they are.
    pub(super) fn put_back(
        &mut self,
        now: Now,
        group: GroupId,
        queue: QueueId,
        offset: u64,
        attempts: u32,
        delay_ms: u64,
    ) {
        self.bring_back(now, (group, queue), &ComeBack { first: offset, count: 1, attempts, delay_ms });
        self.reschedule((group, queue));
    }

    fn bring_back(&mut self, now: Now, line: Line, run: &ComeBack) {
        let (group, queue) = line;
        self.log_loosely(Change::Returned {
            group,
            queue,
            first: run.first,
            count: run.count,
            attempts: run.attempts,
            not_before_ms: now.wall_ms.saturating_add(run.delay_ms),
        });
        let from = now.mono + Duration::from_millis(run.delay_ms);
        if let Some(flow) = self.flows.get_mut(&line) {
            (run.first..run.first + run.count).for_each(|offset| flow.come_back(offset, from, now));
        }
        self.end_overdue(now, line, run.first..run.first + run.count);
    }

    /// Lets timed leases end later, or earlier.
    pub(super) fn extend(
        &mut self,
        now: Now,
        receipts: &[Receipt],
        lease_ms: u64,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        super::consume::limit("milliseconds of a lease", lease_ms, LEASE_MS_MAX)?;
        let at = now.mono + Duration::from_millis(lease_ms.max(LEASE_MS_MIN));
        let mut results = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            let line = (receipt.group, receipt.queue);
            let result = self.check_receipt(receipt, Outcome::Release).and_then(|()| {
                let flow = self.flows.get_mut(&line).ok_or(Error::Receipt("its lease has ended"))?;
                let lease = flow.lease(receipt.offset).ok_or(Error::Receipt("its lease has ended"))?;
                if !matches!(lease.end, LeaseEnd::At(_)) {
                    return Err(Error::Receipt("its lease does not end with time"));
                }
                flow.end_lease_by(receipt.offset, Lease { end: LeaseEnd::At(at), ..lease });
                Ok(())
            });
            self.reschedule(line);
            results.push(result);
        }
        Ok(results)
    }

    /// Leases whose time is over count as failed attempts; entries whose wait is over can be handed out again.
    pub(super) fn expire_leases(&mut self, now: Now) {
        while let Some((at, line)) = self.flow_times.first().copied().filter(|(at, _)| *at <= now.mono) {
            let mut expired = self.flows.get(&line).map(|flow| flow.expired(now)).unwrap_or_default();
            expired.sort_unstable();
            if !expired.is_empty() {
                self.trace_settled(line, &expired, "lease_expired");
                self.fail(now, line, &expired, None);
            }
            if let Some(flow) = self.flows.get_mut(&line) {
                flow.release_due(now);
            }
            self.reschedule(line);
            self.look_at(line);
            if self.flow_time.get(&line) == Some(&at) {
                // Nothing moved: look again with the next tick rather than now and for ever.
                tracing::error!(?line, "a flow's deadline does not pass");
                self.flow_times.remove(&(at, line));
                self.flow_time.remove(&line);
            }
        }
    }

    /// The owner of these leases has gone: they go back at once.
    pub(super) fn return_leases(&mut self, now: Now, session: SessionId) {
        for line in self.leased.remove(&session).unwrap_or_default() {
            let mut offsets = self.flows.get(&line).map(|flow| flow.leased_to(session)).unwrap_or_default();
            offsets.sort_unstable();
            self.trace_settled(line, &offsets, "owner_gone");
            self.fail(now, line, &offsets, Some(0));
            self.reschedule(line);
            self.look_at(line);
        }
    }

    /// Entries that were handed out but could not be read are tried again later.
    pub(super) fn unread(&mut self, now: Now, receipts: Vec<Receipt>) {
        for receipt in receipts {
            // Settled, trimmed or handed out again in the meantime: there is nothing to put right.
            if self.check_receipt(&receipt, Outcome::Release).is_err() {
                continue;
            }
            let (group, queue, offset) = (receipt.group, receipt.queue, receipt.offset);
            let attempts = self.state.progress(group, queue).map_or(0, |p| attempts(p, offset));
            self.put_back(now, group, queue, offset, attempts, UNREAD_RETRY_MS);
        }
    }

    /// A message that is not what was stored fails at each attempt: it waits ever longer, so that it costs others next to
    /// nothing, and where its group has a limit of attempts it is given up like others.
    pub(super) fn damaged(&mut self, now: Now, receipts: Vec<Receipt>) {
        for receipt in receipts {
            if self.check_receipt(&receipt, Outcome::Release).is_err() {
                continue;
            }
            let (line, offset) = ((receipt.group, receipt.queue), receipt.offset);
            let before = self.state.progress(receipt.group, receipt.queue).map_or(0, |p| attempts(p, offset));
            let settings = self.state.groups.get(&receipt.group).map(|group| group.settings());
            let wait_ms = match settings.map(|settings| settings.after_failure(before.saturating_add(1))) {
                Some(AfterFailure::RetryAfterMs(backoff_ms)) => backoff_ms,
                _ => {
                    let (group, queue) = (receipt.group.0, receipt.queue.0);
                    tracing::error!(group, queue, offset, "a damaged message is given up");
                    0
                }
            };
            let doubled = UNREAD_RETRY_MS.checked_shl(before).filter(|_| before < u64::BITS);
            let doubled = doubled.map_or(DAMAGED_RETRY_MS_MAX, |ms| ms.min(DAMAGED_RETRY_MS_MAX));
            self.fail(now, line, &[offset], Some(wait_ms.max(doubled)));
            self.reschedule(line);
        }
    }

    /// Entries that were handed out to a group that does not own them, and whose time was over: it does without.
    pub(super) fn overdue(&mut self, receipts: Vec<Receipt>) {
        for receipt in receipts {
            if self.check_receipt(&receipt, Outcome::Release).is_err() {
                continue;
            }
            let (group, queue) = (receipt.group, receipt.queue);
            if let Err(error) = self.settle_now(group, queue, vec![(receipt.offset, 1)]) {
                tracing::warn!(%error, "what is expired is looked for again: that could not be recorded");
            }
            self.look_at((group, queue));
        }
    }

    /// Entries that were handed out but whose messages are no more: lost to the group, since retention let them go or
    /// another group settled them.
    pub(super) fn gone(&mut self, receipts: Vec<Receipt>) {
        for receipt in receipts {
            if self.check_receipt(&receipt, Outcome::Release).is_err() {
                continue;
            }
            let (group, queue, offset) = (receipt.group, receipt.queue, receipt.offset);
            tracing::warn!(
                group = group.0,
                queue = queue.0,
                offset,
                "a message was gone before it was handed out"
            );
            metrics::counter!("mailrail_lost_messages_total").increment(1);
            if let Err(error) = self.settle_now(group, queue, vec![(offset, 1)]) {
                tracing::warn!(%error, "what is gone is looked for again: that could not be recorded");
            }
            self.look_at((group, queue));
        }
    }
}

/// Wait before an entry that could not be read is handed out again; that of a damaged one doubles.
const UNREAD_RETRY_MS: u64 = 1_000;

/// Sorted offsets as runs (first, count).
pub(super) fn runs(offsets: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == *offset => *count += 1,
            _ => runs.push((*offset, 1)),
        }
    }
    runs
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
