//! Queues that members of a group lock for themselves: until their time is over, they unlock them, or they go.

use super::*;

const LOCK_MS: u64 = 60_000;

fn scene() -> (Simulation, [QueueId; 2]) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 2, ..TopicSettings::default() });
    sim.make_group(&client, "g", GroupSettings::at_once());
    let queues = [0, 1].map(|index| topic.queue(index).unwrap().id);
    (sim, queues)
}

/// A session with one member of the group.
fn member(sim: &mut Simulation, name: &str) -> Client {
    let client = sim.connect();
    join(sim, &client, name).unwrap();
    client
}

fn join(sim: &mut Simulation, client: &Client, name: &str) -> Result<Reply, Error> {
    let (group, member, topics) = ("g".into(), name.into(), vec!["t".into()]);
    sim.ask(client, |token| Command::Join { token, group, member, topics, expires_ms: 2 * LOCK_MS })
}

fn lock(sim: &mut Simulation, client: &Client, name: &str, queues: &[QueueId]) -> Vec<QueueId> {
    let (group, member, queues) = ("g".into(), name.into(), queues.to_vec());
    match sim.ask(client, |token| Command::Lock { token, group, member, queues, lease_ms: LOCK_MS }) {
        Ok(Reply::Locked(locked)) => locked,
        other => panic!("{other:?}"),
    }
}

fn receive(sim: &mut Simulation, client: &Client) -> Result<Reply, Error> {
    let (group, topic) = ("g".into(), "t".into());
    sim.ask(client, |token| Command::Receive {
        token,
        group,
        topic,
        max: 1,
        wait_ms: 1,
        lease_ms: 1_000,
        filter: None,
    })
}

#[test]
fn a_lock_ends_with_its_time_unless_it_is_renewed() {
    let (mut sim, queues) = scene();
    let (a, b) = (member(&mut sim, "a"), member(&mut sim, "b"));
    assert_eq!(lock(&mut sim, &a, "a", &queues), queues);
    sim.pass_ms(LOCK_MS - 1);
    assert_eq!(lock(&mut sim, &a, "a", &queues[..1]), queues[..1], "renewed");
    assert_eq!(lock(&mut sim, &b, "b", &queues), []);
    sim.pass_ms(1);
    assert_eq!(lock(&mut sim, &b, "b", &queues), queues[1..]);
    assert_eq!(lock(&mut sim, &a, "a", &queues), queues[..1]);
    sim.pass_ms(LOCK_MS);
    assert_eq!(lock(&mut sim, &b, "b", &queues), queues);
}

#[test]
fn a_lock_ends_with_its_owner_and_the_next_takes_over() {
    let (mut sim, queues) = scene();
    let (a, b) = (member(&mut sim, "a"), member(&mut sim, "b"));
    lock(&mut sim, &a, "a", &queues);
    sim.disconnect(a);
    let told = sim.events(&b);
    assert!(told.iter().any(|event| matches!(event, Event::MembersChanged { .. })), "{told:?}");
    assert_eq!(lock(&mut sim, &b, "b", &queues), queues);
    // The same client again, over another connection, has what it had; it does not go with the old one.
    let again = member(&mut sim, "b");
    assert_eq!(lock(&mut sim, &again, "b", &queues), queues);
    sim.disconnect(b);
    let c = member(&mut sim, "c");
    assert_eq!(lock(&mut sim, &c, "c", &queues), []);
    sim.tell(&again, Command::Leave { group: "g".into(), member: "b".into() });
    assert_eq!(lock(&mut sim, &c, "c", &queues), queues);
}

#[test]
fn a_rebalance_hands_queues_over_one_by_one() {
    let (mut sim, queues) = scene();
    let a = member(&mut sim, "a");
    lock(&mut sim, &a, "a", &queues);
    let b = member(&mut sim, "b");
    assert_eq!(lock(&mut sim, &b, "b", &queues[1..]), []);
    let unlock = |token, member: &str| {
        let (group, member, queues) = ("g".into(), member.into(), queues[1..].to_vec());
        Command::Unlock { token: Some(token), group, member, queues }
    };
    sim.ask(&b, |token| unlock(token, "b")).unwrap();
    assert_eq!(lock(&mut sim, &b, "b", &queues), [], "only who holds a lock gives it up");
    sim.events(&a);
    sim.ask(&a, |token| unlock(token, "a")).unwrap();
    assert_eq!(lock(&mut sim, &b, "b", &queues), queues[1..]);
}

#[test]
fn who_locked_without_being_a_member_does_so_no_longer_than_its_session_lasts() {
    let (mut sim, queues) = scene();
    let stranger = sim.connect();
    assert_eq!(lock(&mut sim, &stranger, "late", &queues), queues);
    let b = member(&mut sim, "b");
    assert_eq!(lock(&mut sim, &b, "b", &queues), []);
    sim.disconnect(stranger);
    assert_eq!(lock(&mut sim, &b, "b", &queues), queues);
}

#[test]
fn a_group_does_not_lock_what_it_leases_nor_lease_what_it_locks() {
    let (mut sim, queues) = scene();
    let (locker, leaser) = (sim.connect(), sim.connect());
    lock(&mut sim, &locker, "a", &queues[..1]);
    assert!(matches!(receive(&mut sim, &leaser), Err(Error::Mode { found: "offset", .. })));
    sim.pass_ms(LOCK_MS);
    let topic = sim.topic("t");
    sim.publish(&locker, &topic, &["a"]);
    assert_eq!(sim.receive(&leaser, "g", "t", 1, 1_000).len(), 1);
    assert_eq!(lock(&mut sim, &locker, "a", &queues), []);
    assert!(matches!(join(&mut sim, &locker, "a"), Err(Error::Mode { found: "lease", .. })));
    sim.pass_ms(1_000);
    join(&mut sim, &locker, "a").unwrap();
    assert_eq!(lock(&mut sim, &locker, "a", &queues), queues);
}

#[test]
fn queues_that_are_no_more_are_locked_by_nobody() {
    let (mut sim, queues) = scene();
    let a = member(&mut sim, "a");
    lock(&mut sim, &a, "a", &queues);
    let name: Name = "t".into();
    sim.ask(&a, |token| Command::DeleteTopic { token, name, if_unused: false, if_empty: false }).unwrap();
    assert_eq!(lock(&mut sim, &a, "a", &queues), []);
}
