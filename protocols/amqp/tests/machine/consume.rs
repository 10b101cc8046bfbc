//! Consuming: tags, prefetch, settling, cancel, get, recover, and what a channel leaves behind.

use bytes::Bytes;
use mailrail_amqp::channel::{Answer, ConsumerKey, Fetched};
use mailrail_amqp::codec::Table;
use mailrail_amqp::codec::methods::*;

use super::wire::{Wire, message};

fn consume(tag: &str, no_ack: bool) -> BasicConsume<'_> {
    BasicConsume {
        queue: "q",
        consumer_tag: tag,
        no_local: false,
        no_ack,
        exclusive: false,
        no_wait: false,
        arguments: Table::EMPTY,
    }
}

fn qos(prefetch_count: u16, global: bool) -> BasicQos {
    BasicQos { prefetch_size: 0, prefetch_count, global }
}

/// A channel with one consumer `t` of the given prefetch, and nothing in its log.
fn consuming(prefetch: u16) -> Wire {
    let mut wire = Wire::with_channel();
    wire.send(1, &qos(prefetch, false));
    wire.send(1, &consume("t", false));
    let log = wire.log();
    assert!(log.last().is_some_and(|last| last.contains(&format!("credit: {prefetch}"))), "{log:?}");
    assert!(wire.received().last().is_some_and(|last| last.contains("ConsumeOk")));
    wire
}

#[test]
fn deliveries_are_tagged_split_and_settled_one_by_one_or_together() {
    let mut wire = consuming(10);
    for lease in 101..=104 {
        assert_eq!(wire.deliver(1, lease, &vec![7; 200_000]), Ok(None));
    }
    let received = wire.received();
    assert!(received[0].contains("consumer_tag: \"t\", delivery_tag: 1, redelivered: false"), "{received:?}");
    assert_eq!(received[1..4], ["1 header 200000", "1 body 131064", "1 body 68936"]);
    wire.send(1, &BasicAck { delivery_tag: 2, multiple: false });
    wire.send(1, &BasicNack { delivery_tag: 3, multiple: true, requeue: true });
    wire.send(1, &BasicReject { delivery_tag: 4, requeue: false });
    let log: Vec<_> = wire.log().into_iter().filter(|line| !line.starts_with("Credit")).collect();
    assert_eq!(log, ["Ack [102]", "Requeue [101, 103]", "Reject [104]"]);
}

#[test]
fn prefetch_is_refilled_by_acks_and_raised_while_running() {
    let mut wire = consuming(2);
    assert_eq!([1, 2, 3].map(|lease| wire.deliver(1, lease, b"x")), [Ok(None), Ok(None), Err(3)]);
    wire.run();
    assert!(wire.log().is_empty());
    wire.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    assert_eq!(wire.log(), ["Ack [1]", "Credit 1 +1"]);
    wire.send(1, &qos(5, false));
    assert_eq!(wire.log(), ["Credit 1 +3"]);
}

#[test]
fn a_limit_on_the_channel_is_shared_and_get_is_outside_it() {
    let mut wire = Wire::with_channel();
    wire.send(1, &qos(1, true));
    wire.send(1, &consume("a", false));
    wire.send(1, &consume("b", false));
    assert_eq!([wire.deliver(2, 7, b"x"), wire.deliver(1, 8, b"x")], [Ok(None), Err(8)]);
    wire.hold = true;
    wire.send(1, &BasicGet { queue: "q", no_ack: false });
    let (id, _) = wire.held.pop_front().unwrap();
    let body = Bytes::from_static(b"got");
    let fetched = Fetched { lease: Some(9), message: message(&body), left: 4 };
    assert!(wire.connection.answer(id, Ok(Answer::Message(Some(fetched))), &mut wire.out).is_ok());
    assert!(
        wire.received()
            .iter()
            .any(|line| line.contains("delivery_tag: 2") && line.contains("message_count: 4"))
    );
    wire.log();
    // The message that was got does not make room; the delivered one does, for both consumers.
    wire.send(1, &BasicAck { delivery_tag: 2, multiple: false });
    assert_eq!(wire.log(), ["Ack [9]"]);
    wire.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    assert_eq!(wire.log(), ["Ack [7]", "Credit 1 +1", "Credit 2 +1"]);
}

#[test]
fn without_acknowledgements_nothing_is_kept_and_acks_are_errors() {
    let mut wire = Wire::with_channel();
    wire.send(1, &qos(1, false));
    wire.send(1, &consume("t", true));
    assert_eq!([1, 2, 3].map(|lease| wire.deliver(1, lease, b"x")), [Ok(Some(1)), Ok(Some(2)), Ok(Some(3))]);
    wire.received();
    wire.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    assert_eq!(wire.closed().map(|closed| closed.1), Some(406));
}

