//! One case for every close code that the methods there can lead to.
//!
//! Codes that only a broker's answer brings (403, 404, 405 of what exists) are passed on as they come; one case shows
//! that.

use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{ReplyCode, ShortBytes, Table, TableBuffer, Value};

use super::wire::{BODY_BYTES_MAX, Wire, frame, header};

const PUBLISH: BasicPublish<'_> =
    BasicPublish { exchange: "", routing_key: ShortBytes::new(b"q"), mandatory: false, immediate: false };
const CONSUME: BasicConsume<'_> = BasicConsume {
    queue: "q",
    consumer_tag: "t",
    no_local: false,
    no_ack: false,
    exclusive: false,
    no_wait: false,
    arguments: EMPTY,
};
const QUEUE: QueueDeclare<'_> = QueueDeclare {
    queue: "q",
    passive: false,
    durable: true,
    exclusive: false,
    auto_delete: false,
    no_wait: false,
    arguments: EMPTY,
};
const EXCHANGE: ExchangeDeclare<'_> = ExchangeDeclare {
    exchange: "x",
    kind: "direct",
    passive: false,
    durable: true,
    auto_delete: false,
    internal: false,
    no_wait: false,
    arguments: EMPTY,
};
const EMPTY: Table<'_> = Table::EMPTY;

/// Runs the steps on a connection with channel 1 open and looks at what died, of which code, with which words.
fn check(what: &str, steps: impl FnOnce(&mut Wire), expected: (&str, u16, &str)) {
    let mut wire = Wire::with_channel();
    steps(&mut wire);
    let (scope, code, text) = wire.closed().unwrap_or_else(|| panic!("{what}: nothing was closed"));
    assert_eq!((scope, code), (expected.0, expected.1), "{what}: {text}");
    assert!(text.contains(expected.2), "{what}: {text}");
    assert!(!wire.connection.is_closing(), "{what}: the close must still be answered");
}

#[test]
fn frames_that_are_none_end_the_connection() {
    let ends = ("connection", 501);
    let case = |what: &str, bytes: Vec<u8>, text: &str| {
        check(what, |wire| wire.bytes(&bytes), (ends.0, ends.1, text));
    };
    case("end byte", [&frame(8, 0, b"")[..7], &[0]].concat(), "ends with");
    case("frame type", b"\x07\0\x01\0\0\0\0\xce".to_vec(), "type 7");
    case("body over frame-max", frame(3, 1, &vec![0; 131_073]), "over the limit");
    case("arguments too short", frame(1, 1, &[0, 60, 0, 80, 0]), "malformed");
    case("bad table", frame(1, 1, b"\0\x32\0\x0a\0\0\x01q\0\0\0\0\x03\x01kZ"), "0x5a");
    case("name not UTF-8", frame(1, 1, b"\0\x32\0\x28\0\0\x01\xff\0"), "UTF-8");
    let long = |wire: &mut Wire| {
        wire.send(1, &PUBLISH);
        wire.bytes(&frame(2, 1, &header(60, 3)));
        wire.bytes(&frame(3, 1, b"abcd"));
    };
    check("body longer than declared", long, ("connection", 501, "longer"));
}

#[test]
fn frames_out_of_order_end_the_connection() {
    let ends = |text| ("connection", 505, text);
    check("header alone", |wire| wire.bytes(&frame(2, 1, &header(60, 0))), ends("without its method"));
    check("body alone", |wire| wire.bytes(&frame(3, 1, b"x")), ends("without its header"));
    check("heartbeat on a channel", |wire| wire.bytes(&frame(8, 1, b"")), ends("heartbeat on channel 1"));
    check("content on channel 0", |wire| wire.bytes(&frame(3, 0, b"")), ends("channel 0"));
    let method_inside = |wire: &mut Wire| {
        wire.send(1, &PUBLISH);
        wire.send(1, &BasicAck { delivery_tag: 0, multiple: true });
    };
    check("method inside content", method_inside, ends("basic.ack before the content"));
    let wrong_class = |wire: &mut Wire| {
        wire.send(1, &PUBLISH);
        wire.bytes(&frame(2, 1, &header(50, 0)));
    };
    check("class of the header", wrong_class, ends("class 50"));
    let mut wire = Wire::new();
    wire.bytes(b"AMQP\0\0\x09\x01");
    wire.send(1, &ChannelOpen);
    assert_eq!(wire.closed().map(|(scope, code, _)| (scope, code)), Some(("connection", 505)));
}

