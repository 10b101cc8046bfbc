//! Bytes that are no conversation, from the first on or after an honest opening: the broker ends the connection in time, the way
//! its protocol does, without being told that nothing more will come.

use std::time::{Duration, Instant};

use super::peer::Peer;
use super::random::Random;
use super::wire;
use crate::sdk::Protocol;
use crate::{Failure, require};

/// From the last byte of garbage to the answer that the protocol has for it.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// And to the end of the connection: AMQP gives the client 5 s for its `close-ok`, and after bytes that are no frame there is
/// none that could be understood.
const CLOSED_MAX: Duration = Duration::from_secs(8);
const GARBAGE_BYTES: usize = 4_096;
/// Until this comes, garbage in an HTTP head may be half of one.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// How the broker has to end it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It closes; it may say something before.
    Closed,
    /// It answers with its own protocol header and closes.
    Header,
    /// It answers with `connection.close`, and closes after `close-ok`, or after a while.
    Close,
    /// It answers with a status of 400 to 499, or closes.
    BadRequest,
}

struct Case {
    name: &'static str,
    bytes: Vec<u8>,
    end: End,
}

/// Garbage of each kind so many times, each on a connection of its own and all of them at once.
pub fn run(address: &str, protocol: Protocol, seed: u64, rounds: u64) -> Result<(), Failure> {
    let mut sent = Vec::new();
    for round in 0..rounds {
        let mut random = Random::new(seed, round);
        let cases = match protocol {
            Protocol::Remoting => remoting(&mut random),
            Protocol::Amqp => amqp(&mut random),
            Protocol::Http => http(&mut random),
        };
        for case in cases {
            let mut peer = Peer::connect(address)?;
            peer.send(&case.bytes);
            sent.push((round, case, peer));
        }
        cut_short(address, protocol, &mut random)?;
    }
    for (round, case, mut peer) in sent {
        // Half of them never confirm that they are closed.
        judge(&mut peer, case.end, round % 2 == 1).map_err(|failure| {
            let text = format!("{} (round {round}): {failure}; it said {}", case.name, peer.said());
            Failure::Wrong(text)
        })?;
    }
    Ok(())
}

/// The answer is there, and so is the end, in time from now; judging the others has only given them more.
fn judge(peer: &mut Peer, end: End, confirms: bool) -> Result<(), Failure> {
    let now = Instant::now();
    let told = peer.read_until(now + ANSWER_MAX, |bytes| match end {
        End::Closed => true,
        End::Header => bytes == wire::AMQP_HEADER,
        End::Close => wire::holds(bytes, wire::AMQP_CLOSE),
        End::BadRequest => bytes.starts_with(b"HTTP/1.1 4") && bytes.len() >= 12,
    })?;
    match end {
        End::Closed => {}
        End::Header => require!(told, "not answered with the protocol header within {ANSWER_MAX:?}"),
        End::Close => require!(told, "not answered with connection.close within {ANSWER_MAX:?}"),
        // A refusal ends the request, and may leave the connection to the next one.
        End::BadRequest if told => return Ok(()),
        End::BadRequest => require!(peer.received.is_empty(), "answered as if it were good"),
    }
    if end == End::Close && confirms {
        peer.send(&wire::amqp_close_ok());
    }
    require!(peer.is_closed_by(now + CLOSED_MAX)?, "still open after {CLOSED_MAX:?}");
    Ok(())
}

fn remoting(random: &mut Random) -> Vec<Case> {
    let closed = |name, bytes| Case { name, bytes, end: End::Closed };
    let honest = wire::request(Protocol::Remoting);
    let header_bytes = 64 + random.below(2_048);
    let body = random.bytes(512);
    vec![
        // With a first byte of 0 it could be the length of a frame that is still to come.
        closed("random bytes", random.bytes_with_first(GARBAGE_BYTES, |byte| byte != 0 && byte != 1)),
        closed("random JSON header", wire::remoting_frame(0, &random.bytes(header_bytes), &body)),
        closed("random binary header", wire::remoting_frame(1, &random.bytes(header_bytes), &body)),
        closed(
            "unknown serializer",
            wire::remoting_frame(2 + random.bytes(1)[0] % 254, &random.bytes(header_bytes), &body),
        ),
        closed(
            "random bytes after a request",
            [honest, random.bytes_with_first(GARBAGE_BYTES, |byte| byte != 0 && byte != 1)].concat(),
        ),
        closed("header outside its frame", [64_u32.to_be_bytes(), 4_096_u32.to_be_bytes()].concat()),
        closed("frame of 2 GiB", [0x7fff_ffff_u32.to_be_bytes(), 0x00ff_ffff_u32.to_be_bytes()].concat()),
    ]
}

