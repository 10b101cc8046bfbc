//! The seam between a protocol's connection and whoever moves its bytes. No socket, no clock, no protocol here: the
//! gateway's one driver runs everything that implements [`Connection`].

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use crate::event::Event;
use crate::session::Session;
use crate::time::Now;

/// A connection's state machine. The driver calls it from one task; nothing in it blocks.
pub trait Connection: Send {
    /// Takes every complete frame off the front of `input` and leaves half a frame there. What the frames ask for goes
    /// to the broker as one submit. It may leave whole frames there while it wants no input; it is called again when
    /// it does.
    fn handle_input(&mut self, now: Now, input: &mut BytesMut, output: &mut Output);

    /// Takes what the broker says.
    fn handle_events(&mut self, now: Now, events: &mut Vec<Event>, output: &mut Output);

    /// Called when [`Connection::deadline`] has passed.
    fn handle_deadline(&mut self, now: Now, output: &mut Output);

    /// Called after bytes have left, with what still waits; a consumer may get more credit.
    fn handle_written(&mut self, _now: Now, _output: &mut Output) {}

    /// The broker is stopping: what is in `output` when this returns is still written, then the connection is closed.
    fn handle_shutdown(&mut self, _now: Now, _output: &mut Output) {}

    /// Monotonic time at which the connection wants [`Connection::handle_deadline`].
    fn deadline(&self) -> Option<Duration>;

    /// False while the connection must not read more, so that its peer feels the pressure: where it says how much may
    /// wait to be written or to be answered. It changes with input, events, writes and the broker's congestion only.
    fn wants_input(&self) -> bool;

    /// Something has come that is not read yet, since memory is short: whoever sent it is not silent.
    fn handle_held_back(&mut self, now: Now);

    /// Bytes kept beside input and output: of messages that are not complete, or wait for an answer.
    fn kept_bytes(&self) -> usize {
        0
    }

    /// True while the rest of a message is missing whose beginning is among [`Connection::kept_bytes`].
    fn is_amid_message(&self) -> bool {
        false
    }

    /// True when nothing more will be read: the driver writes what waits and closes.
    fn is_closing(&self) -> bool;

    /// The session whose events the driver waits for.
    fn session(&mut self) -> &mut Session;
}

/// Bytes copied rather than kept by reference: below this a copy is cheaper than one more slice to write.
const COPIED_BYTES_MAX: usize = 2 * 1024;

/// Bytes on their way out: small ones are gathered, long ones kept by reference.
#[derive(Debug, Default)]
pub struct Output {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    bytes: usize,
}

impl Output {
    /// Lets `write` append to the gathered bytes.
    pub fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.bytes += self.tail.len() - before;
    }

    /// Appends bytes, by reference when they are long.
    pub fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        if bytes.len() <= COPIED_BYTES_MAX {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.close_tail();
            self.chunks.push_back(bytes);
        }
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Fills `slices` for one vectored write; returns how many were filled.
    pub fn slices<'a>(&'a mut self, slices: &mut [IoSlice<'a>]) -> usize {
        self.close_tail();
        let mut filled = 0;
        for (slot, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slot = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    /// Drops the first `written` bytes.
    pub fn advance(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        while let Some(first) = self.chunks.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.chunks.pop_front();
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_small_and_long_pieces() {
        let mut output = Output::default();
        output.append(|tail| tail.extend_from_slice(b"ab"));
        output.push(Bytes::from(vec![b'c'; COPIED_BYTES_MAX + 1]));
        output.push(Bytes::from_static(b"d"));
        let mut all = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = output.slices(&mut slices);
            let chunk: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).take(3).collect();
            output.advance(chunk.len());
            all.extend(chunk);
        }
        let mut expected = b"ab".to_vec();
        expected.extend(vec![b'c'; COPIED_BYTES_MAX + 1]);
        expected.push(b'd');
        assert_eq!(all, expected);
    }
}
