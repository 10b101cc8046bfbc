//! Who is being served on which topic: consumers with credit, receives that wait, and members that read by offset.
//! Volatile: a restart finds none of them.

mod fifo;
mod flow;
mod leases;
mod members;
mod ranks;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mailrail_commitlog::planted::{Bug, planted};

pub(crate) use self::flow::{Ask, Flow, Next, Run, Sequence, attempts, wait_until};
pub(crate) use self::leases::{Lease, LeaseEnd};
pub(crate) use self::members::{Lock, Member, Members};
use crate::ids::*;
use crate::session::Mailbox;

/// A consumer that is served as long as it has credit.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub mailbox: Arc<Mailbox>,
    pub id: ConsumerId,
    pub credit: u64,
    pub no_ack: bool,
    pub exclusive: bool,
    pub priority: i64,
}

impl Consumer {
    /// Names it among all of its group.
    fn key(&self) -> (SessionId, ConsumerId) {
        (self.mailbox.session, self.id)
    }
}

/// A receive that has not got anything yet.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub mailbox: Arc<Mailbox>,
    pub token: Token,
    pub max: u64,
    pub lease_ms: u64,
    pub deadline: Duration,
}

/// Everything volatile about a group on a topic that is consumed by lease.
#[derive(Debug, Default)]
pub(crate) struct Subscription {
    /// Served in turn: the first is next among those of its priority.
    consumers: VecDeque<Consumer>,
    /// In the order in which they came.
    joined: Vec<(SessionId, ConsumerId)>,
    /// The one that is served where only one may be, from its first turn until it leaves.
    active: Option<(SessionId, ConsumerId)>,
    /// True while not all have the same priority.
    has_priorities: bool,
    pub receivers: VecDeque<Receiver>,
    /// Sessions that hold or held leases without a consumer.
    pub had_consumer: bool,
}

impl Subscription {
    pub fn is_idle(&self) -> bool {
        self.consumers.is_empty() && self.receivers.is_empty()
    }

    /// True when somebody could take an entry.
    pub fn wants(&self) -> bool {
        !self.receivers.is_empty() || self.consumers.iter().any(|consumer| consumer.credit > 0)
    }

    pub fn consumers(&self) -> &VecDeque<Consumer> {
        &self.consumers
    }

    pub fn consumer_mut(&mut self, session: SessionId, id: ConsumerId) -> Option<&mut Consumer> {
        self.consumers.iter_mut().find(|consumer| consumer.key() == (session, id))
    }

    pub fn is_active(&self, session: SessionId, id: ConsumerId) -> bool {
        self.active == Some((session, id))
    }

    pub fn add(&mut self, consumer: Consumer) {
        self.had_consumer = true;
        self.joined.push(consumer.key());
        self.consumers.push_back(consumer);
        self.compare_priorities();
    }

    fn compare_priorities(&mut self) {
        let mut priorities = self.consumers.iter().map(|consumer| consumer.priority);
        let first = priorities.next();
        self.has_priorities = priorities.any(|priority| Some(priority) != first);
    }

    /// Removes one consumer of a session, or all of it.
    pub fn remove(&mut self, session: SessionId, id: Option<ConsumerId>) {
        let stays = |(its, own): &(SessionId, ConsumerId)| *its != session || id.is_some_and(|id| *own != id);
        self.consumers.retain(|consumer| stays(&consumer.key()));
        self.joined.retain(stays);
        self.active = self.active.filter(stays);
        self.compare_priorities();
    }

    /// The consumer whose turn it is, if it has credit: the first of the highest priority among those that have; or the
    /// one that is active, which is chosen in the same way among all, the longest there first.
    pub fn next(&mut self, single_active: bool) -> Option<&mut Consumer> {
        if !single_active || planted(Bug::TwoActive) {
            self.active = None;
            let mut ready = self.consumers.iter().filter(|consumer| consumer.credit > 0);
            let first = ready.next()?.priority;
            let best =
                if self.has_priorities { ready.map(|c| c.priority).fold(first, i64::max) } else { first };
            let mut ready = self.consumers.iter_mut();
            return ready.find(|consumer| consumer.credit > 0 && consumer.priority == best);
        }
        if self.active.is_none() {
            let best = self.consumers.iter().map(|consumer| consumer.priority).max()?;
            let is_best = |key: &&(SessionId, ConsumerId)| {
                self.consumers.iter().any(|consumer| consumer.key() == **key && consumer.priority == best)
            };
            self.active = self.joined.iter().find(is_best).copied();
        }
        let (session, id) = self.active?;
        self.consumer_mut(session, id).filter(|consumer| consumer.credit > 0)
    }

    /// A consumer had its turn.
    pub fn had_turn(&mut self, session: SessionId, id: ConsumerId) {
        if let Some(at) = self.consumers.iter().position(|consumer| consumer.key() == (session, id)) {
            self.consumers.rotate_left(at);
            self.consumers.rotate_left(1);
        }
    }
}
