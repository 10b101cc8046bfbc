//! The topic of traces: what could not be written is told there.

use super::trace::*;
use super::*;

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
