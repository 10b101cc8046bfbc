//! Headers exchanges, alternate exchanges, exchanges bound to exchanges, and messages with copies.

use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{BasicProperties, Table, TableBuffer, Value};

use super::client::*;

fn declare(client: &mut Client, queues: &[&str], exchanges: &[(&str, &str)]) {
    for queue in queues {
        client.call(1, &QueueDeclare { queue, ..QUEUE }, "QueueDeclareOk");
    }
    for (exchange, kind) in exchanges {
        client.call(1, &ExchangeDeclare { exchange, kind, ..EXCHANGE }, "ExchangeDeclareOk");
    }
}

/// How many messages wait in each queue, once all that was published is there.
fn counts<const N: usize>(client: &mut Client, queues: [&str; N]) -> [usize; N] {
    queues.map(|queue| {
        let declared = client.call(1, &QueueDeclare { queue, passive: true, ..QUEUE }, "QueueDeclareOk");
        let count = declared.split("message_count: ").nth(1).and_then(|rest| rest.split(',').next());
        count.unwrap().parse().unwrap()
    })
}

#[test]
fn headers_route_by_value_in_every_mode() {
    let house = House::open();
    let mut client = house.client();
    let exchange = |exchange| ExchangeDeclare { exchange, kind: "headers", ..EXCHANGE };
    for usual in ["amq.headers", "amq.match", "x"] {
        client.call(1, &exchange(usual), "ExchangeDeclareOk");
    }
    let modes = ["all", "any", "all-with-x", "any-with-x"];
    for mode in modes {
        client.call(1, &QueueDeclare { queue: mode, ..QUEUE }, "QueueDeclareOk");
        let mut wanted = TableBuffer::default();
        wanted.put_text("x-match", mode).put("size", Value::I32(5)).put_text("region", "eu");
        wanted.put("x-own", Value::Bool(true));
        client.call(1, &QueueBind { arguments: wanted.as_table(), ..bind(mode, "x", "") }, "QueueBindOk");
    }
    let publish = |client: &mut Client, headers: &TableBuffer| {
        let properties = BasicProperties { headers: Some(headers.as_table()), ..PERSISTENT };
        client.publish("x", "any key", &properties, b"x");
        counts(client, modes)
    };
    let mut headers = TableBuffer::default();
    headers.put("x-own", Value::Bool(true));
    assert_eq!(publish(&mut client, &headers), [0, 0, 0, 1]);
    headers.put("size", Value::I64(5));
    assert_eq!(publish(&mut client, &headers), [0, 1, 0, 2], "an integer of another width is the same");
    headers.put_text("region", "eu");
    assert_eq!(publish(&mut client, &headers), [1, 2, 1, 3]);
    let mut headers = TableBuffer::default();
    headers.put_text("size", "5").put_text("region", "us");
    assert_eq!(publish(&mut client, &headers), [1, 2, 1, 3], "a text is no integer");

    let mut odd = TableBuffer::default();
    odd.put_text("x-match", "most");
    client.send(1, &QueueBind { arguments: odd.as_table(), ..bind("all", "x", "") });
    let closed = client.closed();
    assert!(closed.1 == 406 && closed.2.contains("x-match is \"most\""), "{closed:?}");
}

#[test]
fn an_alternate_gets_what_goes_nowhere_before_it_is_returned() {
    let house = House::open();
    let mut client = house.client();
    let mut alternate = TableBuffer::default();
    alternate.put_text("alternate-exchange", "rest");
    let first = ExchangeDeclare { arguments: alternate.as_table(), kind: "direct", ..EXCHANGE };
    client.call(1, &first, "ExchangeDeclareOk");
    client.call(1, &first, "ExchangeDeclareOk");
    client.call(1, &ConfirmSelect { no_wait: false }, "ConfirmSelectOk");
    let method = BasicPublish { exchange: "x", routing_key: "k".into(), mandatory: true, immediate: false };
    client.publish_as(method, &PERSISTENT, b"nowhere");
    assert_eq!(client.message("BasicReturn").body, b"nowhere");
    client.expect("BasicAck { delivery_tag: 1");

    let rest = ExchangeDeclare { exchange: "rest", kind: "fanout", internal: true, ..EXCHANGE };
    client.call(1, &rest, "ExchangeDeclareOk");
    declare(&mut client, &["q", "own"], &[]);
    client.call(1, &bind("q", "rest", ""), "QueueBindOk");
    client.call(1, &bind("own", "x", "own"), "QueueBindOk");
    for (key, sequence) in [("k", 2), ("own", 3)] {
        client.publish_as(BasicPublish { routing_key: key.into(), ..method }, &PERSISTENT, key.as_bytes());
        let next = client.next_text();
        assert!(next.starts_with(&format!("BasicAck {{ delivery_tag: {sequence}")), "no return: {next}");
    }
    assert_eq!(counts(&mut client, ["q", "own"]), [1, 1]);
    client.send(1, &GET);
    let got = client.message("BasicGetOk");
    assert!(got.method.contains("exchange: \"x\"") && got.method.contains("\"k\""), "{}", got.method);

    client.send(1, &ExchangeDeclare { arguments: Table::EMPTY, ..first });
    let text = "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received 'none' but current is 'rest'";
    let closed = client.closed();
    assert!(closed.1 == 406 && closed.2.contains(text), "{closed:?}");
}

