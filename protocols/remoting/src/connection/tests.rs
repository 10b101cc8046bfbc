//! Connections joined to a real broker in a temporary folder, spoken to in frames as SDKs send them.
//!
//! Waiting is for events, with a limit; time that must pass for a connection is handed to it.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use mailrail_broker::connection::{Connection as Driven, Output};
use mailrail_broker::{Broker, BrokerConfig, Clock, Now};
use mailrail_message::{OffsetId, StoredMessage};

use super::{Connection, IDLE_SECONDS_MAX, OUTPUT_BYTES_MAX, PARKED_BYTES_MAX, TOPIC_CACHE_COUNT_MAX};
use crate::RemotingConfig;
use crate::codec::decode;
use crate::codec::testing::{Seen, json_bytes, seen};
use crate::outstanding::{OUTSTANDING_COUNT_MAX, Waiting};

mod access;
mod bounds;
mod compacted;
mod deduplication;
mod groups;
mod lite;
mod lookup;
mod pull;
mod recall;
mod send;
mod session;
mod transaction;
mod waits;

/// Longest wait for an event that must come.
const PATIENCE: Duration = Duration::from_secs(20);

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
struct House {
    broker: Broker,
    config: Arc<RemotingConfig>,
    _folder: tempfile::TempDir,
}

impl House {
    fn open() -> House {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock(Instant::now()));
        let broker = Broker::open(BrokerConfig::new(folder.path(), clock, "boot".to_owned())).unwrap();
        let config = RemotingConfig::new("127.0.0.1:9876".parse().unwrap(), "DefaultCluster", "mailrail");
        House { broker, config: Arc::new(config), _folder: folder }
    }

    fn client(&self) -> Client {
        self.client_of(self.config.clone())
    }

    fn client_of(&self, config: Arc<RemotingConfig>) -> Client {
        let now = self.broker.now();
        let peer = "192.0.2.7:40001".parse().unwrap();
        let connection = Connection::new(self.broker.connect(), config, peer, now);
        Client {
            connection,
            output: Output::default(),
            received: BytesMut::new(),
            broker: self.broker.clone(),
        }
    }
}

/// The other end of a connection.
struct Client {
    connection: Connection,
    output: Output,
    received: BytesMut,
    broker: Broker,
}

impl Client {
    /// Sends one frame: a code, the text of its extension fields, and a body.
    fn ask(&mut self, code: i32, opaque: i32, fields: &str, body: &[u8]) {
        let mut input = request(code, opaque, 0, fields, body);
        self.input(&mut input);
    }

    fn input(&mut self, input: &mut BytesMut) {
        let now = self.broker.now();
        self.connection.handle_input(now, input, &mut self.output);
        self.drain();
    }

    /// Sends a request and waits for its answer; notices may come before it.
    fn call(&mut self, code: i32, opaque: i32, fields: &str, body: &[u8]) -> Seen {
        self.ask(code, opaque, fields, body);
        loop {
            let answer = self.next();
            if answer.code != 40 {
                assert_eq!((answer.opaque, answer.flag), (opaque, 1), "{answer:?}");
                return answer;
            }
        }
    }

    /// The next frame from the broker.
    fn next(&mut self) -> Seen {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(frame) = self.received() {
                return frame;
            }
            assert!(Instant::now() < deadline, "no frame came");
            self.wait_for_events(deadline);
        }
    }

    /// A frame that is there already.
    fn received(&mut self) -> Option<Seen> {
        decode(&mut self.received).unwrap().map(|frame| seen(&frame))
    }

    fn wait_for_events(&mut self, deadline: Instant) {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut events = Vec::new();
        let session = self.connection.session();
        while session.poll_events(&mut Context::from_waker(&waker), &mut events).is_pending() {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no event came");
            std::thread::park_timeout(left);
        }
        let now = self.broker.now();
        self.connection.handle_events(now, &mut events, &mut self.output);
        self.drain();
    }

    /// Lets the connection's own deadline pass.
    fn pass_deadline(&mut self) {
        let mono = self.connection.deadline().unwrap();
        let now = Now { mono, ..self.broker.now() };
        self.connection.handle_deadline(now, &mut self.output);
        self.drain();
    }

    fn drain(&mut self) {
        while !self.output.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 8];
            let filled = self.output.slices(&mut slices);
            let chunk: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            self.received.extend_from_slice(&chunk);
            self.output.advance(chunk.len());
        }
        let now = self.broker.now();
        self.connection.handle_written(now, &mut self.output);
    }

    fn send(&mut self, opaque: i32, topic: &str, queue: i32, properties: &str, body: &[u8]) -> Seen {
        self.call(310, opaque, &send_fields(topic, queue, properties), body)
    }

    /// A pull that carries its subscription and waits for 15 s.
    fn pull(&mut self, opaque: i32, topic: &str, queue: i32, offset: i64, tags: &str) {
        let fields = format!(
            r#""consumerGroup":"g","topic":"{topic}","queueId":"{queue}","queueOffset":"{offset}","maxMsgNums":"32","sysFlag":"6","commitOffset":"0","suspendTimeoutMillis":"15000","subscription":"{tags}","subVersion":"1""#
        );
        self.ask(11, opaque, &fields, b"");
    }
}

fn request(code: i32, opaque: i32, flag: i32, fields: &str, body: &[u8]) -> BytesMut {
    let header = format!(
        r#"{{"code":{code},"extFields":{{{fields}}},"flag":{flag},"language":"JAVA","opaque":{opaque},"version":513}}"#
    );
    json_bytes(&header, body)
}

fn send_fields(topic: &str, queue: i32, properties: &str) -> String {
    let properties = properties.replace('=', "\\u0001").replace(';', "\\u0002");
    format!(
        r#""a":"p","b":"{topic}","c":"TBW102","d":"4","e":"{queue}","f":"0","g":"1795336144547","h":"7","i":"{properties}","j":"0","k":"false","m":"false""#
    )
}

fn heartbeat(client: &str, group: &str, topic: &str, tags: &str, version: i64) -> String {
    format!(
        r#"{{"clientID":"{client}","consumerDataSet":[{{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"{group}","messageModel":"CLUSTERING","subscriptionDataSet":[{{"topic":"{topic}","subString":"{tags}","subVersion":{version}}}]}}],"producerDataSet":[]}}"#
    )
}

fn field<'a>(frame: &'a Seen, name: &str) -> Option<&'a str> {
    frame.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// The messages of a pull's answer.
fn messages(answer: &Seen) -> Vec<StoredMessage<'_>> {
    assert_eq!((answer.code, answer.remark.as_deref()), (0, Some("FOUND")), "{answer:?}");
    let mut rest = &answer.body[..];
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let message = StoredMessage::parse(rest).unwrap();
        rest = &rest[message.record().len()..];
        messages.push(message);
    }
    messages
}

fn bodies(answer: &Seen) -> Vec<&[u8]> {
    messages(answer).iter().map(StoredMessage::body).collect()
}
