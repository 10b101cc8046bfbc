//! What became of a message.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use mailrail_broker::{Action, FindRequest, Resource, TRACE_TOPIC, Topic, TraceRecord, trace_key};
use mailrail_message::{OffsetId, StoredMessage};

use crate::ask::Line;
use crate::limits::*;
use crate::problem::{Refusal, refusals};
use crate::reply::{json_document, render};
use crate::request::PathOf;
use crate::room::Room;
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
    let turn = state.read_turn().await?;
    let mut steps = Vec::new();
    if let Some(topic) = state.broker().directory().topic(TRACE_TOPIC) {
        steps = all_steps(&state, &topic, id.position).await?;
    }
    let room = Room::claim(state.answers(), steps.iter().map(|(stored, _)| stored.len()).sum())?;
    drop(turn);
    if let Some((_, hidden)) = steps.first().filter(|_| !steps.iter().any(|(_, step)| is_shown(&state, step)))
    {
        state.check(Action::Describe, Resource::topic(&hidden.topic))?;
    }
    steps.retain(|(_, step)| is_shown(&state, step));
    let (stored, steps): (Vec<Bytes>, Vec<TraceRecord>) = steps.into_iter().unzip();
    let document = render(stored.iter(), move || {
        let events = steps.into_iter().map(|step| trace_event(step, host)).collect();
        room.write(&MessageTrace { id: MessageId::new(host, id.position), events })
    });
    Ok(json_document(document.await?))
}

/// Whoever may see a topic may see what became of its messages.
fn is_shown(state: &RestState, step: &TraceRecord) -> bool {
    state.shows(Resource::topic(&step.topic))
}

/// The steps of a message and of its copies, or of what it is a copy of, each with the message that it is stored as.
async fn all_steps(
    state: &RestState,
    topic: &Arc<Topic>,
    position: u64,
) -> Result<Vec<(Bytes, TraceRecord)>, Refusal> {
    // What is shown is decided by the topics that steps are about.
    let session = state.broker().connect_for_tidying();
    let mut line = Line::new(session, state.config().answer_ms_max);
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
            max_bytes: STEPS_BYTES.min(state.answers().available_permits() / 2),
        };
        for found in line.find(request).await? {
            let stored = StoredMessage::parse(&found.entry.message).ok();
            let step = stored.as_ref().and_then(TraceRecord::read);
            // A step is found by the id that its producer gave its message as well, which may be any.
            let is_about = |step: &TraceRecord| step.position == position || step.copy == Some(position);
            let Some(step) = step.filter(is_about) else { continue };
            for linked in std::iter::once(step.position).chain(step.copy) {
                if !known.contains(&linked) && known.len() <= TRACED_COPIES_MAX {
                    known.push(linked);
                }
            }
            // In the order in which they were written.
            steps.insert((found.queue.index, found.entry.offset), (found.entry.message, step));
        }
    }
    Ok(steps.into_values().collect())
}
