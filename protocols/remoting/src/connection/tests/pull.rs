//! Pulling: held, filtered, from offsets that are not there.

use super::*;

#[test]
fn a_held_pull_is_answered_when_something_comes_or_its_time_is_up() {
    let house = House::open();
    let (mut consumer, mut producer) = (house.client(), house.client());
    producer.send(1, "T", 0, "TAGS=a;", b"old");
    consumer.pull(1, "T", 0, 1, "*");
    assert!(consumer.received().is_none(), "held");
    producer.send(2, "T", 0, "TAGS=a;", b"new");
    let found = consumer.next();
    assert_eq!((found.opaque, bodies(&found)), (1, vec![&b"new"[..]]));
    assert_eq!(field(&found, "nextBeginOffset"), Some("2"));

    consumer.pull(2, "T", 0, 2, "*");
    assert!(consumer.received().is_none(), "held");
    consumer.pass_deadline();
    let nothing = consumer.received().expect("an answer at the deadline");
    assert_eq!(
        (nothing.code, nothing.opaque, nothing.remark.as_deref()),
        (19, 2, Some("OFFSET_OVERFLOW_ONE"))
    );
    assert_eq!(field(&nothing, "nextBeginOffset"), Some("2"));
    producer.send(3, "T", 0, "", b"later");
    assert_eq!(field(&consumer.call(30, 9, r#""topic":"T","queueId":"0""#, b""), "offset"), Some("3"));
    assert!(consumer.received().is_none(), "a pull is answered once");
}

#[test]
fn a_filtered_pull_waits_for_its_tag_and_moves_on_past_the_others() {
    let house = House::open();
    let (mut consumer, mut producer) = (house.client(), house.client());
    for (n, tag) in ["a", "b", "b"].into_iter().enumerate() {
        producer.send(i32::try_from(n).unwrap(), "T", 0, &format!("TAGS={tag};"), tag.as_bytes());
    }
    consumer.pull(1, "T", 0, 0, "a || c");
    assert_eq!(bodies(&consumer.next()), [b"a"]);
    consumer.pull(2, "T", 0, 1, "a || c");
    assert!(consumer.received().is_none(), "held behind the two that do not match");
    producer.send(4, "T", 0, "TAGS=b;", b"b");
    producer.send(5, "T", 0, "TAGS=c;", b"c");
    let found = consumer.next();
    assert_eq!((bodies(&found), field(&found, "nextBeginOffset")), (vec![&b"c"[..]], Some("5")));
    producer.send(6, "T", 0, "TAGS=b;", b"b");
    consumer.pull(3, "T", 0, 5, "a");
    consumer.pass_deadline();
    let nothing = consumer.received().unwrap();
    assert_eq!((nothing.code, field(&nothing, "nextBeginOffset")), (20, Some("6")), "{nothing:?}");
}

#[test]
fn sql_selects_by_property_whether_it_comes_with_the_pull_or_the_heartbeat() {
    let house = House::open();
    let mut client = house.client();
    for (opaque, n) in [1, 5, 9].into_iter().enumerate() {
        let body = n.to_string();
        client.send(i32::try_from(opaque).unwrap(), "T", 0, &format!("n={n};"), body.as_bytes());
    }
    let pull = |flag: i32, subscription: &str| {
        format!(
            r#""consumerGroup":"g","topic":"T","queueId":"0","queueOffset":"0","maxMsgNums":"32","sysFlag":"{flag}","subVersion":"1","subscription":"{subscription}","expressionType":"SQL92""#
        )
    };
    let subscription = |expression: &str| {
        format!(r#""topic":"T","subString":"{expression}","expressionType":"SQL92","subVersion":1"#)
    };
    let check = |expression: &str| {
        format!(r#"{{"clientId":"c","group":"g","subscriptionData":{{{}}}}}"#, subscription(expression))
    };
    let beat = |expression: &str| {
        let subscription = subscription(expression);
        format!(
            r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"g","subscriptionDataSet":[{{{subscription}}}]}}]}}"#
        )
    };
    assert_eq!(bodies(&client.call(11, 10, &pull(4, "n > 3"), b"")), [b"5", b"9"]);
    assert_eq!(client.call(46, 11, "", check("n > 3").as_bytes()).code, 0);
    assert_eq!(client.call(34, 12, "", beat("n < 6 AND n > 1").as_bytes()).code, 0);
    assert_eq!(bodies(&client.call(11, 13, &pull(0, ""), b"")), [b"5"]);
    let none = client.call(11, 14, &pull(4, "n > 9"), b"");
    assert_eq!((none.code, field(&none, "nextBeginOffset")), (20, Some("3")));

    let wrong = client.call(11, 15, &pull(4, "n >"), b"");
    assert_eq!(wrong.code, 23);
    assert!(wrong.remark.as_deref().unwrap().contains("at byte 3"), "{:?}", wrong.remark);
    assert_eq!(client.call(46, 16, "", check("n >").as_bytes()).code, 23);
    assert_eq!(client.call(34, 17, "", beat("n >").as_bytes()).code, 0);
    assert_eq!(client.call(11, 18, &pull(0, ""), b"").code, 27);
}

