//! What a start makes of what a crash left: gaps in offsets, interrupted attempts, trimmed logs, half-made snapshots.

use super::*;

/// A group's view of a topic.
fn view(sim: &mut Simulation, client: &Client, group: &str, topic: &str) -> GroupView {
    let (group, topic) = (group.into(), topic.into());
    match sim.ask(client, |token| Command::GroupState { token, group, topic }).unwrap() {
        Reply::Group(view) => view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_lost_with_the_machine_are_nothing_to_hand_out_or_to_wait_for() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let queue = sim.make_topic(&client, "q", TopicSettings::settled_queue());
    for group in ["q", "other"] {
        sim.make_group(&client, group, GroupSettings::at_once());
    }
    sim.publish_at(&client, &queue, Durability::Memory, &["a"]);
    // Both have a position before the crash.
    let (a, _) = (sim.receive(&client, "q", "q", 1, 1_000), sim.receive(&client, "other", "q", 1, 1_000));
    sim.settle(&client, &a, Outcome::Ack);
    let mut sim = sim.crash(Loss::All);
    let client = sim.connect();
    sim.make_group(&client, "late", GroupSettings::at_once());
    let queue = sim.topic("q");
    let stored = sim.publish(&client, &queue, &["b", "c"]).pop().unwrap().unwrap();
    assert!(stored.offset > Some(2), "offsets were skipped: {stored:?}");
    for group in ["other", "late"] {
        let seen = view(&mut sim, &client, group, "q");
        assert!((2..=3).contains(&seen.ready), "the gap counts for nothing: {seen:?}");
        assert!(bodies(&sim.receive(&client, group, "q", 10, 1_000)).ends_with(&["b".into(), "c".into()]));
    }
    let got = sim.receive(&client, "q", "q", 10, 1_000);
    sim.settle(&client, &got, Outcome::Ack);
    let queue = queue.queue(0).unwrap();
    assert_eq!(queue.min_offset(), queue.end_offset(), "what is settled goes, the gap with it");
    let seek = |token| Command::Seek { token, group: "late".into(), topic: "q".into(), to: SeekTo::Earliest };
    sim.ask(&client, seek).unwrap();
    assert_eq!(view(&mut sim, &client, "late", "q").ready, 0);
}

#[test]
fn a_message_that_brings_the_broker_down_reaches_the_dead_letter() {
    let mut sim = Simulation::new();
    let mut client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    let settings = GroupSettings {
        attempts_max: Some(2),
        backoff_ms: Vec::new(),
        dead_letter: Some("dead".to_owned()),
        ..GroupSettings::at_once()
    };
    sim.make_group(&client, "g", settings);
    sim.publish(&client, &topic, &["poison"]);
    for attempts in 0..3 {
        let got = sim.receive(&client, "g", "t", 1, 60_000);
        assert_eq!(got.first().map(|delivery| delivery.attempts), Some(attempts));
        sim = sim.crash(Loss::Nothing);
        client = sim.connect();
    }
    assert!(sim.receive(&client, "g", "t", 1, 60_000).is_empty(), "it is not handed out again");
    assert_eq!(sim.read("dead", 0, 0), [(0, "poison".to_owned())]);
}

#[test]
fn a_queue_s_default_group_goes_with_it() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let transient = TopicSettings { lifetime: Lifetime::Transient, ..TopicSettings::settled_queue() };
    for (name, settings) in [("durable", TopicSettings::settled_queue()), ("transient", transient)] {
        sim.make_topic(&client, name, settings);
        sim.make_group(&client, name, GroupSettings::at_once());
    }
    let delete =
        |token| Command::DeleteTopic { token, name: "durable".into(), if_unused: false, if_empty: false };
    sim.ask(&client, delete).unwrap();
    assert!(sim.shard.directory().group("durable").is_none());
    let sim = sim.crash(Loss::Nothing);
    assert!(sim.shard.directory().topic("transient").is_none());
    assert!(sim.shard.directory().group("transient").is_none());
}

#[test]
fn ids_are_not_used_again_after_a_start() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let last = sim.make_topic(&client, "last", TopicSettings::default());
    let last = last.queues().iter().map(|queue| queue.id.0).chain([last.id.0]).max().unwrap();
    let name = "last".into();
    sim.ask(&client, |token| Command::DeleteTopic { token, name, if_unused: false, if_empty: false })
        .unwrap();
    for lost in [false, true] {
        let store: Arc<dyn Store> = if lost { Arc::new(MemoryStore::default()) } else { sim.store.clone() };
        sim.checkpoint();
        sim = Simulation::on(sim.disk.power_cut(Loss::All), store, "boot-2", sim.now);
        let client = sim.connect();
        let next = sim.make_topic(&client, &format!("next {lost}"), TopicSettings::default());
        assert!(next.id.0 > last && next.queues().iter().all(|queue| queue.id.0 > last));
    }
}

