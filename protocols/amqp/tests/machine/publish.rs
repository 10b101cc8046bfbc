//! Publishing: content in one and in many frames, confirms, returns, and requests that publishes wait for.

use bytes::Bytes;
use mailrail_amqp::channel::Confirm;
use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{ReplyCode, Table};

use super::wire::{Wire, frame, header, message, published};

const QUEUE: QueueDeclare<'_> = QueueDeclare {
    queue: "",
    passive: false,
    durable: true,
    exclusive: false,
    auto_delete: false,
    no_wait: false,
    arguments: Table::EMPTY,
};

const CLOSE: ChannelClose<'_> = ChannelClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 };

#[test]
fn a_body_arrives_whole_from_any_number_of_frames() {
    let body: Vec<u8> = (0..20_000u32).map(|at| at.to_le_bytes()[0]).collect();
    for (len, frame_max) in
        [(0, 4_096), (1, 4_096), (4_088, 4_096), (4_089, 4_096), (20_000, 4_096), (20_000, 131_072)]
    {
        let mut wire = Wire::with_channel();
        wire.bytes(&published("x", "k", &body[..len], frame_max));
        assert_eq!(wire.published, [(None, "x/k".to_owned(), body[..len].to_vec())], "{len} in {frame_max}");
    }
}

#[test]
fn channels_may_interleave_their_frames() {
    let mut wire = Wire::with_channel();
    wire.send(2, &ChannelOpen);
    wire.send(
        1,
        &BasicPublish { exchange: "", routing_key: "one".into(), mandatory: false, immediate: false },
    );
    wire.send(
        2,
        &BasicPublish { exchange: "", routing_key: "two".into(), mandatory: true, immediate: false },
    );
    wire.bytes(&frame(2, 1, &header(60, 2)));
    wire.bytes(&frame(2, 2, &header(60, 2)));
    for (channel, body) in [(1, b"a"), (2, b"b"), (2, b"B"), (1, b"A")] {
        wire.bytes(&frame(3, channel, body));
    }
    let expected =
        [(None, "/two mandatory".to_owned(), b"bB".to_vec()), (None, "/one".to_owned(), b"aA".to_vec())];
    assert_eq!(wire.published, expected);
}

#[test]
fn confirms_count_from_the_select_and_are_joined() {
    let mut wire = Wire::with_channel();
    wire.publish("", "q", b"before");
    wire.send(1, &ConfirmSelect { no_wait: false });
    wire.received();
    (0..4).for_each(|_| wire.publish("", "q", b"x"));
    let sequences: Vec<_> = wire.published.iter().map(|published| published.0).collect();
    assert_eq!(sequences, [None, Some(1), Some(2), Some(3), Some(4)]);
    let channel = wire.channel.unwrap();
    for (sequence, confirm) in [(4, Confirm::Ack), (1, Confirm::Ack), (2, Confirm::Ack)] {
        wire.connection.confirm(channel, sequence, confirm);
    }
    wire.run();
    let ack = |tag: u64, multiple: bool| {
        format!("1 BasicAck(BasicAck {{ delivery_tag: {tag}, multiple: {multiple} }})")
    };
    assert_eq!(wire.received(), [ack(2, true), ack(4, false)]);
    wire.connection.confirm(channel, 3, Confirm::Nack);
    wire.run();
    let nack = "1 BasicNack(BasicNack { delivery_tag: 3, multiple: false, requeue: false })";
    assert_eq!(wire.received(), [nack]);
}

#[test]
fn a_return_goes_out_before_the_confirm() {
    let mut wire = Wire::with_channel();
    wire.send(1, &ConfirmSelect { no_wait: true });
    wire.publish("x", "nowhere", b"hello");
    let channel = wire.channel.unwrap();
    let body = Bytes::from_static(b"hello");
    wire.connection.give_back(channel, &message(&body), &mut wire.out);
    wire.connection.confirm(channel, 1, Confirm::Ack);
    wire.run();
    let received = wire.received();
    assert!(received[0].contains("reply_code: 312, reply_text: \"NO_ROUTE\""), "{received:?}");
    assert_eq!(received[1..3], ["1 header 5", "1 body 5"]);
    assert!(received[3].contains("BasicAck"), "{received:?}");
}

#[test]
fn what_follows_a_request_waits_for_its_answer() {
    let mut wire = Wire::with_channel();
    wire.hold = true;
    wire.send(1, &QueueDeclare { queue: "q", ..QUEUE });
    wire.publish("", "q", b"x");
    assert!(wire.is_waiting && wire.published.is_empty());
    wire.answer_held();
    assert_eq!(wire.published.len(), 1);
    assert!(wire.received()[0].contains("message_count: 3, consumer_count: 1"));
}

