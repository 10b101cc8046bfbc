//! Handing out: who gets which entries. Entries of several queues are taken in the order of their store times.

use std::cmp::Reverse;

use mailrail_message::DeathReason;

use super::sweep::Live;
use super::*;
use crate::delivery::{Lease, LeaseEnd, Run, Sequence};
use crate::event::Recipient;
use crate::limits::TURN_ENTRIES_MAX;
use crate::queue::Queue;
use crate::session::Grant;
use crate::settings::AfterFailure;
use crate::statistics::group as counted;

/// How far the logged mark runs ahead of what was handed out.
const GRANTED_AHEAD: u64 = 256;

/// Which of several queues comes first: by priority, then by store time.
type Turn = (Reverse<u8>, u64);

/// Somebody to hand entries to.
struct Taker {
    mailbox: Arc<Mailbox>,
    end: LeaseEnd,
    no_ack: bool,
    /// What it is handed before others get their turn is one batch: the number of the first lease.
    batch: u64,
}

impl Shard {
    pub(super) fn serve_hungry(&mut self, now: Now) {
        for key in std::mem::take(&mut self.hungry) {
            self.serve(now, key);
        }
    }

    /// Hands out as long as there are entries and somebody to take them.
    pub(super) fn serve(&mut self, now: Now, key: (GroupId, TopicId)) {
        while self.subscriptions.get(&key).is_some_and(Subscription::wants) {
            if !self.serve_receiver(now, key) && !self.serve_consumer(now, key) {
                return;
            }
        }
    }

    /// Serves the receive that has waited longest, all it asks for at once.
    fn serve_receiver(&mut self, now: Now, key: (GroupId, TopicId)) -> bool {
        let single_active = self.is_single_active(key.0);
        let Some(subscription) = self.subscriptions.get_mut(&key) else { return false };
        if single_active && !subscription.consumers().is_empty() {
            return false;
        }
        let Some(receiver) = subscription.receivers.pop_front() else { return false };
        let to = Recipient::Request(receiver.token);
        let lease_ms = receiver.lease_ms >> u8::from(planted(Bug::LeaseEndsEarly));
        let end = LeaseEnd::At(now.mono + Duration::from_millis(lease_ms));
        let (mailbox, batch) = (receiver.mailbox.clone(), self.next_lease);
        let taker = Taker { mailbox, end, no_ack: false, batch };
        let mut grants = Vec::new();
        let mut left = receiver.max;
        while let Some(grant) = self.grant(now, key, left, &taker) {
            left -= u64::from(grant.count);
            grants.push(grant);
        }
        if grants.is_empty() {
            if let Some(subscription) = self.subscriptions.get_mut(&key) {
                subscription.receivers.push_front(receiver);
            }
            return false;
        }
        let still_waits = self
            .subscriptions
            .get(&key)
            .is_some_and(|s| s.receivers.iter().any(|other| other.deadline == receiver.deadline));
        if !still_waits {
            self.receive_times.remove(&(receiver.deadline, key.0, key.1));
        }
        self.send(&taker.mailbox, Letter::Granted { to, grants });
        self.left(key);
        true
    }

    /// Serves the next consumer in turn that has credit.
    fn serve_consumer(&mut self, now: Now, key: (GroupId, TopicId)) -> bool {
        let single_active = self.is_single_active(key.0);
        if self.handing_over.contains(&key) {
            if single_active && self.leases_on(key) > 0 {
                return false;
            }
            self.handing_over.remove(&key);
        }
        let Some(subscription) = self.subscriptions.get_mut(&key) else { return false };
        let Some(consumer) = subscription.next(single_active) else { return false };
        let (id, max) = (consumer.id, consumer.credit.min(TURN_ENTRIES_MAX));
        let (mailbox, no_ack) = (consumer.mailbox.clone(), consumer.no_ack);
        let taker = Taker { mailbox, end: LeaseEnd::WithOwner, no_ack, batch: self.next_lease };
        let (mut grants, mut left) = (Vec::new(), max);
        while let Some(grant) = self.grant(now, key, left, &taker) {
            left -= u64::from(grant.count);
            let is_in_arrival = self.sequence_of((key.0, grant.queue.id)) == Sequence::Arrival;
            grants.push(grant);
            // In other sequences next to one another lie only few entries.
            if is_in_arrival {
                break;
            }
        }
        if grants.is_empty() {
            return false;
        }
        let session = taker.mailbox.session;
        if let Some(subscription) = self.subscriptions.get_mut(&key) {
            if let Some(consumer) = subscription.consumer_mut(session, id)
                && !planted(Bug::CreditNotReduced)
            {
                consumer.credit = consumer.credit.saturating_sub(max - left);
            }
            subscription.had_turn(session, id);
        }
        self.send(&taker.mailbox, Letter::Granted { to: Recipient::Consumer(id), grants });
        true
    }

