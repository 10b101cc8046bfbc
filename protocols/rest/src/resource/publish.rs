//! Publishing: all messages of a request become one batch and one question to the broker.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use mailrail_broker::{Command, Durability, Error, Name, PublishBatch, Reply, Stored, Topic, TopicSettings};

use super::{AskedWithBody, exchange_of};
use crate::ask::{Line, unexpected};
use crate::from_wire::{Encoder, To, deduplication, describe_body, raw_fields};
use crate::instant::WallTime;
use crate::problem::{ItemProblem, Kind, Refusal, refusals};
use crate::reply::json;
use crate::request::{EmptyBody, PathOf, QueryOf, from_json, is_json, read_body};
use crate::schema::publish::*;
use crate::state::{Caller, RestState};
use crate::to_wire::{MessageId, durability_name, effective};

/// Room for headers and properties of one message in a batch, beyond its body.
const MESSAGE_OVERHEAD_BYTES: usize = 256;
/// Where a request came from, when the server does not say.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

refusals! {
    NotStored: [Forbidden, AccessDenied, TopicNotFound, QueueNotFound, NoDeduplication, OutOfSequence, Busy, Full,
        NotSupported, NoSpace];
    NotRouted: [Forbidden, AccessDenied, ExchangeNotFound, Unroutable, NoDeduplication, OutOfSequence, Busy, Full,
        NotSupported, NoSpace];
}

/// The messages of a request, in either form.
enum Asked<'a> {
    List(PublishRequest<'a>),
    /// The request body is the message's.
    One {
        fields: Box<NewMessage<'a>>,
        body: &'a [u8],
    },
}

impl Asked<'_> {
    fn len(&self) -> usize {
        match self {
            Asked::List(request) => request.messages.len(),
            Asked::One { .. } => 1,
        }
    }

    fn any(&self, is: impl Fn(&NewMessage<'_>) -> bool) -> bool {
        match self {
            Asked::List(request) => request.messages.iter().any(is),
            Asked::One { fields, .. } => is(fields),
        }
    }
}

/// Publishes messages to a topic.
///
/// `application/json` takes `{"messages": [...]}`. Any other content type means one message whose body is the request
/// body as it is, so that `curl -d hello` works; its fields then come from the query parameters below, or from headers
/// of the same names (`Mailrail-Tag`, `Mailrail-Delay-Ms`, ...; `Mailrail-Property-NAME` for a property, whose name is
/// then in lower case). A query parameter wins over a header. The content type and content encoding are carried with
/// the message.
///
/// A topic that does not exist is made, unless the broker is configured otherwise.
///
/// A message is stored when its entry is in the answer: with durability `disk`, which is the default, it is on disk
/// then. When a message of the request is malformed, none is stored.
///
/// With an `Idempotency-Key` of at most 1,024 bytes, a topic that has a `deduplication_window_ms` stores the messages of
/// the request once, however often it is sent: each is known by the key and its place in the request, unless it has a
/// `deduplication_key` or a `sequence` of its own. The bodies are not compared. A topic without that window refuses it.
#[utoipa::path(
    post, path = "/v1/topics/{topic}/messages", operation_id = "publishMessages", tag = "messages",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("durability" = Option<DurabilityName>, Query, description = "How safe the messages must be when the request \
          is answered; `disk` by default, never less than the topic demands. Also for JSON requests, and as header \
          `Mailrail-Durability`"),
        ("tag" = Option<String>, Query, description = "Tag of a message that is the request body"),
        ("keys" = Option<String>, Query, description = "Keys, separated by blanks"),
        ("unique_id" = Option<String>, Query, description = "The producer's own id of the message"),
        ("correlation_id" = Option<String>, Query, description = "Carried to consumers"),
        ("reply_to" = Option<String>, Query, description = "Carried to consumers"),
        ("type" = Option<String>, Query, description = "Carried to consumers"),
        ("ordering_key" = Option<String>, Query, description = "Messages with the same key go to the same queue"),
        ("queue" = Option<u32>, Query, description = "Number of the queue, from 0"),
        ("priority" = Option<u8>, Query, description = "0 to 255; higher is more urgent"),
        ("expires_in_ms" = Option<u64>, Query, description = "Milliseconds after which nobody is handed the message any more"),
        ("delay_ms" = Option<u64>, Query, description = "Milliseconds before the message becomes visible"),
        ("deliver_at" = Option<String>, Query, description = "When the message becomes visible (RFC 3339)"),
        ("born_at" = Option<String>, Query, description = "When the producer made the message (RFC 3339)"),
        ("deduplication_key" = Option<String>, Query, description = "What the message is known by when it is sent again"),
        ("producer_id" = Option<String>, Query, description = "Names a producer that numbers its messages"),
        ("sequence" = Option<u64>, Query, description = "The producer's number of the message"),
        ("Idempotency-Key" = Option<String>, Header, description = "What the request is known by when it is sent again"),
    ),
    request_body(content(
        (PublishRequest = "application/json"),
        (String = "application/octet-stream"),
        (String = "text/plain"),
    )),
    responses(
        (status = 201, body = PublishResponse, description = "All messages were stored"),
        (status = 207, body = PartlyPublished, description = "Some messages were stored, others were not"),
        AskedWithBody, NotStored,
    ),
)]
pub(crate) async fn publish_messages(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
    request: Request,
) -> Result<Response, Refusal> {
    publish(&state, &name, Through::Topic, request).await
}

