//! Where the shard and the readers leave what a session has to hear of.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::access::Identity;
use crate::command::Receipt;
use crate::event::{Delivery, Event, Recipient};
use crate::ids::*;
use crate::queue::Queue;
use crate::share::Held;
use crate::stages::WakeMeter;
use crate::statistics::Client;

/// What lies in a mailbox: finished events, and grants whose messages are still to be read.
#[derive(Debug)]
pub(crate) enum Letter {
    Event(Event),
    Granted {
        to: Recipient,
        grants: Vec<Grant>,
    },
    /// Messages of the oldest deferred grants, read by the pool, how many could not be read, and the grants that are
    /// still to be read.
    Fetched {
        to: Recipient,
        deliveries: Vec<Delivery>,
        unread: u32,
        rest: Vec<Grant>,
        held: Held,
    },
    /// The answer to a read, with the bytes it counts for.
    Brought {
        event: Event,
        held: Held,
    },
}

/// A run of entries leased to a session: offsets and lease numbers both count up by one.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub group: GroupId,
    pub queue: Arc<Queue>,
    pub first_offset: u64,
    pub count: u32,
    pub attempts: u32,
    pub epoch: u64,
    pub first_lease: u64,
    /// Entries that were overdue at this wall time are not handed out; 0 = all are.
    pub granted_ms: u64,
}

impl Grant {
    pub(crate) fn end_offset(&self) -> u64 {
        self.first_offset + u64::from(self.count)
    }

    /// The part of a grant that starts at one of its offsets.
    pub(crate) fn from(&self, offset: u64) -> Grant {
        let count = u32::try_from(self.end_offset() - offset).unwrap_or(0);
        let first_lease = self.first_lease + (offset - self.first_offset);
        Grant { first_offset: offset, count, first_lease, ..self.clone() }
    }

    /// The receipt of one of its offsets.
    pub(crate) fn receipt(&self, offset: u64) -> Receipt {
        Receipt {
            group: self.group,
            queue: self.queue.id,
            offset,
            epoch: self.epoch,
            lease: self.first_lease + (offset - self.first_offset),
        }
    }

    pub(super) fn receipts(&self) -> impl Iterator<Item = Receipt> + '_ {
        (self.first_offset..self.end_offset()).map(|offset| self.receipt(offset))
    }
}

/// Where the shard and the pool leave letters for one session.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub session: SessionId,
    inner: Mutex<Inbox>,
    pub(super) closed: AtomicBool,
    meter: Option<WakeMeter>,
    /// Who the commands that the shard carries out now are for.
    identity: ArcSwap<Identity>,
    /// The connection that its session belongs to.
    client: Mutex<Option<Arc<Client>>>,
}

#[derive(Debug, Default)]
struct Inbox {
    letters: Vec<Letter>,
    waker: Option<Waker>,
    /// When the first of the letters was left for a session that slept.
    left: Option<Duration>,
}

impl Mailbox {
    pub(crate) fn new(session: SessionId, meter: Option<WakeMeter>) -> Self {
        let identity = ArcSwap::from_pointee(Identity::anonymous(Ipv4Addr::LOCALHOST.into()));
        let (inner, client) = (Mutex::default(), Mutex::default());
        Mailbox { session, inner, closed: AtomicBool::new(false), meter, identity, client }
    }

    pub(crate) fn identity(&self) -> Guard<Arc<Identity>> {
        self.identity.load()
    }

    pub(crate) fn client(&self) -> Option<Arc<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn belong_to(&self, client: Option<Arc<Client>>) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Called in the order of the session's commands.
    pub(crate) fn identify(&self, identity: Arc<Identity>) {
        self.identity.store(identity);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Leaves letters and wakes the session once.
    pub(crate) fn put(&self, letters: impl IntoIterator<Item = Letter>) {
        if self.is_closed() {
            return;
        }
        let waker = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.letters.extend(letters);
            let waker = inner.waker.take();
            if waker.is_some() {
                inner.left = self.meter.as_ref().map(WakeMeter::now);
            }
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    #[cfg(test)]
    pub(crate) fn take_letters(&self) -> Vec<Letter> {
        self.take(None)
    }

    /// Takes all letters, or leaves the waker to be called when there are some.
    pub(super) fn take(&self, context: Option<&mut Context<'_>>) -> Vec<Letter> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.letters.is_empty()
            && let Some(context) = context
            && !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()))
        {
            inner.waker = Some(context.waker().clone());
        }
        let (letters, left) = (std::mem::take(&mut inner.letters), inner.left.take());
        drop(inner);
        if let (Some(meter), Some(left)) = (&self.meter, left) {
            meter.looked(left);
        }
        letters
    }
}
