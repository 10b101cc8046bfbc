//! Bindings of an exchange, or of a topic that acts as one: make, list, remove.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use mailrail_broker::{BindTarget, Command, Name, Reply};

use super::{Asked, AskedWithBody, list_items};
use crate::ask::{Line, unexpected};
use crate::from_wire::{bind_target, binding_attributes};
use crate::limits::LIST_ITEMS_MAX;
use crate::problem::{Refusal, refusals};
use crate::reply::json;
use crate::request::{EmptyBody, PathOf, QueryOf, from_json, read_body};
use crate::schema::exchange::{BindingList, BindingRequest, BindingsQuery, BindingsRemoved, UnbindQuery};
use crate::state::Caller;
use crate::to_wire::binding_view;

refusals! {
    NoSource: [ExchangeNotFound];
    NoEnd: [ExchangeNotFound, TopicNotFound];
    Kept: [Locked, NoSpace];
}

/// Binds a topic or an exchange to an exchange.
///
/// A binding that is there already is left as it is. Where there is no exchange of the name, a topic is taken as a topic
/// exchange whose routing keys are the messages' tags.
#[utoipa::path(
    post, path = "/v1/exchanges/{exchange}/bindings", operation_id = "putBinding", tag = "exchanges",
    params(("exchange" = String, Path, description = "Name of the exchange that messages come from")),
    request_body(content = BindingRequest, content_type = "application/json"),
    responses((status = 204, description = "The binding is there"), AskedWithBody, NoEnd, Kept),
)]
pub(crate) async fn put_binding(
    Caller(state): Caller,
    PathOf(source): PathOf<String>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let request: BindingRequest = from_json(&parts.headers, &upload.bytes, EmptyBody::Refused)?;
    let attributes = Bytes::from(binding_attributes(&request)?);
    let target = bind_target(request.topic, request.exchange)?;
    let (source, key) = (Name::from(source), Name::from(request.key));
    let mut line = state.line();
    line.ask(|token| Command::Bind { token, source, target, key, attributes }).await?;
    state.keep(line);
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the bindings of an exchange.
#[utoipa::path(
    get, path = "/v1/exchanges/{exchange}/bindings", operation_id = "listBindings", tag = "exchanges",
    params(("exchange" = String, Path, description = "Name of the exchange"), BindingsQuery),
    responses((status = 200, body = BindingList, description = "One page of the list"), Asked, NoSource),
)]
pub(crate) async fn list_bindings(
    Caller(state): Caller,
    PathOf(source): PathOf<String>,
    QueryOf(query): QueryOf<BindingsQuery>,
) -> Result<Response, Refusal> {
    let items = list_items(query.max)?;
    let mut line = state.line();
    let found = ask(&mut line, &Name::from(source), None, query.skip, items + 1).await?;
    state.keep(line);
    let next = (found.len() > items).then_some(query.skip + items);
    let bindings = found.into_iter().take(items).map(binding_view).collect();
    json(StatusCode::OK, &BindingList { bindings, next })
}

/// Removes all bindings from an exchange to one target by one key.
#[utoipa::path(
    delete, path = "/v1/exchanges/{exchange}/bindings", operation_id = "deleteBindings", tag = "exchanges",
    params(("exchange" = String, Path, description = "Name of the exchange that messages come from"), UnbindQuery),
    responses(
        (status = 200, body = BindingsRemoved, description = "So many were removed, perhaps none"),
        Asked, NoEnd, Kept,
    ),
)]
pub(crate) async fn delete_bindings(
    Caller(state): Caller,
    PathOf(source): PathOf<String>,
    QueryOf(query): QueryOf<UnbindQuery>,
) -> Result<Response, Refusal> {
    let target = bind_target(query.topic, query.exchange)?;
    let (source, key) = (Name::from(source), Name::from(query.key));
    let mut line = state.line();
    let (mut skip, mut bindings) = (0, 0);
    loop {
        let found = ask(&mut line, &source, Some(target.clone()), skip, LIST_ITEMS_MAX).await?;
        let is_last = found.len() < LIST_ITEMS_MAX;
        for binding in found {
            if *binding.key != *key {
                skip += 1;
                continue;
            }
            let (source, target, key) = (source.clone(), target.clone(), key.clone());
            let attributes = Bytes::from(binding.attributes);
            line.ask(|token| Command::Unbind { token, source, target, key, attributes }).await?;
            bindings += 1;
        }
        if is_last {
            break;
        }
    }
    state.keep(line);
    json(StatusCode::OK, &BindingsRemoved { bindings })
}

async fn ask(
    line: &mut Line,
    source: &Name,
    target: Option<BindTarget>,
    skip: usize,
    max: usize,
) -> Result<Vec<mailrail_broker::BindingView>, Refusal> {
    let source = source.clone();
    match line.ask(|token| Command::Bindings { token, source, target, skip, max }).await? {
        Reply::Bindings(found) => Ok(found),
        other => Err(unexpected(&other)),
    }
}
