//! Dead letters: where they go, the history that travels with them, and cycles.

use mailrail_message::{AnnexKind, DeathReason, Deaths};

use super::expiry::{policy, publish_living, ready};
use super::*;

fn deaths_of(message: &[u8]) -> Vec<(String, DeathReason, u64)> {
    let stored = StoredMessage::parse(message).unwrap();
    let deaths = stored.annex(AnnexKind::Deaths).and_then(Deaths::read).unwrap_or_default();
    deaths.all().iter().map(|death| (death.queue.clone(), death.reason, death.count)).collect()
}

fn exchange(sim: &mut Simulation, client: &Client, name: &str, bound: &[(&str, &str)]) {
    let settings = ExchangeSettings::durable(ExchangeKind::Direct);
    let put = |token| Command::PutExchange { token, name: name.into(), settings };
    sim.ask(client, put).unwrap();
    for (topic, key) in bound {
        let (target, attributes) = (BindTarget::Topic((*topic).into()), Default::default());
        let (source, key): (Name, Name) = (name.into(), (*key).into());
        let bind = |token| Command::Bind { token, source, target, key, attributes };
        sim.ask(client, bind).unwrap();
    }
}

fn take(sim: &mut Simulation, client: &Client, topic: &str) -> Vec<Delivery> {
    sim.receive(client, topic, topic, 10, 60_000)
}

#[test]
fn what_is_rejected_goes_through_the_exchange_with_its_history() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    for name in ["one", "two", "far"] {
        sim.make_topic(&client, name, TopicSettings::settled_queue());
        sim.make_group(&client, name, GroupSettings::at_once());
    }
    exchange(&mut sim, &client, "x", &[("one", "q"), ("two", "q"), ("far", "k")]);
    for (name, attributes, expected) in [
        ("q", &[(DEAD_LETTER_EXCHANGE, "x")][..], ["one", "two"].as_slice()),
        ("r", &[(DEAD_LETTER_EXCHANGE, "x"), (DEAD_LETTER_KEY, "k")], &["far"]),
        ("s", &[(DEAD_LETTER_EXCHANGE, ""), (DEAD_LETTER_KEY, "far")], &["far"]),
    ] {
        sim.make_topic(&client, name, policy(attributes));
        publish_living(&mut sim, &client, name, &[(name, Some(600_000))]);
        let got = take(&mut sim, &client, name);
        assert_eq!(sim.settle(&client, &got, Outcome::Reject), [Ok(())]);
        assert_eq!(ready(&mut sim, &client, name), (0, 0));
        for target in expected {
            let dead = take(&mut sim, &client, target);
            assert_eq!(bodies(&dead), [name]);
            assert_eq!(deaths_of(&dead[0].message), [(name.to_owned(), DeathReason::Rejected, 1)]);
            assert_eq!(property_of(&dead[0].message, property::TTL), None, "it expires no more");
            let stored = StoredMessage::parse(&dead[0].message).unwrap();
            let deaths = stored.annex(AnnexKind::Deaths).and_then(Deaths::read).unwrap();
            let first = deaths.first().unwrap();
            assert_eq!((first.key.as_str(), first.expiration.as_deref()), (name, Some("600000")));
            sim.settle(&client, &dead, Outcome::Ack);
        }
    }
}

#[test]
fn what_leads_nowhere_is_dropped() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    exchange(&mut sim, &client, "x", &[]);
    for (name, attributes) in [
        ("a", &[(DEAD_LETTER_EXCHANGE, "missing")][..]),
        ("b", &[(DEAD_LETTER_EXCHANGE, "x")]),
        ("c", &[(DEAD_LETTER_EXCHANGE, ""), (DEAD_LETTER_KEY, "missing")]),
    ] {
        sim.make_topic(&client, name, policy(attributes));
        publish_living(&mut sim, &client, name, &[("m", None)]);
        let got = take(&mut sim, &client, name);
        sim.settle(&client, &got, Outcome::Reject);
        assert_eq!(ready(&mut sim, &client, name), (0, 0));
        assert!(sim.topic(name).queue(0).unwrap().min_offset() == 1);
    }
}

