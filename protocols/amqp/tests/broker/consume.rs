//! Consuming, getting, settling, and what comes back when a channel or a connection goes.

use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{Table, TableBuffer, Value};

use super::client::*;

fn filled(house: &House, bodies: &[&str]) -> Client {
    let mut client = house.client();
    client.call(1, &QUEUE, "QueueDeclareOk");
    for body in bodies {
        client.publish("", "q", &PERSISTENT, body.as_bytes());
    }
    // A publish without a confirm is taken when a later request is answered.
    client.call(1, &QUEUE, "QueueDeclareOk");
    client
}

fn text(received: &Received) -> String {
    String::from_utf8(received.body.clone()).unwrap()
}

#[test]
fn prefetch_holds_back_and_acks_let_more_through() {
    let house = House::open();
    let mut client = filled(&house, &["a", "b", "c"]);
    client.call(1, &BasicQos { prefetch_size: 0, prefetch_count: 2, global: false }, "BasicQosOk");
    client.call(1, &CONSUME, "BasicConsumeOk { consumer_tag: \"t\"");
    let got = [client.message("BasicDeliver"), client.message("BasicDeliver")];
    assert_eq!(got.each_ref().map(text), ["a", "b"]);
    assert!(got[0].method.contains("redelivered: false, exchange: \"\", routing_key: \"q\""));
    // The third waits: the counts say that it is ready, and nothing was sent.
    let state = client.call(1, &QUEUE, "QueueDeclareOk");
    assert!(state.contains("message_count: 1, consumer_count: 1"), "{state}");
    assert!(client.pending().is_empty());
    client.send(1, &BasicAck { delivery_tag: 2, multiple: true });
    assert_eq!(text(&client.message("BasicDeliver")), "c");
}

#[test]
fn a_message_requeued_comes_back_in_its_place_and_redelivered() {
    let house = House::open();
    let mut client = filled(&house, &["a", "b"]);
    client.send(1, &GET);
    let got = client.message("BasicGetOk");
    assert!(got.method.contains("redelivered: false") && got.method.contains("message_count: 1"), "{got:?}");
    client.send(1, &BasicNack { delivery_tag: 1, multiple: false, requeue: true });
    client.send(1, &GET);
    let again = client.message("BasicGetOk");
    assert!(again.method.contains("delivery_tag: 2, redelivered: true"), "{again:?}");
    assert_eq!(text(&again), "a");
    // Given up, without a dead letter: gone.
    client.send(1, &BasicReject { delivery_tag: 2, requeue: false });
    client.send(1, &GET);
    assert_eq!(text(&client.message("BasicGetOk")), "b");
    client.send(1, &BasicAck { delivery_tag: 3, multiple: false });
    client.call(1, &GET, "BasicGetEmpty");
}

#[test]
fn a_delivery_limit_ends_the_attempts() {
    let house = House::open();
    let mut client = house.client();
    let mut arguments = TableBuffer::default();
    arguments.put("x-delivery-limit", Value::I32(1));
    client.call(1, &QueueDeclare { arguments: arguments.as_table(), ..QUEUE }, "QueueDeclareOk");
    client.publish("", "q", &PERSISTENT, b"poison");
    for tag in 1..=2 {
        client.send(1, &GET);
        client.message("BasicGetOk");
        client.send(1, &BasicReject { delivery_tag: tag, requeue: true });
    }
    client.call(1, &GET, "BasicGetEmpty");
}

#[test]
fn what_a_channel_held_comes_back_when_it_closes() {
    let house = House::open();
    let mut client = filled(&house, &["a", "b"]);
    client.call(1, &CONSUME, "BasicConsumeOk");
    client.message("BasicDeliver");
    client.message("BasicDeliver");
    client.call(1, &CLOSE_CHANNEL, "ChannelCloseOk");
    client.call(1, &ChannelOpen, "ChannelOpenOk");
    client.send(1, &GET);
    let got = client.message("BasicGetOk");
    assert!(got.method.contains("redelivered: true") && text(&got) == "a", "{got:?}");
}

#[test]
fn what_a_lost_connection_held_goes_to_the_next() {
    let house = House::open();
    let mut client = filled(&house, &["a"]);
    client.call(1, &CONSUME, "BasicConsumeOk");
    client.message("BasicDeliver");
    let mut other = house.client();
    other.call(1, &CONSUME, "BasicConsumeOk");
    drop(client);
    let got = other.message("BasicDeliver");
    assert!(got.method.contains("redelivered: true") && text(&got) == "a", "{got:?}");
}

