//! Topics that keep the newest message of each key: what goes, what stays, and where; in examples, in random histories
//! beside a plain map, and with faults amid a pass.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mailrail_commitlog::planted::{Bug, plant};
use proptest::prelude::*;

use super::*;
use crate::compaction::{Compaction, Terms};
use crate::limits::{COMPACTED_RUNS_MAX, COMPACTION_KEYS_MAX, COMPACTION_STEP_BYTES_MAX};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// After so long whatever has come is compared.
const A_WHILE_MS: u64 = 16 * MINUTE_MS;

fn compacted(attributes: &[(&str, &str)]) -> TopicSettings {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    TopicSettings {
        queues: 1,
        retention: Retention::Compacted,
        attributes: attributes.collect(),
        ..TopicSettings::default()
    }
}

fn scene(attributes: &[(&str, &str)]) -> (Simulation, Client) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "t", compacted(attributes));
    (sim, client)
}

fn put(sim: &mut Simulation, client: &Client, key: &str, body: &str) -> u64 {
    try_put(sim, client, &format!("KEYS\u{1}{key}\u{2}"), body).unwrap().offset.unwrap()
}

fn try_put(sim: &mut Simulation, client: &Client, properties: &str, body: &str) -> Result<Stored, Error> {
    let (topic, mut batch) = (sim.topic("t"), PublishBatch::default());
    let draft = Draft { properties: properties.as_bytes(), ..draft("t", body) };
    let destination = Destination::Topic { topic: topic.id, queue_index: None };
    batch.push(&draft, destination, 0, Durability::Disk).unwrap();
    sim.send(client, batch).pop().unwrap()
}

fn offsets(sim: &Simulation) -> Vec<u64> {
    sim.read("t", 0, 0).into_iter().map(|(offset, _)| offset).collect()
}

fn without_store(sim: Simulation, loss: Loss) -> Simulation {
    let (disk, now) = (sim.disk.power_cut(loss), sim.now);
    Simulation::on(disk, Arc::new(MemoryStore::default()), "boot-2", now)
}

#[test]
fn the_newest_of_each_key_stays_at_its_offset_and_readers_pass_over_the_rest() {
    let (mut sim, client) = scene(&[]);
    for (key, body) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", "5"), ("a", "6")] {
        put(&mut sim, &client, key, body);
    }
    assert_eq!(offsets(&sim), [0, 1, 2, 3, 4, 5]);
    sim.pass_ms(A_WHILE_MS);
    let left = vec![(3, "4".to_owned()), (4, "5".to_owned()), (5, "6".to_owned())];
    let check = |sim: &Simulation| {
        assert_eq!(sim.read("t", 0, 0), left);
        let queue = sim.topic("t").queue(0).unwrap();
        assert_eq!((queue.min_offset(), queue.end_offset()), (3, 6));
    };
    check(&sim);
    // A new value, and a pass that compares it with what older passes have left.
    put(&mut sim, &client, "b", "7");
    sim.pass_ms(A_WHILE_MS);
    assert_eq!(offsets(&sim), [3, 5, 6]);
    let sim = sim.crash(Loss::Nothing);
    assert_eq!(offsets(&sim), [3, 5, 6]);
    let sim = without_store(sim, Loss::Nothing);
    assert_eq!(offsets(&sim), [3, 5, 6]);
}

#[test]
fn a_message_without_a_key_is_refused_and_other_topics_take_it() {
    let (mut sim, client) = scene(&[]);
    for properties in ["", "KEYS\u{1} \u{2}", "TAGS\u{1}t\u{2}"] {
        let error = try_put(&mut sim, &client, properties, "x").unwrap_err();
        assert_eq!(error, Error::NoKey("t".to_owned()));
    }
    let topic = sim.topic("t");
    let mut batch = PublishBatch::default();
    let due_ms = sim.now.wall_ms + 1_000;
    batch.push_due(&draft("t", "x"), topic.id, None, 0, Durability::Disk, due_ms).unwrap();
    assert_eq!(sim.send(&client, batch), [Err(Error::NoKey("t".to_owned()))]);
    assert!(offsets(&sim).is_empty());
    let mut batch = PublishBatch::default();
    let keyed = Draft { properties: b"KEYS\x01k\x02", ..draft("t", "later") };
    batch.push_due(&keyed, topic.id, None, 0, Durability::Disk, due_ms).unwrap();
    assert!(sim.send(&client, batch)[0].is_ok());
    sim.pass_ms(2_000);
    assert_eq!(offsets(&sim), [0]);
}