#[test]
fn a_cycle_without_a_rejection_ends_and_one_with_it_counts() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let back = [(DEAD_LETTER_EXCHANGE, ""), (DEAD_LETTER_KEY, "q"), (MESSAGE_TTL_MS, "1000")];
    sim.make_topic(&client, "waits", policy(&back));
    sim.make_topic(&client, "q", policy(&[(DEAD_LETTER_EXCHANGE, ""), (DEAD_LETTER_KEY, "waits")]));
    publish_living(&mut sim, &client, "q", &[("m", None)]);
    // A retry queue: rejected, it waits, expires, and comes back.
    for round in 1..=3 {
        let got = take(&mut sim, &client, "q");
        assert_eq!(bodies(&got), ["m"], "round {round}");
        sim.settle(&client, &got, Outcome::Reject);
        sim.pass_ms(1_000);
    }
    let got = take(&mut sim, &client, "q");
    let expected =
        [("waits".to_owned(), DeathReason::Expired, 3), ("q".to_owned(), DeathReason::Rejected, 3)];
    assert_eq!(deaths_of(&got[0].message), expected);
    // One that sends to itself what expires would never end.
    let own = [(DEAD_LETTER_EXCHANGE, ""), (DEAD_LETTER_KEY, "own"), (MESSAGE_TTL_MS, "1000")];
    sim.make_topic(&client, "own", policy(&own));
    publish_living(&mut sim, &client, "own", &[("m", None)]);
    sim.pass_ms(1_000);
    sim.pass_ms(1_000);
    assert_eq!(ready(&mut sim, &client, "own"), (0, 0));
    assert_eq!(sim.topic("own").queue(0).unwrap().end_offset(), 1, "it was not stored again");
}

#[test]
fn attempts_that_are_used_up_are_a_reason_of_their_own_and_a_groups_topic_still_serves() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    let settings = GroupSettings {
        attempts_max: Some(1),
        backoff_ms: Vec::new(),
        dead_letter: Some("dead".to_owned()),
        ..GroupSettings::at_once()
    };
    sim.make_group(&client, "g", settings);
    publish_living(&mut sim, &client, "t", &[("m", None)]);
    for _ in 0..2 {
        let got = sim.receive(&client, "g", "t", 1, 60_000);
        assert_eq!(sim.settle(&client, &got, Outcome::Retry { delay_ms: None }), [Ok(())]);
    }
    sim.make_group(&client, "d", GroupSettings::at_once());
    let dead = sim.receive(&client, "d", "dead", 10, 60_000);
    assert_eq!(deaths_of(&dead[0].message), [("t".to_owned(), DeathReason::DeliveryLimit, 1)]);
    assert_eq!(property_of(&dead[0].message, property::DLQ_ORIGIN_TOPIC).as_deref(), Some("t"));
}

#[test]
fn a_crash_on_the_way_to_the_dead_letters_loses_nothing_and_doubles_nothing() {
    for steps in 0..12 {
        let mut sim = Simulation::new();
        let client = sim.connect();
        sim.make_topic(&client, "dead", TopicSettings::settled_queue());
        sim.make_topic(&client, "q", policy(&[(DEAD_LETTER_TOPIC, "dead")]));
        publish_living(&mut sim, &client, "q", &[("m", Some(1_000))]);
        sim.now.wall_ms += 1_000;
        sim.now.mono += Duration::from_secs(1);
        for step in 0..steps {
            sim.step(Part::ALL[step % Part::ALL.len()]);
        }
        let mut sim = sim.crash(if steps % 2 == 0 { Loss::All } else { Loss::Nothing });
        let client = sim.connect();
        // It is over its time, so the start itself ends what the crash interrupted.
        assert_eq!(ready(&mut sim, &client, "q"), (0, 0), "after {steps} steps");
        assert_eq!(sim.read("dead", 0, 0).len(), 1, "after {steps} steps");
    }
}
