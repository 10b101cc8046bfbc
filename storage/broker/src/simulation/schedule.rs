//! Messages that wait for their time: their order, their recall, and what a clock, a store or a client can do to them.

use super::store::FaultStore;
use super::*;
use crate::schedule::{LATE_TIMERS_MAX, NEAR_TIMERS_MAX, RECALLED_TIMERS_MAX};

const HOUR_MS: u64 = 3_600_000;

fn scene() -> (Simulation, Client, Arc<Topic>) {
    on(Arc::new(MemoryStore::default()))
}

fn on(store: Arc<dyn Store>) -> (Simulation, Client, Arc<Topic>) {
    let mut sim = Simulation::on(FaultDisk::new(7), store, "boot-1", start());
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    (sim, client, topic)
}

/// Publishes messages with these bodies to be seen after so many milliseconds, by one command.
fn wait(sim: &mut Simulation, client: &Client, messages: &[(&str, u64)]) -> Vec<Result<Stored, Error>> {
    let topic = sim.topic("t");
    let mut batch = PublishBatch::default();
    for (body, delay_ms) in messages {
        let due_ms = sim.now.wall_ms.saturating_add(*delay_ms);
        batch.push_due(&draft("t", body), topic.id, None, tag_hash("t"), Durability::Disk, due_ms).unwrap();
    }
    sim.send(client, batch)
}

fn recall(sim: &mut Simulation, client: &Client, position: u64, topic: Option<&str>) -> Result<Reply, Error> {
    let topic = topic.map(Name::from);
    sim.ask(client, |token| Command::Recall { token, position, topic })
}

fn seen(sim: &Simulation) -> Vec<String> {
    sim.read("t", 0, 0).into_iter().map(|(_, body)| body).collect()
}

#[test]
fn messages_come_by_time_and_then_as_they_were_published_however_they_were_kept() {
    let (mut sim, client, _) = scene();
    // Far more than memory holds here, in several orders, and many of them due together.
    let delays: Vec<u64> = (0..200u64).map(|n| 10_000 + (n * 7_919 % 40) * 1_000).collect();
    let bodies: Vec<String> = (0..delays.len()).map(|n| n.to_string()).collect();
    for (bodies, delays) in bodies.chunks(7).zip(delays.chunks(7)) {
        let messages: Vec<(&str, u64)> =
            bodies.iter().map(String::as_str).zip(delays.iter().copied()).collect();
        assert!(wait(&mut sim, &client, &messages).iter().all(Result::is_ok));
    }
    let mut expected: Vec<(u64, usize)> = delays.into_iter().zip(0..).collect();
    expected.sort_unstable();
    let expected: Vec<String> = expected.into_iter().map(|(_, n)| n.to_string()).collect();
    sim.checkpoint();
    sim.pass_ms(25_000);
    let half = seen(&sim);
    assert_eq!(half, expected[..half.len()]);
    assert!(half.len() > 50 && half.len() < 150, "{}", half.len());
    sim = sim.crash(Loss::All);
    sim.pass_ms(40_000);
    assert_eq!(seen(&sim), expected);
    assert_eq!(sim.shard.state().schedule().waiting(), 0);
}

