//! Counts as documents.

use mailrail_broker::{
    BrokerStatistics, Client, Count, GroupStatistics, QueueStatistics, TopicStatistics, Traffic,
};

use crate::instant::WallTime;
use crate::schema::group::GroupSummary;
use crate::schema::statistics::*;

fn count(count: Count) -> CountView {
    let rates = count.per_second;
    let per_second = RatesView { minute: rates.minute, ten_minutes: rates.ten_minutes, hour: rates.hour };
    CountView { total: count.total, per_second }
}

fn traffic(traffic: Traffic) -> TrafficView {
    TrafficView { messages: count(traffic.messages), bytes: count(traffic.bytes) }
}

fn flow(all: QueueStatistics) -> FlowView {
    FlowView { received: traffic(all.received), read: traffic(all.read), leased: traffic(all.leased) }
}

pub(crate) fn broker_view(counts: &BrokerStatistics) -> BrokerStatisticsView {
    BrokerStatisticsView {
        since: WallTime(counts.since_ms),
        all: flow(counts.all),
        refused: count(counts.refused),
    }
}

pub(crate) fn topic_view(topic: &str, counts: &TopicStatistics) -> TopicStatisticsView {
    let queues = (0u32..).zip(&counts.queues);
    TopicStatisticsView {
        topic: topic.to_owned(),
        all: flow(counts.all),
        refused: count(counts.refused),
        queues: queues.map(|(queue, all)| QueueStatisticsView { queue, all: flow(*all) }).collect(),
    }
}

pub(crate) fn group_view(summary: GroupSummary, counts: GroupStatistics) -> GroupStatisticsView {
    GroupStatisticsView {
        summary,
        handed_out: count(counts.handed_out),
        redelivered: count(counts.redelivered),
        settled: count(counts.settled),
        retried: count(counts.retried),
        given_up: count(counts.given_up),
    }
}

pub(crate) fn connection_view(client: &Client, (received, sent): (Traffic, Traffic)) -> ConnectionView {
    ConnectionView {
        number: client.number,
        protocol: client.protocol.to_owned(),
        address: client.address.to_string(),
        connected_at: WallTime(client.connected_ms),
        user: client.user().map(|user| user.to_string()),
        name: client.name(),
        received: traffic(received),
        sent: traffic(sent),
    }
}
