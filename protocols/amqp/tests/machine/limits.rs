//! Every limit of a connection and its channels from both sides: what has just its size is taken, and one more is
//! answered with the code that AMQP has for it, costs no more than that says, and changes nothing.

use std::time::Duration;

use mailrail_amqp::codec::frame::PROTOCOL_HEADER;
use mailrail_amqp::codec::limits::*;
use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::{Table, TableBuffer, Value};

use super::wire::{Wire, frame};

fn consume(tag: &str) -> BasicConsume<'_> {
    BasicConsume {
        queue: "q",
        consumer_tag: tag,
        no_local: false,
        no_ack: false,
        exclusive: false,
        no_wait: false,
        arguments: Table::EMPTY,
    }
}

/// A connection that waits for tune-ok.
fn at_tune() -> Wire {
    let mut wire = Wire::new();
    wire.bytes(&PROTOCOL_HEADER);
    wire.start_ok();
    wire.received();
    wire
}

/// What became of a connection whose client wants these terms.
fn tuned(channel_max: u16, frame_max: u32) -> Option<(&'static str, u16, String)> {
    let mut wire = at_tune();
    wire.send(0, &ConnectionTuneOk { channel_max, frame_max, heartbeat: 0 });
    let closed = wire.closed();
    if closed.is_none() {
        wire.send(0, &ConnectionOpen { virtual_host: "/" });
        assert!(wire.connection.is_running());
    }
    closed
}