#[test]
fn messages_that_a_full_topic_has_no_room_for_hold_up_no_others() {
    for put_off in [NEAR_TIMERS_MAX / 2, NEAR_TIMERS_MAX, 3 * NEAR_TIMERS_MAX] {
        let (mut sim, client, _) = scene();
        let attributes = [(LENGTH_MAX, "1"), (OVERFLOW, "reject-publish")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let attributes = attributes.into_iter().collect();
        let settings = TopicSettings { attributes, ..TopicSettings::settled_queue() };
        let full = sim.make_topic(&client, "full", settings);
        sim.make_group(&client, "full", GroupSettings::at_once());
        sim.publish(&client, &full, &["there"]);
        let due_ms = sim.now.wall_ms + 1_000;
        let mut batch = PublishBatch::default();
        for _ in 0..put_off {
            batch.push_due(&draft("full", "late"), full.id, None, 0, Durability::Disk, due_ms).unwrap();
        }
        sim.send(&client, batch);
        // Enough of them that some lie in blocks.
        for _ in 0..5 {
            wait(&mut sim, &client, &[("comes", 2_000); 6]);
        }
        sim.pass_ms(1_500);
        sim.pass_ms(1_500);
        assert_eq!(seen(&sim).len(), 30, "{put_off} are put off");
    }
}

#[test]
fn what_is_recalled_never_comes_and_what_does_not_wait_is_not_recalled() {
    let (mut sim, client, topic) = scene();
    // Near ones, and some in blocks.
    let messages: Vec<(String, u64)> = (0..30).map(|n| (n.to_string(), 1_000 * (n + 1))).collect();
    let messages: Vec<(&str, u64)> = messages.iter().map(|(body, delay)| (body.as_str(), *delay)).collect();
    let stored = wait(&mut sim, &client, &messages);
    let positions: Vec<u64> = stored.into_iter().map(|stored| stored.unwrap().position).collect();
    let forged = {
        // A body that holds what a record of a waiting message looks like.
        let mut batch = PublishBatch::default();
        let due_ms = sim.now.wall_ms + HOUR_MS;
        let forgery = draft("t", "forged");
        batch.push_due(&forgery, topic.id, None, 0, Durability::Disk, due_ms).unwrap();
        let body = batch.buffer.to_vec();
        let mut batch = PublishBatch::default();
        let carrier = Draft { body: &body, ..draft("t", "") };
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        batch.push(&carrier, destination, 0, Durability::Disk).unwrap();
        sim.send(&client, batch)[0].as_ref().unwrap().position
    };
    for n in [0, 3, 17, 29] {
        assert!(matches!(recall(&mut sim, &client, positions[n], Some("t")), Ok(Reply::Done)), "{n}");
    }
    let refused = |sim: &mut Simulation, position, topic| {
        let before = sim.shard.log_end();
        let result = recall(sim, &client, position, topic);
        assert!(
            matches!(result, Err(Error::NotWaiting { position: named, .. }) if named == position),
            "{result:?}"
        );
        assert_eq!(sim.shard.log_end(), before, "nothing has changed");
    };
    for n in [0, 3, 17, 29] {
        refused(&mut sim, positions[n], None);
    }
    refused(&mut sim, positions[1], Some("another topic"));
    for position in (forged..forged + 400).step_by(8).chain([0, 1, u64::MAX, u64::MAX - 7]) {
        refused(&mut sim, position, None);
    }
    sim.pass_ms(2_500);
    refused(&mut sim, positions[1], None);
    sim = sim.crash(Loss::All);
    let client = sim.connect();
    assert!(matches!(recall(&mut sim, &client, positions[3], None), Err(Error::NotWaiting { .. })));
    sim.pass_ms(60_000);
    let read = sim.topic("t").queue(0).unwrap().end_offset();
    let come: Vec<String> = sim.read("t", 0, 1).into_iter().map(|(_, body)| body).collect();
    assert_eq!(come.len() as u64, read - 1, "the first one is the carrier");
    let expected = (0..30).filter(|n| ![0, 3, 17, 29].contains(n)).map(|n| n.to_string());
    assert!(come.iter().cloned().eq(expected), "{come:?}");
}

#[test]
fn a_recall_outlives_the_store_and_the_segments() {
    let (mut sim, mut client, topic) = scene();
    let stored = wait(&mut sim, &client, &[("recalled", HOUR_MS), ("comes", HOUR_MS)]);
    let filler = "x".repeat(10_000);
    for _ in 0..120 {
        sim.publish(&client, &topic, &[&filler]);
    }
    let position = stored[0].as_ref().unwrap().position;
    assert!(recall(&mut sim, &client, position, None).is_ok());
    for trimmed in 0..3 {
        let topic = sim.topic("t");
        for _ in 0..120 {
            sim.publish(&client, &topic, &[&filler]);
        }
        let (mailbox, token, before) = (client.mailbox.clone(), client.token(), sim.shard.log_end());
        let start = sim.shard.log_start();
        sim.input(Input::Trim { mailbox, token, before });
        sim.checkpoint();
        assert!(sim.shard.log_start() > start, "trim {trimmed}");
        let lost = Arc::new(MemoryStore::default());
        sim = Simulation::on(sim.disk.power_cut(Loss::Nothing), lost, "boot-1", sim.now);
        client = sim.connect();
        assert_eq!(sim.shard.state().schedule().waiting(), 1, "after trim {trimmed}");
    }
    let next = sim.topic("t").queue(0).unwrap().end_offset();
    sim.pass_ms(HOUR_MS);
    assert_eq!(sim.read("t", 0, next), [(next, "comes".to_owned())]);
}

#[test]
fn a_store_that_fails_for_a_while_loses_no_timer() {
    let store = Arc::new(FaultStore::default());
    let (mut sim, client, _) = on(store.clone());
    let messages: Vec<(String, u64)> = (0..40).map(|n| (n.to_string(), 1_000 * (n + 1))).collect();
    let messages: Vec<(&str, u64)> = messages.iter().map(|(body, delay)| (body.as_str(), *delay)).collect();
    store.fail(true);
    wait(&mut sim, &client, &messages[..20]);
    sim.checkpoint();
    sim.pass_ms(15_000);
    assert!(seen(&sim).len() < 15, "those in blocks cannot be read");
    store.fail(false);
    wait(&mut sim, &client, &messages[20..]);
    sim.checkpoint();
    sim.pass_ms(2_000);
    sim.pass_ms(2_000);
    let kept = Arc::new(store.after_crash(0));
    let mut sim = Simulation::on(sim.disk.power_cut(Loss::All), kept, "boot-2", sim.now);
    sim.pass_ms(60_000);
    let mut come: Vec<u64> = seen(&sim).iter().map(|body| body.parse().unwrap()).collect();
    come.sort_unstable();
    assert!(come.iter().copied().eq(0..40), "{come:?}");
}

#[test]
fn a_store_that_lost_blocks_is_rebuilt_from_the_log() {
    let store = Arc::new(MemoryStore::default());
    let (mut sim, client, _) = on(store.clone());
    let messages: Vec<(String, u64)> = (0..40).map(|n| (n.to_string(), 1_000 * (n + 1))).collect();
    let messages: Vec<(&str, u64)> = messages.iter().map(|(body, delay)| (body.as_str(), *delay)).collect();
    wait(&mut sim, &client, &messages);
    sim.checkpoint();
    assert!(store.remove_prefix(b"t").unwrap() > 5, "most are in blocks");
    sim.pass_ms(60_000);
    assert!(seen(&sim).len() < 20, "the others cannot be read");
    let mut sim = Simulation::on(sim.disk.power_cut(Loss::Nothing), store, "boot-1", sim.now);
    sim.pass_ms(1);
    assert!(seen(&sim).into_iter().eq((0..40).map(|n| n.to_string())));
}

#[test]
fn dispatches_of_an_older_version_tell_only_positions_and_are_replayed() {
    let (mut sim, client, topic) = scene();
    let messages: Vec<(String, u64)> = (0..40).map(|n| (n.to_string(), 1_000 * (n + 1))).collect();
    let messages: Vec<(&str, u64)> = messages.iter().map(|(body, delay)| (body.as_str(), *delay)).collect();
    let stored = wait(&mut sim, &client, &messages);
    // Near, fresh and in a block, as in the order of their times.
    for (n, stored) in stored.iter().enumerate().take(35) {
        let position = stored.as_ref().unwrap().position.to_le_bytes();
        let annexes = [(mailrail_message::AnnexKind::DispatchOf, position.as_slice())];
        let mut batch = PublishBatch::default();
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        let message = Draft { annexes: &annexes, ..draft("t", messages[n].0) };
        batch.push(&message, destination, tag_hash("t"), Durability::Disk).unwrap();
        assert!(sim.send(&client, batch)[0].is_ok());
    }
    let lost = Arc::new(MemoryStore::default());
    let mut sim = Simulation::on(sim.disk.power_cut(Loss::Nothing), lost, "boot-1", sim.now);
    assert_eq!(sim.shard.state().schedule().waiting(), 5);
    sim.pass_ms(60_000);
    assert!(seen(&sim).into_iter().eq((0..40).map(|n| n.to_string())));
}

/// Fault 11: by hours either way, once and there and back, beside a stop or not.
#[test]
fn jumps_of_the_clock_lose_no_timer_and_none_is_early_or_comes_twice() {
    for (is_forward, comes_back, restarts) in [true, false]
        .into_iter()
        .flat_map(|a| [true, false].map(|b| (a, b)))
        .flat_map(|(a, b)| [true, false].map(|c| (a, b, c)))
    {
        let case = format!("forward {is_forward}, comes back {comes_back}, restarts {restarts}");
        let (mut sim, mut client, _) = scene();
        let jump = |sim: &mut Simulation, is_forward: bool| {
            let wall_ms = &mut sim.now.wall_ms;
            *wall_ms = if is_forward { *wall_ms + 2 * HOUR_MS } else { *wall_ms - 2 * HOUR_MS };
            sim.run();
        };
        // (number, due time) of all that is published; the wall clock when each is first seen.
        let (mut due, mut come): (Vec<u64>, BTreeMap<String, u64>) = (Vec::new(), BTreeMap::new());
        let mut publish = |sim: &mut Simulation, client: &Client| {
            for minutes in [1, 1, 30, 90, 150, 400] {
                let delay_ms = minutes * 60_000;
                due.push(sim.now.wall_ms + delay_ms);
                wait(sim, client, &[(&(due.len() - 1).to_string(), delay_ms)])[0].as_ref().unwrap();
            }
        };
        let look = |sim: &Simulation, come: &mut BTreeMap<String, u64>| {
            let seen = seen(sim);
            let once: std::collections::BTreeSet<&String> = seen.iter().collect();
            assert_eq!(once.len(), seen.len(), "{case}: none comes twice");
            for body in seen {
                come.entry(body).or_insert(sim.now.wall_ms);
            }
        };
        publish(&mut sim, &client);
        sim.pass_ms(120_000);
        look(&sim, &mut come);
        jump(&mut sim, is_forward);
        look(&sim, &mut come);
        publish(&mut sim, &client);
        if restarts {
            sim = sim.crash(Loss::All);
            client = sim.connect();
        }
        if comes_back {
            sim.pass_ms(120_000);
            look(&sim, &mut come);
            jump(&mut sim, !is_forward);
            publish(&mut sim, &client);
        }
        for _ in 0..600 {
            sim.pass_ms(60_000);
            look(&sim, &mut come);
        }
        assert_eq!(come.len(), due.len(), "{case}: all have come");
        for (number, due_ms) in due.iter().enumerate() {
            assert!(come[&number.to_string()] >= *due_ms, "{case}: message {number} is early");
        }
    }
}

#[test]
fn times_out_of_range_are_refused_with_value_and_limit_and_past_ones_are_now() {
    let (mut sim, client, topic) = scene();
    let before = (sim.shard.log_end(), sim.fingerprint());
    for delay_ms in [limits::DELAY_MS_MAX + 1, u64::MAX / 2, u64::MAX] {
        let result = wait(&mut sim, &client, &[("never", delay_ms)]).pop().unwrap();
        let ahead_ms = sim.now.wall_ms.saturating_add(delay_ms) - sim.now.wall_ms;
        assert!(
            matches!(result, Err(Error::Limit { value, max: limits::DELAY_MS_MAX, .. }) if value == ahead_ms),
            "{result:?}"
        );
    }
    assert_eq!((sim.shard.log_end(), sim.fingerprint()), before);
    let latest = wait(&mut sim, &client, &[("in ten years", limits::DELAY_MS_MAX)]).pop().unwrap().unwrap();
    let mut batch = PublishBatch::default();
    for due_ms in [0, 1, sim.now.wall_ms - 1, sim.now.wall_ms] {
        batch.push_due(&draft("t", "past"), topic.id, None, 0, Durability::Disk, due_ms).unwrap();
    }
    assert!(sim.send(&client, batch).iter().all(Result::is_ok));
    assert_eq!(seen(&sim), ["past"; 4]);
    assert_eq!(sim.shard.state().schedule().waiting(), 1);
    assert!(recall(&mut sim, &client, latest.position, None).is_ok());
}

#[test]
fn what_is_due_together_comes_in_batches_that_wait_for_syncs() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let disk = FaultDisk::new(7);
    let mut sim = Simulation::with_segments_of(64 << 20, disk, store, "boot-1", start()).unwrap();
    let client = sim.connect();
    sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    let large = "x".repeat(100_000);
    let small = vec![("small", 1_000); 2 * limits::DISPATCHED_MESSAGES_MAX];
    assert!(wait(&mut sim, &client, &small).iter().all(Result::is_ok));
    assert!(wait(&mut sim, &client, &vec![(large.as_str(), 2_000); 200]).iter().all(Result::is_ok));
    let waiting = |sim: &Simulation| sim.shard.state().schedule().waiting();
    // One batch: a turn, a reader, a turn; the store brings the next timers.
    let batch = |sim: &mut Simulation| {
        let before = waiting(sim);
        while sim.step(Part::Store) || sim.step(Part::Shard) || sim.step(Part::Reader) {
            if waiting(sim) < before {
                break;
            }
        }
        before - waiting(sim)
    };
    sim.now.wall_ms += 1_000;
    let mut came = 0;
    while came < small.len() {
        let next = batch(&mut sim);
        assert!((1..=limits::DISPATCHED_MESSAGES_MAX).contains(&next), "{next}");
        came += next;
    }
    sim.syncing = false;
    sim.now.wall_ms += 1_000;
    let unsynced = |sim: &Simulation| sim.shard.log_end() - sim.shard.log_reached().1;
    loop {
        let before = sim.shard.log_end();
        let next = batch(&mut sim);
        let most = limits::DISPATCHED_BYTES_MAX + 100_000 + 300;
        assert!(sim.shard.log_end() - before < 2 * most, "{next} came in a batch");
        assert!(unsynced(&sim) < limits::DISPATCH_UNSYNCED_BYTES_MAX + 2 * most);
        if next == 0 {
            break;
        }
    }
    assert!(waiting(&sim) > 50, "{} wait for syncs", waiting(&sim));
    sim.syncing = true;
    sim.pass_ms(1);
    sim.pass_ms(1_000);
    assert_eq!(waiting(&sim), 0);
}

