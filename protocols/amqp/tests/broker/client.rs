//! The other end of a connection: sends methods, waits for frames, reads messages.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Buf, Bytes, BytesMut};
use mailrail_amqp::codec::frame::{self, FrameLimits, PROTOCOL_HEADER};
use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::writer::{self, Body, Content};
use mailrail_amqp::codec::*;
use mailrail_amqp::{AmqpConfig, Connection};
use mailrail_broker::connection::{Connection as Driven, Output};
use mailrail_broker::{Broker, BrokerConfig, Clock, Now};

/// Longest wait for an event that must come.
const PATIENCE: Duration = Duration::from_secs(20);
const ANY_FRAME: FrameLimits = FrameLimits { body_bytes_max: usize::MAX, other_bytes_max: usize::MAX };

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Now { wall_ms: u64::try_from(wall.as_millis()).unwrap(), mono: self.0.elapsed() }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A broker and what its connections share.
pub struct House {
    pub broker: Broker,
    config: Arc<AmqpConfig>,
    _folder: tempfile::TempDir,
}

impl House {
    pub fn open() -> House {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock(Instant::now()));
        let broker = Broker::open(BrokerConfig::new(folder.path(), clock, "boot".to_owned())).unwrap();
        let config = AmqpConfig::new("127.0.0.1:9876".parse().unwrap());
        House { broker, config: Arc::new(config), _folder: folder }
    }

    /// A connection on which nothing was said yet.
    pub fn raw(&self) -> Client {
        let peer = "192.0.2.7:40001".parse().unwrap();
        let now = self.broker.now();
        Client {
            connection: Connection::new(self.broker.connect(), self.config.clone(), peer, now),
            broker: self.broker.clone(),
            output: Output::default(),
            received: BytesMut::new(),
            reads: true,
        }
    }

    /// A connection with channel 1 open.
    pub fn client(&self) -> Client {
        let mut client = self.raw();
        client.open("\0guest\0guest", "/");
        client.expect("ConnectionOpenOk");
        client.call(1, &ChannelOpen, "ChannelOpenOk");
        client
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.broker.stop().unwrap();
    }
}

/// A message as a client receives it.
#[derive(Debug, PartialEq)]
pub struct Received {
    /// The method it came with, as text.
    pub method: String,
    pub properties: Bytes,
    pub body: Vec<u8>,
}

impl Received {
    pub fn properties(&self) -> BasicProperties<'_> {
        BasicProperties::read(&self.properties).expect("properties")
    }
}

pub struct Client {
    connection: Connection,
    broker: Broker,
    output: Output,
    received: BytesMut,
    /// False for a client that leaves what it is sent in its socket.
    pub reads: bool,
}

impl Client {
    /// Logs in without heartbeats.
    pub fn open(&mut self, response: &str, vhost: &str) {
        self.open_with(response, vhost, 0);
    }

    pub fn open_with(&mut self, response: &str, vhost: &str, heartbeat: u16) {
        let mut capabilities = TableBuffer::default();
        for name in ["authentication_failure_close", "consumer_cancel_notify", "connection.blocked"] {
            capabilities.put(name, Value::Bool(true));
        }
        let mut properties = TableBuffer::default();
        properties.put("capabilities", Value::Table(capabilities.as_table()));
        let mut bytes = BytesMut::from(&PROTOCOL_HEADER[..]);
        let start_ok = ConnectionStartOk {
            client_properties: properties.as_table(),
            mechanism: "PLAIN",
            response: response.as_bytes(),
            locale: "en_US",
        };
        writer::method(&mut bytes, 0, &start_ok);
        writer::method(
            &mut bytes,
            0,
            &ConnectionTuneOk { channel_max: 2_047, frame_max: 131_072, heartbeat },
        );
        writer::method(&mut bytes, 0, &ConnectionOpen { virtual_host: vhost });
        self.bytes(bytes);
    }

    pub fn bytes(&mut self, mut bytes: BytesMut) {
        let now = self.broker.now();
        self.connection.handle_input(now, &mut bytes, &mut self.output);
        self.drain();
    }

