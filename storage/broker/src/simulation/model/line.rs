//! The model of a group on a queue: what is settled, what has failed, who holds what, and what comes next.

use std::collections::{BTreeMap, BTreeSet};

use super::queue::Queue;
use crate::limits::FIFO_LOOKAHEAD_ENTRIES_MAX;
use crate::settings::Order;

/// Names a lease: epoch and number.
pub type LeaseNumber = (u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub number: LeaseNumber,
    /// What was handed out together.
    pub batch: u64,
    pub session: u64,
    /// Monotonic; without, it ends with its session.
    pub ends_ms: Option<u64>,
}

/// Attempts of an entry that came back, and the wall time before which it must not be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    pub attempts: u32,
    pub not_before_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Everything below is settled.
    pub floor: u64,
    pub settled: BTreeSet<u64>,
    pub failed: BTreeMap<u64, Failed>,
    /// Came back, and must wait until a monotonic time.
    pub delayed: BTreeMap<u64, u64>,
    /// Came back, and may be handed out.
    pub returned: BTreeSet<u64>,
    pub leases: BTreeMap<u64, Lease>,
    /// Were handed out since the broker started.
    pub handed: BTreeSet<u64>,
    /// Given up, and on their way to the dead letters: in strict order they hold up others until they are there.
    pub dying: BTreeSet<u64>,
}

impl Line {
    pub fn is_settled(&self, offset: u64) -> bool {
        offset < self.floor || self.settled.contains(&offset)
    }

    pub fn attempts(&self, offset: u64) -> u32 {
        self.failed.get(&offset).map_or(0, |failed| failed.attempts)
    }

    /// Visible and not settled.
    pub fn unsettled<'a>(&'a self, queue: &'a Queue) -> impl Iterator<Item = u64> + 'a {
        queue.seen_from(self.floor).filter(|offset| !self.settled.contains(offset))
    }

    /// Nobody holds it, whether or not it must wait.
    pub fn ready<'a>(&'a self, queue: &'a Queue) -> impl Iterator<Item = u64> + 'a {
        self.unsettled(queue).filter(|offset| !self.leases.contains_key(offset))
    }

    fn is_free(&self, offset: u64) -> bool {
        !self.leases.contains_key(&offset) && !self.delayed.contains_key(&offset)
    }

    fn forget(&mut self, offset: u64) {
        self.delayed.remove(&offset);
        self.returned.remove(&offset);
        self.leases.remove(&offset);
    }

    pub fn settle(&mut self, queue: &Queue, offset: u64) {
        self.forget(offset);
        self.failed.remove(&offset);
        self.settled.insert(offset);
        self.move_floor(queue);
    }

    pub fn move_floor(&mut self, queue: &Queue) {
        loop {
            if self.settled.remove(&self.floor) {
                self.floor += 1;
            } else if let Some(end) = queue.end_of_gap(self.floor) {
                self.floor = end;
            } else {
                return;
            }
        }
    }

    /// It comes back, to be handed out from a monotonic time on.
    pub fn come_back(&mut self, offset: u64, from_ms: u64, now_ms: u64) {
        self.forget(offset);
        if from_ms > now_ms {
            self.delayed.insert(offset, from_ms);
        } else {
            self.returned.insert(offset);
        }
    }

    /// What failed before the start waits as long as the wall clock says when the first is handed out.
    pub fn wait_by_wall(&mut self, wall_ms: u64, now_ms: u64) {
        for (offset, failed) in self.failed.clone() {
            self.come_back(offset, now_ms + failed.not_before_ms.saturating_sub(wall_ms), now_ms);
        }
    }

    /// Waits that are over.
    pub fn end_waits(&mut self, now_ms: u64) -> usize {
        let over: Vec<u64> = self.delayed.iter().filter(|(_, at)| **at <= now_ms).map(|(o, _)| *o).collect();
        for offset in &over {
            self.delayed.remove(offset);
            self.returned.insert(*offset);
        }
        over.len()
    }

    /// Everything below is settled and nothing else, but what is gone for good. Where it is so already, nothing changes.
    pub fn move_to(&mut self, queue: &Queue, offset: u64, settled_is_final: bool) {
        let is_there = self.floor == offset && self.settled.is_empty() && self.failed.is_empty();
        if is_there && self.leases.is_empty() {
            return;
        }
        let before = std::mem::take(self);
        self.floor = offset;
        if settled_is_final {
            let is_gone = |offset: &&u64| before.is_settled(**offset);
            self.settled =
                queue.entries.range(offset..).map(|(offset, _)| offset).filter(is_gone).copied().collect();
        }
        self.move_floor(queue);
    }

    /// What may be handed out next in a batch: one entry, or the first of each message group.
    pub fn next(
        &self,
        queue: &Queue,
        order: Order,
        has_priorities: bool,
        batch: u64,
        is_late: impl Fn(u64) -> bool,
    ) -> Vec<u64> {
        let unsettled: Vec<u64> = self.unsettled(queue).filter(|offset| !is_late(*offset)).collect();
        let free = || unsettled.iter().copied().filter(|offset| self.is_free(*offset));
        let priority = |offset: u64| queue.entries[&offset].priority;
        match order {
            Order::Any if has_priorities => {
                let highest = free().map(priority).max();
                free().find(|offset| Some(priority(*offset)) == highest).into_iter().collect()
            }
            Order::Any => {
                let came_back = free().find(|offset| self.returned.contains(offset));
                came_back.or_else(|| free().next()).into_iter().collect()
            }
            Order::Queue | Order::Key => {
                let group =
                    |offset: u64| if order == Order::Key { queue.entries[&offset].message.key } else { 0 };
                let mut firsts: BTreeMap<u8, Option<u64>> = BTreeMap::new();
                let looked_to = match order {
                    Order::Key => self.floor + FIFO_LOOKAHEAD_ENTRIES_MAX,
                    _ => u64::MAX,
                };
                let in_order: BTreeSet<u64> = unsettled.iter().chain(&self.dying).copied().collect();
                for offset in in_order.range(..looked_to).copied() {
                    match self.leases.get(&offset) {
                        _ if self.dying.contains(&offset) => drop(firsts.insert(group(offset), None)),
                        // The batch goes on.
                        Some(lease) if lease.batch == batch => {}
                        Some(_) => drop(firsts.insert(group(offset), None)),
                        None => {
                            let first = Some(offset).filter(|offset| self.is_free(*offset));
                            firsts.entry(group(offset)).or_insert(first);
                        }
                    }
                }
                firsts.into_values().flatten().collect()
            }
        }
    }
}
