//! Light queues: one message in many of them, made at first use, gone with their parent or unused.

use super::*;
use crate::limits::{LITE_QUEUES_MAX, MESSAGE_LITE_QUEUES_MAX, NAME_BYTES_MAX};
use crate::lite::{LITE, LITE_EXPIRES_MS, LITE_OF, LITE_PREFIX};

fn with(attributes: &[(&str, &str)]) -> TopicSettings {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    TopicSettings { queues: 2, attributes: attributes.collect(), ..TopicSettings::default() }
}

/// A topic that may have light queues.
fn scene(attributes: &[(&str, &str)]) -> (Simulation, Client) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let all: Vec<_> = attributes.iter().copied().chain([(LITE, "true")]).collect();
    sim.make_topic(&client, "parent", with(&all));
    (sim, client)
}

fn properties(lites: &[&str]) -> String {
    let names: Vec<String> = lites.iter().map(|name| format!("{LITE_PREFIX}{name}")).collect();
    raw_properties(&crate::lite::join(names.iter().map(String::as_str)))
}

fn raw_properties(names: &str) -> String {
    format!("TAGS\u{1}t\u{2}{}\u{1}{names}\u{2}", property::LITE_QUEUES)
}

fn publish(sim: &mut Simulation, client: &Client, lites: &[&str], body: &str) -> Result<Stored, Error> {
    publish_raw(sim, client, "parent", &properties(lites), body)
}

fn publish_raw(
    sim: &mut Simulation,
    client: &Client,
    topic: &str,
    properties: &str,
    body: &str,
) -> Result<Stored, Error> {
    let topic = sim.topic(topic);
    let mut batch = PublishBatch::default();
    let draft = Draft { properties: properties.as_bytes(), ..draft(&topic.name, body) };
    let destination = Destination::Topic { topic: topic.id, queue_index: Some(1) };
    batch.push(&draft, destination, 0, Durability::Disk).unwrap();
    sim.send(client, batch).pop().unwrap()
}

fn lites(sim: &Simulation) -> Vec<String> {
    let all = sim.shard.directory().lites("parent", None, usize::MAX);
    all.iter().map(|lite| lite.name.strip_prefix(LITE_PREFIX).unwrap().to_owned()).collect()
}

fn read(sim: &Simulation, lite: &str) -> Vec<(u64, String)> {
    sim.read(&format!("{LITE_PREFIX}{lite}"), 0, 0)
}

fn pairs(bodies: &[&str]) -> Vec<(u64, String)> {
    (0..).zip(bodies.iter().map(|body| (*body).to_owned())).collect()
}

#[test]
fn a_message_is_stored_once_and_is_in_its_topic_and_in_all_light_queues_it_names() {
    let (mut sim, client) = scene(&[]);
    let stored = publish(&mut sim, &client, &["a", "b"], "1").unwrap();
    assert_eq!((stored.queue_index, stored.offset, stored.queues), (1, Some(0), 3));
    publish(&mut sim, &client, &["b", "b", "c"], "2").unwrap();
    publish(&mut sim, &client, &["a"], "3").unwrap();
    sim.publish(&client, &sim.topic("parent"), &["4"]);
    let check = |sim: &Simulation| {
        assert_eq!(lites(sim), ["a", "b", "c"]);
        assert_eq!(read(sim, "a"), pairs(&["1", "3"]));
        assert_eq!(read(sim, "b"), pairs(&["1", "2"]));
        assert_eq!(read(sim, "c"), pairs(&["2"]));
        let all: Vec<_> =
            (0..2).flat_map(|queue| sim.read("parent", queue, 0)).map(|(_, body)| body).collect();
        assert_eq!(all.len(), 4, "{all:?}");
        let shared = sim.shard.directory().lites("parent", None, 2);
        assert!(Arc::ptr_eq(&shared[0].settings(), &shared[1].settings()), "settings are shared");
    };
    check(&sim);
    let sim = sim.crash(Loss::All);
    check(&sim);
    // And where the state comes from a checkpoint.
    let mut sim = sim;
    sim.checkpoint();
    check(&sim.crash(Loss::All));
}

