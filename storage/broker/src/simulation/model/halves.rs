//! The model of half messages: nobody sees one before its producers commit it, and never after they roll it back.

use super::broker::{Coming, Model};
use super::queue::{Message, Name};
use super::{Said, must};
use crate::command::Decision;
use crate::limits::{HALF_CHECK_INTERVAL_MS, HALF_CHECKS_MAX};

#[derive(Clone, Debug)]
pub struct Half {
    pub topic: Name,
    pub queue: Option<u32>,
    pub message: Message,
    /// The group of those that may end it, and are asked.
    pub producers: Name,
    pub checks: u32,
    pub next_check_ms: u64,
    /// Monotonic: since then somebody could have been asked.
    pub late_from_ms: Option<u64>,
}

/// What becomes of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Committed(Name),
    RolledBack,
    /// There is none, or it is another group's.
    NotHalf,
    /// It stays as it is.
    Full,
    /// Another end came first.
    Busy,
}

impl Model {
    /// What is decided at one moment, by one client.
    pub fn end_half(&mut self, number: u64, group: Option<Name>, decisions: &[Decision]) -> Vec<Ended> {
        let mut committing = None;
        let mut end = |decision: &Decision| {
            let is_its = |half: &Half| group.is_none_or(|group| group == half.producers);
            let half = self.halves.get(&number).filter(|half| is_its(half)).cloned();
            match (committing, decision, half) {
                (Some(ended), Decision::Commit, _) => ended,
                (Some(_), Decision::RollBack, _) => Ended::Busy,
                (None, _, None) => Ended::NotHalf,
                (None, Decision::RollBack, Some(_)) => {
                    self.halves.remove(&number);
                    Ended::RolledBack
                }
                (None, Decision::Commit, Some(half)) => {
                    let ended =
                        if self.is_full(half.topic) { Ended::Full } else { Ended::Committed(half.topic) };
                    if ended != Ended::Full {
                        self.halves.remove(&number);
                        let Half { topic, queue, message, .. } = half;
                        self.coming.push(Coming { topic, queue, message });
                    }
                    *committing.insert(ended)
                }
            }
        };
        decisions.iter().map(&mut end).collect()
    }

    /// A session is asked what becomes of a half message.
    pub fn asked(&mut self, number: u64, session: u64, checks: u32) -> Said {
        self.count("checks", 1);
        let half =
            self.halves.get_mut(&number).ok_or(format!("{number} is asked for, and no half message"))?;
        must!(half.next_check_ms <= self.wall_ms, "{number} is asked for early: {half:?}");
        must!(half.checks == checks && checks < HALF_CHECKS_MAX, "the {checks}. check of {half:?}");
        let may_be_asked = self.producers.contains(&(session, half.producers));
        must!(may_be_asked, "{session} is asked for {half:?}");
        (half.checks, half.late_from_ms) = (checks + 1, None);
        half.next_check_ms = self.wall_ms + HALF_CHECK_INTERVAL_MS;
        Ok(())
    }

    fn is_served(&self, half: &Half) -> bool {
        self.producers.iter().any(|(_, group)| *group == half.producers)
    }

    /// When somebody is asked at the latest, in monotonic time.
    pub fn next_check_ms(&self) -> Option<u64> {
        let served = self.halves.values().filter(|half| self.is_served(half));
        let at = served.map(|half| {
            half.late_from_ms.unwrap_or(self.mono_ms + half.next_check_ms.saturating_sub(self.wall_ms))
        });
        at.min().map(|at| at + ASKED_LATE_MS)
    }

    /// Nobody is asked too late.
    pub fn check_asked(&mut self) -> Said {
        for number in self.halves.keys().copied().collect::<Vec<_>>() {
            let half = &self.halves[&number];
            let is_due = half.next_check_ms <= self.wall_ms && self.is_served(half);
            let late_from_ms = is_due.then(|| half.late_from_ms.unwrap_or(self.mono_ms));
            let is_late = late_from_ms.is_some_and(|from_ms| from_ms + ASKED_LATE_MS < self.mono_ms);
            must!(!is_late, "{number} should have been asked for: {half:?}");
            self.halves.get_mut(&number).unwrap().late_from_ms = late_from_ms;
        }
        Ok(())
    }
}

/// Between two checks there are 50 ms, and a group of which nothing can be read yet is looked at again after 200.
const ASKED_LATE_MS: u64 = 250;
