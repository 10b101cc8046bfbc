//! Withdrawing a message before its time, by the handle of its send.

use super::*;
use crate::codec::command::RecallHandle;

fn recall(client: &mut Client, topic: &str, handle: &str) -> Seen {
    let fields = format!(r#""producerGroup":"p","topic":"{topic}","recallHandle":"{handle}""#);
    client.call(370, 9, &fields, b"")
}

#[test]
fn a_message_is_recalled_once_by_its_handle() {
    let house = House::open();
    let mut client = house.client();
    let sent = client.send(1, "T", 0, "UNIQ_KEY=FD00;TIMER_DELAY_SEC=3600;", b"never");
    let handle = field(&sent, "recallHandle").expect("a message that waits has a handle").to_owned();
    let RecallHandle { topic, broker_name, unique, .. } = RecallHandle::decode(&handle).unwrap();
    assert_eq!((topic.as_str(), broker_name.as_str(), unique.as_str()), ("T", "mailrail", "FD00"));
    let recalled = recall(&mut client, "T", &handle);
    assert_eq!((recalled.code, field(&recalled, "msgId")), (0, Some("FD00")), "{recalled:?}");
    let again = recall(&mut client, "T", &handle);
    assert_eq!((again.code, again.remark.unwrap().contains("no message waits")), (604, true));
    let level = client.send(2, "T", 0, "DELAY=18;", b"by level");
    let handle = field(&level, "recallHandle").unwrap().to_owned();
    assert_eq!(recall(&mut client, "T", &handle).code, 0);
}

#[test]
fn what_does_not_wait_is_not_recalled_and_says_why() {
    let house = House::open();
    let mut client = house.client();
    let plain = client.send(1, "T", 0, "UNIQ_KEY=FD00;", b"x");
    assert_eq!(field(&plain, "recallHandle"), None);
    let position = field(&plain, "msgId").unwrap().parse::<OffsetId>().unwrap().position;
    let past = client.send(2, "T", 0, "TIMER_DELIVER_MS=1000;", b"its time has passed");
    assert_eq!((field(&past, "recallHandle"), field(&past, "queueOffset")), (None, Some("1")));
    client.send(3, "U", 0, "", b"another topic");
    let handle = |topic: &str, broker_name: &str, position: u64| {
        let (topic, broker_name) = (topic.to_owned(), broker_name.to_owned());
        RecallHandle { topic, broker_name, due_ms: 1, unique: "FD00".into(), position }.encode().unwrap()
    };
    for (topic, handle, code, remark) in [
        ("T", handle("T", "mailrail", position), 604, "no message waits"),
        ("T", handle("T", "mailrail", u64::MAX), 604, "no message waits"),
        ("T", handle("T", "mailrail", position + 8), 604, "no message waits"),
        ("U", handle("T", "mailrail", position), 604, "do not match"),
        ("T", handle("T", "another", position), 604, "another broker"),
        ("T", "djEgVA".to_owned(), 604, "handle is invalid"),
        ("V", handle("V", "mailrail", position), 17, "topic[V] not exist"),
    ] {
        let answer = recall(&mut client, topic, &handle);
        assert_eq!(answer.code, code, "{answer:?}");
        assert!(answer.remark.as_deref().unwrap().contains(remark), "{answer:?}");
    }
    assert_eq!(client.call(370, 5, r#""topic":"T""#, b"").code, 1, "it has no handle");
}

#[test]
fn the_brokers_own_table_says_what_a_delay_level_means() {
    let house = House::open();
    let mut config = RemotingConfig::new("127.0.0.1:9876".parse().unwrap(), "DefaultCluster", "mailrail");
    config.delay_levels = "2h 1d".parse().unwrap();
    let mut client = house.client_of(Arc::new(config));
    for (level, expected_ms) in [(1, 7_200_000), (2, 86_400_000), (18, 86_400_000)] {
        let before = house.broker.now().wall_ms;
        let sent = client.send(level, "T", 0, &format!("DELAY={level};"), b"x");
        let due_ms = RecallHandle::decode(field(&sent, "recallHandle").unwrap()).unwrap().due_ms;
        assert!((before..=house.broker.now().wall_ms).contains(&(due_ms - expected_ms)), "level {level}");
    }
}
