//! Groups: settings, position, and the list of those a topic has.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use mailrail_broker::{
    Action, Command, Error, Group, GroupView as CoreGroupView, Name, Reply, Resource, Topic,
};

use super::{Asked, AskedWithBody, group_for_consumer, list_items, topic_of};
use crate::ask::{Line, unexpected};
use crate::from_wire::{group_settings, seek_to};
use crate::problem::{Refusal, refusals};
use crate::reply::json;
use crate::request::{EmptyBody, PathOf, QueryOf, from_json, read_body};
use crate::schema::group::*;
use crate::schema::topic::ListQuery;
use crate::state::{Caller, RestState};
use crate::to_wire::{group_summary, group_view};

refusals! {
    NotPut: [TopicNotFound, NoSpace];
    NoGroup: [TopicNotFound, GroupNotFound];
    NotDeleted: [TopicNotFound, GroupNotFound, NoSpace];
    NotMoved: [TopicNotFound, QueueNotFound, NoSpace];
    NoList: [InvalidRequest, LimitExceeded, TopicNotFound];
}

/// Makes a group or changes its settings.
///
/// Settings belong to the group, whatever topic it is on; the position belongs to both. A new group begins at the
/// earliest message. An empty body makes a group with the defaults and changes nothing of one that exists.
#[utoipa::path(
    put, path = "/v1/topics/{topic}/groups/{group}", operation_id = "putGroup", tag = "groups",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("group" = String, Path, description = "Name of the group, at most 255 bytes of UTF-8"),
    ),
    request_body(content = Option<GroupRequest>, content_type = "application/json"),
    responses(
        (status = 200, body = GroupView, description = "It existed and has these settings now"),
        (status = 201, body = GroupView, description = "It was made"),
        AskedWithBody, NotPut,
    ),
)]
pub(crate) async fn put_group(
    Caller(state): Caller,
    PathOf((topic, group)): PathOf<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let request: GroupRequest = from_json(&parts.headers, &upload.bytes, EmptyBody::HasNoFields)?;
    let topic = topic_of(&state, &topic)?;
    let found = state.broker().directory().group(&group).map(|group| group.settings());
    let settings = group_settings(request, found.as_deref(), &group)?;
    let mut line = state.line();
    let name = Name::from(group.as_str());
    line.ask(|token| Command::PutGroup { token, name, settings: Some(settings) }).await?;
    let shared = group_for_consumer(&state, &mut line, &group).await?;
    let view = state_of(&mut line, &topic, &shared).await?;
    state.keep(line);
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    json(status, &group_view(&topic, &shared, &view))
}

/// Shows a group's settings, position and lag on a topic.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/groups/{group}", operation_id = "getGroup", tag = "groups",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("group" = String, Path, description = "Name of the group"),
    ),
    responses((status = 200, body = GroupView, description = "The group"), Asked, NoGroup),
)]
pub(crate) async fn get_group(
    Caller(state): Caller,
    PathOf((topic, group)): PathOf<(String, String)>,
) -> Result<Response, Refusal> {
    let (topic, group, view) = group_on(&state, &topic, &group).await?;
    json(StatusCode::OK, &group_view(&topic, &group, &view))
}

/// The topic and the group of a path, and how far the group has got there.
pub(super) async fn group_on(
    state: &RestState,
    topic: &str,
    group: &str,
) -> Result<(Arc<Topic>, Arc<Group>, CoreGroupView), Refusal> {
    let missing = || Error::NoGroup { group: group.to_owned(), topic: topic.to_owned() };
    let shared_topic = topic_of(state, topic)?;
    state.check(Action::Describe, Resource::group(group))?;
    let shared = state.broker().directory().group(group).ok_or_else(missing)?;
    let mut line = state.line();
    let view = state_of(&mut line, &shared_topic, &shared).await?;
    state.keep(line);
    Ok((shared_topic, shared, view))
}

async fn state_of(line: &mut Line, topic: &Topic, group: &Group) -> Result<CoreGroupView, Refusal> {
    let (group, topic) = (group.name.clone(), topic.name.clone());
    match line.ask(|token| Command::GroupState { token, group, topic }).await? {
        Reply::Group(view) => Ok(view),
        other => Err(unexpected(&other)),
    }
}

