//! A topic's messages as server-sent events: all queues in one stream, resumable, woken by the broker. Moves no group's
//! position.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use mailrail_broker::{
    Error, Event, Filter, Queue, ReadBatch, ReadEntry, ReadRequest, Session, Token, Topic,
};
use tokio::sync::OwnedSemaphorePermit;

use super::read::first_offset;
use super::topic_of;
use crate::from_wire::{self, Start};
use crate::limits::*;
use crate::problem::{Kind, Refusal, refusals};
use crate::reply::to_bytes;
use crate::request::{PathOf, QueryOf};
use crate::room::Room;
use crate::schema::message::EventsQuery;
use crate::state::{Caller, RestState};
use crate::to_wire::{Place, message, open_one};

/// Milliseconds after which a client that lost the stream should come back.
const RETRY_MS: u64 = 1_000;
const READ_ENTRIES: usize = 64;
/// Token of reads; waits have the number of their queue.
const READ: Token = Token(u64::MAX);

refusals! {
    NotStreamed: [
        InvalidRequest, Unauthenticated, LimitExceeded, Forbidden, AccessDenied, TopicNotFound, Internal, Overloaded, Stopping, ReadOnly, NoAnswer,
    ];
}

/// Streams messages of all queues as server-sent events.
///
/// Each event's data is a message as `getMessage` gives it, and its id is a cursor over all queues: a client that
/// comes back with `Last-Event-ID`, as browsers do by themselves, goes on behind the last event it saw. The order
/// within a queue is kept. Comments keep a quiet stream open. When the topic is deleted, or reading fails, an event
/// `end` with a problem document as its data closes the stream.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/events", operation_id = "streamEvents", tag = "messages",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event seen; wins over `from`"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "The stream",
         example = "id: 7-12.0\ndata: {\"id\":\"7F000001000026940000000000001A40\",\"topic\":\"orders\"}\n\n"),
        NotStreamed,
    ),
)]
pub(crate) async fn stream_events(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
    QueryOf(query): QueryOf<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let start = Start::parse(&query.from)?;
    let filter = from_wire::filter(query.tag.as_deref(), query.sql.as_deref())?;
    let topic = topic_of(&state, &name)?;
    if !topic.settings().readable {
        return Err(Error::NotReadable(name).into());
    }
    let full = |_| Refusal::new(Kind::Overloaded, "too many event streams are open; try again later");
    let permit = state.streams().clone().try_acquire_owned().map_err(full)?;
    let queues = topic.queues().to_vec();
    let cursor = match headers.get("last-event-id") {
        Some(id) => Cursor::parse(id.to_str().unwrap_or_default(), topic.id.0, &queues)?,
        None => Cursor::at(&state, topic.id.0, &queues, start).await?,
    };
    let stream = EventStream {
        session: state.session(),
        waiting: vec![false; queues.len()],
        filter,
        state,
        topic,
        queues,
        cursor,
        turn: 0,
        has_begun: false,
        is_ahead: false,
        has_ended: false,
        _permit: permit,
    };
    let turns = unfold(stream, |mut stream| async {
        let bytes = stream.next_turn().await?;
        Some((Ok::<Bytes, Infallible>(bytes), stream))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that buffer answers would hold events back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(turns)).into_response())
}

/// Where a stream stands: the next offset of each queue, under the number of the topic, which a topic made later under
/// the same name does not share.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    topic: u64,
    next: Vec<u64>,
}

impl Cursor {
    async fn at(
        state: &RestState,
        topic: u64,
        queues: &[Arc<Queue>],
        start: Start,
    ) -> Result<Cursor, Refusal> {
        if matches!(start, Start::Offset(_)) && queues.len() != 1 {
            let detail = format!("offset:N needs a topic of one queue; this one has {}", queues.len());
            return Err(Refusal::invalid(detail));
        }
        let mut line = state.line();
        let mut next = Vec::with_capacity(queues.len());
        for queue in queues {
            next.push(first_offset(&mut line, queue, start).await?);
        }
        state.keep(line);
        Ok(Cursor { topic, next })
    }

    /// Reads an event's id. One of an earlier topic of the name means that nothing of this one was seen, and so does an
    /// offset beyond a queue's end: the data behind it was wiped, and the number of the topic used again.
    fn parse(id: &str, topic: u64, queues: &[Arc<Queue>]) -> Result<Cursor, Refusal> {
        let wrong = || Refusal::invalid(format!("{id:?} is no event id of this API"));
        let (number, offsets) = id.split_once('-').ok_or_else(wrong)?;
        let number = u64::from_str_radix(number, 16).map_err(|_| wrong())?;
        let offsets: Result<Vec<u64>, _> =
            offsets.split('.').map(|offset| u64::from_str_radix(offset, 16)).collect();
        let seen = offsets.map_err(|_| wrong())?;
        let seen = if number == topic { seen } else { Vec::new() };
        let next = queues.iter().enumerate().map(|(at, queue)| {
            let known = seen.get(at).copied().filter(|offset| *offset <= queue.end_offset());
            known.unwrap_or_else(|| queue.min_offset())
        });
        Ok(Cursor { topic, next: next.collect() })
    }

