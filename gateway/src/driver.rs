//! The one connection driver: reads all complete frames, hands them over as one batch, writes what comes back, keeps
//! deadlines and limits. It runs every protocol's state machine alike.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use mailrail_broker::connection::{Connection, Output};
use mailrail_broker::{Event, Now};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::buffers::{Buffer, Buffers, FREE_BYTES, SHORT_READ_BYTES, TURN_TIME_MAX};
use crate::metering::ConnectionMeter;
use crate::stream::Stream;

/// Bytes made room for before each read; doubled while reads fill it.
const READ_BYTES_MIN: usize = 16 * 1024;
const READ_BYTES_MAX: usize = 256 * 1024;
/// Slices of one vectored write.
const SLICES: usize = 64;
/// While so much waits to be written, the broker's events are left where they are: a peer that does not read gets
/// nothing further. What it says is still heard, or neither side might ever go on. It is less where memory is.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Where there is no deadline.
const DEADLINE_FAR: Duration = Duration::from_secs(86_400);
/// Where others wait for memory, how long a peer may leave half a request standing, or take nothing of what is written.
const INPUT_STALL_MAX: Duration = Duration::from_secs(2);
const OUTPUT_STALL_MAX: Duration = Duration::from_secs(10);
/// How long a closing connection may take to read what is still written to it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Running,
    /// Nothing more is read; what was taken is answered.
    Draining,
    /// Everything is answered: say goodbye, write what waits, close.
    Closing,
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Ended {
    ByPeer,
    ByProtocol,
    ByShutdown,
    /// It kept memory that others wait for.
    ForMemory(&'static str),
    Failed(#[allow(dead_code, reason = "shown by Debug in the log")] io::Error),
}

/// What made the driver go on.
enum Turn {
    Events,
    /// So many bytes were read; 0 means that the peer has closed.
    Read(io::Result<usize>),
    Writable,
    Deadline,
    Phase(Phase),
}

struct Driver<'a, C> {
    stream: Stream,
    connection: C,
    input: BytesMut,
    output: Output,
    events: Vec<Event>,
    read_bytes: usize,
    meter: &'a ConnectionMeter,
    /// Input is left that the connection did not want yet.
    is_stalled: bool,
    buffer: Buffer,
    /// Something has come that is not read since memory is short.
    is_held_back: bool,
    output_bytes_max: usize,
    /// Monotonic times at which bytes came and left last, or were excused for not doing so, and at which the
    /// connection's turn to read began.
    read_at: Duration,
    written_at: Duration,
    turn_at: Option<Duration>,
}

/// Runs a connection to its end.
pub async fn drive<C: Connection>(
    stream: Stream,
    connection: C,
    mut phase: watch::Receiver<Phase>,
    meter: &ConnectionMeter,
    buffers: Arc<Buffers>,
) -> Ended {
    if let Err(error) = stream.set_nodelay() {
        return Ended::Failed(error);
    }
    let mut driver = Driver::new(stream, connection, meter, buffers);
    let ended = driver.run(&mut phase).await.unwrap_or_else(Ended::Failed);
    if matches!(ended, Ended::ForMemory(_)) {
        return ended;
    }
    let flush = async { while driver.has_output() && driver.write_ready().await.is_ok() {} };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, flush).await;
    ended
}

impl<'a, C: Connection> Driver<'a, C> {
    fn new(stream: Stream, mut connection: C, meter: &'a ConnectionMeter, buffers: Arc<Buffers>) -> Self {
        let broker = connection.session().broker();
        let now = broker.now().mono;
        let output_bytes_max = broker.delivery_step_bytes_max().min(OUTPUT_BYTES_MAX);
        Driver {
            stream,
            connection,
            input: BytesMut::new(),
            output: Output::default(),
            events: Vec::new(),
            read_bytes: READ_BYTES_MIN,
            meter,
            is_stalled: false,
            buffer: Buffer::new(buffers),
            is_held_back: false,
            output_bytes_max,
            read_at: now,
            written_at: now,
            turn_at: None,
        }
    }

