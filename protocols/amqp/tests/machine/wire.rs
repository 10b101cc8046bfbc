//! A client's end of the wire: writes methods, runs the server's state machine over them, reads what it wrote.
//!
//! Requests are answered as a broker with every queue and exchange would, unless a test holds them back.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mailrail_amqp::channel::*;
use mailrail_amqp::codec::content::CLASS_BASIC;
use mailrail_amqp::codec::frame::{self, FrameLimits, PROTOCOL_HEADER};
use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::writer::{self, Body, Content};
use mailrail_amqp::codec::*;
use mailrail_amqp::connection::{Action, Config, Connection, Step};
use mailrail_amqp::{Refusal, codec::ReplyCode};

pub const BODY_BYTES_MAX: u64 = 1_000_000;
/// Reads whatever the server writes.
const ANY_FRAME: FrameLimits = FrameLimits { body_bytes_max: usize::MAX, other_bytes_max: usize::MAX };

pub struct Wire {
    pub connection: Connection<u64>,
    pub now: Duration,
    pub out: BytesMut,
    input: BytesMut,
    /// Everything the client asked for, but handshake and publishes, as text.
    pub log: Vec<String>,
    /// Requests that wait for the test's answer, when it holds them.
    pub held: VecDeque<(RequestId, Request<u64>)>,
    pub hold: bool,
    pub published: Vec<(Option<u64>, String, Vec<u8>)>,
    pub channel: Option<ChannelKey>,
    pub password: &'static [u8],
    pub capabilities: &'static [&'static str],
    pub is_waiting: bool,
}

impl Wire {
    pub fn new() -> Self {
        Wire::with(Config::new(BODY_BYTES_MAX, "test", 7))
    }

    pub fn with(config: Config) -> Self {
        Wire {
            connection: Connection::new(config, Duration::ZERO),
            now: Duration::ZERO,
            out: BytesMut::new(),
            input: BytesMut::new(),
            log: Vec::new(),
            held: VecDeque::new(),
            hold: false,
            published: Vec::new(),
            channel: None,
            password: b"\0guest\0guest",
            capabilities: &["authentication_failure_close", "consumer_cancel_notify", "connection.blocked"],
            is_waiting: false,
        }
    }

    /// A connection past its handshake.
    pub fn open() -> Self {
        let mut wire = Wire::new();
        wire.handshake();
        assert!(wire.connection.is_running(), "{:?}", wire.received());
        wire
    }

    /// A connection with channel 1 open.
    pub fn with_channel() -> Self {
        let mut wire = Wire::open();
        wire.send(1, &ChannelOpen);
        assert_eq!(wire.received(), ["1 ChannelOpenOk(ChannelOpenOk)"]);
        wire
    }

    pub fn handshake(&mut self) {
        self.bytes(&PROTOCOL_HEADER);
        self.start_ok();
        self.send(0, &ConnectionTuneOk { channel_max: 2_047, frame_max: 131_072, heartbeat: 0 });
        self.send(0, &ConnectionOpen { virtual_host: "/" });
        let received = self.received();
        assert!(received.last().is_some_and(|last| last.contains("OpenOk")), "{received:?}");
    }

    pub fn start_ok(&mut self) {
        let mut capabilities = TableBuffer::default();
        for name in self.capabilities {
            capabilities.put(name, Value::Bool(true));
        }
        let mut properties = TableBuffer::default();
        properties.put("capabilities", Value::Table(capabilities.as_table()));
        let response = self.password;
        let client_properties = properties.as_table();
        self.send(0, &ConnectionStartOk { client_properties, mechanism: "PLAIN", response, locale: "en_US" });
    }

    pub fn send<M: Arguments>(&mut self, channel: u16, method: &M) {
        let mut bytes = BytesMut::new();
        writer::method(&mut bytes, channel, method);
        self.bytes(&bytes);
    }

    pub fn publish(&mut self, exchange: &str, routing_key: &str, body: &[u8]) {
        self.bytes(&published(exchange, routing_key, body, 131_072));
    }

