//! Times to live: what is over is handed to nobody and goes at its own time, wherever it lies and whatever happens.

use super::*;

const MINUTE_MS: u64 = 60_000;

pub(super) fn policy(attributes: &[(&str, &str)]) -> TopicSettings {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    TopicSettings { attributes: attributes.collect(), ..TopicSettings::settled_queue() }
}

/// Publishes bodies, each with the milliseconds that it lives.
pub(super) fn publish_living(
    sim: &mut Simulation,
    client: &Client,
    topic: &str,
    bodies: &[(&str, Option<u64>)],
) {
    let topic = sim.topic(topic);
    let mut batch = PublishBatch::default();
    for (body, ttl_ms) in bodies {
        let mut properties = b"TAGS\x01t\x02".to_vec();
        if let Some(ttl_ms) = ttl_ms {
            property::push(&mut properties, property::TTL, &ttl_ms.to_string());
        }
        let draft = Draft { properties: &properties, ..draft(&topic.name, body) };
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        batch.push(&draft, destination, tag_hash("t"), Durability::Disk).unwrap();
    }
    assert!(sim.send(client, batch).iter().all(Result::is_ok));
}

pub(super) fn ready(sim: &mut Simulation, client: &Client, topic: &str) -> (u64, u64) {
    let name: Name = topic.into();
    let asked = |token| Command::GroupState { token, group: name.clone(), topic: name };
    match sim.ask(client, asked).unwrap() {
        Reply::Group(view) => (view.ready, view.leased),
        other => panic!("{other:?}"),
    }
}

fn received(sim: &mut Simulation, client: &Client, topic: &str) -> Vec<String> {
    bodies(&sim.receive(client, topic, topic, 100, 10 * MINUTE_MS))
}

#[test]
fn each_message_goes_at_its_own_time_and_not_when_it_gets_to_the_head() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "dead", TopicSettings::settled_queue());
    sim.make_topic(&client, "q", policy(&[(DEAD_LETTER_TOPIC, "dead")]));
    publish_living(
        &mut sim,
        &client,
        "q",
        &[("stays", None), ("long", Some(5_000)), ("short", Some(1_000)), ("last", None)],
    );
    sim.pass_ms(999);
    assert_eq!(ready(&mut sim, &client, "q"), (4, 0));
    sim.pass_ms(1);
    assert_eq!(ready(&mut sim, &client, "q"), (3, 0));
    assert_eq!(
        sim.read("q", 0, 0).into_iter().map(|(_, body)| body).collect::<Vec<_>>(),
        ["stays", "long", "last"]
    );
    assert_eq!(sim.read("dead", 0, 0), [(0, "short".to_owned())]);
    sim.pass_ms(4_000);
    assert_eq!(received(&mut sim, &client, "q"), ["stays", "last"]);
    assert_eq!(sim.read("dead", 0, 0).len(), 2, "the dead letters do not expire again");
    sim.pass_ms(MINUTE_MS);
    assert_eq!(sim.read("dead", 0, 0).len(), 2);
}

#[test]
fn a_time_to_live_of_the_topic_holds_for_all_and_the_shorter_one_counts() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "q", policy(&[(MESSAGE_TTL_MS, "3000")]));
    publish_living(&mut sim, &client, "q", &[("own", Some(1_000)), ("longer", Some(9_000)), ("none", None)]);
    sim.pass_ms(1_000);
    assert_eq!(ready(&mut sim, &client, "q"), (2, 0));
    sim.pass_ms(2_000);
    assert_eq!((ready(&mut sim, &client, "q"), received(&mut sim, &client, "q")), ((0, 0), Vec::new()));
}

#[test]
fn what_is_leased_when_its_time_comes_may_be_settled_and_goes_when_it_comes_back() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "dead", TopicSettings::settled_queue());
    sim.make_topic(&client, "q", policy(&[(DEAD_LETTER_TOPIC, "dead")]));
    let lives = ["acked", "back", "released", "leased"].map(|body| (body, Some(1_000)));
    publish_living(&mut sim, &client, "q", &lives);
    let held = sim.receive(&client, "q", "q", 4, 5_000);
    sim.pass_ms(2_000);
    assert_eq!(ready(&mut sim, &client, "q"), (0, 4));
    assert_eq!(sim.settle(&client, &held[..1], Outcome::Ack), [Ok(())]);
    assert_eq!(sim.settle(&client, &held[1..2], Outcome::Retry { delay_ms: Some(100) }), [Ok(())]);
    assert_eq!(sim.settle(&client, &held[2..3], Outcome::Release), [Ok(())]);
    assert_eq!(sim.read("dead", 0, 0).len(), 2, "they go at once, not after their backoff");
    assert_eq!(received(&mut sim, &client, "q"), Vec::<String>::new());
    sim.pass_ms(3_000);
    assert_eq!((ready(&mut sim, &client, "q"), sim.read("dead", 0, 0).len()), ((0, 0), 3));
}