/// Two exchanges, one bound to the other and to two topics.
fn bind(sim: &mut Simulation) {
    let client = sim.connect();
    for name in ["x", "y"] {
        let settings = ExchangeSettings {
            kind: ExchangeKind::Fanout,
            lifetime: Lifetime::Durable,
            delete_when_unused: false,
            internal: false,
            attributes: BTreeMap::new(),
        };
        sim.ask(&client, |token| Command::PutExchange { token, name: name.into(), settings }).unwrap();
    }
    let (exchange, topic) =
        (|name: &str| BindTarget::Exchange(name.into()), |name: &str| BindTarget::Topic(name.into()));
    for target in [exchange("y"), topic("q"), topic("t")] {
        let (source, key, attributes) = ("x".into(), "".into(), bytes::Bytes::new());
        sim.ask(&client, |token| Command::Bind { token, source, target, key, attributes }).unwrap();
    }
}

/// Something of everything that a checkpoint holds changes once more.
fn change_everything(sim: &mut Simulation) {
    let client = sim.connect();
    sim.ask(&client, |token| Command::DeleteExchange { token, name: "y".into(), if_unused: false }).unwrap();
    let topic = sim.topic("t");
    sim.publish(&client, &topic, &["behind the checkpoint"; 3]);
    let got = sim.receive(&client, "g", "t", 10, 60_000);
    sim.settle(&client, &got, Outcome::Ack);
    sim.make_topic(&client, "late", TopicSettings::settled_queue());
    sim.make_group(&client, "late", GroupSettings::at_once());
    let late = sim.topic("late");
    sim.publish(&client, &late, &["late"]);
    let delete = |token| Command::DeleteTopic { token, name: "q".into(), if_unused: false, if_empty: false };
    sim.ask(&client, delete).unwrap();
    let mut batch = PublishBatch::default();
    let due = sim.now.wall_ms + 90_000;
    batch.push_due(&draft("t", "waits too"), topic.id, None, 0, Durability::Disk, due).unwrap();
    sim.send(&client, batch);
    // The message that waited before is dispatched.
    sim.pass_ms(60_000);
}

#[test]
fn a_checkpoint_that_the_process_dies_in_changes_nothing_about_the_state() {
    let mut seen = std::collections::BTreeSet::new();
    for kept in 0..40 {
        let (mut sim, _) = super::durability::eventful();
        bind(&mut sim);
        sim.checkpoint();
        change_everything(&mut sim);
        sim.checkpoints = Checkpoints::CutAfter(kept);
        sim.checkpoint();
        let (disk, now, store) = (sim.disk.clone(), sim.now, sim.store.clone());
        let from_store = Simulation::on(disk.fork().power_cut(Loss::Nothing), store, "boot-1", now);
        let scratch: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let from_log = Simulation::on(disk.fork().power_cut(Loss::Nothing), scratch, "boot-1", now);
        let (from_store, from_log) = (from_store.fingerprint(), from_log.fingerprint());
        assert!(from_store.keys().eq(from_log.keys()), "{kept} items were stored");
        assert!(from_store == from_log, "{kept} items were stored");
        seen.insert(from_store.len());
    }
    assert_eq!(seen.len(), 1);
}

#[test]
fn a_store_that_fails_costs_a_checkpoint_and_holds_up_a_trim_and_nothing_else() {
    let (mut sim, client, topic) = long_log();
    sim.checkpoints = Checkpoints::Refused;
    let token = client.token();
    sim.input(Input::Trim { mailbox: client.mailbox.clone(), token, before: SEGMENT_BYTES });
    assert!(sim.events(&client).is_empty(), "nothing is trimmed that no checkpoint makes needless");
    sim.publish(&client, &topic, &["while it failed"]);
    sim.checkpoints = Checkpoints::Stored;
    sim.checkpoint();
    sim.run();
    let events = sim.events(&client);
    let trimmed =
        |event: &Event| matches!(event, Event::Reply { result: Ok(Reply::Count(start)), .. } if *start > 0);
    assert!(events.iter().any(trimmed), "{events:?}");
    let before = sim.fingerprint();
    let sim = Simulation::on(sim.disk.power_cut(Loss::Nothing), sim.store.clone(), "boot-1", sim.now);
    assert_eq!(before.len(), sim.fingerprint().len());
    assert_eq!(sim.read("t", 0, 0).last().unwrap().1, "while it failed");
}

/// A topic over several segments, with a group that has settled some of it.
fn long_log() -> (Simulation, Client, Arc<Topic>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.make_group(&client, "g", GroupSettings::at_once());
    let filler = "x".repeat(10_000);
    for _ in 0..30 {
        sim.publish(&client, &topic, &[filler.as_str(); 10]);
    }
    let got = sim.receive(&client, "g", "t", 20, 60_000);
    sim.settle(&client, &got, Outcome::Ack);
    (sim, client, topic)
}

