//! What is sent again is stored once: by key and by sequence number, over crashes and the loss of the store, and what was
//! not stored is not taken for a duplicate.

use super::*;
use crate::limits::*;

const WINDOW_MS: u64 = 60_000;

pub(super) fn deduplicating(settings: TopicSettings, window_ms: u64) -> TopicSettings {
    let mut attributes = settings.attributes.clone();
    attributes.insert(DEDUPLICATION_WINDOW_MS.to_owned(), window_ms.to_string());
    TopicSettings { attributes, ..settings }
}

fn scene() -> (Simulation, Client, Arc<Topic>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let settings = TopicSettings { queues: 2, ..TopicSettings::default() };
    let topic = sim.make_topic(&client, "t", deduplicating(settings, WINDOW_MS));
    (sim, client, topic)
}

fn key(text: &str) -> DeduplicationKey {
    DeduplicationKey::of_key(text.as_bytes()).unwrap()
}

fn numbered(sequence: u64) -> DeduplicationKey {
    DeduplicationKey::of_sequence(b"producer", sequence).unwrap()
}

pub(super) fn push_to(
    batch: &mut PublishBatch,
    to: Destination,
    name: &str,
    body: &str,
    key: DeduplicationKey,
    at: Durability,
) {
    let annex = key.annex();
    let annexes = [(mailrail_message::AnnexKind::Deduplication, annex.as_slice())];
    batch.push(&Draft { annexes: &annexes, ..draft(name, body) }, to, tag_hash("t"), at).unwrap();
}

fn send_at(
    sim: &mut Simulation,
    client: &Client,
    durability: Durability,
    sent: &[(DeduplicationKey, &str)],
) -> Vec<Result<Stored, Error>> {
    let topic = sim.topic("t").id;
    let mut batch = PublishBatch::default();
    for (key, body) in sent {
        let to = Destination::Topic { topic, queue_index: None };
        push_to(&mut batch, to, "t", body, *key, durability);
    }
    sim.send(client, batch)
}

fn send(sim: &mut Simulation, client: &Client, key: DeduplicationKey, body: &str) -> Result<Stored, Error> {
    send_at(sim, client, Durability::Disk, &[(key, body)]).pop().expect("it was answered")
}

/// Stores a message that is new.
#[track_caller]
fn first(sim: &mut Simulation, client: &Client, key: DeduplicationKey, body: &str) -> Stored {
    let stored = send(sim, client, key, body).unwrap();
    assert!(!stored.duplicate, "{body}");
    stored
}

#[track_caller]
fn check_duplicate(again: &Result<Stored, Error>, first: &Stored) {
    assert_eq!(*again, Ok(Stored { duplicate: true, ..first.clone() }));
}

fn all(sim: &Simulation, topic: &str) -> Vec<String> {
    let queues = sim.topic(topic).queues().len() as u32;
    let mut all: Vec<String> =
        (0..queues).flat_map(|index| sim.read(topic, index, 0)).map(|(_, body)| body).collect();
    all.sort();
    all
}

/// A store that is gone, and a start that finds all in the log.
fn without_store(sim: Simulation) -> Simulation {
    let store = Arc::new(MemoryStore::default());
    Simulation::on(sim.disk.power_cut(Loss::Nothing), store, "boot-1", sim.now)
}

#[test]
fn what_is_sent_again_within_the_window_is_answered_like_the_first_and_not_stored() {
    let (mut sim, client, topic) = scene();
    let stored = first(&mut sim, &client, key("k"), "first");
    sim.publish(&client, &topic, &["without a key", "without a key"]);
    let end = sim.shard.log_end();
    sim.pass_ms(WINDOW_MS - 1);
    check_duplicate(&send(&mut sim, &client, key("k"), "again"), &stored);
    check_duplicate(&send_at(&mut sim, &client, Durability::Memory, &[(key("k"), "again")])[0], &stored);
    assert_eq!(sim.shard.log_end(), end, "nothing was stored");
    sim.pass_ms(1);
    let later = first(&mut sim, &client, key("k"), "after the window");
    check_duplicate(&send(&mut sim, &client, key("k"), "again"), &later);
    assert_eq!(all(&sim, "t"), ["after the window", "first", "without a key", "without a key"]);
}

