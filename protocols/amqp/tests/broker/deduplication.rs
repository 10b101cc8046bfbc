//! Messages with `x-deduplication-header`: what a queue that deduplicates stores once.

use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{BasicProperties, TableBuffer, Value};
use mailrail_broker::limits::DEDUPLICATION_KEY_BYTES_MAX;
use mailrail_broker::{DEDUPLICATION_WINDOW_MS, DEDUPLICATION_WINDOW_MS_DEFAULT};

use super::client::*;

const ARGUMENT: &str = "x-message-deduplication";
const HEADER: &str = "x-deduplication-header";

fn declare(client: &mut Client, queue: &str, deduplicates: bool) {
    let mut arguments = TableBuffer::default();
    arguments.put(ARGUMENT, Value::Bool(deduplicates));
    let method = QueueDeclare { queue, arguments: arguments.as_table(), ..QUEUE };
    client.call(1, &method, "QueueDeclareOk");
}

fn publish(client: &mut Client, exchange: &str, queue: &str, key: Value<'_>, body: &[u8]) {
    let mut headers = TableBuffer::default();
    headers.put(HEADER, key);
    client.publish(
        exchange,
        queue,
        &BasicProperties { headers: Some(headers.as_table()), ..PERSISTENT },
        body,
    );
}

fn drain(client: &mut Client, queue: &str) -> Vec<Vec<u8>> {
    let count = client.call(1, &QueueDeclare { queue, passive: true, ..QUEUE }, "QueueDeclareOk");
    let count = count.split_once("message_count: ").unwrap().1;
    let count: usize = count.split_once(',').unwrap().0.parse().unwrap();
    (0..count).map(|_| client.message_of(&BasicGet { queue, no_ack: true })).collect()
}

#[test]
fn what_has_the_same_header_is_confirmed_and_stored_once() {
    let house = House::open();
    let mut client = house.client();
    declare(&mut client, "q", true);
    declare(&mut client, "plain", false);
    let settings = house.broker.directory().topic("q").unwrap().settings();
    let window = settings.attributes.get(DEDUPLICATION_WINDOW_MS).map(String::as_str);
    assert_eq!(window, Some(DEDUPLICATION_WINDOW_MS_DEFAULT.to_string().as_str()));
    client.call(1, &ConfirmSelect { no_wait: false }, "ConfirmSelectOk");
    for queue in ["q", "plain"] {
        for (key, body) in [("a", b"a1"), ("b", b"b1"), ("a", b"a2")] {
            publish(&mut client, "", queue, Value::Text(key.as_bytes()), body);
        }
        publish(&mut client, "", queue, Value::I32(7), b"n1");
        publish(&mut client, "", queue, Value::I64(7), b"n2");
        client.publish("", queue, &PERSISTENT, b"without");
        client.publish("", queue, &PERSISTENT, b"without");
    }
    while !client.expect("BasicAck").contains("delivery_tag: 14,") {}
    assert_eq!(drain(&mut client, "q"), [&b"a1"[..], b"b1", b"n1", b"without", b"without"]);
    assert_eq!(drain(&mut client, "plain").len(), 7);
    // What was consumed is not stored again either, and a message keeps its header.
    publish(&mut client, "", "q", Value::Text(b"a"), b"a3");
    publish(&mut client, "", "q", Value::Text(b"c"), b"c1");
    client.expect("BasicAck");
    client.send(1, &BasicGet { queue: "q", no_ack: true });
    let got = client.message("BasicGetOk");
    let header = got.properties().headers.unwrap().get(HEADER).and_then(|value| value.as_text());
    assert_eq!((got.body.as_slice(), header), (&b"c1"[..], Some("c")));
    assert!(drain(&mut client, "q").is_empty());
}

#[test]
fn an_exchange_a_transaction_and_a_mandatory_publish_take_a_duplicate_for_done() {
    let house = House::open();
    let mut client = house.client();
    declare(&mut client, "q", true);
    declare(&mut client, "plain", false);
    client.call(1, &EXCHANGE, "ExchangeDeclareOk");
    for queue in ["q", "plain"] {
        client.call(1, &bind(queue, "x", "#"), "QueueBindOk");
    }
    client.call(1, &TxSelect, "TxSelectOk");
    for _ in 0..2 {
        publish(&mut client, "x", "key", Value::Text(b"a"), b"body");
        client.call(1, &TxCommit, "TxCommitOk");
    }
    let mut headers = TableBuffer::default();
    headers.put(HEADER, Value::Text(b"a"));
    let properties = BasicProperties { headers: Some(headers.as_table()), ..PERSISTENT };
    let method = BasicPublish { exchange: "", routing_key: "q".into(), mandatory: true, immediate: false };
    client.publish_as(method, &properties, b"body");
    assert_eq!(client.call(1, &TxCommit, "Tx"), "TxCommitOk", "nothing was returned");
    assert_eq!((drain(&mut client, "q").len(), drain(&mut client, "plain").len()), (1, 2));
}

#[test]
fn a_queue_that_deduplicates_is_declared_again_as_it_is() {
    let house = House::open();
    let mut client = house.client();
    declare(&mut client, "q", true);
    declare(&mut client, "q", true);
    client.send(1, &QUEUE);
    let (dead, code, text) = client.closed();
    assert_eq!((dead, code), ("channel", 406));
    assert!(text.contains("x-message-deduplication"), "{text}");
    let mut client = house.client();
    let mut arguments = TableBuffer::default();
    arguments.put(ARGUMENT, Value::I32(1));
    client.send(1, &QueueDeclare { queue: "other", arguments: arguments.as_table(), ..QUEUE });
    assert_eq!(client.closed().1, 406);
}

#[test]
fn a_key_is_as_long_as_it_may_be_and_no_longer() {
    let house = House::open();
    let mut client = house.client();
    declare(&mut client, "q", true);
    let longest = vec![b'k'; DEDUPLICATION_KEY_BYTES_MAX];
    client.call(1, &ConfirmSelect { no_wait: false }, "ConfirmSelectOk");
    publish(&mut client, "", "q", Value::Text(&longest), b"longest");
    client.expect("BasicAck");
    publish(&mut client, "", "q", Value::Text(&[&longest[..], b"k"].concat()), b"longer");
    let (dead, code, text) = client.closed();
    assert_eq!((dead, code), ("channel", 406));
    assert!(text.contains("is 1025; at most 1024"), "{text}");
    let mut client = house.client();
    assert_eq!(drain(&mut client, "q"), [b"longest"]);
}
