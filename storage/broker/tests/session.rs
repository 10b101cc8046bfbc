//! A session against a whole broker in a temporary folder: what depends on its threads and not on the shard alone.

mod rig;

use std::path::Path;

use mailrail_broker::limits::*;
use mailrail_broker::*;
use mailrail_message::StoredMessage;
use rig::{TestClock, draft, events};

fn open(folder: &Path, store_engine: StoreEngine) -> Broker {
    Broker::open(config(folder, store_engine)).unwrap()
}

fn config(folder: &Path, store_engine: StoreEngine) -> BrokerConfig {
    let mut config = BrokerConfig::new(folder, TestClock::at(1_700_000_000_000), "boot".into());
    config.log.cache_bytes = 1 << 20;
    config.log.segment_bytes = 16 << 20;
    config.checkpoint_log_bytes = 1 << 20;
    config.store_engine = store_engine;
    config
}

/// A broker with twelve messages of a mebibyte in one queue, of which next to nothing is in memory, and a group.
fn cold() -> (tempfile::TempDir, Broker, Session) {
    cold_with(1 << 20)
}

fn cold_with(body_bytes: usize) -> (tempfile::TempDir, Broker, Session) {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path(), StoreEngine::default());
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
        batch.push(&draft("t", &vec![number; body_bytes]), destination, 0, Durability::Disk).unwrap();
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
        priority: 0,
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
        session.submit(vec![Command::Receive {
            token: Token(token),
            group,
            topic,
            max,
            wait_ms,
            lease_ms,
            filter: None,
        }]);
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

fn reply(session: &mut Session, command: Command) -> Reply {
    session.submit(vec![command]);
    next_reply(session)
}

fn next_reply(session: &mut Session) -> Reply {
    loop {
        for event in events(session) {
            if let Event::Reply { result, .. } = event {
                return result.unwrap();
            }
        }
    }
}

/// Publishes messages of one number to topic `t`, in batches.
fn publish(broker: &Broker, session: &mut Session, number: u16, count: usize) {
    let topic = broker.directory().topic("t").unwrap().id;
    for _ in 0..count.div_ceil(500) {
        let mut batch = PublishBatch::default();
        for _ in 0..500 {
            let destination = Destination::Topic { topic, queue_index: None };
            batch
                .push(&draft("t", &number.to_be_bytes().repeat(500)), destination, 0, Durability::Disk)
                .unwrap();
        }
        session.submit(vec![Command::Publish { token: Token(3), batch }]);
        while !events(session).iter().any(|event| matches!(event, Event::Published { .. })) {}
    }
}

/// What a restart must not change.
#[derive(Debug, PartialEq)]
struct Kept {
    topics: Vec<String>,
    groups: Vec<String>,
    /// The position of group `g`.
    position: Option<u64>,
    /// Offsets and first bytes of what topic `t` holds.
    messages: Vec<(u64, u16)>,
}

fn kept(broker: &Broker, session: &mut Session) -> Kept {
    let queue = broker.directory().topic("t").unwrap().queue(0).unwrap();
    let committed = Command::Committed { token: Token(4), group: "g".into(), queues: vec![queue.id] };
    let Reply::Offsets(positions) = reply(session, committed) else { panic!("offsets were asked for") };
    let mut messages = Vec::new();
    let mut offset = queue.min_offset();
    while offset < queue.end_offset() {
        let request = ReadRequest {
            queue: queue.clone(),
            offset,
            max_entries: 1_000,
            max_bytes: 1 << 20,
            filter: Filter::all(),
        };
        let read = session.read(Token(5), request).unwrap_or_else(|| {
            loop {
                let read = events(session).into_iter().find_map(|event| match event {
                    Event::Read { result, .. } => Some(result),
                    _ => None,
                });
                if let Some(result) = read {
                    break result;
                }
            }
        });
        let read = read.unwrap();
        assert!(read.next_offset > offset, "offset {offset} cannot be read");
        for entry in &read.entries {
            let message = StoredMessage::parse(&entry.message).unwrap();
            messages.push((entry.offset, u16::from_be_bytes(*message.body().first_chunk().unwrap())));
        }
        offset = read.next_offset;
    }
    let mut topics: Vec<_> = broker.directory().topics().iter().map(|topic| topic.name.to_string()).collect();
    let mut groups: Vec<_> = broker.directory().groups().iter().map(|group| group.name.to_string()).collect();
    topics.sort();
    groups.sort();
    Kept { topics, groups, position: positions[0], messages }
}

fn stores(folder: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("store")).collect()
}

