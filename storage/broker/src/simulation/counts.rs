//! What the shard counts of topics and groups, and that counting costs as much for a batch as for one message.

use super::*;
use crate::statistics::{Count, group};

const NAMES: [(&str, usize); group::COUNTS] = [
    ("handed out", group::HANDED_OUT),
    ("redelivered", group::REDELIVERED),
    ("settled", group::SETTLED),
    ("retried", group::RETRIED),
    ("given up", group::GIVEN_UP),
];

fn totals<const N: usize>(counts: [Count; N]) -> [u64; N] {
    counts.map(|count| count.total)
}

/// What group `g` did on a topic, without what it did not.
pub(super) fn of_group(sim: &Simulation, topic: &Topic) -> Vec<(&'static str, u64)> {
    let directory = sim.shard.directory();
    let group = directory.group("g").unwrap();
    let meter = directory.statistics().group((topic.id, group.id));
    let counts = meter.map_or([0; group::COUNTS], |meter| totals(meter.read(sim.now.mono, Duration::ZERO)));
    NAMES.iter().map(|(name, at)| (*name, counts[*at])).filter(|(_, count)| *count > 0).collect()
}

/// Messages and bytes that a queue received.
fn received(topic: &Topic, index: u32) -> (u64, u64) {
    let queue = topic.queue(index).unwrap();
    let Some(meter) = queue.meter() else { return (0, 0) };
    let [messages, bytes, ..] = totals(meter.read(Duration::MAX / 2, Duration::ZERO));
    (messages, bytes)
}

fn refused(topic: &Topic) -> u64 {
    let [count] = totals(topic.refused.read(Duration::ZERO, Duration::ZERO));
    count
}

fn scene(settings: TopicSettings) -> (Simulation, Client, Arc<Topic>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", settings);
    let dead_letter = Some("dead".to_owned());
    let group = GroupSettings { attempts_max: Some(1), dead_letter, ..GroupSettings::at_once() };
    sim.make_group(&client, "g", group);
    (sim, client, topic)
}

#[test]
fn each_way_of_a_message_through_a_group_is_counted() {
    let (mut sim, client, topic) = scene(TopicSettings { queues: 2, ..TopicSettings::default() });
    sim.publish(&client, &topic, &["a", "b", "c"]);
    assert_eq!(of_group(&sim, &topic), []);
    let first = sim.receive(&client, "g", "t", 9, 1_000);
    assert_eq!(of_group(&sim, &topic), [("handed out", 3)]);
    sim.settle(&client, &first[..1], Outcome::Ack);
    sim.settle(&client, &first[..1], Outcome::Ack);
    sim.settle(&client, &first[1..2], Outcome::Release);
    assert_eq!(
        of_group(&sim, &topic),
        [("handed out", 3), ("settled", 1)],
        "one acknowledgement was too many"
    );
    sim.settle(&client, &first[2..], Outcome::Retry { delay_ms: None });
    let again = sim.receive(&client, "g", "t", 9, 1_000);
    let expected = [("handed out", 5), ("redelivered", 1), ("settled", 1), ("retried", 1)];
    assert_eq!((again.len(), of_group(&sim, &topic)), (2, expected.to_vec()));
    // One has failed before and is given up now; the other one comes back.
    sim.pass_ms(1_000);
    let expected = [("handed out", 5), ("redelivered", 1), ("settled", 1), ("retried", 2), ("given up", 1)];
    assert_eq!(of_group(&sim, &topic), expected);
    let dead = sim.topic("dead");
    assert_eq!(received(&dead, 0).0, 1, "a dead letter is received like any other message");
}

#[test]
fn consumers_without_acknowledgement_settle_at_once_and_commits_settle_what_they_pass() {
    let (mut sim, client, topic) = scene(TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.publish(&client, &topic, &["a", "b", "c", "d"]);
    let (group, name, queue) = (Name::from("g"), Name::from("t"), topic.queue(0).unwrap().id);
    let token = client.token();
    sim.tell(&client, Command::Get { token, group: group.clone(), topic: name, no_ack: true });
    sim.events(&client);
    assert_eq!(of_group(&sim, &topic), [("handed out", 1), ("settled", 1)]);
    for (offset, settled) in [(3, 3), (3, 3), (1, 3), (4, 6)] {
        let (group, commits) = (group.clone(), vec![(queue, offset)]);
        sim.ask(&client, |token| Command::Commit { token: Some(token), group, commits }).unwrap();
        assert_eq!(of_group(&sim, &topic)[1], ("settled", settled), "after a commit of {offset}");
    }
}

#[test]
fn queues_count_what_they_get_and_topics_what_they_refuse() {
    let limited = super::expiry::policy(&[(LENGTH_MAX, "2"), (OVERFLOW, "reject-publish")]);
    let (mut sim, client, topic) = scene(limited);
    let results = sim.publish(&client, &topic, &["a", "bc", "d", "e"]);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2);
    let bytes: usize = ["a", "bc"]
        .iter()
        .map(|body| {
            let mut batch = PublishBatch::default();
            let destination = Destination::Topic { topic: topic.id, queue_index: None };
            batch.push(&draft("t", body), destination, 0, Durability::Disk).unwrap();
            batch.items[0].message_len
        })
        .sum();
    assert_eq!((received(&topic, 0), refused(&topic)), ((2, bytes as u64), 2));
    let directory = sim.shard.directory();
    let [messages, all_bytes, ..] = totals(directory.statistics().all.read(Duration::ZERO, Duration::ZERO));
    assert_eq!((messages, all_bytes), (2, bytes as u64));
    // What reaches no topic is counted for the broker alone.
    let mut batch = PublishBatch::default();
    batch.push(&draft("t", "x"), Destination::Topics(Vec::new()), 0, Durability::Disk).unwrap();
    assert_eq!(sim.send(&client, batch), [Err(Error::Unroutable)]);
    let all_refused = || {
        let [all] = totals(directory.statistics().refused.read(Duration::ZERO, Duration::ZERO));
        all
    };
    assert_eq!((refused(&topic), all_refused()), (2, 3));
    // Of what is stored together, whatever refuses one message refuses all.
    let other = sim.make_topic(&client, "other", TopicSettings { queues: 1, ..TopicSettings::default() });
    let mut batch = PublishBatch::default();
    for topic in [&topic, &other] {
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        batch.push(&draft(&topic.name, "x"), destination, 0, Durability::Disk).unwrap();
    }
    let together = |token| Command::PublishTogether { token, batch, settlements: Vec::new() };
    assert!(matches!(sim.ask(&client, together), Err(Error::Full { .. })));
    assert_eq!((refused(&topic), refused(&other), all_refused()), (3, 1, 5));
    let mut batch = PublishBatch::default();
    batch.push(&draft("t", "x"), Destination::Topics(Vec::new()), 0, Durability::Disk).unwrap();
    let together = |token| Command::PublishTogether { token, batch, settlements: Vec::new() };
    assert!(matches!(sim.ask(&client, together), Ok(Reply::Together(_))));
    assert_eq!(all_refused(), 6);
    // One that reaches several topics is refused by those that are full.
    let target = BindTarget::Topic("t".into());
    let bind = |token| Command::Bind {
        token,
        source: "other".into(),
        target,
        key: "#".into(),
        attributes: bytes::Bytes::new(),
    };
    sim.ask(&client, bind).unwrap();
    assert!(matches!(sim.publish(&client, &other, &["x"])[..], [Err(Error::Full { .. })]));
    assert_eq!((received(&other, 0).0, refused(&topic), refused(&other), all_refused()), (1, 4, 1, 7));
}

