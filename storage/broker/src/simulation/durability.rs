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

#[test]
fn every_point_of_a_power_cut_leaves_what_was_acknowledged() {
    let changes_of_a_run = {
        let (sim, _) = scripted(None);
        sim.map(|sim| sim.disk.changes()).unwrap()
    };
    let mut checked = 0;
    for cut in (1..changes_of_a_run).step_by(3) {
        for loss in [Loss::All, Loss::Torn, Loss::Pages] {
            let disk = FaultDisk::new(cut);
            disk.fail_power_after(cut);
            let (_, acknowledged) = scripted(Some(disk.clone()));
            let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
            let sim = Simulation::on(disk.power_cut(loss), store, "boot-2", start());
            let found: Vec<(u64, String)> =
                if acknowledged.is_empty() { Vec::new() } else { sim.read("t", 0, 0) };
            for (offset, body) in &acknowledged {
                assert!(
                    found.contains(&(*offset, body.clone())),
                    "cut {cut} {loss:?}: {body} at {offset} is lost"
                );
            }
            assert!(found.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "offsets are contiguous");
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} cuts");
}

/// Publishes message after message; returns what was acknowledged before the disk died.
fn scripted(disk: Option<FaultDisk>) -> (Option<Simulation>, Vec<(u64, String)>) {
    let disk = disk.unwrap_or_else(|| FaultDisk::new(1));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let Ok(mut sim) = Simulation::try_on(disk, store, "boot-1", start()) else { return (None, Vec::new()) };
    let client = sim.connect();
    let settings = TopicSettings { queues: 1, ..TopicSettings::default() };
    let put = |token| Command::PutTopic { token, name: "t".into(), settings, adopt: false };
    let token = client.token();
    sim.tell(&client, put(token));
    let made =
        sim.events(&client).into_iter().any(|event| matches!(event, Event::Reply { result: Ok(_), .. }));
    let mut acknowledged = Vec::new();
    if !made {
        return (Some(sim), acknowledged);
    }
    let topic = sim.topic("t");
    for i in 0..30 {
        let body = format!("message {i}");
        if let Some(Ok(stored)) = sim.publish(&client, &topic, &[&body]).pop() {
            acknowledged.push((stored.offset.unwrap(), body));
        }
        sim.pass_ms(1);
    }
    (Some(sim), acknowledged)
}

#[test]
fn a_failed_sync_ends_all_acknowledgements() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.disk.fail(mailrail_commitlog::disk::Op::Sync, ".seg", 0, 1, 5);
    let results = sim.publish(&client, &topic, &["a"]);
    assert!(matches!(results[0], Err(Error::Poisoned(_))), "{results:?}");
    sim.disk.fail_no_more();
    let results = sim.publish(&client, &topic, &["b"]);
    assert!(matches!(results[0], Err(Error::Poisoned(_))), "no second try: {results:?}");
    let refused = sim.ask(&client, |token| Command::PutGroup { token, name: "g".into(), settings: None });
    assert!(matches!(refused, Err(Error::Poisoned(_))));
}

#[test]
fn a_full_disk_refuses_publishes_and_serves_again_when_there_is_room() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.disk.limit_bytes(Some(3 << 20));
    let long = "x".repeat(100_000);
    let mut stored = 0u64;
    let refused = loop {
        match sim.publish(&client, &topic, &[&long]).pop().unwrap() {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "the limit holds");
    };
    assert_eq!(refused, Error::NoSpace);
    assert_eq!(sim.read("t", 0, 0).len() as u64, stored, "what was stored can be read");
    sim.disk.limit_bytes(None);
    let again = sim.publish(&client, &topic, &[&long]).pop().unwrap();
    assert_eq!(again.unwrap().offset, Some(stored), "no offset was lost");
}

