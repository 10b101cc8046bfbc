//! Consumes with a prefetch and acknowledges every message, or every `--ack-every` messages at once. A message counts
//! when its body is complete. What is delivered but not acknowledged at the end goes back to its queue.
use super::frame::{self, Frame};
use super::handshake::{self, CHANNEL};
use crate::conversation::{Connection, Conversation, Failure, Workload};
use crate::run::{Pace, Tally};
use crate::settings::Settings;
use crate::stamp;

/// Consumers on a set of queues; connection `i` consumes queue `i` modulo their number.
pub struct Consumes {
    address: std::net::SocketAddr,
    prefetch: u16,
    ack_every: u64,
    stamp: bool,
    queues: Vec<String>,
}

impl Consumes {
    pub fn prepare(settings: &Settings) -> Result<Self, Failure> {
        let queue_type = settings.queue_type.as_deref();
        let queues = settings.queues.unwrap_or(1);
        Ok(Self {
            address: settings.address,
            prefetch: u16::try_from(settings.window).unwrap_or(u16::MAX),
            ack_every: settings.ack_every,
            stamp: settings.stamp,
            queues: handshake::declare_all(settings.address, &settings.topic, queues, queue_type)?,
        })
    }
}

impl Workload for Consumes {
    fn connect(&self, index: usize) -> Result<Connection, Failure> {
        let mut session = handshake::open(self.address)?;
        let [p0, p1] = self.prefetch.to_be_bytes();
        session.call(CHANNEL, frame::QOS, &[0, 0, 0, 0, p0, p1, 0], frame::QOS_OK)?;
        let mut arguments = vec![0, 0];
        frame::put_short_text(&mut arguments, &self.queues[index % self.queues.len()]);
        frame::put_short_text(&mut arguments, "load");
        arguments.push(0);
        frame::put_table(&mut arguments, None);
        // The answer is left to the conversation: deliveries may follow it in the same read.
        session.send(CHANNEL, frame::CONSUME, &arguments)?;
        let conversation = ConsumeConversation {
            ack_every: self.ack_every,
            stamp: self.stamp,
            age_ns: None,
            tag: 0,
            acknowledged: 0,
            body_left: 0,
            is_delivering: false,
            asked_ns: 0,
        };
        Ok(Connection { stream: session.stream, conversation: Box::new(conversation) })
    }
}

struct ConsumeConversation {
    ack_every: u64,
    stamp: bool,
    /// How old the message being delivered is, once its first body frame has told.
    age_ns: Option<u64>,
    /// The newest delivery tag whose body is complete.
    tag: u64,
    acknowledged: u64,
    body_left: u64,
    is_delivering: bool,
    /// When the last acknowledgement went out: a delivery's latency is what came after it.
    asked_ns: u64,
}

impl ConsumeConversation {
    fn take(&mut self, frame: Frame<'_>, tally: &mut Tally<'_>) -> Result<(), Failure> {
        match (frame.kind, frame.method()) {
            (_, Some((frame::DELIVER, _))) if !self.is_delivering => {
                self.is_delivering = true;
                // No header yet: a zero must not look like a complete body.
                self.body_left = u64::MAX;
                Ok(())
            }
            (_, Some((frame::CONSUME_OK, _))) => Ok(()),
            (frame::HEADER, _) if self.is_delivering => {
                let size = frame::read_u64(frame.payload, 4);
                self.body_left = size.ok_or_else(|| Failure::Malformed("short content header".to_owned()))?;
                self.complete(tally);
                Ok(())
            }
            (frame::BODY, _) if self.is_delivering => {
                if self.stamp && self.age_ns.is_none() {
                    self.age_ns = Some(stamp::age_ns(frame.payload, stamp::wall_ns())?);
                }
                self.body_left = self
                    .body_left
                    .checked_sub(frame.payload.len() as u64)
                    .ok_or_else(|| Failure::Malformed("body longer than its header says".to_owned()))?;
                self.complete(tally);
                Ok(())
            }
            (frame::HEARTBEAT, _) => Ok(()),
            _ => Err(frame.refusal()),
        }
    }

    /// Delivery tags of a channel count 1, 2, 3 ..., so they need not be read.
    fn complete(&mut self, tally: &mut Tally<'_>) {
        if self.body_left == 0 {
            self.is_delivering = false;
            self.tag += 1;
            match self.age_ns.take() {
                Some(age_ns) => tally.arrived(age_ns),
                None => tally.acknowledged(1, self.asked_ns),
            }
        }
    }
}

impl Conversation for ConsumeConversation {
    fn request(&mut self, out: &mut Vec<u8>, _pace: &mut Pace, now_ns: u64) {
        while self.tag - self.acknowledged >= self.ack_every {
            self.acknowledged += self.ack_every;
            let mut arguments = [0; 9];
            arguments[..8].copy_from_slice(&self.acknowledged.to_be_bytes());
            arguments[8] = u8::from(self.ack_every > 1);
            frame::write_method(out, CHANNEL, frame::ACK, &arguments);
            self.asked_ns = now_ns;
        }
    }

    fn answer(&mut self, input: &[u8], tally: &mut Tally<'_>) -> Result<usize, Failure> {
        let mut taken = 0;
        while let Some(frame) = frame::next(&input[taken..])? {
            self.take(frame, tally)?;
            taken += frame.bytes;
        }
        Ok(taken)
    }

    /// Deliveries come unasked: nothing has to be waited for.
    fn in_flight(&self) -> usize {
        0
    }
}
