//! Publishes of one input on their way into one batch: destinations looked up, properties projected, bodies copied once
//! into the form they are stored in.
//!
//! Keeps its buffers and look-ups between messages, so that a publish costs no allocation of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use mailrail_broker::{
    Command, Destination, Directory, Durability, Exchange, Name, Now, PublishBatch, Topic,
};
use mailrail_message::{AnnexKind, Draft, DraftError};

use crate::channel::Publish;
use crate::codec::properties::without_header;
use crate::codec::{BasicProperties, ReplyCode};
use crate::fault::Refusal;
use crate::from_wire::{self, BLIND_COPIES_HEADER, Copies};
use crate::outstanding::{Copy, Outstanding, Sent, Waiting};
use crate::to_wire;
use crate::transaction::Transactions;

/// Look-ups kept per connection.
const KNOWN_COUNT_MAX: usize = 1_024;
/// Room for a batch of little input.
const SMALL_BATCH_BYTES: usize = 4 * 1024;
/// Part of the input added as room for what storing adds.
const BATCH_OVERHEAD_DIVISOR: usize = 4;

/// What holds for every message of an input.
pub(crate) struct Envelope<'a> {
    pub directory: &'a Directory,
    pub user: &'a str,
    pub now: Now,
    pub peer: SocketAddr,
    pub advertised: SocketAddr,
    /// Bytes of input that are still to be looked at: what a batch may have to hold.
    pub input_bytes: usize,
}

/// Where publishes are gathered.
pub(crate) enum Into<'a> {
    /// In the batch of this input, with what goes to the broker before it.
    Batch(&'a mut Vec<Command>, &'a mut Outstanding),
    /// In the transaction of their channel.
    Transaction(&'a mut Transactions),
}

/// What became of a publish at once.
#[derive(Debug)]
pub(crate) enum Taken {
    /// In the batch; its end comes with the broker's answer.
    Batched,
    /// No queue has its name: to be returned if it is mandatory, and confirmed.
    Unroutable,
    Refused(Refusal),
}

/// Where a name leads that messages are published to.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// The default exchange, by queue name, or a topic that acts as an exchange.
    Topic(Arc<Topic>),
    Exchange(Arc<Exchange>),
}

impl Known {
    pub fn name(&self) -> &Name {
        match self {
            Known::Topic(topic) => &topic.name,
            Known::Exchange(exchange) => &exchange.name,
        }
    }

