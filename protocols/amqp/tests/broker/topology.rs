//! Queues and exchanges: made, made again, made otherwise, deleted; and how long they live.

use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{TableBuffer, Value};
use mailrail_broker::{Command, Name, TRACE_SAMPLE, TRACE_TOPIC, Token, TopicSettings};

use super::client::*;

/// Sends a method that is an error, checks the close and opens the channel again.
fn refused<M: mailrail_amqp::codec::Arguments>(client: &mut Client, method: &M, code: u16, text: &str) {
    client.send(1, method);
    let closed = client.closed();
    assert!(closed.0 == "channel" && closed.1 == code && closed.2.contains(text), "{closed:?}");
    client.call(1, &ChannelOpen, "ChannelOpenOk");
}

#[test]
fn a_queue_is_declared_again_only_as_it_is() {
    let house = House::open();
    let mut client = house.client();
    let mut limited = TableBuffer::default();
    limited.put("x-delivery-limit", Value::I64(3)).put_text("x-queue-mode", "lazy");
    let declared = client.call(1, &QUEUE, "QueueDeclareOk");
    assert!(declared.contains("message_count: 0, consumer_count: 0"), "{declared}");
    client.call(1, &QUEUE, "QueueDeclareOk");
    // A passive declare names it and no more.
    client.call(
        1,
        &QueueDeclare { passive: true, durable: false, exclusive: true, ..QUEUE },
        "QueueDeclareOk",
    );
    let text =
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'";
    refused(&mut client, &QueueDeclare { durable: false, ..QUEUE }, 406, text);
    refused(&mut client, &QueueDeclare { auto_delete: true, ..QUEUE }, 406, "'auto_delete'");
    refused(&mut client, &QueueDeclare { exclusive: true, ..QUEUE }, 405, "cannot obtain exclusive access");
    refused(&mut client, &QueueDeclare { arguments: limited.as_table(), ..QUEUE }, 406, "'x-delivery-limit'");
    refused(&mut client, &QueueDeclare { queue: "amq.mine", ..QUEUE }, 403, "reserved prefix");
    refused(&mut client, &QueueDeclare { queue: "none", passive: true, ..QUEUE }, 404, "no queue 'none'");
}

#[test]
fn a_queue_is_declared_again_whatever_is_traced_of_it() {
    let house = House::open();
    let (mut client, mut session) = (house.client(), house.broker.connect());
    client.call(1, &QUEUE, "QueueDeclareOk");
    let found = (*house.broker.directory().topic("q").unwrap().settings()).clone();
    for sample in ["1000000", "0"] {
        let mut settings = found.clone();
        settings.attributes.insert(TRACE_SAMPLE.to_owned(), sample.to_owned());
        session.submit(vec![Command::PutTopic { token: Token(1), name: "q".into(), settings, adopt: false }]);
        // The command is carried out before what this client asks next; the directory is looked at at once.
        client.call(1, &QueueDeclare { queue: "other", ..QUEUE }, "QueueDeclareOk");
        let settings = house.broker.directory().topic("q").unwrap().settings();
        assert_eq!(settings.attributes.get(TRACE_SAMPLE).map(String::as_str), Some(sample));
        client.call(1, &QUEUE, "QueueDeclareOk");
    }
}

#[test]
fn the_topic_of_traces_is_made_as_the_broker_makes_it() {
    let house = House::open();
    let mut client = house.client();
    let declare = QueueDeclare { queue: TRACE_TOPIC, ..QUEUE };
    for _ in 0..2 {
        client.call(1, &declare, "QueueDeclareOk");
    }
    let settings = house.broker.directory().topic(TRACE_TOPIC).unwrap().settings();
    assert_eq!(*settings, TopicSettings { queues: 1, writable: false, ..TopicSettings::default() });
    client.publish("", TRACE_TOPIC, &PERSISTENT, b"forged");
    let closed = client.closed();
    assert!(closed.0 == "channel" && closed.1 == 403, "{closed:?}");
}

#[test]
fn the_server_names_queues_and_they_differ() {
    let house = House::open();
    let mut client = house.client();
    let unnamed = QueueDeclare { queue: "", exclusive: true, ..QUEUE };
    let one = client.call(1, &unnamed, "QueueDeclareOk");
    let other = client.call(1, &unnamed, "QueueDeclareOk");
    assert!(one.contains("queue: \"amq.gen-") && one != other, "{one} {other}");
}

