//! The model of what happens by itself: with time, at a start, and a little late.

use std::collections::{BTreeMap, BTreeSet};

use mailrail_message::DeathReason;

use super::broker::{Key, Model};
use super::line::Failed;
use super::queue::Name;
use super::{Said, must};
use crate::policy::Overflow;
use crate::settings::Order;

impl Model {
    /// When something happens next by itself, in monotonic time. Some lines nobody has asked for since the start.
    pub fn next_time_ms(&self, untouched: &[(Name, Name, u32)]) -> Option<u64> {
        let leases = self.all_leases().into_iter().filter_map(|(.., lease)| lease.ends_ms);
        let begun = self.lines.iter().filter(|(at, _)| !untouched.contains(at));
        let waits = begun.flat_map(|(_, line)| line.delayed.values().copied());
        let receives = self.subscriptions.values().flat_map(|s| s.receivers.iter().map(|r| r.deadline_ms));
        leases.chain(waits).chain(receives).chain(self.next_due_ms()).chain(self.next_check_ms()).min()
    }

    /// The clock shows another time: leases and waits may be over.
    pub fn tick(&mut self) {
        let now_ms = self.mono_ms;
        for (key, index, offset, lease) in self.all_leases() {
            if lease.ends_ms.is_some_and(|at| at <= now_ms) {
                self.count("leases that ended with time", 1);
                self.fail(key, index, offset, None);
            }
        }
        let over: usize = self.lines.values_mut().map(|line| line.end_waits(now_ms)).sum();
        self.count("waits that ended", over);
    }

    // What goes by itself, a little late.

    /// Entries that nobody may get any more, and that are still there: expired ones of the group that owns them, and
    /// those whose attempts are used up, as it shows after a start.
    pub fn late(&self) -> Vec<(Key, u32, u64, DeathReason)> {
        let keys: BTreeSet<Key> = self.lines.keys().map(|(group, topic, _)| (*group, *topic)).collect();
        let late =
            |key| self.late_of(key).into_iter().map(move |(index, offset, why)| (key, index, offset, why));
        keys.into_iter().flat_map(late).collect()
    }

    pub fn late_of(&self, key: Key) -> Vec<(u32, u64, DeathReason)> {
        let mut late = Vec::new();
        for (index, queue) in (0..).zip(&self.topics[key.1].queues) {
            let Some(line) = self.lines.get(&(key.0, key.1, index)) else { continue };
            for offset in line.ready(queue) {
                if self.owns(key) && self.is_expired(key.1, &queue.entries[&offset]) {
                    late.push((index, offset, DeathReason::Expired));
                } else if self.groups[key.0].is_used_up(line.attempts(offset))
                    && !line.delayed.contains_key(&offset)
                {
                    late.push((index, offset, DeathReason::DeliveryLimit));
                }
            }
        }
        late
    }

    /// A message is among the dead letters: it was late, or nothing explains it.
    pub fn end_late_by_death(&mut self, to: Name, number: u64) -> Said {
        let late = self.late();
        let found = late.into_iter().find(|(key, index, offset, _)| {
            let own = self.topics[key.1].rules.dead_letter.filter(|_| key.0 == key.1);
            own.or(self.groups[key.0].dead_letter) == Some(to)
                && self.queue(key.1, *index).entries[offset].message.number == number
        });
        let (key, index, offset, reason) =
            found.ok_or_else(|| format!("message {number} came to {to}, and nothing sent it there"))?;
        self.give_up(key, index, offset, reason);
        Ok(())
    }

    /// A queue of a topic has become longer: its first ready entries go where it is too long.
    pub fn limit_length(&mut self, topic: Name) {
        let rules = self.topics[topic].rules.clone();
        let Some(max) = rules.length_max.filter(|_| rules.overflow == Overflow::DropHead) else { return };
        let key = (topic, topic);
        while self.ready(key) > max {
            let (line, queue) = self.line(key, 0);
            let first = line.ready(queue).next().unwrap();
            let has_turns = rules.priority_max > 0 && self.groups[topic].order == Order::Any;
            self.batches += 1;
            let batch = self.batches;
            let next = if has_turns {
                self.next_without(key, batch, &BTreeSet::new()).first().map(|(_, offset)| *offset)
            } else {
                None
            };
            self.give_up(key, 0, next.unwrap_or(first), DeathReason::LengthLimit);
        }
    }

    // The broker stops and starts.

