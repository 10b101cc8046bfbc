//! Tests of the way from wire to domain.

use std::time::Duration;

use mailrail_message::property::Properties;

use super::*;
use crate::codec::TableBuffer;

const NOW: Now = Now { wall_ms: 1_700_000_000_000, mono: Duration::ZERO };

type Pairs = Vec<(String, String)>;

fn projected(properties: &BasicProperties<'_>, tag: &str) -> Result<(Meant, Pairs), (u16, String)> {
    let mut out = Vec::new();
    let meant = project(properties, tag, "guest", NOW, &mut out, &mut String::new())
        .map_err(|refusal| (refusal.code.number(), refusal.text))?;
    let pairs = Properties::new(&out).iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Ok((meant, pairs))
}

#[test]
fn properties_and_headers_become_rocketmqs() {
    let mut headers = TableBuffer::default();
    headers
        .put_text("text", "t")
        .put("number", Value::I64(-7))
        .put("flag", Value::Bool(true))
        .put("float", Value::F64(1.5))
        .put("bytes", Value::Bytes(b"\xff"))
        .put("KEYS", Value::I32(1));
    let properties = BasicProperties {
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        priority: Some(9),
        message_id: Some("m1"),
        correlation_id: Some("c"),
        expiration: Some("60000".into()),
        timestamp: Some(5),
        user_id: Some("guest".into()),
        ..BasicProperties::default()
    };
    let (meant, pairs) = projected(&properties, "eu.new").unwrap();
    assert_eq!(
        meant,
        Meant { durability: Durability::Disk, born_ms: 5_000, tag_hash: tag_hash("eu.new"), key: None }
    );
    let expected = [
        ("TAGS", "eu.new"),
        ("KEYS", "m1"),
        ("UNIQ_KEY", "m1"),
        ("CORRELATION_ID", "c"),
        ("TTL", "60000"),
        ("_SYS_MSG_PRIORITY_", "9"),
        ("text", "t"),
        ("number", "-7"),
        ("flag", "true"),
        ("float", "1.5"),
    ];
    assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[test]
fn a_bare_message_is_transient_born_now_and_untagged() {
    let (meant, pairs) = projected(&BasicProperties::default(), "").unwrap();
    assert_eq!(meant, Meant { durability: Durability::Memory, born_ms: NOW.wall_ms, tag_hash: 0, key: None });
    assert!(pairs.is_empty());
}

#[test]
fn a_header_names_the_tag_before_the_routing_key_does() {
    let mut headers = TableBuffer::default();
    headers.put_text(TAG_HEADER, "mine");
    let properties = BasicProperties { headers: Some(headers.as_table()), ..BasicProperties::default() };
    let (meant, pairs) = projected(&properties, "key").unwrap();
    assert_eq!(meant.tag_hash, tag_hash("mine"));
    assert_eq!(pairs, [("TAGS".to_owned(), "mine".to_owned())]);
}

#[test]
fn a_header_names_the_keys_before_the_message_id_does() {
    let mut headers = TableBuffer::default();
    headers.put_text(KEYS_HEADER, "k1 k2");
    let properties = BasicProperties {
        headers: Some(headers.as_table()),
        message_id: Some("m"),
        ..BasicProperties::default()
    };
    let expected =
        [("KEYS", "k1 k2"), ("UNIQ_KEY", "m")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(projected(&properties, "").unwrap().1, expected);
}

#[test]
fn bad_properties_are_refused() {
    for user in [&b"root"[..], b"guest\xff"] {
        let user_id = Some(ShortBytes::new(user));
        let wrong_user = BasicProperties { user_id, ..BasicProperties::default() };
        assert_eq!(projected(&wrong_user, "").unwrap_err().0, 406);
    }
    for expiration in [&b""[..], b"x", b"-1", b"1.5", b"4294967296", b"1\xff"] {
        let expiration = Some(ShortBytes::new(expiration));
        let bad = BasicProperties { expiration, ..BasicProperties::default() };
        assert_eq!(projected(&bad, "").unwrap_err().0, 406, "{expiration:?}");
    }
}

#[test]
fn copies_are_the_texts_of_two_arrays() {
    // CC: ["a", 1 as an octet, "b"], BCC: ["c"]
    let raw = b"\x02CCA\0\0\0\x0eS\0\0\0\x01ab\x01S\0\0\0\x01b\x03BCCA\0\0\0\x06S\0\0\0\x01c";
    let headers = Some(Table::check(raw).unwrap());
    let copies = Copies::read(&BasicProperties { headers, ..BasicProperties::default() }).unwrap();
    assert_eq!((copies.keys, copies.any_blind), (vec![&b"a"[..], b"b", b"c"], true));
    let mut headers = TableBuffer::default();
    headers.put_text("BCC", "q");
    let bad = BasicProperties { headers: Some(headers.as_table()), ..BasicProperties::default() };
    let refusal = Copies::read(&bad).unwrap_err();
    assert_eq!(
        (refusal.code.number(), refusal.text.as_str()),
        (406, "header 'BCC' is not an array of routing keys")
    );
}

#[test]
fn headers_that_do_not_fit_are_left_out_of_the_projection() {
    let long = "x".repeat(20_000);
    let mut headers = TableBuffer::default();
    headers.put_text("a", &long).put_text("b", &long).put_text("c", "short");
    let properties = BasicProperties { headers: Some(headers.as_table()), ..BasicProperties::default() };
    let keys: Vec<_> = projected(&properties, "").unwrap().1.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "c"]);
}

