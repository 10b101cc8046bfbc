//! Messages by key and by id.

use super::*;

#[test]
fn messages_are_looked_up_by_key_by_the_clients_id_and_by_offset_id() {
    let house = House::open();
    let mut client = house.client();
    let sent = client.send(1, "T", 2, "KEYS=order-1 paid;UNIQ_KEY=FD01;", b"one");
    client.send(2, "T", 3, "KEYS=order-2 paid;UNIQ_KEY=FD02;", b"two");
    client.send(3, "Other", 0, "KEYS=paid;", b"elsewhere");
    let query = |key: &str, max: i32, end: i64| {
        format!(r#""topic":"T","key":"{key}","maxNum":"{max}","beginTimestamp":"0","endTimestamp":"{end}""#)
    };
    for (key, max, expected) in [
        ("paid", 32, vec!["two", "one"]),
        ("paid", 1, vec!["two"]),
        ("order-1", 32, vec!["one"]),
        ("FD02", 32, vec!["two"]),
    ] {
        let answer = client.call(12, 4, &query(key, max, i64::MAX), b"");
        assert_eq!(answer.code, 0, "{answer:?}");
        assert!(field(&answer, "indexLastUpdateTimestamp").is_some());
        assert!(field(&answer, "indexLastUpdatePhyoffset").is_some());
        let found = Seen { remark: Some("FOUND".to_owned()), ..answer };
        assert_eq!(bodies(&found), expected.iter().map(|body| body.as_bytes()).collect::<Vec<_>>(), "{key}");
    }
    for absent in [query("absent", 32, i64::MAX), query("paid", 32, 1)] {
        assert_eq!(client.call(12, 5, &absent, b"").code, 22);
    }
    let unknown = query("paid", 32, 1).replace("\"T\"", "\"Unknown\"");
    assert_eq!(client.call(12, 6, &unknown, b"").code, 17);

    let id: OffsetId = field(&sent, "msgId").unwrap().parse().unwrap();
    let view = |position: u64| format!(r#""topic":"T","offset":"{position}""#);
    let viewed = client.call(33, 7, &view(id.position), b"");
    assert_eq!(viewed.code, 0, "{viewed:?}");
    let found = Seen { remark: Some("FOUND".to_owned()), ..viewed };
    assert_eq!(bodies(&found), [b"one"]);
    assert_eq!(client.call(33, 8, &view(id.position + 8), b"").code, 1);
    assert_eq!(client.call(33, 9, r#""offset":"-1""#, b"").code, 1);
}
