//! What the shard tells a session.

use std::sync::Arc;

use bytes::Bytes;

use crate::access::{AuditEntry, Identity};
use crate::command::{BindTarget, Name, Receipt};
use crate::directory::Topic;
use crate::error::Error;
use crate::ids::*;
use crate::lookup::Found;
use crate::read::ReadBatch;

/// One answer or notice.
#[derive(Debug)]
pub enum Event {
    /// A publish batch has reached its durability: one result per item, in order.
    Published { token: Token, results: Vec<Result<Stored, Error>> },
    /// A command was carried out or refused.
    Reply { token: Token, result: Result<Reply, Error> },
    /// Messages for a receive or a get (`to` its token), all at once, or for a consumer.
    Deliveries { to: Recipient, deliveries: Vec<Delivery> },
    /// A consumer was ended by the broker: its topic or group is gone.
    ConsumerEnded { consumer: ConsumerId },
    /// A read by offset that could not be answered at once.
    Read { token: Token, result: Result<ReadBatch, Error> },
    /// What a search by key found, the newest first.
    Found { token: Token, result: Result<Vec<Found>, Error> },
    /// The queue has entries at or beyond the offset that was waited for, or the wait's queue is gone.
    Readable { token: Token },
    /// What becomes of a half message? To be answered with [`crate::Command::EndHalf`], or not: then it is asked again.
    Check(Check),
    /// The members of a group have changed; sent to every session that has one in it.
    MembersChanged { group: Name },
}

impl Event {
    /// Messages that come with it.
    pub(crate) fn messages(&self) -> usize {
        match self {
            Event::Read { result: Ok(batch), .. } => batch.entries.len(),
            Event::Found { result: Ok(found), .. } => found.len(),
            Event::Deliveries { deliveries, .. } => deliveries.len(),
            Event::Check(_) => 1,
            _ => 0,
        }
    }

    /// Bytes of the messages that came with a read.
    pub(crate) fn message_bytes(&self) -> usize {
        match self {
            Event::Read { result: Ok(batch), .. } => batch.message_bytes(),
            Event::Found { result: Ok(found), .. } => {
                found.iter().map(|found| found.entry.message.len()).sum()
            }
            Event::Deliveries { deliveries, .. } => Delivery::bytes_of(deliveries),
            Event::Check(check) => check.message.len(),
            _ => 0,
        }
    }
}

impl Delivery {
    pub(crate) fn bytes_of(deliveries: &[Delivery]) -> usize {
        deliveries.iter().map(|delivery| delivery.message.len()).sum()
    }
}

/// Who deliveries are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    Request(Token),
    Consumer(ConsumerId),
}

/// Where a published message went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Log position of its record: the second half of an offset message id.
    pub position: u64,
    /// Number of the first queue within its topic.
    pub queue_index: u32,
    /// Offset in that queue; `None` while it waits for its time or for its producer.
    pub offset: Option<u64>,
    /// Number of queues it went to.
    pub queues: u32,
    /// It was stored before, by the same deduplication key or sequence number, and not again: this is the receipt of the
    /// first one, as far as it is remembered. (Where nothing of it is: [`Error::Forgotten`].)
    pub duplicate: bool,
}

/// A half message that its producers have not ended.
#[derive(Clone, Debug)]
pub struct Check {
    /// Log position of its record, as its receipt says.
    pub position: u64,
    /// Group of its producers.
    pub group: Name,
    /// How often they were asked before.
    pub checks: u32,
    /// The stored message with annexes.
    pub message: Bytes,
}

/// An open half message, as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfView {
    pub position: u64,
    pub group: Name,
    pub checks: u32,
    /// Producers are asked no earlier, in milliseconds of the Unix epoch.
    pub next_check_ms: u64,
}

/// The answer to a command.
#[derive(Debug)]
pub enum Reply {
    Done,
    Topic {
        topic: Arc<Topic>,
        created: bool,
    },
    Count(u64),
    Offsets(Vec<Option<u64>>),
    Group(GroupView),
    Settled(Vec<Result<(), Error>>),
    Members(Vec<Name>),
    Locked(Vec<QueueId>),
    Bindings(Vec<BindingView>),
    Halves(Vec<HalfView>),
    /// Where a message went.
    Stored(Stored),
    /// Where messages went that were stored together; [`Error::Unroutable`] where no queue was bound for one.
    Together(Vec<Result<Stored, Error>>),
    /// Who a login is for; see [`crate::Session::identify`].
    LoggedIn(Arc<Identity>),
    Audit(Vec<AuditEntry>),
}

/// One binding, as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingView {
    pub target: BindTarget,
    pub key: String,
    pub attributes: Vec<u8>,
}

/// A group on a topic, as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// Entries that could be handed out now or after their backoff.
    pub ready: u64,
    /// Entries handed out and not settled.
    pub leased: u64,
    /// Consumers by lease; members by offset are not counted.
    pub consumers: u32,
    pub queues: Vec<GroupQueueView>,
}

/// One queue of a [`GroupView`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupQueueView {
    pub queue_index: u32,
    /// Everything below is settled.
    pub committed: u64,
    /// Offset behind the last entry.
    pub end: u64,
    /// Entries between, without those settled out of order.
    pub lag: u64,
}

/// One message handed out.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub receipt: Receipt,
    pub queue_index: u32,
    /// Failed attempts before this one; above 0 means redelivered.
    pub attempts: u32,
    /// The stored message with annexes; read it with `mailrail_message::StoredMessage`.
    pub message: Bytes,
}
