//! Exchanges: make, show, list, delete.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use mailrail_broker::{Command, Name, Resource};

use super::{Asked, AskedWithBody, Listed, Refused, exchange_of, list_items};
use crate::from_wire::exchange_settings;
use crate::problem::{Refusal, refusals};
use crate::reply::json;
use crate::request::{EmptyBody, PathOf, QueryOf, from_json, read_body};
use crate::schema::exchange::{DeleteExchangeQuery, ExchangeList, ExchangeRequest, ExchangeView};
use crate::schema::topic::ListQuery;
use crate::state::Caller;
use crate::to_wire::exchange_view;

refusals! {
    Unknown: [ExchangeNotFound];
    NotPut: [Differs, NoSpace];
    Kept: [InUse, NoSpace];
}

/// Makes an exchange.
///
/// Where it exists with these settings, nothing changes; with other settings the request is refused. Settings that the
/// request leaves out are not compared. An empty body means the defaults.
#[utoipa::path(
    put, path = "/v1/exchanges/{exchange}", operation_id = "putExchange", tag = "exchanges",
    params(("exchange" = String, Path, description = "Name of the exchange, at most 255 bytes of UTF-8")),
    request_body(content = Option<ExchangeRequest>, content_type = "application/json"),
    responses(
        (status = 200, body = ExchangeView, description = "It existed with these settings"),
        (status = 201, body = ExchangeView, description = "It was made"),
        AskedWithBody, NotPut,
    ),
)]
pub(crate) async fn put_exchange(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let request: ExchangeRequest = from_json(&parts.headers, &upload.bytes, EmptyBody::HasNoFields)?;
    let found = state.broker().directory().exchange(&name);
    let settings = exchange_settings(request, found.as_ref().map(|found| &found.settings));
    let mut line = state.line();
    let asked = Name::from(&*name);
    line.ask(|token| Command::PutExchange { token, name: asked, settings }).await?;
    state.keep(line);
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    json(status, &exchange_view(&*exchange_of(&state, &name)?))
}

/// Shows an exchange.
#[utoipa::path(
    get, path = "/v1/exchanges/{exchange}", operation_id = "getExchange", tag = "exchanges",
    params(("exchange" = String, Path, description = "Name of the exchange")),
    responses((status = 200, body = ExchangeView, description = "The exchange"), Refused, Unknown),
)]
pub(crate) async fn get_exchange(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
) -> Result<Response, Refusal> {
    json(StatusCode::OK, &exchange_view(&*exchange_of(&state, &name)?))
}

/// Deletes an exchange with its bindings.
#[utoipa::path(
    delete, path = "/v1/exchanges/{exchange}", operation_id = "deleteExchange", tag = "exchanges",
    params(("exchange" = String, Path, description = "Name of the exchange"), DeleteExchangeQuery),
    responses((status = 204, description = "It was deleted"), Asked, Unknown, Kept),
)]
pub(crate) async fn delete_exchange(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
    QueryOf(query): QueryOf<DeleteExchangeQuery>,
) -> Result<StatusCode, Refusal> {
    let (name, if_unused) = (Name::from(name), query.if_unused);
    let mut line = state.line();
    line.ask(|token| Command::DeleteExchange { token, name, if_unused }).await?;
    state.keep(line);
    Ok(StatusCode::NO_CONTENT)
}

/// Lists exchanges, sorted by name.
#[utoipa::path(
    get, path = "/v1/exchanges", operation_id = "listExchanges", tag = "exchanges",
    params(ListQuery),
    responses((status = 200, body = ExchangeList, description = "One page of the list"), Listed),
)]
pub(crate) async fn list_exchanges(
    Caller(state): Caller,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Response, Refusal> {
    let items = list_items(query.max)?;
    let after = query.after.unwrap_or_default();
    let mut all = state.broker().directory().exchanges();
    all.retain(|exchange| state.shows(Resource::exchange(&exchange.name)));
    let start = all.partition_point(|exchange| *exchange.name <= *after);
    let rest = all.get(start..).unwrap_or(&[]);
    let exchanges: Vec<ExchangeView> =
        rest.iter().take(items).map(|exchange| exchange_view(exchange)).collect();
    let next = if rest.len() > items { exchanges.last().map(|last| last.exchange.clone()) } else { None };
    json(StatusCode::OK, &ExchangeList { exchanges, next })
}
