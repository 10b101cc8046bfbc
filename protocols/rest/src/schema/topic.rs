//! Topics: what can be asked for and what is shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::publish::DurabilityName;

/// Settings of a topic. What is missing keeps its value, or gets its default when the topic is made. Of what ends messages
/// by itself, all but `message_ttl_ms` needs the retention `until_settled`, and the lengths 1 queue.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"queues": 4}))]
pub(crate) struct TopicRequest {
    /// Number of queues; 4 by default.
    #[schema(minimum = 1, maximum = 1024)]
    pub queues: Option<u32>,
    /// When messages go; `time_size` by default.
    pub retention: Option<RetentionName>,
    /// The least durability of a publish; `memory` by default. Requests can only raise it.
    pub durability: Option<DurabilityName>,
    /// How long the topic itself lives; `durable` by default.
    pub lifetime: Option<LifetimeRequest>,
    /// Milliseconds after which a message that nobody has settled is no longer handed out. Where a message says
    /// `expires_in_ms` itself, the shorter one counts.
    #[schema(maximum = 316224000000_u64)]
    pub message_ttl_ms: Option<u64>,
    /// Milliseconds after which the topic is deleted when nobody has consumed or declared it.
    #[schema(minimum = 1, maximum = 316224000000_u64)]
    pub expires_ms: Option<u64>,
    /// Most messages that may be ready. Those that are leased do not count.
    pub length_max: Option<u64>,
    /// Most bytes of ready messages, as they are stored.
    pub length_bytes_max: Option<u64>,
    /// What a full topic does; `drop_head` by default.
    pub overflow: Option<OverflowName>,
    /// Where messages go that the group of the topic's name gives up: rejected, expired, over a length, failed too often.
    pub dead_letter: Option<DeadLetterTarget>,
    /// The highest priority of a message: those with more count as having so much, and messages of a higher one are
    /// leased before others. Readers by offset get all as they arrived. 0 = priorities count for nothing, the default.
    pub priority_max: Option<u8>,
    /// Of a topic with retention `compacted`: milliseconds for which a message stays whatever comes; 0 by default.
    #[schema(maximum = 316224000000_u64)]
    pub compaction_lag_ms: Option<u64>,
    /// Milliseconds for which a message without a body stays there that is the newest of its key; 24 hours by default.
    #[schema(maximum = 316224000000_u64)]
    pub tombstone_ms: Option<u64>,
    /// Whether the topic may have light queues: messages name them in `lite`, which makes them. `false` by default.
    pub lite: Option<bool>,
    /// Milliseconds without message, consumer or waiting reader after which a light queue of the topic goes; 72 hours by
    /// default.
    #[schema(minimum = 1, maximum = 316224000000_u64)]
    pub lite_expires_ms: Option<u64>,
    /// Of a million messages, so many are traced, from the first store to the last settlement; 0 by default. It may be
    /// changed of a topic that exists.
    #[schema(maximum = 1_000_000)]
    pub trace_sample: Option<u64>,
    /// Milliseconds for which the topic remembers messages by their deduplication keys, and does not store them again.
    /// 0 = what is sent again is stored again, the default. A topic remembers its newest 250,000, all topics 500,000.
    #[schema(maximum = 86400000_u64)]
    pub deduplication_window_ms: Option<u64>,
}

/// What ends messages of a topic, and the topic, by itself; the priorities that they may have; and for how long they are
/// known again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicPolicy {
    /// Milliseconds after which a message that nobody has settled is no longer handed out. Where a message says
    /// `expires_in_ms` itself, the shorter one counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 316224000000_u64)]
    pub message_ttl_ms: Option<u64>,
    /// Milliseconds after which the topic is deleted when nobody has consumed or declared it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 316224000000_u64)]
    pub expires_ms: Option<u64>,
    /// Most messages that may be ready. Those that are leased do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_max: Option<u64>,
    /// Most bytes of ready messages, as they are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_bytes_max: Option<u64>,
    /// What a full topic does; `drop_head` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<OverflowName>,
    /// Where messages go that the group of the topic's name gives up: rejected, expired, over a length, failed too often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetterTarget>,
    /// The highest priority of a message; missing where priorities count for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_max: Option<u8>,
    /// Of a topic with retention `compacted`: milliseconds for which a message stays whatever comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compaction_lag_ms: Option<u64>,
    /// Milliseconds for which a message without a body stays there that is the newest of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tombstone_ms: Option<u64>,
    /// Milliseconds without message, consumer or waiting reader after which its light queues go; missing where it may have
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lite_expires_ms: Option<u64>,
    /// Of a light queue: its topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lite_of: Option<String>,
    /// Of a million messages, so many are traced; missing where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_sample: Option<u32>,
    /// Milliseconds for which the topic remembers messages by their deduplication keys; missing where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deduplication_window_ms: Option<u64>,
}