#[test]
fn offsets_outside_a_queue_are_corrected_and_times_are_found() {
    let house = House::open();
    let mut client = house.client();
    let before = house.broker.now().wall_ms;
    client.send(1, "T", 0, "", b"x");
    client.send(2, "T", 0, "", b"y");
    for (queue, offset, next) in [(0, 7, "2"), (0, -1, "0"), (1, 3, "0")] {
        client.pull(3, "T", queue, offset, "*");
        let moved = client.next();
        assert_eq!(
            (moved.code, field(&moved, "nextBeginOffset")),
            (21, Some(next)),
            "{queue} {offset}: {moved:?}"
        );
    }
    let at = |time: u64, boundary: &str| {
        format!(r#""topic":"T","queueId":"0","timestamp":"{time}","boundaryType":"{boundary}""#)
    };
    let later = house.broker.now().wall_ms + 1_000;
    for (fields, offset) in [
        (at(before, "LOWER"), "0"),
        (at(later, "LOWER"), "2"),
        (at(later, "UPPER"), "1"),
        (at(0, "UPPER"), "0"),
    ] {
        assert_eq!(field(&client.call(29, 4, &fields, b""), "offset"), Some(offset), "{fields}");
    }
    let earliest = client.call(32, 5, r#""topic":"T","queueId":"0""#, b"");
    let stored: u64 = field(&earliest, "timestamp").unwrap().parse().unwrap();
    assert!((before..=later).contains(&stored));
    assert_eq!(field(&client.call(32, 6, r#""topic":"T","queueId":"1""#, b""), "timestamp"), Some("-1"));
    assert_eq!(field(&client.call(31, 7, r#""topic":"T","queueId":"0""#, b""), "offset"), Some("0"));
    client.pull(8, "nowhere", 0, 0, "*");
    assert_eq!(client.next().code, 17);
    client.pull(9, "T", 4, 0, "*");
    assert_eq!(client.next().code, 29);
}

#[test]
fn messages_carry_the_address_that_clients_reach_now() {
    let house = House::open();
    house.client().send(1, "T", 0, "KEYS=k;", b"x");
    let moved = RemotingConfig::new("[::1]:1234".parse().unwrap(), "DefaultCluster", "mailrail");
    let mut client = house.client_of(Arc::new(moved));
    client.pull(2, "T", 0, 0, "*");
    let found = client.next();
    let message = messages(&found)[0];
    assert_eq!(message.store_host(), "[::1]:1234".parse().unwrap());
    assert_eq!((message.body(), message.properties().get("KEYS")), (&b"x"[..], Some("k")));
}
