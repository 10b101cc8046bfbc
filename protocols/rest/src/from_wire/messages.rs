//! Messages into a publish batch.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mailrail_broker::limits::DELAY_MS_MAX;
use mailrail_broker::{Destination, Durability, Exchange, HalfTerms, Name, PublishBatch, Topic, lite};
use mailrail_message::{AnnexKind, BODY_BYTES_MAX, Draft, property, tag_hash};

use super::deduplication;
use crate::instant::WallTime;
use crate::problem::{Kind, Refusal};
use crate::schema::publish::NewMessage;

/// What messages are published to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    Topic(&'a Topic),
    Exchange(&'a Exchange),
}

impl<'a> To<'a> {
    pub fn name(self) -> &'a Name {
        match self {
            To::Topic(topic) => &topic.name,
            To::Exchange(exchange) => &exchange.name,
        }
    }

    /// Where one of the messages goes.
    fn destination(self, message: &NewMessage<'_>) -> Result<Destination, Refusal> {
        match self {
            To::Topic(_) if message.routing_key.is_some() => {
                Err(Refusal::invalid("only a message to an exchange has a routing_key"))
            }
            To::Topic(topic) => {
                Ok(Destination::Topic { topic: topic.id, queue_index: queue_of(topic, message) })
            }
            To::Exchange(_) if !message.lite.is_empty() => {
                Err(Refusal::invalid("a message to an exchange names no light queues"))
            }
            To::Exchange(_) if message.queue.is_some() => {
                Err(Refusal::invalid("a message to an exchange names no queue: its bindings decide"))
            }
            To::Exchange(_) if message.delay_ms.is_some() || message.deliver_at.is_some() => {
                Err(Refusal::new(Kind::NotSupported, "a message to an exchange cannot be delayed yet"))
            }
            To::Exchange(exchange) => {
                let key = message.routing_key.as_deref().unwrap_or_default();
                let keys = [Bytes::copy_from_slice(key.as_bytes())].into();
                Ok(Destination::Exchange { exchange: exchange.id, keys })
            }
        }
    }
}

/// Turns messages into items of a publish batch. Its buffers are used again for every message.
#[derive(Debug)]
pub(crate) struct Encoder<'a> {
    pub to: To<'a>,
    pub durability: Durability,
    /// The publishing client.
    pub peer: SocketAddr,
    /// The advertised address.
    pub store_host: SocketAddr,
    pub now_ms: u64,
    /// Of the request: each message that has none of its own is known by it and its place in the batch.
    pub idempotency_key: Option<&'a [u8]>,
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

impl Encoder<'_> {
    /// Adds a message with this body, or the body it names; where there are terms, to be seen once it is committed.
    /// Returns when it becomes visible, if that is later.
    pub fn push(
        &mut self,
        batch: &mut PublishBatch,
        message: &NewMessage<'_>,
        body: Option<&[u8]>,
        half: Option<HalfTerms>,
    ) -> Result<Option<WallTime>, Refusal> {
        self.properties.clear();
        put_properties(&mut self.properties, message)?;
        let destination = self.to.destination(message)?;
        let body = match body {
            Some(body) => body,
            None => body_of(message, &mut self.body)?,
        };
        let key = deduplication::key_of(message, self.idempotency_key, batch.len())?;
        let key_annex = key.map(|key| key.annex());
        let annexes = key_annex.as_ref().map(|annex| (AnnexKind::Deduplication, annex.as_slice()));
        let draft = Draft {
            topic: self.to.name(),
            flag: 0,
            sys_flags: 0,
            born_ms: message.born_at.map_or(self.now_ms, |born| born.0),
            born_host: self.peer,
            store_host: self.store_host,
            reconsume_times: 0,
            body,
            properties: &self.properties,
            more_properties: &[],
            annexes: annexes.as_slice(),
        };
        let tag_hash = message.tag.as_ref().map_or(0, |tag| tag_hash(tag));
        let due = due(message, self.now_ms)?;
        match (due, destination) {
            (None, Destination::Topic { topic, queue_index }) if half.is_some() => {
                if let Some(half) = half {
                    batch.push_half(&draft, topic, queue_index, tag_hash, self.durability, half)?;
                }
            }
            (Some(WallTime(due_ms)), Destination::Topic { topic, queue_index }) => {
                batch.push_due(&draft, topic, queue_index, tag_hash, self.durability, due_ms)?;
            }
            (_, destination) => batch.push(&draft, destination, tag_hash, self.durability)?,
        }
        if key.is_some() {
            batch.need_deduplication();
        }
        Ok(due)
    }
}

/// The queue that the message names, or that its ordering key stands for: RocketMQ's hash selector
/// (`Math.abs(hashCode % queues)`), so that a key meets its queue whoever sends.
fn queue_of(topic: &Topic, message: &NewMessage<'_>) -> Option<u32> {
    if message.queue.is_some() {
        return message.queue;
    }
    let key = message.ordering_key.as_ref()?;
    let queues = i32::try_from(topic.queues().len()).ok()?;
    tag_hash(key).checked_rem(queues).map(i32::unsigned_abs)
}

