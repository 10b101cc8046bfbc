//! Messages as views over stored bytes: nothing is copied before it is written as JSON, but for bodies that had to be
//! decompressed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mailrail_broker::{ReadEntry, lite};
use mailrail_message::{AnnexKind, Death, Deaths, OffsetId, StoredMessage, property};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use crate::body::{Plain, plain};
use crate::instant::WallTime;
use crate::limits::ANSWER_BODY_BYTES_MAX;
use crate::receipt::ReceiptText;
use crate::schema::message::{DeathView, Delivery, Message};

/// An offset message id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageId(pub OffsetId);

impl MessageId {
    pub fn new(host: SocketAddr, position: u64) -> Self {
        MessageId(OffsetId { host, position })
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Keys in their stored form, separated by blanks; a list in JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a>(&'a str);

impl Serialize for Keys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.split_ascii_whitespace())
    }
}

/// Bytes as standard base64 text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base64Text<'a>(&'a [u8]);

impl Serialize for Base64Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// A stored message, parsed, with its body as readers want it.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    stored: StoredMessage<'a>,
    body: Plain<'a>,
}

/// Opens messages in order until their bodies fill an answer; the result may be shorter than what was asked. A message
/// that cannot be read is `None`: it is reported, and does not hold up the others.
pub(crate) fn open<'a>(messages: impl Iterator<Item = &'a Bytes>) -> Vec<Option<Opened<'a>>> {
    let mut opened = Vec::with_capacity(messages.size_hint().0);
    let mut bytes = 0;
    for message in messages {
        let one = open_one(message);
        bytes += one.as_ref().map_or(0, |one| one.body.bytes.len());
        if bytes > ANSWER_BODY_BYTES_MAX && !opened.is_empty() {
            break;
        }
        opened.push(one);
    }
    opened
}

pub(crate) fn open_one(message: &Bytes) -> Option<Opened<'_>> {
    match StoredMessage::parse(message) {
        Ok(stored) => Some(Opened { body: plain(&stored), stored }),
        Err(error) => {
            tracing::error!(%error, "a stored message cannot be read; it is left out of an answer");
            None
        }
    }
}

/// True when opening the message takes more than reading it.
pub(crate) fn is_compressed(message: &Bytes) -> bool {
    StoredMessage::parse(message).is_ok_and(|stored| stored.compression().is_some())
}

impl Opened<'_> {
    pub fn stored(&self) -> &StoredMessage<'_> {
        &self.stored
    }
}

/// Where a reader met a message; a message that went to several queues is stored with the first one only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub topic: &'a str,
    pub queue: u32,
    pub offset: u64,
    /// The advertised address, for the message's id.
    pub host: SocketAddr,
}

/// The document of one message.
pub(crate) fn message<'a>(opened: &'a Opened<'a>, place: Place<'a>) -> Message<'a> {
    let Opened { stored, body } = opened;
    let text = if body.coding.is_none() { std::str::from_utf8(&body.bytes).ok() } else { None };
    let mut message = Message {
        id: MessageId::new(place.host, stored.position()),
        topic: place.topic,
        queue: place.queue,
        offset: place.offset,
        body: text,
        body_base64: text.is_none().then_some(Base64Text(&body.bytes)),
        tag: None,
        keys: None,
        unique_id: None,
        correlation_id: None,
        reply_to: None,
        message_type: None,
        content_type: None,
        content_encoding: None,
        expires_in_ms: None,
        priority: None,
        ordering_key: None,
        lite: lite::names(stored).map(|name| name.strip_prefix(lite::LITE_PREFIX).unwrap_or(name)).collect(),
        properties: BTreeMap::new(),
        dead_letter_topic: None,
        dead_letter_id: None,
        deaths: deaths(stored),
        born_at: WallTime(stored.born_ms()),
        stored_at: WallTime(stored.store_ms()),
    };
    for (key, value) in stored.properties().iter() {
        set(&mut message, key, value);
    }
    if let Some(coding) = body.coding {
        let before = message.content_encoding.take();
        message.content_encoding =
            Some(before.map_or_else(|| coding.to_owned(), |before| format!("{before}, {coding}")));
    }
    message
}

fn deaths(stored: &StoredMessage<'_>) -> Vec<DeathView> {
    let found = stored.annex(AnnexKind::Deaths).and_then(Deaths::read).unwrap_or_default();
    let view = |death: &Death| DeathView {
        topic: death.queue.clone(),
        reason: death.reason.name(),
        count: death.count,
        first_at: WallTime(death.first_ms),
        exchange: death.exchange.clone(),
        key: death.key.clone(),
    };
    found.all().iter().map(view).collect()
}

