//! Whose turn it is: the one active consumer of a queue, and priorities of consumers and of messages.

use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{BasicProperties, TableBuffer, Value};

use super::client::*;

fn bodies(client: &mut Client, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        bodies.push(String::from_utf8(client.message("BasicDeliver").body).unwrap());
    }
    bodies
}

fn publish(house: &House, bodies: &[&str]) {
    let mut producer = house.client();
    for body in bodies {
        producer.publish("", "q", &PERSISTENT, body.as_bytes());
    }
    // A publish without a confirm is taken when a later request is answered.
    producer.call(1, &ConfirmSelect { no_wait: false }, "ConfirmSelectOk");
    producer.call(1, &QueueDeclare { passive: true, ..QUEUE }, "QueueDeclareOk");
}

/// A connection that consumes with a prefetch and a priority.
fn consumer(house: &House, prefetch_count: u16, priority: i32) -> Client {
    let mut client = house.client();
    client.call(1, &BasicQos { prefetch_size: 0, prefetch_count, global: false }, "BasicQosOk");
    let mut arguments = TableBuffer::default();
    arguments.put("x-priority", Value::I32(priority));
    client.call(1, &BasicConsume { arguments: arguments.as_table(), ..CONSUME }, "BasicConsumeOk");
    client
}

fn declare_single_active(client: &mut Client, queue_type: &str) {
    let mut arguments = TableBuffer::default();
    arguments.put("x-single-active-consumer", Value::Bool(true)).put_text("x-queue-type", queue_type);
    client.call(1, &QueueDeclare { arguments: arguments.as_table(), ..QUEUE }, "QueueDeclareOk");
}

#[test]
fn one_consumer_is_active_and_the_next_gets_first_what_it_leaves_behind() {
    let house = House::open();
    let mut client = house.client();
    declare_single_active(&mut client, "classic");
    let mut active = consumer(&house, 2, 0);
    let mut waiting = consumer(&house, 3, 0);
    publish(&house, &["0", "1", "2", "3", "4"]);
    assert_eq!(bodies(&mut active, 2), ["0", "1"]);
    assert!(waiting.pending().is_empty());
    active.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    assert_eq!(bodies(&mut active, 1), ["2"]);
    drop(active);
    assert_eq!(bodies(&mut waiting, 3), ["1", "2", "3"]);
    waiting.send(1, &BasicAck { delivery_tag: 3, multiple: true });
    assert_eq!(bodies(&mut waiting, 1), ["4"]);
    client.send(1, &BasicConsume { exclusive: true, ..CONSUME });
    assert_eq!(client.closed().1, 403);
    client.call(1, &ChannelOpen, "ChannelOpenOk");
    client.send(1, &QUEUE);
    let closed = client.closed();
    assert!(closed.1 == 406 && closed.2.contains("x-single-active-consumer"), "{closed:?}");
}

#[test]
fn a_channel_that_closes_hands_over_in_order_too() {
    let house = House::open();
    let mut client = house.client();
    declare_single_active(&mut client, "quorum");
    let mut active = consumer(&house, 2, 0);
    let mut waiting = consumer(&house, 3, 0);
    publish(&house, &["0", "1", "2", "3"]);
    assert_eq!(bodies(&mut active, 2), ["0", "1"]);
    active.call(1, &CLOSE_CHANNEL, "ChannelCloseOk");
    assert_eq!(bodies(&mut waiting, 3), ["0", "1", "2"]);
    client.send(1, &GET);
    let closed = client.closed();
    assert!(closed.1 == 405 && closed.2.contains("single active consumer"), "{closed:?}");
}

#[test]
fn consumers_of_a_higher_priority_are_served_first() {
    let house = House::open();
    let mut client = house.client();
    client.call(1, &QUEUE, "QueueDeclareOk");
    let mut low = consumer(&house, 1, -1);
    let mut high = consumer(&house, 2, 10);
    publish(&house, &["0", "1", "2", "3"]);
    assert_eq!((bodies(&mut high, 2), bodies(&mut low, 1)), (vec!["0".into(), "1".into()], vec!["2".into()]));
    high.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    low.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    assert_eq!(bodies(&mut high, 1), ["3"]);
}

#[test]
fn messages_of_a_higher_priority_come_first_up_to_the_most_there_is() {
    let house = House::open();
    let mut client = house.client();
    let mut arguments = TableBuffer::default();
    arguments.put("x-max-priority", Value::I32(5));
    client.call(1, &QueueDeclare { arguments: arguments.as_table(), ..QUEUE }, "QueueDeclareOk");
    for (number, priority) in [Some(1), Some(5), None, Some(3), Some(9), Some(0)].into_iter().enumerate() {
        let properties = BasicProperties { priority, ..PERSISTENT };
        client.publish("", "q", &properties, number.to_string().as_bytes());
    }
    client.call(1, &QueueDeclare { passive: true, ..QUEUE }, "QueueDeclareOk");
    client.call(1, &CONSUME, "BasicConsumeOk");
    assert_eq!(bodies(&mut client, 6), ["1", "4", "3", "0", "2", "5"]);
    client.send(1, &BasicNack { delivery_tag: 2, multiple: true, requeue: true });
    let again = [client.message("BasicDeliver"), client.message("BasicDeliver")];
    let seen = again.each_ref().map(|got| (got.body[0], got.properties().priority));
    assert_eq!(seen, [(b'1', Some(5)), (b'4', Some(9))], "each says what it was sent with");
    arguments.put("x-single-active-consumer", Value::Bool(false));
    client.send(1, &QueueDeclare { arguments: arguments.as_table(), ..QUEUE });
    assert_eq!(client.closed().1, 406);
}