    pub fn send<M: Arguments>(&mut self, channel: u16, method: &M) {
        let mut bytes = BytesMut::new();
        writer::method(&mut bytes, channel, method);
        self.bytes(bytes);
    }

    /// Sends a method and waits for the one that answers it.
    pub fn call<M: Arguments>(&mut self, channel: u16, method: &M, answer: &str) -> String {
        self.send(channel, method);
        self.expect(answer)
    }

    pub fn publish(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: &BasicProperties<'_>,
        body: &[u8],
    ) {
        let (routing_key, mandatory) = (routing_key.into(), false);
        self.publish_as(
            BasicPublish { exchange, routing_key, mandatory, immediate: false },
            properties,
            body,
        );
    }

    pub fn publish_as(&mut self, method: BasicPublish<'_>, properties: &BasicProperties<'_>, body: &[u8]) {
        let mut bytes = BytesMut::new();
        put_publish(&mut bytes, method, properties, body);
        self.bytes(bytes);
    }

    /// Waits for a method by the name of its type; others before it are passed over. Returns it as text.
    pub fn expect(&mut self, name: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let (kind, text, _) = self.next_frame(&mut seen, name);
            if kind == FrameKind::Method && text.starts_with(name) {
                return text;
            }
            seen.push(text);
        }
    }

    /// Waits for a method that carries a message, and reads the message.
    pub fn message(&mut self, name: &str) -> Received {
        let method = self.expect(name);
        let (_, _, header) = self.next_frame(&mut Vec::new(), "a header");
        let header = ContentHeader::read(&header).expect("a header");
        let bytes = usize::try_from(header.body_bytes).unwrap();
        let properties = Bytes::copy_from_slice(header.properties);
        let mut body = Vec::new();
        while body.len() < bytes {
            body.extend_from_slice(&self.next_frame(&mut Vec::new(), "a body").2);
        }
        Received { method, properties, body }
    }

    /// The body of the message that a get brings, once there is one.
    pub fn message_of(&mut self, get: &BasicGet<'_>) -> Vec<u8> {
        self.send(1, get);
        self.message("BasicGetOk").body
    }

    /// Code and text of the close that comes next, and what dies.
    pub fn closed(&mut self) -> (&'static str, u16, String) {
        let mut seen = Vec::new();
        loop {
            let (kind, text, payload) = self.next_frame(&mut seen, "a close");
            if kind == FrameKind::Method {
                match Method::read(&payload).expect("a method") {
                    Method::ConnectionClose(close) => {
                        return ("connection", close.reply_code, close.reply_text.to_owned());
                    }
                    Method::ChannelClose(close) => {
                        let told = ("channel", close.reply_code, close.reply_text.to_owned());
                        self.send(1, &ChannelCloseOk);
                        return told;
                    }
                    _ => {}
                }
            }
            seen.push(text);
        }
    }

    /// Frames that are there without waiting, as text.
    pub fn pending(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some((_, text, _)) = self.frame() {
            all.push(text);
        }
        all
    }

    /// The next frame as text, whatever it is.
    pub fn next_text(&mut self) -> String {
        self.next_frame(&mut Vec::new(), "a frame").1
    }

    fn next_frame(&mut self, seen: &mut Vec<String>, wanted: &str) -> (FrameKind, String, Vec<u8>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(frame) = self.frame() {
                return frame;
            }
            assert!(Instant::now() < deadline, "waiting for {wanted}, came {seen:?}");
            self.wait_for_events(deadline, wanted, seen);
        }
    }

    fn frame(&mut self) -> Option<(FrameKind, String, Vec<u8>)> {
        let frame = frame::decode(&self.received, &ANY_FRAME).expect("a frame")?;
        let payload = frame.payload.to_vec();
        let text = match frame.kind {
            FrameKind::Method => {
                let text = format!("{:?}", Method::read(&payload).expect("a method"));
                // `Type(Type { .. })`: once is enough.
                text.split_once('(').map_or(text.clone(), |(_, rest)| rest.trim_end_matches(')').to_owned())
            }
            kind => format!("{kind:?} {}", payload.len()),
        };
        let (kind, bytes) = (frame.kind, frame.bytes());
        self.received.advance(bytes);
        Some((kind, text, payload))
    }

    fn wait_for_events(&mut self, deadline: Instant, wanted: &str, seen: &[String]) {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut events = Vec::new();
        let mut context = Context::from_waker(&waker);
        while self.connection.session().poll_events(&mut context, &mut events).is_pending() {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no event came; waiting for {wanted}, came {seen:?}");
            std::thread::park_timeout(left);
        }
        let now = self.broker.now();
        self.connection.handle_events(now, &mut events, &mut self.output);
        self.drain();
    }

    /// True if a driver would read on.
    pub fn wants_input(&self) -> bool {
        self.connection.wants_input()
    }

    /// Lets a deadline pass so long after now, and says whether the connection lives.
    pub fn lives_after(&mut self, time: Duration) -> bool {
        let now = self.after(time);
        self.connection.handle_deadline(now, &mut self.output);
        self.drain();
        !self.connection.is_closing()
    }

    /// Reads all that waited for so long.
    pub fn catch_up_after(&mut self, time: Duration) {
        self.reads = true;
        self.output.advance(self.output.len());
        let now = self.after(time);
        self.connection.handle_written(now, &mut self.output);
    }

    fn after(&self, time: Duration) -> Now {
        let now = self.broker.now();
        Now { mono: now.mono + time, ..now }
    }

    /// Takes what was written, as a driver with a fast socket would.
    fn drain(&mut self) {
        while self.reads && !self.output.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 8];
            let filled = self.output.slices(&mut slices);
            let chunk: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            self.output.advance(chunk.len());
            self.received.extend_from_slice(&chunk);
            let now = self.broker.now();
            self.connection.handle_written(now, &mut self.output);
        }
        if self.received.starts_with(b"AMQP") {
            self.received.advance(8);
        }
    }
}

