//! What a session can ask of the shard. Commands of one session are carried out in the order they were submitted.

use std::sync::Arc;

use bytes::Bytes;

use crate::access::{Identity, UserChange};
use crate::filter::Filter;
use crate::ids::*;
use crate::publish::PublishBatch;
use crate::settings::*;

/// A name as adapters hold it: shared, so that a command costs no copy.
pub type Name = Arc<str>;

/// One request. `token` comes back in the answering [`crate::Event`].
#[derive(Debug)]
pub enum Command {
    /// Stores the batch. Answer: [`crate::Event::Published`], when every item has reached its durability.
    Publish {
        token: Token,
        batch: PublishBatch,
    },

    /// Makes a topic. Where it exists: same settings, or `adopt`, answers with it; else [`crate::Error::Differs`].
    PutTopic {
        token: Token,
        name: Name,
        settings: TopicSettings,
        adopt: bool,
    },
    /// Deletes a topic, its entries and its groups' positions. `if_unused`/`if_empty` look at the default group.
    /// Answer: [`crate::Reply::Count`] of ready entries that went.
    DeleteTopic {
        token: Token,
        name: Name,
        if_unused: bool,
        if_empty: bool,
    },
    /// Makes a group, or changes its settings; without settings an existing group stays as it is and a new one gets
    /// [`GroupSettings::rocketmq`].
    PutGroup {
        token: Token,
        name: Name,
        settings: Option<GroupSettings>,
    },
    /// Forgets a group's position and leases on one topic.
    DeleteGroup {
        token: Token,
        group: Name,
        topic: Name,
    },
    PutExchange {
        token: Token,
        name: Name,
        settings: ExchangeSettings,
    },
    DeleteExchange {
        token: Token,
        name: Name,
        if_unused: bool,
    },
    /// Adds a binding; one that exists is left as it is. A source without an exchange of that name may be a topic:
    /// the topic then acts as a topic exchange whose routing key is the tag.
    Bind {
        token: Token,
        source: Name,
        target: BindTarget,
        key: Name,
        attributes: Bytes,
    },
    /// Removes a binding; removing none is no error.
    Unbind {
        token: Token,
        source: Name,
        target: BindTarget,
        key: Name,
        attributes: Bytes,
    },

    /// Bindings of a source, in an order that stays, from the one behind `skip` on: all of them, or those to one target.
    /// Answer: [`crate::Reply::Bindings`].
    Bindings {
        token: Token,
        source: Name,
        target: Option<BindTarget>,
        skip: usize,
        max: usize,
    },

    /// Settles everything the group could get on the topic. Answer: [`crate::Reply::Count`] of ready entries.
    Purge {
        token: Token,
        group: Name,
        topic: Name,
    },
    /// Ready entries, leases and consumers of a group. Answer: [`crate::Reply::Group`].
    GroupState {
        token: Token,
        group: Name,
        topic: Name,
    },

    /// Consumption by offset: stores positions. No answer without a token.
    Commit {
        token: Option<Token>,
        group: Name,
        commits: Vec<(QueueId, u64)>,
    },
    /// Committed offsets. Answer: [`crate::Reply::Offsets`] in the order of `queues`.
    Committed {
        token: Token,
        group: Name,
        queues: Vec<QueueId>,
    },
    /// Moves a group's position; leases end. Answer: [`crate::Reply::Offsets`], one per queue of the topic.
    Seek {
        token: Token,
        group: Name,
        topic: Name,
        to: SeekTo,
    },