#[test]
fn what_must_stay_in_memory_has_its_limits() {
    let (mut sim, client, _) = scene();
    let refused = |result: &Result<Stored, Error>, limit| matches!(result, Err(Error::Limit { value, max, .. }) if *max == limit && *value == limit + 1);
    // Far ones, in blocks or about to be.
    let most = usize::try_from(RECALLED_TIMERS_MAX).unwrap();
    let far = vec![("far", 10 * HOUR_MS); most + NEAR_TIMERS_MAX + 10];
    let stored = wait(&mut sim, &client, &far);
    let positions: Vec<u64> = stored.iter().rev().map(|stored| stored.as_ref().unwrap().position).collect();
    for position in &positions[..most] {
        assert!(recall(&mut sim, &client, *position, None).is_ok());
    }
    let one_more = recall(&mut sim, &client, positions[most], None);
    assert!(
        matches!(one_more, Err(Error::Limit { value, max: RECALLED_TIMERS_MAX, .. }) if value == RECALLED_TIMERS_MAX + 1)
    );
    // Late ones: the clock has been ahead.
    wait(&mut sim, &client, &[("soon", 1_000)]);
    sim.now.wall_ms += HOUR_MS;
    sim.run();
    assert_eq!(seen(&sim), ["soon"]);
    wait(&mut sim, &client, &[("when the clock is ahead", 1)]);
    sim.pass_ms(1);
    sim.now.wall_ms -= HOUR_MS;
    let mut taken = 0;
    let result = loop {
        match wait(&mut sim, &client, &[("late", 60_000)]).remove(0) {
            Ok(_) => taken += 1,
            refusal => break refusal,
        }
        assert!(taken <= LATE_TIMERS_MAX + NEAR_TIMERS_MAX as u64);
    };
    assert!(refused(&result, LATE_TIMERS_MAX), "{result:?} after {taken}");
    sim.pass_ms(2 * HOUR_MS);
    assert_eq!(seen(&sim).len() as u64, 2 + taken);
    assert!(wait(&mut sim, &client, &[("again", 60_000)])[0].is_ok());
}
