//! What the broker has been asked and has not answered: by token, what to do with the answer.
//!
//! Decides nothing; the files of `handle` do.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use mailrail_broker::{Delivery, Error, GroupView, Name, Receipt, Stored, Token};

use crate::channel::{ChannelKey, Request, RequestId};
use crate::publisher::Known;
use crate::transaction::Mandatory;

/// One message of a batch that was handed to the broker.
#[derive(Debug)]
pub(crate) struct Sent {
    pub channel: ChannelKey,
    /// Number of the publish, when the channel is in confirm mode.
    pub sequence: Option<u64>,
    pub destination: Known,
    /// What goes back if it finds no queue: only of mandatory messages through an exchange.
    pub copy: Option<Box<Copy>>,
}

/// A message kept in case it must be returned.
#[derive(Debug)]
pub(crate) struct Copy {
    pub exchange: String,
    pub routing_key: Vec<u8>,
    pub properties: Vec<u8>,
    pub body: Bytes,
}

/// How a request is answered once everything it asked for has come.
#[derive(Debug)]
pub(crate) enum Kind {
    Done,
    Commit(Box<Committing>),
    /// Names the queue, with counts from the group's view.
    Declare {
        queue: Name,
    },
    /// A count of messages.
    Count,
    /// A message or none, with the count of those left from the group's view.
    Get {
        no_ack: bool,
    },
    /// The view says whether a group may be forgotten; its count of messages is the answer.
    Forget {
        group: Name,
        topic: Name,
        if_unused: bool,
        if_empty: bool,
    },
    /// The count is known already.
    Forgotten {
        count: u64,
    },
}

/// A transaction that the broker is storing.
#[derive(Debug)]
pub(crate) struct Committing {
    pub mandatory: Vec<Mandatory>,
    /// Leases that end with it, or go back.
    pub leases: Vec<Receipt>,
}

/// A request of a channel.
#[derive(Debug)]
pub(crate) struct Asked {
    pub id: RequestId,
    pub kind: Kind,
    /// Answers still to come.
    pub left: usize,
    pub found: Found,
}

/// What the answers so far have brought.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub error: Option<Error>,
    pub count: u64,
    pub view: Option<GroupView>,
    pub delivery: Option<Delivery>,
    /// Of messages that were stored together.
    pub stored: Vec<Result<Stored, Error>>,
}

#[derive(Debug)]
pub(crate) enum Waiting {
    Published(Vec<Sent>),
    Request(Box<Asked>),
    /// Somebody's password is being checked.
    Login,
    /// The usual exchanges are being made for a connection that opens.
    Open {
        left: usize,
    },
    /// All that a closing connection owned is being undone.
    Close {
        left: usize,
    },
}

/// Something that looks at queues, and must see what the connection published before.
#[derive(Debug)]
pub(crate) struct Later {
    /// The last batch it waits for.
    pub after: Token,
    pub what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Request(RequestId, Request<Receipt>),
    Close,
}

/// What a message or a request takes until its answer is taken, but for a copy of the message.
const ENTRY_BYTES: usize = size_of::<Sent>() + size_of::<Result<Stored, Error>>();

impl Copy {
    pub fn bytes(&self) -> usize {
        self.exchange.len() + self.routing_key.len() + self.properties.len() + self.body.len()
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Waiting::Published(sent) => {
                let copies = sent.iter().filter_map(|sent| sent.copy.as_ref()).map(|copy| copy.bytes());
                sent.len() * ENTRY_BYTES + copies.sum::<usize>()
            }
            Waiting::Request(_) | Waiting::Login | Waiting::Open { .. } | Waiting::Close { .. } => {
                ENTRY_BYTES
            }
        }
    }
}

/// The token of answers that nobody waits for.
pub(crate) const NOBODY: Token = Token(0);

#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    waiting: HashMap<Token, Waiting>,
    /// Tokens of batches of publishes.
    batches: BTreeSet<Token>,
    bytes: usize,
    last: u64,
}

impl Outstanding {
    pub fn next_token(&mut self) -> Token {
        self.last += 1;
        Token(self.last)
    }

    pub fn add(&mut self, waiting: Waiting) -> Token {
        let token = self.next_token();
        if matches!(waiting, Waiting::Published(_)) {
            self.batches.insert(token);
        }
        self.put(token, waiting);
        token
    }

    /// What is kept for all of them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last batch of publishes that the broker has not dealt with.
    pub fn last_batch(&self) -> Option<Token> {
        self.batches.last().copied()
    }

    /// True while that batch, or one before it, is open.
    pub fn has_batch_up_to(&self, last: Token) -> bool {
        self.batches.first().is_some_and(|first| *first <= last)
    }

    pub fn take(&mut self, token: Token) -> Option<Waiting> {
        self.batches.remove(&token);
        let waiting = self.waiting.remove(&token)?;
        self.bytes -= waiting.bytes();
        Some(waiting)
    }

    pub fn put(&mut self, token: Token, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.waiting.insert(token, waiting);
    }
}
