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
mod lite;
mod recall;
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

#[test]
fn a_java_session_from_unknown_topic_to_committed_offset() {
    let house = House::open();
    let mut client = house.client();
    let unknown = client.call(105, 0, r#""topic":"T""#, b"");
    assert_eq!(unknown.code, 17);
    assert!(unknown.remark.unwrap().starts_with("No topic route info in name server for the topic: T\nSee "));
    let template = client.call(105, 3, r#""topic":"TBW102""#, b"");
    assert_eq!(
        template.body,
        r#"{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:9876"},"brokerName":"mailrail","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"mailrail","perm":7,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}"#
    );
    let retry = client.call(105, 4, r#""topic":"%RETRY%g""#, b"");
    assert!(
        std::str::from_utf8(&retry.body).unwrap().contains(r#""perm":6,"readQueueNums":1"#),
        "before it is there"
    );
    let sent = client.send(5, "T", 2, "KEYS=k;UNIQ_KEY=FD00;WAIT=true;TAGS=tag-A;", b"hello");
    let names: Vec<&str> = sent.fields.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(names, ["queueId", "transactionId", "msgId", "TRACE_ON", "MSG_REGION", "queueOffset"]);
    assert_eq!((field(&sent, "queueId"), field(&sent, "queueOffset")), (Some("2"), Some("0")));
    assert_eq!(field(&sent, "transactionId"), Some("FD00"));
    let id: OffsetId = field(&sent, "msgId").unwrap().parse().unwrap();
    assert_eq!(id.host, house.config.advertised);

    let beat = client.call(34, 6, "", heartbeat("c1", "g", "T", "tag-A", 9).as_bytes());
    assert_eq!(field(&beat, "IS_SUPPORT_HEART_BEAT_V2"), Some("true"));
    let route = client.call(105, 7, r#""topic":"%RETRY%g""#, b"");
    assert!(std::str::from_utf8(&route.body).unwrap().contains(r#""readQueueNums":1"#));
    let list = client.call(38, 8, r#""consumerGroup":"g""#, b"");
    assert_eq!(list.body, r#"{"consumerIdList":["c1"]}"#);
    let queue = |queue: i32| format!(r#""consumerGroup":"g","topic":"T","queueId":"{queue}""#);
    assert_eq!(field(&client.call(14, 9, &queue(2), b""), "offset"), Some("0"));
    assert_eq!(client.call(14, 10, &queue(1), b"").code, 22);

    let pull = |offset: i32, version: i32| {
        format!(
            r#"{},"queueOffset":"{offset}","maxMsgNums":"32","sysFlag":"2","commitOffset":"0","suspendTimeoutMillis":"15000","subVersion":"{version}""#,
            queue(2)
        )
    };
    let found = client.call(11, 11, &pull(0, 9), b"");
    let names: Vec<&str> = found.fields.iter().map(|(key, _)| key.as_str()).collect();
    let expected =
        ["suggestWhichBrokerId", "groupSysFlag", "nextBeginOffset", "maxOffset", "minOffset", "topicSysFlag"];
    assert_eq!(names, expected);
    assert_eq!((field(&found, "nextBeginOffset"), field(&found, "maxOffset")), (Some("1"), Some("1")));
    let message = messages(&found)[0];
    assert_eq!((message.body(), message.topic(), message.flag()), (&b"hello"[..], "T", 7));
    assert_eq!((message.queue_index(), message.queue_offset(), message.position()), (2, 0, id.position));
    assert_eq!(
        (message.born_ms(), message.born_host().to_string().as_str()),
        (1_795_336_144_547, "192.0.2.7:40001")
    );
    for (key, value) in
        [("TAGS", "tag-A"), ("KEYS", "k"), ("MSG_REGION", "DefaultRegion"), ("CLUSTER", "DefaultCluster")]
    {
        assert_eq!(message.properties().get(key), Some(value));
    }
    assert_eq!(client.call(11, 12, &pull(0, 10), b"").code, 25, "a newer subscription than the heartbeat's");

    client.input(&mut request(15, 13, 2, &format!(r#"{},"commitOffset":"1""#, queue(2)), b""));
    assert_eq!(field(&client.call(14, 14, &queue(2), b""), "offset"), Some("1"));
    // A client that has no position writes -1.
    let without = client.call(15, 18, &format!(r#"{},"commitOffset":-1"#, queue(2)), b"");
    assert_eq!((without.code, without.fields.len()), (0, 0), "{without:?}");
    assert_eq!(field(&client.call(14, 19, &queue(2), b""), "offset"), Some("1"), "the position stays");
    let left = client.call(35, 15, r#""clientID":"c1","consumerGroup":"g""#, b"");
    assert_eq!((left.code, left.fields.len()), (0, 0));
    assert_eq!(client.call(38, 16, r#""consumerGroup":"g""#, b"").code, 1);
    assert_eq!(client.call(11, 17, &pull(1, 9), b"").code, 24, "the group has no members any more");
}

#[test]
fn messages_are_looked_up_by_key_by_the_clients_id_and_by_offset_id() {
    let house = House::open();
    let mut client = house.client();
    let sent = client.send(1, "T", 2, "KEYS=order-1 paid;UNIQ_KEY=FD01;", b"one");
    client.send(2, "T", 3, "KEYS=order-2 paid;UNIQ_KEY=FD02;", b"two");
    client.send(3, "Other", 0, "KEYS=paid;", b"elsewhere");
    let query = |key: &str, max: i32, end: i64| {
        format!(r#""topic":"T","key":"{key}","maxNum":"{max}","beginTimestamp":"0","endTimestamp":"{end}""#)
    };
    for (key, max, expected) in [
        ("paid", 32, vec!["two", "one"]),
        ("paid", 1, vec!["two"]),
        ("order-1", 32, vec!["one"]),
        ("FD02", 32, vec!["two"]),
    ] {
        let answer = client.call(12, 4, &query(key, max, i64::MAX), b"");
        assert_eq!(answer.code, 0, "{answer:?}");
        assert!(field(&answer, "indexLastUpdateTimestamp").is_some());
        assert!(field(&answer, "indexLastUpdatePhyoffset").is_some());
        let found = Seen { remark: Some("FOUND".to_owned()), ..answer };
        assert_eq!(bodies(&found), expected.iter().map(|body| body.as_bytes()).collect::<Vec<_>>(), "{key}");
    }
    for absent in [query("absent", 32, i64::MAX), query("paid", 32, 1)] {
        assert_eq!(client.call(12, 5, &absent, b"").code, 22);
    }
    let unknown = query("paid", 32, 1).replace("\"T\"", "\"Unknown\"");
    assert_eq!(client.call(12, 6, &unknown, b"").code, 17);

    let id: OffsetId = field(&sent, "msgId").unwrap().parse().unwrap();
    let view = |position: u64| format!(r#""topic":"T","offset":"{position}""#);
    let viewed = client.call(33, 7, &view(id.position), b"");
    assert_eq!(viewed.code, 0, "{viewed:?}");
    let found = Seen { remark: Some("FOUND".to_owned()), ..viewed };
    assert_eq!(bodies(&found), [b"one"]);
    assert_eq!(client.call(33, 8, &view(id.position + 8), b"").code, 1);
    assert_eq!(client.call(33, 9, r#""offset":"-1""#, b"").code, 1);
}

#[test]
fn sends_to_a_new_topic_in_one_read_are_stored_in_order() {
    let house = House::open();
    let mut client = house.client();
    let mut input = BytesMut::new();
    for n in 0..20 {
        input.extend_from_slice(&request(310, n, 0, &send_fields("T", 1, ""), format!("m{n}").as_bytes()));
    }
    client.input(&mut input);
    for n in 0..20 {
        let answer = client.next();
        assert_eq!((answer.code, answer.opaque), (0, n), "{answer:?}");
        assert_eq!(field(&answer, "queueOffset"), Some(n.to_string().as_str()));
        assert_eq!(field(&answer, "transactionId").unwrap().len(), 32, "an id is made for who has none");
    }
    client.pull(30, "T", 1, 0, "*");
    let expected: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    assert_eq!(bodies(&client.next()), expected.iter().map(String::as_bytes).collect::<Vec<_>>());
}

#[test]
fn sends_that_cannot_be_stored_say_why_and_the_connection_lives_on() {
    let house = House::open();
    let mut client = house.client();
    client.send(1, "T", 0, "", b"x");
    let no_template = r#""a":"p","b":"U","c":"other","e":"0""#;
    for (fields, code, remark) in [
        (send_fields("T", 4, ""), 29, "queueId[4] is illegal"),
        (send_fields("bad name", 0, ""), 29, "has characters other than"),
        (send_fields("SCHEDULE_TOPIC_XXXX", 0, ""), 16, "is forbidden"),
        (send_fields("T", 0, "TIMER_DELAY_SEC=999999;"), 13, "timer message illegal"),
        (no_template.to_owned(), 17, "topic[U] not exist"),
    ] {
        let answer = client.call(310, 2, &fields, b"x");
        assert_eq!(answer.code, code, "{fields}: {answer:?}");
        assert!(answer.remark.as_deref().unwrap().contains(remark), "{fields}: {answer:?}");
    }
    let answer = client.call(310, 3, &send_fields("T", 0, ""), &vec![b'x'; 4 * 1024 * 1024 + 1]);
    assert_eq!(answer.code, 13, "{answer:?}");
    assert_eq!(client.send(4, "T", -1, "", b"y").code, 0, "a negative queue leaves the choice to the broker");
}

#[test]
fn a_batch_is_stored_whole_with_consecutive_offsets_or_not_at_all() {
    let house = House::open();
    let mut client = house.client();
    client.send(1, "T", 3, "", b"first");
    let mut batch = Vec::new();
    for body in [&b"a"[..], b"", b"ccc"] {
        let properties = b"TAGS\x01t\x02";
        let size = i32::try_from(22 + body.len() + properties.len()).unwrap();
        for number in [size, 0, 0, 5, i32::try_from(body.len()).unwrap()] {
            batch.extend_from_slice(&number.to_be_bytes());
        }
        batch.extend_from_slice(body);
        batch.extend_from_slice(&u16::try_from(properties.len()).unwrap().to_be_bytes());
        batch.extend_from_slice(properties);
    }
    let fields = send_fields("T", 3, "WAIT=true;").replace(r#""m":"false""#, r#""m":"true""#);
    let stored = client.call(320, 2, &fields, &batch);
    assert_eq!((stored.code, field(&stored, "queueOffset")), (0, Some("1")), "{stored:?}");
    assert_eq!(field(&stored, "msgId").unwrap().split(',').count(), 3);
    let broken = client.call(320, 3, &fields, &batch[..batch.len() - 1]);
    assert_eq!(broken.code, 13, "{broken:?}");
    client.pull(4, "T", 3, 0, "*");
    let found = client.next();
    assert_eq!(bodies(&found), [&b"first"[..], b"a", b"", b"ccc"]);
    let message = messages(&found)[3];
    assert_eq!((message.flag(), message.queue_offset()), (5, 3));
    assert_eq!(message.properties().as_bytes(), b"TAGS\x01t\x02", "properties in a batch stay untouched");
}

#[test]
fn a_held_pull_is_answered_when_something_comes_or_its_time_is_up() {
    let house = House::open();
    let (mut consumer, mut producer) = (house.client(), house.client());
    producer.send(1, "T", 0, "TAGS=a;", b"old");
    consumer.pull(1, "T", 0, 1, "*");
    assert!(consumer.received().is_none(), "held");
    producer.send(2, "T", 0, "TAGS=a;", b"new");
    let found = consumer.next();
    assert_eq!((found.opaque, bodies(&found)), (1, vec![&b"new"[..]]));
    assert_eq!(field(&found, "nextBeginOffset"), Some("2"));

    consumer.pull(2, "T", 0, 2, "*");
    assert!(consumer.received().is_none(), "held");
    consumer.pass_deadline();
    let nothing = consumer.received().expect("an answer at the deadline");
    assert_eq!(
        (nothing.code, nothing.opaque, nothing.remark.as_deref()),
        (19, 2, Some("OFFSET_OVERFLOW_ONE"))
    );
    assert_eq!(field(&nothing, "nextBeginOffset"), Some("2"));
    producer.send(3, "T", 0, "", b"later");
    assert_eq!(field(&consumer.call(30, 9, r#""topic":"T","queueId":"0""#, b""), "offset"), Some("3"));
    assert!(consumer.received().is_none(), "a pull is answered once");
}

#[test]
fn a_filtered_pull_waits_for_its_tag_and_moves_on_past_the_others() {
    let house = House::open();
    let (mut consumer, mut producer) = (house.client(), house.client());
    for (n, tag) in ["a", "b", "b"].into_iter().enumerate() {
        producer.send(i32::try_from(n).unwrap(), "T", 0, &format!("TAGS={tag};"), tag.as_bytes());
    }
    consumer.pull(1, "T", 0, 0, "a || c");
    assert_eq!(bodies(&consumer.next()), [b"a"]);
    consumer.pull(2, "T", 0, 1, "a || c");
    assert!(consumer.received().is_none(), "held behind the two that do not match");
    producer.send(4, "T", 0, "TAGS=b;", b"b");
    producer.send(5, "T", 0, "TAGS=c;", b"c");
    let found = consumer.next();
    assert_eq!((bodies(&found), field(&found, "nextBeginOffset")), (vec![&b"c"[..]], Some("5")));
    producer.send(6, "T", 0, "TAGS=b;", b"b");
    consumer.pull(3, "T", 0, 5, "a");
    consumer.pass_deadline();
    let nothing = consumer.received().unwrap();
    assert_eq!((nothing.code, field(&nothing, "nextBeginOffset")), (20, Some("6")), "{nothing:?}");
}

#[test]
fn offsets_outside_a_queue_are_corrected_and_times_are_found() {
    let house = House::open();
    let mut client = house.client();
    let before = house.broker.now().wall_ms;
    client.send(1, "T", 0, "", b"x");
    client.send(2, "T", 0, "", b"y");
    for (queue, offset, next) in [(0, 7, "2"), (0, -1, "0"), (1, 3, "0")] {
        client.pull(3, "T", queue, offset, "*");
        let moved = client.next();
        assert_eq!(
            (moved.code, field(&moved, "nextBeginOffset")),
            (21, Some(next)),
            "{queue} {offset}: {moved:?}"
        );
    }
    let at = |time: u64, boundary: &str| {
        format!(r#""topic":"T","queueId":"0","timestamp":"{time}","boundaryType":"{boundary}""#)
    };
    let later = house.broker.now().wall_ms + 1_000;
    for (fields, offset) in [
        (at(before, "LOWER"), "0"),
        (at(later, "LOWER"), "2"),
        (at(later, "UPPER"), "1"),
        (at(0, "UPPER"), "0"),
    ] {
        assert_eq!(field(&client.call(29, 4, &fields, b""), "offset"), Some(offset), "{fields}");
    }
    let earliest = client.call(32, 5, r#""topic":"T","queueId":"0""#, b"");
    let stored: u64 = field(&earliest, "timestamp").unwrap().parse().unwrap();
    assert!((before..=later).contains(&stored));
    assert_eq!(field(&client.call(32, 6, r#""topic":"T","queueId":"1""#, b""), "timestamp"), Some("-1"));
    assert_eq!(field(&client.call(31, 7, r#""topic":"T","queueId":"0""#, b""), "offset"), Some("0"));
    client.pull(8, "nowhere", 0, 0, "*");
    assert_eq!(client.next().code, 17);
    client.pull(9, "T", 4, 0, "*");
    assert_eq!(client.next().code, 29);
}

#[test]
fn members_hear_of_each_other_and_of_a_lost_connection() {
    let house = House::open();
    let (mut one, mut two) = (house.client(), house.client());
    one.ask(34, 1, "", heartbeat("c1", "g", "T", "*", 1).as_bytes());
    let frames = [one.next(), one.next()];
    let notice = frames.iter().find(|frame| frame.code == 40).expect("a notice");
    assert_eq!((notice.flag, field(notice, "consumerGroup")), (2, Some("g")));
    two.ask(34, 1, "", heartbeat("c2", "g", "T", "*", 1).as_bytes());
    assert_eq!(one.next().code, 40, "another has come");
    let list = one.call(38, 2, r#""consumerGroup":"g""#, b"");
    assert_eq!(list.body, r#"{"consumerIdList":["c1","c2"]}"#);
    drop(two);
    assert_eq!(one.next().code, 40, "it has gone");
    assert_eq!(one.call(38, 3, r#""consumerGroup":"g""#, b"").body, r#"{"consumerIdList":["c1"]}"#);
}

#[test]
fn a_queue_is_locked_by_one_member_until_it_unlocks() {
    let house = House::open();
    let (mut one, mut two) = (house.client(), house.client());
    one.send(1, "T", 0, "", b"x");
    let body = |client: &str, queues: &[i32]| {
        let list: Vec<String> = queues
            .iter()
            .map(|queue| format!(r#"{{"brokerName":"mailrail","queueId":{queue},"topic":"T"}}"#))
            .collect();
        format!(
            r#"{{"clientId":"{client}","consumerGroup":"g","mqSet":[{}],"onlyThisBroker":false}}"#,
            list.join(",")
        )
    };
    let held = |queue: i32| {
        format!(r#"{{"lockOKMQSet":[{{"brokerName":"mailrail","queueId":{queue},"topic":"T"}}]}}"#)
    };
    assert_eq!(one.call(41, 2, "", body("c1", &[0, 99]).as_bytes()).body, held(0));
    assert_eq!(two.call(41, 2, "", body("c2", &[0, 1]).as_bytes()).body, held(1));
    assert_eq!(one.call(42, 3, "", body("c1", &[0]).as_bytes()).code, 0);
    assert_eq!(two.call(41, 3, "", body("c2", &[0]).as_bytes()).body, held(0));
}

#[test]
fn a_message_sent_back_comes_again_and_at_last_dies() {
    let house = House::open();
    let mut client = house.client();
    let sent = client.send(1, "T", 0, "TAGS=t;UNIQ_KEY=FD00;", b"work");
    let id = field(&sent, "msgId").unwrap().to_owned();
    let position = id.parse::<OffsetId>().unwrap().position;
    let back = |position: u64, level: i32| {
        format!(
            r#""offset":"{position}","group":"g","delayLevel":"{level}","originTopic":"T","maxReconsumeTimes":"16""#
        )
    };
    let answer = client.call(36, 2, &back(position, 1), b"");
    assert_eq!(answer.code, 0, "{answer:?}");
    client.pull(3, "%RETRY%g", 0, 0, "*");
    let found = client.next();
    let message = messages(&found)[0];
    assert_eq!((message.body(), message.topic(), message.reconsume_times()), (&b"work"[..], "%RETRY%g", 1));
    let properties = message.properties();
    assert_eq!(
        (properties.get("RETRY_TOPIC"), properties.get("ORIGIN_MESSAGE_ID")),
        (Some("T"), Some(id.as_str()))
    );
    assert_eq!((properties.get("UNIQ_KEY"), properties.get("TAGS")), (Some("FD00"), Some("t")));

    let again = message.position();
    assert_eq!(client.call(36, 4, &back(again, -1), b"").code, 0);
    client.pull(5, "%DLQ%g", 0, 0, "*");
    let dead = client.next();
    let message = messages(&dead)[0];
    assert_eq!((message.body(), message.reconsume_times()), (&b"work"[..], 2));
    let properties = message.properties();
    assert_eq!(properties.get("DLQ_ORIGIN_TOPIC"), Some("T"));
    assert_eq!(properties.get("ORIGIN_MESSAGE_ID"), Some(id.as_str()), "where it came from first");
    let answer = client.call(36, 6, &back(position + 1, 0), b"");
    assert_eq!((answer.code, answer.remark.unwrap().contains("look message by offset failed")), (1, true));
}

#[test]
fn messages_carry_the_address_that_clients_reach_now() {
    let house = House::open();
    house.client().send(1, "T", 0, "KEYS=k;", b"x");
    let moved = RemotingConfig::new("[::1]:1234".parse().unwrap(), "DefaultCluster", "mailrail");
    let mut client = house.client_of(Arc::new(moved));
    client.pull(2, "T", 0, 0, "*");
    let found = client.next();
    let message = messages(&found)[0];
    assert_eq!(message.store_host(), "[::1]:1234".parse().unwrap());
    assert_eq!((message.body(), message.properties().get("KEYS")), (&b"x"[..], Some("k")));
}

#[test]
fn sql_selects_by_property_whether_it_comes_with_the_pull_or_the_heartbeat() {
    let house = House::open();
    let mut client = house.client();
    for (opaque, n) in [1, 5, 9].into_iter().enumerate() {
        let body = n.to_string();
        client.send(i32::try_from(opaque).unwrap(), "T", 0, &format!("n={n};"), body.as_bytes());
    }
    let pull = |flag: i32, subscription: &str| {
        format!(
            r#""consumerGroup":"g","topic":"T","queueId":"0","queueOffset":"0","maxMsgNums":"32","sysFlag":"{flag}","subVersion":"1","subscription":"{subscription}","expressionType":"SQL92""#
        )
    };
    let subscription = |expression: &str| {
        format!(r#""topic":"T","subString":"{expression}","expressionType":"SQL92","subVersion":1"#)
    };
    let check = |expression: &str| {
        format!(r#"{{"clientId":"c","group":"g","subscriptionData":{{{}}}}}"#, subscription(expression))
    };
    let beat = |expression: &str| {
        let subscription = subscription(expression);
        format!(
            r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"g","subscriptionDataSet":[{{{subscription}}}]}}]}}"#
        )
    };
    assert_eq!(bodies(&client.call(11, 10, &pull(4, "n > 3"), b"")), [b"5", b"9"]);
    assert_eq!(client.call(46, 11, "", check("n > 3").as_bytes()).code, 0);
    assert_eq!(client.call(34, 12, "", beat("n < 6 AND n > 1").as_bytes()).code, 0);
    assert_eq!(bodies(&client.call(11, 13, &pull(0, ""), b"")), [b"5"]);
    let none = client.call(11, 14, &pull(4, "n > 9"), b"");
    assert_eq!((none.code, field(&none, "nextBeginOffset")), (20, Some("3")));

    let wrong = client.call(11, 15, &pull(4, "n >"), b"");
    assert_eq!(wrong.code, 23);
    assert!(wrong.remark.as_deref().unwrap().contains("at byte 3"), "{:?}", wrong.remark);
    assert_eq!(client.call(46, 16, "", check("n >").as_bytes()).code, 23);
    assert_eq!(client.call(34, 17, "", beat("n >").as_bytes()).code, 0);
    assert_eq!(client.call(11, 18, &pull(0, ""), b"").code, 27);
}

#[test]
fn what_is_not_there_yet_is_refused_and_one_way_requests_get_nothing() {
    let house = House::open();
    let mut client = house.client();
    for code in [17, 323, 200_050, 4_242] {
        let refused = client.call(code, 1, "", b"");
        assert_eq!(refused.code, 3);
        assert_eq!(refused.remark, Some(format!(" request type {code} not supported")));
    }
    client.input(&mut request(323, 2, 2, "", b""));
    client.input(&mut request(310, 3, 2, r#""b":"T""#, b"no queue id"));
    client.input(&mut request(0, 4, 1, "", b"a response to nobody"));
    assert_eq!(client.call(310, 5, r#""b":"T""#, b"").code, 1, "the only answer of the four");
    let cluster = client.call(106, 8, "", b"");
    assert!(
        std::str::from_utf8(&cluster.body)
            .unwrap()
            .contains(r#""clusterAddrTable":{"DefaultCluster":["mailrail"]}"#)
    );
}