    async fn run(&mut self, phase: &mut watch::Receiver<Phase>) -> io::Result<Ended> {
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        // The deadline that the timer is set for: one that moves away is looked at again when that is over.
        let mut set_for = None;
        let mut now = self.connection.session().broker().now();
        let mut draining = *phase.borrow_and_update() != Phase::Running;
        loop {
            if self.connection.is_closing() {
                return Ok(Ended::ByProtocol);
            }
            let deadlines = self.connection.deadline().into_iter().chain(self.patience_ends());
            let deadline = deadlines.min().unwrap_or(now.mono + DEADLINE_FAR);
            if set_for.is_none_or(|set_for| deadline < set_for) {
                timer.as_mut().reset(Instant::now() + deadline.saturating_sub(now.mono));
                set_for = Some(deadline);
            }
            let turn = self.next_turn(phase, timer.as_mut(), draining).await;
            now = self.connection.session().broker().now();
            match turn {
                Turn::Events => {
                    self.connection.handle_events(now, &mut self.events, &mut self.output);
                    self.events.clear();
                }
                Turn::Read(read) => match read? {
                    0 => return Ok(Ended::ByPeer),
                    read => {
                        self.meter.received(read);
                        self.read_at = now.mono;
                        self.handle_input(now);
                    }
                },
                Turn::Writable => {}
                Turn::Deadline => {
                    set_for = None;
                    if let Some(why) = self.handle_deadline(now) {
                        return Ok(Ended::ForMemory(why));
                    }
                }
                Turn::Phase(Phase::Closing) => {
                    // The broker has answered everything by now; no answer is left behind.
                    self.connection.session().take_events(&mut self.events);
                    self.connection.handle_events(now, &mut self.events, &mut self.output);
                    self.connection.handle_shutdown(now, &mut self.output);
                    return Ok(Ended::ByShutdown);
                }
                Turn::Phase(next) => draining = next != Phase::Running,
            }
            if self.write()? {
                self.written_at = now.mono;
                // A consumer may have held back for what has left now.
                self.connection.handle_written(now, &mut self.output);
                self.write()?;
            }
            if self.is_stalled && self.connection.wants_input() {
                self.handle_input(now);
                self.write()?;
            }
            self.count(now.mono);
        }
    }

    async fn next_turn(
        &mut self,
        phase: &mut watch::Receiver<Phase>,
        mut timer: Pin<&mut Sleep>,
        draining: bool,
    ) -> Turn {
        let turn = {
            let changed = phase.changed();
            tokio::pin!(changed);
            poll_fn(|context| {
                if let Poll::Ready(Ok(())) = changed.as_mut().poll(context) {
                    return Poll::Ready(None);
                }
                self.poll_turn(context, timer.as_mut(), draining).map(Some)
            })
            .await
        };
        turn.unwrap_or_else(|| Turn::Phase(*phase.borrow_and_update()))
    }

    /// Counts what is kept, once for all that a turn brought.
    fn count(&mut self, now: Duration) {
        self.buffer.keep(self.input.len() + self.connection.kept_bytes());
        self.connection.session().keep_held(self.output.len());
        self.turn_at = self.buffer.has_turn().then(|| self.turn_at.unwrap_or(now));
    }

    /// When to look whether others wait for what the connection keeps.
    fn patience_ends(&mut self) -> Option<Duration> {
        let keeps_input = self.buffer.counted() > 0;
        let keeps_output = keeps_input || self.connection.session().held_bytes() > 0;
        let input = keeps_input.then_some(self.read_at + INPUT_STALL_MAX);
        let output = (keeps_output && !self.output.is_empty()).then_some(self.written_at + OUTPUT_STALL_MAX);
        let turn = self.turn_at.map(|at| at + TURN_TIME_MAX);
        input.into_iter().chain(output).chain(turn).min()
    }

