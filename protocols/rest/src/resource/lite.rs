//! Light queues of a topic: make and list them. Each is a topic under a longer name, which all other paths take.

use axum::http::StatusCode;
use axum::response::Response;
use mailrail_broker::lite::{LITE_OF, LITE_PREFIX};
use mailrail_broker::{Command, Name, Reply, Topic, TopicSettings};

use super::{Asked, Refused, list_items, topic_of};
use crate::ask::unexpected;
use crate::from_wire::lite_topic;
use crate::problem::{Refusal, refusals};
use crate::reply::json;
use crate::request::{PathOf, QueryOf};
use crate::schema::topic::{ListQuery, LiteList, LiteSummary, TopicView};
use crate::state::Caller;
use crate::to_wire::topic_view;

refusals! {
    Unknown: [TopicNotFound];
    NotMade: [TopicNotFound, InvalidName, LimitExceeded, Differs, NoSpace];
}

/// Makes a light queue of a topic before any message does.
#[utoipa::path(
    put, path = "/v1/topics/{topic}/lite/{name}", operation_id = "putLite", tag = "topics",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("name" = String, Path, description = "Name of the light queue, at most 250 bytes of UTF-8 without commas"),
    ),
    responses(
        (status = 200, body = TopicView, description = "It existed"),
        (status = 201, body = TopicView, description = "It was made"),
        Asked, NotMade,
    ),
)]
pub(crate) async fn put_lite(
    Caller(state): Caller,
    PathOf((parent, name)): PathOf<(String, String)>,
) -> Result<Response, Refusal> {
    let mut line = state.line();
    let name = Name::from(lite_topic(&name));
    let attributes = [(LITE_OF.to_owned(), parent)].into();
    let settings = TopicSettings { attributes, ..TopicSettings::default() };
    let reply = line.ask(|token| Command::PutTopic { token, name, settings, adopt: false }).await?;
    let Reply::Topic { topic, created } = reply else { return Err(unexpected(&reply)) };
    state.keep(line);
    json(if created { StatusCode::CREATED } else { StatusCode::OK }, &topic_view(&topic))
}

/// Lists the light queues of a topic, sorted by name.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/lite", operation_id = "listLite", tag = "topics",
    params(("topic" = String, Path, description = "Name of the topic"), ListQuery),
    responses((status = 200, body = LiteList, description = "One page of the list"), Refused, Unknown),
)]
pub(crate) async fn list_lites(
    Caller(state): Caller,
    PathOf(parent): PathOf<String>,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Response, Refusal> {
    let items = list_items(query.max)?;
    topic_of(&state, &parent)?;
    let after = query.after.map(|after| lite_topic(&after));
    let found = state.broker().directory().lites(&parent, after.as_deref(), items + 1);
    let lite: Vec<LiteSummary> = found.iter().take(items).map(|lite| summary(lite)).collect();
    let next = if found.len() > items { lite.last().map(|last| last.name.clone()) } else { None };
    json(StatusCode::OK, &LiteList { lite, next })
}

fn summary(lite: &Topic) -> LiteSummary {
    let (min, max) = lite.queue(0).map_or((0, 0), |queue| (queue.min_offset(), queue.end_offset()));
    let name = lite.name.strip_prefix(LITE_PREFIX).unwrap_or(&lite.name).to_owned();
    LiteSummary { name, topic: lite.name.to_string(), messages: max.saturating_sub(min), min, max }
}