#[test]
fn an_exclusive_queue_is_locked_and_gone_before_close_ok() {
    let house = House::open();
    let mut owner = house.client();
    owner.call(1, &QueueDeclare { exclusive: true, ..QUEUE }, "QueueDeclareOk");
    let mut other = house.client();
    let delete = QueueDelete { queue: "q", if_unused: false, if_empty: false, no_wait: false };
    refused(&mut other, &QueueDeclare { passive: true, ..QUEUE }, 405, "locked queue 'q'");
    refused(&mut other, &CONSUME, 405, "locked queue 'q'");
    refused(&mut other, &delete, 405, "locked queue 'q'");
    // Publishing to it is allowed: replies come that way.
    other.publish("", "q", &PERSISTENT, b"reply");
    other.call(1, &QueueDeclare { queue: "flushed", ..QUEUE }, "QueueDeclareOk");
    owner.send(1, &GET);
    assert_eq!(owner.message("BasicGetOk").body, b"reply");
    owner.call(0, &CLOSE, "ConnectionCloseOk");
    let again = other.call(1, &QueueDeclare { durable: false, ..QUEUE }, "QueueDeclareOk");
    assert!(again.contains("message_count: 0"), "{again}");
}

#[test]
fn an_auto_delete_queue_goes_before_its_consumers_channel_is_closed() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &QueueDeclare { auto_delete: true, ..QUEUE }, "QueueDeclareOk");
    client.call(1, &CONSUME, "BasicConsumeOk");
    client.call(1, &CLOSE_CHANNEL, "ChannelCloseOk");
    client.call(1, &ChannelOpen, "ChannelOpenOk");
    refused(&mut client, &QueueDeclare { passive: true, ..QUEUE }, 404, "no queue 'q'");
}

#[test]
fn deleting_looks_at_use_and_content_and_is_idempotent() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &QUEUE, "QueueDeclareOk");
    client.publish("", "q", &PERSISTENT, b"x");
    let delete = QueueDelete { queue: "q", if_unused: false, if_empty: true, no_wait: false };
    refused(&mut client, &delete, 406, "not empty");
    let mut other = house.client();
    other.call(1, &CONSUME, "BasicConsumeOk");
    refused(&mut client, &QueueDelete { if_unused: true, if_empty: false, ..delete }, 406, "in use");
    other.call(1, &CLOSE_CHANNEL, "ChannelCloseOk");
    let deleted = client.call(1, &QueueDelete { if_empty: false, ..delete }, "QueueDeleteOk");
    assert!(deleted.contains("message_count: 1"), "{deleted}");
    let deleted = client.call(1, &QueueDelete { if_empty: false, ..delete }, "QueueDeleteOk");
    assert!(deleted.contains("message_count: 0"), "{deleted}");
}

#[test]
fn exchanges_are_declared_compared_and_guarded() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &EXCHANGE, "ExchangeDeclareOk");
    client.call(1, &EXCHANGE, "ExchangeDeclareOk");
    client.call(1, &ExchangeDeclare { passive: true, kind: "odd", ..EXCHANGE }, "ExchangeDeclareOk");
    let text =
        "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'";
    refused(&mut client, &ExchangeDeclare { kind: "fanout", ..EXCHANGE }, 406, text);
    refused(&mut client, &ExchangeDeclare { internal: true, ..EXCHANGE }, 406, "'internal'");
    refused(&mut client, &ExchangeDeclare { exchange: "none", passive: true, ..EXCHANGE }, 404, "'none'");
    refused(&mut client, &ExchangeDeclare { exchange: "amq.mine", ..EXCHANGE }, 403, "reserved prefix");
    refused(&mut client, &ExchangeDeclare { exchange: "", ..EXCHANGE }, 403, "default exchange");
    client.call(
        1,
        &ExchangeDeclare { exchange: "amq.direct", kind: "direct", ..EXCHANGE },
        "ExchangeDeclareOk",
    );
    refused(
        &mut client,
        &ExchangeDelete { exchange: "amq.topic", if_unused: false, no_wait: false },
        403,
        "amq.topic",
    );
    client.call(1, &QUEUE, "QueueDeclareOk");
    client.call(1, &bind("q", "x", "k"), "QueueBindOk");
    refused(&mut client, &ExchangeDelete { exchange: "x", if_unused: true, no_wait: false }, 406, "in use");
    for _ in 0..2 {
        client.call(
            1,
            &ExchangeDelete { exchange: "x", if_unused: false, no_wait: false },
            "ExchangeDeleteOk",
        );
    }
    refused(&mut client, &bind("q", "x", "k"), 404, "no exchange 'x'");
    refused(&mut client, &bind("none", "amq.direct", "k"), 404, "no queue 'none'");
    refused(&mut client, &bind("q", "", "k"), 403, "default exchange");
}

