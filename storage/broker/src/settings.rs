//! Settings of topics, groups and exchanges: what an administrator or a client may choose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// When a publish is acknowledged. Ordered: a later level includes the earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Durability {
    /// Written to the page cache; synced within the log's sync interval.
    Memory,
    /// After fdatasync.
    #[default]
    Disk,
}

/// When an entry may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retention {
    /// When the topic's default group (the group that has the topic's name) has settled it.
    UntilSettled,
    /// By the age and size of the log, whoever has read it.
    TimeSize,
    /// When a newer message has the same key, whoever has read them.
    Compacted,
}

/// How long a topic or an exchange itself lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// Until deleted.
    Durable,
    /// Until the broker stops; its messages wait for no sync.
    Transient,
    /// As transient, and gone with the session that made it, which alone may use it.
    Session,
}

/// Settings of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSettings {
    /// Number of queues, at least 1. May grow, never shrink.
    pub queues: u32,
    pub retention: Retention,
    pub lifetime: Lifetime,
    /// Gone when its last consumer leaves (after there was one).
    pub delete_when_unused: bool,
    /// The least durability of a publish; requests can only raise it.
    pub durability: Durability,
    pub readable: bool,
    pub writable: bool,
    /// Anything a protocol must remember about how it made the topic (RocketMQ attributes, AMQP arguments). The core
    /// only stores and compares them.
    pub attributes: BTreeMap<String, String>,
}

impl Default for TopicSettings {
    fn default() -> Self {
        TopicSettings {
            queues: 4,
            retention: Retention::TimeSize,
            lifetime: Lifetime::Durable,
            delete_when_unused: false,
            durability: Durability::Memory,
            readable: true,
            writable: true,
            attributes: BTreeMap::new(),
        }
    }
}

impl TopicSettings {
    /// One queue whose entries go when the default group has settled them: a queue in AMQP's sense.
    pub fn settled_queue() -> Self {
        TopicSettings { queues: 1, retention: Retention::UntilSettled, ..TopicSettings::default() }
    }
}

/// Settings of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// Failed attempts after which a message is given up; `None` = never. RocketMQ's default is 16.
    pub attempts_max: Option<u32>,
    /// Wait before the next attempt, by attempts so far, in milliseconds; the last one repeats. Empty = at once.
    pub backoff_ms: Vec<u64>,
    /// Topic for messages that are given up; `None` = they are dropped.
    pub dead_letter: Option<String>,
    /// Stored apart, since older logs have groups without.
    #[serde(skip)]
    pub turns: Turns,
}

/// Whose turn it is when a group consumes by lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns {
    pub order: Order,
    /// One consumer gets all deliveries, until it leaves.
    pub single_active: bool,
}

/// How strict the order is in which a group gets the messages of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Messages go on while others are out; higher priorities first, where the topic has any.
    #[default]
    Any,
    /// One batch of a queue at a time: what comes back comes again before anything behind it. Priorities count for
    /// nothing.
    Queue,
    /// The same for each ordering key of a queue; messages without a key are one message group. Keys are told apart by a
    /// hash of 32 bits: two with the same one wait for each other.
    Key,
}

/// RocketMQ's delay levels 1 to 18, in milliseconds.
pub const DELAY_LEVELS_MS: [u64; 18] = {
    const SECOND: u64 = 1_000;
    const MINUTE: u64 = 60 * SECOND;
    [
        SECOND,
        5 * SECOND,
        10 * SECOND,
        30 * SECOND,
        MINUTE,
        2 * MINUTE,
        3 * MINUTE,
        4 * MINUTE,
        5 * MINUTE,
        6 * MINUTE,
        7 * MINUTE,
        8 * MINUTE,
        9 * MINUTE,
        10 * MINUTE,
        20 * MINUTE,
        30 * MINUTE,
        60 * MINUTE,
        120 * MINUTE,
    ]
};

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    RetryAfterMs(u64),
    /// To the dead letter topic, or dropped where there is none.
    GiveUp,
}

impl GroupSettings {
    /// What RocketMQ gives a group that names nothing else: 16 attempts, delay levels 3 and up, then `%DLQ%group`.
    pub fn rocketmq(group: &str) -> Self {
        let backoff_ms = DELAY_LEVELS_MS.iter().skip(2).copied().collect();
        GroupSettings {
            attempts_max: Some(16),
            backoff_ms,
            dead_letter: Some(format!("%DLQ%{group}")),
            ..GroupSettings::at_once()
        }
    }

    /// Put back at once and for ever: an AMQP queue without arguments.
    pub fn at_once() -> Self {
        GroupSettings {
            attempts_max: None,
            backoff_ms: Vec::new(),
            dead_letter: None,
            turns: Turns::default(),
        }
    }

    /// What to do after a message has failed `attempts` times in all.
    pub fn after_failure(&self, attempts: u32) -> AfterFailure {
        if self.attempts_max.is_some_and(|max| attempts > max) {
            return AfterFailure::GiveUp;
        }
        let step = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let wait = self.backoff_ms.get(step).or(self.backoff_ms.last());
        AfterFailure::RetryAfterMs(wait.copied().unwrap_or(0))
    }
}

/// How an exchange chooses among its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExchangeKind {
    /// Binding key equals routing key.
    Direct,
    /// Every binding.
    Fanout,
    /// Words separated by dots; `*` is one word, `#` any number.
    Topic,
    /// Headers of the message, against those in the binding's attributes: a table in the form of
    /// [`mailrail_message::Headers`], in which `x-match` says how many must be equal.
    Headers,
}

/// Attribute of an exchange: the exchange that gets what none of its bindings fits. There may be none of that name.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// Settings of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeSettings {
    pub kind: ExchangeKind,
    pub lifetime: Lifetime,
    /// Gone when its last binding goes (after there was one).
    pub delete_when_unused: bool,
    /// Clients may not publish to it; only other exchanges route into it.
    pub internal: bool,
    /// [`ALTERNATE_EXCHANGE`], and anything else, which the core only stores and compares.
    pub attributes: BTreeMap<String, String>,
}

impl ExchangeSettings {
    /// An exchange that lasts and is like any other.
    pub fn durable(kind: ExchangeKind) -> Self {
        ExchangeSettings {
            kind,
            lifetime: Lifetime::Durable,
            delete_when_unused: false,
            internal: false,
            attributes: BTreeMap::new(),
        }
    }

    /// Name of the exchange that gets what goes nowhere from here.
    pub fn alternate(&self) -> Option<&str> {
        self.attributes.get(ALTERNATE_EXCHANGE).map(String::as_str)
    }
}
