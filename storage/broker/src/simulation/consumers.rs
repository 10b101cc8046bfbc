//! Which of several consumers gets a message: by priority, or the one that is active.

use super::*;
use crate::limits::TURN_ENTRIES_MAX;

fn scene(single_active: bool) -> (Simulation, Client) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "t", TopicSettings::settled_queue());
    let turns = Turns { single_active, ..Turns::default() };
    sim.make_group(&client, "t", GroupSettings { turns, ..GroupSettings::at_once() });
    (sim, client)
}

fn publish(sim: &mut Simulation, bodies: &[&str]) {
    let (producer, topic) = (sim.connect(), sim.topic("t"));
    assert!(sim.publish(&producer, &topic, bodies).iter().all(Result::is_ok));
}

fn consume(sim: &mut Simulation, client: &Client, number: u64, priority: i64, credit: u32) {
    let (token, consumer) = (client.token(), ConsumerId(number));
    let (group, topic) = ("t".into(), "t".into());
    let (no_ack, exclusive) = (false, false);
    sim.tell(client, Command::Consume { token, consumer, group, topic, credit, no_ack, exclusive, priority });
}

/// Bodies and attempts by consumer.
type Got = BTreeMap<u64, Vec<(String, u32)>>;

/// What a client got.
fn got(sim: &Simulation, client: &Client) -> (Got, Vec<Delivery>) {
    let (mut by_consumer, mut all) = (BTreeMap::<u64, Vec<_>>::new(), Vec::new());
    for event in sim.events(client) {
        if let Event::Deliveries { to: Recipient::Consumer(consumer), deliveries } = event {
            let seen = deliveries.iter().map(|delivery| (body(&delivery.message), delivery.attempts));
            by_consumer.entry(consumer.0).or_default().extend(seen);
            all.extend(deliveries);
        }
    }
    (by_consumer, all)
}

fn bodies_of(sim: &Simulation, client: &Client, consumer: u64) -> Vec<String> {
    let (mut by_consumer, _) = got(sim, client);
    by_consumer.remove(&consumer).unwrap_or_default().into_iter().map(|(body, _)| body).collect()
}

#[test]
fn a_consumer_gets_so_many_before_the_next_ones_turn() {
    let limit = usize::try_from(TURN_ENTRIES_MAX).unwrap();
    for (count, second) in [(limit, 0), (limit + 1, 1), (2 * limit, limit)] {
        let (mut sim, client) = scene(false);
        for number in [1, 2] {
            consume(&mut sim, &client, number, 0, 1_000);
        }
        publish(&mut sim, &vec!["m"; count]);
        let (got, _) = got(&sim, &client);
        let count_of = |number| got.get(&number).map_or(0, Vec::len);
        assert_eq!((count_of(1), count_of(2)), (limit, second), "of {count}");
    }
}

#[test]
fn the_higher_priority_is_served_while_it_has_credit_and_equals_take_turns() {
    let (mut sim, client) = scene(false);
    for (number, priority) in [(1, 0), (2, 5), (3, 5), (4, -3)] {
        consume(&mut sim, &client, number, priority, 2);
    }
    for number in 0..10 {
        publish(&mut sim, &[&number.to_string()]);
    }
    let (by_consumer, all) = got(&sim, &client);
    let bodies = |number| by_consumer[&number].iter().map(|(body, _)| body.as_str()).collect::<Vec<_>>();
    assert_eq!((bodies(2), bodies(3)), (vec!["0", "2"], vec!["1", "3"]));
    assert_eq!((bodies(1), bodies(4)), (vec!["4", "5"], vec!["6", "7"]));
    sim.settle(&client, &all, Outcome::Ack);
    sim.tell(&client, Command::Credit { consumer: ConsumerId(4), add: 1 });
    assert_eq!(bodies_of(&sim, &client, 4), ["8"], "nobody above has credit");
    sim.tell(&client, Command::Cancel { token: client.token(), consumer: ConsumerId(4) });
    sim.tell(&client, Command::Credit { consumer: ConsumerId(1), add: 9 });
    assert_eq!(bodies_of(&sim, &client, 1), ["9"]);
}

#[test]
fn one_consumer_is_active_until_it_leaves_and_the_next_gets_its_messages_first() {
    let (mut sim, client) = scene(true);
    let first = sim.connect();
    consume(&mut sim, &first, 1, 0, 2);
    consume(&mut sim, &client, 2, 0, 3);
    consume(&mut sim, &client, 3, 7, 9);
    publish(&mut sim, &["0", "1", "2", "3", "4", "5"]);
    assert_eq!(bodies_of(&sim, &first, 1), ["0", "1"]);
    assert_eq!(got(&sim, &client).0, BTreeMap::new(), "whatever its priority, another waits");
    sim.disconnect(first);
    let (by_consumer, _) = got(&sim, &client);
    let expected = [("0", 1), ("1", 1), ("2", 0), ("3", 0), ("4", 0), ("5", 0)];
    let expected = expected.map(|(body, attempts)| (body.to_owned(), attempts)).to_vec();
    assert_eq!(by_consumer, BTreeMap::from([(3, expected)]), "of those that wait, the highest priority");
}