/// One message that lives a second, leased beside others that live for ever; in a block of the store or not.
fn leased_living(in_block: bool) -> (Simulation, Client, Vec<Delivery>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "dead", TopicSettings::settled_queue());
    sim.make_topic(&client, "q", policy(&[(DEAD_LETTER_TOPIC, "dead")]));
    sim.make_group(&client, "q", GroupSettings::at_once());
    let others = if in_block { 2_100 } else { 3 };
    let lives: Vec<_> = [Some(1_000)].into_iter().chain((0..others).map(|_| None)).collect();
    publish_living(&mut sim, &client, "q", &lives.into_iter().map(|lives| ("m", lives)).collect::<Vec<_>>());
    if in_block {
        sim.checkpoint();
        sim = sim.crash(Loss::Nothing);
    }
    let client = sim.connect();
    let held = sim.receive(&client, "q", "q", 1, 10 * MINUTE_MS);
    (sim, client, held)
}

#[test]
fn what_comes_back_before_its_time_as_the_clock_was_set_back_stays_until_then() {
    for in_block in [false, true] {
        let (mut sim, client, held) = leased_living(in_block);
        sim.pass_ms(2_000);
        sim.now.wall_ms -= MINUTE_MS;
        assert_eq!(sim.settle(&client, &held, Outcome::Release), [Ok(())]);
        sim.pass_ms(MINUTE_MS - 2_000);
        assert_eq!(sim.read("dead", 0, 0).len(), 0, "in a block: {in_block}");
        let again = sim.receive(&client, "q", "q", 1, 10 * MINUTE_MS);
        assert_eq!(again[0].receipt.offset, 0);
        sim.settle(&client, &again, Outcome::Release);
        sim.pass_ms(1_000);
        assert_eq!(sim.read("dead", 0, 0).len(), 1, "in a block: {in_block}");
    }
}

#[test]
fn what_was_leased_when_its_time_came_goes_when_a_seek_ends_its_lease() {
    for in_block in [false, true] {
        let (mut sim, client, _) = leased_living(in_block);
        sim.pass_ms(2_000);
        let (group, topic, to) = ("q".into(), "q".into(), crate::command::SeekTo::Earliest);
        sim.ask(&client, |token| Command::Seek { token, group, topic, to }).unwrap();
        assert_eq!(sim.read("dead", 0, 0).len(), 1, "in a block: {in_block}");
        assert_eq!(sim.receive(&client, "q", "q", 1, 1_000)[0].receipt.offset, 1);
    }
}

#[test]
fn what_another_group_brings_back_goes_all_the_same_when_its_owner_does() {
    let (mut sim, client, held) = leased_living(true);
    sim.make_group(&client, "other", GroupSettings::at_once());
    let others = sim.receive(&client, "other", "q", 1, 10 * MINUTE_MS);
    assert_eq!(others[0].receipt.offset, 0);
    sim.pass_ms(2_000);
    sim.settle(&client, &others, Outcome::Release);
    sim.settle(&client, &held, Outcome::Release);
    assert_eq!(sim.read("dead", 0, 0).len(), 1);
    assert_eq!(sim.receive(&client, "q", "q", 1, 1_000)[0].receipt.offset, 1);
}

#[test]
fn a_message_that_lives_no_time_goes_to_whoever_waits_or_to_nobody() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "q", policy(&[(MESSAGE_TTL_MS, "0")]));
    publish_living(&mut sim, &client, "q", &[("nobody waits", None)]);
    sim.pass_ms(1);
    assert_eq!(received(&mut sim, &client, "q"), Vec::<String>::new());
    let (token, topic): (_, Name) = (client.token(), "q".into());
    let (group, lease_ms) = (topic.clone(), MINUTE_MS);
    sim.tell(
        &client,
        Command::Receive { token, group, topic, max: 1, wait_ms: 5_000, lease_ms, filter: None },
    );
    let topic = sim.topic("q");
    let token = client.token();
    let mut batch = PublishBatch::default();
    let destination = Destination::Topic { topic: topic.id, queue_index: None };
    batch.push(&draft("q", "somebody waits"), destination, 0, Durability::Disk).unwrap();
    sim.tell(&client, Command::Publish { token, batch });
    let got = sim.events(&client).into_iter().find_map(|event| match event {
        Event::Deliveries { deliveries, .. } => Some(super::bodies(&deliveries)),
        _ => None,
    });
    assert_eq!(got, Some(vec!["somebody waits".to_owned()]));
}

