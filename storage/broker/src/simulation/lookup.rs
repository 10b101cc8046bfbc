//! Messages are found by key wherever they lie: in the open segment, in complete ones, in kept files; with key files and
//! without.

use mailrail_commitlog::disk::Loss;

use super::*;

/// Publishes 10 kB messages with a number each: it is their own key, and `round N` with N its tens is a shared one.
fn publish_keyed(sim: &mut Simulation, client: &Client, topic: &Topic, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let body = format!("{number} {}", "x".repeat(10_000));
        let keys = format!("KEYS\x01key-{number} round-{}\x02UNIQ_KEY\x01id-{number}\x02", number / 10);
        let message = Draft { properties: keys.as_bytes(), ..draft(&topic.name, &body) };
        let mut batch = PublishBatch::default();
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        batch.push(&message, destination, 0, Durability::Disk).unwrap();
        assert!(sim.send(client, batch)[0].is_ok());
        sim.pass_ms(1);
    }
}

fn find(sim: &Simulation, topic: &str, key: &str) -> Vec<usize> {
    find_in(sim, topic, key, (0, u64::MAX), 100)
}

fn find_in(sim: &Simulation, topic: &str, key: &str, (from_ms, to_ms): (u64, u64), max: usize) -> Vec<usize> {
    let request = FindRequest {
        topic: sim.topic(topic),
        key: key.to_owned(),
        from_ms,
        to_ms,
        max,
        max_bytes: usize::MAX,
    };
    let number = |found: &crate::Found| {
        let read = sim.read(topic, found.queue.index, found.entry.offset).swap_remove(0);
        assert_eq!(read, (found.entry.offset, body(&found.entry.message)), "where it is said to be");
        read.1.split(' ').next().unwrap().parse().unwrap()
    };
    sim.context.find(&request).unwrap().iter().map(number).collect()
}

fn key_files(sim: &Simulation) -> Vec<PathBuf> {
    let is_keys = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "keys");
    sim.disk.paths().into_iter().filter(is_keys).collect()
}

fn keyed() -> (Simulation, Client) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 2, ..TopicSettings::default() });
    let other = sim.make_topic(&client, "other", TopicSettings::default());
    publish_keyed(&mut sim, &client, &other, 7..8);
    publish_keyed(&mut sim, &client, &topic, 0..450);
    (sim, client)
}

fn assert_all_found(sim: &Simulation, numbers: std::ops::Range<usize>) {
    for number in numbers.step_by(37) {
        for key in [format!("key-{number}"), format!("id-{number}")] {
            assert_eq!(find(sim, "t", &key), [number], "{key}");
        }
    }
}

#[test]
fn a_message_is_found_by_its_keys_and_its_id_in_its_topic_only() {
    let (sim, _) = keyed();
    assert!(key_files(&sim).len() >= 3, "{:?}", key_files(&sim));
    assert_all_found(&sim, 0..450);
    assert_eq!(find(&sim, "other", "key-7"), [7]);
    for absent in ["key-1000", "key", "", "key-7 round-0", "KEYS"] {
        assert_eq!(find(&sim, "t", absent), [] as [usize; 0], "{absent:?}");
    }
    assert_eq!(find(&sim, "other", "key-8"), [] as [usize; 0]);
}

#[test]
fn what_shares_a_key_comes_newest_first_within_a_time_and_a_count() {
    let (sim, _) = keyed();
    assert_eq!(find(&sim, "t", "round-21"), (210..220).rev().collect::<Vec<_>>());
    assert_eq!(find_in(&sim, "t", "round-21", (0, u64::MAX), 3), [219, 218, 217]);
    let stored_ms = |number: u64| start().wall_ms + 1 + number;
    let time = (stored_ms(212), stored_ms(214));
    assert_eq!(find_in(&sim, "t", "round-21", time, 100), [214, 213, 212]);
    assert_eq!(find_in(&sim, "t", "round-44", (0, u64::MAX), 100).len(), 10, "in the open segment");
}

#[test]
fn key_files_are_made_again_when_they_are_gone_or_damaged() {
    let (sim, _) = keyed();
    let made = key_files(&sim);
    for damage in [(|bytes: &mut Vec<u8>| bytes.truncate(100)) as fn(&mut Vec<u8>), |bytes| bytes[90] ^= 1] {
        sim.disk.tamper(&made[0], damage);
        assert_all_found(&sim, 0..450);
    }
    let sim = sim.crash(Loss::Nothing);
    assert_eq!(key_files(&sim).len(), made.len());
    assert_all_found(&sim, 0..450);
    let whole = sim.crash(Loss::Pages);
    assert_all_found(&whole, 0..450);
}

#[test]
fn what_is_kept_is_found_and_what_is_gone_is_not() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_group(&client, "q", GroupSettings::at_once());
    let queue = sim.make_topic(&client, "q", TopicSettings::settled_queue());
    publish_keyed(&mut sim, &client, &queue, 0..450);
    let mut left = Vec::new();
    loop {
        let got = sim.receive(&client, "q", "q", 100, 3_600_000);
        if got.is_empty() {
            break;
        }
        let (done, rest): (Vec<_>, Vec<_>) = got.into_iter().partition(|d| d.receipt.offset % 50 != 7);
        sim.settle(&client, &done, Outcome::Ack);
        left.extend(rest.iter().map(|delivery| delivery.receipt.offset as usize));
    }
    sim.pass_ms(61_000);
    let parts = sim.context.log.extents();
    assert!(parts.iter().any(|part| part.is_kept));
    assert_eq!(key_files(&sim).len(), parts.len(), "one for each part, and none of what is gone");
    let found: Vec<usize> = (0..350).filter(|n| find(&sim, "q", &format!("key-{n}")) == [*n]).collect();
    assert!(left.iter().filter(|n| **n < 350).all(|n| found.contains(n)), "{found:?}");
    assert!(found.len() < 100, "{found:?}");
}