/// A client that has published two messages to another protocol's topic `q` of two queues.
fn beside_another_protocol(house: &House) -> Client {
    let mut session = house.broker.connect();
    let settings = TopicSettings { queues: 2, ..TopicSettings::default() };
    session.submit(vec![Command::PutTopic {
        token: Token(1),
        name: Name::from("q"),
        settings,
        adopt: false,
    }]);
    let mut client = house.client();
    // The command is carried out before what this client asks next; the directory is looked at at once.
    client.call(1, &QueueDeclare { queue: "other", ..QUEUE }, "QueueDeclareOk");
    client.publish("", "q", &PERSISTENT, b"a");
    client.publish("", "q", &PERSISTENT, b"b");
    client
}

#[test]
fn a_passive_declare_makes_no_group() {
    let house = House::open();
    let mut client = beside_another_protocol(&house);
    let group = |name: &str| house.broker.directory().group(name);
    for queue in ["q", "q::group"] {
        let declared = client.call(1, &QueueDeclare { queue, passive: true, ..QUEUE }, "QueueDeclareOk");
        let counts = format!("queue: \"{queue}\", message_count: 2, consumer_count: 0");
        assert!(declared.contains(&counts), "{declared}");
    }
    assert!(group("q").is_none() && group("group").is_none());
    client.send(1, &BasicGet { queue: "q::group", no_ack: true });
    client.message("BasicGetOk");
    assert!(group("group").is_some());
    refused(
        &mut client,
        &QueueDeclare { queue: "none::group", passive: true, ..QUEUE },
        404,
        "'none::group'",
    );
}

#[test]
fn a_consumer_whose_group_has_to_be_made_is_told_that_it_runs_before_it_gets_messages() {
    let house = House::open();
    let mut client = beside_another_protocol(&house);
    client.call(1, &QUEUE, "QueueDeclareOk");
    client.send(1, &BasicConsume { queue: "q::group", ..CONSUME });
    let frame = client.next_text();
    assert!(frame.starts_with("BasicConsumeOk"), "{frame}");
    client.message("BasicDeliver");
}

#[test]
fn another_protocols_topic_is_used_as_a_queue_and_not_deleted() {
    let house = House::open();
    let mut client = beside_another_protocol(&house);
    let declared = client.call(1, &QUEUE, "QueueDeclareOk");
    assert!(declared.contains("message_count: 2"), "{declared}");
    refused(&mut client, &QueueDeclare { auto_delete: true, ..QUEUE }, 406, "'auto_delete'");
    refused(&mut client, &QueueDeclare { exclusive: true, ..QUEUE }, 406, "'exclusive'");
    // Another group on it, by its own name.
    client.send(1, &BasicGet { queue: "q::group", no_ack: true });
    assert_eq!(client.message("BasicGetOk").body.len(), 1);
    let delete = QueueDelete { queue: "q", if_unused: false, if_empty: false, no_wait: false };
    let deleted = client.call(1, &delete, "QueueDeleteOk");
    assert!(deleted.contains("message_count: 2"), "{deleted}");
    assert!(house.broker.directory().topic("q").is_some());
    assert!(client.call(1, &QUEUE, "QueueDeclareOk").contains("message_count: 2"));
}

#[test]
fn wrong_passwords_and_vhosts_do_not_get_in() {
    let house = House::open();
    for (response, vhost, code) in [("\0guest\0no", "/", 403), ("\0guest\0guest", "/other", 530)] {
        let mut client = house.raw();
        client.open(response, vhost);
        assert_eq!(client.closed().1, code);
    }
}