#[test]
fn cancel_is_answered_after_the_last_delivery_and_leaves_it_ackable() {
    let mut wire = consuming(10);
    wire.hold = true;
    wire.send(1, &BasicCancel { consumer_tag: "t", no_wait: false });
    assert_eq!(wire.deliver(1, 55, b"late"), Ok(None));
    wire.answer_held();
    let received = wire.received();
    assert!(received[0].contains("BasicDeliver"), "{received:?}");
    assert!(received.last().unwrap().contains("BasicCancelOk { consumer_tag: \"t\" }"), "{received:?}");
    assert_eq!(wire.deliver(1, 56, b"too late"), Err(56));
    wire.log();
    wire.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    assert_eq!(wire.log(), ["Ack [55]"]);
    // Unknown tags are cancelled too.
    wire.send(1, &BasicCancel { consumer_tag: "t", no_wait: false });
    assert!(wire.received()[0].contains("BasicCancelOk"));
}

#[test]
fn a_cancel_is_answered_when_the_queue_goes_at_the_same_time() {
    let mut wire = consuming(10);
    wire.hold = true;
    wire.send(1, &BasicCancel { consumer_tag: "t", no_wait: false });
    wire.connection.cancel_consumer(ConsumerKey(1 << 48 | 1), &mut wire.out);
    wire.answer_held();
    // Once is enough: whoever cancels needs not be told that the queue went as well.
    assert_eq!(wire.received(), ["1 BasicCancelOk(BasicCancelOk { consumer_tag: \"t\" })"]);
    assert_eq!(wire.deliver(1, 1, b"x"), Err(1));
}

#[test]
fn the_server_cancels_only_clients_that_can_take_it() {
    for (capabilities, expected) in [(&["consumer_cancel_notify"][..], 1), (&[], 0)] {
        let mut wire = Wire::new();
        wire.capabilities = capabilities;
        wire.handshake();
        wire.send(1, &ChannelOpen);
        wire.send(1, &consume("t", false));
        wire.received();
        wire.connection.cancel_consumer(ConsumerKey(1 << 48 | 1), &mut wire.out);
        assert_eq!(wire.received().len(), expected);
        assert_eq!(wire.deliver(1, 1, b"x"), Err(1));
    }
}

#[test]
fn tags_made_by_the_server_differ() {
    let mut wire = Wire::with_channel();
    wire.send(1, &consume("", false));
    wire.send(1, &consume("", false));
    let tags = wire.received();
    assert!(tags[0].contains("amq.ctag-") && tags[0] != tags[1], "{tags:?}");
}

#[test]
fn recover_gives_everything_back_with_what_was_got() {
    let mut wire = consuming(2);
    [1, 2].iter().for_each(|lease| assert_eq!(wire.deliver(1, *lease, b"x"), Ok(None)));
    wire.received();
    wire.send(1, &BasicRecover { requeue: true });
    assert_eq!(wire.log(), ["Requeue [1, 2]", "Credit 1 +2"]);
    assert_eq!(wire.received(), ["1 BasicRecoverOk(BasicRecoverOk)"]);
    wire.send(1, &BasicRecoverAsync { requeue: true });
    assert!(wire.log().is_empty() && wire.received().is_empty());
}

#[test]
fn flow_really_pauses() {
    let mut wire = consuming(3);
    wire.send(1, &ChannelFlow { active: false });
    assert_eq!(wire.deliver(1, 1, b"x"), Err(1));
    assert!(wire.log().is_empty());
    wire.send(1, &ChannelFlow { active: true });
    assert_eq!(wire.log(), ["Credit 1 +1"]);
    assert_eq!(wire.deliver(1, 2, b"x"), Ok(None));
}

#[test]
fn a_closed_channel_leaves_its_consumers_and_leases() {
    let mut wire = consuming(5);
    [31, 32].iter().for_each(|lease| assert_eq!(wire.deliver(1, *lease, b"x"), Ok(None)));
    wire.hold = true;
    wire.send(1, &ChannelClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
    // Opening again waits until everything is undone.
    wire.send(1, &ChannelOpen);
    wire.received();
    assert_eq!(wire.deliver(1, 33, b"x"), Err(33));
    let log = wire.log();
    assert!(log[0].contains("leases: [31, 32]") && log[0].contains("consumers: [ConsumerKey("), "{log:?}");
    wire.answer_held();
    assert_eq!(wire.received(), ["1 ChannelCloseOk(ChannelCloseOk)", "1 ChannelOpenOk(ChannelOpenOk)"]);

    let mut wire = consuming(5);
    assert_eq!(wire.deliver(1, 41, b"x"), Ok(None));
    wire.send(1, &BasicAck { delivery_tag: 9, multiple: false });
    assert_eq!(wire.log(), ["Ended 1 [1] [41]"]);
    assert_eq!(wire.deliver(1, 42, b"x"), Err(42));
}

#[test]
fn a_client_that_does_not_read_gets_no_more_credit() {
    let mut wire = consuming(2);
    assert_eq!(wire.deliver(1, 1, b"x"), Ok(None));
    wire.connection.flush(usize::MAX, &mut wire.out, |_, _| panic!("no credit"));
    wire.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    assert_eq!(wire.log(), ["Ack [1]", "Credit 1 +1"]);
}
