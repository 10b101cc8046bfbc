//! Who is being served on which topic: consumers with credit, receives that wait, and members that read by offset.
//! Volatile: a restart finds none of them.

mod fifo;
mod flow;
mod members;
mod ranks;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::flow::{Ask, Flow, Lease, LeaseEnd, Next, Run, Sequence, attempts, wait_until};
pub(crate) use self::members::{Member, Members};
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
    /// Served in turn: the first is next.
    pub consumers: VecDeque<Consumer>,
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
}