/// Publishes messages to an exchange.
///
/// As to a topic, but that the bindings of the exchange decide by the `routing_key` or the properties of each message to
/// which queues it goes. A message that no binding fits is not stored, and refused as `unroutable`.
#[utoipa::path(
    post, path = "/v1/exchanges/{exchange}/messages", operation_id = "publishToExchange", tag = "exchanges",
    params(
        ("exchange" = String, Path, description = "Name of the exchange"),
        ("durability" = Option<DurabilityName>, Query, description = "How safe the messages must be when the request \
          is answered; `disk` by default, never less than the topics demand"),
        ("routing_key" = Option<String>, Query, description = "Of a message that is the request body; its other \
          fields are those of a message to a topic"),
        ("Idempotency-Key" = Option<String>, Header, description = "What the request is known by when it is sent \
          again; all topics that it reaches must deduplicate"),
    ),
    request_body(content(
        (PublishRequest = "application/json"),
        (String = "application/octet-stream"),
        (String = "text/plain"),
    )),
    responses(
        (status = 201, body = PublishResponse, description = "All messages were stored"),
        (status = 207, body = PartlyPublished, description = "Some messages were stored, others were not"),
        AskedWithBody, NotRouted,
    ),
)]
pub(crate) async fn publish_to_exchange(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
    request: Request,
) -> Result<Response, Refusal> {
    publish(&state, &name, Through::Exchange, request).await
}

/// What the name in the path is.
#[derive(Clone, Copy)]
enum Through {
    Topic,
    Exchange,
}

async fn publish(
    state: &RestState,
    name: &str,
    through: Through,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let QueryOf(query) = QueryOf::<Vec<(String, String)>>::from_request_parts(&mut parts, &()).await?;
    let upload = read_body(state, &parts.headers, body).await?;
    let (asked, durability) = read_asked(&parts, &query, &upload.bytes)?;
    let idempotency_key = deduplication::idempotency_key(&parts.headers)?;
    let mut line = state.line();
    line.check_congestion()?;
    let (topic, exchange);
    let (to, safe) = match through {
        Through::Topic => {
            let must_deduplicate = idempotency_key.is_some() || asked.any(deduplication::is_asked);
            topic = topic_for_publish(state, &mut line, name, must_deduplicate).await?;
            (To::Topic(&topic), effective(&topic.settings(), durability))
        }
        Through::Exchange => {
            exchange = exchange_of(state, name)?;
            (To::Exchange(&exchange), durability_name(durability))
        }
    };
    let mut encoder = encoder(state, to, durability, peer_of(&parts));
    encoder.idempotency_key = idempotency_key;
    let (batch, due) = encode(encoder, &asked, upload.bytes.len())?;
    let token = line.token();
    line.session().submit(vec![Command::Publish { token, batch }]);
    let results = line.published(token).await?;
    state.keep(line);
    Receipts { host: state.config().advertised, durability: safe, to, due: &due }.answer(results)
}

fn read_asked<'a>(
    parts: &'a Parts,
    query: &'a [(String, String)],
    body: &'a [u8],
) -> Result<(Asked<'a>, Durability), Refusal> {
    let (mut fields, durability) = raw_fields(&parts.headers, query)?;
    let durability = durability.unwrap_or_default();
    if !is_json(&parts.headers) {
        describe_body(&mut fields, &parts.headers)?;
        return Ok((Asked::One { fields: Box::new(fields), body }, durability));
    }
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        let detail = "a JSON request with a content encoding cannot be read; send it as it is";
        return Err(Refusal::new(Kind::UnsupportedMediaType, detail));
    }
    if !fields.is_empty() {
        let detail = "a JSON request names a message's fields in the message, not in the query or in headers";
        return Err(Refusal::invalid(detail));
    }
    let request: PublishRequest<'a> = from_json(&parts.headers, body, EmptyBody::Refused)?;
    if request.messages.is_empty() {
        return Err(Refusal::invalid("the request has no message"));
    }
    Ok((Asked::List(request), durability))
}

