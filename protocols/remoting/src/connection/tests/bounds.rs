//! What a client can make a connection hold, how long it may be silent, and what nonsense costs.

use mailrail_broker::{Filter, ReadRequest, Token};

use super::*;
use crate::handle::pull::ANSWER_BYTES_MAX;
use crate::handle::query::MESSAGES_MAX;

#[test]
fn a_malformed_frame_or_long_silence_ends_the_connection() {
    let house = House::open();
    let mut client = house.client();
    client.pass_deadline();
    assert!(client.connection.is_closing(), "nothing was heard for 120 s");
    let mut client = house.client();
    let mut input = request(38, 1, 0, r#""consumerGroup":"g""#, b"");
    input.extend_from_slice(b"GET / HTTP/1.1\r\n");
    client.input(&mut input);
    assert!(client.connection.is_closing() && !client.connection.wants_input());
    assert!(input.is_empty());
}

#[test]
fn much_work_for_a_topic_that_is_being_made_stops_the_reading() {
    let house = House::open();
    let mut client = house.client();
    let mut input = BytesMut::new();
    for n in 0..5 {
        input.extend_from_slice(&request(310, n, 0, &send_fields("T", 0, ""), &vec![b'x'; 1024 * 1024]));
    }
    let now = house.broker.now();
    client.connection.handle_input(now, &mut input, &mut client.output);
    assert!(!client.connection.wants_input());
    for n in 0..5 {
        let answer = client.next();
        assert_eq!((answer.code, answer.opaque), (0, n), "{answer:?}");
    }
    assert!(client.connection.wants_input());
}

#[test]
fn pulls_are_answered_as_far_as_their_answers_are_read() {
    let house = House::open();
    let mut client = house.client();
    for n in 0..40 {
        client.send(n, "T", 0, "", &[b'x'; 2_000]);
    }
    let fields = r#""consumerGroup":"g","topic":"T","queueId":"0","queueOffset":"0","maxMsgNums":"1024","sysFlag":"4","commitOffset":"0","subscription":"*","subVersion":"1","maxMsgBytes":"2147483647""#;
    let mut input = BytesMut::new();
    let asked = 1_000;
    for n in 0..asked {
        input.extend_from_slice(&request(11, n, 0, fields, b""));
    }
    // The client reads what is there whenever the connection wants no more input.
    let (mut answered, mut largest) = (0, 0);
    while answered < asked {
        client.connection.handle_input(house.broker.now(), &mut input, &mut client.output);
        largest = largest.max(client.output.len());
        if client.output.is_empty() {
            client.wait_for_events(Instant::now() + PATIENCE);
        }
        client.drain();
        while let Some(found) = client.received() {
            assert_eq!((found.opaque, messages(&found).len()), (answered, 40));
            answered += 1;
        }
    }
    assert!(input.is_empty());
    assert!(largest < 9 << 20, "{largest} bytes waited at once");
}

#[test]
fn a_client_that_only_reads_is_not_idle() {
    let house = House::open();
    let mut client = house.client();
    let before = client.connection.deadline().unwrap();
    let later = Now { mono: before - Duration::from_secs(1), ..house.broker.now() };
    client.connection.handle_written(later, &mut client.output);
    client.connection.handle_deadline(Now { mono: before, ..later }, &mut client.output);
    assert!(!client.connection.is_closing(), "something was written a second ago");
    client.pass_deadline();
    assert!(client.connection.is_closing());
}

/// Every request with every kind of nonsense in its fields: one answer each, and the connection lives on.
#[test]
fn nonsense_in_fields_costs_only_its_request() {
    let house = House::open();
    let mut client = house.client();
    client.send(1, "T", 0, "", b"x");
    let fields = [
        "topic",
        "b",
        "queueId",
        "e",
        "queueOffset",
        "consumerGroup",
        "group",
        "commitOffset",
        "timestamp",
        "offset",
        "delayLevel",
        "sysFlag",
        "f",
        "subVersion",
        "maxMsgNums",
        "maxMsgBytes",
        "suspendTimeoutMillis",
        "clientID",
        "i",
        "d",
        "g",
        "j",
        "l",
        "m",
        "subscription",
        "expressionType",
    ];
    let long = "9".repeat(300);
    let values =
        ["", "-1", "0", "T", "9223372036854775807", "-9223372036854775808", "2147483647", "\\u0000", &long];
    let mut opaque = 1;
    for code in [10, 310, 320, 11, 361, 14, 15, 29, 30, 31, 32, 34, 35, 46, 38, 41, 42, 36, 105, 106] {
        for value in values {
            opaque += 1;
            let nonsense: Vec<String> =
                fields.iter().map(|field| format!(r#""{field}":"{value}""#)).collect();
            client.ask(code, opaque, &nonsense.join(","), br#"{"clientID":"","clientId":"","consumerGroup":"","mqSet":[{"queueId":-5,"topic":""}],"consumerDataSet":[{"groupName":"","subscriptionDataSet":[{"topic":""}]}]}"#);
            let answer = client.next();
            assert_eq!((answer.opaque, answer.flag), (opaque, 1), "{code} {value}: {answer:?}");
        }
    }
    assert_eq!(client.send(opaque + 1, "T", 0, "", b"y").code, 0);
    assert!(client.received().is_none(), "no request was answered twice");
}

#[test]
fn nothing_is_read_while_as_much_is_held_as_may_be() {
    let house = House::open();
    let mut client = house.client();
    client.connection.parked_bytes = PARKED_BYTES_MAX - 1;
    assert!(client.connection.wants_input());
    client.connection.parked_bytes = PARKED_BYTES_MAX;
    assert!(!client.connection.wants_input());
    client.connection.parked_bytes = 0;
    client.connection.promise(OUTPUT_BYTES_MAX - 1);
    assert!(client.connection.wants_input());
    // One byte more is promised: what was sent by then waits, and is answered when there is room.
    client.connection.promise(1);
    assert!(!client.connection.wants_input());
    let mut input = request(105, 1, 0, r#""topic":"TBW102""#, b"");
    client.input(&mut input);
    assert!(client.received().is_none() && !input.is_empty());
    client.connection.end_promise(1);
    client.input(&mut input);
    assert_eq!(client.next().code, 0);
}

#[test]
fn a_connection_has_at_most_so_many_requests_waiting() {
    let house = House::open();
    let mut client = house.client();
    client.send(1, "T", 0, "", b"before");
    for _ in 1..OUTSTANDING_COUNT_MAX {
        client.connection.outstanding.add(Waiting::Nobody);
    }
    assert_eq!(client.send(2, "T", 0, "", b"the last").code, 0);
    let one = client.connection.outstanding.add(Waiting::Nobody);
    let refused = client.send(3, "T", 0, "", b"one more");
    assert_eq!(refused.code, 2, "SYSTEM_BUSY: {refused:?}");
    client.connection.outstanding.take(one);
    let sent = client.send(4, "T", 0, "", b"after");
    assert_eq!((sent.code, field(&sent, "queueOffset")), (0, Some("2")), "the refused one took no offset");
}

#[test]
fn a_connection_remembers_at_most_so_many_topics() {
    let house = House::open();
    let mut client = house.client();
    for number in 0..=TOPIC_CACHE_COUNT_MAX {
        assert_eq!(client.send(1, &format!("T{number}"), 0, "", b"x").code, 0);
    }
    client.connection.topics.clear();
    for number in 0..=TOPIC_CACHE_COUNT_MAX {
        let name = format!("T{number}");
        assert!(client.connection.topic(&name).is_some());
        let expected = if number < TOPIC_CACHE_COUNT_MAX { number + 1 } else { 1 };
        assert_eq!(client.connection.topics.len(), expected, "{name}");
    }
    assert!(client.connection.topic("T0").is_some(), "what is forgotten is looked up again");
}

#[test]
fn a_silent_connection_is_kept_until_its_time_is_over() {
    let house = House::open();
    let mut client = house.client();
    let last = client.connection.last_moved;
    let mut pass = |mono| {
        client.connection.handle_deadline(Now { wall_ms: 0, mono }, &mut client.output);
        client.connection.is_closing()
    };
    assert!(!pass(last + IDLE_SECONDS_MAX - Duration::from_millis(1)));
    assert!(pass(last + IDLE_SECONDS_MAX));
}

/// Bodies of messages with these properties, of which four, as they are stored, fill an answer to its last byte, and the same with one more.
fn quarters(client: &mut Client, properties: &str) -> (Vec<u8>, Vec<u8>) {
    client.send(1, "T", 3, properties, b"");
    let queue = client.connection.topic("T").unwrap().queue(3).unwrap();
    let request = ReadRequest { queue, offset: 0, max_entries: 1, max_bytes: 1, filter: Filter::all() };
    let read = client.connection.session().read(Token(0), request).expect("it is in memory").unwrap();
    let body = vec![b'x'; ANSWER_BYTES_MAX / 4 - read.entries[0].message.len()];
    (body.clone(), [&body[..], b"x"].concat())
}

#[test]
fn an_answer_to_a_pull_has_at_most_so_many_bytes() {
    let house = House::open();
    let mut client = house.client();
    let (body, one_more) = quarters(&mut client, "");
    for (queue, last) in [(0, &body), (1, &one_more)] {
        for body in [&body, &body, &body, last] {
            assert_eq!(client.send(3, "T", queue, "", body).code, 0);
        }
    }
    let fields = |queue: i32, offset: i32| {
        format!(
            r#""consumerGroup":"g","topic":"T","queueId":"{queue}","queueOffset":"{offset}","maxMsgNums":"32","sysFlag":"4","commitOffset":"0","subscription":"*","subVersion":"1","maxMsgBytes":"2147483647""#
        )
    };
    let found = client.call(11, 4, &fields(0, 0), b"");
    assert_eq!(messages(&found).len(), 4);
    assert_eq!(messages(&client.call(11, 5, &fields(1, 0), b"")).len(), 3, "one byte more has no room");
    assert_eq!(bodies(&client.call(11, 6, &fields(1, 3), b"")), [one_more], "it comes with the next");
}

fn found_by_key(client: &mut Client, key: &str, max: i32) -> Seen {
    let fields = format!(
        r#""topic":"T","key":"{key}","maxNum":"{max}","beginTimestamp":"0","endTimestamp":"{}""#,
        i64::MAX
    );
    let found = client.call(12, 1, &fields, b"");
    Seen { remark: Some("FOUND".to_owned()), ..found }
}

#[test]
fn an_answer_to_a_query_has_at_most_so_many_bytes() {
    let house = House::open();
    let mut client = house.client();
    let (body, one_more) = quarters(&mut client, "KEYS=0;");
    for (properties, first) in [("KEYS=1;", &body), ("KEYS=2;", &one_more)] {
        for body in [first, &body, &body, &body] {
            assert_eq!(client.send(3, "T", 0, properties, body).code, 0);
        }
    }
    let found = found_by_key(&mut client, "1", 32);
    assert_eq!(messages(&found).len(), 4);
    let found = found_by_key(&mut client, "2", 32);
    assert_eq!(bodies(&found), [&body[..]; 3], "the oldest has one byte more than there is room for");
}

#[test]
fn an_answer_to_a_query_has_at_most_so_many_messages() {
    let house = House::open();
    let mut client = house.client();
    let limit = i32::try_from(MESSAGES_MAX).unwrap();
    client.send(0, "T", 0, "KEYS=k;", b"");
    let mut input = BytesMut::new();
    for opaque in 0..limit {
        input.extend_from_slice(&request(310, opaque, 0, &send_fields("T", 0, "KEYS=k;"), b""));
    }
    client.input(&mut input);
    (0..limit).for_each(|_| assert_eq!(client.next().code, 0));
    for (max, expected) in [(limit - 1, MESSAGES_MAX - 1), (limit, MESSAGES_MAX), (limit + 1, MESSAGES_MAX)] {
        assert_eq!(messages(&found_by_key(&mut client, "k", max)).len(), expected, "{max}");
    }
}
