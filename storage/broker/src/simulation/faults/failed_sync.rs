//! Fault 5. A sync returns EIO once: nothing is acknowledged after it, the sync is not tried again, and the broker takes
//! nothing more. That it shows in the exit code is tested with the process.

use super::*;

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
fn a_failed_log_leaves_nothing_that_is_due_for_ever() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    let filler = "x".repeat(10_000);
    for _ in 0..30 {
        sim.publish(&client, &topic, &[filler.as_str(); 10]);
    }
    sim.disk.fail(mailrail_commitlog::disk::Op::Sync, ".seg", 0, 1, 5);
    sim.publish(&client, &topic, &["a"]);
    assert!(sim.shard.is_poisoned());
    // The shard would wake up for it again and again.
    sim.pass_ms(24 * 60 * 60 * 1_000);
    let deadline = sim.shard.deadline(sim.now);
    assert!(deadline.is_none_or(|at| at > sim.now.mono), "{deadline:?} at {:?}", sim.now.mono);
}

#[test]
fn errors_of_the_device_lose_nothing_that_was_acknowledged_at_disk() {
    const ERRORS: Course =
        Course { operations: 300, faults: &[Fault::SyncError, Fault::WriteError], times: 8 };
    survive(&ERRORS, if is_long() { 20 } else { 1 });
}
