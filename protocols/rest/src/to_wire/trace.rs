//! Steps of messages as documents.

use std::net::SocketAddr;

use mailrail_broker::{TraceActor, TraceRecord};

use super::MessageId;
use crate::instant::WallTime;
use crate::schema::trace::{TraceClient, TraceEvent};

/// `host` is the address that message ids have.
pub(crate) fn trace_event(record: TraceRecord, host: SocketAddr) -> TraceEvent {
    let by = |TraceActor { user, protocol, address, client }| TraceClient {
        user,
        protocol,
        address,
        name: client,
    };
    TraceEvent {
        stage: record.stage.name().to_owned(),
        at: WallTime(record.at_ms),
        id: MessageId::new(host, record.position),
        topic: record.topic.to_string(),
        queue: record.queue,
        offset: record.offset,
        group: record.group.map(|group| group.to_string()),
        attempt: record.attempt,
        how: record.how,
        copy_id: record.copy.map(|copy| MessageId::new(host, copy)),
        to: record.to,
        by: record.by.map(by),
    }
}