#[test]
fn settings_that_mean_nothing_elsewhere_are_refused() {
    let (mut sim, client) = scene(&[]);
    for name in [COMPACTION_LAG_MS, TOMBSTONE_MS] {
        let settings = TopicSettings { retention: Retention::TimeSize, ..compacted(&[(name, "7")]) };
        let asked = |token| Command::PutTopic { token, name: "u".into(), settings, adopt: false };
        let error = sim.ask(&client, asked).unwrap_err().to_string();
        assert!(error.contains("is 7; only on a topic that keeps the newest message"), "{error}");
    }
}

#[test]
fn an_empty_body_removes_its_key_and_goes_itself_when_its_time_is_over() {
    let (mut sim, client) = scene(&[(TOMBSTONE_MS, &HOUR_MS.to_string())]);
    put(&mut sim, &client, "a", "1");
    put(&mut sim, &client, "b", "2");
    put(&mut sim, &client, "a", "");
    sim.pass_ms(A_WHILE_MS);
    assert_eq!(offsets(&sim), [1, 2], "whoever reads along must hear of it");
    sim.pass_ms(HOUR_MS - A_WHILE_MS - 1);
    assert_eq!(offsets(&sim), [1, 2]);
    sim.pass_ms(2 * MINUTE_MS);
    assert_eq!(offsets(&sim), [1]);
    // A reader at the end waits there, and gets what comes next.
    let queue = sim.topic("t").queue(0).unwrap();
    let request = ReadRequest { queue, offset: 2, max_entries: 9, max_bytes: 99, filter: Filter::all() };
    assert_eq!(sim.context.read(&request, sim.now.wall_ms).unwrap().next_offset, 3);
    assert_eq!(put(&mut sim, &client, "a", "4"), 3);
    assert_eq!(offsets(&sim), [1, 3]);
}

#[test]
fn what_is_younger_than_the_lag_is_left_alone() {
    let (mut sim, client) = scene(&[(COMPACTION_LAG_MS, &HOUR_MS.to_string())]);
    put(&mut sim, &client, "a", "1");
    put(&mut sim, &client, "a", "2");
    sim.pass_ms(A_WHILE_MS);
    put(&mut sim, &client, "a", "3");
    assert_eq!(offsets(&sim), [0, 1, 2]);
    sim.pass_ms(HOUR_MS - A_WHILE_MS);
    assert_eq!(offsets(&sim), [1, 2], "the third is not looked at yet");
    sim.pass_ms(HOUR_MS);
    assert_eq!(offsets(&sim), [2]);
}

#[test]
fn what_was_removed_is_found_neither_by_its_id_nor_by_its_key() {
    let (mut sim, client) = scene(&[]);
    let position =
        |sim: &mut Simulation, body: &str| try_put(sim, &client, "KEYS\u{1}a\u{2}", body).unwrap().position;
    let (older, newer) = (position(&mut sim, "1"), position(&mut sim, "2"));
    assert!(sim.context.read_position(older).is_ok());
    sim.pass_ms(A_WHILE_MS);
    assert_eq!(sim.context.read_position(older).unwrap_err(), Error::NoMessage(older));
    assert!(sim.context.read_position(newer).is_ok());
    let request = FindRequest {
        topic: sim.topic("t"),
        key: "a".to_owned(),
        from_ms: 0,
        to_ms: u64::MAX,
        max: 9,
        max_bytes: 9_999,
    };
    assert_eq!(sim.context.find(&request).unwrap().len(), 1);
}