    /// Leases messages once. Answer: [`crate::Event::Deliveries`], empty when `wait_ms` passed without any.
    ///
    /// `filter` says what the group wants of the topic: the group gets what passes, and all else is settled for it, unseen.
    /// So it is one for all of the group: another one is refused with [`crate::Error::Differs`] while the group consumes the
    /// topic, and [`crate::limits::FILTER_HELD_MS`] longer. `None` goes by whatever the group's is, as consumers and gets do.
    /// A group that owns the messages of its topic has none.
    Receive {
        token: Token,
        group: Name,
        topic: Name,
        max: u32,
        wait_ms: u64,
        lease_ms: u64,
        filter: Option<Filter>,
    },
    /// Starts a consumer whose leases end with the session, or that settles at once (`no_ack`). It gets deliveries as
    /// long as it has credit and none of a higher priority has; equals take turns. Answer: [`crate::Reply::Done`], before
    /// the first [`crate::Event::Deliveries`].
    Consume {
        token: Token,
        consumer: ConsumerId,
        group: Name,
        topic: Name,
        credit: u32,
        no_ack: bool,
        exclusive: bool,
        priority: i64,
    },
    /// More credit for a consumer: so many further messages.
    Credit {
        consumer: ConsumerId,
        add: u32,
    },
    /// Stops a consumer. Its leases stay. Answer: [`crate::Reply::Done`], after its last delivery.
    Cancel {
        token: Token,
        consumer: ConsumerId,
    },
    /// One message for this session, leased to it (or settled at once), without a consumer and without waiting.
    /// Answer: [`crate::Event::Deliveries`] of none or one.
    Get {
        token: Token,
        group: Name,
        topic: Name,
        no_ack: bool,
    },
    /// Ends leases. Answer, only with a token: [`crate::Reply::Settled`], one result per receipt.
    Settle {
        token: Option<Token>,
        receipts: Vec<Receipt>,
        outcome: Outcome,
    },
    /// Lets timed leases end so many milliseconds from now. Answer: [`crate::Reply::Settled`].
    Extend {
        token: Token,
        receipts: Vec<Receipt>,
        lease_ms: u64,
    },

    /// Registers a member of a group that consumes by offset, or renews it. Members are told when the set changes
    /// ([`crate::Event::MembersChanged`]). `topics` are those it reads; `expires_ms` from now it is dropped.
    /// Answer: [`crate::Reply::Done`].
    Join {
        token: Token,
        group: Name,
        member: Name,
        topics: Vec<Name>,
        expires_ms: u64,
    },
    Leave {
        group: Name,
        member: Name,
    },
    /// Answer: [`crate::Reply::Members`], sorted.
    Members {
        token: Token,
        group: Name,
    },
    /// Locks queues for one member of a group, for `lease_ms`. Answer: [`crate::Reply::Locked`]: those it now holds.
    Lock {
        token: Token,
        group: Name,
        member: Name,
        queues: Vec<QueueId>,
        lease_ms: u64,
    },
    /// Answer, only with a token: [`crate::Reply::Done`].
    Unlock {
        token: Option<Token>,
        group: Name,
        member: Name,
        queues: Vec<QueueId>,
    },

    /// Has everything that was taken before it synced, whatever durability it was asked with. Answer, once it is:
    /// [`crate::Reply::Done`].
    Sync {
        token: Token,
    },

    /// The session has a producer of a group, which may be asked what becomes of the group's half messages
    /// ([`crate::Event::Check`]), until it says otherwise or ends. Answer: [`crate::Reply::Done`].
    Produce {
        token: Token,
        group: Name,
    },
    StopProducing {
        group: Name,
    },
    /// Ends the half message whose record is at a position, as its receipt says, of any producers or of one group's.
    /// Answer, once that is synced: [`crate::Reply::Stored`] for a commit, [`crate::Reply::Done`] for a roll back, or
    /// [`crate::Error::NotHalf`], or [`crate::Error::Ending`] where another end came first and is not done.
    EndHalf {
        token: Token,
        position: u64,
        group: Option<Name>,
        decision: Decision,
    },
    /// Open half messages of all groups or of one, in the order in which they were stored, from the one behind a position
    /// on. Answer: [`crate::Reply::Halves`].
    OpenHalves {
        token: Token,
        group: Option<Name>,
        after: Option<u64>,
        max: usize,
    },
    /// Stores messages and ends leases: all of it or, after a refusal or a crash, nothing. Half messages may not be among
    /// them. What has no queue bound for it goes nowhere, which is no refusal. Leases that are given up or come back do
    /// so once everything is stored. Answer, once that is synced: [`crate::Reply::Together`].
    PublishTogether {
        token: Token,
        batch: PublishBatch,
        settlements: Vec<(Vec<Receipt>, Outcome)>,
    },

    /// Withdraws the waiting message whose record is at a position, as its receipt says, of any topic or of one. Answer,
    /// once that is synced: [`crate::Reply::Done`], or [`crate::Error::NotWaiting`].
    Recall {
        token: Token,
        position: u64,
        topic: Option<Name>,
    },