    /// Feeds bytes as a driver would: everything complete is handled, half a frame stays.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.run();
    }

    pub fn run(&mut self) {
        loop {
            let input = self.input.split();
            let step = self.connection.read(self.now, &input, &mut self.out);
            let (used, action) = match step {
                Step::Consumed { bytes, action } => (bytes, action.map(|action| Taken::from(&action))),
                Step::Incomplete | Step::Waiting => {
                    self.is_waiting = step == Step::Waiting;
                    self.input = input;
                    break;
                }
            };
            self.input = input;
            self.input.advance(used);
            if let Some(action) = action {
                self.take(action);
            }
            self.note_ended();
        }
        self.connection
            .flush(0, &mut self.out, |key, add| self.log.push(format!("Credit {} +{add}", key.0 & 0xFF)));
    }

    pub fn note_ended(&mut self) {
        while let Some(end) = self.connection.poll_ended() {
            let consumers: Vec<u64> = end.consumers.iter().map(|key| key.0 & 0xFF).collect();
            self.log.push(format!("Ended {} {consumers:?} {:?}", end.channel.number, end.leases));
        }
    }

    fn take(&mut self, action: Taken) {
        match action {
            Taken::Login(ok) => {
                let refusal = Refusal::new(ReplyCode::AccessRefused, "login refused for user 'guest'");
                self.connection.login(if ok { Ok(()) } else { Err(refusal) }, &mut self.out);
            }
            Taken::Vhost(vhost) => {
                let refusal = Refusal::new(ReplyCode::NotAllowed, format!("vhost {vhost} not found"));
                self.connection.open(if vhost == "/" { Ok(()) } else { Err(refusal) }, &mut self.out);
            }
            Taken::Close => {
                self.note_ended();
                self.log.push("Close".to_owned());
                self.connection.closed(&mut self.out);
            }
            Taken::Request(id, request) => {
                self.log.push(format!("{request:?}"));
                self.channel = Some(id.channel);
                match self.hold {
                    true => self.held.push_back((id, request)),
                    false => self.answer(id, &request),
                }
            }
            Taken::Publish(channel, sequence, name, body) => {
                self.channel = Some(channel);
                self.published.push((sequence, name, body));
            }
            Taken::Settle(text) => self.log.push(text),
        }
    }

    /// Answers the oldest request that is held, as a broker that has everything would.
    pub fn answer_held(&mut self) {
        let (id, request) = self.held.pop_front().expect("a held request");
        self.answer(id, &request);
        self.run();
    }

    fn answer(&mut self, id: RequestId, request: &Request<u64>) {
        let answer = match request {
            Request::DeclareQueue(declare) => {
                let queue = if declare.queue.is_empty() { "amq.gen-1" } else { &declare.queue };
                Answer::Declared { queue, messages: 3, consumers: 1 }
            }
            Request::DeleteQueue { .. } | Request::PurgeQueue { .. } => Answer::Count(3),
            Request::Get { .. } => Answer::Message(None),
            _ => Answer::Done,
        };
        assert!(self.connection.answer(id, Ok(answer), &mut self.out).is_ok());
    }

    pub fn refuse_held(&mut self, code: ReplyCode, text: &str) {
        let (id, _) = self.held.pop_front().expect("a held request");
        assert!(self.connection.answer(id, Err(Refusal::new(code, text)), &mut self.out).is_ok());
        self.note_ended();
        self.run();
    }

    /// Says of a publish of the channel used last that it was an error.
    pub fn refuse_publish(&mut self, code: ReplyCode) {
        let channel = self.channel.expect("a channel that was used");
        let refusal = Refusal::new(code, "refused");
        self.connection.refuse(channel, BasicPublish::ID, refusal, &mut self.out);
        self.note_ended();
    }

    /// Delivers a message to the consumer started as the nth on this connection; gives the lease back if refused.
    pub fn deliver(&mut self, nth: u64, lease: u64, body: &[u8]) -> Result<Option<u64>, u64> {
        let consumer = ConsumerKey(1 << 48 | nth);
        let owner = Bytes::copy_from_slice(body);
        let message = message(&owner);
        self.connection.deliver(consumer, lease, message, &mut self.out)
    }

    pub fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// What the server wrote since the last call: `channel Method`, or `channel header`/`body` with their sizes.
    pub fn received(&mut self) -> Vec<String> {
        let out = self.out.split();
        let mut rest = &out[..];
        let mut seen = Vec::new();
        while !rest.is_empty() {
            if rest.starts_with(b"AMQP") {
                seen.push("protocol header".to_owned());
                rest = &rest[8..];
                continue;
            }
            let frame = frame::decode(rest, &ANY_FRAME).expect("a frame").expect("a whole frame");
            let channel = frame.channel;
            seen.push(match frame.kind {
                FrameKind::Method => {
                    format!("{channel} {:?}", Method::read(frame.payload).expect("a method"))
                }
                FrameKind::Header => {
                    let header = ContentHeader::read(frame.payload).expect("a header");
                    assert_eq!(header.class, CLASS_BASIC);
                    format!("{channel} header {}", header.body_bytes)
                }
                FrameKind::Body => format!("{channel} body {}", frame.payload.len()),
                FrameKind::Heartbeat => "heartbeat".to_owned(),
            });
            rest = &rest[frame.bytes()..];
        }
        seen
    }

    /// Code and text of the close that was written last, and whether a channel or the connection died.
    pub fn closed(&mut self) -> Option<(&'static str, u16, String)> {
        let out = self.out.split();
        let mut rest = &out[..];
        let mut closed = None;
        while let Ok(Some(frame)) = frame::decode(rest, &ANY_FRAME) {
            match Method::read(frame.payload) {
                Ok(Method::ConnectionClose(close)) => {
                    closed = Some(("connection", close.reply_code, close.reply_text.to_owned()));
                }
                Ok(Method::ChannelClose(close)) => {
                    closed = Some(("channel", close.reply_code, close.reply_text.to_owned()));
                }
                _ => {}
            }
            rest = &rest[frame.bytes()..];
        }
        closed
    }
}