#[test]
fn a_disk_that_fills_up_under_a_write_refuses_what_waits_and_goes_on_by_itself() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.publish(&client, &topic, &["before"]);
    let full = mailrail_commitlog::disk::Op::Write;
    sim.disk.fail(full, ".seg", 0, 1, 28);
    sim.disk.fail(mailrail_commitlog::disk::Op::Allocate, ".seg", 0, u32::MAX, 28);
    assert_eq!(sim.publish(&client, &topic, &["hit"]), [Err(Error::NoSpace)]);
    assert_eq!(sim.publish(&client, &topic, &["refused"]), [Err(Error::NoSpace)], "nothing is taken");
    let put = sim.ask(&client, |token| Command::PutGroup { token, name: "g".into(), settings: None });
    assert!(matches!(put, Err(Error::NoSpace)), "{put:?}");
    assert_eq!(sim.read("t", 0, 0), [(0, "before".to_owned())], "reads go on");
    sim.disk.fail_no_more();
    sim.run();
    let stored = sim.publish(&client, &topic, &["after"]).pop().unwrap().unwrap();
    assert_eq!(stored.offset, Some(2));
    // What was hit was not acknowledged, and is there all the same, as after a lost answer.
    let expected = ["before", "hit", "after"].map(str::to_owned);
    assert!(sim.read("t", 0, 0).into_iter().map(|(_, body)| body).eq(expected.clone()));
    let sim = sim.crash(Loss::All);
    assert!(sim.read("t", 0, 0).into_iter().map(|(_, body)| body).eq(expected));
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
fn a_settlement_that_the_log_has_no_room_for_is_an_error_and_the_message_stays_leased() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.make_group(&client, "g", GroupSettings::at_once());
    sim.publish(&client, &topic, &["a"]);
    let got = sim.receive(&client, "g", "t", 1, 60_000);
    sim.disk.limit_bytes(Some(1));
    let filler = "x".repeat(30_000);
    while sim.publish(&client, &topic, &[&filler]).pop().unwrap().is_ok() {}
    // Short records still fit for a while.
    while sim
        .ask(&client, |token| Command::PutGroup {
            token,
            name: "n".into(),
            settings: Some(settings_of(token)),
        })
        .is_ok()
    {}
    assert_eq!(sim.settle(&client, &got, Outcome::Ack), [Err(Error::NoSpace)]);
    sim.disk.limit_bytes(None);
    assert_eq!(sim.settle(&client, &got, Outcome::Ack), [Ok(())]);
}

/// Settings that differ with every token.
fn settings_of(token: Token) -> GroupSettings {
    GroupSettings { backoff_ms: vec![token.0], ..GroupSettings::at_once() }
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

#[test]
fn store_times_do_not_decrease_when_the_clock_goes_back() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.publish(&client, &topic, &["a"]);
    sim.now.wall_ms -= 3_600_000;
    sim.publish(&client, &topic, &["b"]);
    let mut sim = sim.crash(Loss::Nothing);
    let (client, topic) = (sim.connect(), sim.topic("t"));
    sim.publish(&client, &topic, &["c"]);
    let queue = topic.queue(0).unwrap();
    let times: Vec<u64> =
        queue.entries(0, 10, &sim.context.blocks).unwrap().iter().map(|entry| entry.store_ms).collect();
    assert_eq!(times.len(), 3);
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_message_in_several_queues_takes_none_of_them_back_in_time_nor_does_its_replay() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let one = || TopicSettings { queues: 1, ..TopicSettings::default() };
    let (a, b) = (sim.make_topic(&client, "a", one()), sim.make_topic(&client, "b", one()));
    let bind = |token| Command::Bind {
        token,
        source: "b".into(),
        target: BindTarget::Topic("a".into()),
        key: "#".into(),
        attributes: Default::default(),
    };
    sim.ask(&client, bind).unwrap();
    sim.publish(&client, &a, &["later"]);
    sim.now.wall_ms -= 3_600_000;
    sim.publish(&client, &b, &["in both"]);
    let before = sim.fingerprint();
    let sim = restarted(sim, Arc::new(MemoryStore::default()));
    assert_eq!(before, sim.fingerprint());
    let queue = a.queue(0).unwrap();
    let entries = queue.entries(0, 10, &sim.context.blocks).unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.is_sorted_by_key(|entry| entry.store_ms), "{entries:?}");
}
