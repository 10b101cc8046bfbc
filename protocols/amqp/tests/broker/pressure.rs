//! When a connection is not read on, and what its client and its heartbeats make of that.

use std::time::Duration;

use bytes::BytesMut;
use mailrail_amqp::codec::limits::*;
use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::writer;

use super::client::*;

const MIB: usize = 1024 * 1024;

fn through(exchange: &str) -> BasicPublish<'_> {
    BasicPublish { exchange, routing_key: "k".into(), mandatory: true, immediate: false }
}

/// Has 1 MiB returned again and again until nothing more is read; returns how often.
fn stop_reading(client: &mut Client) -> usize {
    client.reads = false;
    let body = vec![0; MIB];
    let mut count = 0;
    while client.wants_input() {
        client.publish_as(through(""), &PERSISTENT, &body);
        count += 1;
        assert!(count < 100, "output grows without end");
    }
    count
}

#[test]
fn what_comes_behind_a_request_is_read_and_kept_up_to_a_limit() {
    let house = House::open();
    let mut client = house.client();
    let mut bytes = BytesMut::new();
    writer::method(&mut bytes, 1, &QUEUE);
    writer::heartbeat(&mut bytes);
    client.bytes(bytes);
    assert!(client.wants_input(), "the answer has not come yet");
    let mut sent = 0;
    while client.wants_input() {
        client.publish("", "q", &PERSISTENT, &[0; 64 * 1024]);
        sent += 1;
    }
    assert_eq!(sent, HELD_INPUT_BYTES_MAX / (64 * 1024));
    client.expect("QueueDeclareOk");
    assert!(client.wants_input());
    let declared = client.call(1, &QUEUE, "QueueDeclareOk");
    assert!(declared.contains(&format!("message_count: {sent}")), "{declared}");
}

#[test]
fn a_client_that_does_not_read_is_read_until_its_output_is_too_long() {
    let house = House::open();
    let mut client = house.client();
    let count = stop_reading(&mut client);
    assert_eq!(count, OUTPUT_BYTES_MAX / MIB);
    client.catch_up_after(Duration::ZERO);
    assert!(client.wants_input());
}

#[test]
fn a_client_whose_answers_are_not_taken_is_read_until_they_are_too_many() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &EXCHANGE, "ExchangeDeclareOk");
    let body = vec![0; MIB];
    let mut count = 0;
    while client.wants_input() {
        client.publish_as(through("x"), &PERSISTENT, &body);
        count += 1;
        assert!(count < 100, "copies grow without end");
    }
    assert_eq!(count, OUTSTANDING_BYTES_MAX / MIB);
    // The first that comes back makes room.
    client.message("BasicReturn");
    assert!(client.wants_input());
}

#[test]
fn nobody_is_missed_whose_heartbeats_are_not_read() {
    let house = House::open();
    let mut client = house.raw();
    client.open_with("\0guest\0guest", "/", 10);
    client.expect("ConnectionOpenOk");
    client.call(1, &ChannelOpen, "ChannelOpenOk");
    stop_reading(&mut client);
    assert!(client.lives_after(Duration::from_secs(60)));
    client.catch_up_after(Duration::from_secs(60));
    assert!(client.lives_after(Duration::from_secs(75)));
    assert!(!client.lives_after(Duration::from_secs(85)));
}

#[test]
fn a_busy_broker_holds_publishers_back_and_tells_them_and_reads_consumers() {
    let house = House::open();
    let mut publisher = house.client();
    publisher.call(1, &QUEUE, "QueueDeclareOk");
    let mut consumer = house.client();
    let is_congested = || house.broker.connect().is_congested();
    let body = vec![0; MIB];
    // The broker may have stored everything before anybody looks; then it is tried again.
    let was_seen = (0..10).any(|_| {
        let mut bytes = BytesMut::new();
        let publish =
            BasicPublish { exchange: "", routing_key: "q".into(), mandatory: false, immediate: false };
        (0..80).for_each(|_| put_publish(&mut bytes, publish, &PERSISTENT, &body));
        publisher.bytes(bytes);
        let reads = (publisher.wants_input(), consumer.wants_input());
        publisher.lives_after(Duration::from_secs(1));
        consumer.lives_after(Duration::from_secs(1));
        // It cannot have been otherwise in between: nobody else publishes.
        let was_congested = is_congested();
        if was_congested {
            assert_eq!(reads, (false, true));
            publisher.expect("ConnectionBlocked");
            while is_congested() {
                std::thread::yield_now();
            }
            publisher.lives_after(Duration::ZERO);
            publisher.expect("ConnectionUnblocked");
            assert!(consumer.pending().is_empty() && publisher.wants_input());
        }
        publisher.call(1, &QUEUE, "QueueDeclareOk");
        was_congested
    });
    assert!(was_seen);
}