    fn write(&self, out: &mut String) {
        let _ = write!(out, "id: {:x}", self.topic);
        for (at, next) in self.next.iter().enumerate() {
            let separator = if at == 0 { '-' } else { '.' };
            let _ = write!(out, "{separator}{next:x}");
        }
        out.push('\n');
    }
}

struct EventStream {
    state: RestState,
    session: Session,
    topic: Arc<Topic>,
    queues: Vec<Arc<Queue>>,
    cursor: Cursor,
    /// Queues that the broker will report.
    waiting: Vec<bool>,
    filter: Filter,
    /// Queue to look at first.
    turn: usize,
    has_begun: bool,
    /// The cursor has moved since the client was told.
    is_ahead: bool,
    has_ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl EventStream {
    /// The next bytes of the stream; `None` when it is over.
    async fn next_turn(&mut self) -> Option<Bytes> {
        if self.has_ended || self.state.is_stopping() {
            return None;
        }
        let mut out = String::new();
        if !self.has_begun {
            self.has_begun = true;
            let _ = writeln!(out, "retry: {RETRY_MS}");
            self.tell(&mut out);
            return Some(out.into());
        }
        loop {
            let looked = if self.topic.is_gone() {
                Err(Refusal::no_topic(&self.topic.name))
            } else {
                self.gather(&mut out).await
            };
            match looked {
                Err(refusal) => self.end(&mut out, refusal),
                Ok(_) if !out.is_empty() => {}
                Ok(true) => {
                    // A filter that lets nothing through must not keep a worker to itself.
                    tokio::task::yield_now().await;
                    continue;
                }
                Ok(false) => match self.wait().await {
                    Waited::Woken => continue,
                    Waited::Silence => self.break_silence(&mut out),
                    Waited::Stopped => return None,
                },
            }
            return Some(self.counted(out));
        }
    }

    /// The bytes of a turn. Where a long message finds no room among the answers, the stream ends, and the client comes
    /// back for the message: its cursor was not told.
    fn counted(&mut self, out: String) -> Bytes {
        if out.len() <= EVENT_TURN_UNCOUNTED_BYTES_MAX {
            return out.into();
        }
        let room = Room::claim(self.state.answers(), out.len());
        room.and_then(|room| room.hold(out.into_bytes())).unwrap_or_else(|refusal| {
            let mut end = String::new();
            self.end(&mut end, refusal);
            end.into()
        })
    }

    /// Appends what the queues have; true when any of them was read further.
    async fn gather(&mut self, out: &mut String) -> Result<bool, Refusal> {
        let count = self.queues.len();
        let mut has_moved = false;
        for step in 0..count {
            let at = (self.turn + step) % count;
            let (Some(queue), Some(offset)) =
                (self.queues.get(at).cloned(), self.cursor.next.get(at).copied())
            else {
                continue;
            };
            if queue.end_offset() <= offset {
                continue;
            }
            let batch = self.read(queue.clone(), offset).await?;
            has_moved = has_moved || batch.next_offset > offset;
            self.append(out, at, &queue, batch)?;
            if out.len() >= EVENT_TURN_BYTES_MAX {
                self.turn = (at + 1) % count;
                break;
            }
        }
        if !out.is_empty() && self.is_ahead {
            self.tell(out);
        }
        Ok(has_moved)
    }

    /// Appends a batch's messages, as far as the turn has room.
    fn append(
        &mut self,
        out: &mut String,
        at: usize,
        queue: &Queue,
        batch: ReadBatch,
    ) -> Result<(), Refusal> {
        for entry in &batch.entries {
            if out.len() >= EVENT_TURN_BYTES_MAX {
                self.advance(at, entry.offset);
                return Ok(());
            }
            self.append_one(out, at, queue, entry)?;
        }
        self.advance(at, batch.next_offset);
        Ok(())
    }

    fn append_one(
        &mut self,
        out: &mut String,
        at: usize,
        queue: &Queue,
        entry: &ReadEntry,
    ) -> Result<(), Refusal> {
        let Some(opened) = open_one(&entry.message) else { return Ok(()) };
        let host = self.state.config().advertised;
        let place = Place { topic: &self.topic.name, queue: queue.index, offset: entry.offset, host };
        let document = to_bytes(&message(&opened, place))?;
        self.advance(at, entry.offset + 1);
        if self.queues.len() <= EVENT_CURSOR_QUEUES_MAX {
            self.cursor.write(out);
            self.is_ahead = false;
        }
        out.push_str("data: ");
        // JSON text is UTF-8 on one line.
        out.push_str(&String::from_utf8_lossy(&document));
        out.push_str("\n\n");
        Ok(())
    }

    fn advance(&mut self, at: usize, offset: u64) {
        if let Some(next) = self.cursor.next.get_mut(at) {
            self.is_ahead |= *next != offset;
            *next = offset;
        }
    }

    /// Tells the client where it is, without an event.
    fn tell(&mut self, out: &mut String) {
        self.cursor.write(out);
        out.push('\n');
        self.is_ahead = false;
    }

    fn break_silence(&mut self, out: &mut String) {
        if self.is_ahead { self.tell(out) } else { out.push_str(":\n\n") }
    }

    fn end(&mut self, out: &mut String, refusal: Refusal) {
        self.has_ended = true;
        let _ = write!(out, "event: end\ndata: {}\n\n", refusal.to_json());
    }

    async fn read(&mut self, queue: Arc<Queue>, offset: u64) -> Result<ReadBatch, Refusal> {
        let filter = self.filter.clone();
        let (max_entries, max_bytes) = (READ_ENTRIES, EVENT_TURN_BYTES_MAX);
        let request = ReadRequest { queue, offset, max_entries, max_bytes, filter };
        if let Some(result) = self.session.read(READ, request) {
            self.session.keep_held(0);
            return Ok(result?);
        }
        loop {
            let mut answer = None;
            for event in self.session.next_events().await {
                match event {
                    Event::Read { token: READ, result } => answer = Some(result),
                    event => self.note(&event),
                }
            }
            // It lasts no longer than a turn, which the number of streams bounds.
            self.session.keep_held(0);
            if let Some(result) = answer {
                return Ok(result?);
            }
        }
    }

    /// Waits until a queue has something new.
    async fn wait(&mut self) -> Waited {
        for ((at, queue), (next, waiting)) in
            (0u64..).zip(&self.queues).zip(self.cursor.next.iter().zip(&mut self.waiting))
        {
            if !*waiting {
                self.session.wait(Token(at), queue, *next);
                *waiting = true;
            }
        }
        let silence = Duration::from_millis(self.state.config().event_silence_ms_max);
        tokio::select! {
            events = self.session.next_events() => {
                events.iter().for_each(|event| self.note(event));
                Waited::Woken
            }
            () = tokio::time::sleep(silence) => Waited::Silence,
            () = self.state.stopped() => Waited::Stopped,
        }
    }

    fn note(&mut self, event: &Event) {
        if let Event::Readable { token: Token(at) } = event
            && let Some(waiting) = usize::try_from(*at).ok().and_then(|at| self.waiting.get_mut(at))
        {
            *waiting = false;
        }
    }
}

enum Waited {
    Woken,
    Silence,
    Stopped,
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::testing::{Rig, draft};