#[test]
fn duplicates_within_one_batch_count_and_the_others_are_stored_around_them() {
    let (mut sim, client, _) = scene();
    let sent = [(key("a"), "a"), (key("b"), "b"), (key("a"), "a2"), (key("c"), "c"), (key("b"), "b2")];
    let results = send_at(&mut sim, &client, Durability::Disk, &sent);
    let of = |index: usize| results[index].clone().unwrap();
    assert_eq!(
        results.iter().map(|r| r.as_ref().unwrap().duplicate).collect::<Vec<_>>(),
        [false, false, true, false, true]
    );
    check_duplicate(&results[2], &of(0));
    check_duplicate(&results[4], &of(1));
    assert_eq!(all(&sim, "t"), ["a", "b", "c"]);
    assert_eq!(sim.shard.state().windows().len(), 3);
}

#[test]
fn a_producers_numbers_are_stored_once_and_in_order() {
    let (mut sim, client, _) = scene();
    let two = first(&mut sim, &client, numbered(2), "2");
    let five = first(&mut sim, &client, numbered(5), "5");
    check_duplicate(&send(&mut sim, &client, numbered(2), "2 again"), &two);
    check_duplicate(&send(&mut sim, &client, numbered(5), "5 again"), &five);
    let late = send(&mut sim, &client, numbered(3), "3 was never stored");
    assert_eq!(late, Err(Error::OutOfSequence { sequence: 3, highest: 5 }));
    assert_eq!(send(&mut sim, &client, numbered(1), "1"), Err(Error::Forgotten { sequence: 1, highest: 5 }));
    let sent = [(numbered(6), "6"), (numbered(6), "6 again"), (numbered(7), "7")];
    let results = send_at(&mut sim, &client, Durability::Disk, &sent);
    check_duplicate(&results[1], results[0].as_ref().unwrap());
    assert_eq!(all(&sim, "t"), ["2", "5", "6", "7"]);
    let mut sim = without_store(sim);
    let client = sim.connect();
    check_duplicate(&send(&mut sim, &client, numbered(5), "5 once more"), &five);
}

#[test]
fn the_answer_to_a_duplicate_waits_until_the_first_is_on_the_disk() {
    for durability in [Durability::Disk, Durability::Memory] {
        let (mut sim, client, _) = scene();
        sim.syncing = false;
        assert!(send_at(&mut sim, &client, Durability::Disk, &[(key("k"), "first")]).is_empty());
        let other = sim.connect();
        assert!(send_at(&mut sim, &other, durability, &[(key("k"), "again")]).is_empty(), "{durability:?}");
        sim.syncing = true;
        sim.run();
        let result = |events: Vec<Event>| match events.into_iter().next() {
            Some(Event::Published { mut results, .. }) => results.remove(0),
            other => panic!("{other:?}"),
        };
        let (stored, again) = (result(sim.events(&client)).unwrap(), result(sim.events(&other)));
        check_duplicate(&again, &stored);
        assert_eq!(all(&sim, "t"), ["first"]);
    }
}

