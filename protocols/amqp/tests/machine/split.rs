//! How bytes are cut into reads changes nothing, and no bytes panic.

use bytes::BytesMut;
use mailrail_amqp::codec::Table;
use mailrail_amqp::codec::frame::PROTOCOL_HEADER;
use mailrail_amqp::codec::methods::*;
use mailrail_amqp::codec::writer;
use proptest::prelude::*;

use super::wire::{Wire, published};

/// A whole session as a client writes it.
fn session() -> Vec<u8> {
    let mut bytes = BytesMut::from(&PROTOCOL_HEADER[..]);
    let start_ok = ConnectionStartOk {
        client_properties: Table::EMPTY,
        mechanism: "PLAIN",
        response: b"\0guest\0guest",
        locale: "en_US",
    };
    writer::method(&mut bytes, 0, &start_ok);
    writer::method(&mut bytes, 0, &ConnectionTuneOk { channel_max: 9, frame_max: 4_096, heartbeat: 0 });
    writer::method(&mut bytes, 0, &ConnectionOpen { virtual_host: "/" });
    writer::method(&mut bytes, 1, &ChannelOpen);
    writer::method(&mut bytes, 1, &ConfirmSelect { no_wait: false });
    let declare = QueueDeclare {
        queue: "q",
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        no_wait: false,
        arguments: Table::EMPTY,
    };
    writer::method(&mut bytes, 1, &declare);
    bytes.extend_from_slice(&published("", "q", &[9; 300], 108));
    writer::heartbeat(&mut bytes);
    bytes.extend_from_slice(&published("x", "k", b"", 4_096));
    bytes.extend_from_slice(&published("x", "k", b"whole", 4_096));
    writer::method(&mut bytes, 1, &BasicGet { queue: "q", no_ack: true });
    writer::method(
        &mut bytes,
        0,
        &ConnectionClose { reply_code: 0, reply_text: "", class_id: 0, method_id: 0 },
    );
    bytes.to_vec()
}

type Outcome = (Vec<String>, Vec<String>, Vec<(Option<u64>, String, Vec<u8>)>);

fn outcome(reads: &[&[u8]]) -> Outcome {
    let mut wire = Wire::new();
    reads.iter().for_each(|read| wire.bytes(read));
    assert!(wire.connection.is_closing());
    (wire.received(), wire.log(), wire.published)
}

#[test]
fn every_split_point_gives_the_same_result() {
    let session = session();
    let whole = outcome(&[&session]);
    assert_eq!((whole.1.len(), whole.2.len()), (4, 3), "{whole:?}");
    for at in 0..=session.len() {
        let (one, other) = session.split_at(at);
        assert_eq!(outcome(&[one, other]), whole, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = session.chunks(1).collect();
    assert_eq!(outcome(&bytes), whole);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        Wire::new().bytes(&bytes);
        Wire::with_channel().bytes(&bytes);
    }

    #[test]
    fn random_changes_of_a_session_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut session = session();
        for (index, byte) in changes {
            let at = index.index(session.len());
            session[at] = byte;
        }
        Wire::new().bytes(&session);
    }
}
