//! Why a command was refused. Scope: the command alone; the session goes on. Adapters turn each into the protocol's
//! own code.

use crate::access::Denial;
use crate::settings::Durability;

/// A refused command. The texts are for people; adapters match on the variant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("topic {0:?} does not exist")]
    NoTopic(String),
    #[error("topic {topic:?} has {queues} queues; there is no queue {index}")]
    NoQueue { topic: String, index: u32, queues: u32 },
    #[error("group {group:?} does not exist on topic {topic:?}")]
    NoGroup { group: String, topic: String },
    #[error("exchange {0:?} does not exist")]
    NoExchange(String),
    #[error("{what} {name:?} exists with a different {field}: {found}, not {asked}")]
    Differs { what: &'static str, name: String, field: &'static str, found: String, asked: String },
    #[error("{0:?} belongs to another session")]
    Locked(String),
    #[error("{0:?} is in use")]
    InUse(String),
    #[error("{0:?} is not empty")]
    NotEmpty(String),
    #[error(
        "group {group:?} on topic {topic:?} is being consumed by {found}; it cannot be consumed by {asked} at once"
    )]
    Mode { group: String, topic: String, found: &'static str, asked: &'static str },
    #[error("{0:?} already has a consumer, and exclusive use was asked or granted")]
    ExclusiveConsumer(String),
    #[error("{what} name {name:?} is not allowed: {why}")]
    Name { what: &'static str, name: String, why: &'static str },
    #[error("{what} is {value}; at most {max} is allowed")]
    Limit { what: &'static str, value: u64, max: u64 },
    #[error("{name} is {value}; {allowed} is allowed")]
    Argument { name: &'static str, value: String, allowed: &'static str },
    #[error("required message key is missing: topic {0:?} keeps the newest message of each key")]
    NoKey(String),
    #[error("topic {0:?} may not be written")]
    NotWritable(String),
    #[error("topic {topic:?} is full: its {what} would be {value}; at most {max} is allowed")]
    Full { topic: String, what: &'static str, value: u64, max: u64 },
    #[error("topic {0:?} may not be read")]
    NotReadable(String),
    #[error("topic {0:?} does not deduplicate: it has no deduplication window")]
    NoDeduplication(String),
    /// Not a failure: the message is a duplicate and not stored, since its producer's highest sequence is above it. Where
    /// the first one is, is no longer remembered.
    #[error(
        "sequence {sequence} of this producer counts as stored: its highest is {highest}, and older receipts are forgotten"
    )]
    Forgotten { sequence: u64, highest: u64 },
    #[error(
        "sequence {sequence} of this producer was not stored, and its later {highest} was; it would come too late"
    )]
    OutOfSequence { sequence: u64, highest: u64 },
    #[error("no queue is bound for this message")]
    Unroutable,
    #[error("exchange {0:?} is internal; clients may not publish to it")]
    Internal(String),
    #[error("the log has no room; publishes are refused until there is space on its disk")]
    NoSpace,
    #[error("the log has failed and is read-only: {0}")]
    Poisoned(String),
    #[error("the broker is stopping")]
    Stopping,
    #[error("too much work is waiting ({bytes} bytes); try again later")]
    Busy { bytes: u64 },
    #[error("the receipt is not valid here: {0}")]
    Receipt(&'static str),
    #[error("no message is stored at position {0}")]
    NoMessage(u64),
    #[error("reading the log failed: {0}")]
    Read(String),
    #[error("the message at log position {0} is damaged")]
    Damaged(u64),
    #[error("durability {0:?} is not available here")]
    Durability(Durability),
    #[error("no half message is open at log position {position}: {why}")]
    NotHalf { position: u64, why: &'static str },
    #[error("the half message at log position {0} is being ended another way")]
    Ending(u64),
    #[error(transparent)]
    Denied(Box<Denial>),
    #[error("the user name or the password is wrong")]
    Login,
    #[error("user {0:?} does not exist")]
    NoUser(String),
    #[error("{0}: at least one enabled administrator with a password must remain")]
    LastAdministrator(&'static str),
    #[error("the key of signing secrets cannot be used: {0}")]
    SecretKey(String),
    #[error("the system gives no random bytes")]
    Random,
    #[error("no message waits at log position {position}: {why}")]
    NotWaiting { position: u64, why: &'static str },
}