/// An action without its borrows.
enum Taken {
    Login(bool),
    Vhost(String),
    Close,
    Request(RequestId, Request<u64>),
    Publish(ChannelKey, Option<u64>, String, Vec<u8>),
    Settle(String),
}

impl From<&Action<'_, u64>> for Taken {
    fn from(action: &Action<'_, u64>) -> Self {
        match action {
            Action::Login(login) => Taken::Login(login.user == "guest" && login.password == b"guest"),
            Action::OpenVhost(vhost) => Taken::Vhost(vhost.clone()),
            Action::Close => Taken::Close,
            Action::Request { id, request } => Taken::Request(*id, request.clone()),
            Action::Publish(publish) => {
                let mandatory = if publish.mandatory { " mandatory" } else { "" };
                let key = String::from_utf8_lossy(publish.routing_key.as_bytes());
                let name = format!("{}/{key}{mandatory}", publish.exchange);
                let body = publish.body.to_vec();
                Taken::Publish(publish.channel, publish.sequence, name, body)
            }
            Action::Settle { leases, settlement } => Taken::Settle(format!("{settlement:?} {leases:?}")),
        }
    }
}

pub fn message(owner: &Bytes) -> Message<'_> {
    let content = Content { properties: b"\x00\x00", body: Body { bytes: owner, owner } };
    Message { exchange: "", routing_key: "q".into(), redelivered: false, content }
}

/// Method, header and body frames of one message on channel 1.
pub fn published(exchange: &str, routing_key: &str, body: &[u8], frame_bytes_max: u32) -> Vec<u8> {
    let method =
        BasicPublish { exchange, routing_key: routing_key.into(), mandatory: false, immediate: false };
    let owner = Bytes::copy_from_slice(body);
    let mut bytes = BytesMut::new();
    let content = Content { properties: b"\x10\x00\x02", body: Body { bytes: &owner, owner: &owner } };
    writer::message(&mut bytes, 1, frame_bytes_max, &method, content);
    bytes.to_vec()
}

/// One frame by hand.
pub fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap();
    [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[0xCE]].concat()
}

/// A content header's payload.
pub fn header(class: u16, body_bytes: u64) -> Vec<u8> {
    [&class.to_be_bytes()[..], &[0, 0], &body_bytes.to_be_bytes(), &[0, 0]].concat()
}
