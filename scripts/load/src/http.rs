//! HTTP/1.1 on kept connections, one request in flight on each: publishes to the REST API, or GETs of one path.
use std::net::SocketAddr;

use memchr::memmem;

use crate::conversation::{self, Connection, Conversation, Failure, Workload};
use crate::run::{Pace, Tally};
use crate::settings::{Durability, Settings};

const HEAD_BYTES_MAX: usize = 64 * 1024;
const BODY_BYTES_MAX: usize = 64 << 20;

/// The same request again and again.
pub struct Requests {
    address: SocketAddr,
    request: Vec<u8>,
    batch: u64,
}

impl Requests {
    /// One message as the request's body, or `--batch` messages as JSON.
    pub fn publish(settings: &Settings) -> Self {
        let text = "x".repeat(settings.size);
        let (kind, body) = match settings.batch {
            1 => ("application/octet-stream", text),
            count => {
                let messages = vec![format!(r#"{{"body":"{text}"}}"#); count].join(",");
                ("application/json", format!(r#"{{"messages":[{messages}]}}"#))
            }
        };
        let durability = if settings.durability == Durability::Disk { "disk" } else { "memory" };
        let request = format!(
            "POST /v1/topics/{}/messages HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nMailrail-Durability: {durability}\r\nContent-Length: {}\r\n\r\n{body}",
            settings.topic,
            settings.address,
            body.len()
        );
        Self { address: settings.address, request: request.into_bytes(), batch: settings.batch as u64 }
    }

    /// Nothing is published; each answer counts as one.
    pub fn get(settings: &Settings) -> Self {
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", settings.path, settings.address);
        Self { address: settings.address, request: request.into_bytes(), batch: 1 }
    }
}

impl Workload for Requests {
    fn connect(&self, _index: usize) -> Result<Connection, Failure> {
        let conversation =
            RequestConversation { request: self.request.clone(), batch: self.batch, started: None };
        Ok(Connection { stream: conversation::open(self.address)?, conversation: Box::new(conversation) })
    }
}

struct RequestConversation {
    request: Vec<u8>,
    batch: u64,
    started: Option<u64>,
}

impl Conversation for RequestConversation {
    fn request(&mut self, out: &mut Vec<u8>, pace: &mut Pace, now_ns: u64) {
        if self.started.is_none() {
            self.started = pace.next(now_ns);
            if self.started.is_some() {
                out.extend_from_slice(&self.request);
            }
        }
    }

    fn answer(&mut self, input: &[u8], tally: &mut Tally<'_>) -> Result<usize, Failure> {
        let Some(response) = parse(input)? else { return Ok(0) };
        if !(200..300).contains(&response.status) {
            return Err(Failure::Refused(String::from_utf8_lossy(&input[..response.bytes]).into_owned()));
        }
        let started_ns =
            self.started.take().ok_or_else(|| Failure::Malformed("an answer to no request".to_owned()))?;
        tally.acknowledged(self.batch, started_ns);
        Ok(response.bytes)
    }

    fn in_flight(&self) -> usize {
        usize::from(self.started.is_some())
    }
}

struct Response {
    status: u16,
    /// Bytes of head and body.
    bytes: usize,
}

/// The first response of `input`; `None` while it is incomplete. Chunked bodies are refused: the API sends none here.
fn parse(input: &[u8]) -> Result<Option<Response>, Failure> {
    let malformed =
        || Failure::Malformed(String::from_utf8_lossy(&input[..input.len().min(300)]).into_owned());
    let Some(head_bytes) = memmem::find(input, b"\r\n\r\n").map(|at| at + 4) else {
        return if input.len() > HEAD_BYTES_MAX { Err(malformed()) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&input[..head_bytes]).map_err(|_| malformed())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(malformed)?;
    let body_bytes = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .filter(|body_bytes| *body_bytes <= BODY_BYTES_MAX)
        .ok_or_else(malformed)?;
    let bytes = head_bytes + body_bytes;
    Ok((input.len() >= bytes).then_some(Response { status, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_taken_whole_or_not_at_all() {
        let bytes = b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\nx: y\r\n\r\nhello";
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).expect("half a response is no error").is_none());
        }
        let response = parse(bytes).expect("well formed").expect("complete");
        assert_eq!((response.status, response.bytes), (201, bytes.len()));
    }

    #[test]
    fn a_response_without_a_length_is_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").is_err());
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