fn trim(sim: &mut Simulation, client: &Client, before: Position) -> Result<Reply, Error> {
    let token = client.token();
    sim.input(Input::Trim { mailbox: client.mailbox.clone(), token, before });
    match sim.events(client).pop() {
        Some(Event::Reply { result, .. }) => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_trim_never_passes_its_snapshot_nor_what_nobody_has_seen_yet() {
    let (mut sim, client, topic) = long_log();
    // A message that is written, and not seen before it is synced.
    sim.syncing = false;
    sim.publish(&client, &topic, &["unseen"]);
    let token = client.token();
    sim.input(Input::Trim { mailbox: client.mailbox.clone(), token, before: Position::MAX });
    sim.publish(&client, &topic, &["published during the trim"]);
    sim.syncing = true;
    sim.run();
    let trimmed =
        |event: &Event| matches!(event, Event::Reply { result: Ok(Reply::Count(start)), .. } if *start > 0);
    assert!(sim.events(&client).iter().any(trimmed));
    sim.publish(&client, &topic, &["behind the trim"]);
    let (disk, now) = (sim.disk.power_cut(Loss::Nothing), sim.now);
    let sim = Simulation::on(disk, Arc::new(MemoryStore::default()), "boot-1", now);
    let found = sim.read("t", 0, 0);
    let last: Vec<&str> = found.iter().rev().take(3).map(|(_, body)| body.as_str()).collect();
    assert_eq!(last, ["behind the trim", "published during the trim", "unseen"]);
    assert!(found.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
}

#[test]
fn a_snapshot_that_was_not_finished_does_not_hide_the_next_one() {
    let (mut sim, client, _) = long_log();
    // There is room for the beginning of a snapshot with many groups, and for no further segment.
    for number in 0..16_000 {
        sim.make_group(&client, &format!("group {number} {}", "n".repeat(230)), GroupSettings::at_once());
    }
    sim.disk.limit_bytes(Some(1));
    assert_eq!(trim(&mut sim, &client, SEGMENT_BYTES).unwrap_err(), Error::NoSpace);
    sim.disk.limit_bytes(None);
    assert!(matches!(trim(&mut sim, &client, SEGMENT_BYTES), Ok(Reply::Count(start)) if start > 0));
    let before = sim.fingerprint();
    let (disk, now) = (sim.disk.power_cut(Loss::Nothing), sim.now);
    let sim = Simulation::on(disk, Arc::new(MemoryStore::default()), "boot-1", now);
    assert_eq!(before.len(), sim.fingerprint().len());
}

#[test]
fn a_gap_that_half_a_checkpoint_holds_is_settled_for_every_group() {
    for kept in 0..12 {
        let mut sim = Simulation::new();
        let client = sim.connect();
        let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
        sim.make_group(&client, "g", GroupSettings::at_once());
        sim.publish_at(&client, &topic, Durability::Memory, &["a", "b"]);
        let got = sim.receive(&client, "g", "t", 1, 60_000);
        sim.settle(&client, &got, Outcome::Ack);
        sim.checkpoint();
        let mut sim = sim.crash(Loss::All);
        sim.checkpoints = Checkpoints::CutAfter(kept);
        sim.checkpoint();
        let (disk, now, store) = (sim.disk.clone(), sim.now, sim.store.clone());
        let from_store = Simulation::on(disk.fork().power_cut(Loss::Nothing), store, "boot-1+", now);
        let scratch: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let from_log = Simulation::on(disk.power_cut(Loss::Nothing), scratch, "boot-1+", now);
        assert_eq!(from_store.fingerprint(), from_log.fingerprint(), "{kept} items were stored");
    }
}

#[test]
fn what_went_before_a_checkpoint_failed_does_not_come_back() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.make_topic(&client, "gone", TopicSettings { queues: 1, ..TopicSettings::default() });
    let mut batch = PublishBatch::default();
    let due = sim.now.wall_ms + 1_000;
    batch.push_due(&draft("t", "once"), topic.id, None, 0, Durability::Disk, due).unwrap();
    sim.send(&client, batch);
    sim.checkpoint();
    let delete =
        |token| Command::DeleteTopic { token, name: "gone".into(), if_unused: false, if_empty: false };
    sim.ask(&client, delete).unwrap();
    sim.pass_ms(1_000);
    sim.checkpoints = Checkpoints::Refused;
    sim.checkpoint();
    sim.checkpoints = Checkpoints::Stored;
    sim.checkpoint();
    let mut sim = sim.crash(Loss::Nothing);
    assert!(sim.shard.directory().topic("gone").is_none());
    sim.pass_ms(1_000);
    assert_eq!(sim.read("t", 0, 0), [(0, "once".to_owned())]);
}
