//! A data folder of format 1: a log of the first kinds of records.
mod fixture;
mod rig;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use fixture::*;
use mailrail_broker::*;
use rig::*;

const FORMAT_1: Fixture = Fixture { version: 1, waiting: 1, furnish, described };

/// Fills a folder with all that a log can hold: a start that was trimmed behind a snapshot, topics of each kind, groups
/// with positions, runs settled out of order and failed attempts, exchanges with bindings, messages in several queues,
/// messages that wait, and a gap that a restart of the machine left.
fn furnish(folder: &Path) {
    let crashed = tempfile::tempdir().unwrap();
    let mut rig = Rig::at(crashed.path(), WALL_MS);
    let old = fill(&mut rig, "old");
    let attributes = [("made by".to_owned(), "format 1".to_owned())].into();
    let orders = rig.put_topic("orders", TopicSettings { queues: 2, attributes, ..TopicSettings::default() });
    let settled = rig.put_topic("settled", TopicSettings::settled_queue());
    rig.put_topic("deleted", TopicSettings::default());
    rig.ask(|token| Command::DeleteTopic {
        token,
        name: "deleted".into(),
        if_unused: false,
        if_empty: false,
    });
    for (name, kind) in
        [("direct", ExchangeKind::Direct), ("fanout", ExchangeKind::Fanout), ("topic", ExchangeKind::Topic)]
    {
        rig.ask(|token| Command::PutExchange { token, name: name.into(), settings: exchange(kind) });
    }
    for (source, key, target) in [
        ("direct", "key", "orders"),
        ("fanout", "", "orders"),
        ("fanout", "", "settled"),
        ("topic", "eu.*", "settled"),
    ] {
        rig.ask(|token| Command::Bind {
            token,
            source: source.into(),
            target: BindTarget::Topic(target.into()),
            key: key.into(),
            attributes: Default::default(),
        });
    }
    let patient = GroupSettings {
        attempts_max: Some(3),
        backoff_ms: vec![10, 20],
        dead_letter: Some("dead".to_owned()),
        ..GroupSettings::at_once()
    };
    for (name, settings) in [("at once", GroupSettings::at_once()), ("patient", patient)] {
        rig.ask(|token| Command::PutGroup { token, name: name.into(), settings: Some(settings) });
    }
    let before = rig.publish(&old, b"the last old one").position;
    for number in 0..8 {
        rig.publish(&orders, format!("order {number}").as_bytes());
    }
    settle_some(&mut rig);
    trim(&mut rig, crashed.path(), before);

    let fanout = rig.broker.directory().exchange("fanout").unwrap().id;
    let everywhere = Destination::Exchange { exchange: fanout, keys: [Default::default()].into() };
    assert_eq!(rig.publish_to(everywhere, "fanout", b"to all").queues, 2);
    rig.publish(&settled, b"kept until it is settled");
    rig.publish_due(&orders, b"waited an hour", DUE_MS);
    // Seen before it was synced, as far as the next start of the machine can tell.
    let destination = Destination::Topic { topic: orders.id, queue_index: Some(1) };
    rig.publish_memory(destination, "orders", b"perhaps unsynced");
    copy(crashed.path(), folder);
    rig.stop();

    let config = BrokerConfig { boot: "another boot".into(), ..config(folder, WALL_MS) };
    let mut rig = Rig::with(config);
    let orders = rig.broker.directory().topic("orders").unwrap();
    let destination = Destination::Topic { topic: orders.id, queue_index: Some(1) };
    rig.publish_to(destination, "orders", b"behind the gap");
    rig.stop();
}

fn exchange(kind: ExchangeKind) -> ExchangeSettings {
    ExchangeSettings {
        kind,
        lifetime: Lifetime::Durable,
        delete_when_unused: false,
        internal: false,
        attributes: Default::default(),
    }
}

/// Of eight orders: 1 and 3 are settled before 0, which failed once; the others were never handed out.
fn settle_some(rig: &mut Rig) {
    rig.ask(|token| Command::Seek {
        token,
        group: "at once".into(),
        topic: "orders".into(),
        to: SeekTo::Earliest,
    });
    let taken: Vec<_> = rig.receive("at once", "orders", 4).iter().map(|delivery| delivery.receipt).collect();
    assert_eq!(taken.len(), 4);
    rig.settle(vec![taken[1], taken[3]], Outcome::Ack);
    rig.settle(vec![taken[0]], Outcome::Retry { delay_ms: None });
    rig.settle(vec![taken[2]], Outcome::Release);
    let orders = rig.broker.directory().topic("orders").unwrap();
    let commits = vec![(orders.queue(0).unwrap().id, 5)];
    rig.ask(|token| Command::Commit { token: Some(token), group: "patient".into(), commits });
}

/// All that a broker on the folder shows once the waiting messages were seen, as text.
fn described(folder: &Path) -> String {
    let mut rig = reopened(folder);
    let orders = rig.broker.directory().topic("orders").unwrap();
    let (queue, since) = (orders.queue(0).unwrap(), Instant::now());
    while !rig.messages(&queue).iter().any(|(_, body)| body == b"waited an hour") {
        assert!(since.elapsed() < PATIENCE, "the waiting message was not seen");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut text = String::new();
    for topic in rig.broker.directory().topics() {
        let settings = topic.settings();
        let (retention, lifetime, attributes) = (settings.retention, settings.lifetime, &settings.attributes);
        writeln!(text, "topic {}: {retention:?}, {lifetime:?}, {attributes:?}", topic.name).unwrap();
        for queue in topic.queues().iter() {
            writeln!(text, "  queue {}: {} to {}", queue.index, queue.min_offset(), queue.end_offset())
                .unwrap();
            for (offset, body) in rig.messages(queue) {
                let body = String::from_utf8(body).unwrap();
                writeln!(text, "    {offset}: {}, {} bytes", &body[..body.len().min(24)], body.len())
                    .unwrap();
            }
        }
    }
    for group in rig.broker.directory().groups() {
        let GroupSettings { attempts_max, backoff_ms, dead_letter, .. } = &*group.settings();
        writeln!(text, "group {}: {attempts_max:?}, {backoff_ms:?}, {dead_letter:?}", group.name).unwrap();
        let (name, topic) = (group.name.clone(), "orders".into());
        if let Reply::Group(view) = rig.ask(|token| Command::GroupState { token, group: name, topic }) {
            for queue in view.queues {
                let (committed, end, lag) = (queue.committed, queue.end, queue.lag);
                writeln!(text, "  orders/{}: {committed} of {end}, {lag} left", queue.queue_index).unwrap();
            }
        }
        for delivery in rig.receive(&group.name, "orders", 100) {
            let (queue, attempts) = (delivery.queue_index, delivery.attempts);
            writeln!(text, "    gets {queue}/{}, attempts {attempts}", delivery.receipt.offset).unwrap();
        }
    }
    for exchange in rig.broker.directory().exchanges() {
        writeln!(text, "exchange {}: {:?}", exchange.name, exchange.settings.kind).unwrap();
        for key in ["key", "eu.new", "us.new"] {
            let destination =
                Destination::Exchange { exchange: exchange.id, keys: [key.as_bytes().into()].into() };
            writeln!(text, "  {key} goes to {} queues", rig.queues_reached(destination)).unwrap();
        }
    }
    rig.stop();
    text
}

#[test]
fn a_folder_of_format_1_has_what_it_had() {
    FORMAT_1.check();
}

#[test]
fn a_log_of_format_1_is_enough() {
    FORMAT_1.check_without_store();
}
