//! Topics that go when nobody has used them for a while.

use super::expiry::policy;
use super::*;

fn is_there(sim: &Simulation) -> bool {
    sim.shard.directory().topic("q").is_some()
}

fn put(token: Token) -> Command {
    Command::PutTopic { token, name: "q".into(), settings: policy(&[(EXPIRES_MS, "10000")]), adopt: false }
}

#[test]
fn consumers_gets_and_declarations_are_use_and_publishes_are_not() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.ask(&client, put).unwrap();
    sim.pass_ms(9_000);
    sim.ask(&client, put).unwrap();
    sim.pass_ms(9_000);
    let (token, group) = (client.token(), Name::from("q"));
    sim.tell(&client, Command::Get { token, group: group.clone(), topic: group.clone(), no_ack: true });
    sim.events(&client);
    sim.pass_ms(9_000);
    let consumer = ConsumerId(7);
    let consume = |token| {
        let (topic, credit, no_ack, exclusive) = (group.clone(), 1, false, false);
        Command::Consume { token, consumer, group, topic, credit, no_ack, exclusive, priority: 0 }
    };
    sim.ask(&client, consume).unwrap();
    sim.pass_ms(100_000);
    assert!(is_there(&sim), "it has a consumer");
    sim.ask(&client, |token| Command::Cancel { token, consumer }).unwrap();
    sim.pass_ms(9_999);
    assert!(is_there(&sim));
    let topic = sim.topic("q");
    sim.publish(&client, &topic, &["m"]);
    sim.pass_ms(1);
    assert!(!is_there(&sim));
    assert!(sim.shard.directory().group("q").is_none());
}

#[test]
fn the_time_begins_anew_with_a_start() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.ask(&client, put).unwrap();
    sim.pass_ms(9_000);
    let mut sim = sim.crash(Loss::Nothing);
    sim.pass_ms(9_999);
    assert!(is_there(&sim));
    sim.pass_ms(1);
    assert!(!is_there(&sim));
    let sim = sim.crash(Loss::Nothing);
    assert!(!is_there(&sim));
}
