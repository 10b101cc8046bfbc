//! Fault 11. The clock jumps an hour either way, or the process stands still for five minutes: no timer is lost and none
//! is early, no two leases of a message overlap, store times of a queue stay in order, and nothing expires early by more
//! than the jump.

use super::*;

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
    let sim = Simulation::on(
        sim.disk.power_cut(Loss::Nothing),
        Arc::new(MemoryStore::default()),
        "boot-1",
        sim.now,
    );
    assert_eq!(before, sim.fingerprint());
    let queue = a.queue(0).unwrap();
    let entries = queue.entries(0, 10, &sim.context.blocks).unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.is_sorted_by_key(|entry| entry.store_ms), "{entries:?}");
}

/// Age goes by the wall clock, so a jump makes a message seem older or younger by as much, and as long as it lasts.
#[test]
fn retention_takes_nothing_early_by_more_than_the_clock_is_wrong() {
    const MINUTE_MS: u64 = 60_000;
    let (day_ms, hour_ms) = (24 * 60 * MINUTE_MS, 60 * MINUTE_MS);
    for is_forward in [true, false] {
        let mut sim = Simulation::new();
        sim.shard.retain(RetentionPolicy { age: Some(Duration::from_millis(day_ms)), bytes: None });
        let client = sim.connect();
        let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
        let filler = "x".repeat(10_000);
        for _ in 0..300 {
            sim.publish(&client, &topic, &[&filler]);
        }
        let retained = |sim: &Simulation| 300 - sim.topic("t").queue(0).unwrap().min_offset();
        let jump = |sim: &mut Simulation, is_forward: bool| {
            let wall_ms = &mut sim.now.wall_ms;
            *wall_ms = if is_forward { *wall_ms + hour_ms } else { *wall_ms - hour_ms };
        };
        jump(&mut sim, is_forward);
        sim.pass_ms(day_ms - hour_ms - 10 * MINUTE_MS);
        assert_eq!(retained(&sim), 300, "forward: {is_forward}; it is younger by more than an hour");
        jump(&mut sim, !is_forward);
        sim.pass_ms(hour_ms);
        assert_eq!(retained(&sim), 300, "forward: {is_forward}; the clock is right again");
        sim.pass_ms(20 * MINUTE_MS);
        assert_eq!(retained(&sim), 0, "forward: {is_forward}; it is too old");
    }
}

#[test]
fn jumps_and_pauses_lose_no_timer_and_overlap_no_leases() {
    const JUMPS: Course = Course {
        operations: 500,
        faults: &[Fault::ClockForward, Fault::ClockBack, Fault::Pause, Fault::Kill],
        times: 8,
    };
    survive(&JUMPS, if is_long() { 20 } else { 1 });
}