#[test]
fn channels_are_opened_once_and_below_the_maximum() {
    check("not open", |wire| wire.send(2, &QUEUE), ("connection", 504, "channel 2 is not open"));
    check("content, not open", |wire| wire.bytes(&frame(3, 2, b"")), ("connection", 504, "not open"));
    check("open twice", |wire| wire.send(1, &ChannelOpen), ("connection", 504, "already open"));
    check("over the maximum", |wire| wire.send(2_048, &ChannelOpen), ("connection", 530, "2047"));
}

#[test]
fn methods_that_do_not_come_here_end_the_connection() {
    let deliver = BasicDeliver {
        consumer_tag: "t",
        delivery_tag: 1,
        redelivered: false,
        exchange: "",
        routing_key: "".into(),
    };
    check("server's method", |wire| wire.send(1, &deliver), ("connection", 503, "servers only"));
    check("channel 0", |wire| wire.send(0, &QUEUE), ("connection", 503, "queue.declare"));
    check(
        "class connection",
        |wire| wire.send(1, &ConnectionCloseOk),
        ("connection", 503, "connection.close-ok"),
    );
    let again = ConnectionOpen { virtual_host: "/" };
    check("out of state", |wire| wire.send(0, &again), ("connection", 504, "connection.open does not come"));
    check("unknown", |wire| wire.bytes(&frame(1, 1, &[0, 60, 0, 99])), ("connection", 540, "60.99"));
}

#[test]
fn modes_of_publishing_do_not_mix() {
    let ends = |text| ("channel", 406, text);
    check("commit", |wire| wire.send(1, &TxCommit), ends("channel is not transactional"));
    check("rollback", |wire| wire.send(1, &TxRollback), ends("channel is not transactional"));
    let confirm = ConfirmSelect { no_wait: false };
    let select_then_confirm = |wire: &mut Wire| {
        wire.send(1, &TxSelect);
        wire.send(1, &TxSelect);
        wire.send(1, &confirm);
    };
    check("confirm", select_then_confirm, ends("cannot switch from tx to confirm mode"));
    let confirm_then_select = |wire: &mut Wire| {
        wire.send(1, &confirm);
        wire.send(1, &TxSelect);
    };
    check("select", confirm_then_select, ends("cannot switch from confirm to tx mode"));
}

#[test]
fn what_is_not_there_ends_the_connection_with_540() {
    let ends = |text| ("connection", 540, text);
    check("immediate", |wire| wire.send(1, &BasicPublish { immediate: true, ..PUBLISH }), ends("immediate"));
    let qos = BasicQos { prefetch_size: 1, prefetch_count: 0, global: false };
    check("prefetch-size", |wire| wire.send(1, &qos), ends("prefetch_size"));
    check("recover", |wire| wire.send(1, &BasicRecover { requeue: false }), ends("requeue=false"));
    check("recover-async", |wire| wire.send(1, &BasicRecoverAsync { requeue: false }), ends("requeue=false"));
    let mut table = TableBuffer::default();
    table.put("x-max-age", Value::I32(1)).put("x-stream-offset", Value::I32(1));
    let arguments = table.as_table();
    check("queue argument", |wire| wire.send(1, &QueueDeclare { arguments, ..QUEUE }), ends("x-max-age"));
    check(
        "consumer argument",
        |wire| wire.send(1, &BasicConsume { arguments, ..CONSUME }),
        ends("x-stream-offset"),
    );
}