    /// One entry for a session that asks without waiting.
    pub(super) fn hand_out_one(
        &mut self,
        now: Now,
        mailbox: &Arc<Mailbox>,
        group: GroupId,
        topic: TopicId,
        to: Recipient,
        no_ack: bool,
    ) -> bool {
        let (mailbox, batch) = (mailbox.clone(), self.next_lease);
        let taker = Taker { mailbox, end: LeaseEnd::WithOwner, no_ack, batch };
        match self.grant(now, (group, topic), 1, &taker) {
            Some(grant) => {
                self.send(&taker.mailbox, Letter::Granted { to, grants: vec![grant] });
                true
            }
            None => false,
        }
    }

    /// Leases the next run of entries of the topic, or settles it at once for a taker that does not acknowledge.
    fn grant(&mut self, now: Now, key: (GroupId, TopicId), max: u64, taker: &Taker) -> Option<Grant> {
        // What is handed out from here on is nothing that a consumer has left behind.
        if !self.handing_over.is_empty() && self.leases_on(key) == 0 {
            self.handing_over.remove(&key);
        }
        loop {
            let (queue, run) = self.oldest_run(now, key, max, taker.batch)?;
            if !self.give_up_used_up(key.0, queue, &run) {
                return self.take_run(now, key.0, queue, run, taker);
            }
        }
    }

    /// The run of the topic's queues that has the highest priority, and of those the one that was stored first, as far as
    /// it goes before another queue's turn.
    fn oldest_run(
        &mut self,
        now: Now,
        key: (GroupId, TopicId),
        max: u64,
        batch: u64,
    ) -> Option<(QueueId, Run)> {
        let (group, topic) = key;
        let shared = self.state.topics.get(&topic)?.shared.queues();
        let mut best: Option<(Turn, &Arc<Queue>, Run)> = None;
        let mut next: Option<Turn> = None;
        for queue in shared.iter() {
            if let Err(error) = self.open_flow(now, (group, queue.id)) {
                tracing::warn!(%error, "a group cannot begin on a queue");
                continue;
            }
            let Some(run) = self.next_run(now, (group, queue.id), max, batch) else { continue };
            let store_ms = if shared.len() > 1 { queue.store_ms_about(run.first) } else { 0 };
            let turn = (Reverse(run.priority), store_ms);
            match best {
                Some((first, ..)) if turn >= first => next = next.into_iter().chain([turn]).min(),
                _ => {
                    next = best.map(|(first, ..)| first).or(next);
                    best = Some((turn, queue, run));
                }
            }
        }
        let ((priority, _), queue, mut run) = best?;
        if let Some((_, next_ms)) = next.filter(|(next, _)| *next == priority) {
            let own = (1..run.count).take_while(|step| queue.store_ms_about(run.first + step) <= next_ms);
            run.count = u64::try_from(own.count()).map_or(1, |more| more + 1);
        }
        Some((queue.id, run))
    }

    /// Entries that have failed too often are given up rather than handed out again. That is known only here when
    /// their last attempt ended with the broker itself.
    fn give_up_used_up(&mut self, group: GroupId, queue: QueueId, run: &Run) -> bool {
        let settings = self.state.groups.get(&group).map(|group| group.settings());
        let is_used_up = run.attempts > 0
            && settings.is_some_and(|settings| settings.after_failure(run.attempts) == AfterFailure::GiveUp);
        if is_used_up {
            for offset in run.first..run.first + run.count {
                self.give_up(group, queue, offset, run.attempts, DeathReason::DeliveryLimit);
            }
            self.reschedule((group, queue));
        }
        is_used_up
    }

