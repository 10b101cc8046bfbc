//! What a publish request holds and what it is answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::{Text, list, pairs};
use crate::instant::WallTime;
use mailrail_broker::limits::MESSAGE_LITE_QUEUES_MAX;

use crate::limits::*;
use crate::problem::ItemProblem;
use crate::to_wire::MessageId;

/// Messages to publish to one topic.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"messages": [
    {"body": "hello", "tag": "greeting", "keys": ["order-13"], "properties": {"colour": "red"}},
    {"body_base64": "3q2+7w==", "queue": 2},
]}))]
pub(crate) struct PublishRequest<'a> {
    #[serde(borrow, deserialize_with = "list::<_, _, PUBLISH_MESSAGES_MAX>")]
    #[schema(max_items = 1000, min_items = 1)]
    pub messages: Vec<NewMessage<'a>>,
}

/// One message to publish. All fields but the body are optional.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewMessage<'a> {
    /// The body as text. Either this or `body_base64`; neither means an empty body.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "hello")]
    pub body: Option<Text<'a>>,
    /// The body as standard base64 with padding, for bytes that are not UTF-8. At most 4 MiB decoded.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, content_encoding = "base64")]
    pub body_base64: Option<Text<'a>>,
    /// What consumers filter by.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "created")]
    pub tag: Option<Text<'a>>,
    /// Names for look-up. Not empty, without blanks.
    #[serde(borrow, default, deserialize_with = "list::<_, _, KEYS_MAX>")]
    #[schema(value_type = Vec<String>, max_items = 100, example = json!(["order-13"]))]
    pub keys: Vec<Text<'a>>,
    /// The producer's own id of the message, carried to consumers.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub unique_id: Option<Text<'a>>,
    /// Carried to consumers.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub correlation_id: Option<Text<'a>>,
    /// Where answers should go; carried to consumers.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub reply_to: Option<Text<'a>>,
    /// What kind of message the application calls this; carried to consumers.
    #[serde(borrow, default, rename = "type")]
    #[schema(value_type = Option<String>)]
    pub message_type: Option<Text<'a>>,
    /// Media type of the body; carried to consumers.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "text/plain")]
    pub content_type: Option<Text<'a>>,
    /// Coding of the body, such as `gzip`; carried to consumers, never applied or taken off by the broker.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub content_encoding: Option<Text<'a>>,
    /// Milliseconds after which nobody is handed the message any more, from when it is stored; of a message that waits,
    /// from when it comes. Where its group owns it, it goes to the dead letter then, if the topic has one.
    #[serde(default)]
    pub expires_in_ms: Option<u64>,
    /// 0 to 255, higher is more urgent: leased before others where the topic has a `priority_max`, and carried to consumers
    /// of every protocol.
    #[serde(default)]
    #[schema(maximum = 255)]
    pub priority: Option<u8>,
    /// The application's own properties. Neither name nor value may be empty; names that the broker uses itself are
    /// refused. All properties and named fields of a message together take at most 32,767 bytes.
    #[serde(borrow, default, deserialize_with = "pairs::<_, PROPERTIES_MAX>")]
    #[schema(value_type = std::collections::BTreeMap<String, String>, example = json!({"colour": "red"}))]
    pub properties: Vec<(Text<'a>, Text<'a>)>,
    /// What an exchange chooses queues by; empty by default. Only for messages to an exchange.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "orders.eu.new")]
    pub routing_key: Option<Text<'a>>,
    /// Names of light queues of the topic that get the message too, of up to 250 bytes each and without commas. It is
    /// stored once; those that are missing are made. Not for messages to an exchange.
    #[serde(borrow, default, deserialize_with = "list::<_, _, MESSAGE_LITE_QUEUES_MAX>")]
    #[schema(value_type = Vec<String>, max_items = 1024, example = json!(["device-1"]))]
    pub lite: Vec<Text<'a>>,
    /// Number of the queue, from 0. Without it the ordering key decides, or else the broker takes the queues in turn.
    #[serde(default)]
    #[schema(example = 0)]
    pub queue: Option<u32>,
    /// Messages with the same key go to the same queue, in order, by the rule of RocketMQ's hash selector. A group with the
    /// order `ordering_key` receives them one batch at a time.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub ordering_key: Option<Text<'a>>,
    /// Not to be seen before so many milliseconds have passed. At most 10 years; not with `deliver_at`.
    #[serde(default)]
    pub delay_ms: Option<u64>,
    /// Not to be seen before this time (RFC 3339). At most 10 years ahead; a time that has passed means now.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deliver_at: Option<WallTime>,
    /// What the message is known by when it is sent again: within its `deduplication_window_ms` the topic answers with the
    /// first receipt, as a `duplicate`, and does not store it. At most 1,024 bytes; not with `producer_id`. A topic without
    /// such a window refuses the message.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>, example = "order-13-created")]
    pub deduplication_key: Option<Text<'a>>,
    /// Names a producer that numbers its messages by `sequence`, in place of a key. At most 1,024 bytes.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    pub producer_id: Option<Text<'a>>,
    /// Number of the message among those of its producer to the topic, which increases and is sent in order: one that is not
    /// above the highest is a duplicate.
    #[serde(default)]
    pub sequence: Option<u64>,
    /// When the producer made the message (RFC 3339); without it, the time of the request.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub born_at: Option<WallTime>,
}

