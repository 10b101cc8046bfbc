//! What was counted of the broker, of topics and of groups, and who is connected.

use axum::http::StatusCode;
use axum::response::Response;
use mailrail_broker::{Action, Resource};

use super::groups::group_on;
use super::{Asked, Refused, list_items, topic_of};
use crate::problem::{Refusal, refusals};
use crate::reply::json;
use crate::request::{PathOf, QueryOf};
use crate::schema::statistics::*;
use crate::state::Caller;
use crate::to_wire::group_summary;
use crate::to_wire::statistics::{broker_view, connection_view, group_view, topic_view};

refusals! {
    Unseen: [Unauthenticated, AccessDenied, Internal, Stopping];
    NoTopic: [TopicNotFound];
    NoGroup: [TopicNotFound, GroupNotFound];
    NotListed: [LimitExceeded];
}

/// Shows what went through the broker since it started.
#[utoipa::path(
    get, path = "/v1/statistics", operation_id = "getStatistics", tag = "administration",
    responses((status = 200, body = BrokerStatisticsView, description = "The counts"), Unseen),
)]
pub(crate) async fn get_statistics(Caller(state): Caller) -> Result<Response, Refusal> {
    state.check(Action::Describe, Resource::CLUSTER)?;
    json(StatusCode::OK, &broker_view(&state.broker().statistics()))
}

/// Shows what went through a topic and its queues.
///
/// Of light queues, of which there may be very many, only what they refuse is counted.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/statistics", operation_id = "getTopicStatistics", tag = "topics",
    params(("topic" = String, Path, description = "Name of the topic")),
    responses((status = 200, body = TopicStatisticsView, description = "The counts"), Refused, NoTopic),
)]
pub(crate) async fn get_topic_statistics(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
) -> Result<Response, Refusal> {
    let topic = topic_of(&state, &name)?;
    json(StatusCode::OK, &topic_view(&topic.name, &state.broker().topic_statistics(&topic)))
}

/// Shows what a group did on a topic, and its lag.
///
/// On light queues, of which there may be very many, nothing but the lag is counted.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/groups/{group}/statistics", operation_id = "getGroupStatistics", tag = "groups",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("group" = String, Path, description = "Name of the group"),
    ),
    responses((status = 200, body = GroupStatisticsView, description = "The counts"), Asked, NoGroup),
)]
pub(crate) async fn get_group_statistics(
    Caller(state): Caller,
    PathOf((topic, group)): PathOf<(String, String)>,
) -> Result<Response, Refusal> {
    let (topic, group, view) = group_on(&state, &topic, &group).await?;
    let counts = state.broker().group_statistics(&group, &topic);
    json(StatusCode::OK, &group_view(group_summary(&topic, &group.name, &view), counts))
}

/// Lists the clients that are connected, whatever protocol they speak.
#[utoipa::path(
    get, path = "/v1/connections", operation_id = "listConnections", tag = "administration",
    params(ConnectionsQuery),
    responses((status = 200, body = ConnectionList, description = "One page of the list"), Refused, NotListed),
)]
pub(crate) async fn list_connections(
    Caller(state): Caller,
    QueryOf(query): QueryOf<ConnectionsQuery>,
) -> Result<Response, Refusal> {
    state.check(Action::Describe, Resource::CLUSTER)?;
    let items = list_items(query.max)?;
    let mut clients = state.broker().clients(query.after.unwrap_or(0), items + 1);
    let has_more = clients.len() > items;
    clients.truncate(items);
    let next = clients.last().map(|client| client.number).filter(|_| has_more);
    let view = |client: &std::sync::Arc<mailrail_broker::Client>| {
        connection_view(client, state.broker().client_traffic(client))
    };
    json(StatusCode::OK, &ConnectionList { connections: clients.iter().map(view).collect(), next })
}
