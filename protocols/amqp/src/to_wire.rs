//! Domain to wire: a stored message as AMQP sees it, and the broker's errors as reply codes.
//!
//! What AMQP stored goes out with the very header it came with; for messages born elsewhere one is made here.

mod deaths;

use bytes::{Bytes, BytesMut};
use mailrail_broker::{Action, Delivery, Denial, Directory, Error};
use mailrail_message::property::{self, Properties};
use mailrail_message::{AnnexKind, Deaths, LayoutError, StoredMessage};

use crate::channel::Message;
use crate::codec::writer::{Body, Content};
use crate::codec::{BasicProperties, ReplyCode, ShortBytes, TableBuffer, Value};
use crate::decompress;
use crate::fault::Refusal;
use crate::from_wire::{GROUP_SEPARATOR, KEYS_HEADER, TAG_HEADER};

/// Header with the number of failed attempts, on messages that were not born here.
const ATTEMPTS_HEADER: &str = "x-delivery-count";
/// Delivery mode of a message that survives a restart.
const PERSISTENT: u8 = 2;

/// Room for what has to be made for a delivery; kept between deliveries.
#[derive(Debug, Default)]
pub(crate) struct Room {
    properties: BytesMut,
    exchange: String,
    routing_key: String,
    /// The plain body of a message that was compressed.
    body: Option<Bytes>,
    /// Of a dead letter.
    deaths: Option<Deaths>,
}

/// A delivery as it goes out.
pub(crate) fn message<'a>(
    delivery: &'a Delivery,
    directory: &Directory,
    room: &'a mut Room,
) -> Result<Message<'a>, LayoutError> {
    let stored = StoredMessage::parse(&delivery.message)?;
    let redelivered = delivery.attempts > 0;
    room.deaths = stored.annex(AnnexKind::Deaths).and_then(Deaths::read);
    if let Some(birth) = stored.annex(AnnexKind::Amqp) {
        let (exchange, rest) = counted(birth)?;
        let exchange = exchange.as_text().ok_or(MALFORMED_ANNEX)?;
        let (routing_key, properties) = counted(rest)?;
        let body = delivery.message.get(stored.body_range()).unwrap_or_default();
        let body = Body { bytes: body, owner: &delivery.message };
        if let Some(deaths) = &room.deaths {
            room.properties = deaths::add(properties, deaths).ok_or(MALFORMED_ANNEX)?;
            let (exchange, routing_key) = deaths::way(deaths);
            let content = Content { properties: &room.properties, body };
            return Ok(Message { exchange, routing_key, redelivered, content });
        }
        let content = Content { properties, body };
        return Ok(Message { exchange, routing_key, redelivered, content });
    }
    let queue = directory.queue(delivery.receipt.queue);
    room.fill(&stored, delivery, queue.as_ref().map(|queue| &*queue.topic));
    let body = match &room.body {
        Some(plain) => Body { bytes: plain, owner: plain },
        None => {
            let bytes = delivery.message.get(stored.body_range()).unwrap_or_default();
            Body { bytes, owner: &delivery.message }
        }
    };
    let content = Content { properties: &room.properties, body };
    let (exchange, routing_key) = match &room.deaths {
        Some(deaths) => deaths::way(deaths),
        None => (room.exchange.as_str(), room.routing_key.as_str().into()),
    };
    Ok(Message { exchange, routing_key, redelivered, content })
}

impl Room {
    /// Makes a header for a message that was born elsewhere. A message of the consumed topic itself looks as if it had
    /// been published to the default exchange; one that came through a binding, as if its topic were the exchange and
    /// its tag the key.
    fn fill(&mut self, stored: &StoredMessage<'_>, delivery: &Delivery, consumed: Option<&str>) {
        let properties = stored.properties();
        let tag = properties.get(property::TAGS);
        self.exchange.clear();
        self.routing_key.clear();
        if consumed.is_none_or(|topic| topic == stored.topic()) {
            self.routing_key.push_str(stored.topic());
        } else {
            self.exchange.push_str(stored.topic());
            self.routing_key.push_str(tag.unwrap_or_default());
        }
        let mut encoding = properties.get(property::CONTENT_ENCODING);
        self.body = None;
        if let Some(compression) = stored.compression() {
            self.body = decompress::plain(compression, stored.body());
            if self.body.is_none() {
                encoding = Some(decompress::encoding_name(compression));
            }
        }
        let mut headers = headers(properties, tag, delivery.attempts);
        if let Some(deaths) = &self.deaths {
            deaths::put(&mut headers, deaths);
        }
        let born = BasicProperties {
            content_type: properties.get(property::CONTENT_TYPE),
            content_encoding: encoding,
            headers: (!headers.is_empty()).then(|| headers.as_table()),
            delivery_mode: Some(PERSISTENT),
            priority: properties.get(property::PRIORITY).and_then(|priority| priority.parse().ok()),
            correlation_id: properties.get(property::CORRELATION_ID),
            reply_to: properties.get(property::REPLY_TO),
            expiration: properties.get(property::TTL).map(ShortBytes::from),
            message_id: properties.get(property::UNIQUE_ID).or(properties.get(property::KEYS)),
            timestamp: Some(stored.born_ms() / 1_000),
            kind: properties.get(property::MESSAGE_TYPE),
            ..BasicProperties::default()
        };
        self.properties.clear();
        born.write(&mut self.properties);
    }
}

