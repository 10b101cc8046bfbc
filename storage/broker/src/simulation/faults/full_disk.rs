//! Fault 6. The disk is full while the log is appended to, a segment is made, or the store is written: a clean refusal,
//! reads go on, and service resumes without a restart.

use super::*;

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
    sim.run();
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
fn a_store_that_failed_for_a_while_leaves_no_hole_in_an_index() {
    let store = Arc::new(FaultStore::default());
    let mut sim = Simulation::on(FaultDisk::new(7), store.clone(), "boot-1", start());
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    let bodies: Vec<String> = (0..7_000).map(|number| number.to_string()).collect();
    for (part, bodies) in bodies.chunks(700).enumerate() {
        // A block is sealed about every third time.
        store.fail((1..5).contains(&part));
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        sim.publish(&client, &topic, &bodies);
        let found = sim.read("t", 0, 0);
        assert!(
            found.len() == (part + 1) * 700
                && found.iter().map(|(offset, _)| *offset).eq(0..found.len() as u64)
        );
    }
    sim.checkpoint();
    let sim = Simulation::on(sim.disk.power_cut(Loss::All), store, "boot-2", sim.now);
    assert!(sim.read("t", 0, 0).into_iter().map(|(_, body)| body).eq(bodies));
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    const FULL: Course = Course {
        operations: 300,
        faults: &[Fault::WriteFull, Fault::SegmentFull, Fault::StoreFails],
        times: 8,
    };
    survive(&FULL, if is_long() { 20 } else { 1 });
}
