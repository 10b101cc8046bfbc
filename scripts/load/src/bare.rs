//! The client of the bare pipeline: `u32 length, body` out, 64 bytes back for each, in order.
use crate::conversation::{self, Connection, Conversation, Failure, Workload};
use crate::run::{Pace, Tally};
use crate::settings::Settings;
use crate::window::Sequence;

const REPLY_BYTES: usize = 64;

/// Frames of one size to one address.
pub struct Frames {
    address: std::net::SocketAddr,
    window: usize,
    batch: u64,
    frame: Vec<u8>,
}

impl Frames {
    /// With `--batch N` a frame holds N bodies, as the limit for batches.
    pub fn new(settings: &Settings) -> Self {
        let body_bytes = settings.size * settings.batch;
        let mut frame = u32::try_from(body_bytes).unwrap_or(u32::MAX).to_be_bytes().to_vec();
        frame.resize(frame.len() + body_bytes, b'x');
        Self { address: settings.address, window: settings.window, batch: settings.batch as u64, frame }
    }
}

impl Workload for Frames {
    fn connect(&self, _index: usize) -> Result<Connection, Failure> {
        let conversation = FrameConversation {
            frame: self.frame.clone(),
            sequence: Sequence::new(self.window),
            answered: 0,
            batch: self.batch,
        };
        Ok(Connection { stream: conversation::open(self.address)?, conversation: Box::new(conversation) })
    }
}

struct FrameConversation {
    frame: Vec<u8>,
    sequence: Sequence,
    answered: u64,
    batch: u64,
}

impl Conversation for FrameConversation {
    fn request(&mut self, out: &mut Vec<u8>, pace: &mut Pace, now_ns: u64) {
        while self.sequence.has_room() {
            let Some(started_ns) = pace.next(now_ns) else { return };
            self.sequence.begin(started_ns);
            out.extend_from_slice(&self.frame);
        }
    }

    fn answer(&mut self, input: &[u8], tally: &mut Tally<'_>) -> Result<usize, Failure> {
        let count = input.len() / REPLY_BYTES;
        self.answered += count as u64;
        let batch = self.batch;
        if count > 0
            && !self.sequence.end(self.answered, true, |started_ns| tally.acknowledged(batch, started_ns))
        {
            return Err(Failure::Malformed("more replies than frames".to_owned()));
        }
        Ok(count * REPLY_BYTES)
    }

    fn in_flight(&self) -> usize {
        self.sequence.in_flight()
    }
}
