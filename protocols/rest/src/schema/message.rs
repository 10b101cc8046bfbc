//! Messages as readers get them, and the pages they come in. Serialised straight from stored bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::instant::WallTime;
use crate::receipt::ReceiptText;
use crate::to_wire::{Base64Text, Deliveries, Keys, MessageId, Messages};

/// A stored message. Fields that the producer did not set are missing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "7F000001000026940000000000001A40", "topic": "orders", "queue": 2, "offset": 17, "body": "hello",
    "tag": "greeting", "keys": ["order-13"], "properties": {"colour": "red"},
    "born_at": "2026-11-22T08:29:04.547Z", "stored_at": "2026-11-22T08:29:04.548Z",
}))]
pub(crate) struct Message<'a> {
    /// Where the message lies; `GET /v1/messages/{id}` reads it.
    #[schema(value_type = String)]
    pub id: MessageId,
    pub topic: &'a str,
    pub queue: u32,
    pub offset: u64,
    /// The body, when it is UTF-8 text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<&'a str>,
    /// The body in standard base64, when it is not UTF-8 text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, content_encoding = "base64")]
    pub body_base64: Option<Base64Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub keys: Option<Keys<'a>>,
    /// The producer's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    pub message_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'a str>,
    /// Codings of the body that the reader has to take off, in the order they were applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 255)]
    pub priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<&'a str>,
    /// Light queues that it is in beside its topic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<String>>)]
    pub lite: Vec<&'a str>,
    /// The application's own properties.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub properties: BTreeMap<&'a str, &'a str>,
    /// For a dead letter: the topic that the message came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_topic: Option<&'a str>,
    /// For a dead letter: the id that the message had there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_id: Option<&'a str>,
    /// Where the message was given up before, the newest first; each topic and reason once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<DeathView>>)]
    pub deaths: Vec<DeathView>,
    /// When the producer made it.
    #[schema(value_type = String, format = DateTime)]
    pub born_at: WallTime,
    /// When the broker stored it; never decreases within a queue.
    #[schema(value_type = String, format = DateTime)]
    pub stored_at: WallTime,
}

/// All times that a message was given up in one topic for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeathView {
    pub topic: String,
    /// `rejected`, `expired`, `maxlen` or `delivery_limit`.
    pub reason: &'static str,
    pub count: u64,
    /// When it happened first.
    #[schema(value_type = String, format = DateTime)]
    pub first_at: WallTime,
    /// The exchange through which it had come to the topic; empty for none.
    pub exchange: String,
    /// The key that it had come with.
    pub key: String,
}

/// Messages of one queue, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessagePage<'a> {
    #[schema(value_type = Vec<Message>)]
    pub messages: Messages<'a>,
    /// What to pass as `from` to go on behind this page.
    #[schema(example = "offset:18")]
    pub next: &'a str,
    /// First offset that the queue still has.
    pub min: u64,
    /// Offset behind the queue's last message.
    pub max: u64,
}

/// Messages with a key, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundMessages<'a> {
    #[schema(value_type = Vec<Message>)]
    pub messages: Vec<Message<'a>>,
}

/// Which messages to find.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FindQuery {
    /// Name of the topic.
    #[param(example = "orders")]
    pub topic: String,
    /// One of the message's keys, or its `unique_id`.
    #[param(example = "order-13")]
    pub key: String,
    /// Only messages stored then or later, in RFC 3339.
    #[param(example = "2026-11-22T08:00:00Z")]
    pub since: Option<String>,
    /// Only messages stored then or earlier, in RFC 3339.
    pub until: Option<String>,
    /// Most messages to return, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    pub max: Option<u32>,
}

/// Which messages of a queue to read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadQuery {
    /// Where to start: `earliest`, `latest` (only what comes from now on), `offset:N`, or `time:T` with T in RFC 3339
    /// (the first message stored at T or later).
    #[serde(default = "earliest")]
    #[param(default = "earliest", example = "offset:17")]
    pub from: String,
    /// Most messages to return, 1 to 1000. Fewer may come although there are more.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    pub max: Option<u32>,
    /// Milliseconds to wait for a first message, up to 60000.
    #[serde(default)]
    #[param(default = 0, maximum = 60000)]
    pub wait_ms: u64,
    /// Only messages with this tag; several are separated by `||`.
    #[param(example = "created")]
    pub tag: Option<String>,
    /// Only messages that this is true of, in RocketMQ's SQL92; names are those of properties, `TAGS` and `KEYS` too.
    #[param(example = "amount > 100 AND region IN ('eu', 'us')")]
    pub sql: Option<String>,
}

/// Where an event stream starts and what it lets through.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Where to start when there is no `Last-Event-ID`: `latest`, `earliest`, `time:T` with T in RFC 3339, or, for a
    /// topic of one queue, `offset:N`.
    #[serde(default = "latest")]
    #[param(default = "latest", example = "earliest")]
    pub from: String,
    /// Only messages with this tag; several are separated by `||`.
    pub tag: Option<String>,
    /// Only messages that this is true of, in RocketMQ's SQL92; names are those of properties, `TAGS` and `KEYS` too.
    pub sql: Option<String>,
}

fn earliest() -> String {
    "earliest".to_owned()
}

fn latest() -> String {
    "latest".to_owned()
}

/// Messages leased to the caller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiveResponse<'a> {
    /// Empty when none came in time.
    #[schema(value_type = Vec<Delivery>)]
    pub messages: Deliveries<'a>,
}

/// One message, leased to the caller until the lease ends or it is settled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Delivery<'a> {
    /// Names the lease in settle and extend. Opaque.
    #[schema(value_type = String, example = "AQAAAAAAAAAHAAAAAAAAAAMAAAAAAAAAEQAAAAAAAAABAAAAAAAAAAUdvyGt")]
    pub receipt: ReceiptText,
    /// Which attempt at this message it is, from 1.
    #[schema(minimum = 1, example = 1)]
    pub attempt: u32,
    pub message: Message<'a>,
}
