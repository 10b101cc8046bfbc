//! Checkpoints and snapshots that take many turns, while everything they show goes on changing.

use super::*;
use crate::limits::TURN_PIECES_MAX;

/// Tells the broker something of each kind that changes a piece of its state, a turn at a time.
fn change_everything(sim: &mut Simulation, client: &Client) {
    let topic = sim.topic("t");
    let got = sim.shard.directory().group("g").map(|group| group.id).unwrap();
    let queues: Vec<QueueId> = topic.queues().iter().map(|queue| queue.id).collect();
    let mut published = PublishBatch::default();
    let mut waits = PublishBatch::default();
    for body in ["a", "b", "c"] {
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        published.push(&draft("t", body), destination, tag_hash("t"), Durability::Disk).unwrap();
        let due = sim.now.wall_ms + 90_000;
        waits.push_due(&draft("t", body), topic.id, None, 0, Durability::Disk, due).unwrap();
    }
    let exchange = ExchangeSettings {
        kind: ExchangeKind::Direct,
        lifetime: Lifetime::Durable,
        delete_when_unused: false,
        internal: false,
        attributes: BTreeMap::new(),
    };
    let delete = |token, name: &str| Command::DeleteTopic {
        token,
        name: name.into(),
        if_unused: false,
        if_empty: false,
    };
    let put_topic = |token, name: &str, queues| Command::PutTopic {
        token,
        name: name.into(),
        settings: TopicSettings { queues, ..TopicSettings::default() },
        adopt: false,
    };
    let bind = |token| Command::Bind {
        token,
        source: "x".into(),
        target: BindTarget::Topic("late".into()),
        key: "k".into(),
        attributes: Default::default(),
    };
    let commits = queues.iter().map(|queue| (*queue, 20)).collect();
    let commands: Vec<Command> = vec![
        Command::Publish { token: client.token(), batch: published },
        Command::Publish { token: client.token(), batch: waits },
        put_topic(client.token(), "late", 1),
        Command::PutExchange { token: client.token(), name: "x".into(), settings: exchange },
        bind(client.token()),
        Command::Commit { token: Some(client.token()), group: "o".into(), commits },
        put_topic(client.token(), "t", 3),
        Command::PutGroup {
            token: client.token(),
            name: "g".into(),
            settings: Some(GroupSettings::at_once()),
        },
        Command::Purge { token: client.token(), group: "q".into(), topic: "q".into() },
        delete(client.token(), "q"),
        Command::DeleteGroup { token: client.token(), group: "g".into(), topic: "t".into() },
        delete(client.token(), "late"),
    ];
    assert!(sim.shard.state().progress(got, queues[0]).is_some(), "there is something to forget");
    for command in commands {
        assert!(sim.shard.is_amid_work(), "it takes more turns than there are commands");
        let (mailbox, since) = (client.mailbox.clone(), sim.now.mono);
        sim.shard.handle(sim.now, Input::Commands { mailbox, commands: vec![command], since });
        sim.step(Part::Shard);
    }
}

/// Enough pieces for many turns; a checkpoint holds those whose number is not even.
fn many_pieces() -> (Simulation, Client) {
    let (mut sim, _) = super::durability::eventful();
    let client = sim.connect();
    sim.make_group(&client, "o", GroupSettings::at_once());
    for number in 0..60 {
        let name = format!("more {number}");
        sim.make_topic(&client, &name, TopicSettings { queues: 1, ..TopicSettings::default() });
        if number == 30 {
            sim.checkpoint();
        }
    }
    (sim, client)
}

/// What a start makes of the store and the log, and of the log alone.
fn starts(sim: &Simulation) -> [BTreeMap<String, Vec<Item>>; 2] {
    [sim.store.clone(), Arc::new(MemoryStore::default()) as Arc<dyn Store>].map(|store| {
        let disk = sim.disk.fork().power_cut(Loss::Nothing);
        Simulation::on(disk, store, "boot-1", sim.now).fingerprint()
    })
}