#[test]
fn without_acknowledgements_messages_are_gone_when_sent() {
    let house = House::open();
    let mut client = filled(&house, &["a", "b"]);
    client.call(1, &BasicConsume { no_ack: true, ..CONSUME }, "BasicConsumeOk");
    assert_eq!(
        [client.message("BasicDeliver"), client.message("BasicDeliver")].each_ref().map(text),
        ["a", "b"]
    );
    client.call(1, &CLOSE_CHANNEL, "ChannelCloseOk");
    client.call(1, &ChannelOpen, "ChannelOpenOk");
    client.call(1, &GET, "BasicGetEmpty");
}

#[test]
fn more_messages_than_one_window_flow_through_one_consumer() {
    let house = House::open();
    let mut client = filled(&house, &[]);
    let mut bytes = bytes::BytesMut::new();
    let publish = BasicPublish { exchange: "", routing_key: "q".into(), mandatory: false, immediate: false };
    for at in 0..10_000u32 {
        put_publish(&mut bytes, publish, &PERSISTENT, &at.to_be_bytes());
    }
    client.bytes(bytes);
    client.call(1, &BasicConsume { no_ack: true, ..CONSUME }, "BasicConsumeOk");
    for at in 0..10_000u32 {
        assert_eq!(client.message("BasicDeliver").body, at.to_be_bytes());
    }
}

#[test]
fn cancel_stops_a_consumer_and_its_queue_may_go() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &QueueDeclare { auto_delete: true, ..QUEUE }, "QueueDeclareOk");
    client.call(1, &CONSUME, "BasicConsumeOk");
    client.call(1, &BasicCancel { consumer_tag: "t", no_wait: false }, "BasicCancelOk");
    client.send(1, &QueueDeclare { passive: true, ..QUEUE });
    assert_eq!(client.closed().1, 404);
}

#[test]
fn consumers_of_a_deleted_queue_are_told() {
    let house = House::open();
    let mut client = filled(&house, &[]);
    client.call(1, &CONSUME, "BasicConsumeOk");
    let mut other = house.client();
    let delete = QueueDelete { queue: "q", if_unused: false, if_empty: false, no_wait: false };
    other.call(1, &delete, "QueueDeleteOk");
    client.expect("BasicCancel { consumer_tag: \"t\"");
}

#[test]
fn consumers_that_may_not_be_are_refused() {
    let house = House::open();
    let mut client = filled(&house, &[]);
    client.call(1, &BasicConsume { exclusive: true, ..CONSUME }, "BasicConsumeOk");
    let mut other = house.client();
    other.send(1, &CONSUME);
    let closed = other.closed();
    assert!(closed.1 == 403 && closed.2.contains("queue 'q' in vhost '/' in exclusive use"), "{closed:?}");
    other.call(1, &ChannelOpen, "ChannelOpenOk");
    for (queue, code) in [("missing", 404), ("amq.rabbitmq.reply-to", 540)] {
        other.send(1, &BasicConsume { queue, ..CONSUME });
        assert_eq!(other.closed().1, code, "{queue}");
        if code == 404 {
            other.call(1, &ChannelOpen, "ChannelOpenOk");
        }
    }
}

#[test]
fn recover_brings_everything_back() {
    let house = House::open();
    let mut client = filled(&house, &["a", "b"]);
    client.call(1, &CONSUME, "BasicConsumeOk");
    client.message("BasicDeliver");
    client.message("BasicDeliver");
    client.call(1, &BasicRecover { requeue: true }, "BasicRecoverOk");
    let again = [client.message("BasicDeliver"), client.message("BasicDeliver")];
    assert_eq!(again.each_ref().map(text), ["a", "b"]);
    assert!(again.iter().all(|got| got.method.contains("redelivered: true")));
}

#[test]
fn purge_counts_ready_messages_and_leaves_delivered_ones() {
    let house = House::open();
    let mut client = filled(&house, &["a", "b", "c"]);
    client.send(1, &GET);
    client.message("BasicGetOk");
    let purged = client.call(1, &QueuePurge { queue: "q", no_wait: false }, "QueuePurgeOk");
    assert!(purged.contains("message_count: 2"), "{purged}");
    client.send(1, &BasicReject { delivery_tag: 1, requeue: true });
    client.send(1, &GET);
    assert_eq!(text(&client.message("BasicGetOk")), "a");
    let _ = Table::EMPTY;
}
