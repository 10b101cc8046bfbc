//! Random, truncated, oversized and slow bytes, and connections that say nothing: they cost their own connection at most, memory
//! stays flat, and the next client is served.
//!
//! What exactly each protocol answers to which error is tested beside its codec; here only that the broker stands it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::broker::Against;
use crate::line::Outgoing;
use crate::sdk::{Protocol, Sdk};
use crate::world::World;
use crate::{Failure, Outcome, require};

const CONNECTIONS: u64 = 60;
const SILENT: usize = 200;
const FLOOD_BYTES: usize = 8 << 20;
/// Private memory may grow by this much over all of it: caches and thread stacks, not what was claimed in lengths.
const GROWTH_KIB_MAX: u64 = 48 << 10;
const ANSWER_MAX: Duration = Duration::from_secs(20);

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    if world.against() != Against::Mailrail {
        return Ok(Outcome::Cannot("the peer's own business".into()));
    }
    let topic = world.name("hostile");
    world.make_topic(&topic, 1, &[sdk])?;
    let mut client = world.driver(sdk)?;
    client.send(&topic, "sync", &[Outgoing::text("before")])?;
    let endpoints = world.broker()?.endpoints().clone();
    let address = match sdk.protocol() {
        Protocol::Remoting => endpoints.remoting,
        Protocol::Amqp => endpoints.amqp,
        Protocol::Http => endpoints.http,
    };
    let address = address.ok_or_else(|| Failure::Environment("no such listener".into()))?;
    let pid = world.broker()?.pid().ok_or_else(|| Failure::Environment("no process id".into()))?;
    let before = memory_kib(pid)?;

    let silent = (0..SILENT).map(|_| connect(&address)).collect::<Result<Vec<_>, _>>()?;
    let opening = opening(sdk.protocol());
    for seed in 0..CONNECTIONS {
        random_bytes(&address, seed)?;
        truncated(&address, &opening, seed)?;
        oversized(&address, sdk.protocol())?;
    }
    flood(&address)?;
    let mut slow = connect(&address)?;
    for byte in &opening[..opening.len() - 1] {
        slow.write_all(&[*byte]).map_err(Failure::io("writing slowly"))?;
        slow.flush().map_err(Failure::io("writing slowly"))?;
    }
    // With all of these still open, the client goes on as if nothing had been.
    client.send(&topic, "sync", &[Outgoing::text("meanwhile")])?;
    let after = memory_kib(pid)?;
    drop(silent);
    drop(slow);
    client.send(&topic, "sync", &[Outgoing::text("after")])?;
    world.done(client);
    require!(after < before + GROWTH_KIB_MAX, "memory grew from {before} to {after} KiB");
    Ok(Outcome::Pass)
}

fn connect(address: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address).map_err(Failure::io(format!("connecting to {address}")))?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(Failure::io("setting a time limit"))?;
    Ok(stream)
}

/// The first bytes of an honest client.
fn opening(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Remoting => {
            let header = br#"{"code":105,"extFields":{"topic":"T"},"flag":0,"language":"JAVA","opaque":0,"version":513}"#;
            let length = u32::try_from(header.len()).unwrap_or(0);
            [&(length + 4).to_be_bytes(), &length.to_be_bytes(), header.as_slice()].concat()
        }
        Protocol::Amqp => b"AMQP\x00\x00\x09\x01".to_vec(),
        Protocol::Http => b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
    }
}

/// A small generator (xorshift64*), so that a seed names a run.
fn random_bytes(address: &str, seed: u64) -> Result<(), Failure> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::new();
    while bytes.len() < 4_096 {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    let mut stream = connect(address)?;
    // The broker may close before it has read all of it.
    let _ = stream.write_all(&bytes);
    let _ = stream.shutdown(Shutdown::Write);
    until_closed(&mut stream, "random bytes")
}

fn truncated(address: &str, opening: &[u8], seed: u64) -> Result<(), Failure> {
    let length = usize::try_from(seed).unwrap_or(0) % opening.len();
    let mut stream = connect(address)?;
    let _ = stream.write_all(&opening[..length]);
    let _ = stream.shutdown(Shutdown::Write);
    until_closed(&mut stream, "a truncated opening")
}

/// Claims a length that no limit allows, and stays open: the broker must not wait for it or make room for it.
fn oversized(address: &str, protocol: Protocol) -> Result<(), Failure> {
    let bytes: Vec<u8> = match protocol {
        Protocol::Remoting => [0x7f_ff_ff_ff_u32.to_be_bytes(), 0x00_ff_ff_ff_u32.to_be_bytes()].concat(),
        // A frame that claims 2 GiB, behind the protocol header.
        Protocol::Amqp => b"AMQP\x00\x00\x09\x01\x01\x00\x00\x7f\xff\xff\xff".to_vec(),
        Protocol::Http => {
            b"POST /v1/topics/T/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
                .to_vec()
        }
    };
    let mut stream = connect(address)?;
    let _ = stream.write_all(&bytes);
    if protocol == Protocol::Http {
        // An answer with an error status is as good as a closed connection.
        let mut start = [0; 12];
        return match stream.read_exact(&mut start) {
            Ok(()) if start.starts_with(b"HTTP/1.1 4") => Ok(()),
            Ok(()) => {
                Err(Failure::Wrong(format!("oversized body got {:?}", String::from_utf8_lossy(&start))))
            }
            Err(e) => closed_or(e, "an oversized body"),
        };
    }
    until_closed(&mut stream, "an oversized frame")
}

/// Megabytes of zeros, as fast as they are taken.
fn flood(address: &str) -> Result<(), Failure> {
    let mut stream = connect(address)?;
    stream.set_write_timeout(Some(ANSWER_MAX)).map_err(Failure::io("setting a time limit"))?;
    let zeros = vec![0_u8; 64 << 10];
    for _ in 0..FLOOD_BYTES / zeros.len() {
        if stream.write_all(&zeros).is_err() {
            break; // closed, as it should be
        }
    }
    Ok(())
}

/// Reads whatever error the protocol has until the broker closes.
fn until_closed(stream: &mut TcpStream, what: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + ANSWER_MAX;
    let mut answer = [0; 4_096];
    loop {
        match stream.read(&mut answer) {
            Ok(0) => return Ok(()),
            Ok(_) => require!(Instant::now() < deadline, "still answers to {what} after {ANSWER_MAX:?}"),
            Err(e) => return closed_or(e, what),
        }
    }
}

fn closed_or(error: std::io::Error, what: &str) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => Ok(()),
        _ => Err(Failure::Wrong(format!("the connection that sent {what} stays open: {error}"))),
    }
}

/// Private memory of a process.
fn memory_kib(pid: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/status");
    let text =
        std::fs::read_to_string(&path).map_err(Failure::io(format!("the broker is gone: reading {path}")))?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    kib.ok_or_else(|| Failure::Environment(format!("no RssAnon in {path}")))
}