#[test]
fn a_checkpoint_shows_one_moment_however_many_turns_it_takes() {
    for kept in [0, 1, 2, 3, 5, 8, 12, usize::MAX] {
        let (mut sim, client) = many_pieces();
        sim.shard.take_in_a_turn(1);
        sim.checkpoints = if kept == usize::MAX { Checkpoints::Stored } else { Checkpoints::CutAfter(kept) };
        sim.shard.begin_checkpoint(sim.now);
        let before = fingerprint(sim.shard.state());
        change_everything(&mut sim, &client);
        assert_ne!(before, fingerprint(sim.shard.state()));
        sim.run();
        let [from_store, from_log] = starts(&sim);
        assert!(from_store == from_log, "{kept} values were stored");
    }
}

#[test]
fn a_snapshot_shows_one_moment_however_many_turns_it_takes() {
    let (mut sim, client) = many_pieces();
    let topic = sim.topic("t");
    let filler = "x".repeat(10_000);
    for _ in 0..30 {
        sim.publish(&client, &topic, &[filler.as_str(); 10]);
    }
    sim.shard.take_in_a_turn(1);
    let (mailbox, token) = (client.mailbox.clone(), client.token());
    sim.shard.handle(sim.now, Input::Trim { mailbox, token, before: SEGMENT_BYTES });
    while !sim.shard.is_taking_a_snapshot() {
        for part in Part::ALL {
            sim.step(part);
        }
    }
    change_everything(&mut sim, &client);
    sim.run();
    assert!(sim.shard.log_start() >= SEGMENT_BYTES, "it was trimmed");
    let [from_store, from_log] = starts(&sim);
    let different = from_store.iter().find(|(key, items)| from_log.get(*key) != Some(*items));
    assert_eq!(different, None);
    assert_eq!(from_store.len(), from_log.len());
}

#[test]
fn a_stop_and_a_failed_log_wait_for_no_snapshot_and_store_no_half_of_a_checkpoint() {
    for fails in [false, true] {
        let (mut sim, client) = many_pieces();
        sim.shard.take_in_a_turn(1);
        sim.shard.begin_checkpoint(sim.now);
        sim.step(Part::Shard);
        let values = values_of(&sim);
        if fails {
            sim.input(Input::Poisoned("a test".to_owned()));
            assert_eq!(values_of(&sim), values, "the store is as it was");
        } else {
            sim.input(Input::Stop);
            assert!(!sim.shard.is_amid_work() && values_of(&sim) != values);
        }
        assert!(sim.shard.is_idle());
        drop(client);
        let [from_store, from_log] = starts(&sim);
        assert!(from_store == from_log);
    }
}

#[test]
fn a_turn_takes_pieces_up_to_its_limit() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.shard.take_in_a_turn(TURN_PIECES_MAX);
    for number in 0..3 * TURN_PIECES_MAX {
        sim.make_group(&client, &format!("g{number}"), GroupSettings::at_once());
    }
    sim.shard.begin_checkpoint(sim.now);
    let mut turns = 0;
    while sim.shard.is_amid_work() {
        sim.step(Part::Shard);
        turns += 1;
    }
    // One piece more is the shard's own.
    assert_eq!(turns, 4);
}

fn values_of(sim: &Simulation) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut values = Vec::new();
    sim.store.scan(&[], &mut |key, value| values.push((key.to_vec(), value.to_vec()))).unwrap();
    values
}

#[test]
fn an_open_end_that_a_checkpoint_has_written_is_sealed_before_it_grows_long() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    let queue = topic.queue(0).unwrap();
    let publish = |sim: &mut Simulation, messages: usize| {
        sim.publish(&client, &topic, &vec!["x"; messages]);
        queue.image(u64::MAX).entries().count()
    };
    // As long as none has written it, it may become a block of the usual length.
    assert_eq!(publish(&mut sim, 1_000), 1_000);
    // Full parts of it are then sealed: at most one is open, and the one behind.
    let longest = (0..40).map(|_| {
        sim.checkpoint();
        publish(&mut sim, 50)
    });
    assert!(longest.skip(6).max().unwrap() <= 512);
    let restarted = Simulation::on(sim.disk.fork(), sim.store.clone(), "boot-1", sim.now);
    assert_eq!(restarted.read("t", 0, 0).len(), 3_000);
}
