//! Topics, exchanges and bindings, and where messages go by them.

use super::*;

fn publish_through(
    sim: &mut Simulation,
    client: &Client,
    name: &str,
    key: &'static str,
) -> Result<Stored, Error> {
    let id = sim.shard.directory().exchange(name).unwrap().id;
    let mut batch = PublishBatch::default();
    let destination =
        Destination::Exchange { exchange: id, keys: [bytes::Bytes::from_static(key.as_bytes())].into() };
    batch.push(&draft(name, key), destination, 0, Durability::Disk).unwrap();
    sim.send(client, batch).pop().unwrap()
}

fn bind(source: &str, target: &str, key: &str) -> impl FnOnce(Token) -> Command {
    let (source, target, key): (Name, Name, Name) = (source.into(), target.into(), key.into());
    move |token| Command::Bind {
        token,
        source,
        target: BindTarget::Topic(target),
        key,
        attributes: Default::default(),
    }
}

#[test]
fn a_message_is_stored_once_and_seen_in_every_bound_queue() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    for name in ["q1", "q2", "q3"] {
        sim.make_topic(&client, name, TopicSettings::settled_queue());
    }
    let put = |token| Command::PutExchange {
        token,
        name: "x".into(),
        settings: ExchangeSettings::durable(ExchangeKind::Topic),
    };
    sim.ask(&client, put).unwrap();
    for (queue, key) in [("q1", "a.*"), ("q2", "#"), ("q3", "b.#")] {
        sim.ask(&client, bind("x", queue, key)).unwrap();
    }
    let stored = publish_through(&mut sim, &client, "x", "a.b").unwrap();
    assert_eq!(stored.queues, 2);
    let one = sim.context.read_position(stored.position).unwrap();
    assert_eq!(body(&one.entries[0].message), "a.b");
    let sim = sim.crash(Loss::All);
    assert_eq!(sim.read("q1", 0, 0), [(0, "a.b".to_owned())]);
    assert_eq!(sim.read("q2", 0, 0), [(0, "a.b".to_owned())]);
    assert!(sim.read("q3", 0, 0).is_empty());
}

#[test]
fn what_reaches_no_queue_is_refused_and_leaves_no_trace() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let put = |token| Command::PutExchange {
        token,
        name: "x".into(),
        settings: ExchangeSettings::durable(ExchangeKind::Direct),
    };
    sim.ask(&client, put).unwrap();
    assert_eq!(publish_through(&mut sim, &client, "x", "k"), Err(Error::Unroutable));
}

#[test]
fn one_bad_message_of_a_batch_does_not_harm_its_neighbours() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    let mut batch = PublishBatch::default();
    for (body, index) in [("a", Some(0)), ("bad", Some(9)), ("b", None)] {
        let destination = Destination::Topic { topic: topic.id, queue_index: index };
        batch.push(&draft("t", body), destination, 0, Durability::Disk).unwrap();
    }
    let results = sim.send(&client, batch);
    assert!(matches!(results[1], Err(Error::NoQueue { index: 9, .. })));
    assert_eq!(results[2].as_ref().unwrap().offset, Some(1));
    let sim = sim.crash(Loss::All);
    assert_eq!(sim.read("t", 0, 0), [(0, "a".to_owned()), (1, "b".to_owned())]);
}

#[test]
fn a_topic_acts_as_an_exchange_that_routes_by_tag() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "orders", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.make_topic(&client, "q", TopicSettings::settled_queue());
    sim.ask(&client, bind("orders", "q", "t")).unwrap();
    sim.publish(&client, &topic, &["seen twice"]);
    assert_eq!(sim.read("q", 0, 0), [(0, "seen twice".to_owned())]);
    assert_eq!(sim.read("orders", 0, 0), [(0, "seen twice".to_owned())]);
}

#[test]
fn a_session_s_own_topic_is_for_it_alone_and_goes_with_it() {
    let mut sim = Simulation::new();
    let (owner, other) = (sim.connect(), sim.connect());
    let settings = TopicSettings { lifetime: Lifetime::Session, ..TopicSettings::settled_queue() };
    sim.make_topic(&owner, "own", settings.clone());
    let again = |token| Command::PutTopic { token, name: "own".into(), settings, adopt: false };
    assert!(matches!(sim.ask(&other, again), Err(Error::Locked(_))));
    sim.disconnect(owner);
    assert!(sim.shard.directory().topic("own").is_none());
}