#[test]
fn exchanges_of_all_kinds_are_bound_to_each_other_and_circles_end() {
    let house = House::open();
    let mut client = house.client();
    let kinds = [("t", "topic"), ("d", "direct"), ("f", "fanout"), ("h", "headers")];
    declare(&mut client, &["q"], &kinds);
    let link = |source, destination, routing_key, arguments| ExchangeBind {
        destination,
        source,
        routing_key,
        no_wait: false,
        arguments,
    };
    let mut wanted = TableBuffer::default();
    wanted.put_text("pass", "yes");
    for (source, destination, key, arguments) in [
        ("t", "d", "a.#", Table::EMPTY),
        ("d", "f", "a.b", Table::EMPTY),
        ("f", "h", "", Table::EMPTY),
        ("h", "t", "", wanted.as_table()),
    ] {
        client.call(1, &link(source, destination, key, arguments), "ExchangeBindOk");
    }
    client.call(1, &QueueBind { arguments: wanted.as_table(), ..bind("q", "h", "") }, "QueueBindOk");
    let properties = BasicProperties { headers: Some(wanted.as_table()), ..PERSISTENT };
    for (key, properties, expected) in
        [("a.b", &properties, 1), ("a.c", &properties, 1), ("a.b", &PERSISTENT, 1), ("a.b", &properties, 2)]
    {
        client.publish("t", key, properties, b"around");
        assert_eq!(counts(&mut client, ["q"]), [expected], "{key}");
    }
    let unbind = ExchangeUnbind {
        destination: "h",
        source: "f",
        routing_key: "",
        no_wait: false,
        arguments: Table::EMPTY,
    };
    client.call(1, &unbind, "ExchangeUnbindOk");
    client.publish("t", "a.b", &properties, b"around");
    assert_eq!(counts(&mut client, ["q"]), [2]);
}

/// A header that is an array of texts, as an entry of a table.
fn keys(name: &str, keys: &[&str]) -> Vec<u8> {
    let counted = |tag: u8, bytes: &[u8]| {
        [&[tag], u32::try_from(bytes.len()).unwrap().to_be_bytes().as_slice(), bytes].concat()
    };
    let texts: Vec<u8> = keys.iter().flat_map(|key| counted(b'S', key.as_bytes())).collect();
    [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &counted(b'A', &texts)].concat()
}

#[test]
fn copies_go_to_every_key_and_blind_ones_are_not_seen() {
    let house = House::open();
    let mut client = house.client();
    declare(&mut client, &["q", "b", "c"], &[("x", "direct")]);
    for queue in ["q", "b", "c"] {
        client.call(1, &bind(queue, "x", queue), "QueueBindOk");
    }
    let raw = [keys("CC", &["b", "nowhere"]), keys("BCC", &["c"]), b"\x01ns\x00\x01".to_vec()].concat();
    let headers = Some(Table::check(&raw).unwrap());
    let properties = BasicProperties { headers, ..PERSISTENT };
    for (exchange, key, expected) in
        [("", "q", [1, 1, 1]), ("", "missing", [1, 2, 2]), ("x", "q", [2, 3, 3]), ("x", "missing", [2, 4, 4])]
    {
        client.publish(exchange, key, &properties, b"copied");
        assert_eq!(counts(&mut client, ["q", "b", "c"]), expected, "{exchange:?} {key}");
    }
    for queue in ["q", "c"] {
        client.send(1, &BasicGet { queue, no_ack: true });
        let got = client.message("BasicGetOk");
        assert!(got.method.contains("\"q\""), "its own key stays: {}", got.method);
        let left = [keys("CC", &["b", "nowhere"]), b"\x01ns\x00\x01".to_vec()].concat();
        assert_eq!(got.properties().headers.unwrap().as_bytes(), left);
        assert_eq!(got.properties().delivery_mode, Some(2));
    }
    let method = BasicPublish { exchange: "", routing_key: "no".into(), mandatory: true, immediate: false };
    let raw = keys("CC", &["none"]);
    let headers = Some(Table::check(&raw).unwrap());
    client.publish_as(method, &BasicProperties { headers, ..PERSISTENT }, b"back");
    assert_eq!(client.message("BasicReturn").body, b"back");

    let names: Vec<String> = (0..1_024).map(|number| format!("k{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let raw = keys("CC", &names);
    let headers = Some(Table::check(&raw).unwrap());
    client.publish("x", "q", &BasicProperties { headers, ..PERSISTENT }, b"too many");
    let closed = client.closed();
    assert!(closed.1 == 406 && closed.2.contains("routing keys of a message is 1025"), "{closed:?}");
    client.call(1, &ChannelOpen, "ChannelOpenOk");
    assert_eq!(counts(&mut client, ["q"]), [1]);
}
