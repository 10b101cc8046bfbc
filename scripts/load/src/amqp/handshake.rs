//! From a TCP connection to an open channel, blocking: login as guest to `/`, one channel, no heartbeats.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::frame::{self, Method};
use crate::conversation::{self, Failure};

const PROTOCOL_HEADER: &[u8] = b"AMQP\0\0\x09\x01";
pub const CHANNEL: u16 = 1;

/// An open channel on its own connection.
pub struct Session {
    pub stream: TcpStream,
    /// Payload bytes that fit into one frame.
    pub payload_bytes_max: usize,
    input: Vec<u8>,
}

/// Connects, logs in and opens channel 1.
pub fn open(address: SocketAddr) -> Result<Session, Failure> {
    let stream = conversation::open(address)?;
    let mut session = Session { stream, payload_bytes_max: 0, input: Vec::new() };
    session.stream.write_all(PROTOCOL_HEADER)?;
    session.expect(frame::START)?;

    let mut arguments = Vec::new();
    frame::put_table(&mut arguments, Some(("product", "mailrail-load")));
    frame::put_short_text(&mut arguments, "PLAIN");
    frame::put_long(&mut arguments, b"\0guest\0guest");
    frame::put_short_text(&mut arguments, "en_US");
    session.send(0, frame::START_OK, &arguments)?;

    let tune = session.expect(frame::TUNE)?;
    let [c0, c1, f0, f1, f2, f3, ..] = tune[..] else {
        return Err(Failure::Malformed("short tune".to_owned()));
    };
    let frame_bytes_max = u32::from_be_bytes([f0, f1, f2, f3]) as usize;
    session.payload_bytes_max = frame_bytes_max.saturating_sub(frame::OVERHEAD_BYTES);
    if session.payload_bytes_max == 0 {
        return Err(Failure::Malformed("tune without a frame limit".to_owned()));
    }
    session.send(0, frame::TUNE_OK, &[c0, c1, f0, f1, f2, f3, 0, 0])?;

    let mut arguments = Vec::new();
    frame::put_short_text(&mut arguments, "/");
    arguments.extend_from_slice(&[0, 0]);
    session.call(0, frame::OPEN, &arguments, frame::OPEN_OK)?;
    session.call(CHANNEL, frame::CHANNEL_OPEN, &[0], frame::CHANNEL_OPEN_OK)?;
    Ok(session)
}

impl Session {
    /// Declares a durable queue, with `x-queue-type` if one is given.
    pub fn declare(&mut self, queue: &str, queue_type: Option<&str>) -> Result<(), Failure> {
        const DURABLE: u8 = 0b10;
        let mut arguments = vec![0, 0];
        frame::put_short_text(&mut arguments, queue);
        arguments.push(DURABLE);
        frame::put_table(&mut arguments, queue_type.map(|queue_type| ("x-queue-type", queue_type)));
        self.call(CHANNEL, frame::QUEUE_DECLARE, &arguments, frame::QUEUE_DECLARE_OK)
    }

    /// Sends a method and waits for its answer.
    pub fn call(
        &mut self,
        channel: u16,
        method: Method,
        arguments: &[u8],
        answer: Method,
    ) -> Result<(), Failure> {
        self.send(channel, method, arguments)?;
        self.expect(answer).map(drop)
    }

    pub fn send(&mut self, channel: u16, method: Method, arguments: &[u8]) -> Result<(), Failure> {
        let mut out = Vec::new();
        frame::write_method(&mut out, channel, method, arguments);
        Ok(self.stream.write_all(&out)?)
    }

    fn expect(&mut self, expected: Method) -> Result<Vec<u8>, Failure> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(frame) = frame::next(&self.input)? {
                let arguments = match frame.method() {
                    Some((method, arguments)) if method == expected => Some(arguments.to_vec()),
                    _ if frame.kind == frame::HEARTBEAT => None,
                    _ => return Err(frame.refusal()),
                };
                self.input.drain(..frame.bytes);
                if let Some(arguments) = arguments {
                    return Ok(arguments);
                }
                continue;
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(Failure::Closed),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

/// Names of the queues a run uses, and makes sure they exist.
pub fn declare_all(
    address: SocketAddr,
    topic: &str,
    queues: usize,
    queue_type: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let names: Vec<_> = match queues {
        0 | 1 => vec![topic.to_owned()],
        _ => (0..queues).map(|index| format!("{topic}-{index}")).collect(),
    };
    let mut session = open(address)?;
    for name in &names {
        session.declare(name, queue_type)?;
    }
    Ok(names)
}
