//! Space is given back: the log starts later, what is still wanted stays at its place, and nothing else takes room.

use mailrail_commitlog::disk::Loss;

use super::*;

const FILLER_BYTES: usize = 10_000;
/// How often the shard looks whether there is something to give back, and longer.
const A_WHILE_MS: u64 = 61_000;

fn settled_queue(sim: &mut Simulation, client: &Client, name: &str) -> Arc<Topic> {
    sim.make_group(client, name, GroupSettings::at_once());
    sim.make_topic(client, name, TopicSettings::settled_queue())
}

/// Publishes so many messages of 10 kB; their bodies begin with a number.
fn fill(sim: &mut Simulation, client: &Client, topic: &Topic, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let body = format!("{number} {}", "x".repeat(FILLER_BYTES));
        assert!(sim.publish(client, topic, &[body.as_str()])[0].is_ok());
    }
}

fn number(delivery: &Delivery) -> usize {
    body(&delivery.message).split(' ').next().unwrap().parse().unwrap()
}

/// Receives everything there is for the default group, and acknowledges what is chosen.
fn drain(
    sim: &mut Simulation,
    client: &Client,
    queue: &str,
    chosen: impl Fn(usize) -> bool,
) -> Vec<Delivery> {
    let mut left = Vec::new();
    loop {
        let got = sim.receive(client, queue, queue, 100, 3_600_000);
        if got.is_empty() {
            return left;
        }
        let (done, rest): (Vec<_>, Vec<_>) = got.into_iter().partition(|delivery| chosen(number(delivery)));
        assert!(sim.settle(client, &done, Outcome::Ack).iter().all(Result::is_ok));
        left.extend(rest);
    }
}

/// Bytes of all files that hold a part of the log. A trimmed one that is kept to be used again has no name of a part.
fn log_bytes(sim: &Simulation) -> usize {
    let in_log = |path: &&PathBuf| {
        let is_part = path.extension().is_some_and(|is| is == "seg" || is == "kept");
        is_part && path.parent().is_some_and(|parent| parent.ends_with("log"))
    };
    let paths = sim.disk.paths();
    paths.iter().filter(in_log).map(|path| sim.disk.contents(path).map_or(0, |bytes| bytes.len())).sum()
}

fn without_store(sim: Simulation) -> Simulation {
    let (disk, now) = (sim.disk.power_cut(Loss::Nothing), sim.now);
    Simulation::on(disk, Arc::new(MemoryStore::default()), "boot-1", now)
}

/// A queue over ten segments of which every fiftieth message is left; the space of the others was given back.
fn thinned() -> (Simulation, Vec<usize>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let queue = settled_queue(&mut sim, &client, "q");
    fill(&mut sim, &client, &queue, 0..1_000);
    let left = drain(&mut sim, &client, "q", |number| number % 50 != 7);
    let before = log_bytes(&sim);
    sim.pass_ms(A_WHILE_MS);
    let after = log_bytes(&sim);
    assert!(after < before / 4, "{after} bytes of {before}");
    (sim, left.iter().map(number).collect())
}

#[test]
fn what_is_settled_gives_its_space_back_and_what_is_not_is_found_again() {
    for loses_store in [false, true] {
        let (mut sim, left) = thinned();
        assert_eq!(left.len(), 20);
        sim = if loses_store { without_store(sim) } else { sim.crash(Loss::All) };
        let client = sim.connect();
        let mut found = Vec::new();
        for delivery in sim.receive(&client, "q", "q", 100, 1_000) {
            assert_eq!(delivery.receipt.offset as usize, number(&delivery), "at its own offset");
            found.push(number(&delivery));
        }
        assert_eq!(found, left, "store lost: {loses_store}");
        // The rest goes as well, and with it the files that kept it.
        sim.pass_ms(2_000);
        drain(&mut sim, &client, "q", |_| true);
        let queue = sim.topic("q");
        fill(&mut sim, &client, &queue, 1_000..1_210);
        drain(&mut sim, &client, "q", |_| true);
        sim.pass_ms(A_WHILE_MS);
        let kept = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "kept");
        assert!(!sim.disk.paths().iter().any(kept));
    }
}