#[test]
fn what_is_sent_to_a_broker_that_stops_is_counted_as_refused() {
    let (mut sim, client, topic) = scene(TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.input(Input::Stop);
    assert_eq!(sim.publish(&client, &topic, &["a", "b"]), [Err(Error::Stopping), Err(Error::Stopping)]);
    // It is shown at the end of a turn, as everything is.
    assert_eq!((refused(&topic), received(&topic, 0)), (2, (0, 0)));
}

#[test]
fn a_group_that_is_forgotten_and_a_topic_that_is_made_anew_begin_at_nothing() {
    let (mut sim, client, topic) = scene(TopicSettings { queues: 1, ..TopicSettings::default() });
    let consume = |sim: &mut Simulation, topic: &Topic| {
        sim.publish(&client, topic, &["a"]);
        let got = sim.receive(&client, "g", "t", 1, 60_000);
        sim.settle(&client, &got, Outcome::Ack);
        assert_eq!(of_group(sim, topic), [("handed out", 1), ("settled", 1)]);
    };
    consume(&mut sim, &topic);
    let forget = |token| Command::DeleteGroup { token, group: "g".into(), topic: "t".into() };
    sim.ask(&client, forget).unwrap();
    assert_eq!(of_group(&sim, &topic), []);
    sim.ask(&client, |token| Command::PutGroup { token, name: "g".into(), settings: None }).unwrap();
    let delete = |token| Command::DeleteTopic { token, name: "t".into(), if_unused: false, if_empty: false };
    sim.ask(&client, delete).unwrap();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    assert_eq!(received(&topic, 0), (0, 0));
    consume(&mut sim, &topic);
    assert_eq!(sim.shard.directory().statistics().group_totals().0.len(), 1);
}

#[test]
fn what_nobody_uses_has_no_history() {
    let (mut sim, client, topic) = scene(TopicSettings { queues: 3, ..TopicSettings::default() });
    let mut batch = PublishBatch::default();
    let destination = Destination::Topic { topic: topic.id, queue_index: Some(1) };
    batch.push(&draft("t", "m"), destination, 0, Durability::Disk).unwrap();
    sim.send(&client, batch);
    let has_history = |index| topic.queue(index).unwrap().meter().is_some_and(|meter| meter.has_history());
    assert_eq!([has_history(0), has_history(1), has_history(2)], [false, true, false]);
}

#[test]
fn light_queues_and_their_groups_take_no_memory_for_counts() {
    let attributes = [(crate::lite::LITE.to_owned(), "true".to_owned())];
    let settings = TopicSettings { queues: 1, attributes: attributes.into(), ..TopicSettings::default() };
    let (mut sim, client, topic) = scene(settings);
    let mut batch = PublishBatch::default();
    let destination = Destination::Topic { topic: topic.id, queue_index: None };
    let properties = format!("{}\u{1}%LMQ%lamp\u{2}", property::LITE_QUEUES);
    let draft = Draft { properties: properties.as_bytes(), ..draft("t", "m") };
    batch.push(&draft, destination, 0, Durability::Disk).unwrap();
    sim.send(&client, batch).remove(0).unwrap();
    let lamp = sim.topic("%LMQ%lamp");
    let got = sim.receive(&client, "g", "%LMQ%lamp", 1, 60_000);
    assert_eq!(sim.settle(&client, &got, Outcome::Ack), [Ok(())]);
    assert_eq!((received(&topic, 0).0, lamp.queue(0).unwrap().meter().is_none()), (1, true));
    assert_eq!(of_group(&sim, &lamp), []);
    let [messages, ..] = totals(sim.shard.directory().statistics().all.read(Duration::ZERO, Duration::ZERO));
    assert_eq!(messages, 2, "the broker counts the message in each queue");
}
