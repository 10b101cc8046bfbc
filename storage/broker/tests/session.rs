//! A session against a whole broker in a temporary folder: what depends on its threads and not on the shard alone.

mod rig;

use mailrail_broker::*;
use mailrail_message::StoredMessage;
use rig::{TestClock, draft, events};

/// A broker with twelve messages of a mebibyte in one queue, of which next to nothing is in memory, and a group.
fn cold() -> (tempfile::TempDir, Broker, Session) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::new(folder.path(), TestClock::at(1_700_000_000_000), "boot".into());
    config.log.cache_bytes = 1 << 20;
    let broker = Broker::open(config).unwrap();
    let mut session = broker.connect();
    let settings = TopicSettings { queues: 1, ..TopicSettings::default() };
    session.submit(vec![
        Command::PutTopic { token: Token(1), name: "t".into(), settings, adopt: false },
        Command::PutGroup { token: Token(2), name: "g".into(), settings: Some(GroupSettings::at_once()) },
    ]);
    while broker.directory().group("g").is_none() {
        events(&mut session);
    }
    let topic = broker.directory().topic("t").unwrap().id;
    for number in 0..12u8 {
        let mut batch = PublishBatch::default();
        let destination = Destination::Topic { topic, queue_index: None };
        batch.push(&draft("t", &vec![number; 1 << 20]), destination, 0, Durability::Disk).unwrap();
        session.submit(vec![Command::Publish { token: Token(3), batch }]);
        while !events(&mut session).iter().any(|event| matches!(event, Event::Published { .. })) {}
    }
    (folder, broker, session)
}

/// First bytes of the bodies, and attempts.
fn seen(deliveries: &[Delivery]) -> Vec<(u8, u32)> {
    let first = |delivery: &Delivery| StoredMessage::parse(&delivery.message).unwrap().body()[0];
    deliveries.iter().map(|delivery| (first(delivery), delivery.attempts)).collect()
}

#[test]
fn a_consumer_gets_long_messages_in_pieces_and_in_order() {
    let (_folder, broker, mut session) = cold();
    let (group, topic) = ("g".into(), "t".into());
    let consumer = ConsumerId(7);
    session.submit(vec![Command::Consume {
        token: Token(9),
        consumer,
        group,
        topic,
        credit: 100,
        no_ack: false,
        exclusive: false,
    }]);
    let (mut got, mut pieces) = (Vec::new(), 0);
    while got.len() < 12 {
        for event in events(&mut session) {
            if let Event::Deliveries { deliveries, .. } = event {
                pieces += usize::from(!deliveries.is_empty());
                assert!(deliveries.len() <= 4, "{} mebibytes at once", deliveries.len());
                got.extend(seen(&deliveries));
            }
        }
    }
    assert!(got.into_iter().eq((0..12).map(|number| (number, 0))));
    assert!(pieces >= 3, "{pieces} pieces");
    broker.stop().unwrap();
}

#[test]
fn a_receive_ends_where_one_read_ends_and_the_rest_is_there_uncounted() {
    let (_folder, broker, mut session) = cold();
    let mut got = Vec::new();
    for token in 10..30 {
        let (group, topic) = ("g".into(), "t".into());
        let (max, wait_ms, lease_ms) = (100, 0, 60_000);
        session.submit(vec![Command::Receive { token: Token(token), group, topic, max, wait_ms, lease_ms }]);
        let deliveries = loop {
            let found = events(&mut session).into_iter().find_map(|event| match event {
                Event::Deliveries { deliveries, .. } => Some(deliveries),
                _ => None,
            });
            if let Some(deliveries) = found {
                break deliveries;
            }
        };
        assert!(deliveries.len() <= 4, "{} mebibytes at once", deliveries.len());
        got.extend(seen(&deliveries));
        if got.len() == 12 {
            break;
        }
    }
    got.sort_unstable();
    assert!(got.into_iter().eq((0..12).map(|number| (number, 0))));
    broker.stop().unwrap();
}