#[test]
fn a_queue_that_is_filled_and_emptied_takes_no_more_room_than_what_is_in_it() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let (busy, quiet) = (settled_queue(&mut sim, &client, "busy"), settled_queue(&mut sim, &client, "quiet"));
    // The quiet queue's messages lie at the start of the log and all through it.
    fill(&mut sim, &client, &quiet, 0..150);
    let mut worst = 0;
    for round in 0..60 {
        fill(&mut sim, &client, &busy, 0..100);
        fill(&mut sim, &client, &quiet, 150 + round..151 + round);
        drain(&mut sim, &client, "busy", |_| true);
        sim.pass_ms(1_000);
        let live = (150 + round + 1) * FILLER_BYTES;
        let room = log_bytes(&sim);
        let allowed = 2 * live + 4 * SEGMENT_BYTES as usize;
        assert!(room <= allowed, "round {round}: {room} bytes for {live} live ones");
        worst = worst.max(room);
    }
    assert!(worst < 12 << 20, "{worst} bytes, of 60 MB that were published");
    let sim = without_store(sim);
    let found = sim.read("quiet", 0, 0);
    let numbers: Vec<usize> =
        found.iter().map(|(_, body)| body.split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (0..210).collect::<Vec<_>>());
}

#[test]
fn what_is_too_old_or_too_much_goes_and_what_waits_to_be_settled_does_not() {
    let day = Duration::from_secs(24 * 60 * 60);
    let policies = [
        RetentionPolicy { age: Some(day), bytes: None },
        RetentionPolicy { age: None, bytes: Some(3 * SEGMENT_BYTES) },
    ];
    for policy in policies {
        let mut sim = Simulation::new();
        sim.shard.retain(policy);
        let client = sim.connect();
        let stream = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
        let queue = settled_queue(&mut sim, &client, "q");
        fill(&mut sim, &client, &queue, 0..30);
        fill(&mut sim, &client, &stream, 0..500);
        sim.pass_ms(20 * 60 * 60 * 1_000);
        fill(&mut sim, &client, &stream, 500..900);
        sim.pass_ms(5 * 60 * 60 * 1_000);
        let retained = sim.read("t", 0, 0);
        let first = sim.topic("t").queue(0).unwrap().min_offset();
        let bounds = if policy.age.is_some() { 500..501 } else { 500..700 };
        assert!(bounds.contains(&first), "{policy:?}: {first}");
        assert_eq!(retained.len() as u64, 900 - first);
        assert!(log_bytes(&sim) < 7 << 20, "{policy:?}: {} bytes", log_bytes(&sim));
        // A group that begins with the earliest is not held up by what is gone.
        sim.make_group(&client, "g", GroupSettings::at_once());
        let got = sim.receive(&client, "g", "t", 1, 1_000);
        assert_eq!(got.iter().map(number).collect::<Vec<_>>(), [first as usize]);
        let mut sim = without_store(sim);
        assert_eq!(sim.topic("t").queue(0).unwrap().min_offset(), first);
        assert_eq!(sim.read("t", 0, 0), retained);
        let client = sim.connect();
        assert_eq!(drain(&mut sim, &client, "q", |_| false).len(), 30);
    }
}

#[test]
fn a_message_that_waits_for_its_time_outlives_the_segment_it_was_written_to() {
    for loses_store in [false, true] {
        let mut sim = Simulation::new();
        let client = sim.connect();
        let queue = settled_queue(&mut sim, &client, "q");
        let mut batch = PublishBatch::default();
        let due_ms = sim.now.wall_ms + 600_000;
        let message = draft("q", "later");
        batch.push_due(&message, queue.id, None, tag_hash("t"), Durability::Disk, due_ms).unwrap();
        assert!(sim.send(&client, batch)[0].is_ok());
        fill(&mut sim, &client, &queue, 0..400);
        drain(&mut sim, &client, "q", |_| true);
        sim.pass_ms(A_WHILE_MS);
        assert!(log_bytes(&sim) < 3 << 20, "{} bytes", log_bytes(&sim));
        if loses_store {
            sim = without_store(sim);
        }
        sim.pass_ms(600_000);
        let client = sim.connect();
        assert_eq!(bodies(&sim.receive(&client, "q", "q", 10, 1_000)), ["later"]);
    }
}

#[test]
fn a_deleted_topic_gives_its_space_back_at_once() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let (gone, stays) = (settled_queue(&mut sim, &client, "gone"), settled_queue(&mut sim, &client, "stays"));
    fill(&mut sim, &client, &gone, 0..500);
    fill(&mut sim, &client, &stays, 0..10);
    sim.pass_ms(A_WHILE_MS);
    let before = log_bytes(&sim);
    assert!(before > 5 << 20);
    let delete =
        |token| Command::DeleteTopic { token, name: "gone".into(), if_unused: false, if_empty: false };
    sim.ask(&client, delete).unwrap();
    sim.pass_ms(1_100);
    let after = log_bytes(&sim);
    assert!(after < 3 << 20, "{after} of {before} bytes");
    assert_eq!(sim.read("stays", 0, 0).len(), 10);
}

