//! The stored layout against the format's description and against itself.

use std::net::SocketAddr;

use bytes::BytesMut;
use mailrail_message::*;
use proptest::prelude::*;

fn draft<'a>(topic: &'a str, body: &'a [u8], properties: &'a [u8], host: SocketAddr) -> Draft<'a> {
    Draft {
        topic,
        flag: 7,
        sys_flags: 0,
        born_ms: 1_795_336_144_547,
        born_host: host,
        store_host: "127.0.0.1:9876".parse().unwrap(),
        reconsume_times: 3,
        body,
        properties,
        more_properties: b"CLUSTER\x01c\x02",
        annexes: &[],
    }
}

fn placement() -> Placement {
    Placement {
        queue_index: 2,
        target: Target { queue: 99, offset: 5 },
        position: 4096,
        store_ms: 1_795_336_144_999,
    }
}

#[test]
fn the_record_lies_as_rocketmq_reads_it() {
    let mut bytes = BytesMut::new();
    draft("T", b"hello", b"TAGS\x01a\x02", "10.1.2.3:5000".parse().unwrap()).encode(&mut bytes);
    place(&mut bytes, &placement()).unwrap();
    let properties = b"TAGS\x01a\x02CLUSTER\x01c\x02";
    assert_eq!(u32::from_be_bytes(bytes[0..4].try_into().unwrap()) as usize, 91 + 5 + 1 + properties.len());
    assert_eq!(bytes[4..8], 0xDAA320A7u32.to_be_bytes());
    assert_eq!(bytes[12..16], 2u32.to_be_bytes());
    assert_eq!(bytes[20..28], 5u64.to_be_bytes());
    assert_eq!(bytes[28..36], 4096u64.to_be_bytes());
    assert_eq!(bytes[48..56], [10, 1, 2, 3, 0, 0, 0x13, 0x88]);
    assert_eq!(bytes[56..64], 1_795_336_144_999u64.to_be_bytes());
    assert_eq!(bytes[72..76], 3u32.to_be_bytes());
    assert_eq!(&bytes[88..93], b"hello");
    assert_eq!(&bytes[93..95], b"\x01T");
    assert_eq!(&bytes[97..97 + properties.len()], properties);
}

#[test]
fn limits_hold_at_the_limit_and_one_beyond() {
    let host = "127.0.0.1:1".parse().unwrap();
    let body = vec![0; BODY_BYTES_MAX + 1];
    assert_eq!(draft("t", &body[..BODY_BYTES_MAX], b"", host).check(), Ok(()));
    assert!(matches!(draft("t", &body, b"", host).check(), Err(DraftError::Body { .. })));
    let properties = vec![b'x'; PROPERTIES_BYTES_MAX];
    let mut exact = draft("t", b"", &properties, host);
    exact.more_properties = b"";
    assert_eq!(exact.check(), Ok(()));
    exact.more_properties = b"a\x01b\x02";
    assert!(matches!(exact.check(), Err(DraftError::Properties { .. })));
    let topic = "t".repeat(TOPIC_BYTES_MAX + 1);
    assert_eq!(draft(&topic[1..], b"", b"", host).check(), Ok(()));
    assert!(matches!(draft(&topic, b"", b"", host).check(), Err(DraftError::Topic { .. })));
    assert!(matches!(draft("", b"", b"", host).check(), Err(DraftError::Topic { .. })));
}

#[test]
fn a_whole_message_has_at_most_its_bytes() {
    let host = "10.0.0.1:80".parse().unwrap();
    let body = vec![0; BODY_BYTES_MAX];
    let with = |annex: &[u8], look: &dyn Fn(&Draft<'_>) -> Result<usize, DraftError>| {
        let annexes = [(AnnexKind::Properties, annex)];
        look(&Draft { annexes: &annexes, ..draft("t", &body, b"", host) })
    };
    let around = with(b"", &|draft| Ok(draft.encoded_len())).unwrap();
    let annex = vec![0; RECORD_MESSAGE_BYTES_MAX - around + 1];
    let check = |annex| with(annex, &|draft| draft.check().map(|()| 0)).map_err(|error| error.to_string());
    assert_eq!(check(&annex[1..]), Ok(0));
    let text = check(&annex).unwrap_err();
    let named = [RECORD_MESSAGE_BYTES_MAX + 1, RECORD_MESSAGE_BYTES_MAX].map(|bytes| bytes.to_string());
    assert!(named.iter().all(|bytes| text.contains(bytes)), "{text}");
}

