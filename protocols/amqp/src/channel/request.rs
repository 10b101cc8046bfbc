//! What a channel asks of the broker's side, and what it is told. Words are AMQP's; whoever maps them to the broker's
//! own needs nothing else from this crate's state.
//!
//! A channel has at most one request open, and is not read while it has: what follows may depend on the answer (a
//! publish to a queue that is just being declared), and answers go out in order by themselves. Publishes and settles
//! are no requests and wait for nothing.

use std::collections::BTreeMap;

use crate::codec::ShortBytes;
use crate::codec::writer::Content;

/// One opening of a channel. Numbers are reused, openings are not, so late answers find nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelKey {
    pub number: u16,
    pub opening: u32,
}

/// One consumer, unique on its connection: the channel's number in the top 16 bits, a count below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerKey(pub u64);

impl ConsumerKey {
    const CHANNEL_SHIFT: u32 = 48;

    pub(crate) fn new(channel: u16, count: u64) -> Self {
        ConsumerKey(u64::from(channel) << Self::CHANNEL_SHIFT | count & ((1 << Self::CHANNEL_SHIFT) - 1))
    }

    pub(crate) fn channel(self) -> u16 {
        u16::try_from(self.0 >> Self::CHANNEL_SHIFT).unwrap_or(0)
    }
}

/// One request; comes back with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    pub channel: ChannelKey,
    pub sequence: u32,
}

/// What is to be done. Names are as the client gave them, but for line breaks, which are stripped, and empty queue
/// names, which are filled in with the last one declared.
#[derive(Clone, Debug, PartialEq)]
pub enum Request<L> {
    DeclareExchange(DeclareExchange),
    DeleteExchange {
        exchange: String,
        if_unused: bool,
    },
    /// Answer: [`Answer::Declared`].
    DeclareQueue(DeclareQueue),
    /// Answer: [`Answer::Count`] of messages.
    DeleteQueue {
        queue: String,
        if_unused: bool,
        if_empty: bool,
    },
    /// Answer: [`Answer::Count`] of messages.
    PurgeQueue {
        queue: String,
    },
    Bind(Binding),
    Unbind(Binding),
    /// Answer before the first delivery.
    Consume {
        consumer: ConsumerKey,
        queue: String,
        no_ack: bool,
        exclusive: bool,
        credit: u32,
        priority: i64,
    },
    /// Answer after the last delivery.
    Cancel {
        consumer: ConsumerKey,
    },
    /// Answer: [`Answer::Message`].
    Get {
        queue: String,
        no_ack: bool,
    },
    /// Everything that was published in the transaction, and these leases: all of it is stored, or the answer is a refusal.
    Commit {
        settlements: Vec<(Settlement, Vec<L>)>,
    },
    /// Everything that was published in the transaction is dropped.
    RollBack,
    /// The client has closed the channel; answered when all of it is undone.
    Close(ChannelEnd<L>),
}

impl<L> Request<L> {
    /// True for what must see the messages that were published before it.
    pub fn looks_at_queues(&self) -> bool {
        matches!(
            self,
            Request::DeclareQueue(_)
                | Request::DeleteQueue { .. }
                | Request::PurgeQueue { .. }
                | Request::Get { .. }
                | Request::Close(_)
        )
    }
}

/// The type of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeType {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl ExchangeType {
    pub fn name(self) -> &'static str {
        match self {
            ExchangeType::Direct => "direct",
            ExchangeType::Fanout => "fanout",
            ExchangeType::Topic => "topic",
            ExchangeType::Headers => "headers",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclareExchange {
    pub exchange: String,
    /// `None` when only asked whether it is there.
    pub settings: Option<ExchangeSettings>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeSettings {
    pub kind: ExchangeType,
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    /// The exchange that gets what goes nowhere from here.
    pub alternate: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclareQueue {
    /// Empty: the broker's side makes a name.
    pub queue: String,
    /// `None` when only asked whether it is there.
    pub settings: Option<QueueSettings>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
    /// Arguments as text that is equal when they are.
    pub arguments: BTreeMap<String, String>,
    /// Failed deliveries after which a message is given up.
    pub delivery_limit: Option<u32>,
    /// One consumer gets all messages, until it leaves.
    pub single_active: bool,
}

/// What a binding leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingTarget {
    Queue(String),
    Exchange(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub source: String,
    pub target: BindingTarget,
    pub key: String,
    /// The arguments' bytes: part of the binding's identity.
    pub arguments: Vec<u8>,
}

/// What a channel leaves behind: consumers to be stopped, and leases of unacknowledged messages to be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelEnd<L> {
    pub channel: ChannelKey,
    pub consumers: Vec<ConsumerKey>,
    /// Oldest first.
    pub leases: Vec<L>,
}

/// The answer to a [`Request`] that was carried out.
#[derive(Debug)]
pub enum Answer<'a, L> {
    Done,
    Declared {
        queue: &'a str,
        messages: u32,
        consumers: u32,
    },
    Count(u32),
    /// `None` when the queue is empty.
    Message(Option<Fetched<'a, L>>),
}

/// A message got from a queue.
#[derive(Debug)]
pub struct Fetched<'a, L> {
    /// `None` when it needs no acknowledgement.
    pub lease: Option<L>,
    pub message: Message<'a>,
    /// Messages left in the queue.
    pub left: u32,
}

/// A message on its way to a client.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub exchange: &'a str,
    pub routing_key: ShortBytes<'a>,
    pub redelivered: bool,
    pub content: Content<'a>,
}

/// A message from a client. Borrowed: nothing was copied but what came in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    pub channel: ChannelKey,
    /// Number for [`crate::connection::Connection::confirm`], when the channel is in confirm mode.
    pub sequence: Option<u64>,
    /// It counts only once it is committed.
    pub in_transaction: bool,
    pub mandatory: bool,
    pub exchange: &'a str,
    pub routing_key: ShortBytes<'a>,
    /// Property flags and values; read with [`crate::codec::BasicProperties::read`].
    pub properties: &'a [u8],
    pub body: &'a [u8],
}

/// What a client says about messages it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    Ack,
    /// Back to the queue, to its old place.
    Requeue,
    /// Given up: to the dead letter, or away.
    Reject,
}
