//! Light queues, as RocketMQ clients name and read them.

use mailrail_broker::{Command, Event, Reply, Token, TopicSettings, lite};

use super::*;

/// Makes a topic that may have light queues.
fn parent(house: &House, name: &str) {
    let mut session = house.broker.connect();
    let attributes = [(lite::LITE.to_owned(), "true".to_owned())].into();
    let settings = TopicSettings { queues: 4, attributes, ..TopicSettings::default() };
    session.submit(vec![Command::PutTopic { token: Token(1), name: name.into(), settings, adopt: false }]);
    let waker = std::task::Waker::noop();
    let (mut events, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while session.poll_events(&mut Context::from_waker(waker), &mut events).is_pending() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(events[..], [Event::Reply { result: Ok(Reply::Topic { .. }), .. }]), "{events:?}");
}

#[test]
fn a_message_is_pulled_from_its_light_queues_and_tells_its_offsets_there() {
    let house = House::open();
    parent(&house, "T");
    let mut client = house.client();
    let named = "TAGS=t;INNER_MULTI_DISPATCH=%LMQ%a,%LMQ%b;INNER_MULTI_QUEUE_OFFSET=7,7;";
    client.send(1, "T", 1, "TAGS=t;INNER_MULTI_DISPATCH=%LMQ%b;", b"first");
    let sent = client.send(2, "T", 2, named, b"second");
    assert_eq!((sent.code, field(&sent, "queueId"), field(&sent, "queueOffset")), (0, Some("2"), Some("0")));
    for (topic, queue, offset, seen) in [
        ("T", 2, 0, vec!["second"]),
        ("%LMQ%a", 0, 0, vec!["second"]),
        ("%LMQ%b", 0, 0, vec!["first", "second"]),
    ] {
        client.pull(9, topic, queue, offset, "*");
        let answer = client.next();
        let messages = messages(&answer);
        let bodies: Vec<&str> = messages.iter().map(|m| std::str::from_utf8(m.body()).unwrap()).collect();
        assert_eq!(bodies, seen, "{topic}");
        let last = messages.last().unwrap();
        let expected_offset = u64::try_from(seen.len()).unwrap() - 1;
        assert_eq!((last.topic(), last.queue_offset()), (topic, expected_offset));
        assert_eq!(last.properties().get("INNER_MULTI_DISPATCH"), Some("%LMQ%a,%LMQ%b"));
        assert_eq!(last.properties().get("INNER_MULTI_QUEUE_OFFSET"), Some("0,1"));
    }
    let route = client.call(105, 3, r#""topic":"%LMQ%a""#, b"");
    let route = String::from_utf8(route.body.to_vec()).unwrap();
    assert!(route.contains(r#""readQueueNums":1"#), "{route}");
}

#[test]
fn names_that_cannot_be_are_refused_and_what_is_sent_again_goes_nowhere_else() {
    let house = House::open();
    parent(&house, "T");
    let mut client = house.client();
    client.send(1, "plain", 0, "", b"x");
    for (topic, names, remark) in [
        ("plain", "%LMQ%a", "the attribute lite"),
        ("T", "a", "does not begin with %LMQ%"),
        ("T", "T", "does not begin with %LMQ%"),
    ] {
        let sent = client.send(2, topic, 0, &format!("INNER_MULTI_DISPATCH={names};"), b"x");
        assert!(sent.code == 29 && sent.remark.as_deref().unwrap().contains(remark), "{sent:?}");
    }
    let sent = client.send(3, "%LMQ%new", 0, "", b"x");
    assert_eq!(sent.code, 29, "nobody but a message makes one: {sent:?}");
    let sent = client.send(4, "%RETRY%g", 0, "INNER_MULTI_DISPATCH=%LMQ%a;", b"x");
    assert_eq!(sent.code, 0, "{sent:?}");
    assert!(house.broker.directory().topic("%LMQ%a").is_none());
}
