//! What requests are made of, taken with this API's own errors: path and query parameters, and bodies within their
//! limits of size, time and memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::limits::*;
use crate::problem::{Kind, Refusal};
use crate::state::RestState;

/// Path parameters.
pub(crate) struct PathOf<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathOf<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| PathOf(value)).map_err(|rejection| Refusal::invalid(rejection.body_text()))
    }
}

/// Query parameters; unknown ones are refused where `T` denies them.
pub(crate) struct QueryOf<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(value)| QueryOf(value)).map_err(|rejection| Refusal::invalid(rejection.body_text()))
    }
}

/// A whole request body, and its share of the memory that bodies may take.
#[derive(Debug)]
pub(crate) struct Upload {
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Takes a request body. Memory is claimed as bytes arrive, so a slow sender holds no more than it has sent.
pub(crate) async fn read_body(state: &RestState, headers: &HeaderMap, body: Body) -> Result<Upload, Refusal> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    check_size(declared.unwrap_or(0))?;
    let limit = state.config().upload_ms_max;
    let taken = timeout(Duration::from_millis(limit), collect(state.uploads(), body)).await;
    taken.unwrap_or_else(|_| {
        Err(Refusal::new(Kind::RequestTimeout, format!("the body had not arrived after {limit} ms")))
    })
}

async fn collect(uploads: &Arc<Semaphore>, body: Body) -> Result<Upload, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut share: Option<OwnedSemaphorePermit> = None;
    let mut total = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Refusal::invalid(format!("the body broke off: {error}")))?;
        total += chunk.len();
        check_size(total)?;
        let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = total.saturating_sub(UPLOAD_FREE_BYTES + held);
        if missing > 0 {
            let claimed = claim(uploads, missing)?;
            match &mut share {
                Some(share) => share.merge(claimed),
                None => share = Some(claimed),
            }
        }
        if first.is_empty() {
            first = chunk;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&chunk);
        }
    }
    let bytes = if joined.is_empty() { first } else { joined.freeze() };
    Ok(Upload { bytes, _share: share })
}

fn check_size(bytes: usize) -> Result<(), Refusal> {
    if bytes > REQUEST_BYTES_MAX {
        let detail =
            format!("the request body has {bytes} bytes or more; at most {REQUEST_BYTES_MAX} are allowed");
        return Err(Refusal::new(Kind::TooLarge, detail));
    }
    Ok(())
}

fn claim(uploads: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let full = |_| Refusal::new(Kind::Overloaded, "too many request bodies are in memory; try again later");
    uploads.clone().try_acquire_many_owned(bytes).map_err(full)
}

/// True when the request says that its body is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// Reads a JSON body. Where `empty` allows it, no body at all means a document without fields.
pub(crate) fn from_json<'a, T: Deserialize<'a>>(
    headers: &HeaderMap,
    bytes: &'a [u8],
    empty: EmptyBody,
) -> Result<T, Refusal> {
    let bytes = match (bytes.is_empty(), empty) {
        (true, EmptyBody::HasNoFields) => b"{}",
        (true, EmptyBody::Refused) => return Err(Refusal::invalid("the request needs a JSON body")),
        (false, _) if !is_json(headers) => {
            let detail = "this request takes a JSON body with `Content-Type: application/json`";
            return Err(Refusal::new(Kind::UnsupportedMediaType, detail));
        }
        (false, _) => bytes,
    };
    serde_json::from_slice(bytes).map_err(|error| Refusal::invalid(format!("the JSON body: {error}")))
}

/// What a request without a body means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EmptyBody {
    HasNoFields,
    Refused,
}
