//! What a protocol must offer to be driven: bytes out, bytes in, and how many messages were acknowledged.
//! No sockets and no clock after `connect`; `now` comes in as nanoseconds since the run began.
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use thiserror::Error;

use crate::run::{Pace, Tally};

/// A server that says nothing for so long while connecting is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a run ended without a result. Every one of them ends the whole run: figures with errors in them are worthless.
#[derive(Debug, Error)]
pub enum Failure {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the server closed a connection during the run")]
    Closed,
    #[error("the server refused: {0}")]
    Refused(String),
    #[error("unexpected bytes from the server: {0}")]
    Malformed(String),
    #[error("{0}")]
    Stalled(String),
    #[error("process {pid}: {source}")]
    Process { pid: u32, source: io::Error },
}

/// One kind of work against one server, prepared: topics and queues exist.
pub trait Workload {
    /// Opens connection number `index` and takes it through its handshake.
    fn connect(&self, index: usize) -> Result<Connection, Failure>;
}

/// A connection that is ready for load.
pub struct Connection {
    pub stream: TcpStream,
    pub conversation: Box<dyn Conversation>,
}

/// The client's half of one connection under load.
pub trait Conversation: Send {
    /// Appends every request that may be sent now: as many as the window has room for and `pace` allows.
    fn request(&mut self, out: &mut Vec<u8>, pace: &mut Pace, now_ns: u64);

    /// Takes every complete answer off the front of `input` and tallies it; gives the bytes taken.
    fn answer(&mut self, input: &[u8], tally: &mut Tally<'_>) -> Result<usize, Failure>;

    /// Requests that the run must see answered before it ends.
    fn in_flight(&self) -> usize;
}

/// A blocking connection with a time limit, for the handshake.
pub fn open(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
    stream.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    Ok(stream)
}
