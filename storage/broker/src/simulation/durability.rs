//! What survives: kills, power cuts, lost stores, trims. The rules of the log as the state sees them.

use super::*;

/// Publishes, leases, settles and fails some, so that every part of the state has something in it.
pub(super) fn eventful() -> (Simulation, Vec<Delivery>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 2, ..TopicSettings::default() });
    let queue = sim.make_topic(&client, "q", TopicSettings::settled_queue());
    sim.make_group(&client, "g", GroupSettings::rocketmq("g"));
    sim.make_group(&client, "q", GroupSettings::at_once());
    let many: Vec<String> = (0..3_000).map(|i| format!("message {i}")).collect();
    let texts: Vec<&str> = many.iter().map(String::as_str).collect();
    for batch in texts.chunks(500) {
        sim.publish(&client, &topic, batch);
        sim.publish(&client, &queue, batch);
        sim.pass_ms(10);
    }
    let got = sim.receive(&client, "g", "t", 900, 60_000);
    sim.settle(&client, &got[..300], Outcome::Ack);
    sim.settle(&client, &got[400..500], Outcome::Ack);
    sim.settle(&client, &got[350..360], Outcome::Retry { delay_ms: Some(5_000) });
    let taken = sim.receive(&client, "q", "q", 700, 60_000);
    sim.settle(&client, &taken[..650], Outcome::Ack);
    let due = sim.now.wall_ms + 50_000;
    let mut batch = PublishBatch::default();
    batch.push_due(&draft("t", "later"), topic.id, None, 0, Durability::Disk, due).unwrap();
    sim.send(&client, batch);
    (sim, got)
}

/// The state after a start, with what every start adds to it taken as given: interrupted attempts are counted.
fn restarted(sim: Simulation, store: Arc<dyn Store>) -> Simulation {
    let (disk, now) = (sim.disk.power_cut(Loss::Nothing), sim.now);
    drop(sim);
    Simulation::on(disk, store, "boot-1", now)
}

#[test]
fn replay_and_checkpoint_and_snapshot_give_the_same_state() {
    let (mut sim, _) = eventful();
    sim.checkpoint();
    let client = sim.connect();
    let topic = sim.topic("t");
    sim.publish(&client, &topic, &["behind the checkpoint"]);
    let (disk, now, kept) = (sim.disk.fork(), sim.now, sim.store.clone());
    let from_store = restarted(sim, kept).fingerprint();
    let from_log =
        Simulation::on(disk.power_cut(Loss::Nothing), Arc::new(MemoryStore::default()), "boot-1", now);
    assert_eq!(from_store, from_log.fingerprint());
}

#[test]
fn a_trimmed_log_without_its_store_gives_the_same_state() {
    let (mut sim, _) = eventful();
    // The queue that keeps its entries until they are settled must not hold the log.
    let client = sim.connect();
    sim.ask(&client, |token| Command::Purge { token, group: "q".into(), topic: "q".into() }).unwrap();
    let got = sim.receive(&client, "q", "q", 1_000, 1);
    assert!(got.is_empty());
    sim.pass_ms(60_000);
    let rest = sim.receive(&client, "q", "q", 1_000, 60_000);
    sim.settle(&client, &rest, Outcome::Ack);
    let queue = sim.topic("t");
    let filler = "x".repeat(10_000);
    for _ in 0..40 {
        sim.publish(&client, &queue, &[filler.as_str(); 10]);
    }
    let end = sim.shard.log_end();
    let token = client.token();
    sim.input(Input::Trim { mailbox: client.mailbox.clone(), token, before: end - SEGMENT_BYTES });
    let events = sim.events(&client);
    let [Event::Reply { result: Ok(Reply::Count(start)), .. }] = &events[..] else { panic!("{events:?}") };
    assert!(*start >= SEGMENT_BYTES, "something was trimmed: {start}");
    let before = sim.fingerprint();
    let sim = restarted(sim, Arc::new(MemoryStore::default()));
    assert_eq!(without_grants(before), without_grants(sim.fingerprint()));
    assert_eq!(sim.read("t", 0, 0).len() + sim.read("t", 1, 0).len(), {
        let topic = sim.topic("t");
        topic.queues().iter().map(|q| (q.end_offset() - q.min_offset()) as usize).sum::<usize>()
    });
}