#[test]
fn a_group_is_handed_out_what_is_left_and_who_holds_what_is_gone_may_settle_it() {
    for turns in [Order::Any, Order::Queue, Order::Key] {
        let (mut sim, client) = scene(&[]);
        let turns = Turns { order: turns, single_active: false };
        sim.make_group(&client, "g", GroupSettings { turns, ..GroupSettings::at_once() });
        for number in 0..10 {
            put(&mut sim, &client, ["a", "b"][number % 2], &number.to_string());
        }
        let held = sim.receive(&client, "g", "t", 3, HOUR_MS);
        assert_eq!(bodies(&held), ["0", "1", "2"]);
        sim.pass_ms(A_WHILE_MS);
        assert!(sim.settle(&client, &held[..2], Outcome::Ack).iter().all(Result::is_ok), "{turns:?}");
        sim.settle(&client, &held[2..], Outcome::Retry { delay_ms: None });
        let rest = sim.receive(&client, "g", "t", 10, HOUR_MS);
        assert_eq!(bodies(&rest), ["8", "9"], "{turns:?}");
        sim.settle(&client, &rest, Outcome::Ack);
        let view = |token| Command::GroupState { token, group: "g".into(), topic: "t".into() };
        let Ok(Reply::Group(view)) = sim.ask(&client, view) else { panic!() };
        assert_eq!((view.ready, view.leased, view.queues[0].committed), (0, 0, 10), "{turns:?}");
        // A new group begins with what is left, and knows how much that is.
        let seek = |token| Command::GroupState { token, group: "new".into(), topic: "t".into() };
        sim.make_group(&client, "new", GroupSettings::at_once());
        assert_eq!(bodies(&sim.receive(&client, "new", "t", 1, HOUR_MS)), ["8"]);
        let Ok(Reply::Group(view)) = sim.ask(&client, seek) else { panic!() };
        assert_eq!((view.ready, view.leased), (1, 1));
    }
}

#[test]
fn lag_counts_what_is_there() {
    let (mut sim, client) = scene(&[]);
    sim.make_group(&client, "g", GroupSettings::at_once());
    put(&mut sim, &client, "stays", "0");
    let first = sim.receive(&client, "g", "t", 1, HOUR_MS);
    for number in 1..10 {
        put(&mut sim, &client, "a", &number.to_string());
    }
    sim.pass_ms(A_WHILE_MS);
    let view = |token| Command::GroupState { token, group: "g".into(), topic: "t".into() };
    let Ok(Reply::Group(view)) = sim.ask(&client, view) else { panic!() };
    assert_eq!((view.ready, view.leased, view.queues[0].lag), (1, 1, 2));
    sim.settle(&client, &first, Outcome::Ack);
    assert_eq!(bodies(&sim.receive(&client, "g", "t", 9, HOUR_MS)), ["9"]);
}

/// Keys whose number is given, each written twice; then one pass.
fn written_twice(keys: usize) -> (Simulation, usize) {
    let (mut sim, client) = scene(&[]);
    for round in 0..2 {
        for key in 0..keys {
            put(&mut sim, &client, &format!("key-{key}"), &format!("{round}"));
        }
    }
    let queue = sim.topic("t").queue(0).unwrap();
    let terms = Terms { now_ms: sim.now.wall_ms, lag_ms: 0, tombstone_ms: HOUR_MS };
    let mut pass = Box::new(Compaction::new(queue, 0, terms));
    while !pass.is_done() {
        pass = pass.step(&sim.context).unwrap();
    }
    (sim, usize::try_from(pass.to).unwrap())
}

#[test]
fn a_pass_knows_so_many_keys_and_the_next_one_goes_on() {
    let (sim, to) = written_twice(COMPACTION_KEYS_MAX);
    assert_eq!(to, 2 * COMPACTION_KEYS_MAX);
    drop(sim);
    let (mut sim, to) = written_twice(COMPACTION_KEYS_MAX + 1);
    assert_eq!(to, COMPACTION_KEYS_MAX);
    sim.pass_ms(A_WHILE_MS);
    let all = COMPACTION_KEYS_MAX as u64 + 1;
    assert_eq!(offsets(&sim), (all..2 * all).collect::<Vec<_>>());
}

#[test]
fn a_step_reads_and_finds_so_much_and_no_more() {
    let (mut sim, client) = scene(&[]);
    // Every second one is the only one of its key, so that each of the others is a run of its own.
    let pairs = COMPACTED_RUNS_MAX + 1;
    for number in 0..pairs {
        put(&mut sim, &client, "again", "x");
        put(&mut sim, &client, &format!("once-{number}"), "x");
    }
    put(&mut sim, &client, "again", &"x".repeat(COMPACTION_STEP_BYTES_MAX));
    let queue = sim.topic("t").queue(0).unwrap();
    let terms = Terms { now_ms: sim.now.wall_ms, lag_ms: 0, tombstone_ms: HOUR_MS };
    let mut pass = Box::new(Compaction::new(queue, 0, terms));
    let (mut steps, mut found) = (0, Vec::new());
    while !pass.is_done() {
        pass = pass.step(&sim.context).unwrap();
        assert!(pass.found.len() <= COMPACTED_RUNS_MAX, "{:?}", pass.found);
        found.extend(pass.found.iter().copied());
        steps += 1;
    }
    assert!(steps > 2, "{steps} steps");
    assert_eq!(found, (0..pairs as u64).map(|number| (2 * number, 2 * number + 1)).collect::<Vec<_>>());
}