fn body_of<'m>(message: &'m NewMessage<'_>, decoded: &'m mut Vec<u8>) -> Result<&'m [u8], Refusal> {
    match (&message.body, &message.body_base64) {
        (Some(_), Some(_)) => Err(Refusal::invalid("a message has either body or body_base64, not both")),
        (Some(body), None) => Ok(body.as_bytes()),
        (None, Some(coded)) => {
            decoded.clear();
            // What is longer than any body is refused before it is decoded.
            if coded.len() / 4 > BODY_BYTES_MAX / 3 + 1 {
                let detail =
                    format!("body_base64 holds more than the {BODY_BYTES_MAX} bytes a body may have");
                return Err(Refusal::new(Kind::TooLarge, detail));
            }
            STANDARD
                .decode_vec(coded.as_bytes(), decoded)
                .map_err(|error| Refusal::invalid(format!("body_base64: {error}")))?;
            Ok(decoded)
        }
        (None, None) => Ok(&[]),
    }
}

/// When a message becomes visible; `None` = at once.
fn due(message: &NewMessage<'_>, now_ms: u64) -> Result<Option<WallTime>, Refusal> {
    let due_ms = match (message.delay_ms, message.deliver_at) {
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid("a message has either delay_ms or deliver_at, not both"));
        }
        (Some(delay_ms), None) => now_ms.saturating_add(delay_ms),
        (None, Some(at)) => at.0,
        (None, None) => return Ok(None),
    };
    let ahead_ms = due_ms.saturating_sub(now_ms);
    if ahead_ms > DELAY_MS_MAX {
        let detail = format!("the message would wait {ahead_ms} ms; at most {DELAY_MS_MAX} are allowed");
        return Err(Refusal::new(Kind::LimitExceeded, detail));
    }
    Ok((ahead_ms > 0).then_some(WallTime(due_ms)))
}

fn put_properties(out: &mut Vec<u8>, message: &NewMessage<'_>) -> Result<(), Refusal> {
    let texts = [
        (property::TAGS, "tag", &message.tag),
        (property::UNIQUE_ID, "unique_id", &message.unique_id),
        (property::CORRELATION_ID, "correlation_id", &message.correlation_id),
        (property::REPLY_TO, "reply_to", &message.reply_to),
        (property::MESSAGE_TYPE, "type", &message.message_type),
        (property::CONTENT_TYPE, "content_type", &message.content_type),
        (property::CONTENT_ENCODING, "content_encoding", &message.content_encoding),
        (property::ORDERING_KEY, "ordering_key", &message.ordering_key),
    ];
    for (name, field, value) in texts {
        if let Some(value) = value {
            put(out, name, field, value)?;
        }
    }
    put_keys(out, message)?;
    if !message.lite.is_empty() {
        let names: Vec<String> = message.lite.iter().map(|name| lite_topic(name)).collect();
        names.iter().try_for_each(|name| lite::check_name(name))?;
        put(out, property::LITE_QUEUES, "lite", &lite::join(names.iter().map(String::as_str)))?;
    }
    let numbers =
        [(property::TTL, message.expires_in_ms), (property::PRIORITY, message.priority.map(u64::from))];
    for (name, value) in numbers {
        if let Some(value) = value {
            put(out, name, name, &value.to_string())?;
        }
    }
    for (name, value) in &message.properties {
        if property::RESERVED.contains(&&**name) {
            let detail = format!("the property {:?} is the broker's own; use the message's fields", &**name);
            return Err(Refusal::invalid(detail));
        }
        put(out, name, name, value)?;
    }
    Ok(())
}

/// The whole name of a light queue.
pub(crate) fn lite_topic(name: &str) -> String {
    format!("{}{name}", lite::LITE_PREFIX)
}

fn put_keys(out: &mut Vec<u8>, message: &NewMessage<'_>) -> Result<(), Refusal> {
    for key in &message.keys {
        if key.is_empty() || key.contains(char::is_whitespace) {
            let detail =
                format!("the key {:?} is empty or holds a blank, which separates stored keys", &**key);
            return Err(Refusal::invalid(detail));
        }
    }
    match message.keys.as_slice() {
        [] => Ok(()),
        [key] => put(out, property::KEYS, "keys", key),
        keys => {
            let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
            put(out, property::KEYS, "keys", &keys.join(" "))
        }
    }
}

fn put(out: &mut Vec<u8>, name: &str, field: &str, value: &str) -> Result<(), Refusal> {
    if property::push(out, name, value) {
        return Ok(());
    }
    let detail = format!(
        "{field:?} cannot be stored: a name and its value may not be empty nor hold the characters U+0001 and U+0002"
    );
    Err(Refusal::invalid(detail))
}