/// A start counts what was leased as failed once; that is not what is compared.
fn without_grants(state: BTreeMap<String, Vec<Item>>) -> BTreeMap<String, Vec<Item>> {
    let strip = |item| match item {
        Item::Progress { group, queue, floor, settled, .. } => {
            Item::Progress { group, queue, floor, settled, failed: Vec::new(), granted_to: 0 }
        }
        other => other,
    };
    state.into_iter().map(|(key, items)| (key, items.into_iter().map(strip).collect())).collect()
}

#[test]
fn what_was_leased_when_the_broker_died_counts_as_an_attempt() {
    let (sim, got) = eventful();
    let mut sim = sim.crash(Loss::Nothing);
    let client = sim.connect();
    let again = sim.receive(&client, "g", "t", 1_000, 60_000);
    let open = |delivery: &&Delivery| again.iter().find(|a| body(&a.message) == body(&delivery.message));
    let first_open = got[300..350].iter().collect::<Vec<_>>();
    assert!(first_open.iter().all(|d| open(d).is_some_and(|a| a.attempts == 1)));
    assert!(got[..300].iter().all(|d| open(&d).is_none()), "what was settled stays settled");
}

#[test]
fn nothing_is_acknowledged_or_seen_before_it_is_durable() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.syncing = false;
    assert!(sim.publish(&client, &topic, &["a"]).is_empty(), "not synced, so not acknowledged");
    assert!(sim.read("t", 0, 0).is_empty(), "nor seen");
    sim.syncing = true;
    sim.run();
    assert!(matches!(&sim.events(&client)[..], [Event::Published { results, .. }] if results[0].is_ok()));
    assert_eq!(sim.read("t", 0, 0).len(), 1);
}

#[test]
fn a_memory_publish_waits_for_no_sync_and_its_offsets_are_never_given_to_others() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    // The first one lets the log say how far offsets may run.
    sim.publish_at(&client, &topic, Durability::Memory, &["first"]);
    sim.syncing = false;
    let results = sim.publish_at(&client, &topic, Durability::Memory, &["second"]);
    assert_eq!(results[0].as_ref().unwrap().offset, Some(1));
    assert_eq!(sim.read("t", 0, 0).len(), 2, "seen at its own durability");
    let mut sim = sim.crash(Loss::All);
    assert_eq!(sim.read("t", 0, 0).len(), 1, "the power cut took the second");
    let client = sim.connect();
    let topic = sim.topic("t");
    let next = sim.publish(&client, &topic, &["third"]);
    assert!(next[0].as_ref().unwrap().offset > Some(1), "offset 1 was seen with another body");
    let sim = sim.crash(Loss::Nothing);
    assert_eq!(
        sim.read("t", 0, 0).iter().map(|(_, body)| body.as_str()).collect::<Vec<_>>(),
        ["first", "third"]
    );
}

#[test]
fn a_kill_without_a_restart_of_the_machine_leaves_no_gap() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.publish_at(&client, &topic, Durability::Memory, &["first"]);
    let mut sim = sim.crash(Loss::Nothing);
    let (client, topic) = (sim.connect(), sim.topic("t"));
    assert_eq!(sim.publish(&client, &topic, &["second"])[0].as_ref().unwrap().offset, Some(1));
}

/// The gap of a power cut is settled, and lies beyond what can be seen.
#[test]
fn what_is_left_after_a_power_cut_is_counted() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "q", TopicSettings::settled_queue());
    sim.make_group(&client, "q", GroupSettings::at_once());
    sim.publish(&client, &topic, &["a", "b"]);
    let got = sim.receive(&client, "q", "q", 1, 60_000);
    sim.settle(&client, &got, Outcome::Release);
    let mut sim = sim.crash(Loss::All);
    let client = sim.connect();
    assert_eq!(super::expiry::ready(&mut sim, &client, "q"), (2, 0));
    let (name, if_unused, if_empty) = ("q".into(), false, true);
    let deleted = sim.ask(&client, |token| Command::DeleteTopic { token, name, if_unused, if_empty });
    assert_eq!(deleted.unwrap_err(), Error::NotEmpty("q".to_owned()));
}

