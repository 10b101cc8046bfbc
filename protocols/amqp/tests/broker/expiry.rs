//! Arguments that end messages and queues by themselves: dead letters with their history, times to live, limits.

use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{BasicProperties, Table, TableBuffer, Value};

use super::client::*;

fn declare(client: &mut Client, queue: &str, arguments: &TableBuffer) -> String {
    let method = QueueDeclare { queue, arguments: arguments.as_table(), ..QUEUE };
    client.call(1, &method, "QueueDeclareOk")
}

fn to_exchange(exchange: &str) -> TableBuffer {
    let mut arguments = TableBuffer::default();
    arguments.put_text("x-dead-letter-exchange", exchange);
    arguments
}

/// Gets one message and settles it; the queue may need a moment.
fn get(client: &mut Client, queue: &str) -> Received {
    client.send(1, &BasicConsume { queue, consumer_tag: queue, no_ack: true, ..CONSUME });
    let found = client.message("BasicDeliver");
    client.call(1, &BasicCancel { consumer_tag: queue, no_wait: false }, "BasicCancelOk");
    found
}

fn deaths<'a>(headers: &Table<'a>) -> Vec<Table<'a>> {
    let Some(Value::Array(all)) = headers.get("x-death") else { panic!("{headers:?}") };
    let table = |value| match value {
        Value::Table(table) => table,
        other => panic!("{other:?}"),
    };
    all.iter().map(table).collect()
}

#[test]
fn a_rejected_message_comes_with_its_history_and_otherwise_as_it_was_sent() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &ExchangeDeclare { exchange: "dlx", kind: "fanout", ..EXCHANGE }, "ExchangeDeclareOk");
    declare(&mut client, "dead", &TableBuffer::default());
    client.call(1, &bind("dead", "dlx", ""), "QueueBindOk");
    declare(&mut client, "q", &to_exchange("dlx"));
    let mut headers = TableBuffer::default();
    headers.put("mine", Value::I8(7));
    let sent =
        BasicProperties { headers: Some(headers.as_table()), expiration: Some("60000".into()), ..PERSISTENT };
    client.publish("", "q", &sent, b"m");
    client.call(1, &CONSUME, "BasicConsumeOk");
    client.expect("BasicDeliver { consumer_tag: \"t\"");
    client.send(1, &BasicReject { delivery_tag: 1, requeue: false });
    let dead = get(&mut client, "dead");
    assert!(
        dead.method.contains("exchange: \"dlx\"") && dead.method.contains("redelivered: false"),
        "{dead:?}"
    );
    let found = dead.properties();
    assert_eq!((found.expiration, found.delivery_mode), (None, Some(2)));
    let headers = found.headers.unwrap();
    assert_eq!(headers.get("mine"), Some(Value::I8(7)));
    let death = deaths(&headers)[0];
    for (name, value) in
        [("queue", "q"), ("reason", "rejected"), ("exchange", ""), ("original-expiration", "60000")]
    {
        assert_eq!(death.get(name), Some(Value::Text(value.as_bytes())), "{name}");
    }
    assert_eq!(headers.get("x-first-death-reason"), Some(Value::Text(b"rejected")));
}

#[test]
fn an_expired_message_goes_before_what_lies_ahead_of_it() {
    let house = House::open();
    let mut client = house.client();
    let mut arguments = to_exchange("");
    arguments.put_text("x-dead-letter-routing-key", "dead");
    declare(&mut client, "q", &arguments);
    declare(&mut client, "dead", &TableBuffer::default());
    client.publish("", "q", &PERSISTENT, b"stays");
    client.publish("", "q", &BasicProperties { expiration: Some("20".into()), ..PERSISTENT }, b"goes");
    let dead = get(&mut client, "dead");
    assert_eq!(dead.body, b"goes");
    let properties = dead.properties();
    let death = deaths(&properties.headers.unwrap())[0];
    assert_eq!(death.get("reason"), Some(Value::Text(b"expired")));
    assert_eq!(death.get("count"), Some(Value::I64(1)));
    assert_eq!(get(&mut client, "q").body, b"stays");
}

#[test]
fn a_full_queue_drops_its_head_or_nacks() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &ConfirmSelect { no_wait: false }, "ConfirmSelectOk");
    let mut arguments = to_exchange("");
    arguments.put("x-max-length", Value::I16(1)).put_text("x-dead-letter-routing-key", "dead");
    declare(&mut client, "dead", &TableBuffer::default());
    declare(&mut client, "q", &arguments);
    for (body, sequence) in [(b"a", 1), (b"b", 2)] {
        client.publish("", "q", &PERSISTENT, body);
        client.expect(&format!("BasicAck {{ delivery_tag: {sequence}"));
    }
    let dead = get(&mut client, "dead");
    assert_eq!(dead.body, b"a");
    let properties = dead.properties();
    assert_eq!(deaths(&properties.headers.unwrap())[0].get("reason"), Some(Value::Text(b"maxlen")));
    let mut arguments = TableBuffer::default();
    arguments.put("x-max-length", Value::I32(1)).put_text("x-overflow", "reject-publish");
    declare(&mut client, "strict", &arguments);
    for (body, answer) in [(b"c", "BasicAck { delivery_tag: 3"), (b"d", "BasicNack { delivery_tag: 4")] {
        client.publish("", "strict", &PERSISTENT, body);
        client.expect(answer);
    }
    assert_eq!(get(&mut client, "strict").body, b"c");
    client.publish("", "strict", &PERSISTENT, b"e");
    client.expect("BasicAck { delivery_tag: 5");
}

#[test]
fn a_queue_that_is_not_used_goes_and_one_that_is_stays() {
    let house = House::open();
    let (mut client, mut other) = (house.client(), house.client());
    let mut arguments = TableBuffer::default();
    arguments.put("x-expires", Value::I32(700));
    for queue in ["idle", "used"] {
        declare(&mut client, queue, &arguments);
    }
    let consume = BasicConsume { queue: "used", ..CONSUME };
    other.call(1, &consume, "BasicConsumeOk");
    let passive = QueueDeclare { queue: "idle", passive: true, ..QUEUE };
    while house.broker.directory().topic("idle").is_some() {
        std::thread::yield_now();
    }
    client.send(1, &passive);
    assert_eq!(client.closed().1, 404);
    client.call(1, &ChannelOpen, "ChannelOpenOk");
    client.call(1, &QueueDeclare { queue: "used", ..passive }, "QueueDeclareOk");
}

#[test]
fn other_arguments_are_another_queue_and_are_named_as_the_client_knows_them() {
    let house = House::open();
    let mut client = house.client();
    let mut arguments = to_exchange("dlx");
    arguments.put("x-message-ttl", Value::I32(5_000));
    declare(&mut client, "q", &arguments);
    let mut again = to_exchange("dlx");
    again.put("x-message-ttl", Value::I64(5_000));
    declare(&mut client, "q", &again);
    let mut longer = to_exchange("dlx");
    longer.put("x-message-ttl", Value::I32(6_000));
    client.send(1, &QueueDeclare { arguments: longer.as_table(), ..QUEUE });
    let closed = client.closed();
    let text =
        "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '6000' but current is '5000'";
    assert!(closed.1 == 406 && closed.2.contains(text), "{closed:?}");
}