#[test]
fn soft_errors_end_the_channel_alone() {
    let ends = |code, text| ("channel", code, text);
    let mut table = TableBuffer::default();
    table.put("alternate-exchange", Value::I32(1));
    let arguments = table.as_table();
    check(
        "alternate",
        |wire| wire.send(1, &ExchangeDeclare { arguments, ..EXCHANGE }),
        ends(406, "'alternate-exchange': not a text"),
    );
    let unknown = "unknown delivery tag 5";
    let ack = BasicAck { delivery_tag: 5, multiple: false };
    check("ack", |wire| wire.send(1, &ack), ends(406, unknown));
    check("ack multiple", |wire| wire.send(1, &BasicAck { multiple: true, ..ack }), ends(406, unknown));
    let nack = BasicNack { delivery_tag: 5, multiple: false, requeue: true };
    check("nack", |wire| wire.send(1, &nack), ends(406, unknown));
    check(
        "reject",
        |wire| wire.send(1, &BasicReject { delivery_tag: 5, requeue: false }),
        ends(406, unknown),
    );
    check(
        "exchange type",
        |wire| wire.send(1, &ExchangeDeclare { kind: "odd", ..EXCHANGE }),
        ends(406, "'odd'"),
    );
    check(
        "passive, no name",
        |wire| wire.send(1, &QueueDeclare { queue: "", passive: true, ..QUEUE }),
        ends(404, "no queue"),
    );
    check(
        "consume, no name",
        |wire| wire.send(1, &BasicConsume { queue: "", ..CONSUME }),
        ends(404, "no queue"),
    );
    let large = |wire: &mut Wire| {
        wire.send(1, &PUBLISH);
        wire.bytes(&frame(2, 1, &header(60, BODY_BYTES_MAX + 1)));
        wire.bytes(&frame(3, 1, b"what follows is dropped"));
    };
    check("message size", large, ends(406, "1000001"));
    let refused = |wire: &mut Wire| {
        wire.hold = true;
        wire.send(1, &QUEUE);
        wire.refuse_held(ReplyCode::ResourceLocked, "cannot obtain exclusive access");
    };
    check("the broker's refusal", refused, ends(405, "RESOURCE_LOCKED - cannot obtain"));
}

#[test]
fn a_reused_consumer_tag_ends_the_connection() {
    let twice = |wire: &mut Wire| {
        wire.send(1, &CONSUME);
        wire.send(1, &CONSUME);
    };
    check("tag", twice, ("connection", 530, "consumer tag 't'"));
}

#[test]
fn tuning_beyond_the_offer_is_not_allowed() {
    let cases: &[(u16, u32, &str)] = &[
        (2_048, 131_072, "channel_max = 2048"),
        (0, 131_072, "channel_max = 0 (no limit)"),
        (2_047, 131_073, "frame_max = 131073"),
        (2_047, 0, "frame_max = 0 (no limit)"),
        (2_047, 4_095, "lower than the minimum"),
    ];
    for (channel_max, frame_max, text) in cases {
        let mut wire = Wire::new();
        wire.bytes(b"AMQP\0\0\x09\x01");
        wire.start_ok();
        wire.send(0, &ConnectionTuneOk { channel_max: *channel_max, frame_max: *frame_max, heartbeat: 0 });
        let closed = wire.closed().unwrap();
        assert!(closed.1 == 530 && closed.2.contains(text), "{closed:?}");
    }
}

#[test]
fn the_close_names_the_method_and_a_long_text_is_cut() {
    let mut wire = Wire::with_channel();
    wire.hold = true;
    wire.send(1, &QUEUE);
    wire.refuse_held(ReplyCode::NotFound, &"é".repeat(300));
    let closed = wire.received().pop().unwrap();
    assert!(closed.contains("class_id: 50, method_id: 10"), "{closed}");
    assert!(closed.contains("reply_code: 404"), "{closed}");
}
