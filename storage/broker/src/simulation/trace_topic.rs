//! The topic of traces: the broker alone makes it and writes to it, and what could not be written is told there.

use super::trace::*;
use super::*;

/// What the broker makes of it, whoever asks.
fn own() -> TopicSettings {
    TopicSettings { queues: 1, writable: false, ..TopicSettings::default() }
}

fn forged() -> [Result<Stored, Error>; 1] {
    [Err(Error::NotWritable(TRACE_TOPIC.to_owned()))]
}

#[test]
fn whoever_makes_it_first_gets_it_as_the_broker_makes_it() {
    let (mut sim, client, topic) = scene(1_000_000);
    let maker = sim.connect();
    let asked = TopicSettings { queues: 4, lifetime: Lifetime::Session, ..traced(1_000_000) };
    let traces = sim.make_topic(&maker, TRACE_TOPIC, asked);
    assert_eq!(*traces.settings(), own());
    assert_eq!(sim.publish(&maker, &traces, &["forged"]), forged());
    sim.disconnect(maker);
    sim.publish(&client, &topic, &["m"]);
    assert_eq!(all_steps(&mut sim), ["stored"]);
}

#[test]
fn nothing_leads_to_it() {
    let (mut sim, client, topic) = scene(1_000_000);
    sim.publish(&client, &topic, &["m"]);
    assert_eq!(all_steps(&mut sim), ["stored"]);
    let target = BindTarget::Topic(TRACE_TOPIC.into());
    let bind = |token| Command::Bind {
        token,
        source: "t".into(),
        target,
        key: "#".into(),
        attributes: bytes::Bytes::new(),
    };
    assert_eq!(sim.ask(&client, bind).unwrap_err(), Error::NotWritable(TRACE_TOPIC.to_owned()));
    let settings = GroupSettings { dead_letter: Some(TRACE_TOPIC.to_owned()), ..GroupSettings::at_once() };
    sim.make_group(&client, "g", settings);
    let got = sim.receive(&client, "g", "t", 1, 60_000);
    sim.settle(&client, &got, Outcome::Reject);
    let expected = ["stored", "handed_out", "settled reject", "given_up rejected"];
    assert_eq!(all_steps(&mut sim), expected);
    assert_eq!(sim.topic(TRACE_TOPIC).queue(0).unwrap().end_offset(), 4, "steps and nothing else");
    assert_eq!(sim.receive(&client, "g", "t", 1, 60_000).len(), 0, "it is settled all the same");
}

#[test]
fn a_full_disk_loses_steps_and_nothing_else_and_they_are_told_when_there_is_room() {
    let (mut sim, client, topic) = scene(1_000_000);
    sim.publish(&client, &topic, &["m"]);
    assert_eq!(all_steps(&mut sim), ["stored"]);
    sim.input(Input::ShortOfRoom { is_short: true });
    let got = sim.receive(&client, "g", "t", 1, 60_000);
    sim.pass_ms(1_000);
    assert_eq!(sim.settle(&client, &got, Outcome::Ack), [Ok(())]);
    assert_eq!(all_steps(&mut sim), ["stored"]);
    sim.input(Input::ShortOfRoom { is_short: false });
    sim.publish(&client, &topic, &["m"]);
    let all = records(&mut sim);
    assert_eq!(steps(&all), ["stored", "stored", "lost"]);
    assert_eq!(all[2].lost, Some(2));
    sim.publish(&client, &topic, &["m"]);
    assert_eq!(all_steps(&mut sim).len(), 4, "they are told once");
}

#[test]
fn a_broker_stops_on_a_full_disk_though_steps_are_lost() {
    let (mut sim, client, topic) = scene(1_000_000);
    sim.publish(&client, &topic, &["m"]);
    sim.input(Input::ShortOfRoom { is_short: true });
    sim.input(Input::Stop);
    assert!(sim.shard.is_idle());
}
