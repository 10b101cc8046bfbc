//! Messages and the ends of leases that are stored together: all of it is there, or nothing.

use super::expiry::policy;
use super::*;
use crate::limits::*;

fn scene() -> (Simulation, Client) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    for name in ["a", "b", "q"] {
        let settings = if name == "q" {
            TopicSettings::settled_queue()
        } else {
            TopicSettings { queues: 1, ..TopicSettings::default() }
        };
        sim.make_topic(&client, name, settings);
    }
    sim.make_group(&client, "q", GroupSettings::at_once());
    (sim, client)
}

/// Messages to topics by their names.
fn batch(sim: &Simulation, messages: &[(&str, &str)]) -> PublishBatch {
    let mut batch = PublishBatch::default();
    for (name, body) in messages {
        let topic = sim.shard.directory().topic(name).map_or(TopicId(u64::MAX), |topic| topic.id);
        let destination = Destination::Topic { topic, queue_index: None };
        batch.push(&draft(name, body), destination, tag_hash("t"), Durability::Disk).unwrap();
    }
    batch
}

fn store(
    sim: &mut Simulation,
    client: &Client,
    batch: PublishBatch,
    settlements: Vec<(Vec<Receipt>, Outcome)>,
) -> Result<Vec<Result<Stored, Error>>, Error> {
    match sim.ask(client, |token| Command::PublishTogether { token, batch, settlements })? {
        Reply::Together(results) => Ok(results),
        other => panic!("{other:?}"),
    }
}

fn seen(sim: &Simulation, topic: &str) -> Vec<String> {
    sim.read(topic, 0, 0).into_iter().map(|(_, body)| body).collect()
}

#[test]
fn messages_go_to_all_their_topics_and_leases_end_with_them() {
    let (mut sim, client) = scene();
    let queue = sim.topic("q");
    sim.publish(&client, &queue, &["one", "two", "three"]);
    let held = sim.receive(&client, "q", "q", 3, 60_000);
    let receipts = |range: std::ops::Range<usize>| held[range].iter().map(|held| held.receipt).collect();
    let settlements = vec![(receipts(0..2), Outcome::Ack), (receipts(2..3), Outcome::Release)];
    let messages = batch(&sim, &[("a", "1"), ("b", "2"), ("a", "3")]);
    let results = store(&mut sim, &client, messages, settlements).unwrap();
    let offsets: Vec<Option<u64>> = results.into_iter().map(|stored| stored.unwrap().offset).collect();
    assert_eq!(offsets, [Some(0), Some(0), Some(1)]);
    assert_eq!((seen(&sim, "a"), seen(&sim, "b")), (vec!["1".into(), "3".into()], vec!["2".to_owned()]));
    assert_eq!(bodies(&sim.receive(&client, "q", "q", 3, 1_000)), ["three"]);
    let mut sim = sim.crash(Loss::All);
    sim.pass_ms(60_000);
    assert_eq!(bodies(&sim.receive(&client, "q", "q", 3, 1_000)), ["three"]);
    assert_eq!(seen(&sim, "a").len(), 2);
}

#[test]
fn whatever_refuses_one_refuses_all_and_nothing_has_changed() {
    let (mut sim, client) = scene();
    let short = sim.make_topic(&client, "short", policy(&[(LENGTH_MAX, "2"), (OVERFLOW, "reject-publish")]));
    let queue = sim.topic("q");
    sim.publish(&client, &short, &["first"]);
    sim.publish(&client, &queue, &["held"]);
    let held = sim.receive(&client, "q", "q", 1, 60_000);
    let receipt = held[0].receipt;
    let never = Receipt { offset: 77, ..receipt };
    let half = {
        let mut batch = batch(&sim, &[("a", "1")]);
        let terms = HalfTerms { group: "g".into(), first_check_ms: sim.now.wall_ms };
        batch.push_half(&draft("a", "half"), sim.topic("a").id, None, 0, Durability::Disk, terms).unwrap();
        batch
    };
    let late = {
        let mut batch = batch(&sim, &[("a", "1")]);
        let due_ms = sim.now.wall_ms + DELAY_MS_MAX + 1;
        batch.push_due(&draft("a", "late"), sim.topic("a").id, None, 0, Durability::Disk, due_ms).unwrap();
        batch
    };
    let acks = || vec![(vec![receipt], Outcome::Ack)];
    let before = (sim.fingerprint(), sim.shard.log_end());
    let cases = [
        ("no such topic", batch(&sim, &[("a", "1"), ("none", "2")]), acks()),
        ("room for one of two", batch(&sim, &[("short", "1"), ("a", "2"), ("short", "3")]), acks()),
        ("a half message", half, acks()),
        ("beyond all times", late, acks()),
        ("a lease that never was", batch(&sim, &[("a", "1")]), vec![(vec![receipt, never], Outcome::Ack)]),
    ];
    for (case, messages, settlements) in cases {
        let result = store(&mut sim, &client, messages, settlements);
        assert!(result.is_err(), "{case}: {result:?}");
        assert_eq!((sim.fingerprint(), sim.shard.log_end()), before, "{case}");
    }
    let fits = batch(&sim, &[("short", "1"), ("a", "2")]);
    assert!(store(&mut sim, &client, fits, acks()).is_ok());
    assert_eq!((seen(&sim, "short").len(), seen(&sim, "a").len()), (2, 1));
}