#[test]
fn expiry_outlives_a_crash_whether_a_checkpoint_or_the_log_brings_the_index_back() {
    for with_checkpoint in [false, true] {
        let mut sim = Simulation::new();
        let client = sim.connect();
        sim.make_topic(&client, "q", policy(&[]));
        sim.make_group(&client, "q", GroupSettings::at_once());
        publish_living(&mut sim, &client, "q", &[("goes", Some(10_000)), ("stays", None)]);
        if with_checkpoint {
            sim.checkpoint();
        }
        let mut sim = sim.crash(Loss::Nothing);
        let client = sim.connect();
        sim.pass_ms(9_999);
        assert_eq!(ready(&mut sim, &client, "q"), (2, 0));
        sim.pass_ms(1);
        assert_eq!(received(&mut sim, &client, "q"), ["stays"], "checkpoint: {with_checkpoint}");
    }
}

#[test]
fn only_blocks_in_which_something_is_due_are_opened() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "q", policy(&[]));
    sim.make_group(&client, "q", GroupSettings::at_once());
    // Three sealed blocks and an open end. One message in the middle of each expires, at times of its own.
    for block in 0u64..4 {
        let lives = (0u64..2_100).map(|at| ("m", (at == 1_000).then_some(1_000 * (block + 1))));
        publish_living(&mut sim, &client, "q", &lives.collect::<Vec<_>>());
    }
    sim.checkpoint();
    let mut sim = sim.crash(Loss::Nothing);
    let client = sim.connect();
    assert_eq!(ready(&mut sim, &client, "q"), (8_400, 0));
    for seconds in 1..=4 {
        sim.pass_ms(1_000);
        assert_eq!(ready(&mut sim, &client, "q"), (8_400 - seconds, 0));
        let queue = sim.topic("q").queue(0).unwrap();
        let swept = sim.context.blocks.reads();
        let due = queue.sweep(0, sim.now.wall_ms, &sim.context.blocks).unwrap();
        assert_eq!(sim.context.blocks.reads(), swept, "nothing is due: no block is opened");
        assert!(due.due_ms > sim.now.wall_ms);
    }
}

#[test]
fn no_group_and_no_reader_gets_what_is_over_in_a_topic_that_keeps_messages() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = TopicSettings { queues: 1, ..TopicSettings::default() };
    sim.make_topic(&client, "t", topic);
    sim.make_group(&client, "g", GroupSettings::at_once());
    publish_living(
        &mut sim,
        &client,
        "t",
        &[("goes", Some(1_000)), ("stays", None), ("goes too", Some(1_000))],
    );
    sim.pass_ms(1_000);
    assert_eq!(sim.read("t", 0, 0), [(1, "stays".to_owned())]);
    let token = client.token();
    let (group, topic) = ("g".into(), "t".into());
    let receive =
        Command::Receive { token, group, topic, max: 10, wait_ms: 0, lease_ms: MINUTE_MS, filter: None };
    sim.tell(&client, receive);
    let Some(Letter::Granted { grants, .. }) = client.mailbox.take_letters().pop() else { panic!("nothing") };
    assert!(reader::deliveries_in_memory(&sim.reader, &grants).is_none(), "one is over");
    let mut fetched = sim.context.fetch(grants, crate::limits::FETCH_BYTES_MAX);
    assert_eq!((bodies(&fetched.deliveries), fetched.overdue.len()), (vec!["stays".to_owned()], 2));
    fetched.take_news().into_iter().for_each(|news| sim.input(news));
    assert_eq!(sim.settle(&client, &fetched.deliveries, Outcome::Ack), [Ok(())]);
    let group = sim.shard.directory().group("g").unwrap().id;
    let progress = sim.shard.state().progress(group, sim.topic("t").queue(0).unwrap().id).unwrap();
    assert_eq!(progress.floor, 3, "the group does without them");
}

#[test]
fn what_nobody_has_ever_consumed_goes_as_well() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "q", policy(&[]));
    publish_living(&mut sim, &client, "q", &[("goes", Some(1_000)), ("stays", None)]);
    sim.pass_ms(1_000);
    assert_eq!(sim.topic("q").queue(0).unwrap().min_offset(), 1);
    assert_eq!(ready(&mut sim, &client, "q"), (1, 0));
}
