//! What many queues cost the shard: how long its longest turn is while a checkpoint and a snapshot are taken, what a
//! checkpoint writes, and what a start from it takes. Measured, not judged: run it with `cargo test --release -p
//! mailrail-broker --lib many_queues -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

/// Topics that are published to, and committed, in one turn.
const TURN_TOPICS: usize = 500;

/// So many topics of one queue, each with a message and a group's position.
fn with_queues(count: usize) -> (Simulation, Client, Vec<Arc<Topic>>) {
    let mut sim = Simulation::new();
    sim.shard.take_in_a_turn(crate::limits::TURN_PIECES_MAX);
    let client = sim.connect();
    sim.make_group(&client, "g", GroupSettings::at_once());
    let settings = TopicSettings { queues: 1, ..TopicSettings::default() };
    let topics: Vec<_> = (0..count)
        .map(|number| sim.make_topic(&client, &format!("topic-{number}"), settings.clone()))
        .collect();
    change_all(&mut sim, &client, &topics);
    (sim, client, topics)
}

/// Publishes to each topic, and commits.
fn change_all(sim: &mut Simulation, client: &Client, topics: &[Arc<Topic>]) {
    for topics in topics.chunks(TURN_TOPICS) {
        let mut batch = PublishBatch::default();
        for topic in topics {
            let destination = Destination::Topic { topic: topic.id, queue_index: None };
            let body = "x".repeat(500);
            batch.push(&draft(&topic.name, &body), destination, tag_hash("t"), Durability::Disk).unwrap();
        }
        assert!(sim.send(client, batch).iter().all(Result::is_ok));
        let commits = topics.iter().map(|topic| topic.queue(0).unwrap());
        let commits = commits.map(|queue| (queue.id, queue.end_offset())).collect();
        sim.ask(client, |token| Command::Commit { token: Some(token), group: "g".into(), commits }).unwrap();
    }
}

/// Time that the parts of the broker take until nothing moves: the shard's longest turn, how many of them were longer
/// than a fifth of a millisecond, all of them, and what the store takes.
#[derive(Debug, Default)]
struct Times {
    longest: Duration,
    long: usize,
    shard: Duration,
    store: Duration,
    reader: Duration,
}

fn come_to_rest(sim: &mut Simulation, begin: impl FnOnce(&mut Simulation)) -> Times {
    let mut times = Times::default();
    let since = Instant::now();
    begin(sim);
    let mut begun = since.elapsed();
    let mut resting = 0;
    while resting < 2 {
        let mut moved = false;
        for part in Part::ALL {
            let since = Instant::now();
            moved |= sim.step(part);
            let took = since.elapsed();
            match part {
                Part::Shard => {
                    let turn = took + std::mem::take(&mut begun);
                    times.longest = times.longest.max(turn);
                    times.long += usize::from(turn > Duration::from_micros(200));
                    times.shard += turn;
                }
                Part::Store => times.store += took,
                Part::Reader => times.reader += took,
                _ => {}
            }
        }
        resting = if moved || !sim.reports.are_empty() { 0 } else { resting + 1 };
    }
    times
}

/// Number and bytes of the values that a store holds.
fn values(sim: &Simulation) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    sim.store
        .scan(&[], &mut |key, value| (count, bytes) = (count + 1, bytes + key.len() + value.len()))
        .unwrap();
    (count, bytes)
}

#[test]
#[ignore = "a measurement"]
fn what_many_queues_cost_a_turn() {
    for count in [1, 1_000, 10_000, 100_000] {
        let (mut sim, client, topics) = with_queues(count);
        let first = come_to_rest(&mut sim, |sim| sim.shard.begin_checkpoint(sim.now));
        println!("{count} queues, first checkpoint: {first:?}");
        println!("  (values, bytes): {:?}", values(&sim));
        change_all(&mut sim, &client, &topics);
        let again = come_to_rest(&mut sim, |sim| sim.shard.begin_checkpoint(sim.now));
        println!("  second checkpoint: {again:?}, {:?}", values(&sim));
        change_all(&mut sim, &client, &topics[..1]);
        let one = come_to_rest(&mut sim, |sim| sim.shard.begin_checkpoint(sim.now));
        println!("  one dirty queue: {one:?}");
        change_all(&mut sim, &client, &topics);
        let before = sim.shard.log_end();
        let snapshot = come_to_rest(&mut sim, |sim| {
            let (mailbox, token) = (client.mailbox.clone(), client.token());
            sim.shard.handle(sim.now, Input::Trim { mailbox, token, before: Position::MAX });
        });
        println!("  trim with snapshot: {snapshot:?}, {} bytes of log", sim.shard.log_end() - before);
        let (disk, store) = (sim.disk.power_cut(Loss::Nothing), sim.store.clone());
        drop(sim);
        let config = LogConfig { segment_bytes: SEGMENT_BYTES, ..LogConfig::default() };
        let since = Instant::now();
        let opened = crate::open::bring_up(Arc::new(disk), &PathBuf::from("/data"), &config, &store);
        println!("  start: {:?}", since.elapsed());
        assert_eq!(opened.unwrap().0.queues.len(), count);
    }
}