/// Bytes of all files that hold a part of the log.
fn log_bytes(sim: &Simulation) -> usize {
    let is_part =
        |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "seg" || extension == "kept");
    let paths = sim.disk.paths();
    paths.iter().filter(is_part).map(|path| sim.disk.contents(path).map_or(0, |bytes| bytes.len())).sum()
}

#[test]
fn keys_that_are_written_again_and_again_take_no_more_room_than_they_need() {
    const SEGMENT: u64 = 64 * 1024;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut sim =
        Simulation::with_segments_of(SEGMENT, FaultDisk::new(7), store.clone(), "boot-1", start()).unwrap();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", compacted(&[]));
    // One that never changes lies before all others.
    put(&mut sim, &client, "stays", "from the start");
    let body = "x".repeat(100);
    for round in 0..1_000 {
        let mut batch = PublishBatch::default();
        for key in 0..100 {
            let keys = format!("KEYS\u{1}key-{key}\u{2}");
            let body = format!("{round} {body}");
            let draft = Draft { properties: keys.as_bytes(), ..draft("t", &body) };
            let destination = Destination::Topic { topic: topic.id, queue_index: None };
            batch.push(&draft, destination, 0, Durability::Disk).unwrap();
        }
        assert!(sim.send(&client, batch).iter().all(Result::is_ok));
        if round % 100 == 99 {
            sim.pass_ms(2 * MINUTE_MS);
            sim.pass_ms(2 * MINUTE_MS);
        }
    }
    for _ in 0..4 {
        sim.pass_ms(A_WHILE_MS);
    }
    let bytes = log_bytes(&sim);
    assert!(bytes < 12 * SEGMENT as usize, "{bytes} bytes of some 25 MB that were written");
    let mut blocks = 0;
    store.scan(&[], &mut |_, value| blocks += value.len()).unwrap();
    assert!(blocks < 200_000, "{blocks} bytes in the store, of 100,000 entries");
    let left = sim.read("t", 0, 0);
    assert_eq!((left.len(), left[0].1.as_str()), (101, "from the start"));
    assert!(left[1..].iter().all(|(_, body)| body.starts_with("999 ")));
    // And all of it is there again without the store.
    let (disk, now) = (sim.disk.power_cut(Loss::All), sim.now);
    drop(sim);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let sim = Simulation::with_segments_of(SEGMENT, disk, store, "boot-2", now).unwrap();
    assert_eq!(sim.read("t", 0, 0), left);
}

#[test]
fn a_fault_at_any_moment_of_a_pass_loses_no_value() {
    let mut cut = 0;
    loop {
        let (mut sim, client) = scene(&[]);
        for number in 0..40 {
            put(&mut sim, &client, &format!("key-{}", number % 7), &number.to_string());
        }
        if cut % 2 == 0 {
            sim.checkpoint();
        }
        sim.now.wall_ms += A_WHILE_MS;
        sim.now.mono += Duration::from_millis(A_WHILE_MS);
        let mut moves = 0;
        'pass: loop {
            let mut moved = false;
            for part in Part::ALL {
                if moves == cut {
                    break 'pass;
                }
                moved |= sim.step(part);
                moves += 1;
            }
            if !moved {
                break;
            }
        }
        let is_over = moves < cut;
        let newest: Vec<(u64, String)> = (33..40).map(|offset| (offset, offset.to_string())).collect();
        for (loss, loses_store) in [(Loss::All, false), (Loss::Torn, true), (Loss::Nothing, false)] {
            let (disk, now) = (sim.disk.fork().power_cut(loss), sim.now);
            let store = if loses_store { Arc::new(MemoryStore::default()) } else { sim.store.clone() };
            let boot = if loss == Loss::Nothing { "boot-1" } else { "boot-2" };
            let mut after = Simulation::on(disk, store, boot, now);
            let found = after.read("t", 0, 0);
            assert!(newest.iter().all(|value| found.contains(value)), "cut {cut} {loss:?}: {found:?}");
            after.pass_ms(A_WHILE_MS);
            assert_eq!(after.read("t", 0, 0), newest, "cut {cut} {loss:?}");
        }
        if is_over {
            break;
        }
        cut += 1;
    }
    assert!(cut > 20, "{cut} cuts");
}