#[test]
fn also_one_whose_receipt_is_forgotten_waits_for_its_producers_newest() {
    let (mut sim, client, _) = scene();
    let count = u64::try_from(DEDUPLICATION_PRODUCER_RECEIPTS_MAX).unwrap() + 1;
    sim.syncing = false;
    for sequence in 0..count {
        send_at(&mut sim, &client, Durability::Disk, &[(numbered(sequence), "m")]);
    }
    let other = sim.connect();
    assert!(send_at(&mut sim, &other, Durability::Memory, &[(numbered(0), "again")]).is_empty());
    sim.syncing = true;
    sim.run();
    match sim.events(&other).pop() {
        Some(Event::Published { results, .. }) => {
            assert_eq!(results, [Err(Error::Forgotten { sequence: 0, highest: count - 1 })]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_power_cut_before_the_sync_leaves_the_key_free_or_the_message_stored_once() {
    for (written, synced, loss) in [
        (false, false, Loss::Nothing),
        (true, false, Loss::Nothing),
        (true, false, Loss::All),
        (true, false, Loss::Torn),
        (true, true, Loss::All),
    ] {
        let (mut sim, client, _) = scene();
        first(&mut sim, &client, key("before"), "before");
        sim.checkpoint();
        (sim.writing, sim.syncing) = (written, synced);
        let told = send_at(&mut sim, &client, Durability::Disk, &[(key("k"), "body"), (numbered(1), "1")]);
        assert_eq!(!told.is_empty(), synced);
        let mut sim = sim.crash(loss);
        let client = sim.connect();
        for (key, body) in [(key("k"), "body"), (numbered(1), "1"), (key("before"), "before")] {
            let again = send(&mut sim, &client, key, body).unwrap();
            assert!(again.duplicate || (!synced && body != "before"), "{body}");
        }
        assert_eq!(all(&sim, "t"), ["1", "before", "body"], "{written} {synced} {loss:?}");
    }
}

#[test]
fn a_duplicate_of_what_the_disk_did_not_take_fails_too() {
    let (mut sim, client, _) = scene();
    sim.writing = false;
    assert!(send_at(&mut sim, &client, Durability::Disk, &[(key("k"), "first")]).is_empty());
    let other = sim.connect();
    assert!(send_at(&mut sim, &other, Durability::Disk, &[(key("k"), "again")]).is_empty());
    sim.input(Input::Poisoned("the disk is gone".to_owned()));
    for client in [client, other] {
        match sim.events(&client).pop() {
            Some(Event::Published { results, .. }) => {
                assert!(matches!(results[..], [Err(Error::Poisoned(_))]), "{results:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_refused_publish_is_not_remembered() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let mut settings = deduplicating(TopicSettings::settled_queue(), WINDOW_MS);
    for (name, value) in [(LENGTH_MAX, "1"), (OVERFLOW, "reject-publish")] {
        settings.attributes.insert(name.to_owned(), value.to_owned());
    }
    sim.make_topic(&client, "t", settings);
    sim.make_group(&client, "t", GroupSettings::at_once());
    let a = first(&mut sim, &client, key("a"), "a");
    let results = send_at(&mut sim, &client, Durability::Disk, &[(key("b"), "b"), (key("b"), "b")]);
    assert!(results.iter().all(|result| matches!(result, Err(Error::Full { .. }))), "{results:?}");
    // What fills the topic may well be what is sent again.
    check_duplicate(&send(&mut sim, &client, key("a"), "a"), &a);
    let got = sim.receive(&client, "t", "t", 1, 1_000);
    sim.settle(&client, &got, Outcome::Ack);
    first(&mut sim, &client, key("b"), "b");
    check_duplicate(&send(&mut sim, &client, key("a"), "a"), &a);
}

#[test]
fn what_is_remembered_outlives_purge_and_not_the_topic() {
    let (mut sim, client, _) = scene();
    sim.make_group(&client, "g", GroupSettings::at_once());
    let stored = first(&mut sim, &client, key("k"), "body");
    let ask = |token| Command::Purge { token, group: "g".into(), topic: "t".into() };
    sim.ask(&client, ask).unwrap();
    check_duplicate(&send(&mut sim, &client, key("k"), "body"), &stored);
    let delete = |token| Command::DeleteTopic { token, name: "t".into(), if_unused: false, if_empty: false };
    sim.ask(&client, delete).unwrap();
    assert_eq!(sim.shard.state().windows().len(), 0);
    sim.make_topic(&client, "t", deduplicating(TopicSettings::default(), WINDOW_MS));
    let anew = first(&mut sim, &client, key("k"), "body");
    let before = sim.fingerprint();
    let mut sim = without_store(sim);
    assert_eq!(sim.fingerprint(), before);
    let client = sim.connect();
    check_duplicate(&send(&mut sim, &client, key("k"), "body"), &anew);
}

#[test]
fn a_topic_without_a_window_stores_what_has_a_key_like_anything_else_unless_it_must_not() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    for (name, settings) in
        [("t", TopicSettings::default()), ("zero", deduplicating(TopicSettings::default(), 0))]
    {
        let topic = sim.make_topic(&client, name, settings);
        assert!(!topic.deduplicates());
        for (body, needs) in [("1", false), ("2", false), ("3", true)] {
            let mut batch = PublishBatch::default();
            let to = Destination::Topic { topic: topic.id, queue_index: None };
            push_to(&mut batch, to, name, body, key("k"), Durability::Disk);
            if needs {
                batch.need_deduplication();
            }
            match sim.send(&client, batch).remove(0) {
                Ok(stored) => assert!(!needs && !stored.duplicate),
                Err(error) => assert!(needs && error == Error::NoDeduplication(name.to_owned())),
            }
        }
        assert_eq!(all(&sim, name), ["1", "2"]);
    }
    assert_eq!(sim.shard.state().windows().len(), 0);
}

#[test]
fn half_messages_and_those_that_wait_count_from_when_they_are_sent() {
    let (mut sim, client, topic) = scene();
    let push = |sim: &Simulation, key: DeduplicationKey, body: &str, is_half: bool| {
        let annex = key.annex();
        let annexes = [(mailrail_message::AnnexKind::Deduplication, annex.as_slice())];
        let (draft, mut batch) = (Draft { annexes: &annexes, ..draft("t", body) }, PublishBatch::default());
        let (at, tag) = (Durability::Disk, tag_hash("t"));
        if is_half {
            let half = HalfTerms { group: "g".into(), first_check_ms: sim.now.wall_ms + 10_000 };
            batch.push_half(&draft, topic.id, Some(1), tag, at, half).unwrap();
        } else {
            batch.push_due(&draft, topic.id, Some(1), tag, at, sim.now.wall_ms + 1_000).unwrap();
        }
        batch
    };
    let half = sim.send(&client, push(&sim, key("half"), "half", true)).remove(0).unwrap();
    let due = sim.send(&client, push(&sim, key("due"), "due", false)).remove(0).unwrap();
    assert_eq!((half.offset, due.offset, half.queue_index, due.queue_index), (None, None, 1, 1));
    let again = |sim: &mut Simulation, client: &Client| {
        for is_half in [true, false] {
            let result = sim.send(client, push(sim, key("half"), "half", is_half)).remove(0);
            check_duplicate(&result, &half);
            let result = sim.send(client, push(sim, key("due"), "due", is_half)).remove(0);
            check_duplicate(&result, &due);
        }
        check_duplicate(&send(sim, client, key("due"), "due"), &due);
    };
    again(&mut sim, &client);
    let mut sim = without_store(sim);
    let client = sim.connect();
    again(&mut sim, &client);
    // The copies that come in their places are no duplicates, and are not what is remembered.
    super::transaction::end(&mut sim, &client, half.position, None, Decision::Commit).unwrap();
    sim.pass_ms(1_000);
    assert_eq!(all(&sim, "t"), ["due", "half"]);
    again(&mut sim, &client);
    let before = sim.fingerprint();
    let sim = without_store(sim);
    assert_eq!(sim.fingerprint(), before);
    assert_eq!(all(&sim, "t"), ["due", "half"]);
}

#[test]
fn an_exchange_stores_in_those_topics_that_do_not_have_it_yet() {
    let (mut sim, client, _) = scene();
    sim.make_topic(&client, "plain", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.make_topic(&client, "late", deduplicating(TopicSettings::default(), WINDOW_MS));
    let settings = ExchangeSettings::durable(ExchangeKind::Fanout);
    sim.ask(&client, |token| Command::PutExchange { token, name: "x".into(), settings }).unwrap();
    let bind = |sim: &mut Simulation, topic: &str| {
        let target = BindTarget::Topic(topic.into());
        let ask = |token| Command::Bind {
            token,
            source: "x".into(),
            target,
            key: "".into(),
            attributes: bytes::Bytes::new(),
        };
        sim.ask(&client, ask).unwrap();
    };
    let exchange = sim.shard.directory().exchange("x").unwrap().id;
    let route = |sim: &mut Simulation, body: &str, needs: bool| {
        let to = Destination::Exchange { exchange, keys: [bytes::Bytes::new()].into_iter().collect() };
        let mut batch = PublishBatch::default();
        push_to(&mut batch, to, "x", body, key("k"), Durability::Disk);
        if needs {
            batch.need_deduplication();
        }
        sim.send(&client, batch).remove(0)
    };
    bind(&mut sim, "t");
    let stored = route(&mut sim, "1", true).unwrap();
    check_duplicate(&route(&mut sim, "2", true), &stored);
    bind(&mut sim, "late");
    let second = route(&mut sim, "3", true).unwrap();
    assert_eq!((second.queues, second.duplicate), (1, false));
    check_duplicate(&route(&mut sim, "4", true), &stored);
    bind(&mut sim, "plain");
    assert_eq!(route(&mut sim, "5", true), Err(Error::NoDeduplication("plain".to_owned())));
    assert_eq!(route(&mut sim, "6", false).unwrap().queues, 1);
    assert_eq!(
        (all(&sim, "t"), all(&sim, "late"), all(&sim, "plain")),
        (vec!["1".to_owned()], vec!["3".to_owned()], vec!["6".to_owned()])
    );
    let before = sim.fingerprint();
    assert_eq!(without_store(sim).fingerprint(), before);
}

#[test]
fn what_is_stored_together_is_stored_once_and_refused_as_a_whole() {
    let (mut sim, client, _) = scene();
    let together = |sim: &mut Simulation, sent: &[(DeduplicationKey, &str)]| {
        let topic = sim.topic("t").id;
        let mut batch = PublishBatch::default();
        for (key, body) in sent {
            let to = Destination::Topic { topic, queue_index: Some(0) };
            push_to(&mut batch, to, "t", body, *key, Durability::Disk);
        }
        let ask = |token| Command::PublishTogether { token, batch, settlements: Vec::new() };
        match sim.ask(&client, ask)? {
            Reply::Together(results) => Ok::<_, Error>(results),
            other => panic!("{other:?}"),
        }
    };
    let sent = [(key("a"), "a"), (key("a"), "a"), (numbered(4), "4"), (numbered(4), "4")];
    let stored = together(&mut sim, &sent).unwrap();
    check_duplicate(&stored[1], stored[0].as_ref().unwrap());
    check_duplicate(&stored[3], stored[2].as_ref().unwrap());
    let again = together(&mut sim, &sent).unwrap();
    check_duplicate(&again[0], stored[0].as_ref().unwrap());
    let refused = together(&mut sim, &[(key("b"), "b"), (numbered(6), "6"), (numbered(5), "5")]);
    assert_eq!(refused.unwrap_err(), Error::OutOfSequence { sequence: 5, highest: 6 });
    let forgotten = together(&mut sim, &[(numbered(3), "3"), (key("c"), "c")]).unwrap();
    assert_eq!(forgotten[0], Err(Error::Forgotten { sequence: 3, highest: 4 }));
    assert_eq!(all(&sim, "t"), ["4", "a", "c"]);
}

#[test]
fn the_window_is_at_most_a_day_and_lasts_to_its_end() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let put = |settings| move |token| Command::PutTopic { token, name: "t".into(), settings, adopt: false };
    let longest = deduplicating(TopicSettings::default(), DEDUPLICATION_WINDOW_MS_MAX);
    let longer = deduplicating(TopicSettings::default(), DEDUPLICATION_WINDOW_MS_MAX + 1);
    let error = sim.ask(&client, put(longer)).unwrap_err();
    assert!(matches!(error, Error::Limit { max: DEDUPLICATION_WINDOW_MS_MAX, .. }), "{error}");
    sim.ask(&client, put(longest)).unwrap();
    let stored = first(&mut sim, &client, key("k"), "body");
    sim.pass_ms(DEDUPLICATION_WINDOW_MS_MAX - 1);
    check_duplicate(&send(&mut sim, &client, key("k"), "body"), &stored);
    sim.pass_ms(1);
    first(&mut sim, &client, key("k"), "body");
}

#[test]
fn what_is_remembered_outlives_the_records_that_it_came_from() {
    let (mut sim, client, topic) = scene();
    let stored = first(&mut sim, &client, key("k"), "body");
    let long = "x".repeat(100_000);
    for _ in 0..40 {
        sim.publish(&client, &topic, &[&long]);
    }
    sim.checkpoint();
    let before = sim.shard.log_end();
    sim.input(Input::Trim { mailbox: client.mailbox.clone(), token: client.token(), before });
    sim.checkpoint();
    sim.checkpoint();
    assert!(sim.shard.log_start() > stored.position, "the record is gone");
    sim.events(&client);
    check_duplicate(&send(&mut sim, &client, key("k"), "body"), &stored);
    let mut sim = without_store(sim);
    let client = sim.connect();
    check_duplicate(&send(&mut sim, &client, key("k"), "body"), &stored);
}