    /// All that is volatile goes. What each unsettled entry may count of attempts is left to [`Model::found`].
    pub fn stop(&mut self) {
        self.subscriptions.clear();
        self.producers.clear();
        self.locks.clear();
        self.halves.values_mut().for_each(|half| half.late_from_ms = None);
    }

    /// The power failed, and this is what was synced: time goes on, and what clients saw they have seen.
    pub fn take_over_from(&mut self, lost: Model) {
        (self.wall_ms, self.mono_ms, self.batches) = (lost.wall_ms, lost.mono_ms, lost.batches);
        self.counts = lost.counts;
        for (name, topic) in &mut self.topics {
            for (queue, lost) in topic.queues.iter_mut().zip(&lost.topics[name].queues) {
                queue.seen_to = queue.seen_to.max(lost.visible);
            }
        }
    }

    /// A line as the broker has it after a start. What was out counts as an attempt; so may what was handed out since
    /// the last start, and, in the order of arrival, so many behind it.
    /// What is settled by then was late.
    pub fn found(
        &mut self,
        key: Key,
        index: u32,
        found: &BTreeMap<u64, Failed>,
        is_settled: impl Fn(u64) -> bool,
        lost_power: bool,
    ) -> Said {
        let (wall_ms, mono_ms) = (self.wall_ms, self.mono_ms);
        let is_in_arrival =
            self.groups[key.0].order == Order::Any && self.topics[key.1].rules.priority_max == 0;
        let (line, queue) = self.line(key, index);
        let ahead = line.handed.last().map_or(0, |last| last + 1 + GRANTED_AHEAD);
        let before = line.clone();
        (line.leases, line.handed, line.dying) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        (line.delayed, line.returned, line.failed) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        for offset in queue.entries.keys().copied().filter(|offset| !before.is_settled(*offset)) {
            if is_settled(offset) {
                continue;
            }
            let (now, known) = (found.get(&offset).copied(), before.failed.get(&offset).copied());
            let known_attempts = known.map_or(0, |failed| failed.attempts);
            let (attempts, more) = (now.map_or(0, |failed| failed.attempts), known_attempts + 1);
            let was_out = before.leases.contains_key(&offset);
            let may_have_been =
                was_out || before.handed.contains(&offset) || (is_in_arrival && offset < ahead);
            let is_same = now == known && (!was_out || lost_power);
            let is_counted = may_have_been && attempts == more && now.unwrap().not_before_ms == wall_ms;
            must!(
                is_same || is_counted,
                "{offset} of {key:?} had {known:?}, was out: {was_out}, and has {now:?} after the start"
            );
            if let Some(now) = now {
                line.failed.insert(offset, now);
            }
        }
        line.wait_by_wall(wall_ms, mono_ms);
        Ok(())
    }

    // What holds whenever the broker is at rest.

    pub fn check_rest(&mut self) -> Said {
        must!(self.coming.is_empty(), "these have not come: {:?}", self.coming);
        let overdue = self.overdue();
        must!(overdue.is_none(), "{overdue:?} is due and has not come");
        self.check_asked()?;
        for key in self.subscriptions.keys().copied().collect::<Vec<_>>() {
            let single_active = self.groups[key.0].single_active;
            let subscription = &self.subscriptions[&key];
            let late = subscription.receivers.iter().find(|receiver| receiver.deadline_ms <= self.mono_ms);
            must!(late.is_none(), "a receive should be answered by now: {late:?}");
            self.choose_active(key);
            let subscription = &self.subscriptions[&key];
            let receives =
                !subscription.receivers.is_empty() && (!single_active || subscription.consumers.is_empty());
            let may_get = |key| subscription.may_get(key, single_active);
            let consumes = !subscription.hands_over && subscription.consumers.iter().any(|c| may_get(c.key));
            if receives || consumes {
                self.batches += 1;
                let batch = self.batches;
                let (next, mut late) = (self.next_to_get(key, batch), self.late_of(key));
                late.retain(|late| !self.is_to_be_swept(key, late.0));
                must!(late.is_empty(), "{key:?} still has {late:?}, which nobody may get");
                must!(
                    next.is_empty(),
                    "{key:?} could have been handed {next:?}: {:?}",
                    self.subscriptions[&key]
                );
            }
        }
        Ok(())
    }
}

/// As far as the logged mark of what was handed out runs ahead.
const GRANTED_AHEAD: u64 = 256;
