//! Whether the process lives, and whether it takes work. Touches no disk and asks no other thread.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Kind, Refusal, refusals};
use crate::reply::json;
use crate::state::RestState;

refusals! {
    NotReady: [Stopping, ReadOnly];
}

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"status": "ok"}))]
pub(crate) struct Health {
    status: &'static str,
}

/// Answers as long as the process lives.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "health",
    responses((status = 200, body = Health, description = "The process lives")),
)]
pub(crate) async fn get_health() -> Result<Response, Refusal> {
    json(StatusCode::OK, &Health { status: "ok" })
}

/// Tells whether the broker takes work.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "health",
    responses((status = 200, body = Health, description = "It takes work"), NotReady),
)]
pub(crate) async fn get_readiness(State(state): State<RestState>) -> Result<Response, Refusal> {
    if state.is_stopping() {
        return Err(Refusal::new(Kind::Stopping, "the broker is stopping"));
    }
    if state.broker().is_faulted() {
        return Err(Refusal::new(Kind::ReadOnly, "the log has failed; the broker is read-only"));
    }
    json(StatusCode::OK, &Health { status: "ready" })
}

/// The OpenAPI document of this API, as JSON.
pub(crate) async fn get_document(document: bytes::Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}
