//! What a message keeps: over AMQP everything, byte for byte; between protocols, RocketMQ's form of it.

use bytes::BytesMut;
use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{BasicProperties, ShortBytes, TableBuffer, Value};
use mailrail_broker::{
    Command, Destination, Durability, Event, Filter, Name, PublishBatch, ReadRequest, Session, Token,
};
use mailrail_broker::{Topic, TopicSettings};
use mailrail_message::{AnnexKind, Draft, StoredMessage, property, sys_flag};

use super::client::*;

fn wait_reply(session: &mut Session) -> Event {
    struct Park(std::thread::Thread);
    impl std::task::Wake for Park {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Park(std::thread::current())).into();
    let mut events = Vec::new();
    while session.poll_events(&mut std::task::Context::from_waker(&waker), &mut events).is_pending() {
        std::thread::park();
    }
    events.remove(0)
}

fn topic(house: &House, session: &mut Session, name: &str) -> std::sync::Arc<Topic> {
    let settings = TopicSettings { queues: 1, ..TopicSettings::default() };
    session.submit(vec![Command::PutTopic {
        token: Token(1),
        name: Name::from(name),
        settings,
        adopt: false,
    }]);
    wait_reply(session);
    house.broker.directory().topic(name).unwrap()
}

/// Publishes as a RocketMQ producer would.
fn send(session: &mut Session, topic: &Topic, sys_flags: u32, properties: &[u8], body: &[u8]) {
    let host = "192.0.2.1:1".parse().unwrap();
    let draft = Draft {
        topic: &topic.name,
        flag: 0,
        sys_flags,
        born_ms: 1_700_000_000_123,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        body,
        properties,
        more_properties: &[],
        annexes: &[],
    };
    let mut batch = PublishBatch::with_capacity(1_024, 1);
    let destination = Destination::Topic { topic: topic.id, queue_index: None };
    batch.push(&draft, destination, 0, Durability::Disk).unwrap();
    session.submit(vec![Command::Publish { token: Token(2), batch }]);
    assert!(matches!(wait_reply(session), Event::Published { results, .. } if results[0].is_ok()));
}

#[test]
fn amqp_to_amqp_loses_nothing() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &QUEUE, "QueueDeclareOk");
    client.call(1, &EXCHANGE, "ExchangeDeclareOk");
    client.call(1, &bind("q", "x", "#"), "QueueBindOk");
    let mut inner = TableBuffer::default();
    inner.put("deep", Value::U16(7)).put("again", Value::I8(-1));
    let mut headers = TableBuffer::default();
    headers
        .put("narrow", Value::I16(5))
        .put("wide", Value::I64(5))
        .put("table", Value::Table(inner.as_table()))
        .put("decimal", Value::Decimal { scale: 2, value: 314 })
        .put("void", Value::Void)
        .put("narrow", Value::I32(6));
    let sent = BasicProperties {
        content_type: Some("text/plain"),
        content_encoding: Some("utf-8"),
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        priority: Some(4),
        correlation_id: Some("c"),
        reply_to: Some("r"),
        expiration: Some("60000".into()),
        message_id: Some("m"),
        timestamp: Some(1_700_000_000),
        kind: Some("k"),
        user_id: Some("guest".into()),
        app_id: Some("a"),
        cluster_id: Some("z"),
    };
    client.publish("x", "some.key", &sent, b"\xff\x00body");
    client.send(1, &GET);
    let got = client.message("BasicGetOk");
    assert!(got.method.contains("exchange: \"x\", routing_key: \"some.key\""), "{}", got.method);
    assert_eq!((got.properties(), &got.body[..]), (sent, &b"\xff\x00body"[..]));
}

#[test]
fn what_is_not_utf8_in_a_message_is_passed_on_as_it_came() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &QUEUE, "QueueDeclareOk");
    client.call(1, &EXCHANGE, "ExchangeDeclareOk");
    client.call(1, &bind("q", "x", "#"), "QueueBindOk");
    // A header whose key is no text, one whose value is none, delivery mode, correlation id and message id.
    let raw = b"\x34\x80\0\0\0\x10\x01\xffS\0\0\0\x01v\x01kS\0\0\0\x01\xfe\x02\x02\xff\xfe\x01\x80";
    let key = ShortBytes::new(b"\xff.\xfe");
    for exchange in ["x", ""] {
        let publish = BasicPublish { exchange, routing_key: key, mandatory: true, immediate: false };
        let mut bytes = BytesMut::new();
        put_raw_publish(&mut bytes, publish, raw, b"body");
        client.bytes(bytes);
    }
    // No queue has such a name.
    let returned = client.message("BasicReturn");
    client.send(1, &GET);
    let got = client.message("BasicGetOk");
    for (received, exchange) in [(got, "x"), (returned, "")] {
        let place = format!("exchange: {exchange:?}, routing_key: {key:?}");
        assert!(received.method.contains(&place), "{}", received.method);
        assert_eq!((&received.properties[..], &received.body[..]), (&raw[..], &b"body"[..]));
    }
}

#[test]
fn an_amqp_message_is_stored_as_rocketmq_reads_it() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &QUEUE, "QueueDeclareOk");
    let mut headers = TableBuffer::default();
    headers.put_text("color", "blue").put("count", Value::I32(3)).put_text("x-tag", "T");
    let sent = BasicProperties { headers: Some(headers.as_table()), message_id: Some("id-1"), ..PERSISTENT };
    client.publish("", "q", &sent, b"body");
    client.call(1, &QUEUE, "QueueDeclareOk");
    let mut session = house.broker.connect();
    let queue = house.broker.directory().topic("q").unwrap().queue(0).unwrap();
    let request = ReadRequest { queue, offset: 0, max_entries: 1, max_bytes: 10_000, filter: Filter::all() };
    let batch = match session.read(Token(1), request) {
        Some(batch) => batch.unwrap(),
        None => match wait_reply(&mut session) {
            Event::Read { result, .. } => result.unwrap(),
            other => panic!("{other:?}"),
        },
    };
    let stored = StoredMessage::parse(&batch.entries[0].message).unwrap();
    assert_eq!((stored.topic(), stored.body()), ("q", &b"body"[..]));
    let pairs: Vec<_> = stored.properties().iter().collect();
    let expected = [
        ("TAGS", "T"),
        (property::KEYS, "id-1"),
        (property::UNIQUE_ID, "id-1"),
        ("color", "blue"),
        ("count", "3"),
    ];
    assert_eq!(pairs, expected);
    assert!(stored.annex(AnnexKind::Amqp).is_some_and(|annex| annex.starts_with(b"\x00\x01q")));
}

#[test]
fn a_message_born_elsewhere_gets_a_header() {
    let house = House::open();
    let mut session = house.broker.connect();
    let topic = topic(&house, &mut session, "q");
    let mut properties = Vec::new();
    for (key, value) in [
        ("TAGS", "blue"),
        ("KEYS", "k1 k2"),
        ("UNIQ_KEY", "U1"),
        ("WAIT", "true"),
        ("mine", "v"),
        ("CORRELATION_ID", "c"),
        ("content-type", "text/plain"),
    ] {
        assert!(property::push(&mut properties, key, value));
    }
    send(&mut session, &topic, 0, &properties, b"hello");
    let mut client = house.client();
    client.send(1, &GET);
    let got = client.message("BasicGetOk");
    assert!(got.method.contains("exchange: \"\", routing_key: \"q\""), "{}", got.method);
    let properties = got.properties();
    assert_eq!(properties.message_id, Some("U1"));
    assert_eq!(properties.correlation_id, Some("c"));
    assert_eq!(properties.content_type, Some("text/plain"));
    assert_eq!((properties.timestamp, properties.delivery_mode), (Some(1_700_000_000), Some(2)));
    let headers: Vec<_> =
        properties.headers.unwrap().iter().map(|(key, value)| (key, value.as_text().unwrap())).collect();
    assert_eq!(headers, [("mine", "v"), ("x-tag", "blue"), ("x-keys", "k1 k2")]);
    // The second time it has been tried before.
    client.send(1, &BasicReject { delivery_tag: 1, requeue: true });
    client.send(1, &GET);
    let again = client.message("BasicGetOk");
    assert!(again.method.contains("redelivered: true"));
    let attempts = again.properties().headers.unwrap().get("x-delivery-count");
    assert_eq!(attempts, Some(Value::I64(1)));
}

#[test]
fn a_topic_acts_as_an_exchange_whose_key_is_the_tag() {
    let house = House::open();
    let mut session = house.broker.connect();
    let orders = topic(&house, &mut session, "orders");
    let mut client = house.client();
    client.call(1, &QUEUE, "QueueDeclareOk");
    client.call(1, &bind("q", "orders", "eu.*"), "QueueBindOk");
    send(&mut session, &orders, 0, b"TAGS\x01eu.new\x02", b"from rocketmq");
    send(&mut session, &orders, 0, b"TAGS\x01us.new\x02", b"not this");
    client.send(1, &GET);
    let got = client.message("BasicGetOk");
    assert!(got.method.contains("exchange: \"orders\", routing_key: \"eu.new\""), "{}", got.method);
    assert_eq!(got.body, b"from rocketmq");
    client.publish("orders", "orders.eu.old", &PERSISTENT, b"from amqp");
    client.send(1, &GET);
    let got = client.message("BasicGetOk");
    assert!(got.method.contains("routing_key: \"orders.eu.old\"") && got.body == b"from amqp", "{got:?}");
    client.call(1, &GET, "BasicGetEmpty");
}

#[test]
fn compressed_bodies_arrive_plain() {
    use std::io::Write as _;
    let house = House::open();
    let mut session = house.broker.connect();
    let topic = topic(&house, &mut session, "q");
    let bodies = [b"mailrail ".repeat(1_000), Vec::new()];
    for body in &bodies {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(body).unwrap();
        send(&mut session, &topic, sys_flag::COMPRESSED, b"", &encoder.finish().unwrap());
    }
    send(&mut session, &topic, sys_flag::COMPRESSED, b"", b"not zlib");
    let mut client = house.client();
    for body in bodies {
        client.send(1, &GET);
        let got = client.message("BasicGetOk");
        assert!(got.body == body && got.properties().content_encoding.is_none());
    }
    client.send(1, &GET);
    let got = client.message("BasicGetOk");
    assert_eq!((&got.body[..], got.properties().content_encoding), (&b"not zlib"[..], Some("deflate")));
}