#[test]
fn a_transient_topic_does_not_outlive_the_broker() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let settings = TopicSettings { lifetime: Lifetime::Transient, ..TopicSettings::settled_queue() };
    let topic = sim.make_topic(&client, "fleeting", settings);
    sim.syncing = false;
    assert_eq!(sim.publish(&client, &topic, &["a"]).len(), 1, "it waits for no sync");
    sim.syncing = true;
    let sim = sim.crash(Loss::Nothing);
    assert!(sim.shard.directory().topic("fleeting").is_none());
}

#[test]
fn deleting_tells_consumers_and_a_new_topic_of_the_name_is_empty() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "q", TopicSettings::settled_queue());
    sim.make_group(&client, "q", GroupSettings::at_once());
    sim.publish(&client, &topic, &["a", "b"]);
    let consumer = sim.connect();
    let consume = |token| Command::Consume {
        token,
        consumer: ConsumerId(3),
        group: "q".into(),
        topic: "q".into(),
        credit: 1,
        no_ack: false,
        exclusive: false,
        priority: 0,
    };
    sim.tell(&consumer, consume(consumer.token()));
    sim.events(&consumer);
    let delete = |if_unused, if_empty| {
        move |token| Command::DeleteTopic { token, name: "q".into(), if_unused, if_empty }
    };
    assert!(matches!(sim.ask(&client, delete(true, false)), Err(Error::InUse(_))));
    assert!(matches!(sim.ask(&client, delete(false, true)), Err(Error::NotEmpty(_))));
    assert!(
        matches!(sim.ask(&client, delete(false, false)), Ok(Reply::Count(1))),
        "one is leased, one ready"
    );
    let events = sim.events(&consumer);
    assert!(matches!(&events[..], [Event::ConsumerEnded { consumer: ConsumerId(3) }]), "{events:?}");
    let topic = sim.make_topic(&client, "q", TopicSettings::settled_queue());
    sim.make_group(&client, "q", GroupSettings::at_once());
    sim.publish(&client, &topic, &["new"]);
    let sim = sim.crash(Loss::All);
    assert_eq!(sim.read("q", 0, 0), [(0, "new".to_owned())]);
}

#[test]
fn purging_takes_what_is_ready_and_leaves_what_is_leased() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "q", TopicSettings::settled_queue());
    sim.make_group(&client, "q", GroupSettings::at_once());
    sim.publish(&client, &topic, &["a", "b", "c"]);
    let leased = sim.receive(&client, "q", "q", 1, 60_000);
    let purge = |token| Command::Purge { token, group: "q".into(), topic: "q".into() };
    assert!(matches!(sim.ask(&client, purge), Ok(Reply::Count(2))));
    sim.settle(&client, &leased, Outcome::Retry { delay_ms: Some(0) });
    assert_eq!(bodies(&sim.receive(&client, "q", "q", 9, 60_000)), ["a"]);
}

#[test]
fn names_and_counts_hold_their_limits() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let put = |name: String, queues| {
        let settings = TopicSettings { queues, ..TopicSettings::default() };
        move |token| Command::PutTopic { token, name: name.as_str().into(), settings, adopt: false }
    };
    sim.ask(&client, put("n".repeat(limits::NAME_BYTES_MAX), 1)).unwrap();
    assert!(matches!(
        sim.ask(&client, put("n".repeat(limits::NAME_BYTES_MAX + 1), 1)),
        Err(Error::Name { .. })
    ));
    assert!(matches!(sim.ask(&client, put(String::new(), 1)), Err(Error::Name { .. })));
    sim.ask(&client, put("many".into(), limits::TOPIC_QUEUES_MAX)).unwrap();
    assert!(matches!(
        sim.ask(&client, put("more".into(), limits::TOPIC_QUEUES_MAX + 1)),
        Err(Error::Limit { .. })
    ));
    assert!(sim.ask(&client, put("none".into(), 0)).is_err());
    let differs = sim.ask(&client, put("many".into(), 2));
    assert!(matches!(differs, Err(Error::Differs { field: "queues", .. })), "{differs:?}");
}