#[test]
fn another_engine_of_the_store_holds_what_the_last_one_did() {
    let folder = tempfile::tempdir().unwrap();
    let mut before: Option<Kept> = None;
    let engines =
        [StoreEngine::Sled, StoreEngine::Redb, StoreEngine::Redb, StoreEngine::Sled, StoreEngine::Redb];
    for (round, engine) in (0u16..).zip(engines) {
        let broker = open(folder.path(), engine);
        let name = if engine == StoreEngine::Redb { "store.redb" } else { "store" };
        assert_eq!(stores(folder.path()), [name], "round {round}");
        let mut session = broker.connect();
        match before {
            Some(before) => assert_eq!(kept(&broker, &mut session), before, "round {round}, {engine:?}"),
            None => {
                let settings = TopicSettings { queues: 1, ..TopicSettings::default() };
                let name = "t".into();
                reply(&mut session, Command::PutTopic { token: Token(1), name, settings, adopt: false });
                let settings = Some(GroupSettings::at_once());
                reply(&mut session, Command::PutGroup { token: Token(2), name: "g".into(), settings });
            }
        }
        // More than a block of the index, so that the store holds one beside the checkpoint.
        publish(&broker, &mut session, round, 5_000);
        let name = format!("made in round {round}").into();
        let settings = TopicSettings::default();
        reply(&mut session, Command::PutTopic { token: Token(6), name, settings, adopt: false });
        let queue = broker.directory().topic("t").unwrap().queue(0).unwrap();
        let commits = vec![(queue.id, queue.end_offset() - 7)];
        reply(&mut session, Command::Commit { token: Some(Token(7)), group: "g".into(), commits });
        if round == 3 {
            // The start of the log goes: what was there has to come from a snapshot.
            broker.trim_log(&session, Token(8), 20 << 20);
            let trimmed = next_reply(&mut session);
            assert!(matches!(trimmed, Reply::Count(start) if start > 0), "{trimmed:?}");
        }
        before = Some(kept(&broker, &mut session));
        drop(session);
        broker.stop().unwrap();
    }
    let last = before.unwrap();
    assert_eq!((last.topics.len(), last.groups, last.position), (6, vec!["g".to_owned()], Some(24_993)));
    assert_eq!(last.messages.last(), Some(&(24_999, 4)));
}

#[test]
fn whoever_asks_for_messages_waits_while_too_many_are_on_their_way() {
    let (folder, broker, session) = cold();
    drop(session);
    broker.stop().unwrap();
    drop(broker);
    let mut config = config(folder.path(), StoreEngine::default());
    config.delivery_bytes_max = 1 << 20;
    let broker = Broker::open(config).unwrap();
    assert_eq!(broker.delivery_step_bytes_max(), DELIVERY_STEP_BYTES_MIN);
    let queue = broker.directory().topic("t").unwrap().queue(0).unwrap();
    let request =
        ReadRequest { queue, offset: 0, max_entries: 10, max_bytes: 4 << 20, filter: Filter::all() };
    let is_read =
        |event: &Event| matches!(event, Event::Read { result: Ok(batch), .. } if batch.entries.len() == 1);

    let mut hog = broker.connect();
    assert!(hog.read(Token(1), request.clone()).is_none());
    assert!(events(&mut hog).iter().all(is_read), "one long message, however little room there is");
    assert!(broker.deliveries().is_used_up());
    let mut reader = broker.connect();
    assert!(reader.read(Token(1), request).is_none());
    let mut consumer = broker.connect();
    consumer.submit(vec![Command::Receive {
        token: Token(1),
        group: "g".into(),
        topic: "t".into(),
        max: 10,
        wait_ms: 0,
        lease_ms: 60_000,
        filter: None,
    }]);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let mut none = Vec::new();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(reader.poll_events(&mut context, &mut none).is_pending());
    assert!(consumer.poll_events(&mut context, &mut none).is_pending());

    // It has written what it was given.
    hog.keep_held(0);
    assert!(events(&mut reader).iter().all(is_read));
    drop(reader);
    let received = events(&mut consumer);
    assert!(
        matches!(&received[..], [Event::Deliveries { deliveries, .. }] if deliveries.len() == 1),
        "{received:?}"
    );
    drop(consumer);
    assert_eq!(broker.deliveries().bytes(), 0, "who has gone holds nothing");
    broker.stop().unwrap();
}

#[test]
fn a_read_from_the_disk_brings_no_more_than_lets_the_others_have_their_turn() {
    let read = |body_bytes| {
        let (_folder, broker, mut session) = cold_with(body_bytes);
        let queue = broker.directory().topic("t").unwrap().queue(0).unwrap();
        let max_bytes = READ_BYTES_MAX;
        let request = ReadRequest { queue, offset: 0, max_entries: 10, max_bytes, filter: Filter::all() };
        assert!(session.read(Token(1), request).is_none());
        let event = events(&mut session).pop();
        let Some(Event::Read { result: Ok(batch), .. }) = event else { panic!("{event:?}") };
        batch.entries.iter().map(|entry| entry.message.len()).collect::<Vec<_>>()
    };
    let quarter = DISK_READ_BYTES_MAX / 4;
    let around = read(quarter)[0] - quarter;
    assert_eq!(read(quarter - around), [quarter; 4]);
    assert_eq!(read(quarter - around + 1), [quarter + 1; 3]);
}

#[test]
fn messages_on_their_way_and_publishes_are_counted_up_to_their_limits() {
    let (_folder, broker, _session) = cold();
    for (share, max) in [(broker.deliveries(), DELIVERY_BYTES_MAX), (broker.in_flight(), IN_FLIGHT_BYTES_MAX)]
    {
        let mut held = Held::new(share.clone(), max);
        assert!(!share.is_used_up());
        held.set(max + 1);
        assert!(share.is_used_up());
    }
    assert!(!broker.connect().is_congested());
}
