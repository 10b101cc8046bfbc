//! One raw connection of a client that means no good. Every wait has an end; what the broker did is judged by the caller.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::{Failure, require};

/// How long one write may wait for a broker that does not read.
const WRITE_MAX: Duration = Duration::from_secs(5);
const KEPT_BYTES_MAX: usize = 1 << 20;

pub struct Peer {
    stream: TcpStream,
    /// What the broker sent, as far as it was read.
    pub received: Vec<u8>,
    is_closed: bool,
}

impl Peer {
    pub fn connect(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).map_err(Failure::io(format!("connecting to {address}")))?;
        stream.set_write_timeout(Some(WRITE_MAX)).map_err(Failure::io("setting a time limit"))?;
        stream.set_nodelay(true).map_err(Failure::io("sending without delay"))?;
        Ok(Self { stream, received: Vec::new(), is_closed: false })
    }

    /// Sends as much as the broker takes; it may close before it has read all of it. False if it did not take all.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Says that nothing more will come, and goes on listening.
    pub fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write); // closed by the broker already, at worst
    }

    /// Reads until what was received satisfies the condition, the broker has closed, or the time is over. True in the first case.
    pub fn read_until(
        &mut self,
        deadline: Instant,
        is_enough: impl Fn(&[u8]) -> bool,
    ) -> Result<bool, Failure> {
        let mut part = vec![0; 64 << 10];
        loop {
            if is_enough(&self.received) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.is_closed || left.is_zero() {
                return Ok(false);
            }
            self.stream.set_read_timeout(Some(left)).map_err(Failure::io("setting a time limit"))?;
            match self.stream.read(&mut part) {
                Ok(0) => self.is_closed = true,
                Ok(count) => {
                    self.received.extend_from_slice(&part[..count]);
                    require!(self.received.len() <= KEPT_BYTES_MAX, "an endless answer");
                }
                Err(e) => match e.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                        self.is_closed = true;
                    }
                    _ => return Err(Failure::io("reading an answer")(e)),
                },
            }
        }
    }

    /// Whether the broker has closed by then.
    pub fn is_closed_by(&mut self, deadline: Instant) -> Result<bool, Failure> {
        self.read_until(deadline, |_| false)?;
        Ok(self.is_closed)
    }

    /// What the broker said, for a failure's text.
    pub fn said(&self) -> String {
        format!("{:?}", String::from_utf8_lossy(&self.received[..self.received.len().min(200)]))
    }
}
