//! From the first bytes to open-ok, close in both directions, heartbeats and the deadlines of each.

use std::time::Duration;

use mailrail_amqp::Refusal;
use mailrail_amqp::codec::ReplyCode;
use mailrail_amqp::codec::frame::{PROTOCOL_HEADER, PROTOCOL_HEADER_0_9};
use mailrail_amqp::codec::methods::*;

use super::wire::{Wire, frame};

const CLOSE: ConnectionClose<'_> =
    ConnectionClose { reply_code: 200, reply_text: "bye", class_id: 0, method_id: 0 };

#[test]
fn the_server_offers_what_client_suites_expect() {
    for header in [PROTOCOL_HEADER, PROTOCOL_HEADER_0_9] {
        let mut wire = Wire::new();
        wire.bytes(&header);
        let start = wire.received().pop().unwrap();
        assert!(start.contains("version_minor: 9"), "{start}");
        wire.start_ok();
        let tune = "0 ConnectionTune(ConnectionTune { channel_max: 2047, frame_max: 131072, heartbeat: 60 })";
        assert_eq!(wire.received(), [tune]);
    }
}

#[test]
fn another_header_is_answered_with_ours_and_the_end() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\0\0\0\0\0", b"AMQP\0\x01\0\0", b"AMQX"] {
        let mut wire = Wire::new();
        wire.bytes(bytes);
        assert_eq!(wire.received(), ["protocol header"], "{bytes:?}");
        assert!(wire.connection.is_closing());
    }
}

#[test]
fn a_client_may_pipeline_its_whole_handshake() {
    let mut wire = Wire::new();
    wire.bytes(&PROTOCOL_HEADER);
    wire.received();
    wire.start_ok();
    wire.send(0, &ConnectionTuneOk { channel_max: 10, frame_max: 4_096, heartbeat: 0 });
    wire.send(0, &ConnectionOpen { virtual_host: "/" });
    wire.send(10, &ChannelOpen);
    let received = wire.received();
    assert_eq!(received[1..], ["0 ConnectionOpenOk(ConnectionOpenOk)", "10 ChannelOpenOk(ChannelOpenOk)"]);
    wire.send(11, &ChannelOpen);
    assert_eq!(wire.closed().map(|closed| closed.1), Some(530));
}

#[test]
fn a_wrong_password_is_told_only_to_clients_that_understand() {
    let mut wire = Wire::new();
    wire.password = b"\0guest\0wrong";
    wire.bytes(&PROTOCOL_HEADER);
    wire.start_ok();
    let closed = wire.closed().unwrap();
    assert!(closed.1 == 403 && closed.2.starts_with("ACCESS_REFUSED - login refused"), "{closed:?}");

    let mut wire = Wire::new();
    (wire.password, wire.capabilities) = (b"\0guest\0wrong", &[]);
    wire.bytes(&PROTOCOL_HEADER);
    wire.received();
    wire.start_ok();
    assert!(wire.received().is_empty() && !wire.connection.is_closing());
    let until = wire.connection.deadline().unwrap();
    wire.connection.handle_deadline(until, &mut wire.out);
    assert!(wire.received().is_empty() && wire.connection.is_closing());
}

#[test]
fn an_unknown_vhost_is_not_allowed() {
    let mut wire = Wire::new();
    wire.bytes(&PROTOCOL_HEADER);
    wire.start_ok();
    wire.send(0, &ConnectionTuneOk { channel_max: 1, frame_max: 4_096, heartbeat: 0 });
    wire.send(0, &ConnectionOpen { virtual_host: "other" });
    let closed = wire.closed().unwrap();
    assert!(closed.1 == 530 && closed.2.contains("vhost other"), "{closed:?}");
}