    /// Returns why the connection is to end, if it is the peer's fault that others wait for memory.
    fn handle_deadline(&mut self, now: Now) -> Option<&'static str> {
        if self.is_held_back {
            self.connection.handle_held_back(now);
        }
        if self.connection.deadline().is_some_and(|at| at <= now.mono) {
            self.connection.handle_deadline(now, &mut self.output);
        }
        let now = now.mono;
        let is_amid = self.input.len() > FREE_BYTES || self.connection.is_amid_message();
        let keeps_input = self.buffer.counted() > 0 && self.buffer.is_short();
        if self.turn_at.is_some_and(|at| at + TURN_TIME_MAX <= now) {
            if is_amid {
                return Some("a request took too long to arrive");
            }
            self.buffer.end_turn();
        }
        if self.read_at + INPUT_STALL_MAX <= now {
            if keeps_input && is_amid && self.connection.wants_input() && !self.is_held_back {
                return Some("the rest of a request did not arrive");
            }
            self.read_at = now;
        }
        if !self.output.is_empty() && self.written_at + OUTPUT_STALL_MAX <= now {
            let session = self.connection.session();
            if keeps_input || session.held_bytes() > 0 && session.broker().deliveries().is_used_up() {
                return Some("the peer takes nothing of what is written");
            }
            self.written_at = now;
        }
        None
    }

    fn handle_input(&mut self, now: Now) {
        self.connection.handle_input(now, &mut self.input, &mut self.output);
        self.is_stalled = !self.input.is_empty() && !self.connection.wants_input();
        self.meter.decoded(self.connection.session().broker().now().mono - now.mono);
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, timer: Pin<&mut Sleep>, draining: bool) -> Poll<Turn> {
        // First, since on a busy connection one of the others is always ready.
        if timer.poll(context).is_ready() {
            return Poll::Ready(Turn::Deadline);
        }
        if self.output.len() <= self.output_bytes_max
            && self.connection.session().poll_events(context, &mut self.events).is_ready()
        {
            return Poll::Ready(Turn::Events);
        }
        if self.has_output() && self.stream.poll_write_ready(context).is_ready() {
            return Poll::Ready(Turn::Writable);
        }
        let has_input =
            !draining && self.wants_input(context) && self.stream.poll_read_ready(context).is_ready();
        self.is_held_back = has_input && !self.buffer.may_read(context);
        if has_input && !self.is_held_back {
            if let Poll::Ready(read) = self.poll_read(context) {
                return Poll::Ready(Turn::Read(read));
            }
            self.buffer.read_nothing();
        }
        let (bytes, capacity) = (self.input.len(), self.input.capacity());
        if bytes == 0 && capacity > 0 || bytes <= FREE_BYTES && capacity > FREE_BYTES + READ_BYTES_MIN {
            // An idle connection keeps no more of its buffer than what is in it.
            self.input = BytesMut::from(&self.input[..]);
        }
        Poll::Pending
    }

    /// Whether the connection takes input. One that does not because of the broker's work is woken when that eases;
    /// whatever else it waits for, an event or a write brings.
    fn wants_input(&mut self, context: &mut Context<'_>) -> bool {
        self.connection.wants_input()
            || (self.connection.session().poll_uncongested(context).is_ready()
                && self.connection.wants_input())
    }

    /// Reads once; where memory is short, no more than a turn may leave behind of the next request. A read that does not
    /// fill its room has taken all there is, as the library knows: the next waits for the socket instead of asking it
    /// again.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let is_short = self.buffer.is_short();
        self.input.reserve(if is_short { SHORT_READ_BYTES } else { self.read_bytes });
        let spare = self.input.capacity() - self.input.len();
        let room = if is_short { SHORT_READ_BYTES } else { spare };
        let mut input = (&mut self.input).limit(room);
        let polled = pin!(self.stream.read_buf(&mut input)).poll(context);
        if let Poll::Ready(Ok(read)) = polled {
            self.read_bytes = next_read_bytes(self.read_bytes, room, read);
        }
        polled
    }

    /// Writes as much as the socket takes now; true when it took something.
    fn write(&mut self) -> io::Result<bool> {
        let mut moved = false;
        while !self.output.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.output.slices(&mut slices);
            match self.stream.try_write_vectored(&slices[..filled]) {
                Ok(written) => {
                    self.meter.sent(written);
                    self.output.advance(written);
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.stream.holds_bytes() {
            self.stream.try_flush()?;
        }
        Ok(moved)
    }

    /// True while something has not left yet.
    fn has_output(&self) -> bool {
        !self.output.is_empty() || self.stream.holds_bytes()
    }

    async fn write_ready(&mut self) -> io::Result<()> {
        self.stream.writable().await?;
        self.write().map(|_| ())
    }
}

/// What to make room for after a read of so many bytes into so much room.
fn next_read_bytes(read_bytes: usize, room: usize, read: usize) -> usize {
    match read {
        read if read == room => (read_bytes * 2).min(READ_BYTES_MAX),
        read if read < read_bytes / 4 => (read_bytes / 2).max(READ_BYTES_MIN),
        _ => read_bytes,
    }
}

#[cfg(test)]
mod tests;