#[track_caller]
fn check_refused(closed: Option<(&'static str, u16, String)>, code: u16, named: &[&str]) {
    let (scope, found, text) = closed.expect("something was closed");
    assert_eq!((scope, found), ("connection", code), "{text}");
    assert!(named.iter().all(|name| text.contains(name)), "{text}");
}

#[test]
fn frame_and_channel_sizes_are_agreed_on_between_their_limits() {
    for frame_max in [FRAME_BYTES_MIN, FRAME_BYTES_MAX] {
        assert_eq!(tuned(CHANNEL_COUNT_MAX, frame_max), None);
    }
    check_refused(tuned(1, FRAME_BYTES_MIN - 1), 530, &["frame_max", "4095", "4096"]);
    check_refused(tuned(1, FRAME_BYTES_MAX + 1), 530, &["frame_max", "131073", "131072"]);
    check_refused(tuned(CHANNEL_COUNT_MAX + 1, FRAME_BYTES_MAX), 530, &["channel_max", "2048", "2047"]);
}

#[test]
fn the_highest_channel_opens_and_the_next_does_not() {
    let mut wire = Wire::open();
    wire.send(CHANNEL_COUNT_MAX, &ChannelOpen);
    assert_eq!(wire.received(), ["2047 ChannelOpenOk(ChannelOpenOk)"]);
    wire.send(CHANNEL_COUNT_MAX + 1, &ChannelOpen);
    check_refused(wire.closed(), 530, &["2048", "2047"]);
}

#[test]
fn frames_are_judged_by_their_heads() {
    let head = |payload_bytes: usize| frame(1, 0, &vec![0; payload_bytes])[..7].to_vec();
    type State = (fn() -> Wire, usize, [&'static str; 2]);
    let states: [State; 2] = [
        (at_tune, HANDSHAKE_PAYLOAD_BYTES_MAX, ["16385", "16384"]),
        (Wire::open, METHOD_PAYLOAD_BYTES_MAX, ["524289", "524288"]),
    ];
    for (state, max, named) in states {
        let mut wire = state();
        wire.bytes(&head(max));
        assert_eq!(wire.closed(), None);
        let mut wire = state();
        wire.bytes(&head(max + 1));
        check_refused(wire.closed(), 501, &named);
    }
}

#[test]
fn the_largest_handshake_is_read() {
    let mut wire = Wire::new();
    wire.bytes(&PROTOCOL_HEADER);
    wire.received();
    let start_ok = |filler: &str| {
        let mut properties = TableBuffer::default();
        properties.put("filler", Value::Text(filler.as_bytes()));
        let mut bytes = bytes::BytesMut::new();
        let client_properties = properties.as_table();
        let response = b"\0guest\0guest";
        let method = ConnectionStartOk { client_properties, mechanism: "PLAIN", response, locale: "en_US" };
        mailrail_amqp::codec::writer::method(&mut bytes, 0, &method);
        bytes
    };
    let around = start_ok("").len() - FRAME_OVERHEAD_BYTES;
    wire.bytes(&start_ok(&"x".repeat(HANDSHAKE_PAYLOAD_BYTES_MAX - around)));
    assert!(wire.received()[0].contains("ConnectionTune"));
}

#[test]
fn handshake_and_close_have_their_time() {
    let mut wire = Wire::new();
    let max = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
    wire.bytes(b"AMQP");
    wire.connection.handle_deadline(max - Duration::from_millis(1), &mut wire.out);
    assert!(!wire.connection.is_closing());
    wire.connection.handle_deadline(max, &mut wire.out);
    assert!(wire.connection.is_closing());

    let mut wire = Wire::open();
    wire.send(1, &consume("t"));
    assert_eq!(wire.closed().map(|closed| closed.1), Some(504));
    let max = Duration::from_secs(CLOSE_SECONDS_MAX);
    wire.connection.handle_deadline(max - Duration::from_millis(1), &mut wire.out);
    assert!(!wire.connection.is_closing());
    wire.connection.handle_deadline(max, &mut wire.out);
    assert!(wire.connection.is_closing());
}

#[test]
fn a_channel_has_consumers_up_to_its_limit() {
    let mut wire = Wire::with_channel();
    for number in 0..CHANNEL_CONSUMERS_MAX {
        wire.send(1, &consume(&format!("t{number}")));
    }
    assert!(wire.received().iter().all(|line| line.contains("ConsumeOk")));
    wire.send(2, &ChannelOpen);
    wire.send(2, &consume("t"));
    assert!(wire.received().iter().any(|line| line.contains("2 BasicConsumeOk")), "each channel has its own");
    wire.send(1, &consume("one-more"));
    // 506 is an error of the connection in AMQP.
    check_refused(wire.closed(), 506, &["1024"]);
}

#[test]
fn a_channel_has_unacknowledged_deliveries_up_to_its_limit() {
    let mut wire = Wire::with_channel();
    wire.send(1, &consume("t"));
    let max = u64::try_from(CHANNEL_UNACKED_MAX).unwrap();
    for lease in 1..max {
        assert_eq!(wire.deliver(1, lease, b""), Ok(None));
        if lease % 1_000 == 0 {
            wire.out.clear();
        }
    }
    assert_eq!(wire.deliver(1, max, b""), Ok(None));
    assert_eq!(wire.deliver(1, max + 1, b""), Err(max + 1), "it goes back");
    wire.log.clear();
    wire.run();
    assert_eq!(wire.log(), [""; 0], "no more is asked for");
    wire.send(1, &BasicAck { delivery_tag: 1, multiple: false });
    assert_eq!(wire.deliver(1, max + 1, b""), Ok(None));
}

#[test]
fn a_channel_has_unconfirmed_publishes_up_to_its_limit() {
    let mut wire = Wire::with_channel();
    wire.send(1, &ConfirmSelect { no_wait: false });
    let one = super::wire::published("", "q", b"", 131_072);
    const STEP: usize = 10_000;
    let many = one.repeat(STEP);
    for _ in 0..CHANNEL_UNCONFIRMED_MAX / STEP - 1 {
        wire.bytes(&many);
        wire.published.clear();
    }
    wire.bytes(&one.repeat(STEP - 1));
    assert!(!wire.is_waiting);
    wire.published.clear();
    wire.bytes(&one.repeat(2));
    assert!(wire.is_waiting, "the next is left where it is");
    assert_eq!(wire.published.len(), 1);
}

#[test]
fn consumers_get_no_credit_while_too_much_waits_to_be_written() {
    for (waiting, expected) in [(OUTPUT_WAITING_BYTES_MAX, 1), (OUTPUT_WAITING_BYTES_MAX + 1, 0)] {
        let mut wire = Wire::with_channel();
        wire.send(1, &BasicQos { prefetch_size: 0, prefetch_count: 1, global: false });
        wire.send(1, &consume("t"));
        assert_eq!(wire.deliver(1, 7, b"x"), Ok(None));
        let mut credits = 0;
        let mut bytes = bytes::BytesMut::new();
        mailrail_amqp::codec::writer::method(&mut bytes, 1, &BasicAck { delivery_tag: 1, multiple: false });
        wire.connection.read(Duration::ZERO, &bytes, &mut wire.out);
        wire.connection.flush(waiting, &mut wire.out, |_, _| credits += 1);
        assert_eq!(credits, expected, "{waiting} bytes wait");
    }
}
