//! Numbers that name things for ever: none is used a second time, not even after a delete.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);
    };
}

id!(/** A topic. */ TopicId);
id!(/** A queue, unique over all topics. */ QueueId);
id!(/** A consumer group. */ GroupId);
id!(/** An exchange: a named route. */ ExchangeId);
id!(/** A user. */ UserId);
id!(/** A session of one client, unique until the broker stops. */ SessionId);

/// Chosen by whoever sends a command; comes back in the events that answer it. The broker gives it no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A consumer, numbered by its own session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u64);
