//! What is counted where messages are read and where they are handed over: outside the shard.

mod rig;

use std::net::SocketAddr;

use mailrail_broker::limits::CLIENT_NAME_BYTES_MAX;
use mailrail_broker::*;
use rig::Rig;

fn messages(traffic: Traffic) -> u64 {
    traffic.messages.total
}

fn one_queue() -> TopicSettings {
    TopicSettings { queues: 1, ..TopicSettings::default() }
}

#[test]
fn reads_and_deliveries_are_counted_from_memory_and_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = rig::config(folder.path(), 1_700_000_000_000);
    // All but the newest is read from files.
    config.log.cache_bytes = 1;
    config.log.segment_bytes = 16 << 20;
    let mut rig = Rig::with(config);
    let topic = rig.put_topic("t", one_queue());
    rig.ask(|token| Command::PutGroup { token, name: "g".into(), settings: None });
    let body = vec![7; 1 << 20];
    for _ in 0..9 {
        rig.publish(&topic, &body);
    }
    let queue = topic.queue(0).unwrap();
    assert_eq!(rig.messages(&queue).len(), 9);
    let mut leased = 0;
    while leased < 9 {
        leased += rig.receive("g", "t", 9).len();
    }
    let TopicStatistics { all, queues, refused } = rig.broker.topic_statistics(&topic);
    assert_eq!(queues, [all]);
    assert_eq!((messages(all.received), messages(all.read), messages(all.leased)), (9, 9, 9));
    assert!(all.received.bytes.total > 9 << 20);
    assert_eq!(all.read.bytes.total, all.received.bytes.total);
    assert_eq!(all.leased.bytes.total, all.received.bytes.total);
    assert_eq!(refused, Count::default());
    assert!(all.received.messages.per_second.minute > 0.0);
    let broker = rig.broker.statistics();
    assert_eq!((broker.since_ms, broker.all.read.messages.total), (1_700_000_000_000, 9));
    let group = rig.broker.directory().group("g").unwrap();
    let counted = rig.broker.group_statistics(&group, &topic).handed_out.total;
    assert!(counted >= 9, "{counted}: what one read had no room for went back and came again");
    let totals = rig.broker.totals();
    let [(_, of_topic)] = &totals.topics[..] else { panic!("{totals:?}") };
    let bytes = all.received.bytes.total;
    assert_eq!(*of_topic, [9, bytes, 9, bytes, 9, bytes, 0]);
    let [(_, group, of_group)] = &totals.groups[..] else { panic!("{totals:?}") };
    assert_eq!((&*group.name, of_group[0]), ("g", counted));
    let (of_topic, of_group) = (*of_topic, *of_group);
    rig.ask(|token| Command::DeleteTopic { token, name: "t".into(), if_unused: false, if_empty: false });
    let totals = rig.broker.totals();
    assert_eq!((totals.topics.len(), totals.groups.len()), (0, 0));
    assert_eq!((totals.topics_gone, totals.groups_gone), (of_topic, of_group));
    rig.stop();
}

#[test]
fn clients_are_listed_while_they_are_there_with_what_they_sent_and_got() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(folder.path());
    let topic = rig.put_topic("t", one_queue());
    let address: SocketAddr = "10.0.0.7:4711".parse().unwrap();
    let entry = rig.broker.enter_client("amqp", address);
    let other = rig.broker.enter_client("http", address);
    rig.session.count_for(Some(entry.client().clone()));
    rig.publish(&topic, b"one");
    rig.publish(&topic, b"two");
    rig.read(&topic.queue(0).unwrap(), 0);
    rig.ask(|token| Command::PutGroup { token, name: "g".into(), settings: None });
    assert_eq!(rig.receive("g", "t", 1).len(), 1);
    let listed = rig.broker.clients(0, 10);
    assert_eq!(listed.iter().map(|client| client.protocol).collect::<Vec<_>>(), ["amqp", "http"]);
    assert_eq!((listed[0].address, listed[0].connected_ms), (address, 1_700_000_000_000));
    let (received, sent) = rig.broker.client_traffic(&listed[0]);
    assert_eq!((messages(received), messages(sent)), (2, 3));
    assert!(received.bytes.total > 6 && sent.bytes.total > 9 && sent.bytes.per_second.minute > 0.0);
    assert_eq!(rig.broker.client_traffic(&listed[1]), (Traffic::default(), Traffic::default()));
    assert_eq!(rig.broker.clients(listed[0].number, 10).len(), 1);
    assert_eq!(rig.broker.clients(0, 1).len(), 1);
    drop(entry);
    assert_eq!(rig.broker.clients(0, 10).len(), 1);
    drop(other);
    assert_eq!(rig.broker.clients(0, 10).len(), 0);
    rig.stop();
}

#[test]
fn as_much_is_kept_of_the_name_that_a_client_gives_itself_as_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path());
    let entry = rig.broker.enter_client("amqp", "127.0.0.1:1".parse().unwrap());
    let client = entry.client().clone();
    assert_eq!(client.name(), None);
    client.set_name(&"n".repeat(CLIENT_NAME_BYTES_MAX));
    assert_eq!(client.name().unwrap().len(), CLIENT_NAME_BYTES_MAX);
    client.set_name(&format!("{}\u{20ac}", "n".repeat(CLIENT_NAME_BYTES_MAX - 1)));
    assert_eq!(client.name().unwrap(), "n".repeat(CLIENT_NAME_BYTES_MAX - 1), "no part of a character");
    rig.stop();
}
