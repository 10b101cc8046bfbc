//! Transactions: half messages, their ends, and what their producers are asked.

use super::*;

const HALF: &str = "TAGS=t;UNIQ_KEY=FD00;TRAN_MSG=true;PGROUP=pg;DELAY=3;CHECK_IMMUNITY_TIME_IN_SECONDS=0;";

/// The answer to the send of a half message, and the number that both its offsets are.
fn prepare(client: &mut Client, body: &[u8]) -> (Seen, i64) {
    let sent = client.send(1, "T", 1, HALF, body);
    assert_eq!((sent.code, field(&sent, "transactionId")), (0, Some("FD00")), "{sent:?}");
    let position = field(&sent, "msgId").unwrap().parse::<OffsetId>().unwrap().position;
    let position = i64::try_from(position).unwrap();
    assert_eq!(field(&sent, "queueOffset"), Some(&*position.to_string()));
    (sent, position)
}

fn end_fields(group: &str, table_offset: i64, log_offset: i64, end: i32) -> String {
    format!(
        r#""producerGroup":"{group}","tranStateTableOffset":"{table_offset}","commitLogOffset":"{log_offset}","commitOrRollback":"{end}","fromTransactionCheck":"false","msgId":"FD00","transactionId":"FD00""#
    )
}

fn end(client: &mut Client, position: i64, end: i32) -> Seen {
    client.call(37, 7, &end_fields("pg", position, position, end), b"")
}

fn produce(client: &mut Client, group: &str) {
    let body = format!(
        r#"{{"clientID":"c","consumerDataSet":[],"producerDataSet":[{{"groupName":"{group}"}},{{"groupName":"{group}"}}]}}"#
    );
    assert_eq!(client.call(34, 2, "", body.as_bytes()).code, 0);
}

#[test]
fn a_half_message_is_seen_once_it_is_committed_and_never_after_its_roll_back() {
    let house = House::open();
    let mut client = house.client();
    let (sent, kept) = prepare(&mut client, b"kept");
    assert_eq!(field(&sent, "queueId"), Some("1"));
    let (_, gone) = prepare(&mut client, b"gone");
    assert_eq!(end(&mut client, kept, 0).code, 0, "not known yet");
    assert_eq!(end(&mut client, gone, 12).code, 0);
    assert_eq!(end(&mut client, kept, 8).code, 0);
    client.pull(9, "T", 1, 0, "*");
    let answer = client.next();
    let [message] = &messages(&answer)[..] else { panic!("{answer:?}") };
    assert_eq!((message.body(), message.sys_flags() & 12), (&b"kept"[..], 8));
    let properties = message.properties();
    assert_eq!((properties.get("TRAN_MSG"), properties.get("TAGS")), (None, Some("t")));
    for (position, decision) in [(kept, 8), (kept, 12), (gone, 8)] {
        let again = end(&mut client, position, decision);
        assert_eq!(again.code, 1, "{again:?}");
        assert!(again.remark.unwrap().contains("Find prepared transaction message failed"));
    }
}

#[test]
fn ends_that_name_no_half_message_of_the_group_change_nothing() {
    let house = House::open();
    let mut client = house.client();
    let (_, position) = prepare(&mut client, b"x");
    for (fields, remark) in [
        (end_fields("other", position, position, 8), "another group of producers"),
        (end_fields("pg", position + 8, position, 8), "offset wrong"),
        (end_fields("pg", position + 8, position + 8, 8), "Find prepared"),
        (end_fields("pg", -1, -1, 12), "offset wrong"),
        (end_fields("pg", position, position, 7), "commitOrRollback `7`"),
        (r#""producerGroup":"pg""#.to_owned(), "has no commitOrRollback"),
    ] {
        let answer = client.call(37, 3, &fields, b"");
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.remark.as_deref().unwrap().contains(remark), "{answer:?}");
    }
    // As SDKs end them: without an answer, and in the order of what follows.
    let mut one_way = request(37, 4, 2, &end_fields("pg", position, position, 8), b"");
    client.input(&mut one_way);
    client.pull(9, "T", 1, 0, "*");
    assert_eq!(bodies(&client.next()), [b"x"]);
}

#[test]
fn a_producer_that_a_heartbeat_has_told_of_is_asked_with_the_message() {
    let house = House::open();
    let (mut sender, mut asked, mut other) = (house.client(), house.client(), house.client());
    let (sent, position) = prepare(&mut sender, b"body");
    produce(&mut other, "another group");
    produce(&mut asked, "pg");
    let check = asked.next();
    assert_eq!((check.code, check.flag), (39, 2), "one-way: {check:?}");
    let number = position.to_string();
    for (name, expected) in [
        ("tranStateTableOffset", Some(&*number)),
        ("commitLogOffset", Some(&*number)),
        ("offsetMsgId", field(&sent, "msgId")),
        ("msgId", Some("FD00")),
        ("transactionId", Some("FD00")),
        ("topic", Some("T")),
    ] {
        assert_eq!(field(&check, name), expected, "{name}");
    }
    let message = StoredMessage::parse(&check.body).unwrap();
    assert_eq!((message.topic(), message.queue_index(), message.body()), ("T", 1, &b"body"[..]));
    assert_eq!(message.record().len(), check.body.len());
    let properties = message.properties();
    assert_eq!(properties.get("PGROUP"), Some("pg"), "by it a client finds its producer");
    assert_eq!(
        (properties.get("TRAN_MSG"), properties.get("TRANSACTION_CHECK_TIMES")),
        (Some("true"), Some("1"))
    );
    assert_eq!(end(&mut asked, position, 8).code, 0);
    sender.pull(9, "T", 1, 0, "*");
    assert_eq!(bodies(&sender.next()), [b"body"]);
    assert!(other.received().is_none());
}

#[test]
fn a_producer_that_unregisters_or_is_gone_is_not_asked_and_the_next_one_is() {
    let house = House::open();
    let (mut first, mut second, mut third) = (house.client(), house.client(), house.client());
    produce(&mut first, "pg");
    produce(&mut second, "pg");
    assert_eq!(first.call(35, 3, r#""clientID":"c","producerGroup":"pg""#, b"").code, 0);
    drop(second);
    produce(&mut third, "pg");
    prepare(&mut first, b"body");
    assert_eq!(third.next().code, 39);
    assert!(first.received().is_none());
}

#[test]
fn the_sender_names_the_group_where_the_message_does_not_and_a_resent_message_is_no_half_one() {
    let house = House::open();
    let mut client = house.client();
    let sent = client.send(1, "T", 0, "TRAN_MSG=true;CHECK_IMMUNITY_TIME_IN_SECONDS=0;", b"x");
    assert_eq!(sent.code, 0);
    produce(&mut client, "p");
    let check = client.next();
    assert_eq!(StoredMessage::parse(&check.body).unwrap().properties().get("PGROUP"), Some("p"));
    assert_eq!(client.send(2, "%RETRY%g", 0, "TRAN_MSG=true;", b"again").code, 0);
    client.pull(9, "%RETRY%g", 0, 0, "*");
    assert_eq!(bodies(&client.next()), [b"again"]);
}
