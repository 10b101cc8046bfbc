//! What became of a message, step by step.

use serde::Serialize;
use utoipa::ToSchema;

use crate::instant::WallTime;
use crate::to_wire::MessageId;

/// The steps of a message, and of the copies that took its place, in order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageTrace {
    #[schema(value_type = String)]
    pub id: MessageId,
    /// None where the message is not traced, or its trace is no more.
    pub events: Vec<TraceEvent>,
}

/// One step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "stage": "settled", "at": "2026-11-22T08:29:04.548Z", "id": "7F000001000026940000000000001A40", "topic": "orders",
    "queue": 2, "offset": 17, "group": "billing", "how": "ack", "by": {"user": "ann", "protocol": "amqp"},
}))]
pub(crate) struct TraceEvent {
    /// `stored`, `dispatched` (its time has come), `committed`, `rolled_back`, `recalled`, `handed_out` (by lease), `read` (by
    /// offset), `settled`, `given_up` or `dead_lettered`.
    pub stage: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: WallTime,
    /// Of the message that it happened to.
    #[schema(value_type = String)]
    pub id: MessageId,
    pub topic: String,
    /// Missing where it is in no queue yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Which delivery it was, from 1 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How it was settled: `ack`, `retry`, `reject`, `release`, `lease_expired`, `owner_gone`, `no_ack`, `commit` or
    /// `filtered` (unseen, by the group's filter). Why it was given up: `rejected`, `expired`, `maxlen`, `delivery_limit` or `undecided`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    /// The message that took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub copy_id: Option<MessageId>,
    /// The topic that one is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who did it; missing where time did, or the broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<TraceClient>,
}

/// A client, as far as it is known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TraceClient {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
