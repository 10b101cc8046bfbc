//! Reading by offset and by message id: moves no group's position.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use mailrail_broker::limits::{READ_BYTES_MAX, RECEIVE_WAIT_MS_MAX};
use mailrail_broker::{Error, Filter, Queue, ReadBatch, ReadRequest};
use mailrail_message::OffsetId;
use tokio::time::Instant;

use super::{page_messages, topic_of};
use crate::ask::Line;
use crate::from_wire::{self, Start};
use crate::limits::*;
use crate::problem::{Kind, Refusal, refusals};
use crate::reply::{json_document, render};
use crate::request::{PathOf, QueryOf};
use crate::room::Room;
use crate::schema::message::{Message, MessagePage, ReadQuery};
use crate::state::{Caller, RestState};
use crate::to_wire::{Messages, Place, message, open, open_one};

refusals! {
    NotRead: [
        InvalidRequest, Unauthenticated, LimitExceeded, Forbidden, AccessDenied, TopicNotFound, QueueNotFound, Internal, Overloaded, Stopping,
        ReadOnly, NoAnswer,
    ];
    NoMessage: [InvalidRequest, Unauthenticated, AccessDenied, MessageNotFound, Internal, Overloaded, Stopping, ReadOnly, NoAnswer];
}

/// Reads messages of a queue by offset or time.
///
/// Pass `next` of the answer as `from` to go on. What `from` names may be gone: the page then starts at the first
/// message that is still there.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/queues/{queue}/messages", operation_id = "readMessages", tag = "messages",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("queue" = u32, Path, description = "Number of the queue, from 0"),
        ReadQuery,
    ),
    responses((status = 200, body = MessagePage, description = "One page, maybe empty"), NotRead),
)]
pub(crate) async fn read_messages(
    Caller(state): Caller,
    PathOf((name, number)): PathOf<(String, u32)>,
    QueryOf(query): QueryOf<ReadQuery>,
) -> Result<Response, Refusal> {
    let max = page_messages(query.max.unwrap_or(PAGE_MESSAGES_DEFAULT))?;
    if query.wait_ms > RECEIVE_WAIT_MS_MAX {
        let (what, value) = ("milliseconds of waiting", query.wait_ms);
        return Err(Error::Limit { what, value, max: RECEIVE_WAIT_MS_MAX }.into());
    }
    let start = Start::parse(&query.from)?;
    let filter = from_wire::filter(query.tag.as_deref(), query.sql.as_deref())?;
    let topic = topic_of(&state, &name)?;
    if !topic.settings().readable {
        return Err(Error::NotReadable(name).into());
    }
    let queues = u32::try_from(topic.queues().len()).unwrap_or(u32::MAX);
    let missing = || Error::NoQueue { topic: name.clone(), index: number, queues };
    let queue = topic.queue(number).ok_or_else(missing)?;
    let mut line = state.line();
    let offset = first_offset(&mut line, &queue, start).await?;
    let reader = Reader { queue, max, filter };
    let wait = Duration::from_millis(query.wait_ms);
    let (batch, room) = reader.page(&state, &mut line, offset, wait).await?;
    if reader.queue.is_gone() {
        return Err(Refusal::no_topic(&name));
    }
    state.keep(line);
    let host = state.config().advertised;
    let stored: Vec<_> = batch.entries.iter().map(|entry| entry.message.clone()).collect();
    let document = render(stored.iter(), move || {
        let opened = open(batch.entries.iter().map(|entry| &entry.message));
        // What did not fit is where the next page starts.
        let next_offset = batch.entries.get(opened.len()).map_or(batch.next_offset, |cut| cut.offset);
        room.write(&MessagePage {
            messages: Messages {
                topic: &name,
                queue: number,
                host,
                entries: &batch.entries,
                opened: &opened,
            },
            next: &format!("offset:{next_offset}"),
            min: batch.min_offset,
            max: batch.end_offset,
        })
    });
    Ok(json_document(document.await?))
}

/// The offset that a start stands for in one queue.
pub(super) async fn first_offset(line: &mut Line, queue: &Arc<Queue>, start: Start) -> Result<u64, Refusal> {
    match start {
        Start::Earliest => Ok(queue.min_offset()),
        Start::Latest => Ok(queue.end_offset()),
        Start::Offset(offset) => Ok(offset),
        Start::TimeMs(time_ms) => line.offset_at(queue, time_ms).await,
    }
}

