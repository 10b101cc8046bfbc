//! Topics: make, show, list, delete.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use mailrail_broker::{Command, Name, Reply, Resource};

use super::{Asked, AskedWithBody, Listed, Refused, list_items, topic_of};
use crate::ask::unexpected;
use crate::from_wire::topic_settings;
use crate::problem::{Refusal, refusals};
use crate::reply::json;
use crate::request::{EmptyBody, PathOf, QueryOf, from_json, read_body};
use crate::schema::topic::{DeleteQuery, ListQuery, TopicDeleted, TopicList, TopicRequest, TopicView};
use crate::state::Caller;
use crate::to_wire::{topic_summary, topic_view};

refusals! {
    Unknown: [TopicNotFound];
    NotPut: [Differs, Locked, NoSpace];
    Kept: [InUse, NotEmpty, Locked, NoSpace];
}

/// Makes a topic.
///
/// Where it exists with these settings, nothing changes; with other settings the request is refused. Settings that the
/// request leaves out are not compared. An empty body means the defaults.
#[utoipa::path(
    put, path = "/v1/topics/{topic}", operation_id = "putTopic", tag = "topics",
    params(("topic" = String, Path, description = "Name of the topic, at most 255 bytes of UTF-8")),
    request_body(content = Option<TopicRequest>, content_type = "application/json"),
    responses(
        (status = 200, body = TopicView, description = "It existed with these settings"),
        (status = 201, body = TopicView, description = "It was made"),
        AskedWithBody, NotPut,
    ),
)]
pub(crate) async fn put_topic(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let request: TopicRequest = from_json(&parts.headers, &upload.bytes, EmptyBody::HasNoFields)?;
    let found = state.broker().directory().topic(&name).map(|topic| topic.settings());
    let settings = topic_settings(&request, found.as_deref(), state.config().topic_queues);
    let mut line = state.line();
    let name = Name::from(name);
    let reply = line.ask(|token| Command::PutTopic { token, name, settings, adopt: false }).await?;
    let Reply::Topic { topic, created } = reply else { return Err(unexpected(&reply)) };
    state.keep(line);
    json(if created { StatusCode::CREATED } else { StatusCode::OK }, &topic_view(&topic))
}

/// Shows a topic.
#[utoipa::path(
    get, path = "/v1/topics/{topic}", operation_id = "getTopic", tag = "topics",
    params(("topic" = String, Path, description = "Name of the topic")),
    responses((status = 200, body = TopicView, description = "The topic"), Refused, Unknown),
)]
pub(crate) async fn get_topic(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
) -> Result<Response, Refusal> {
    json(StatusCode::OK, &topic_view(&*topic_of(&state, &name)?))
}

/// Deletes a topic with its messages, and every group's position on it.
#[utoipa::path(
    delete, path = "/v1/topics/{topic}", operation_id = "deleteTopic", tag = "topics",
    params(("topic" = String, Path, description = "Name of the topic"), DeleteQuery),
    responses(
        (status = 200, body = TopicDeleted, description = "It was deleted"), Asked, Unknown, Kept,
    ),
)]
pub(crate) async fn delete_topic(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
    QueryOf(query): QueryOf<DeleteQuery>,
) -> Result<Response, Refusal> {
    let DeleteQuery { if_unused, if_empty } = query;
    let mut line = state.line();
    let name = Name::from(name);
    let reply = line.ask(|token| Command::DeleteTopic { token, name, if_unused, if_empty }).await?;
    let Reply::Count(messages) = reply else { return Err(unexpected(&reply)) };
    state.keep(line);
    json(StatusCode::OK, &TopicDeleted { messages })
}

/// Lists topics, sorted by name.
#[utoipa::path(
    get, path = "/v1/topics", operation_id = "listTopics", tag = "topics",
    params(ListQuery),
    responses((status = 200, body = TopicList, description = "One page of the list"), Listed),
)]
pub(crate) async fn list_topics(
    Caller(state): Caller,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Response, Refusal> {
    let items = list_items(query.max)?;
    let after = query.after.unwrap_or_default();
    let mut all = state.broker().directory().topics();
    all.retain(|topic| state.shows(Resource::topic(&topic.name)));
    let start = all.partition_point(|topic| *topic.name <= *after);
    let rest = all.get(start..).unwrap_or(&[]);
    let topics: Vec<_> = rest.iter().take(items).map(|topic| topic_summary(topic)).collect();
    let next = if rest.len() > items { topics.last().map(|last| last.topic.clone()) } else { None };
    json(StatusCode::OK, &TopicList { topics, next })
}