/// The topic of that name; a missing one is made, unless the broker is configured otherwise.
pub(super) async fn topic_for_publish(
    state: &RestState,
    line: &mut Line,
    name: &str,
    must_deduplicate: bool,
) -> Result<Arc<Topic>, Refusal> {
    if let Some(topic) = state.broker().directory().topic(name) {
        return Ok(topic);
    }
    if must_deduplicate {
        // As it would be made, it would refuse the messages.
        return Err(Error::NoDeduplication(name.to_owned()).into());
    }
    if !state.config().auto_create_topics {
        return Err(Refusal::no_topic(name));
    }
    let settings = TopicSettings { queues: state.config().topic_queues, ..TopicSettings::default() };
    let name = Name::from(name);
    let reply = line.ask(|token| Command::PutTopic { token, name, settings, adopt: true }).await?;
    match reply {
        Reply::Topic { topic, .. } => Ok(topic),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn peer_of(parts: &Parts) -> SocketAddr {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(NOWHERE, |ConnectInfo(peer)| *peer)
}

/// What makes stored messages of a request's.
pub(super) fn encoder<'a>(
    state: &RestState,
    to: To<'a>,
    durability: Durability,
    peer: SocketAddr,
) -> Encoder<'a> {
    Encoder {
        to,
        durability,
        peer,
        store_host: state.config().advertised,
        now_ms: state.broker().now().wall_ms,
        idempotency_key: None,
        properties: Vec::new(),
        body: Vec::new(),
    }
}

/// The batch, and for each message when it becomes visible, if that is later. Nothing has been stored when it fails.
fn encode(
    mut encoder: Encoder<'_>,
    asked: &Asked<'_>,
    upload_bytes: usize,
) -> Result<(PublishBatch, Vec<Option<WallTime>>), Refusal> {
    let count = asked.len();
    let mut batch = PublishBatch::with_capacity(upload_bytes + count * MESSAGE_OVERHEAD_BYTES, count);
    let mut due = Vec::with_capacity(count);
    match asked {
        Asked::One { fields, body } => due.push(encoder.push(&mut batch, fields, Some(body), None)?),
        Asked::List(request) => {
            for (index, message) in request.messages.iter().enumerate() {
                let pushed = encoder.push(&mut batch, message, None, None);
                due.push(pushed.map_err(|refusal| refusal.at(index))?);
            }
        }
    }
    Ok((batch, due))
}

/// What turns results into an answer.
struct Receipts<'a> {
    host: SocketAddr,
    durability: DurabilityName,
    to: To<'a>,
    due: &'a [Option<WallTime>],
}

impl Receipts<'_> {
    fn answer(&self, results: Vec<Result<Stored, Error>>) -> Result<Response, Refusal> {
        let count = results.len();
        let (mut messages, mut errors) = (Vec::with_capacity(count), Vec::new());
        for ((index, result), due) in results.into_iter().enumerate().zip(self.due) {
            match result {
                Ok(stored) => messages.push(PublishedAt { index, published: self.published(&stored, *due) }),
                Err(Error::Forgotten { .. }) => {
                    messages.push(PublishedAt { index, published: Published::forgotten(self.durability) });
                }
                Err(error) => errors.push((index, self.refusal(error))),
            }
        }
        if errors.is_empty() {
            let messages = messages.into_iter().map(|message| message.published).collect();
            return json(StatusCode::CREATED, &PublishResponse { messages });
        }
        let items = || errors.iter().map(|(index, why)| ItemProblem::new(*index, why.clone())).collect();
        if messages.is_empty() {
            let first = errors.first().map(|(_, why)| why.clone());
            let whole = first.unwrap_or_else(|| Refusal::new(Kind::Internal, "nothing was stored"));
            // One message's problem is the request's own; several are listed.
            return Err(if count == 1 { whole } else { Refusal { errors: items(), ..whole } });
        }
        json(StatusCode::MULTI_STATUS, &PartlyPublished { messages, errors: items() })
    }

    fn published(&self, stored: &Stored, deliver_at: Option<WallTime>) -> Published {
        let offset = stored.offset.filter(|_| matches!(self.to, To::Topic(_)));
        Published {
            id: Some(MessageId::new(self.host, stored.position)),
            queue: offset.map(|_| stored.queue_index),
            offset,
            queues: (matches!(self.to, To::Exchange(_)) && !stored.duplicate).then_some(stored.queues),
            duplicate: stored.duplicate.then_some(true),
            durability: self.durability,
            deliver_at: deliver_at.filter(|_| !stored.duplicate),
        }
    }

    fn refusal(&self, error: Error) -> Refusal {
        match error {
            // It was deleted on the way; the broker knows only its number then.
            Error::NoTopic(_) => Refusal::no_topic(self.to.name()),
            Error::NoExchange(_) => Error::NoExchange(self.to.name().to_string()).into(),
            error => error.into(),
        }
    }
}