fn amqp(random: &mut Random) -> Vec<Case> {
    let is_no_frame = |byte| !matches!(byte, 1 | 2 | 3 | 8);
    let after_handshake = |name, garbage: Vec<u8>| Case {
        name,
        bytes: [wire::amqp_handshake(), garbage].concat(),
        end: End::Close,
    };
    let payload_bytes = 4 + random.below(GARBAGE_BYTES);
    vec![
        Case {
            name: "random bytes",
            bytes: random.bytes_with_first(GARBAGE_BYTES, |byte| byte != b'A'),
            end: End::Header,
        },
        Case { name: "another version", bytes: b"AMQP\x00\x01\x00\x00".to_vec(), end: End::Header },
        Case {
            name: "random bytes after the protocol header",
            bytes: [wire::AMQP_HEADER, &random.bytes_with_first(GARBAGE_BYTES, is_no_frame)].concat(),
            // Before the login nothing needs to be explained to a stranger.
            end: End::Closed,
        },
        after_handshake("random bytes after the login", random.bytes_with_first(GARBAGE_BYTES, is_no_frame)),
        after_handshake("random method", wire::amqp_frame(1, 0, &random.bytes(payload_bytes), 0xce)),
        after_handshake(
            "random method of a channel that is not open",
            wire::amqp_frame(1, 1 + u16::from(random.bytes(1)[0]), &random.bytes(payload_bytes), 0xce),
        ),
        after_handshake(
            "frame with a wrong end",
            wire::amqp_frame(1, 0, &random.bytes(payload_bytes), 0xce ^ (1 << random.below(8))),
        ),
        after_handshake("body of no message", wire::amqp_frame(3, 1, &random.bytes(payload_bytes), 0xce)),
        after_handshake("frame of 2 GiB", b"\x01\x00\x00\x7f\xff\xff\xff".to_vec()),
    ]
}

fn http(random: &mut Random) -> Vec<Case> {
    let refused = |name, bytes| Case { name, bytes, end: End::BadRequest };
    let post = |length: usize, rest: &str| {
        let head = format!("POST /v1/topics/hostile/messages HTTP/1.1\r\nHost: localhost\r\n{rest}");
        format!("{head}Content-Length: {length}\r\n\r\n").into_bytes()
    };
    let body = random.bytes(GARBAGE_BYTES);
    vec![
        refused("random bytes", [&random.bytes(GARBAGE_BYTES), END_OF_HEAD].concat()),
        refused(
            "random header fields",
            [
                b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
                &random.bytes_with_first(GARBAGE_BYTES, |byte| !matches!(byte, b'\r' | b'\n'))[..],
                END_OF_HEAD,
            ]
            .concat(),
        ),
        refused(
            "random JSON",
            [post(body.len(), "Content-Type: application/json\r\n"), body.clone()].concat(),
        ),
        refused(
            "random chunks",
            [
                b"POST /v1/topics/hostile/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                    .to_vec(),
                random.bytes_with_first(GARBAGE_BYTES, |byte| !byte.is_ascii_hexdigit()),
            ]
            .concat(),
        ),
        refused("body of 100 GB", post(99_999_999_999, "")),
    ]
}

/// A request, whole or cut anywhere, after which the client closes its half: the broker closes the other, and answers a whole one.
fn cut_short(address: &str, protocol: Protocol, random: &mut Random) -> Result<(), Failure> {
    let request = wire::request(protocol);
    for length in [random.below(request.len()), request.len()] {
        let mut peer = Peer::connect(address)?;
        peer.send(&request[..length]);
        if length == request.len() {
            let answered =
                peer.read_until(Instant::now() + ANSWER_MAX, |bytes| wire::is_answer(protocol, bytes))?;
            require!(answered, "a whole request is not answered: {}", peer.said());
        }
        peer.half_close();
        let closed = peer.is_closed_by(Instant::now() + ANSWER_MAX)?;
        require!(closed, "half-open after {length} bytes, it stays open for {ANSWER_MAX:?}");
    }
    Ok(())
}