    /// From here on the session acts for somebody else. No answer. Sessions send it themselves.
    Identify {
        identity: Arc<Identity>,
    },
    /// Makes a user, or changes it. Answer: [`crate::Reply::Done`].
    PutUser {
        token: Token,
        name: Name,
        change: Box<UserChange>,
    },
    DeleteUser {
        token: Token,
        name: Name,
    },
    /// Administrative changes, the newest first: those before a number, or all. Answer: [`crate::Reply::Audit`].
    Audit {
        token: Token,
        before: Option<u64>,
        max: usize,
    },
}

impl Command {
    /// The token that an answer would carry.
    pub(crate) fn token(&self) -> Option<Token> {
        match self {
            Command::Commit { token, .. } | Command::Settle { token, .. } | Command::Unlock { token, .. } => {
                *token
            }
            Command::Credit { .. }
            | Command::Leave { .. }
            | Command::StopProducing { .. }
            | Command::Identify { .. } => None,
            Command::Publish { token, .. }
            | Command::PutTopic { token, .. }
            | Command::DeleteTopic { token, .. }
            | Command::PutGroup { token, .. }
            | Command::DeleteGroup { token, .. }
            | Command::PutExchange { token, .. }
            | Command::DeleteExchange { token, .. }
            | Command::Bind { token, .. }
            | Command::Unbind { token, .. }
            | Command::Bindings { token, .. }
            | Command::Purge { token, .. }
            | Command::GroupState { token, .. }
            | Command::Committed { token, .. }
            | Command::Seek { token, .. }
            | Command::Receive { token, .. }
            | Command::Consume { token, .. }
            | Command::Cancel { token, .. }
            | Command::Get { token, .. }
            | Command::Extend { token, .. }
            | Command::Join { token, .. }
            | Command::Members { token, .. }
            | Command::Sync { token }
            | Command::Recall { token, .. }
            | Command::Produce { token, .. }
            | Command::EndHalf { token, .. }
            | Command::OpenHalves { token, .. }
            | Command::PublishTogether { token, .. }
            | Command::PutUser { token, .. }
            | Command::DeleteUser { token, .. }
            | Command::Audit { token, .. }
            | Command::Lock { token, .. } => Some(*token),
        }
    }

    /// Messages that it has stored.
    pub(crate) fn batch(&self) -> Option<&PublishBatch> {
        match self {
            Command::Publish { batch, .. } | Command::PublishTogether { batch, .. } => Some(batch),
            _ => None,
        }
    }

    /// Bytes that the command keeps in memory until it is carried out, as far as they count.
    pub(crate) fn weight(&self) -> u64 {
        self.batch().map_or(0, |batch| u64::try_from(batch.bytes()).unwrap_or(u64::MAX))
    }
}

/// What becomes of a half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is dispatched: a new complete record, which queues lead to.
    Commit,
    /// It is never seen.
    RollBack,
}

/// What a binding leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BindTarget {
    /// All queues of the topic would be wrong, so: the topic, which picks one of its queues.
    Topic(Name),
    Exchange(Name),
}

/// Where a seek goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    Earliest,
    Latest,
    /// First entry stored at or after this time, in milliseconds of the Unix epoch.
    Time(u64),
    /// One queue (by its number in the topic) to an offset; the others stay.
    Offset {
        queue_index: u32,
        offset: u64,
    },
}

/// How a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done with it.
    Ack,
    /// Not done: back to its place, one failed attempt more, after the group's backoff (or `delay_ms`), or to the
    /// dead letter when attempts are used up.
    Retry { delay_ms: Option<u64> },
    /// Back to its place at once and not counted: it was never looked at.
    Release,
    /// Given up: to the dead letter, or dropped where the group has none.
    Reject,
}

impl Outcome {
    /// As traces name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Ack => "ack",
            Outcome::Retry { .. } => "retry",
            Outcome::Release => "release",
            Outcome::Reject => "reject",
        }
    }
}

/// Names one lease. Protocols hand it out in their own form (delivery tag, receipt text).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Receipt {
    pub group: GroupId,
    pub queue: QueueId,
    pub offset: u64,
    /// The log's epoch in which the lease was granted.
    pub epoch: u64,
    /// Increases with every grant of an epoch.
    pub lease: u64,
}