#[test]
fn who_waits_longest_is_next_once_what_the_last_one_holds_is_settled_or_back() {
    let (mut sim, client) = scene(true);
    for number in 1..=3 {
        consume(&mut sim, &client, number, 0, 2);
    }
    publish(&mut sim, &["0", "1", "2", "3", "4", "5"]);
    let (by_consumer, held) = got(&sim, &client);
    assert_eq!(by_consumer.keys().collect::<Vec<_>>(), [&1]);
    sim.tell(&client, Command::Cancel { token: client.token(), consumer: ConsumerId(1) });
    assert_eq!(bodies_of(&sim, &client, 2), [""; 0], "it may still settle what it holds");
    sim.settle(&client, &held[1..], Outcome::Ack);
    let receipts = vec![held[0].receipt];
    let outcome = Outcome::Retry { delay_ms: Some(0) };
    sim.tell(&client, Command::Settle { token: None, receipts, outcome });
    assert_eq!(bodies_of(&sim, &client, 2), ["0", "2"], "what came back is first");
    sim.tell(&client, Command::Credit { consumer: ConsumerId(2), add: 1 });
    assert_eq!(bodies_of(&sim, &client, 2), ["3"]);
}

#[test]
fn who_comes_after_a_cancel_waits_for_what_is_held_too() {
    let (mut sim, client) = scene(true);
    let next = sim.connect();
    consume(&mut sim, &client, 1, 0, 1);
    publish(&mut sim, &["0", "1"]);
    let (_, held) = got(&sim, &client);
    sim.tell(&client, Command::Cancel { token: client.token(), consumer: ConsumerId(1) });
    consume(&mut sim, &next, 1, 0, 9);
    assert_eq!(bodies_of(&sim, &next, 1), [""; 0]);
    drop(held);
    sim.disconnect(client);
    assert_eq!(bodies_of(&sim, &next, 1), ["0", "1"]);
}

#[test]
fn what_others_hold_by_then_is_nothing_that_a_cancelled_consumer_has_left_behind() {
    let (mut sim, client) = scene(true);
    consume(&mut sim, &client, 1, 0, 1);
    publish(&mut sim, &["a", "b", "c"]);
    let (_, held) = got(&sim, &client);
    let cancel = |token| Command::Cancel { token, consumer: ConsumerId(1) };
    sim.ask(&client, cancel).unwrap();
    assert_eq!(sim.settle(&client, &held, Outcome::Ack), [Ok(())]);
    assert_eq!(bodies(&sim.receive(&client, "t", "t", 1, 60_000)), ["b"]);
    consume(&mut sim, &client, 2, 0, 5);
    assert_eq!(bodies_of(&sim, &client, 2), ["c"]);
}

#[test]
fn a_receive_gets_nothing_while_a_consumer_is_active_and_a_restart_keeps_the_rule() {
    let (mut sim, _) = scene(true);
    publish(&mut sim, &["0", "1"]);
    sim.checkpoint();
    let mut sim = sim.crash(Loss::Nothing);
    let (client, other) = (sim.connect(), sim.connect());
    consume(&mut sim, &client, 1, 0, 1);
    consume(&mut sim, &client, 2, 0, 1);
    assert_eq!(bodies_of(&sim, &client, 1), ["0"]);
    assert!(sim.receive(&other, "t", "t", 9, 1_000).is_empty());
    sim.disconnect(client);
    assert_eq!(bodies(&sim.receive(&other, "t", "t", 9, 1_000)), ["0", "1"]);
}

#[test]
fn nobody_has_a_queue_alone_of_which_one_is_active() {
    let (mut sim, client) = scene(true);
    let (group, topic) = (Name::from("t"), Name::from("t"));
    let alone = |token| Command::Consume {
        token,
        consumer: ConsumerId(1),
        group: group.clone(),
        topic: topic.clone(),
        credit: 1,
        no_ack: false,
        exclusive: true,
        priority: 0,
    };
    assert_eq!(sim.ask(&client, alone).unwrap_err(), Error::ExclusiveConsumer("t".into()));
    let mut by_offset = GroupSettings::at_once();
    by_offset.turns.single_active = false;
    sim.make_group(&client, "t", by_offset);
    assert!(sim.ask(&client, alone).is_ok());
}
