//! Topics, and how durable what is published to them is.

use std::collections::BTreeMap;
use std::sync::Arc;

use mailrail_broker::{
    DeadLetter, Durability, Lifetime, Overflow, Policy, Queue, Retention, Topic, TopicSettings, lite,
};

use crate::schema::publish::DurabilityName;
use crate::schema::topic::{
    DeadLetterTarget, LifetimeName, OverflowName, QueueOffsets, RetentionName, TopicPolicy, TopicSummary,
    TopicView,
};

pub(crate) fn durability_name(durability: Durability) -> DurabilityName {
    match durability {
        Durability::Memory => DurabilityName::Memory,
        Durability::Disk => DurabilityName::Disk,
    }
}

/// How durable a publish is in the end: what was asked, at least what the topic demands, and nothing for a topic that
/// does not outlive the broker.
pub(crate) fn effective(settings: &TopicSettings, asked: Durability) -> DurabilityName {
    durability_name(match settings.lifetime {
        Lifetime::Durable => settings.durability.max(asked),
        Lifetime::Transient | Lifetime::Session => Durability::Memory,
    })
}

pub(crate) fn topic_summary(topic: &Topic) -> TopicSummary {
    let settings = topic.settings();
    let retained = |queue: &Arc<Queue>| queue.messages();
    TopicSummary {
        topic: topic.name.to_string(),
        queues: settings.queues,
        retention: match settings.retention {
            Retention::UntilSettled => RetentionName::UntilSettled,
            Retention::TimeSize => RetentionName::TimeSize,
            Retention::Compacted => RetentionName::Compacted,
        },
        durability: durability_name(settings.durability),
        lifetime: match settings.lifetime {
            Lifetime::Durable => LifetimeName::Durable,
            Lifetime::Transient => LifetimeName::Transient,
            Lifetime::Session => LifetimeName::Session,
        },
        messages: topic.queues().iter().map(retained).sum(),
    }
}

pub(crate) fn topic_view(topic: &Topic) -> TopicView {
    let settings = topic.settings();
    let offsets = |queue: &Arc<Queue>| QueueOffsets {
        queue: queue.index,
        min: queue.min_offset(),
        max: queue.end_offset(),
    };
    TopicView {
        summary: topic_summary(topic),
        readable: settings.readable,
        writable: settings.writable,
        policy: topic_policy(&settings),
        attributes: other_attributes(&settings),
        queue_offsets: topic.queues().iter().map(offsets).collect(),
    }
}

fn topic_policy(settings: &TopicSettings) -> TopicPolicy {
    let policy = Policy::of(settings).unwrap_or_default();
    let is_compacted = settings.retention == Retention::Compacted;
    let overflow = policy.is_limited().then_some(match policy.overflow {
        Overflow::DropHead => OverflowName::DropHead,
        Overflow::Reject => OverflowName::RejectPublish,
        Overflow::RejectToDeadLetter => OverflowName::RejectPublishDlx,
    });
    let target = |to| match to {
        DeadLetter::Topic(topic) => DeadLetterTarget { topic: Some(topic), exchange: None, key: None },
        DeadLetter::Exchange { exchange, key } => {
            DeadLetterTarget { topic: None, exchange: Some(exchange), key }
        }
    };
    TopicPolicy {
        message_ttl_ms: policy.message_ttl_ms,
        expires_ms: policy.expires_ms,
        length_max: policy.length_max,
        length_bytes_max: policy.length_bytes_max,
        overflow,
        dead_letter: policy.dead_letter.map(target),
        priority_max: Some(policy.priority_max).filter(|max| *max > 0),
        compaction_lag_ms: Some(policy.compaction_lag_ms).filter(|_| is_compacted),
        tombstone_ms: Some(policy.tombstone_ms).filter(|_| is_compacted),
        lite_expires_ms: policy.lite_expires_ms,
        lite_of: settings.attributes.get(lite::LITE_OF).cloned(),
        trace_sample: Some(policy.trace_sample).filter(|sample| *sample > 0),
        deduplication_window_ms: policy.deduplication_window_ms,
    }
}

/// What has no field of its own.
fn other_attributes(settings: &TopicSettings) -> BTreeMap<String, String> {
    let others = settings.attributes.iter().filter(|(name, _)| !Policy::ATTRIBUTES.contains(&name.as_str()));
    others.map(|(name, value)| (name.clone(), value.clone())).collect()
}