fn has_more(batch: &ReadBatch) -> bool {
    batch.next_offset < batch.end_offset
}

/// Whether a request answers with what its last read brought, of so many.
fn is_enough(batch: &ReadBatch, reads: u32) -> bool {
    !batch.entries.is_empty() || (has_more(batch) && reads >= FILTER_READS_MAX)
}

struct Reader {
    queue: Arc<Queue>,
    max: u32,
    filter: Filter,
}

impl Reader {
    /// Reads until something is let through, the time is over, or enough was looked at.
    async fn page(
        &self,
        state: &RestState,
        line: &mut Line,
        mut offset: u64,
        wait: Duration,
    ) -> Result<(ReadBatch, Room), Refusal> {
        let deadline = Instant::now() + wait;
        let mut reads = 0;
        loop {
            let (batch, room) = self.read(state, line, offset).await?;
            reads += 1;
            if is_enough(&batch, reads) {
                return Ok((batch, room));
            }
            offset = batch.next_offset;
            if has_more(&batch) {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.is_stopping() || self.queue.is_gone() {
                return Ok((batch, room));
            }
            tokio::select! {
                () = line.wait_readable(&self.queue, offset, left) => {}
                () = state.stopped() => {}
            }
        }
    }

    /// Reads once, and claims room for what was found.
    async fn read(
        &self,
        state: &RestState,
        line: &mut Line,
        offset: u64,
    ) -> Result<(ReadBatch, Room), Refusal> {
        let _turn = state.read_turn().await?;
        // Where answers are many, pages are short; half of the room is for what JSON adds.
        let max_bytes = READ_BYTES_MAX.min(state.answers().available_permits() / 2);
        let request = ReadRequest {
            queue: self.queue.clone(),
            offset,
            max_entries: usize::try_from(self.max).unwrap_or(usize::MAX),
            max_bytes,
            filter: self.filter.clone(),
        };
        let batch = line.read(request).await?;
        let bytes = batch.entries.iter().map(|entry| entry.message.len()).sum();
        Ok((batch, Room::claim(state.answers(), bytes)?))
    }
}

/// Reads one message by its id.
///
/// The id is that of a publish or of another read. It stays valid as long as the message is kept.
#[utoipa::path(
    get, path = "/v1/messages/{id}", operation_id = "getMessage", tag = "messages",
    params((
        "id" = String, Path, description = "The message's id", example = "7F000001000026940000000000001A40",
    )),
    responses((status = 200, body = Message, description = "The message"), NoMessage),
)]
pub(crate) async fn get_message(
    Caller(state): Caller,
    PathOf(text): PathOf<String>,
) -> Result<Response, Refusal> {
    let id: OffsetId = text.parse().map_err(|error| Refusal::invalid(format!("{text:?}: {error}")))?;
    let none = || Refusal::new(Kind::MessageNotFound, format!("no message has the id {text}"));
    let mut line = state.line();
    let turn = state.read_turn().await?;
    let batch = line.read_position(id.position).await?;
    state.keep(line);
    let entry = batch.entries.first().ok_or_else(none)?;
    let room = Room::claim(state.answers(), entry.message.len())?;
    drop(turn);
    let opened = open_one(&entry.message).ok_or_else(none)?;
    let stored = opened.stored();
    let host = state.config().advertised;
    // The same position on another broker is another message.
    if id.host != host && id.host != stored.store_host() {
        return Err(none());
    }
    let place =
        Place { topic: stored.topic(), queue: stored.queue_index(), offset: stored.queue_offset(), host };
    Ok(json_document(room.write(&message(&opened, place))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_finds_nothing_reads_so_often_and_waits_only_at_the_end() {
        let passed_to =
            |next_offset| ReadBatch { entries: Vec::new(), next_offset, min_offset: 0, end_offset: 9 };
        assert!(!is_enough(&passed_to(8), FILTER_READS_MAX - 1));
        assert!(is_enough(&passed_to(8), FILTER_READS_MAX));
        assert!(!is_enough(&passed_to(9), FILTER_READS_MAX + 1), "there is nothing more to look at");
    }
}
