//! Groups: settings, position, receiving and settling.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::{Text, list, nullable, some_list};
use crate::limits::*;
use crate::problem::ItemProblem;

/// Settings of a group. What is missing keeps its value, or gets its default when the group is made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"max_attempts": 3, "backoff_ms": [1000, 10000]}))]
pub(crate) struct GroupRequest {
    /// Deliveries of one message in all, the first included, before it is given up; null = no end. 17 by default.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub max_attempts: Option<Option<u32>>,
    /// Milliseconds to wait after the first failed attempt, the second, and so on; the last repeats.
    #[serde(default, deserialize_with = "some_list::<_, _, BACKOFF_STEPS_MAX>")]
    #[schema(value_type = Vec<u64>, required = false, max_items = 64)]
    pub backoff_ms: Option<Vec<u64>>,
    /// Topic for messages that are given up; null = they are dropped. `%DLQ%` and the group's name by default.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub dead_letter: Option<Option<String>>,
    /// How strict the order is in which messages are received; `any` by default.
    pub order: Option<OrderName>,
    /// One consumer that holds a connection open gets all messages until it leaves, and receives get none meanwhile; false
    /// by default.
    pub single_active: Option<bool>,
}

/// How strict the order is in which a group receives the messages of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrderName {
    /// Others go on while some are leased, or wait to be handed out again.
    Any,
    /// One batch at a time: while any message of a queue is leased or waits for another attempt, nothing behind it is
    /// handed out.
    Queue,
    /// The same for all messages of a queue that have one `ordering_key`, and for those that have none.
    OrderingKey,
}

/// A group on one topic.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "topic": "orders", "group": "billing", "lag": 3, "ready": 2, "leased": 1, "consumers": 0,
    "max_attempts": 17, "backoff_ms": [10000, 30000], "dead_letter": "%DLQ%billing", "order": "any",
    "single_active": false,
    "queues": [{"queue": 0, "min": 0, "max": 10, "committed": 7, "lag": 3}],
}))]
pub(crate) struct GroupView {
    #[serde(flatten)]
    pub summary: GroupSummary,
    /// Deliveries of one message in all, the first included; null = no end.
    pub max_attempts: Option<u32>,
    pub backoff_ms: Vec<u64>,
    /// Topic for messages that are given up; null = they are dropped.
    pub dead_letter: Option<String>,
    pub order: OrderName,
    /// Whether one consumer that holds a connection open gets all messages until it leaves.
    pub single_active: bool,
    pub queues: Vec<GroupQueue>,
}

/// How far a group is on a topic.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupSummary {
    pub topic: String,
    pub group: String,
    /// Messages that it has not settled.
    pub lag: u64,
    /// Messages that could be handed out now or after their backoff.
    pub ready: u64,
    /// Messages handed out and not settled.
    pub leased: u64,
    /// Consumers that hold a connection open; REST receivers are not counted.
    pub consumers: u32,
}

/// How far a group is on one queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupQueue {
    pub queue: u32,
    /// First offset that the queue still has.
    pub min: u64,
    /// Offset behind the queue's last message.
    pub max: u64,
    /// Everything below is settled.
    pub committed: u64,
    pub lag: u64,
}

/// Groups that have a position on a topic, sorted by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupList {
    pub groups: Vec<GroupSummary>,
    /// Name to pass as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a receive asks for. An empty body means the defaults.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"max": 16, "wait_ms": 5000, "lease_ms": 30000}))]
pub(crate) struct ReceiveRequest {
    /// Most messages to lease, 1 to 1000. Fewer may come although there are more.
    #[serde(default = "receive_messages")]
    #[schema(default = 16, minimum = 1, maximum = 1000)]
    pub max: u32,
    /// Milliseconds to wait for a first message, up to 60000.
    #[serde(default)]
    #[schema(default = 0, maximum = 60000)]
    pub wait_ms: u64,
    /// Milliseconds after which what is not settled counts as failed and is handed out again; up to 12 hours.
    #[serde(default = "lease_ms")]
    #[schema(default = 30000, minimum = 1, maximum = 43200000)]
    pub lease_ms: u64,
    /// Tags that the group wants, separated by `||`. What has none of them is settled for the group and received by none of
    /// its members, so that all of them must name the same: another filter, or none, is refused with `differs` while the
    /// group consumes the topic and for a minute after. Not for the group of the topic's name where messages go when that
    /// has settled them.
    #[serde(default)]
    #[schema(example = "created||paid")]
    pub tag: Option<String>,
    /// An expression over properties that must be true as well, such as `amount > 100 AND region IN ('eu', 'us')`.
    #[serde(default)]
    pub sql: Option<String>,
}

fn receive_messages() -> u32 {
    RECEIVE_MESSAGES_DEFAULT
}

fn lease_ms() -> u64 {
    LEASE_MS_DEFAULT
}

/// How leases end. At most 1000 receipts in all lists together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettleRequest<'a> {
    /// Done with these.
    #[serde(borrow, default, deserialize_with = "list::<_, _, RECEIPTS_MAX>")]
    #[schema(value_type = Vec<String>, max_items = 1000)]
    pub ack: Vec<Text<'a>>,
    /// Given up: to the group's dead letter topic, or dropped where it has none.
    #[serde(borrow, default, deserialize_with = "list::<_, _, RECEIPTS_MAX>")]
    #[schema(value_type = Vec<String>, max_items = 1000)]
    pub reject: Vec<Text<'a>>,
    /// Failed: back to their place with one attempt more, after the group's backoff, or to the dead letter topic when
    /// the attempts are used up.
    #[serde(borrow, default, deserialize_with = "list::<_, _, RECEIPTS_MAX>")]
    #[schema(value_type = Vec<String>, max_items = 1000)]
    pub requeue: Vec<Text<'a>>,
    /// Milliseconds to wait before what is requeued is handed out again, instead of the group's backoff.
    #[serde(default)]
    pub requeue_delay_ms: Option<u64>,
}

/// Leases to prolong.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExtendRequest<'a> {
    #[serde(borrow, deserialize_with = "list::<_, _, RECEIPTS_MAX>")]
    #[schema(value_type = Vec<String>, max_items = 1000, min_items = 1)]
    pub receipts: Vec<Text<'a>>,
    /// Milliseconds from now until the leases end; up to 12 hours.
    #[schema(minimum = 1, maximum = 43200000)]
    pub lease_ms: u64,
}

/// What became of the receipts of a settle or extend request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"done": 2, "failed": []}))]
pub(crate) struct SettleResponse {
    /// Receipts for which it was done.
    pub done: usize,
    /// The others, each with its place in the request (`ack`, then `reject`, then `requeue`) and the reason.
    pub failed: Vec<ItemProblem>,
}

/// Where to move a group. Either `to` or `time_ms`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"to": "earliest"}))]
pub(crate) struct SeekRequest {
    /// `earliest`, `latest`, `time:T` with T in RFC 3339, or `offset:N`, which needs `queue`.
    #[schema(example = "time:2026-11-22T08:00:00Z")]
    pub to: Option<String>,
    /// To the first messages stored at this time or later, in milliseconds of the Unix epoch.
    pub time_ms: Option<u64>,
    /// The queue that `offset:N` is about; the others stay.
    pub queue: Option<u32>,
}

/// Where a group stands after a seek.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeekResponse {
    pub queues: Vec<SeekQueue>,
}

/// Where a group stands on one queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeekQueue {
    pub queue: u32,
    /// Everything below counts as settled; null where the group never was.
    pub committed: Option<u64>,
}