    fn next_run(&mut self, now: Now, line: Line, max: u64, batch: u64) -> Option<Run> {
        loop {
            let run = self.next_in_turn(now, line, max, batch);
            self.reschedule(line);
            let run = match self.without_removed(line, run?)? {
                Live::Run(run) => run,
                Live::LookAgain => continue,
            };
            match self.without_expired(now, line, run)? {
                Live::Run(run) => return self.without_unwanted(line, run),
                Live::LookAgain => {}
            }
        }
    }

    fn take_run(
        &mut self,
        now: Now,
        group: GroupId,
        queue: QueueId,
        run: Run,
        taker: &Taker,
    ) -> Option<Grant> {
        let shared = self.state.queues.get(&queue)?.shared.clone();
        if shared.may_trace() {
            let before = self.tracing_by(&taker.mailbox);
            self.trace_handed_out((group, queue), &run, taker.no_ack);
            self.trace_by(before);
        }
        if taker.no_ack {
            if !self.log_loosely(Change::Settled { group, queue, runs: vec![(run.first, run.count)] }) {
                return None;
            }
            self.flows.get_mut(&(group, queue))?.pass(&run);
            self.counts.add((group, queue), counted::SETTLED, run.count);
        } else {
            self.note_grant((group, queue), &run)?;
            let owner = taker.mailbox.session;
            let lease = Lease { number: self.next_lease, owner, end: taker.end };
            self.flows.get_mut(&(group, queue))?.grant(&run, lease);
            if taker.end == LeaseEnd::WithOwner {
                self.leased.entry(owner).or_default().insert((group, queue));
            }
        }
        self.counts.add((group, queue), counted::HANDED_OUT, run.count);
        if run.attempts > 0 {
            self.counts.add((group, queue), counted::REDELIVERED, run.count);
        }
        self.reschedule((group, queue));
        // What its owner gets was looked at before.
        let may_be_over = shared.may_expire() && self.owner_of(queue) != Some((group, queue));
        let grant = Grant {
            group,
            queue: shared,
            first_offset: run.first,
            count: u32::try_from(run.count).unwrap_or(u32::MAX),
            attempts: run.attempts,
            epoch: self.journal.epoch(),
            first_lease: self.next_lease,
            granted_ms: if may_be_over { now.wall_ms } else { 0 },
        };
        self.next_lease += run.count;
        self.outputs.delivered += run.count;
        Some(grant)
    }

    /// Records that entries may have been handed out, unless that is known.
    fn note_grant(&mut self, line: Line, run: &Run) -> Option<()> {
        let (group, queue) = line;
        let progress = self.state.progress(group, queue)?;
        let mut offsets = run.first..run.first + run.count;
        if offsets.end <= progress.granted_to {
            return Some(());
        }
        if self.flows.get(&line)?.sequence() == Sequence::Arrival {
            self.log_loosely(Change::Granted { group, queue, to: offsets.end + GRANTED_AHEAD });
        } else if !offsets.all(|offset| progress.may_have_been_granted(offset)) {
            let Run { first, count, .. } = *run;
            self.log_loosely(Change::GrantedApart { group, queue, first, count });
        }
        Some(())
    }

    /// Notes when a flow wants to be looked at again.
    pub(super) fn reschedule(&mut self, line: Line) {
        let next = self.flows.get(&line).and_then(Flow::deadline);
        let noted = self.flow_time.get(&line).copied();
        if noted == next {
            return;
        }
        if let Some(noted) = noted {
            self.flow_times.remove(&(noted, line));
            self.flow_time.remove(&line);
        }
        if let Some(next) = next {
            self.flow_times.insert((next, line));
            self.flow_time.insert(line, next);
        }
    }

    /// Somebody may now get what this line has to give.
    pub(super) fn look_at(&mut self, line: Line) {
        let (group, queue) = line;
        if let Some(topic) = self.state.queues.get(&queue).map(|queue| queue.topic)
            && self.subscriptions.contains_key(&(group, topic))
        {
            self.hungry.insert((group, topic));
        }
    }
}
