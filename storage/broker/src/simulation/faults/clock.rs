//! Fault 11. The clock jumps an hour either way, or the process stands still for five minutes: no timer is lost and none
//! is early, no two leases of a message overlap, and store times of a queue stay in order.

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

#[test]
fn jumps_and_pauses_lose_no_timer_and_overlap_no_leases() {
    const JUMPS: Course = Course {
        operations: 500,
        faults: &[Fault::ClockForward, Fault::ClockBack, Fault::Pause, Fault::Kill],
        times: 8,
    };
    survive(&JUMPS, if is_long() { 20 } else { 1 });
}