    fn is_gone(&self) -> bool {
        match self {
            Known::Topic(topic) => topic.is_gone(),
            Known::Exchange(exchange) => exchange.is_gone(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Publisher {
    batch: PublishBatch,
    sent: Vec<Sent>,
    durability: Option<Durability>,
    /// A batch of this input was handed over before its end: later ones are likely to be short too.
    is_split: bool,
    queues: HashMap<Name, Known>,
    exchanges: HashMap<Name, Known>,
    /// Routing key of the last message through an exchange, shared with the next one of the same key.
    key: Bytes,
    properties: Vec<u8>,
    birth: Vec<u8>,
    text: String,
}

impl Publisher {
    /// Puts a message into a batch. The batch before is handed over when this message asks for another durability:
    /// messages of one input must not overtake each other.
    pub fn take(&mut self, publish: &Publish<'_>, envelope: &Envelope<'_>, into: Into<'_>) -> Taken {
        let Ok(properties) = BasicProperties::read(publish.properties) else {
            return Taken::Refused(Refusal::new(ReplyCode::FrameError, "the properties are malformed"));
        };
        let copies = match Copies::read(&properties) {
            Ok(copies) => copies,
            Err(refusal) => return Taken::Refused(refusal),
        };
        let known = match self.look_up(publish, &copies, envelope.directory) {
            Some(known) => known,
            None if publish.exchange.is_empty() => return nowhere(publish, into),
            None => {
                let text = to_wire::no_exchange(publish.exchange);
                return Taken::Refused(Refusal::new(ReplyCode::NotFound, text));
            }
        };
        let stripped = match copies.any_blind {
            true => without_header(publish.properties, BLIND_COPIES_HEADER),
            false => None,
        };
        let properties_left = stripped.as_deref().unwrap_or(publish.properties);
        let publish = Publish { properties: properties_left, ..*publish };
        match self.add(&publish, (&properties, &copies), known, envelope, into) {
            Ok(()) => Taken::Batched,
            Err(refusal) => Taken::Refused(refusal),
        }
    }

    /// Hands over what was gathered.
    pub fn finish(&mut self, asks: &mut Vec<Command>, outstanding: &mut Outstanding) {
        (self.is_split, self.durability) = (false, None);
        if !self.sent.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            hand_over(batch, &mut self.sent, asks, outstanding);
        }
    }

    /// Where a message goes, or begins to. One to queues by their names may lack the first of them.
    fn look_up(
        &mut self,
        publish: &Publish<'_>,
        copies: &Copies<'_>,
        directory: &Directory,
    ) -> Option<Known> {
        let known = self.look_up_own(publish, directory);
        let keys = copies.keys.iter().filter(|_| publish.exchange.is_empty());
        let mut copied = keys.filter_map(|key| directory.topic(std::str::from_utf8(key).ok()?));
        known.or_else(|| copied.next().map(Known::Topic))
    }

    fn look_up_own(&mut self, publish: &Publish<'_>, directory: &Directory) -> Option<Known> {
        let (map, name) = match publish.exchange {
            // No queue has a name that is not UTF-8.
            "" => (&mut self.queues, publish.routing_key.as_text()?),
            exchange => (&mut self.exchanges, exchange),
        };
        if let Some(known) = map.get(name).filter(|known| !known.is_gone()) {
            return Some(known.clone());
        }
        let topic = || directory.topic(name).map(Known::Topic);
        let known = match publish.exchange {
            "" => topic()?,
            _ => directory.exchange(name).map(Known::Exchange).or_else(topic)?,
        };
        // A topic in an exchange's place is not kept: an exchange of that name may be declared any time.
        if publish.exchange.is_empty() || matches!(known, Known::Exchange(_)) {
            keep_known(map, name, known.clone());
        }
        Some(known)
    }

    fn add(
        &mut self,
        publish: &Publish<'_>,
        (properties, copies): (&BasicProperties<'_>, &Copies<'_>),
        known: Known,
        envelope: &Envelope<'_>,
        into: Into<'_>,
    ) -> Result<(), Refusal> {
        let Envelope { user, now, peer, advertised, .. } = *envelope;
        let key = publish.routing_key.as_text().unwrap_or_default();
        let tag = if publish.exchange.is_empty() { "" } else { from_wire::tag_of(known.name(), key) };
        self.properties.clear();
        let meant = from_wire::project(properties, tag, user, now, &mut self.properties, &mut self.text)?;
        self.birth.clear();
        to_wire::put_birth(&mut self.birth, publish.exchange, publish.routing_key, publish.properties);
        let destination = self.destination(&known, publish, copies, envelope.directory)?;
        let key = meant.key.map(|key| key.annex());
        let birth = (AnnexKind::Amqp, self.birth.as_slice());
        let with_key = key.as_ref().map(|key| [birth, (AnnexKind::Deduplication, key.as_slice())]);
        let alone = [birth];
        let draft = Draft {
            topic: known.name(),
            flag: 0,
            sys_flags: 0,
            born_ms: meant.born_ms,
            born_host: peer,
            store_host: advertised,
            reconsume_times: 0,
            body: publish.body,
            properties: &self.properties,
            more_properties: &[],
            annexes: with_key.as_ref().map_or(&alone[..], |both| &both[..]),
        };
        let illegal = |error: DraftError| Refusal::new(ReplyCode::PreconditionFailed, error.to_string());
        let may_be_unroutable = matches!(known, Known::Exchange(_)) || !copies.keys.is_empty();
        let copy = (publish.mandatory && may_be_unroutable).then(|| Box::new(Copy::of(publish)));
        let Publish { channel, sequence, .. } = *publish;
        match into {
            Into::Transaction(transactions) => {
                let open = transactions.of(channel, draft.encoded_len())?;
                let (item, before) = (open.batch.len(), open.batch.bytes());
                open.batch.push(&draft, destination, meant.tag_hash, meant.durability).map_err(illegal)?;
                let grown = open.batch.bytes() - before;
                transactions.grown(grown);
                copy.map_or(Ok(()), |copy| transactions.keep(channel, Some(item), copy))
            }
            Into::Batch(asks, outstanding) => {
                if self.durability.is_some_and(|durability| durability != meant.durability) {
                    let batch = std::mem::take(&mut self.batch);
                    hand_over(batch, &mut self.sent, asks, outstanding);
                    self.is_split = true;
                }
                if self.sent.is_empty() {
                    let whole = envelope.input_bytes + envelope.input_bytes / BATCH_OVERHEAD_DIVISOR;
                    let bytes = if self.is_split { publish.body.len() } else { whole };
                    self.batch = PublishBatch::with_capacity(bytes.max(SMALL_BATCH_BYTES), 1);
                    self.durability = Some(meant.durability);
                }
                self.batch.push(&draft, destination, meant.tag_hash, meant.durability).map_err(illegal)?;
                self.sent.push(Sent { channel, sequence, destination: known, copy });
                Ok(())
            }
        }
    }

    fn destination(
        &mut self,
        known: &Known,
        publish: &Publish<'_>,
        copies: &Copies<'_>,
        directory: &Directory,
    ) -> Result<Destination, Refusal> {
        match known {
            Known::Topic(topic) if copies.keys.is_empty() => {
                Ok(Destination::Topic { topic: topic.id, queue_index: None })
            }
            Known::Topic(topic) if publish.exchange.is_empty() => {
                let named = |key: &&[u8]| Some(directory.topic(std::str::from_utf8(key).ok()?)?.id);
                let others = copies.keys.iter().filter_map(named);
                Ok(Destination::Topics(std::iter::once(topic.id).chain(others).collect()))
            }
            Known::Topic(topic) => {
                let text = format!("header 'CC' or 'BCC' is not implemented for topic '{}'", topic.name);
                Err(Refusal::new(ReplyCode::NotImplemented, text))
            }
            Known::Exchange(exchange) => {
                let routing_key = publish.routing_key.as_bytes();
                if self.key != routing_key {
                    self.key = Bytes::copy_from_slice(routing_key);
                }
                let others = copies.keys.iter().map(|key| Bytes::copy_from_slice(key));
                let keys = std::iter::once(self.key.clone()).chain(others).collect();
                Ok(Destination::Exchange { exchange: exchange.id, keys })
            }
        }
    }
}

/// Keeps a look-up for the next message. One too many takes the place of all the others.
fn keep_known<T>(map: &mut HashMap<Name, T>, name: &str, known: T) {
    if map.len() >= KNOWN_COUNT_MAX {
        map.clear();
    }
    map.insert(Name::from(name), known);
}

/// A batch that is complete.
fn hand_over(
    batch: PublishBatch,
    sent: &mut Vec<Sent>,
    asks: &mut Vec<Command>,
    outstanding: &mut Outstanding,
) {
    let token = outstanding.add(Waiting::Published(std::mem::take(sent)));
    asks.push(Command::Publish { token, batch });
}

/// No queue has the name that a message is for. In a transaction that is told with the commit.
fn nowhere(publish: &Publish<'_>, into: Into<'_>) -> Taken {
    let Into::Transaction(transactions) = into else { return Taken::Unroutable };
    let copy = publish.mandatory.then(|| Box::new(Copy::of(publish)));
    let kept = copy.map_or(Ok(()), |copy| transactions.keep(publish.channel, None, copy));
    kept.map_or_else(Taken::Refused, |()| Taken::Batched)
}

impl Copy {
    pub fn of(publish: &Publish<'_>) -> Self {
        Copy {
            exchange: publish.exchange.to_owned(),
            routing_key: publish.routing_key.as_bytes().to_vec(),
            properties: publish.properties.to_vec(),
            body: Bytes::copy_from_slice(publish.body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_ups_are_kept_up_to_their_limit_and_the_next_is_kept_too() {
        let mut map = HashMap::new();
        for number in 0..KNOWN_COUNT_MAX {
            keep_known(&mut map, &number.to_string(), number);
        }
        assert_eq!(map.len(), KNOWN_COUNT_MAX);
        keep_known(&mut map, "one more", 7);
        assert_eq!(map, HashMap::from([("one more".into(), 7)]));
    }
}
