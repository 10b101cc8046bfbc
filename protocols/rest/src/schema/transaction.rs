//! Messages that wait for a decision, and messages that are stored together.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::publish::NewMessage;
use super::text::{Text, list};
use crate::instant::WallTime;
use crate::limits::*;
use crate::to_wire::MessageId;

/// A message that nobody sees before it is committed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"topic": "orders", "group": "billing", "message": {"body": "order 13"}}))]
pub(crate) struct TransactionRequest<'a> {
    /// Where the message goes when it is committed.
    #[serde(borrow)]
    #[schema(value_type = String, example = "orders")]
    pub topic: Text<'a>,
    /// Group of producers that decide on it. RocketMQ producers of this group are asked what becomes of it; whoever uses
    /// this API looks at what is open.
    #[serde(borrow)]
    #[schema(value_type = String, example = "billing")]
    pub group: Text<'a>,
    /// Milliseconds before producers are asked; 6,000 by default, at most 7 days.
    #[serde(default)]
    pub check_after_ms: Option<u64>,
    /// As in a publish, but that it can neither be delayed nor go to an exchange.
    #[serde(borrow)]
    pub message: NewMessage<'a>,
}

/// A transaction that was begun: its message is on disk, and nobody sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BegunTransaction {
    /// Names the transaction; the message gets another id when it is committed.
    #[schema(value_type = String, example = "7F000001000026940000000000001A40")]
    pub id: MessageId,
    /// True where the message was sent before, by its deduplication key or sequence: this is the transaction that it began
    /// then, which may have ended. Missing for any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<bool>,
}

/// What to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TransactionsQuery {
    /// Only those of this group of producers.
    pub group: Option<String>,
    /// Only those that began after the transaction with this id.
    pub after: Option<String>,
    /// At most so many: 1 to 1,000, 100 by default.
    pub max: Option<usize>,
}

/// Transactions that are open, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenTransactions {
    pub transactions: Vec<OpenTransaction>,
}

/// A transaction that is neither committed nor rolled back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OpenTransaction {
    #[schema(value_type = String, example = "7F000001000026940000000000001A40")]
    pub id: MessageId,
    /// Group of the producers that decide.
    pub group: String,
    /// How often they were asked.
    pub checks: u32,
    /// They are asked no earlier.
    #[schema(value_type = String, format = DateTime)]
    pub next_check_at: WallTime,
}

/// Messages to publish, each to a topic of its own: all are stored, or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"messages": [
    {"topic": "orders", "message": {"body": "order 13"}},
    {"topic": "invoices", "message": {"body": "invoice of order 13"}},
]}))]
pub(crate) struct TogetherRequest<'a> {
    #[serde(borrow, deserialize_with = "list::<_, _, PUBLISH_MESSAGES_MAX>")]
    #[schema(max_items = 1000, min_items = 1)]
    pub messages: Vec<TopicMessage<'a>>,
}

/// A message and the topic that it goes to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TopicMessage<'a> {
    #[serde(borrow)]
    #[schema(value_type = String, example = "orders")]
    pub topic: Text<'a>,
    #[serde(borrow)]
    pub message: NewMessage<'a>,
}