#[test]
fn a_light_queue_is_consumed_by_lease_as_any_topic_and_its_group_goes_with_it() {
    let (mut sim, client) = scene(&[]);
    publish(&mut sim, &client, &["a"], "1").unwrap();
    let name = format!("{LITE_PREFIX}a");
    sim.make_group(&client, &name, GroupSettings::at_once());
    let got = sim.receive(&client, &name, &name, 9, 30_000);
    assert_eq!(bodies(&got), ["1"]);
    assert!(sim.settle(&client, &got, Outcome::Ack).iter().all(Result::is_ok));
    publish(&mut sim, &client, &["a"], "2").unwrap();
    assert_eq!(bodies(&sim.receive(&client, &name, &name, 9, 30_000)), ["2"]);
    let topic = Name::from("parent");
    let delete = |token| Command::DeleteTopic { token, name: topic, if_unused: false, if_empty: false };
    sim.ask(&client, delete).unwrap();
    assert!(sim.shard.directory().group(&name).is_none());
}

#[test]
fn what_may_not_be_is_refused_and_makes_nothing() {
    let (mut sim, client) = scene(&[]);
    sim.make_topic(&client, "plain", with(&[]));
    sim.make_topic(&client, "other", with(&[(LITE, "true")]));
    publish_raw(&mut sim, &client, "other", &properties(&["theirs"]), "x").unwrap();
    let long = "x".repeat(NAME_BYTES_MAX + 1 - LITE_PREFIX.len());
    let many = |count: usize| (0..count).map(|_| "%LMQ%a").collect::<Vec<_>>().join(",");
    let cases = [
        ("plain", properties(&["a"]), "the attribute lite, not this one,"),
        ("parent", raw_properties("a"), "it does not begin with %LMQ%"),
        ("parent", raw_properties("%LMQ%"), "nothing follows %LMQ%"),
        ("parent", raw_properties("parent"), "it does not begin with %LMQ%"),
        ("parent", properties(&["a", &long]), "it is longer than 255 bytes"),
        (
            "parent",
            properties(&["a", "theirs"]),
            "a light queue is \"%LMQ%theirs\", of topic \"other\"; one that is the topic's own",
        ),
        ("parent", raw_properties(&many(MESSAGE_LITE_QUEUES_MAX + 1)), "is 1025; at most 1024"),
    ];
    let before = sim.fingerprint();
    for (topic, properties, why) in cases {
        let error = publish_raw(&mut sim, &client, topic, &properties, "x").unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(sim.fingerprint(), before);
    let fits = raw_properties(&many(MESSAGE_LITE_QUEUES_MAX));
    publish_raw(&mut sim, &client, "parent", &fits, "x").unwrap();
    publish(&mut sim, &client, &[&long[1..]], "x").unwrap();
}

#[test]
fn a_topic_has_so_many_light_queues_and_no_more() {
    let (mut sim, client) = scene(&[]);
    let names: Vec<String> = (0..LITE_QUEUES_MAX).map(|number| format!("{number:04}")).collect();
    for names in names.chunks(100) {
        publish(&mut sim, &client, &names.iter().map(String::as_str).collect::<Vec<_>>(), "x").unwrap();
    }
    assert_eq!(lites(&sim), names);
    let error = publish(&mut sim, &client, &["0000", "more"], "x").unwrap_err().to_string();
    assert!(
        error.contains(&format!("light queues of a topic is {}; at most", LITE_QUEUES_MAX + 1)),
        "{error}"
    );
    let error = put(&mut sim, &client, "more", "parent").unwrap_err().to_string();
    assert!(error.contains("light queues of a topic is"), "{error}");
    // What is there may be named as before.
    publish(&mut sim, &client, &["0000", "0299"], "y").unwrap();
    assert_eq!(read(&sim, "0000"), pairs(&["x", "y"]));
}

fn put(sim: &mut Simulation, client: &Client, lite: &str, parent: &str) -> Result<Reply, Error> {
    let (name, settings) = (format!("{LITE_PREFIX}{lite}").into(), with(&[(LITE_OF, parent)]));
    sim.ask(client, |token| Command::PutTopic { token, name, settings, adopt: false })
}

#[test]
fn a_light_queue_may_be_made_before_any_message_but_no_other_topic_has_its_name() {
    let (mut sim, client) = scene(&[(MESSAGE_TTL_MS, "777")]);
    let Ok(Reply::Topic { topic, created: true }) = put(&mut sim, &client, "a", "parent") else { panic!() };
    assert_eq!((topic.queues().len(), topic.lite_of.as_deref()), (1, Some("parent")));
    assert_eq!(topic.settings().attributes[MESSAGE_TTL_MS], "777");
    assert!(matches!(put(&mut sim, &client, "a", "parent"), Ok(Reply::Topic { created: false, .. })));
    publish(&mut sim, &client, &["a"], "1").unwrap();
    assert_eq!(read(&sim, "a"), pairs(&["1"]));
    assert_eq!(put(&mut sim, &client, "b", "none").unwrap_err(), Error::NoTopic("none".to_owned()));
    let error = put(&mut sim, &client, "b", "%LMQ%a").unwrap_err().to_string();
    assert!(error.contains("the attribute lite, not this one,"), "{error}");
    for (name, settings, why) in [
        ("%LMQ%c", with(&[]), "only light queues have names"),
        ("c", with(&[(LITE_OF, "parent")]), "it does not begin with %LMQ%"),
        ("c", with(&[(LITE, "yes")]), "lite is yes; true or false"),
        ("c", with(&[(LITE_EXPIRES_MS, "7")]), "lite-expires-ms is 7; only on a topic that may have"),
        (
            "c",
            TopicSettings { retention: Retention::UntilSettled, ..with(&[(LITE, "true")]) },
            "keeps messages by time and size",
        ),
    ] {
        let name = name.into();
        let asked = |token| Command::PutTopic { token, name, settings, adopt: true };
        let error = sim.ask(&client, asked).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(sim.shard.directory().topics().len(), 1, "lists of topics are without light queues");
}

#[test]
fn an_unused_one_goes_and_messages_and_waiting_readers_are_use() {
    let (mut sim, client) = scene(&[(LITE_EXPIRES_MS, "10000")]);
    publish(&mut sim, &client, &["a", "b", "waited"], "1").unwrap();
    sim.pass_ms(9_000);
    publish(&mut sim, &client, &["b"], "2").unwrap();
    let waited = sim.topic("%LMQ%waited").queue(0).unwrap();
    waited.wait(&client.mailbox, client.token(), 1);
    sim.pass_ms(1_000);
    assert_eq!(lites(&sim), ["b", "waited"]);
    sim.pass_ms(8_999);
    assert_eq!(lites(&sim), ["b", "waited"]);
    sim.pass_ms(1);
    assert_eq!(lites(&sim), ["waited"]);
    publish(&mut sim, &client, &["b"], "3").unwrap();
    assert_eq!(read(&sim, "b"), pairs(&["3"]), "a new one begins at 0");
    let sim = sim.crash(Loss::Nothing);
    assert_eq!(lites(&sim), ["b", "waited"]);
}

#[test]
fn with_their_topic_all_go_in_steps_and_never_belong_to_one_that_takes_its_name() {
    let (mut sim, client) = scene(&[]);
    let names: Vec<String> = (0..LITE_QUEUES_MAX).map(|number| format!("{number:04}")).collect();
    for names in names.chunks(100) {
        publish(&mut sim, &client, &names.iter().map(String::as_str).collect::<Vec<_>>(), "x").unwrap();
    }
    let mailbox = client.mailbox.clone();
    let commands = |tokens: [Token; 3]| {
        let name = Name::from("parent");
        let delete =
            Command::DeleteTopic { token: tokens[0], name: name.clone(), if_unused: false, if_empty: false };
        let put =
            Command::PutTopic { token: tokens[1], name, settings: with(&[(LITE, "true")]), adopt: false };
        vec![delete, put]
    };
    // One turn: the topic is gone and is there again, and its light queues are not all deleted yet.
    let commands = commands([client.token(), client.token(), client.token()]);
    sim.shard.handle(sim.now, Input::Commands { mailbox, commands, since: sim.now.mono });
    sim.shard.finish_turn(sim.now);
    let left = lites(&sim);
    assert!(!left.is_empty() && left.len() < LITE_QUEUES_MAX, "{}", left.len());
    let last = left.last().unwrap().clone();
    let topic = sim.topic("parent");
    let mut batch = PublishBatch::default();
    let text = properties(&[&last]);
    let draft = Draft { properties: text.as_bytes(), ..draft("parent", "new") };
    let destination = Destination::Topic { topic: topic.id, queue_index: None };
    batch.push(&draft, destination, 0, Durability::Disk).unwrap();
    let token = client.token();
    let commands = vec![Command::Publish { token, batch }];
    let mailbox = client.mailbox.clone();
    sim.shard.handle(sim.now, Input::Commands { mailbox, commands, since: sim.now.mono });
    sim.run();
    assert_eq!(lites(&sim), std::slice::from_ref(&last));
    assert_eq!(read(&sim, &last), pairs(&["new"]));
    let sim = sim.crash(Loss::All);
    assert_eq!(lites(&sim), [last]);
}

#[test]
fn a_stop_amid_the_deletion_leaves_none() {
    let (mut sim, client) = scene(&[]);
    let names: Vec<String> = (0..LITE_QUEUES_MAX).map(|number| format!("{number:04}")).collect();
    for names in names.chunks(100) {
        publish(&mut sim, &client, &names.iter().map(String::as_str).collect::<Vec<_>>(), "x").unwrap();
    }
    let (mailbox, token, name) = (client.mailbox.clone(), client.token(), Name::from("parent"));
    let commands = vec![Command::DeleteTopic { token, name, if_unused: false, if_empty: false }];
    sim.shard.handle(sim.now, Input::Commands { mailbox, commands, since: sim.now.mono });
    sim.shard.finish_turn(sim.now);
    assert!(!lites(&sim).is_empty());
    while sim.step(Part::Writer) || sim.step(Part::Syncer) {}
    let sim = sim.crash(Loss::All);
    assert!(lites(&sim).is_empty() && sim.shard.directory().topic("parent").is_none());
}

#[test]
fn a_message_that_waits_goes_to_its_light_queues_when_it_comes() {
    let (mut sim, client) = scene(&[]);
    let topic = sim.topic("parent");
    let text = properties(&["a", "b"]);
    let mut batch = PublishBatch::default();
    let draft = Draft { properties: text.as_bytes(), ..draft("parent", "late") };
    let due_ms = sim.now.wall_ms + 5_000;
    batch.push_due(&draft, topic.id, None, 0, Durability::Disk, due_ms).unwrap();
    assert!(sim.send(&client, batch)[0].is_ok());
    assert!(lites(&sim).is_empty());
    // One of the names is taken by another topic in the meantime: the message comes all the same.
    sim.make_topic(&client, "other", with(&[(LITE, "true")]));
    publish_raw(&mut sim, &client, "other", &properties(&["b"]), "theirs").unwrap();
    sim.pass_ms(6_000);
    assert_eq!(read(&sim, "a"), pairs(&["late"]));
    assert_eq!(read(&sim, "b"), pairs(&["theirs"]));
    // What could never go there is refused at once.
    sim.make_topic(&client, "plain", with(&[]));
    let mut batch = PublishBatch::default();
    batch.push_due(&draft, sim.topic("plain").id, None, 0, Durability::Disk, due_ms + 9_000).unwrap();
    assert!(sim.send(&client, batch)[0].is_err());
}

#[test]
fn messages_stored_together_go_to_light_queues_too() {
    let (mut sim, client) = scene(&[]);
    let topic = sim.topic("parent");
    let together = |sim: &mut Simulation, lites: &[&[&str]]| {
        let mut batch = PublishBatch::default();
        for lites in lites {
            let text = properties(lites);
            let draft = Draft { properties: text.as_bytes(), ..draft("parent", "m") };
            let destination = Destination::Topic { topic: topic.id, queue_index: None };
            batch.push(&draft, destination, 0, Durability::Disk).unwrap();
        }
        sim.ask(&client, |token| Command::PublishTogether { token, batch, settlements: Vec::new() })
    };
    assert!(matches!(together(&mut sim, &[&["a"], &["a", "b"]]), Ok(Reply::Together(_))));
    assert_eq!((read(&sim, "a").len(), read(&sim, "b").len()), (2, 1));
    let long = "x".repeat(NAME_BYTES_MAX);
    together(&mut sim, &[&["c"], &[&long]]).unwrap_err();
    assert_eq!(lites(&sim), ["a", "b"]);
    assert_eq!(read(&sim, "a").len(), 2);
}

#[test]
fn lists_have_pages() {
    let (mut sim, client) = scene(&[]);
    publish(&mut sim, &client, &["c", "a", "b"], "1").unwrap();
    let page = |after: Option<&str>| -> Vec<String> {
        let lites = sim.shard.directory().lites("parent", after, 2);
        lites.iter().map(|lite| lite.name.to_string()).collect()
    };
    assert_eq!(page(None), ["%LMQ%a", "%LMQ%b"]);
    assert_eq!(page(Some("%LMQ%b")), ["%LMQ%c"]);
    assert!(page(Some("%LMQ%c")).is_empty());
}