#[test]
fn an_error_drops_what_the_channel_had_pipelined() {
    let mut wire = Wire::with_channel();
    wire.hold = true;
    wire.send(1, &QueueDeclare { queue: "q", ..QUEUE });
    wire.publish("", "q", b"x");
    wire.send(1, &BasicGet { queue: "q", no_ack: true });
    wire.refuse_held(ReplyCode::PreconditionFailed, "inequivalent arg");
    assert_eq!(wire.closed().map(|closed| (closed.0, closed.1)), Some(("channel", 406)));
    assert!(wire.published.is_empty() && wire.held.is_empty());
    // The number is free once the client has answered, and not before.
    wire.send(1, &ChannelCloseOk);
    wire.send(1, &ChannelOpen);
    assert_eq!(wire.received(), ["1 ChannelOpenOk(ChannelOpenOk)"]);
}

#[test]
fn crossing_closes_are_answered_and_the_wait_goes_on() {
    let mut wire = Wire::with_channel();
    wire.send(1, &BasicAck { delivery_tag: 9, multiple: false });
    wire.received();
    wire.send(1, &CLOSE);
    assert_eq!(wire.received(), ["1 ChannelCloseOk(ChannelCloseOk)"]);
    wire.send(1, &ChannelCloseOk);
    wire.send(1, &ChannelOpen);
    assert_eq!(wire.received(), ["1 ChannelOpenOk(ChannelOpenOk)"]);
}

#[test]
fn a_publish_that_fails_behind_the_clients_close_changes_nothing() {
    let mut wire = Wire::with_channel();
    wire.publish("x", "k", b"bad");
    wire.hold = true;
    wire.send(1, &CLOSE);
    wire.refuse_publish(ReplyCode::NotFound);
    assert!(wire.received().is_empty());
    wire.answer_held();
    assert_eq!(wire.received(), ["1 ChannelCloseOk(ChannelCloseOk)"]);
    wire.send(1, &ChannelOpen);
    assert_eq!(wire.received(), ["1 ChannelOpenOk(ChannelOpenOk)"]);
}

#[test]
fn a_close_that_could_not_be_carried_out_is_answered_all_the_same() {
    let mut wire = Wire::with_channel();
    wire.hold = true;
    wire.send(1, &CLOSE);
    wire.refuse_held(ReplyCode::InternalError, "the log has failed");
    assert_eq!(wire.received(), ["1 ChannelCloseOk(ChannelCloseOk)"]);
}

#[test]
fn a_channel_is_closed_once_for_any_number_of_publishes_that_fail() {
    let mut wire = Wire::with_channel();
    wire.publish("x", "k", b"bad");
    wire.publish("x", "k", b"as bad");
    wire.refuse_publish(ReplyCode::NotFound);
    wire.refuse_publish(ReplyCode::NotFound);
    assert_eq!(wire.received().len(), 1);
    assert_eq!(wire.log(), ["Ended 1 [] []"]);
}

#[test]
fn an_answer_to_a_channel_that_is_gone_is_given_back() {
    let mut wire = Wire::with_channel();
    wire.hold = true;
    wire.send(1, &QueueDeclare { queue: "q", ..QUEUE });
    let (id, _) = wire.held.pop_front().unwrap();
    let stop = mailrail_amqp::Refusal::new(ReplyCode::ConnectionForced, "stopping");
    wire.connection.shutdown(wire.now, stop, &mut wire.out);
    let answer = mailrail_amqp::channel::Answer::Done;
    assert!(wire.connection.answer(id, Ok(answer), &mut wire.out).is_err());
}

#[test]
fn an_empty_queue_name_is_the_one_declared_last() {
    let mut wire = Wire::with_channel();
    wire.send(1, &QUEUE);
    assert!(wire.received()[0].contains("queue: \"amq.gen-1\""));
    wire.log();
    let arguments = Table::EMPTY;
    wire.send(1, &QueueBind { queue: "", exchange: "x", routing_key: "", no_wait: false, arguments });
    wire.send(1, &QueueBind { queue: "", exchange: "x\r\n", routing_key: "k", no_wait: true, arguments });
    wire.send(1, &QueuePurge { queue: "", no_wait: false });
    let log = wire.log();
    assert!(log[0].contains("target: Queue(\"amq.gen-1\"), key: \"amq.gen-1\""), "{log:?}");
    assert!(log[1].contains("source: \"x\", target: Queue(\"amq.gen-1\"), key: \"k\""), "{log:?}");
    assert_eq!(log[2], "PurgeQueue { queue: \"amq.gen-1\" }");
    // The second bind was asked to be silent.
    assert_eq!(wire.received().len(), 2);
}
