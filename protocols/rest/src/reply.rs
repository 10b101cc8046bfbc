//! Successful answers: JSON bodies, written off the async workers when they are long, and bodies that give leases back
//! when nobody takes them.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use mailrail_broker::{Broker, Receipt};
use serde::Serialize;

use crate::limits::RENDER_INLINE_BYTES_MAX;
use crate::problem::{Kind, Refusal};

const JSON: &str = "application/json";

/// An answer with a JSON document.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Result<Response, Refusal> {
    Ok((status, [(header::CONTENT_TYPE, JSON)], to_bytes(document)?).into_response())
}

/// A good answer whose document is written already.
pub(crate) fn json_document(document: Bytes) -> Response {
    ([(header::CONTENT_TYPE, JSON)], document).into_response()
}

pub(crate) fn to_bytes(document: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(document).map_err(|error| unwritable(&error))
}

pub(crate) fn unwritable(error: &serde_json::Error) -> Refusal {
    tracing::error!(%error, "an answer could not be written as JSON");
    Refusal::new(Kind::Internal, "the answer could not be written as JSON")
}

/// Runs work on stored messages where it holds nobody up: in place when it is short, else on a thread for blocking work.
pub(crate) async fn render<T: Send + 'static>(
    stored: impl Iterator<Item = &Bytes>,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let mut bytes = 0;
    let mut compressed = false;
    for message in stored {
        bytes += message.len();
        compressed = compressed || crate::to_wire::is_compressed(message);
    }
    if bytes <= RENDER_INLINE_BYTES_MAX && !compressed {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "turning messages into JSON failed");
        Err(Refusal::new(Kind::Internal, "the answer could not be written"))
    })
}

/// Leases that go back at once, uncounted, unless they are known to be on their way to the client.
#[derive(Debug)]
pub(crate) struct Leases {
    broker: Broker,
    receipts: Vec<Receipt>,
}

impl Leases {
    pub fn new(broker: Broker, receipts: Vec<Receipt>) -> Self {
        Leases { broker, receipts }
    }

    /// They have left with the answer: from here on, time ends them.
    fn sent(&mut self) {
        self.receipts.clear();
    }

    /// Gives all but the first so many back.
    pub fn keep_first(&mut self, count: usize) {
        let rest = self.receipts.split_off(count.min(self.receipts.len()));
        self.give_back(rest);
    }

    fn give_back(&self, receipts: Vec<Receipt>) {
        if !receipts.is_empty() {
            self.broker.connect_for_tidying().release(receipts);
        }
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        let receipts = std::mem::take(&mut self.receipts);
        self.give_back(receipts);
    }
}

/// A JSON answer that holds leases until its bytes are taken.
pub(crate) fn leased_json(document: Bytes, leases: Leases) -> Response {
    let body = LeasedBody { document: Some(document), leases };
    ([(header::CONTENT_TYPE, JSON)], Body::new(body)).into_response()
}

struct LeasedBody {
    document: Option<Bytes>,
    leases: Leases,
}

impl http_body::Body for LeasedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let document = self.document.take();
        if document.is_some() {
            self.leases.sent();
        }
        Poll::Ready(document.map(|document| Ok(Frame::data(document))))
    }

    fn is_end_stream(&self) -> bool {
        self.document.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let bytes = self.document.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn short_work_is_done_in_place_and_longer_work_elsewhere() {
        for (bytes, in_place) in [(RENDER_INLINE_BYTES_MAX, true), (RENDER_INLINE_BYTES_MAX + 1, false)] {
            let stored = [Bytes::from_static(b"x"), Bytes::from(vec![0; bytes - 1])];
            let worker = render(stored.iter(), || Ok(thread::current().id())).await.unwrap();
            assert_eq!(worker == thread::current().id(), in_place, "{bytes}");
        }
    }
}
