//! What was counted: totals since the broker started, and rates.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::group::GroupSummary;
use crate::instant::WallTime;

/// A count since the broker started, and how fast it grew.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"total": 1200, "per_second": {"minute": 20.0, "ten_minutes": 2.0, "hour": 0.33}}))]
pub(crate) struct CountView {
    pub total: u64,
    pub per_second: RatesView,
}

/// Growth per second. A time ends now, and is longer by up to a sixth.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RatesView {
    pub minute: f64,
    pub ten_minutes: f64,
    pub hour: f64,
}

/// Messages, and their bytes as they are stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrafficView {
    pub messages: CountView,
    pub bytes: CountView,
}

/// What went through.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FlowView {
    /// Stored; a message that went to several queues counts in each.
    pub received: TrafficView,
    /// Read by offset.
    pub read: TrafficView,
    /// Handed out by lease.
    pub leased: TrafficView,
}

/// What went through the broker since it started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BrokerStatisticsView {
    /// When counting began.
    #[schema(value_type = String, format = DateTime)]
    pub since: WallTime,
    #[serde(flatten)]
    pub all: FlowView,
    /// Messages that were not taken: by a full topic, for want of permission, of a route or of room.
    pub refused: CountView,
}

/// What went through a topic since the broker started or the topic was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopicStatisticsView {
    pub topic: String,
    #[serde(flatten)]
    pub all: FlowView,
    /// Messages that were sent to the topic and not taken.
    pub refused: CountView,
    pub queues: Vec<QueueStatisticsView>,
}

/// What went through a queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueStatisticsView {
    pub queue: u32,
    #[serde(flatten)]
    pub all: FlowView,
}

/// What a group did on a topic since the broker started, and what it still has to do. Of reads by offset the broker does
/// not know which group they are for; what it commits is settled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupStatisticsView {
    #[serde(flatten)]
    pub summary: GroupSummary,
    /// By lease, the same message each time.
    pub handed_out: CountView,
    /// Of them, those that had failed before.
    pub redelivered: CountView,
    /// Acknowledged, handed out without need of that, or passed by a commit; with the first commit on a queue a group
    /// only begins there.
    pub settled: CountView,
    /// Put back after a failed attempt.
    pub retried: CountView,
    /// Given up: to the dead letter, or dropped where there is none.
    pub given_up: CountView,
}

/// A client that is connected.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionView {
    /// Later connections have higher numbers, until the broker stops.
    pub number: u64,
    /// `remoting`, `amqp` or `http`.
    pub protocol: String,
    #[schema(example = "192.0.2.7:51234")]
    pub address: String,
    #[schema(value_type = String, format = DateTime)]
    pub connected_at: WallTime,
    /// Who it acts for; missing where nobody has logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it calls itself: an AMQP connection name, a RocketMQ client id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it has published.
    pub received: TrafficView,
    /// What it has got.
    pub sent: TrafficView,
}

/// Clients that are connected, the longest there first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionList {
    pub connections: Vec<ConnectionView>,
    /// Number to pass as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Which part of the list of connections to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConnectionsQuery {
    /// Show those behind this number; `next` of the page before.
    pub after: Option<u64>,
    /// Most items to show, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    pub max: Option<usize>,
}
