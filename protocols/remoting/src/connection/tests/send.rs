//! Sending: alone, in batches, and what cannot be stored.

use super::*;

#[test]
fn sends_to_a_new_topic_in_one_read_are_stored_in_order() {
    let house = House::open();
    let mut client = house.client();
    let mut input = BytesMut::new();
    for n in 0..20 {
        input.extend_from_slice(&request(310, n, 0, &send_fields("T", 1, ""), format!("m{n}").as_bytes()));
    }
    client.input(&mut input);
    for n in 0..20 {
        let answer = client.next();
        assert_eq!((answer.code, answer.opaque), (0, n), "{answer:?}");
        assert_eq!(field(&answer, "queueOffset"), Some(n.to_string().as_str()));
        assert_eq!(field(&answer, "transactionId").unwrap().len(), 32, "an id is made for who has none");
    }
    client.pull(30, "T", 1, 0, "*");
    let expected: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    assert_eq!(bodies(&client.next()), expected.iter().map(String::as_bytes).collect::<Vec<_>>());
}

#[test]
fn sends_that_cannot_be_stored_say_why_and_the_connection_lives_on() {
    let house = House::open();
    let mut client = house.client();
    client.send(1, "T", 0, "", b"x");
    let no_template = r#""a":"p","b":"U","c":"other","e":"0""#;
    for (fields, code, remark) in [
        (send_fields("T", 4, ""), 29, "queueId[4] is illegal"),
        (send_fields("bad name", 0, ""), 29, "has characters other than"),
        (send_fields("SCHEDULE_TOPIC_XXXX", 0, ""), 16, "is forbidden"),
        (send_fields("T", 0, "TIMER_DELAY_SEC=999999;"), 13, "timer message illegal"),
        (no_template.to_owned(), 17, "topic[U] not exist"),
    ] {
        let answer = client.call(310, 2, &fields, b"x");
        assert_eq!(answer.code, code, "{fields}: {answer:?}");
        assert!(answer.remark.as_deref().unwrap().contains(remark), "{fields}: {answer:?}");
    }
    let answer = client.call(310, 3, &send_fields("T", 0, ""), &vec![b'x'; 4 * 1024 * 1024 + 1]);
    assert_eq!(answer.code, 13, "{answer:?}");
    assert_eq!(client.send(4, "T", -1, "", b"y").code, 0, "a negative queue leaves the choice to the broker");
}

#[test]
fn a_batch_is_stored_whole_with_consecutive_offsets_or_not_at_all() {
    let house = House::open();
    let mut client = house.client();
    client.send(1, "T", 3, "", b"first");
    let mut batch = Vec::new();
    for body in [&b"a"[..], b"", b"ccc"] {
        let properties = b"TAGS\x01t\x02";
        let size = i32::try_from(22 + body.len() + properties.len()).unwrap();
        for number in [size, 0, 0, 5, i32::try_from(body.len()).unwrap()] {
            batch.extend_from_slice(&number.to_be_bytes());
        }
        batch.extend_from_slice(body);
        batch.extend_from_slice(&u16::try_from(properties.len()).unwrap().to_be_bytes());
        batch.extend_from_slice(properties);
    }
    let fields = send_fields("T", 3, "WAIT=true;").replace(r#""m":"false""#, r#""m":"true""#);
    let stored = client.call(320, 2, &fields, &batch);
    assert_eq!((stored.code, field(&stored, "queueOffset")), (0, Some("1")), "{stored:?}");
    assert_eq!(field(&stored, "msgId").unwrap().split(',').count(), 3);
    let broken = client.call(320, 3, &fields, &batch[..batch.len() - 1]);
    assert_eq!(broken.code, 13, "{broken:?}");
    client.pull(4, "T", 3, 0, "*");
    let found = client.next();
    assert_eq!(bodies(&found), [&b"first"[..], b"a", b"", b"ccc"]);
    let message = messages(&found)[3];
    assert_eq!((message.flag(), message.queue_offset()), (5, 3));
    assert_eq!(message.properties().as_bytes(), b"TAGS\x01t\x02", "properties in a batch stay untouched");
}
