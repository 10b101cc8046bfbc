//! Groups, and how far they have got.

use std::sync::Arc;

use mailrail_broker::{Group, GroupQueueView, GroupView as CoreGroupView, Order, Queue, Topic};

use crate::schema::group::{GroupQueue, GroupSummary, GroupView, OrderName};

pub(crate) fn group_summary(topic: &Topic, group: &str, view: &CoreGroupView) -> GroupSummary {
    GroupSummary {
        topic: topic.name.to_string(),
        group: group.to_owned(),
        lag: view.queues.iter().map(|queue| queue.lag).sum(),
        ready: view.ready,
        leased: view.leased,
        consumers: view.consumers,
    }
}

pub(crate) fn group_view(topic: &Topic, group: &Group, view: &CoreGroupView) -> GroupView {
    let settings = group.settings();
    let min = |index| topic.queue(index).map_or(0, |queue: Arc<Queue>| queue.min_offset());
    let queue = |queue: &GroupQueueView| GroupQueue {
        queue: queue.queue_index,
        min: min(queue.queue_index),
        max: queue.end,
        committed: queue.committed,
        lag: queue.lag,
    };
    GroupView {
        summary: group_summary(topic, &group.name, view),
        // The core counts failures, which the last delivery adds one to.
        max_attempts: settings.attempts_max.map(|failures| failures.saturating_add(1)),
        backoff_ms: settings.backoff_ms.clone(),
        dead_letter: settings.dead_letter.clone(),
        order: match settings.turns.order {
            Order::Any => OrderName::Any,
            Order::Queue => OrderName::Queue,
            Order::Key => OrderName::OrderingKey,
        },
        single_active: settings.turns.single_active,
        queues: view.queues.iter().map(queue).collect(),
    }
}