#[test]
fn a_group_is_moved_to_an_offset_after_a_power_cut() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "q", TopicSettings::settled_queue());
    sim.make_group(&client, "q", GroupSettings::at_once());
    sim.publish(&client, &topic, &["a"]);
    let got = sim.receive(&client, "q", "q", 1, 60_000);
    sim.settle(&client, &got, Outcome::Ack);
    let mut sim = sim.crash(Loss::All);
    let client = sim.connect();
    for to in [SeekTo::Offset { queue_index: 0, offset: 1 }, SeekTo::Latest, SeekTo::Earliest] {
        let (group, topic) = ("q".into(), "q".into());
        sim.ask(&client, |token| Command::Seek { token, group, topic, to }).unwrap();
    }
    let topic = sim.topic("q");
    sim.publish(&client, &topic, &["b"]);
    assert_eq!(bodies(&sim.receive(&client, "q", "q", 9, 60_000)), ["b"]);
}

#[test]
fn purge_and_delete_are_one_record_however_much_there_is() {
    let (mut sim, _) = eventful();
    let client = sim.connect();
    let before = sim.shard.log_end();
    sim.ask(&client, |token| Command::Purge { token, group: "q".into(), topic: "q".into() }).unwrap();
    sim.ask(&client, |token| Command::DeleteTopic {
        token,
        name: "t".into(),
        if_unused: false,
        if_empty: false,
    })
    .unwrap();
    assert!(sim.shard.log_end() - before < 600, "{} bytes", sim.shard.log_end() - before);
}

#[test]
fn a_stop_comes_to_rest_and_the_next_start_replays_nothing_but_its_last_words() {
    let (mut sim, _) = eventful();
    sim.input(Input::Stop);
    assert!(sim.shard.is_idle());
    let before = sim.fingerprint();
    let store = sim.store.clone();
    let sim = restarted(sim, store);
    assert_eq!(without_grants(before), without_grants(sim.fingerprint()));
    let mut idle = restarted(sim, Arc::new(MemoryStore::default()));
    idle.input(Input::Stop);
    assert!(idle.shard.is_idle(), "also when there was nothing to do");
}

#[test]
fn settlements_wait_for_the_write_topology_and_dispatch_for_the_sync() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.make_group(&client, "g", GroupSettings::at_once());
    sim.publish(&client, &topic, &["a"]);
    let due = sim.now.wall_ms + 100;
    let mut batch = PublishBatch::default();
    batch.push_due(&draft("t", "later"), topic.id, None, 0, Durability::Disk, due).unwrap();
    sim.send(&client, batch);
    let receipts = vec![sim.receive(&client, "g", "t", 1, 60_000)[0].receipt];
    (sim.writing, sim.syncing) = (false, false);
    let token = client.token();
    sim.tell(&client, Command::Settle { token: Some(token), receipts, outcome: Outcome::Ack });
    assert!(sim.events(&client).is_empty(), "a settlement that only memory knows is none");
    sim.writing = true;
    sim.run();
    assert!(matches!(&sim.events(&client)[..], [Event::Reply { result: Ok(Reply::Settled(_)), .. }]));
    let put = |token| Command::PutGroup { token, name: "new".into(), settings: None };
    for _ in 0..2 {
        // Also the second, which changes nothing, rests on the first.
        sim.tell(&client, put(client.token()));
        assert!(sim.events(&client).is_empty(), "topology is not synced");
    }
    sim.pass_ms(100);
    assert_eq!(sim.read("t", 0, 0).len(), 1, "the dispatched message is not synced");
    sim.syncing = true;
    sim.run();
    assert_eq!(sim.events(&client).len(), 2);
    assert_eq!(sim.read("t", 0, 0).len(), 2);
}

#[test]
fn a_transient_queue_waits_for_no_sync_and_a_new_durable_one_not_for_its_first_memory_publish() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let transient = TopicSettings { lifetime: Lifetime::Transient, ..TopicSettings::settled_queue() };
    let transient = sim.make_topic(&client, "transient", transient);
    let durable = sim.make_topic(&client, "durable", TopicSettings::settled_queue());
    sim.syncing = false;
    for topic in [&transient, &durable] {
        let asked = if topic.id == transient.id { Durability::Disk } else { Durability::Memory };
        assert!(sim.publish_at(&client, topic, asked, &["a"])[0].is_ok());
        assert_eq!(sim.read(&topic.name, 0, 0).len(), 1, "{}", topic.name);
    }
}