/// User properties as long strings, with the tag, the keys, and the attempts so far.
fn headers(properties: Properties<'_>, tag: Option<&str>, attempts: u32) -> TableBuffer {
    let mut headers = TableBuffer::default();
    for (key, value) in properties.iter() {
        if !property::RESERVED.contains(&key) && key.len() <= crate::codec::limits::SHORT_TEXT_BYTES_MAX {
            headers.put_text(key, value);
        }
    }
    if let Some(tag) = tag {
        headers.put_text(TAG_HEADER, tag);
    }
    if let Some(keys) = properties.get(property::KEYS) {
        headers.put_text(KEYS_HEADER, keys);
    }
    if attempts > 0 {
        headers.put(ATTEMPTS_HEADER, Value::I64(attempts.into()));
    }
    headers
}

/// Appends the AMQP annex: where the message was published to, and its header as it came.
pub(crate) fn put_birth(out: &mut Vec<u8>, exchange: &str, routing_key: ShortBytes<'_>, properties: &[u8]) {
    for bytes in [exchange.as_bytes(), routing_key.as_bytes()] {
        // Both came as short strings.
        out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(properties);
}

const MALFORMED_ANNEX: LayoutError = LayoutError::Text { field: "AMQP annex" };

fn counted(bytes: &[u8]) -> Result<(ShortBytes<'_>, &[u8]), LayoutError> {
    let (len, rest) = bytes.split_first().ok_or(MALFORMED_ANNEX)?;
    let (counted, rest) = rest.split_at_checked(usize::from(*len)).ok_or(MALFORMED_ANNEX)?;
    Ok((ShortBytes::new(counted), rest))
}

/// The code and RabbitMQ's words for a refused command.
pub(crate) fn refusal(error: &Error) -> Refusal {
    let (code, text) = match error {
        Error::NoTopic(name) => (ReplyCode::NotFound, no_queue(name)),
        Error::NoGroup { group, topic } if group == topic => (ReplyCode::NotFound, no_queue(topic)),
        Error::NoGroup { group, topic } => {
            (ReplyCode::NotFound, no_queue(&format!("{topic}{GROUP_SEPARATOR}{group}")))
        }
        Error::NoExchange(name) => (ReplyCode::NotFound, no_exchange(name)),
        Error::NoQueue { topic, .. } => (ReplyCode::NotFound, no_queue(topic)),
        Error::Differs { what, name, field, found, asked } => {
            let what = if *what == "topic" { "queue" } else { what };
            return crate::from_wire::inequivalent(what, name, field, found, asked);
        }
        Error::Locked(name) => (ReplyCode::ResourceLocked, locked(name)),
        Error::Mode { .. } => (ReplyCode::ResourceLocked, error.to_string()),
        Error::InUse(name) => (ReplyCode::PreconditionFailed, format!("'{name}' in vhost '/' in use")),
        Error::NotEmpty(name) => {
            (ReplyCode::PreconditionFailed, format!("queue '{name}' in vhost '/' is not empty"))
        }
        Error::ExclusiveConsumer(name) => {
            (ReplyCode::AccessRefused, format!("queue '{name}' in vhost '/' in exclusive use"))
        }
        Error::Internal(name) => {
            (ReplyCode::AccessRefused, format!("cannot publish to internal exchange '{name}' in vhost '/'"))
        }
        Error::Denied(denial) => (ReplyCode::AccessRefused, denied(denial)),
        Error::Login => (ReplyCode::AccessRefused, error.to_string()),
        Error::NotWritable(_) | Error::NotReadable(_) => (ReplyCode::AccessRefused, error.to_string()),
        Error::Name { .. } | Error::Limit { .. } | Error::Argument { .. } | Error::NoKey(_) => {
            (ReplyCode::PreconditionFailed, error.to_string())
        }
        Error::NoSpace | Error::Busy { .. } | Error::Full { .. } => {
            (ReplyCode::ResourceError, error.to_string())
        }
        Error::Stopping => (ReplyCode::ConnectionForced, error.to_string()),
        Error::NoDeduplication(_) | Error::OutOfSequence { .. } => {
            (ReplyCode::PreconditionFailed, error.to_string())
        }
        Error::Unroutable
        | Error::Forgotten { .. }
        | Error::Poisoned(_)
        | Error::Receipt(_)
        | Error::NoMessage(_)
        | Error::Read(_)
        | Error::Damaged(_)
        | Error::Durability(_)
        | Error::NotHalf { .. }
        | Error::Ending(_)
        // Users are not changed over AMQP.
        | Error::NoUser(_)
        | Error::LastAdministrator(_)
        | Error::SecretKey(_)
        | Error::Random
        | Error::NotWaiting { .. } => (ReplyCode::InternalError, error.to_string()),
    };
    Refusal::new(code, text)
}

/// As RabbitMQ says it, and why.
fn denied(denial: &Denial) -> String {
    let access = match denial.action {
        Action::Configure | Action::Administer => "configure",
        Action::Publish => "write",
        Action::Consume | Action::Describe => "read",
    };
    let Denial { who, resource, why, .. } = denial;
    format!("{access} access to {resource} in vhost '/' refused for {who}: {why}")
}

pub(crate) fn no_queue(name: &str) -> String {
    format!("no queue '{name}' in vhost '/'")
}

pub(crate) fn no_exchange(name: &str) -> String {
    format!("no exchange '{name}' in vhost '/'")
}

pub(crate) fn locked(name: &str) -> String {
    format!("cannot obtain exclusive access to locked queue '{name}' in vhost '/'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_gone_is_named_as_the_queue_that_was_asked_for() {
        for (group, text) in [("t", "no queue 't' in vhost '/'"), ("g", "no queue 't::g' in vhost '/'")] {
            let error = Error::NoGroup { group: group.to_owned(), topic: "t".to_owned() };
            assert_eq!(refusal(&error), Refusal::new(ReplyCode::NotFound, text));
        }
    }
}
