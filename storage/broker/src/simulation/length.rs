//! Length limits: what a full topic does, and what counts.

use mailrail_message::{AnnexKind, DeathReason, Deaths};

use super::expiry::{policy, publish_living, ready};
use super::*;

fn scene(attributes: &[(&str, &str)]) -> (Simulation, Client, Arc<Topic>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "dead", TopicSettings::settled_queue());
    let topic = sim.make_topic(&client, "q", policy(attributes));
    (sim, client, topic)
}

fn all(sim: &mut Simulation, client: &Client, topic: &str) -> Vec<String> {
    bodies(&sim.receive(client, topic, topic, 1_000, 60_000))
}

#[test]
fn the_oldest_go_and_those_that_are_leased_do_not_count() {
    let (mut sim, client, topic) = scene(&[(LENGTH_MAX, "2"), (DEAD_LETTER_TOPIC, "dead")]);
    sim.publish(&client, &topic, &["a", "b"]);
    let held = sim.receive(&client, "q", "q", 2, 60_000);
    assert_eq!(bodies(&held), ["a", "b"]);
    sim.publish(&client, &topic, &["c", "d", "e"]);
    assert_eq!(ready(&mut sim, &client, "q"), (2, 2));
    let dead = sim.read("dead", 0, 0);
    assert_eq!(dead, [(0, "c".to_owned())]);
    // What comes back may exceed the limit, and goes first when something is published.
    sim.settle(&client, &held, Outcome::Release);
    assert_eq!(ready(&mut sim, &client, "q"), (4, 0));
    sim.publish(&client, &topic, &["f"]);
    assert_eq!(all(&mut sim, &client, "q"), ["e", "f"]);
    assert_eq!(sim.read("dead", 0, 0).len(), 4);
}

#[test]
fn as_many_entries_and_bytes_as_the_limit_stay_and_one_more_is_too_many() {
    let one = {
        let (mut sim, client, topic) = scene(&[]);
        sim.publish(&client, &topic, &["0123456789"]);
        u64::from(topic.queue(0).unwrap().in_memory(0, 1).unwrap()[0].bytes)
    };
    for (limit, stay) in [(5 * one, 5), (5 * one - 1, 4), (one, 1), (0, 0)] {
        let (mut sim, client, topic) = scene(&[(LENGTH_BYTES_MAX, &limit.to_string())]);
        sim.publish(&client, &topic, &["0123456789"; 7]);
        assert_eq!(ready(&mut sim, &client, "q"), (stay, 0), "{limit} bytes");
        sim.checkpoint();
        let mut sim = sim.crash(Loss::Nothing);
        let (client, topic) = (sim.connect(), sim.topic("q"));
        sim.publish(&client, &topic, &["0123456789"]);
        assert_eq!(ready(&mut sim, &client, "q"), (stay, 0), "{limit} bytes, after a start");
    }
    for (limit, stay) in [("7", 7), ("6", 6), ("0", 0)] {
        let (mut sim, client, topic) = scene(&[(LENGTH_MAX, limit)]);
        sim.publish(&client, &topic, &["0123456789"; 7]);
        assert_eq!(ready(&mut sim, &client, "q"), (stay, 0), "{limit} entries");
    }
}

#[test]
fn a_full_topic_refuses_where_it_is_to_and_has_room_again_once_something_is_taken() {
    let (mut sim, client, topic) = scene(&[(LENGTH_MAX, "2"), (OVERFLOW, "reject-publish")]);
    let results = sim.publish(&client, &topic, &["a", "b", "c"]);
    let full = Error::Full { topic: "q".to_owned(), what: "ready entries", value: 3, max: 2 };
    assert!(results[0].is_ok() && results[1].is_ok());
    assert_eq!(results[2], Err(full));
    assert_eq!(all(&mut sim, &client, "q"), ["a", "b"]);
    assert!(sim.publish(&client, &topic, &["d"])[0].is_ok(), "what is leased does not count");
    let mut batch = PublishBatch::default();
    let due_ms = sim.now.wall_ms + 1_000;
    for body in ["later", "later too"] {
        batch.push_due(&draft("q", body), topic.id, None, 0, Durability::Disk, due_ms).unwrap();
    }
    assert!(sim.send(&client, batch).iter().all(Result::is_ok), "what waits needs no room yet");
    sim.pass_ms(1_000);
    assert_eq!(ready(&mut sim, &client, "q").0, 2, "the other one waits for room");
    assert_eq!(all(&mut sim, &client, "q").len(), 2);
    sim.pass_ms(1_000);
    assert_eq!(all(&mut sim, &client, "q"), ["later too"]);
}

#[test]
fn what_is_refused_may_go_to_the_dead_letters() {
    let attributes = [
        (LENGTH_MAX, "1"),
        (OVERFLOW, "reject-publish-dlx"),
        (DEAD_LETTER_EXCHANGE, ""),
        (DEAD_LETTER_KEY, "dead"),
    ];
    let (mut sim, client, topic) = scene(&attributes);
    let results = sim.publish(&client, &topic, &["a", "b"]);
    assert!(results[0].is_ok() && matches!(results[1], Err(Error::Full { .. })));
    sim.make_group(&client, "dead", GroupSettings::at_once());
    let dead = sim.receive(&client, "dead", "dead", 10, 60_000);
    assert_eq!(bodies(&dead), ["b"]);
    let stored = StoredMessage::parse(&dead[0].message).unwrap();
    let deaths = stored.annex(AnnexKind::Deaths).and_then(Deaths::read).unwrap();
    assert_eq!(deaths.all()[0].reason, DeathReason::LengthLimit);
}

#[test]
fn of_several_topics_those_with_room_take_it_and_the_publisher_hears_of_the_full_one() {
    let (mut sim, client, full) = scene(&[(LENGTH_MAX, "0"), (OVERFLOW, "reject-publish")]);
    let other = sim.topic("dead");
    let mut batch = PublishBatch::default();
    let destination = Destination::Topics(vec![full.id, other.id]);
    batch.push(&draft("q", "m"), destination, 0, Durability::Disk).unwrap();
    let results = sim.send(&client, batch);
    assert!(matches!(results[0], Err(Error::Full { .. })), "{results:?}");
    assert_eq!(sim.read("dead", 0, 0), [(0, "m".to_owned())]);
    assert_eq!(full.queue(0).unwrap().end_offset(), 0);
}

#[test]
fn dead_letters_that_find_no_room_are_dropped_and_not_tried_for_ever() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "full", policy(&[(LENGTH_MAX, "0"), (OVERFLOW, "reject-publish")]));
    sim.make_topic(&client, "q", policy(&[(DEAD_LETTER_TOPIC, "full")]));
    publish_living(&mut sim, &client, "q", &[("m", Some(1_000))]);
    sim.pass_ms(1_000);
    assert_eq!((ready(&mut sim, &client, "q"), ready(&mut sim, &client, "full")), ((0, 0), (0, 0)));
}