#[test]
fn what_the_broker_reads_fits_before_any_header() {
    let mut headers = TableBuffer::default();
    headers.put_text("long", &"x".repeat(PROPERTIES_BYTES_MAX - 10)).put_text(KEYS_HEADER, "k");
    let properties = BasicProperties {
        headers: Some(headers.as_table()),
        message_id: Some("m"),
        priority: Some(1),
        ..BasicProperties::default()
    };
    let (meant, pairs) = projected(&properties, "tag").unwrap();
    let expected = [("TAGS", "tag"), ("KEYS", "k"), ("UNIQ_KEY", "m"), ("_SYS_MSG_PRIORITY_", "1")];
    assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(meant.tag_hash, tag_hash("tag"));
}

#[test]
fn a_tag_that_cannot_be_stored_is_none() {
    for tag in ["x".repeat(PROPERTIES_BYTES_MAX), "a\u{1}b".to_owned()] {
        let mut headers = TableBuffer::default();
        headers.put_text(TAG_HEADER, &tag);
        let properties = BasicProperties { headers: Some(headers.as_table()), ..BasicProperties::default() };
        let (meant, pairs) = projected(&properties, "").unwrap();
        assert_eq!((meant.tag_hash, pairs), (0, Pairs::new()));
    }
}

#[test]
fn a_tag_is_the_key_beyond_the_name() {
    for (name, key, tag) in [
        ("orders", "orders", ""),
        ("orders", "orders.eu.new", "eu.new"),
        ("orders", "ordersx", "ordersx"),
        ("orders", "eu", "eu"),
        ("orders", "", ""),
    ] {
        assert_eq!(tag_of(name, key), tag, "{key}");
    }
}

#[test]
fn queues_are_compared_as_rabbitmq_does() {
    let queue = QueueSettings {
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: BTreeMap::new(),
        delivery_limit: None,
        single_active: false,
    };
    let limited = |limit: &str| {
        let arguments = [("x-delivery-limit".to_owned(), limit.to_owned())].into();
        QueueSettings { arguments, ..queue.clone() }
    };
    let found = topic_settings(&queue);
    assert_eq!(compare_queue("q", &found, &queue), Ok(()));
    let transient = QueueSettings { durable: false, ..queue.clone() };
    let text =
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'";
    assert_eq!(compare_queue("q", &found, &transient).unwrap_err().text, text);
    assert_eq!(compare_queue("q", &topic_settings(&limited("3")), &limited("3")), Ok(()));
    for (one, other) in
        [(limited("3"), limited("4")), (queue.clone(), limited("3")), (limited("3"), queue.clone())]
    {
        assert!(compare_queue("q", &topic_settings(&one), &other).is_err());
    }
    // Another protocol's topic: durable and plain is the only way to declare it.
    let foreign = TopicSettings {
        attributes: [("+kind".to_owned(), "FIFO".to_owned())].into(),
        ..TopicSettings::default()
    };
    assert_eq!(compare_queue("t", &foreign, &queue), Ok(()));
    let auto_delete = QueueSettings { auto_delete: true, ..queue.clone() };
    for other in [&transient, &auto_delete, &limited("3")] {
        assert!(compare_queue("t", &foreign, other).is_err());
    }
}
