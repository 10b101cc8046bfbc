//! Publishes through the default exchange, persistent unless `--durability memory`, and waits for confirms.
use super::frame::{self, Frame};
use super::handshake::{self, CHANNEL};
use crate::conversation::{Connection, Conversation, Failure, Workload};
use crate::run::{Pace, Tally};
use crate::settings::{Durability, Settings};
use crate::stamp;
use crate::window::Sequence;

const CLASS_BASIC: u16 = 60;
const FLAG_DELIVERY_MODE: u16 = 1 << 12;
const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

/// Publishers on a set of queues; connection `i` publishes to queue `i` modulo their number.
pub struct Publishes {
    address: std::net::SocketAddr,
    window: usize,
    size: usize,
    stamp: bool,
    delivery_mode: u8,
    queues: Vec<String>,
}

impl Publishes {
    pub fn prepare(settings: &Settings) -> Result<Self, Failure> {
        let queue_type = settings.queue_type.as_deref();
        Ok(Self {
            address: settings.address,
            window: settings.window,
            size: settings.size,
            stamp: settings.stamp,
            delivery_mode: if settings.durability == Durability::Disk { PERSISTENT } else { TRANSIENT },
            queues: handshake::declare_all(
                settings.address,
                &settings.topic,
                settings.queues.unwrap_or(1),
                queue_type,
            )?,
        })
    }

    /// The frames of one message: method, content header, as many body frames as it takes; and where its body begins.
    fn encode(&self, queue: &str, payload_bytes_max: usize) -> (Vec<u8>, usize) {
        let mut out = Vec::new();
        let mut arguments = vec![0, 0];
        frame::put_short_text(&mut arguments, "");
        frame::put_short_text(&mut arguments, queue);
        arguments.push(0);
        frame::write_method(&mut out, CHANNEL, frame::PUBLISH, &arguments);
        let mut header = Vec::new();
        header.extend_from_slice(&CLASS_BASIC.to_be_bytes());
        header.extend_from_slice(&[0, 0]);
        header.extend_from_slice(&(self.size as u64).to_be_bytes());
        header.extend_from_slice(&FLAG_DELIVERY_MODE.to_be_bytes());
        header.push(self.delivery_mode);
        frame::write(&mut out, frame::HEADER, CHANNEL, &header);
        let body_at = out.len() + frame::HEAD_BYTES;
        for part in vec![b'x'; self.size].chunks(payload_bytes_max) {
            frame::write(&mut out, frame::BODY, CHANNEL, part);
        }
        (out, body_at)
    }
}

impl Workload for Publishes {
    fn connect(&self, index: usize) -> Result<Connection, Failure> {
        let mut session = handshake::open(self.address)?;
        session.call(CHANNEL, frame::CONFIRM_SELECT, &[0], frame::CONFIRM_SELECT_OK)?;
        let queue = &self.queues[index % self.queues.len()];
        let (message, body_at) = self.encode(queue, session.payload_bytes_max);
        let conversation = PublishConversation {
            message,
            stamp_at: self.stamp.then_some(body_at),
            sequence: Sequence::new(self.window),
        };
        Ok(Connection { stream: session.stream, conversation: Box::new(conversation) })
    }
}

struct PublishConversation {
    message: Vec<u8>,
    /// Where each message gets its stamp, if it gets one.
    stamp_at: Option<usize>,
    sequence: Sequence,
}

impl PublishConversation {
    fn confirm(&mut self, frame: Frame<'_>, tally: &mut Tally<'_>) -> Result<(), Failure> {
        match frame.method() {
            Some((frame::ACK, arguments)) => {
                let tag = frame::read_u64(arguments, 0);
                let multiple = arguments.get(8).is_some_and(|bits| bits & 1 == 1);
                let known = tag.is_some_and(|tag| {
                    self.sequence.end(tag, multiple, |started_ns| tally.acknowledged(1, started_ns))
                });
                if known { Ok(()) } else { Err(Failure::Malformed(format!("confirm of {tag:?}"))) }
            }
            Some((frame::NACK, _)) => Err(Failure::Refused("basic.nack".to_owned())),
            None if frame.kind == frame::HEARTBEAT => Ok(()),
            _ => Err(frame.refusal()),
        }
    }
}

impl Conversation for PublishConversation {
    fn request(&mut self, out: &mut Vec<u8>, pace: &mut Pace, now_ns: u64) {
        let wall_ns = if self.stamp_at.is_some() { stamp::wall_ns() } else { 0 };
        while self.sequence.has_room() {
            let Some(started_ns) = pace.next(now_ns) else { return };
            self.sequence.begin(started_ns);
            let begin = out.len();
            out.extend_from_slice(&self.message);
            if let Some(at) = self.stamp_at {
                stamp::write(&mut out[begin + at..], wall_ns, now_ns - started_ns);
            }
        }
    }

    fn answer(&mut self, input: &[u8], tally: &mut Tally<'_>) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some(frame) = frame::next(&input[taken..])? {
            self.confirm(frame, tally)?;
            taken += frame.bytes;
        }
        Ok(taken)
    }

    fn in_flight(&self) -> usize {
        self.sequence.in_flight()
    }
}
