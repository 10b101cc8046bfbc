//! What became of a message.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use mailrail_broker::{Action, FindRequest, Resource, TRACE_TOPIC, Topic, TraceRecord, trace_key};
use mailrail_message::{OffsetId, StoredMessage};

use crate::ask::Line;
use crate::limits::*;
use crate::problem::{Refusal, refusals};
use crate::reply::json;
use crate::request::PathOf;
use crate::schema::trace::MessageTrace;
use crate::state::{Caller, RestState};
use crate::to_wire::MessageId;
use crate::to_wire::trace::trace_event;

/// Bytes of the steps of one message that are looked at.
const STEPS_BYTES: usize = 1024 * 1024;

refusals! {
    Untold: [InvalidRequest, Unauthenticated, AccessDenied, Internal, Overloaded, Stopping, ReadOnly, NoAnswer];
}

/// Shows what became of a message, step by step.
///
/// Of a topic with `trace_sample` so many of a million messages are traced: stored, handed out, settled, given up and so
/// on, with who did it, as long as retention keeps the trace. The steps of copies that took its place, when its time came,
/// it was committed or it became a dead letter, follow. Steps come a moment late, and are lost where more come than can
/// be written.
#[utoipa::path(
    get, path = "/v1/messages/{id}/trace", operation_id = "getMessageTrace", tag = "messages",
    params(("id" = String, Path, description = "Id of the message, as its receipt says")),
    responses((status = 200, body = MessageTrace, description = "The steps, maybe none"), Untold),
)]
pub(crate) async fn get_message_trace(
    Caller(state): Caller,
    PathOf(id): PathOf<String>,
) -> Result<Response, Refusal> {
    let id: OffsetId = id.parse().map_err(|error| Refusal::invalid(format!("{id:?}: {error}")))?;
    let host = state.config().advertised;
    let mut steps = Vec::new();
    if let Some(topic) = state.broker().directory().topic(TRACE_TOPIC) {
        steps = all_steps(&state, &topic, id.position).await?;
    }
    if let Some(hidden) = steps.first().filter(|_| !steps.iter().any(|step| is_shown(&state, step))) {
        state.check(Action::Describe, Resource::topic(&hidden.topic))?;
    }
    let shown = steps.into_iter().filter(|step| is_shown(&state, step));
    let events = shown.map(|step| trace_event(step, host)).collect();
    json(StatusCode::OK, &MessageTrace { id: MessageId::new(host, id.position), events })
}

/// Whoever may see a topic may see what became of its messages.
fn is_shown(state: &RestState, step: &TraceRecord) -> bool {
    state.shows(Resource::topic(&step.topic))
}

/// The steps of a message and of its copies, or of what it is a copy of.
async fn all_steps(
    state: &RestState,
    topic: &Arc<Topic>,
    position: u64,
) -> Result<Vec<TraceRecord>, Refusal> {
    // What is shown is decided by the topics that steps are about.
    let session = state.broker().connect_for_tidying();
    let mut line = Line::new(session, state.config().answer_ms_max);
    let _turn = state.read_turn().await?;
    let mut steps = BTreeMap::new();
    let mut known = vec![position];
    let mut next = 0;
    while let Some(position) = known.get(next).copied() {
        next += 1;
        let request = FindRequest {
            topic: topic.clone(),
            key: trace_key(position),
            from_ms: 0,
            to_ms: u64::MAX,
            max: usize::try_from(PAGE_MESSAGES_MAX).unwrap_or(usize::MAX),
            max_bytes: STEPS_BYTES,
        };
        for found in line.find(request).await? {
            let stored = StoredMessage::parse(&found.entry.message).ok();
            let Some(step) = stored.as_ref().and_then(TraceRecord::read) else { continue };
            for linked in std::iter::once(step.position).chain(step.copy) {
                if !known.contains(&linked) && known.len() <= TRACED_COPIES_MAX {
                    known.push(linked);
                }
            }
            // In the order in which they were written.
            steps.insert((found.queue.index, found.entry.offset), step);
        }
    }
    Ok(steps.into_values().collect())
}
