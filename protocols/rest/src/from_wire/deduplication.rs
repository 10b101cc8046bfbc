//! By what a request says that its messages are to be known when they are sent again.

use axum::http::HeaderMap;
use mailrail_broker::{DeduplicationKey, Error};

use crate::problem::Refusal;
use crate::schema::publish::NewMessage;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The key of a whole request, which is whatever bytes the header has.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&[u8]>, Refusal> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::invalid("there is more than one Idempotency-Key"));
    }
    DeduplicationKey::of_key(key.as_bytes()).map_err(|error| named("Idempotency-Key", error))?;
    Ok(Some(key.as_bytes()))
}

/// True where a message says itself what it is to be known by.
pub(crate) fn is_asked(message: &NewMessage<'_>) -> bool {
    message.deduplication_key.is_some() || message.producer_id.is_some()
}

/// What one message of a request is to be known by: what it says itself, or its place among those of the request.
pub(crate) fn key_of(
    message: &NewMessage<'_>,
    request: Option<&[u8]>,
    index: usize,
) -> Result<Option<DeduplicationKey>, Refusal> {
    match (&message.deduplication_key, &message.producer_id, message.sequence) {
        (Some(key), None, None) => {
            let key = DeduplicationKey::of_key(key.as_bytes());
            Ok(Some(key.map_err(|error| named("deduplication_key", error))?))
        }
        (None, Some(producer), Some(sequence)) => {
            let key = DeduplicationKey::of_sequence(producer.as_bytes(), sequence);
            Ok(Some(key.map_err(|error| named("producer_id", error))?))
        }
        (None, None, None) => Ok(request.map(|key| DeduplicationKey::of_part(key, index)).transpose()?),
        _ => {
            Err(Refusal::invalid("a message has either a deduplication_key or a producer_id with a sequence"))
        }
    }
}

/// A refusal that says which part of the request is meant.
fn named(field: &str, error: Error) -> Refusal {
    let refusal = Refusal::from(error);
    Refusal { detail: format!("{field}: {}", refusal.detail), ..refusal }
}