impl NewMessage<'_> {
    /// True when any field is set.
    pub fn is_empty(&self) -> bool {
        let texts = [
            &self.body,
            &self.body_base64,
            &self.tag,
            &self.unique_id,
            &self.correlation_id,
            &self.reply_to,
            &self.message_type,
            &self.content_type,
            &self.content_encoding,
            &self.ordering_key,
            &self.routing_key,
            &self.deduplication_key,
            &self.producer_id,
        ];
        let times = [self.deliver_at, self.born_at];
        let numbers = [
            self.expires_in_ms,
            self.delay_ms,
            self.queue.map(u64::from),
            self.priority.map(u64::from),
            self.sequence,
        ];
        self.keys.is_empty()
            && self.lite.is_empty()
            && self.properties.is_empty()
            && texts.iter().all(|text| text.is_none())
            && times.iter().all(Option::is_none)
            && numbers.iter().all(Option::is_none)
    }
}

/// What became of the messages of a publish request, in their order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"messages": [
    {"id": "7F000001000026940000000000001A40", "queue": 2, "offset": 17, "durability": "disk"},
]}))]
pub(crate) struct PublishResponse {
    pub messages: Vec<Published>,
}

/// One message that was stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Published {
    /// Where the message lies; `GET /v1/messages/{id}` reads it. A delayed message is recalled with
    /// `DELETE /v1/messages/{id}`, and gets another id when it becomes visible. Missing only for a duplicate by a `sequence`
    /// so old that its receipt is no longer remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "7F000001000026940000000000001A40")]
    pub id: Option<MessageId>,
    /// Queue of the topic it went to; missing while the message is delayed, and where an exchange chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Its offset there; missing with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// To how many queues an exchange sent it; missing where a topic was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<u32>,
    /// True for a message that was stored before, and not again: id, queue and offset are those of the first. Missing for
    /// any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<bool>,
    /// How safe it is now.
    pub durability: DurabilityName,
    /// When a delayed message becomes visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deliver_at: Option<WallTime>,
}

impl Published {
    /// A duplicate of which nobody remembers where the first one is.
    pub fn forgotten(durability: DurabilityName) -> Self {
        Published {
            id: None,
            queue: None,
            offset: None,
            queues: None,
            duplicate: Some(true),
            durability,
            deliver_at: None,
        }
    }
}

/// Some messages were stored and others were not; both lists are in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartlyPublished {
    pub messages: Vec<PublishedAt>,
    /// Why the others were not stored.
    pub errors: Vec<ItemProblem>,
}

/// One message of a request that was stored, and which one it was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PublishedAt {
    /// Which message of the request, from 0.
    pub index: usize,
    #[serde(flatten)]
    pub published: Published,
}

/// How safe a message is when the publish is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DurabilityName {
    /// In the operating system's page cache; on disk within half a second.
    Memory,
    /// On disk.
    Disk,
}