/// What a full topic does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OverflowName {
    /// It takes what is published, and gives up the oldest messages.
    DropHead,
    /// It refuses what is published.
    RejectPublish,
    /// It refuses what is published, and sends it to the dead letters.
    RejectPublishDlx,
}

/// A topic, or an exchange with a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterTarget {
    /// Name of the topic; made when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Name of the exchange. What it leads nowhere is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// Routing key; without it, that of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// When messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetentionName {
    /// When the group that has the topic's name has settled them, as in an AMQP queue.
    UntilSettled,
    /// By the age and size of the log, whoever has read them.
    TimeSize,
    /// When a newer one has the same keys, whoever has read them. Each message needs a key; one without a body goes itself
    /// after a time.
    Compacted,
}

/// How long a topic that is made over REST lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LifetimeRequest {
    /// Until it is deleted.
    Durable,
    /// Until the broker stops; its messages wait for no disk.
    Transient,
}

/// How long a topic lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LifetimeName {
    /// Until it is deleted.
    Durable,
    /// Until the broker stops; its messages wait for no disk.
    Transient,
    /// As long as the AMQP connection that made it.
    Session,
}

/// A topic.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "topic": "orders", "queues": 2, "retention": "time_size", "durability": "memory", "lifetime": "durable",
    "readable": true, "writable": true, "messages": 18, "attributes": {},
    "queue_offsets": [{"queue": 0, "min": 0, "max": 10}, {"queue": 1, "min": 0, "max": 8}],
}))]
pub(crate) struct TopicView {
    #[serde(flatten)]
    pub summary: TopicSummary,
    pub readable: bool,
    pub writable: bool,
    #[serde(flatten)]
    pub policy: TopicPolicy,
    /// What a protocol remembers about how it made the topic.
    pub attributes: BTreeMap<String, String>,
    pub queue_offsets: Vec<QueueOffsets>,
}

/// The main facts of a topic.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicSummary {
    pub topic: String,
    /// Number of queues.
    pub queues: u32,
    pub retention: RetentionName,
    pub durability: DurabilityName,
    pub lifetime: LifetimeName,
    /// Messages in all queues.
    pub messages: u64,
}

/// The bounds of a queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueOffsets {
    /// Number within the topic, from 0.
    pub queue: u32,
    /// First offset that is still there.
    pub min: u64,
    /// Offset behind the last message.
    pub max: u64,
}

/// Topics, sorted by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicList {
    pub topics: Vec<TopicSummary>,
    /// Name to pass as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Light queues of a topic, sorted by name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"lite": [
    {"name": "device-1", "topic": "%LMQ%device-1", "messages": 18, "min": 0, "max": 18},
]}))]
pub(crate) struct LiteList {
    pub lite: Vec<LiteSummary>,
    /// Name to pass as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A light queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiteSummary {
    pub name: String,
    /// Name of the topic that it is, with one queue: to be read and consumed as any other.
    pub topic: String,
    pub messages: u64,
    /// First offset that is still there.
    pub min: u64,
    /// Offset behind the last message.
    pub max: u64,
}

/// Which part of a list to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Show names behind this one; `next` of the page before.
    pub after: Option<String>,
    /// Most items to show, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    pub max: Option<usize>,
}

/// Conditions of a delete.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Only if nobody consumes it.
    #[serde(default)]
    #[param(default = false)]
    pub if_unused: bool,
    /// Only if it holds nothing that its default group could still get.
    #[serde(default)]
    #[param(default = false)]
    pub if_empty: bool,
}

/// What a delete took with it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicDeleted {
    /// Messages that could still have been consumed.
    pub messages: u64,
}