#[test]
fn without_room_leases_end_and_nothing_is_published() {
    let (mut sim, client) = scene();
    let queue = sim.topic("q");
    sim.publish(&client, &queue, &["held"]);
    let receipt = sim.receive(&client, "q", "q", 1, 60_000)[0].receipt;
    let acks = || vec![(vec![receipt], Outcome::Ack)];
    sim.input(Input::ShortOfRoom { is_short: true });
    let before = (sim.fingerprint(), sim.shard.log_end());
    let messages = batch(&sim, &[("a", "1")]);
    let refused = store(&mut sim, &client, messages, acks());
    assert!(matches!(refused, Err(Error::NoSpace)), "{refused:?}");
    assert_eq!((sim.fingerprint(), sim.shard.log_end()), before);
    assert!(store(&mut sim, &client, PublishBatch::default(), acks()).is_ok());
}

#[test]
fn what_goes_nowhere_is_no_refusal() {
    let (mut sim, client) = scene();
    let settings = ExchangeSettings::durable(ExchangeKind::Direct);
    sim.ask(&client, |token| Command::PutExchange { token, name: "x".into(), settings }).unwrap();
    let exchange = sim.shard.directory().exchange("x").unwrap().id;
    let mut messages = batch(&sim, &[("a", "1")]);
    let destination = Destination::Exchange { exchange, keys: [bytes::Bytes::from_static(b"none")].into() };
    messages.push(&draft("x", "lost"), destination, 0, Durability::Disk).unwrap();
    let results = store(&mut sim, &client, messages, Vec::new()).unwrap();
    assert!(matches!(results[..], [Ok(_), Err(Error::Unroutable)]), "{results:?}");
    assert!(store(&mut sim, &client, PublishBatch::default(), Vec::new()).unwrap().is_empty());
}

#[test]
fn a_crash_leaves_all_or_nothing() {
    for loss in [Loss::All, Loss::Torn, Loss::Pages] {
        for seed in 0..20 {
            let mut sim =
                Simulation::on(FaultDisk::new(seed), Arc::new(MemoryStore::default()), "boot-1", start());
            let client = sim.connect();
            for name in ["a", "b"] {
                sim.make_topic(&client, name, TopicSettings { queues: 1, ..TopicSettings::default() });
            }
            let large = "x".repeat(9_000);
            let messages = batch(&sim, &[("a", &large), ("b", &large), ("a", &large)]);
            sim.syncing = false;
            let token = client.token();
            sim.tell(&client, Command::PublishTogether { token, batch: messages, settlements: Vec::new() });
            assert!(sim.events(&client).is_empty(), "it is not told before it is on the disk");
            assert!(seen(&sim, "a").is_empty() && seen(&sim, "b").is_empty());
            let sim = sim.crash(loss);
            let found = (seen(&sim, "a").len(), seen(&sim, "b").len());
            assert!([(0, 0), (2, 1)].contains(&found), "{loss:?}, seed {seed}: {found:?}");
        }
    }
}

#[test]
fn messages_bytes_and_leases_have_their_limits() {
    let (mut sim, client) = scene();
    let refused = |result: Result<Vec<Result<Stored, Error>>, Error>, limit: usize| matches!(result, Err(Error::Limit { value, max, .. }) if max == limit as u64 && value > max);
    let messages = batch(&sim, &vec![("a", "1"); TOGETHER_MESSAGES_MAX]);
    assert!(store(&mut sim, &client, messages, Vec::new()).is_ok());
    let messages = batch(&sim, &vec![("a", "1"); TOGETHER_MESSAGES_MAX + 1]);
    assert!(refused(store(&mut sim, &client, messages, Vec::new()), TOGETHER_MESSAGES_MAX));
    let mut fits = 0;
    for bytes in (TOGETHER_BYTES_MAX - 400..TOGETHER_BYTES_MAX).step_by(8) {
        let body = "x".repeat(bytes);
        let messages = batch(&sim, &[("a", &body)]);
        match store(&mut sim, &client, messages, Vec::new()) {
            Ok(_) => fits += 1,
            result => assert!(refused(result, TOGETHER_BYTES_MAX)),
        }
    }
    assert!((1..50).contains(&fits), "{fits} fit");
    let queue = sim.topic("q");
    sim.publish(&client, &queue, &["held"]);
    let receipt = sim.receive(&client, "q", "q", 1, 60_000)[0].receipt;
    let acks = |count| vec![(vec![receipt; count], Outcome::Ack)];
    let empty = PublishBatch::default;
    assert!(refused(
        store(&mut sim, &client, empty(), acks(TOGETHER_RECEIPTS_MAX + 1)),
        TOGETHER_RECEIPTS_MAX
    ));
    assert!(store(&mut sim, &client, empty(), acks(TOGETHER_RECEIPTS_MAX)).is_ok());
}

/// A message takes a few bytes more with each queue that it goes to.
#[test]
fn a_limit_of_bytes_refuses_all_or_nothing_whatever_it_is() {
    let mut outcomes = [0, 0];
    for max in (0..800).step_by(8) {
        let (mut sim, client) = scene();
        let limits = [(LENGTH_BYTES_MAX, max.to_string()), (OVERFLOW, "reject-publish".to_owned())];
        let attributes = limits.map(|(name, value)| (name.to_owned(), value)).into();
        let settings = TopicSettings { attributes, ..TopicSettings::settled_queue() };
        let limited = sim.make_topic(&client, "limited", settings);
        let mut messages = PublishBatch::default();
        for topics in [vec![limited.id, sim.topic("a").id], vec![limited.id]] {
            let destination = Destination::Topics(topics);
            messages.push(&draft("limited", "x"), destination, 0, Durability::Disk).unwrap();
        }
        let stored = store(&mut sim, &client, messages, Vec::new());
        let there = seen(&sim, "limited").len();
        match stored {
            Ok(results) => assert!(results.iter().all(Result::is_ok) && there == 2, "{max}: {results:?}"),
            Err(error) => assert!(matches!(error, Error::Full { .. }) && there == 0, "{max}: {error}"),
        }
        outcomes[usize::from(there > 0)] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 10), "{outcomes:?}");
}
