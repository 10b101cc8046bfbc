//! Just enough bytes of each protocol to open a conversation, ask for something and tell an answer, written by hand. No codec.

use crate::sdk::Protocol;

pub const AMQP_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// Class and method of `connection.close`, as they stand in the frame.
pub const AMQP_CLOSE: &[u8] = &[0, 10, 0, 50];
const AMQP_OPEN_OK: &[u8] = &[0, 10, 0, 41];
const OPAQUE: &str = r#""opaque":4711"#;

/// An honest request, from the connection's first byte on, that has an answer.
pub fn request(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::Remoting => remoting(105, r#""topic":"TBW102""#),
        Protocol::Amqp => amqp_handshake(),
        Protocol::Http => b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
    }
}

/// Whether these bytes hold the answer to [`request`].
pub fn is_answer(protocol: Protocol, bytes: &[u8]) -> bool {
    match protocol {
        Protocol::Remoting => holds(bytes, OPAQUE.as_bytes()),
        Protocol::Amqp => holds(bytes, AMQP_OPEN_OK),
        Protocol::Http => bytes.starts_with(b"HTTP/1.1 200"),
    }
}

pub fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What asks for `topic` again and again, and does not mean to read any of it: from one message after the other, so that no short
/// one ends all answers early. `turn` is another group each time.
pub fn greedy(protocol: Protocol, topic: &str, turn: usize) -> Vec<u8> {
    const PULLS: usize = 32;
    const PAGES: usize = 8;
    match protocol {
        Protocol::Remoting => {
            // System flag 4: the subscription is in the request, so that no heartbeat is needed.
            let pull = |offset: usize| {
                let fields = format!(
                    r#""topic":"{topic}","consumerGroup":"greedy-{turn}","queueId":"0","queueOffset":"{offset}","maxMsgNums":"32","sysFlag":"4","commitOffset":"0","suspendTimeoutMillis":"15000","subscription":"*","subVersion":"0","expressionType":"TAG","maxMsgBytes":"33554432""#
                );
                remoting(11, &fields)
            };
            (0..PULLS).flat_map(pull).collect()
        }
        Protocol::Amqp => {
            let queue = format!("{topic}::greedy-{turn}");
            let mut consume = vec![0, 60, 0, 20, 0, 0];
            consume.extend(short_text(&queue));
            // No consumer tag; without acknowledgements nothing limits what may be on its way.
            consume.extend([0, 0b10, 0, 0, 0, 0]);
            [amqp_handshake(), amqp_method(1, &[0, 20, 0, 10, 0]), amqp_method(1, &consume)].concat()
        }
        Protocol::Http => {
            let page = |offset: usize| {
                format!(
                    "GET /v1/topics/{topic}/queues/0/messages?from=offset:{offset}&max=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
                )
            };
            (0..PAGES).flat_map(|offset| page(offset).into_bytes()).collect()
        }
    }
}

/// A request of the JSON serializer.
fn remoting(code: u32, fields: &str) -> Vec<u8> {
    let header = format!(
        r#"{{"code":{code},"extFields":{{{fields}}},"flag":0,"language":"JAVA",{OPAQUE},"version":513}}"#
    );
    remoting_frame(0, header.as_bytes(), &[])
}

/// A frame with right lengths, whatever it holds.
pub fn remoting_frame(serializer: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
    let header_bytes = length(header);
    let head = header_bytes & 0x00ff_ffff | u32::from(serializer) << 24;
    [&(4 + header_bytes + length(body)).to_be_bytes(), &head.to_be_bytes(), header, body].concat()
}

/// Protocol header, `start-ok` as guest, `tune-ok`, and `open` of `/`, as a client sends them one by one.
pub fn amqp_handshake() -> Vec<u8> {
    let mut start_ok = vec![0, 10, 0, 11, 0, 0, 0, 0];
    start_ok.extend(short_text("PLAIN"));
    let login = b"\0guest\0guest";
    start_ok.extend(length(login).to_be_bytes());
    start_ok.extend(login);
    start_ok.extend(short_text("en_US"));
    // 2047 channels, frames of 128 KiB, no heartbeat.
    let tune_ok = [0, 10, 0, 31, 0x07, 0xff, 0, 2, 0, 0, 0, 0];
    let mut open = vec![0, 10, 0, 40];
    open.extend(short_text("/"));
    open.extend([0, 0]);
    [AMQP_HEADER.to_vec(), amqp_method(0, &start_ok), amqp_method(0, &tune_ok), amqp_method(0, &open)]
        .concat()
}

fn amqp_method(channel: u16, payload: &[u8]) -> Vec<u8> {
    amqp_frame(1, channel, payload, 0xce)
}

/// A frame with a right length, whatever else it holds.
pub fn amqp_frame(kind: u8, channel: u16, payload: &[u8], end: u8) -> Vec<u8> {
    [&[kind][..], &channel.to_be_bytes(), &length(payload).to_be_bytes(), payload, &[end]].concat()
}

/// `connection.close-ok`.
pub fn amqp_close_ok() -> Vec<u8> {
    amqp_method(0, &[0, 10, 0, 51])
}

fn short_text(text: &str) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len()).unwrap_or(0)];
    bytes.extend(text.as_bytes());
    bytes
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(0)
}