/// Puts a property where it belongs; a later one of the same name wins.
fn set<'a>(message: &mut Message<'a>, key: &'a str, value: &'a str) {
    match key {
        property::TAGS => message.tag = Some(value),
        property::KEYS => message.keys = Some(Keys(value)),
        property::UNIQUE_ID => message.unique_id = Some(value),
        property::CORRELATION_ID => message.correlation_id = Some(value),
        property::REPLY_TO => message.reply_to = Some(value),
        property::MESSAGE_TYPE => message.message_type = Some(value),
        property::CONTENT_TYPE => message.content_type = Some(value),
        property::CONTENT_ENCODING => message.content_encoding = Some(value.to_owned()),
        property::TTL => message.expires_in_ms = value.parse().ok(),
        property::PRIORITY => message.priority = value.parse().ok(),
        property::ORDERING_KEY => message.ordering_key = Some(value),
        property::DLQ_ORIGIN_TOPIC => message.dead_letter_topic = Some(value),
        property::DLQ_ORIGIN_MESSAGE_ID => message.dead_letter_id = Some(value),
        _ if property::RESERVED.contains(&key) => {}
        _ => {
            message.properties.insert(key, value);
        }
    }
}

/// The messages of a page, all of one queue.
#[derive(Debug)]
pub(crate) struct Messages<'a> {
    pub topic: &'a str,
    pub queue: u32,
    pub host: SocketAddr,
    pub entries: &'a [ReadEntry],
    /// As far as the answer goes.
    pub opened: &'a [Option<Opened<'a>>],
}

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (entry, opened) in self.entries.iter().zip(self.opened) {
            let Some(opened) = opened else { continue };
            let place = Place { topic: self.topic, queue: self.queue, offset: entry.offset, host: self.host };
            list.serialize_element(&message(opened, place))?;
        }
        list.end()
    }
}

/// The deliveries of a receive.
#[derive(Debug)]
pub(crate) struct Deliveries<'a> {
    pub topic: &'a str,
    pub host: SocketAddr,
    pub deliveries: &'a [mailrail_broker::Delivery],
    /// As far as the answer goes.
    pub opened: &'a [Option<Opened<'a>>],
}

impl Serialize for Deliveries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for (delivery, opened) in self.deliveries.iter().zip(self.opened) {
            let Some(opened) = opened else { continue };
            let (queue, offset) = (delivery.queue_index, delivery.receipt.offset);
            let place = Place { topic: self.topic, queue, offset, host: self.host };
            list.serialize_element(&Delivery {
                receipt: ReceiptText(delivery.receipt),
                attempt: delivery.attempts.saturating_add(1),
                message: message(opened, place),
            })?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use mailrail_message::{AnnexKind, Draft};

    use super::*;
    use crate::testing::draft;

    fn stored(body: &[u8], properties: &[u8], annexes: &[(AnnexKind, &[u8])]) -> BytesMut {
        let mut whole = BytesMut::new();
        Draft { reconsume_times: 1, properties, annexes, ..draft(body) }.encode(&mut whole);
        whole
    }

    #[test]
    fn bodies_are_opened_up_to_their_limit_and_one_always() {
        let opened = |lengths: &[usize]| {
            let messages: Vec<Bytes> =
                lengths.iter().map(|bytes| stored(&vec![b'x'; *bytes], b"", &[]).freeze()).collect();
            open(messages.iter()).len()
        };
        let half = ANSWER_BODY_BYTES_MAX / 2;
        assert_eq!(opened(&[half, half - 1, 1]), 3);
        assert_eq!(opened(&[half, half - 1, 2]), 2);
        assert_eq!(opened(&[half]), 1);
    }

    /// A read sees damage to a body and to lengths; any other field may still be anything.
    #[test]
    fn no_damage_to_a_stored_message_makes_its_reader_panic() {
        let host = "127.0.0.1:1".parse().unwrap();
        let properties = "TAGS\u{1}a\u{2}KEYS\u{1}k l\u{2}TTL\u{1}5\u{2}own\u{1}value\u{2}";
        let annex: &[u8] = b"\x01x\x01k\x10\x00\x02";
        let whole = stored(b"body", properties.as_bytes(), &[(AnnexKind::Amqp, annex)]);
        let mut read = 0;
        for (at, value) in (0..whole.len()).flat_map(|at| (0..=u8::MAX).map(move |value| (at, value))) {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let damaged = damaged.freeze();
            if let Some(opened) = open_one(&damaged) {
                let place = Place { topic: "t", queue: 0, offset: 0, host };
                let document = serde_json::to_vec(&message(&opened, place)).unwrap();
                assert!(
                    serde_json::from_slice::<serde_json::Value>(&document).is_ok(),
                    "byte {at} as {value}"
                );
                read += 1;
            }
        }
        assert!(read > 10_000, "{read}");
    }
}
