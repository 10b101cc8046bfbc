//! What is counted of topics, groups and clients since the broker started, and how fast each count has grown lately.
//!
//! Counts are added per batch. There is no timer and no sampling thread: the first add of a new stretch of time notes
//! what the counts were when it began, so what is idle costs nothing, and what never moved has no history at all.

mod client;
mod meter;
mod registry;
mod view;

pub use self::client::{Client, ClientEntry};
pub(crate) use self::meter::Meter;
pub use self::meter::{Count, Rates};
pub(crate) use self::registry::Statistics;
pub use self::view::Totals;

/// What a queue counts: messages and bytes received, read by offset, and leased.
pub(crate) mod queue {
    pub const COUNTS: usize = 6;

    pub fn received(messages: u64, bytes: u64) -> [u64; COUNTS] {
        [messages, bytes, 0, 0, 0, 0]
    }

    pub fn read(messages: u64, bytes: u64) -> [u64; COUNTS] {
        [0, 0, messages, bytes, 0, 0]
    }

    pub fn leased(messages: u64, bytes: u64) -> [u64; COUNTS] {
        [0, 0, 0, 0, messages, bytes]
    }
}

/// What a group counts on a topic.
pub(crate) mod group {
    pub const HANDED_OUT: usize = 0;
    pub const REDELIVERED: usize = 1;
    pub const SETTLED: usize = 2;
    pub const RETRIED: usize = 3;
    pub const GIVEN_UP: usize = 4;
    pub const COUNTS: usize = 5;
}

/// Counts of a topic, in this order: messages and bytes received, read by offset, and leased; messages refused.
pub type TopicTotals = [u64; queue::COUNTS + 1];
/// Counts of a group on a topic, in this order: messages handed out, redelivered, settled, retried, given up.
pub type GroupTotals = [u64; group::COUNTS];

/// Adds counts to others.
pub(crate) fn add_all<const N: usize>(sum: &mut [u64; N], more: &[u64; N]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
}

pub(crate) type QueueCounts = [u64; queue::COUNTS];
pub(crate) type QueueMeter = Meter<{ queue::COUNTS }>;

/// Messages, and their bytes as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    pub messages: Count,
    pub bytes: Count,
}

impl Traffic {
    pub(crate) fn plus(self, other: Traffic) -> Traffic {
        Traffic { messages: self.messages.plus(other.messages), bytes: self.bytes.plus(other.bytes) }
    }
}

/// What went through a queue, a topic or the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueStatistics {
    /// Stored; one that went to several queues counts in each.
    pub received: Traffic,
    /// Read by offset.
    pub read: Traffic,
    /// Handed out by lease.
    pub leased: Traffic,
}

impl QueueStatistics {
    pub(crate) fn of(counts: [Count; queue::COUNTS]) -> Self {
        let [received, received_bytes, read, read_bytes, leased, leased_bytes] = counts;
        QueueStatistics {
            received: Traffic { messages: received, bytes: received_bytes },
            read: Traffic { messages: read, bytes: read_bytes },
            leased: Traffic { messages: leased, bytes: leased_bytes },
        }
    }

    pub(crate) fn plus(self, other: QueueStatistics) -> Self {
        QueueStatistics {
            received: self.received.plus(other.received),
            read: self.read.plus(other.read),
            leased: self.leased.plus(other.leased),
        }
    }
}

/// What went through a topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicStatistics {
    /// All queues together.
    pub all: QueueStatistics,
    /// By the number of the queue.
    pub queues: Vec<QueueStatistics>,
    /// Messages that were sent to the topic and not taken.
    pub refused: Count,
}

/// What a group did on a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupStatistics {
    /// By lease, those that were handed out before included. Of reads by offset the broker does not know whom they are for.
    pub handed_out: Count,
    /// Of them, those that had failed before.
    pub redelivered: Count,
    /// Acknowledged, handed out without need of that, passed by a commit, or unseen, since they do not pass the group's
    /// filter; with the first commit of a queue a group only begins there.
    pub settled: Count,
    /// Put back after a failed attempt: refused, not settled in time, or of a consumer that went away.
    pub retried: Count,
    /// Given up: to the dead letter, or dropped where there is none.
    pub given_up: Count,
}

impl GroupStatistics {
    pub(crate) fn of(counts: [Count; group::COUNTS]) -> Self {
        let [handed_out, redelivered, settled, retried, given_up] = counts;
        GroupStatistics { handed_out, redelivered, settled, retried, given_up }
    }
}

/// What went through the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BrokerStatistics {
    /// When counting began, in milliseconds of the Unix epoch.
    pub since_ms: u64,
    pub all: QueueStatistics,
    pub refused: Count,
}
