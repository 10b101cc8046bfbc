//! Finding messages by key.

use axum::response::Response;
use mailrail_broker::limits::READ_BYTES_MAX;
use mailrail_broker::{Error, FindRequest};

use super::{page_messages, topic_of};
use crate::from_wire::time;
use crate::limits::*;
use crate::problem::{Refusal, refusals};
use crate::reply::{json_document, render};
use crate::request::QueryOf;
use crate::room::Room;
use crate::schema::message::{FindQuery, FoundMessages};
use crate::state::Caller;
use crate::to_wire::{Place, message, open};

refusals! {
    NotFoundByKey: [
        InvalidRequest, Unauthenticated, LimitExceeded, Forbidden, AccessDenied, TopicNotFound, Internal, Overloaded, Stopping, ReadOnly, NoAnswer,
    ];
}

/// Finds messages of a topic by key.
///
/// The newest come first. Every key that a producer set is found, and the id that its client gave the message, as long as
/// the message is kept. Fewer than `max` may come although there are more, where they are large; go on with `until`.
#[utoipa::path(
    get, path = "/v1/messages", operation_id = "findMessages", tag = "messages",
    params(FindQuery),
    responses((status = 200, body = FoundMessages, description = "What was found, maybe nothing"), NotFoundByKey),
)]
pub(crate) async fn find_messages(
    Caller(state): Caller,
    QueryOf(query): QueryOf<FindQuery>,
) -> Result<Response, Refusal> {
    let max = page_messages(query.max.unwrap_or(PAGE_MESSAGES_DEFAULT))?;
    if query.key.is_empty() {
        return Err(Refusal::invalid("key is empty"));
    }
    let instant = |text: &Option<String>| text.as_deref().map(|at| time(&at.replace(' ', "+"))).transpose();
    let (since, until) = (instant(&query.since)?, instant(&query.until)?);
    let topic = topic_of(&state, &query.topic)?;
    if !topic.settings().readable {
        return Err(Error::NotReadable(query.topic).into());
    }
    let request = FindRequest {
        topic,
        key: query.key,
        from_ms: since.map_or(0, |since| since.0),
        to_ms: until.map_or(u64::MAX, |until| until.0),
        max: usize::try_from(max).unwrap_or(usize::MAX),
        max_bytes: READ_BYTES_MAX.min(state.answers().available_permits() / 2),
    };
    let mut line = state.line();
    let turn = state.read_turn().await?;
    let found = line.find(request).await?;
    state.keep(line);
    let room = Room::claim(state.answers(), found.iter().map(|found| found.entry.message.len()).sum())?;
    drop(turn);
    let host = state.config().advertised;
    let stored: Vec<_> = found.iter().map(|found| found.entry.message.clone()).collect();
    let document = render(stored.iter(), move || {
        let opened = open(found.iter().map(|found| &found.entry.message));
        let messages = found.iter().zip(&opened).filter_map(|(found, opened)| {
            let (queue, offset) = (found.queue.index, found.entry.offset);
            let place = Place { topic: &query.topic, queue, offset, host };
            Some(message(opened.as_ref()?, place))
        });
        room.write(&FoundMessages { messages: messages.collect() })
    });
    Ok(json_document(document.await?))
}