#[derive(Clone, Debug)]
enum Act {
    /// A value, or a tombstone.
    Put(u8, bool),
    Pass,
    Wait(u64),
    Checkpoint,
    Trim,
    Kill,
    PowerCut,
    LoseStore,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        30 => (0u8..8, 0u8..5).prop_map(|(key, dead)| Act::Put(key, dead == 0)),
        3 => Just(Act::Pass),
        1 => (1u64..40).prop_map(Act::Wait),
        2 => Just(Act::Checkpoint),
        1 => Just(Act::Trim),
        1 => Just(Act::Kill),
        1 => Just(Act::PowerCut),
        1 => Just(Act::LoseStore),
    ];
    proptest::collection::vec(act, 1..120)
}

/// Carries out a history beside a map of the newest of each key.
fn history(acts: &[Act]) {
    let (mut sim, mut client) = scene(&[(TOMBSTONE_MS, &HOUR_MS.to_string())]);
    let mut all: BTreeMap<u64, (u8, String, u64)> = BTreeMap::new();
    for (number, act) in acts.iter().enumerate() {
        let before = sim.read("t", 0, 0);
        match act {
            Act::Put(key, is_dead) => {
                let body = if *is_dead { String::new() } else { format!("{number} {}", "x".repeat(200)) };
                let offset = put(&mut sim, &client, &format!("key-{key}"), &body);
                let is_new = all.insert(offset, (*key, body, sim.now.wall_ms)).is_none();
                assert!(is_new, "offset {offset} is given twice");
            }
            Act::Pass => sim.pass_ms(A_WHILE_MS),
            Act::Wait(minutes) => sim.pass_ms(minutes * MINUTE_MS),
            Act::Checkpoint => sim.checkpoint(),
            Act::Trim => {
                let before = sim.shard.log_end();
                let (mailbox, token) = (client.mailbox.clone(), client.token());
                sim.input(Input::Trim { mailbox, token, before });
                sim.events(&client);
            }
            Act::Kill => sim = sim.crash(Loss::Nothing),
            Act::PowerCut => sim = sim.crash(Loss::All),
            Act::LoseStore => sim = without_store(sim, Loss::Nothing),
        }
        if !matches!(act, Act::Put(..)) {
            client = sim.connect();
        }
        let found = sim.read("t", 0, 0);
        assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, each once");
        for (offset, body) in &found {
            assert_eq!(all.get(offset).map(|(_, body, _)| body), Some(body), "at its offset");
        }
        let mut newest: BTreeMap<u8, u64> = BTreeMap::new();
        newest.extend(all.iter().map(|(offset, (key, ..))| (*key, *offset)));
        let is_over = |offset: &u64| {
            let (_, body, at_ms) = &all[offset];
            body.is_empty() && at_ms + HOUR_MS <= sim.now.wall_ms
        };
        let wanted: Vec<u64> = newest.values().copied().filter(|offset| !is_over(offset)).collect();
        let offsets: Vec<u64> = found.iter().map(|(offset, _)| *offset).collect();
        assert!(wanted.iter().all(|offset| offsets.contains(offset)), "{act:?}: {wanted:?} of {offsets:?}");
        match act {
            Act::Pass => {
                let mut wanted = wanted;
                wanted.sort_unstable();
                assert_eq!(offsets, wanted, "only the newest of each key");
            }
            Act::Kill | Act::LoseStore => assert!(found == before, "a killed process loses nothing"),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_newest_of_each_key(acts in acts()) {
        history(&acts);
    }
}

#[test]
fn planted_bugs_are_found() {
    let values = (0..20).map(|number| Act::Put(number % 3, false));
    let acts: Vec<Act> = values.chain([Act::Pass, Act::Kill, Act::Put(1, false), Act::Pass]).collect();
    history(&acts);
    for bug in [Bug::NewestCompacted, Bug::CompactionNotReplayed] {
        plant(Some(bug));
        let found = catch_unwind(AssertUnwindSafe(|| history(&acts))).is_err();
        plant(None);
        assert!(found, "{bug:?} is not found");
    }
}