#[test]
fn several_targets_take_the_place_of_the_one_that_a_draft_has_room_for() {
    let mut bytes = BytesMut::new();
    let annexes = [(AnnexKind::Amqp, &b"birth"[..])];
    Draft { annexes: &annexes, ..draft("T", b"hello", b"", "10.1.2.3:5000".parse().unwrap()) }
        .encode(&mut bytes);
    let targets: Vec<Target> = (0..100).map(|n| Target { queue: 99 + n, offset: 5 + n % 2 }).collect();
    bytes.truncate(bytes.len() - TargetSlot::BYTES);
    bytes.extend_from_slice(&targets_annex(&targets));
    place_record(&mut bytes, &placement()).unwrap();
    let stored = StoredMessage::parse(&bytes).unwrap();
    assert_eq!((stored.targets().unwrap(), stored.target_count()), (targets, 100));
    assert_eq!((stored.annexes().count(), stored.annex(AnnexKind::Amqp)), (2, Some(&b"birth"[..])));
    assert_eq!((stored.body(), stored.queue_offset()), (&b"hello"[..], 5));
}

fn hosts() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![Just("10.0.0.1:80".parse().unwrap()), Just("[2001:db8::1]:443".parse().unwrap())]
}

proptest! {
    #[test]
    fn what_was_drafted_is_read_back(
        topic in "[a-z]{1,200}", body in proptest::collection::vec(any::<u8>(), 0..300),
        value in "[a-z]{1,20}", born in hosts(), store in hosts(), annex in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let properties = format!("k\x01{value}\x02");
        let annexes = [(AnnexKind::Amqp, annex.as_slice())];
        let mut draft = draft(&topic, &body, properties.as_bytes(), born);
        (draft.store_host, draft.annexes) = (store, &annexes);
        let mut bytes = BytesMut::new();
        draft.encode(&mut bytes);
        prop_assert_eq!(bytes.len(), draft.encoded_len());
        place(&mut bytes, &placement()).unwrap();
        let stored = StoredMessage::parse(&bytes).unwrap();
        prop_assert_eq!(stored.topic(), topic.as_str());
        prop_assert_eq!(stored.body(), body.as_slice());
        prop_assert_eq!(stored.properties().get("k"), Some(value.as_str()));
        prop_assert_eq!((stored.born_host(), stored.store_host()), (born, store));
        prop_assert_eq!((stored.queue_index(), stored.queue_offset(), stored.position()), (2, 5, 4096));
        prop_assert_eq!(stored.store_ms(), 1_795_336_144_999);
        prop_assert_eq!(stored.annex(AnnexKind::Amqp), Some(annex.as_slice()));
        prop_assert_eq!(stored.targets().unwrap(), vec![Target { queue: 99, offset: 5 }]);

        let mut again = Vec::new();
        rewrite_into(&stored, &Rewrite { topic: Some("other"), reconsume_times: Some(9), ..Default::default() }, &mut again);
        let view = StoredMessage::parse(&again).unwrap();
        prop_assert_eq!((view.topic(), view.reconsume_times(), view.body()), ("other", 9, body.as_slice()));
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..120) {
        if let Ok(stored) = StoredMessage::parse(&bytes) {
            let _ = (stored.targets(), stored.body(), stored.properties().iter().count());
        }
        let mut good = BytesMut::new();
        draft("topic", b"body", b"a\x01b\x02", "10.0.0.1:80".parse().unwrap()).encode(&mut good);
        for (at, byte) in bytes.iter().enumerate().take(good.len()) {
            if at % 7 == cut % 7 { good[at] = *byte; }
        }
        good.truncate(good.len().saturating_sub(cut));
        if let Ok(stored) = StoredMessage::parse(&good) {
            let _ = (stored.targets(), stored.born_host(), stored.store_ms(), stored.annexes().count());
        }
    }
}