    /// A stream of a topic with one queue.
    async fn stream(state: &RestState) -> EventStream {
        let request = Request::put("/v1/topics/t").header("content-type", "application/json");
        let request = request.body(Body::from(r#"{"queues": 1}"#)).unwrap();
        assert_eq!(crate::router(state.clone()).oneshot(request).await.unwrap().status(), 201);
        let topic = topic_of(state, "t").unwrap();
        EventStream {
            state: state.clone(),
            session: state.session(),
            queues: topic.queues().to_vec(),
            cursor: Cursor { topic: topic.id.0, next: vec![0] },
            topic,
            waiting: vec![false],
            filter: Filter::all(),
            turn: 0,
            has_begun: true,
            is_ahead: false,
            has_ended: false,
            _permit: state.streams().clone().try_acquire_owned().unwrap(),
        }
    }

    fn entry(offset: u64) -> ReadEntry {
        let mut message = bytes::BytesMut::new();
        draft(b"x").encode(&mut message);
        ReadEntry { offset, store_ms: 0, message: message.freeze() }
    }

    #[tokio::test]
    async fn a_turn_takes_no_further_message_once_it_has_its_bytes() {
        let rig = Rig::new();
        let mut stream = stream(&rig.state).await;
        let queue = stream.queues[0].clone();
        for (bytes, next) in [(EVENT_TURN_BYTES_MAX - 1, 1), (EVENT_TURN_BYTES_MAX, 0)] {
            let mut out = "x".repeat(bytes);
            let entries = vec![entry(0), entry(1)];
            let batch = ReadBatch { entries, next_offset: 2, min_offset: 0, end_offset: 2 };
            stream.append(&mut out, 0, &queue, batch).unwrap();
            assert_eq!(stream.cursor.next, [next], "the rest is for the next turn");
            assert_eq!(out.len() > bytes, next == 1);
        }
    }

    #[tokio::test]
    async fn a_turn_is_counted_among_the_answers_beyond_the_limit() {
        let rig = Rig::new();
        let mut stream = stream(&rig.state).await;
        let free = rig.state.answers().available_permits();
        for (bytes, counted) in [
            (EVENT_TURN_UNCOUNTED_BYTES_MAX, 0),
            (EVENT_TURN_UNCOUNTED_BYTES_MAX + 1, EVENT_TURN_UNCOUNTED_BYTES_MAX + 1),
        ] {
            let turn = stream.counted("x".repeat(bytes));
            assert_eq!((turn.len(), free - rig.state.answers().available_permits()), (bytes, counted));
        }
        assert_eq!(rig.state.answers().available_permits(), free);
    }
}