#[test]
fn a_slow_handshake_is_dropped() {
    let mut wire = Wire::new();
    wire.bytes(b"AMQP");
    assert_eq!(wire.connection.deadline(), Some(Duration::from_secs(10)));
    wire.connection.handle_deadline(Duration::from_secs(9), &mut wire.out);
    assert!(!wire.connection.is_closing());
    wire.connection.handle_deadline(Duration::from_secs(10), &mut wire.out);
    assert!(wire.connection.is_closing());
}

#[test]
fn a_clients_close_undoes_everything_before_it_is_answered() {
    let mut wire = Wire::with_channel();
    wire.send(0, &CLOSE);
    assert_eq!(wire.log(), ["Ended 1 [] []", "Close"]);
    assert_eq!(wire.received(), ["0 ConnectionCloseOk(ConnectionCloseOk)"]);
    assert!(wire.connection.is_closing());
}

#[test]
fn after_its_own_close_the_server_waits_for_the_answer_alone() {
    let mut wire = Wire::with_channel();
    let stop = Refusal::new(ReplyCode::ConnectionForced, "broker is stopping");
    wire.connection.shutdown(Duration::from_secs(1), stop, &mut wire.out);
    assert_eq!(wire.closed().map(|closed| closed.1), Some(320));
    wire.publish("", "q", b"dropped");
    wire.send(1, &ChannelOpen);
    assert!(wire.received().is_empty() && wire.published.is_empty());
    // A crossing close is answered, and the wait goes on.
    wire.send(0, &CLOSE);
    assert_eq!(wire.received(), ["0 ConnectionCloseOk(ConnectionCloseOk)"]);
    assert!(!wire.connection.is_closing());
    wire.send(0, &ConnectionCloseOk);
    assert!(wire.connection.is_closing());
}

#[test]
fn a_close_that_nobody_answers_ends_in_time() {
    let mut wire = Wire::with_channel();
    wire.bytes(b"no frame at all");
    assert_eq!(wire.closed().map(|closed| closed.1), Some(501));
    // What follows garbage is garbage, and costs nothing.
    wire.bytes(&frame(8, 0, b""));
    wire.bytes(&vec![0; 100_000]);
    assert!(!wire.connection.is_closing());
    wire.connection.handle_deadline(Duration::from_secs(5), &mut wire.out);
    assert!(wire.connection.is_closing());
}

#[test]
fn heartbeats_go_out_and_their_absence_ends_the_connection() {
    let mut wire = Wire::new();
    wire.bytes(&PROTOCOL_HEADER);
    wire.start_ok();
    wire.send(0, &ConnectionTuneOk { channel_max: 1, frame_max: 4_096, heartbeat: 10 });
    wire.send(0, &ConnectionOpen { virtual_host: "/" });
    wire.received();
    assert_eq!(wire.connection.deadline(), Some(Duration::from_secs(5)));
    wire.connection.handle_deadline(Duration::from_secs(5), &mut wire.out);
    assert_eq!(wire.received(), ["heartbeat"]);
    wire.connection.note_received(Duration::from_secs(8));
    wire.connection.note_sent(Duration::from_secs(27));
    wire.connection.handle_deadline(Duration::from_secs(27), &mut wire.out);
    assert!(!wire.connection.is_closing());
    wire.connection.handle_deadline(Duration::from_secs(28), &mut wire.out);
    assert!(wire.connection.is_closing());
}

#[test]
fn only_publishers_that_can_take_it_are_told_that_they_are_blocked() {
    let mut wire = Wire::with_channel();
    wire.connection.set_blocked(Some("disk"), &mut wire.out);
    assert!(wire.received().is_empty());
    wire.publish("", "q", b"x");
    wire.connection.set_blocked(Some("disk"), &mut wire.out);
    wire.connection.set_blocked(Some("disk"), &mut wire.out);
    wire.connection.set_blocked(None, &mut wire.out);
    let told = wire.received();
    assert!(told.len() == 2 && told[0].contains("Blocked") && told[1].contains("Unblocked"), "{told:?}");
}
