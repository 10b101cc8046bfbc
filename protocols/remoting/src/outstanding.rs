//! What the broker still owes an answer for: one entry per token.
//!
//! Holds no behaviour; `connection` looks entries up when events arrive, `handle` makes them.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use mailrail_broker::{Filter, Held, Name, PublishBatch, Queue, QueueId, Share, Token};

use crate::codec::body::lock::QueueName;
use crate::codec::command::Boundary;
use crate::codec::{Frame, Header, Serializer};

/// Requests of one connection that wait for the broker, held pulls included.
pub(crate) const OUTSTANDING_COUNT_MAX: usize = 65_536;

/// Of these, those that a connection may have whatever the others have.
pub(crate) const OUTSTANDING_FREE_COUNT: usize = 32;
/// Room for so many is kept when there are none.
const OUTSTANDING_KEPT_COUNT: usize = 1_024;
/// What one of them takes, a held pull as the longest, with its places in all look-ups.
const OUTSTANDING_BYTES: usize = 512;

/// Who asked: all that an answer needs of its request's header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) opaque: i32,
    pub(crate) serializer: Serializer,
    /// Gets no answer.
    pub(crate) one_way: bool,
}

impl Asker {
    pub(crate) fn of(header: &Header) -> Asker {
        Asker { opaque: header.opaque, serializer: header.serializer, one_way: header.is_one_way() }
    }
}

/// What to do when a token comes back.
#[derive(Debug)]
pub(crate) enum Waiting {
    Published(SendReplies),
    /// A topic is being made for the work parked under its name.
    Topic(Name),
    /// One of several commands that a heartbeat needs.
    Heartbeat {
        of: u64,
    },
    /// Answered with success and no fields of its own; `extFields` is empty or absent.
    Done {
        asker: Asker,
        fields: bool,
    },
    Members {
        asker: Asker,
        group: Name,
    },
    Committed {
        asker: Asker,
        queue: Arc<Queue>,
        zero_if_young: bool,
    },
    OffsetAt {
        asker: Asker,
        queue: Arc<Queue>,
        boundary: Boundary,
    },
    StoreTime {
        asker: Asker,
    },
    /// Messages are being looked for by key.
    Found {
        asker: Asker,
    },
    /// The message at a position is being read.
    Viewed {
        asker: Asker,
        position: i64,
    },
    /// A message is being withdrawn.
    Recalled {
        asker: Asker,
        /// What its producer knows it by.
        unique: String,
    },
    Locked {
        asker: Asker,
        queues: Vec<(QueueId, QueueName)>,
    },
    /// The message that a consumer sends back is being read.
    Returned(Box<Returned>),
    Pull(Box<Pull>),
    /// Nobody waits: the command was a precondition of later ones, whose own refusal tells.
    Nobody,
}

/// Publishes of one batch and who is to be told, in order.
#[derive(Debug, Default)]
pub(crate) struct SendReplies {
    pub(crate) replies: Vec<SendReply>,
    /// Unique ids of all of them, one after the other.
    pub(crate) ids: String,
}

#[derive(Debug)]
pub(crate) struct SendReply {
    pub(crate) asker: Asker,
    pub(crate) kind: SendKind,
    /// Items of the batch that belong to this request.
    pub(crate) items: usize,
    /// Place of the unique id in [`SendReplies::ids`]; empty when there is none.
    pub(crate) unique: Range<usize>,
    /// Of a single message that waits: its topic and its time.
    pub(crate) waits: Option<(Name, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendKind {
    /// Answered with ids and offset.
    Send,
    /// As a send, of a half message.
    Half,
    /// Answered with bare success.
    Back,
}

/// A batch being gathered.
#[derive(Debug)]
pub(crate) struct Sends {
    pub(crate) batch: PublishBatch,
    pub(crate) durability: mailrail_broker::Durability,
    pub(crate) replies: SendReplies,
}

/// A pull that was not answered at once.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) asker: Asker,
    pub(crate) queue: Arc<Queue>,
    /// Offset that the client asked for.
    pub(crate) asked: u64,
    /// Where to read on: entries before it did not pass the filter.
    pub(crate) at: u64,
    pub(crate) entries_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) filter: Filter,
    /// Monotonic time until which it may be held; None = answer at once.
    pub(crate) until: Option<Duration>,
}

/// A message that a consumer sent back.
#[derive(Debug, Clone)]
pub(crate) struct Returned {
    pub(crate) asker: Asker,
    pub(crate) group: Name,
    pub(crate) position: u64,
    pub(crate) delay_level: i32,
    pub(crate) attempts_max: Option<u32>,
}

/// Work that waits until its topic exists.
#[derive(Debug)]
pub(crate) enum Parked {
    Send(Box<Frame>),
    /// A message that came back, with the stored bytes.
    Returned(Box<Returned>, bytes::Bytes),
}

/// A heartbeat whose commands are under way.
#[derive(Debug)]
pub(crate) struct Gathering {
    pub(crate) asker: Asker,
    pub(crate) commands: usize,
    pub(crate) failed: Option<mailrail_broker::Error>,
}

/// Tokens and deadlines of one connection.
#[derive(Debug)]
pub(crate) struct Outstanding {
    next: u64,
    waiting: HashMap<u64, Waiting>,
    holds: BTreeSet<(Duration, u64)>,
    /// What all of them take, but for the free ones.
    held: Held,
}

impl Outstanding {
    /// `waits` is the memory for those of all connections.
    pub(crate) fn new(waits: Arc<Share>) -> Outstanding {
        let held = Held::new(waits, 0);
        Outstanding { next: 0, waiting: HashMap::new(), holds: BTreeSet::new(), held }
    }

    /// Counts what is there; to be called once a turn.
    pub(crate) fn count(&mut self) {
        let counted = self.waiting.len().saturating_sub(OUTSTANDING_FREE_COUNT);
        self.held.set(u64::try_from(counted * OUTSTANDING_BYTES).unwrap_or(u64::MAX));
        if self.waiting.is_empty() && self.waiting.capacity() > OUTSTANDING_KEPT_COUNT {
            self.waiting = HashMap::new();
        }
    }

    pub(crate) fn add(&mut self, waiting: Waiting) -> Token {
        let token = self.reserve();
        self.waiting.insert(token.0, waiting);
        token
    }

    /// A token whose entry follows with [`Outstanding::put`], or never.
    pub(crate) fn reserve(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    pub(crate) fn put(&mut self, token: Token, waiting: Waiting) {
        self.waiting.insert(token.0, waiting);
    }

    pub(crate) fn take(&mut self, token: Token) -> Option<Waiting> {
        self.waiting.remove(&token.0)
    }

    pub(crate) fn is_full(&self) -> bool {
        let count = self.waiting.len();
        count >= OUTSTANDING_COUNT_MAX || (count >= OUTSTANDING_FREE_COUNT && self.held.share().is_used_up())
    }

    /// A pull that is to end at `until` at the latest.
    pub(crate) fn hold(&mut self, until: Duration, token: Token) {
        self.holds.insert((until, token.0));
    }

    pub(crate) fn release(&mut self, until: Duration, token: Token) {
        self.holds.remove(&(until, token.0));
    }

    pub(crate) fn next_hold(&self) -> Option<Duration> {
        self.holds.first().map(|(until, _)| *until)
    }

    /// The next pull whose time has come.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<(Token, Waiting)> {
        while self.next_hold().is_some_and(|until| until <= now) {
            let (_, token) = self.holds.pop_first()?;
            if let Some(waiting) = self.waiting.remove(&token) {
                return Some((Token(token), waiting));
            }
        }
        None
    }
}
