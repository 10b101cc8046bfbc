//! Bodies of requests and answers: JSON lists and the batch of messages.
//!
//! Stored messages (the body of a pull's answer) and property strings are the `message` crate's.

pub mod batch;
pub mod cluster;
pub mod heartbeat;
mod liberal;
pub mod lock;
pub mod members;
pub mod route;

use super::limits::JSON_BODY_BYTES_MAX;

/// A body that cannot be read. Scope: its request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("body of {bytes} bytes is over the limit of {JSON_BODY_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("body is not the JSON that was expected: {0}")]
    Json(String),
    #[error("{count} {what} are over the limit of {max}")]
    TooMany { what: &'static str, count: usize, max: usize },
}

/// Reads a JSON body of bounded size.
fn json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, BodyError> {
    if body.len() > JSON_BODY_BYTES_MAX {
        return Err(BodyError::TooLarge { bytes: body.len() });
    }
    serde_json::from_slice(body).map_err(|error| BodyError::Json(error.to_string()))
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), BodyError> {
    if count > max { Err(BodyError::TooMany { what, count, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_json_has_at_most_its_bytes() {
        let body = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(json::<&str>(body(JSON_BODY_BYTES_MAX).as_bytes()).is_ok());
        let error = json::<&str>(body(JSON_BODY_BYTES_MAX + 1).as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "body of 1048577 bytes is over the limit of 1048576");
    }
}