/// Appends a publish on channel 1.
pub fn put_publish(
    bytes: &mut BytesMut,
    method: BasicPublish<'_>,
    properties: &BasicProperties<'_>,
    body: &[u8],
) {
    let mut raw = BytesMut::new();
    properties.write(&mut raw);
    put_raw_publish(bytes, method, &raw, body);
}

/// The same with the bytes of the properties.
pub fn put_raw_publish(bytes: &mut BytesMut, method: BasicPublish<'_>, properties: &[u8], body: &[u8]) {
    let owner = Bytes::copy_from_slice(body);
    let content = Content { properties, body: Body { bytes: &owner, owner: &owner } };
    writer::message(bytes, 1, 131_072, &method, content);
}

pub const PERSISTENT: BasicProperties<'static> = BasicProperties {
    content_type: None,
    content_encoding: None,
    headers: None,
    delivery_mode: Some(2),
    priority: None,
    correlation_id: None,
    reply_to: None,
    expiration: None,
    message_id: None,
    timestamp: None,
    kind: None,
    user_id: None,
    app_id: None,
    cluster_id: None,
};

pub const QUEUE: QueueDeclare<'static> = QueueDeclare {
    queue: "q",
    passive: false,
    durable: true,
    exclusive: false,
    auto_delete: false,
    no_wait: false,
    arguments: Table::EMPTY,
};

pub const EXCHANGE: ExchangeDeclare<'static> = ExchangeDeclare {
    exchange: "x",
    kind: "topic",
    passive: false,
    durable: true,
    auto_delete: false,
    internal: false,
    no_wait: false,
    arguments: Table::EMPTY,
};

pub const CONSUME: BasicConsume<'static> = BasicConsume {
    queue: "q",
    consumer_tag: "t",
    no_local: false,
    no_ack: false,
    exclusive: false,
    no_wait: false,
    arguments: Table::EMPTY,
};

pub const GET: BasicGet<'static> = BasicGet { queue: "q", no_ack: false };

pub fn bind<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> QueueBind<'a> {
    QueueBind { queue, exchange, routing_key, no_wait: false, arguments: Table::EMPTY }
}

pub const CLOSE_CHANNEL: ChannelClose<'static> =
    ChannelClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };
pub const CLOSE: ConnectionClose<'static> =
    ConnectionClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };
