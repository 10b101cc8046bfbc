//! Publishing through exchanges and to queues, confirms, returns, and publishes that are errors.

use bytes::BytesMut;
use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{BasicProperties, Table, TableBuffer, Value};

use super::client::*;

#[test]
fn declare_publish_confirm_and_consume_pipelined() {
    let house = House::open();
    let mut client = house.client();
    let mut bytes = BytesMut::new();
    let out = &mut bytes;
    mailrail_amqp::codec::writer::method(out, 1, &ConfirmSelect { no_wait: false });
    mailrail_amqp::codec::writer::method(out, 1, &QUEUE);
    let publish = BasicPublish { exchange: "", routing_key: "q".into(), mandatory: false, immediate: false };
    put_publish(out, publish, &PERSISTENT, b"one");
    put_publish(out, publish, &BasicProperties::default(), b"two");
    put_publish(out, publish, &PERSISTENT, b"three");
    mailrail_amqp::codec::writer::method(out, 1, &CONSUME);
    client.bytes(bytes);
    client.expect("ConfirmSelectOk");
    client.expect("QueueDeclareOk { queue: \"q\", message_count: 0, consumer_count: 0 }");
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(client.message("BasicDeliver").body);
    }
    assert_eq!(bodies, [&b"one"[..], b"two", b"three"]);
}

#[test]
fn confirms_come_for_everything() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &QUEUE, "QueueDeclareOk");
    client.call(1, &ConfirmSelect { no_wait: false }, "ConfirmSelectOk");
    let mut bytes = BytesMut::new();
    let publish = BasicPublish { exchange: "", routing_key: "q".into(), mandatory: false, immediate: false };
    for at in 0..1_000u32 {
        put_publish(&mut bytes, publish, &PERSISTENT, &at.to_be_bytes());
    }
    client.bytes(bytes);
    let last = client.expect("BasicAck");
    assert_eq!(last, "BasicAck { delivery_tag: 1000, multiple: true }");
    assert!(client.call(1, &QUEUE, "QueueDeclareOk").contains("message_count: 1000"));
}

#[test]
fn unroutable_messages_are_confirmed_and_mandatory_ones_returned_before() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &EXCHANGE, "ExchangeDeclareOk");
    client.call(1, &ConfirmSelect { no_wait: false }, "ConfirmSelectOk");
    for (exchange, sequence) in [("", 1), ("x", 2)] {
        let method =
            BasicPublish { exchange, routing_key: "nowhere".into(), mandatory: true, immediate: false };
        let properties = BasicProperties { message_id: Some("m"), ..PERSISTENT };
        client.publish_as(method, &properties, b"back");
        let returned = client.message("BasicReturn { reply_code: 312, reply_text: \"NO_ROUTE\"");
        assert!(returned.method.contains(&format!("exchange: {exchange:?}, routing_key: \"nowhere\"")));
        assert_eq!((&returned.body[..], returned.properties().message_id), (&b"back"[..], Some("m")));
        assert!(client.expect("BasicAck").contains(&format!("delivery_tag: {sequence},")));
    }
    client.publish("x", "nowhere", &PERSISTENT, b"gone");
    assert!(client.expect("BasicAck").contains("delivery_tag: 3,"));
}

#[test]
fn exchanges_route_by_their_kind() {
    let house = House::open();
    let mut client = house.client();
    for (exchange, kind) in [("d", "direct"), ("f", "fanout"), ("t", "topic")] {
        client.call(1, &ExchangeDeclare { exchange, kind, ..EXCHANGE }, "ExchangeDeclareOk");
        for queue in ["one", "two"] {
            client.call(1, &QueueDeclare { queue, ..QUEUE }, "QueueDeclareOk");
        }
        client.call(1, &bind("one", exchange, "a.*"), "QueueBindOk");
        client.call(1, &bind("two", exchange, "a.b"), "QueueBindOk");
        client.publish(exchange, "a.b", &PERSISTENT, kind.as_bytes());
        let mut got = Vec::new();
        for queue in ["one", "two"] {
            client.send(1, &BasicGet { queue, no_ack: true });
            // Either a message or the news that there is none.
            got.push(client.expect("BasicGet").starts_with("BasicGetOk"));
        }
        let expected = if kind == "direct" { [false, true] } else { [true, true] };
        assert_eq!(got, expected, "{kind}");
        client.pending();
    }
}

#[test]
fn bound_exchanges_pass_messages_on_and_unbind_ends_it() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &QUEUE, "QueueDeclareOk");
    client.call(1, &EXCHANGE, "ExchangeDeclareOk");
    let arguments = Table::EMPTY;
    let hop =
        ExchangeBind { destination: "x", source: "amq.fanout", routing_key: "", no_wait: false, arguments };
    client.call(1, &hop, "ExchangeBindOk");
    client.call(1, &bind("q", "x", "#"), "QueueBindOk");
    client.publish("amq.fanout", "k", &PERSISTENT, b"through");
    let got = {
        client.send(1, &GET);
        client.message("BasicGetOk")
    };
    assert_eq!(got.body, b"through");
    assert!(got.method.contains("exchange: \"amq.fanout\", routing_key: \"k\""), "{}", got.method);
    let unbind = QueueUnbind { queue: "q", exchange: "x", routing_key: "#", arguments };
    client.call(1, &unbind, "QueueUnbindOk");
    client.call(1, &unbind, "QueueUnbindOk");
    client.publish("amq.fanout", "k", &PERSISTENT, b"nowhere");
    client.call(1, &GET, "BasicGetEmpty");
}

#[test]
fn publishes_that_are_errors_close_with_their_codes() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &ExchangeDeclare { exchange: "inner", internal: true, ..EXCHANGE }, "ExchangeDeclareOk");
    let mut cc = TableBuffer::default();
    cc.put("CC", Value::Void);
    let bad_expiration = BasicProperties { expiration: Some("soon".into()), ..PERSISTENT };
    let foreign_user = BasicProperties { user_id: Some("root".into()), ..PERSISTENT };
    let cases = [
        ("missing", PERSISTENT, ("channel", 404, "no exchange 'missing' in vhost '/'")),
        ("inner", PERSISTENT, ("channel", 403, "internal exchange 'inner'")),
        ("", bad_expiration, ("channel", 406, "'soon'")),
        ("", foreign_user, ("channel", 406, "'root'")),
        ("", BasicProperties { headers: Some(cc.as_table()), ..PERSISTENT }, ("channel", 406, "'CC'")),
    ];
    client.call(1, &QUEUE, "QueueDeclareOk");
    for (exchange, properties, (scope, code, text)) in cases {
        client.publish(exchange, "q", &properties, b"x");
        let closed = client.closed();
        assert!((closed.0, closed.1) == (scope, code) && closed.2.contains(text), "{closed:?}");
        if scope == "channel" {
            client.call(1, &ChannelOpen, "ChannelOpenOk");
        }
    }
}

#[test]
fn an_exchange_that_goes_before_a_publish_is_named_in_the_close() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &EXCHANGE, "ExchangeDeclareOk");
    client.call(2, &ChannelOpen, "ChannelOpenOk");
    // One input: the exchange is still there when the publish is looked at, and gone when the broker comes to it.
    let mut bytes = BytesMut::new();
    let delete = ExchangeDelete { exchange: "x", if_unused: false, no_wait: false };
    mailrail_amqp::codec::writer::method(&mut bytes, 2, &delete);
    let publish = BasicPublish { exchange: "x", routing_key: "k".into(), mandatory: false, immediate: false };
    put_publish(&mut bytes, publish, &PERSISTENT, b"x");
    client.bytes(bytes);
    let closed = client.closed();
    assert!(closed.1 == 404 && closed.2.contains("no exchange 'x' in vhost '/'"), "{closed:?}");
}

#[test]
fn large_bodies_pass_whole() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &QUEUE, "QueueDeclareOk");
    let body: Vec<u8> = (0..1_048_576u32).map(|at| (at % 251).to_le_bytes()[0]).collect();
    client.publish("", "q", &PERSISTENT, &body);
    client.send(1, &GET);
    assert!(client.message("BasicGetOk").body == body);
}