/// Forgets a group's position and leases on a topic. Its settings stay.
#[utoipa::path(
    delete, path = "/v1/topics/{topic}/groups/{group}", operation_id = "deleteGroup", tag = "groups",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("group" = String, Path, description = "Name of the group"),
    ),
    responses((status = 204, description = "It has no position on the topic any more"), Asked, NotDeleted),
)]
pub(crate) async fn delete_group(
    Caller(state): Caller,
    PathOf((topic, group)): PathOf<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let mut line = state.line();
    let (group, topic) = (Name::from(group), Name::from(topic));
    line.ask(|token| Command::DeleteGroup { token, group, topic }).await?;
    state.keep(line);
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the groups that have a position on a topic, sorted by name.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/groups", operation_id = "listGroups", tag = "groups",
    params(("topic" = String, Path, description = "Name of the topic"), ListQuery),
    responses((status = 200, body = GroupList, description = "One page of the list"), Asked, NoList),
)]
pub(crate) async fn list_groups(
    Caller(state): Caller,
    PathOf(topic): PathOf<String>,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Response, Refusal> {
    let items = list_items(query.max)?;
    let topic = topic_of(&state, &topic)?;
    let after = query.after.unwrap_or_default();
    let mut line = state.line();
    let mut placed = groups_on(&state, &mut line, &topic, &after).await?;
    let more = placed.len() > items;
    placed.truncate(items);
    let next = if more { placed.last().map(|last| last.to_string()) } else { None };
    let mut groups = Vec::with_capacity(placed.len());
    let views = ask_all(&mut line, &placed, |token, group| {
        let (group, topic) = (group.clone(), topic.name.clone());
        Command::GroupState { token, group, topic }
    });
    for (name, reply) in placed.iter().zip(views.await?) {
        let Reply::Group(view) = reply else { return Err(unexpected(&reply)) };
        groups.push(group_summary(&topic, name, &view));
    }
    state.keep(line);
    json(StatusCode::OK, &GroupList { groups, next })
}

/// Names of the groups behind `after` that have a position on any queue of the topic.
async fn groups_on(
    state: &RestState,
    line: &mut Line,
    topic: &Topic,
    after: &str,
) -> Result<Vec<Name>, Refusal> {
    let queues: Vec<_> = topic.queues().iter().map(|queue| queue.id).collect();
    let all = state.broker().directory().groups();
    let names: Vec<Name> = all
        .iter()
        .filter(|group| *group.name > *after && state.shows(Resource::group(&group.name)))
        .map(|group| group.name.clone())
        .collect();
    let positions = ask_all(line, &names, |token, group| {
        let (group, queues) = (group.clone(), queues.clone());
        Command::Committed { token, group, queues }
    });
    let positions = positions.await?;
    let mut placed = Vec::new();
    for (name, reply) in names.into_iter().zip(positions) {
        let Reply::Offsets(offsets) = reply else { return Err(unexpected(&reply)) };
        if offsets.iter().any(Option::is_some) {
            placed.push(name);
        }
    }
    Ok(placed)
}

/// Asks the same of many groups at once; the replies are in the order of the names.
async fn ask_all(
    line: &mut Line,
    names: &[Name],
    command: impl Fn(mailrail_broker::Token, &Name) -> Command,
) -> Result<Vec<Reply>, Refusal> {
    let tokens: Vec<_> = names.iter().map(|_| line.token()).collect();
    let commands = tokens.iter().zip(names).map(|(token, name)| command(*token, name)).collect();
    line.session().submit(commands);
    let mut replies = Vec::with_capacity(names.len());
    for token in tokens {
        replies.push(line.reply(token).await?);
    }
    Ok(replies)
}

/// Moves a group's position. Its leases end.
///
/// The group is made when it does not exist.
#[utoipa::path(
    post, path = "/v1/topics/{topic}/groups/{group}/seek", operation_id = "seekGroup", tag = "groups",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("group" = String, Path, description = "Name of the group"),
    ),
    request_body(content = SeekRequest, content_type = "application/json"),
    responses(
        (status = 200, body = SeekResponse, description = "Where the group stands now"),
        AskedWithBody, NotMoved,
    ),
)]
pub(crate) async fn seek_group(
    Caller(state): Caller,
    PathOf((topic, group)): PathOf<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let to = seek_to(&from_json(&parts.headers, &upload.bytes, EmptyBody::Refused)?)?;
    let topic = topic_of(&state, &topic)?.name.clone();
    let mut line = state.line();
    let group = group_for_consumer(&state, &mut line, &group).await?.name.clone();
    let reply = line.ask(|token| Command::Seek { token, group, topic, to }).await?;
    let Reply::Offsets(offsets) = reply else { return Err(unexpected(&reply)) };
    state.keep(line);
    let queues = (0u32..).zip(offsets).map(|(queue, committed)| SeekQueue { queue, committed }).collect();
    json(StatusCode::OK, &SeekResponse { queues })
}