#[test]
fn what_the_default_group_settled_is_lost_to_others_and_holds_them_up_no_longer() {
    let (mut sim, left) = thinned();
    let client = sim.connect();
    sim.make_group(&client, "late", GroupSettings::at_once());
    let seek = |token| Command::Seek { token, group: "late".into(), topic: "q".into(), to: SeekTo::Earliest };
    sim.ask(&client, seek).unwrap();
    let token = client.token();
    let (group, topic) = ("late".into(), "q".into());
    sim.tell(
        &client,
        Command::Receive { token, group, topic, max: 1_000, wait_ms: 0, lease_ms: 60_000, filter: None },
    );
    let Some(Letter::Granted { mut grants, .. }) = client.mailbox.take_letters().pop() else { panic!() };
    let mut found = Vec::new();
    while !grants.is_empty() {
        let fetched = sim.context.fetch(grants, crate::limits::FETCH_BYTES_MAX);
        assert!(fetched.unread.is_empty());
        found.extend(fetched.deliveries.iter().map(number));
        let receipts = fetched.deliveries.iter().map(|delivery| delivery.receipt).collect();
        sim.tell(&client, Command::Settle { token: None, receipts, outcome: Outcome::Ack });
        sim.input(Input::Gone { receipts: fetched.gone });
        grants = fetched.rest;
    }
    // What lies in segments that are still there was not lost yet.
    assert!(left.iter().all(|number| found.contains(number)) && found.len() < 150, "{found:?}");
    let state =
        sim.ask(&client, |token| Command::GroupState { token, group: "late".into(), topic: "q".into() });
    let Ok(Reply::Group(view)) = state else { panic!("{state:?}") };
    assert_eq!(view.ready, 0, "{view:?}");
}

#[test]
fn a_nearly_full_disk_refuses_publishes_and_takes_them_again_when_what_is_settled_gave_room() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let queue = settled_queue(&mut sim, &client, "q");
    sim.disk.limit_bytes(Some(8 << 20));
    let filler = "1 ".to_owned() + &"x".repeat(FILLER_BYTES);
    let mut taken = 0;
    while sim.publish(&client, &queue, &[filler.as_str()])[0].is_ok() {
        taken += 1;
    }
    assert!((300..700).contains(&taken), "{taken}");
    assert_eq!(sim.publish(&client, &queue, &[filler.as_str()])[0], Err(Error::NoSpace));
    // All else goes on, and gives the room back.
    assert_eq!(sim.read("q", 0, 0).len(), taken);
    assert!(drain(&mut sim, &client, "q", |_| true).is_empty());
    sim.pass_ms(A_WHILE_MS);
    for _ in 0..100 {
        assert!(sim.publish(&client, &queue, &[filler.as_str()])[0].is_ok());
    }
}

#[test]
fn a_power_cut_at_any_change_while_space_is_given_back_loses_nothing() {
    let history = || {
        let mut sim = Simulation::new();
        let client = sim.connect();
        let queue = settled_queue(&mut sim, &client, "q");
        fill(&mut sim, &client, &queue, 0..350);
        drain(&mut sim, &client, "q", |number| number % 50 != 7);
        sim
    };
    let mut whole = history();
    let before = whole.disk.changes();
    whole.pass_ms(A_WHILE_MS);
    let changes = whole.disk.changes() - before;
    assert!(changes > 15, "{changes} changes");
    for changes in 0..=changes {
        for loss in [Loss::All, Loss::Torn, Loss::Pages] {
            let mut sim = history();
            sim.disk.fail_power_after(changes);
            sim.pass_ms(A_WHILE_MS);
            let store: Arc<dyn Store> =
                if changes % 2 == 0 { sim.store.clone() } else { Arc::new(MemoryStore::default()) };
            let (disk, now) = (sim.disk.power_cut(loss), sim.now);
            let mut sim = Simulation::on(disk, store, "boot-2", now);
            let client = sim.connect();
            let found: Vec<usize> = sim.receive(&client, "q", "q", 400, 1_000).iter().map(number).collect();
            for left in (0..350).filter(|number| number % 50 == 7) {
                assert!(found.contains(&left), "change {changes}, {loss:?}: {left} is lost of {found:?}");
            }
        }
    }
}
