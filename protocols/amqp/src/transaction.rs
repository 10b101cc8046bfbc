//! Publishes of transactions that are not committed, by channel: already in the form they are stored in.
//!
//! What was settled is the channel's to keep; what a commit asks of the broker is in `handle`.

use std::collections::HashMap;

use mailrail_broker::PublishBatch;
use mailrail_broker::limits::{TOGETHER_BYTES_MAX, TOGETHER_MESSAGES_MAX, TOGETHER_RECEIPTS_MAX};

use crate::channel::ChannelKey;
use crate::codec::ReplyCode;
use crate::codec::limits::TRANSACTION_SETTLED_MAX;
use crate::fault::Refusal;
use crate::outstanding::Copy;

const _: () = assert!(TRANSACTION_SETTLED_MAX <= TOGETHER_RECEIPTS_MAX);

/// A mandatory message, to be returned if no queue is there for it.
#[derive(Debug)]
pub(crate) struct Mandatory {
    /// Its place in the batch; `None` where no queue was there when it was published.
    pub item: Option<usize>,
    pub copy: Box<Copy>,
}

/// What one channel has published and not committed.
#[derive(Debug, Default)]
pub(crate) struct Uncommitted {
    pub batch: PublishBatch,
    pub mandatory: Vec<Mandatory>,
    /// Of these, those that no queue was there for.
    nowhere: usize,
    copied_bytes: usize,
}

impl Uncommitted {
    fn bytes(&self) -> usize {
        self.batch.bytes() + self.copied_bytes
    }
}

/// Those of all channels of a connection.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: HashMap<ChannelKey, Uncommitted>,
    bytes: usize,
}

impl Transactions {
    /// Bytes that all of them keep.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The transaction of a channel, if there is room in it for a message more, of so many bytes.
    pub fn of(&mut self, channel: ChannelKey, bytes: usize) -> Result<&mut Uncommitted, Refusal> {
        self.check_room(bytes)?;
        let open = self.open.entry(channel).or_default();
        let messages = open.batch.len() + open.nowhere + 1;
        if messages > TOGETHER_MESSAGES_MAX {
            let text = format!("a transaction has {messages} messages; at most {TOGETHER_MESSAGES_MAX}");
            return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
        }
        Ok(open)
    }

    fn check_room(&self, bytes: usize) -> Result<(), Refusal> {
        let bytes = self.bytes + bytes;
        if bytes > TOGETHER_BYTES_MAX {
            let text =
                format!("transactions of a connection have {bytes} bytes; at most {TOGETHER_BYTES_MAX}");
            return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
        }
        Ok(())
    }

    /// Keeps a mandatory message in case that no queue is there for it: `item` of the batch, or one that none is there
    /// for as it is published.
    pub fn keep(&mut self, channel: ChannelKey, item: Option<usize>, copy: Box<Copy>) -> Result<(), Refusal> {
        let bytes = copy.bytes();
        match item {
            Some(_) => self.check_room(bytes)?,
            None => self.of(channel, bytes)?.nowhere += 1,
        }
        let open = self.open.entry(channel).or_default();
        open.copied_bytes += bytes;
        open.mandatory.push(Mandatory { item, copy });
        self.bytes += bytes;
        Ok(())
    }

    /// The batch of a channel has grown.
    pub fn grown(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Takes what a channel has published out: it is committed, or dropped.
    pub fn take(&mut self, channel: ChannelKey) -> Uncommitted {
        let taken = self.open.remove(&channel).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(taken.bytes());
        taken
    }
}
