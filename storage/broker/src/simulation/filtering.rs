//! What a group wants of a topic that it consumes by lease: it gets what passes, in order, and all else is settled for it.

use proptest::prelude::*;

use super::*;
use crate::limits::*;

fn tagged(tags: &str) -> Filter {
    Filter::tags(tags).unwrap()
}

fn sql(text: &str) -> Filter {
    Filter::all().and_sql(text, Dialect::Rocketmq).unwrap()
}

fn scene(settings: TopicSettings) -> (Simulation, Client, Arc<Topic>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", settings);
    for group in ["g", "h"] {
        sim.make_group(&client, group, GroupSettings::at_once());
    }
    (sim, client, topic)
}

fn one_queue() -> TopicSettings {
    TopicSettings { queues: 1, ..TopicSettings::default() }
}

/// Publishes messages whose body is their tag, a colon and their number, with properties besides.
fn publish(sim: &mut Simulation, client: &Client, tags: &[&str], more: &str) {
    let topic = sim.topic("t").id;
    let mut batch = PublishBatch::default();
    for (number, tag) in tags.iter().enumerate() {
        let properties = format!("TAGS\u{1}{tag}\u{2}number\u{1}{number}\u{2}{more}");
        let body = format!("{tag}:{number}");
        let draft = Draft { properties: properties.as_bytes(), ..draft("t", &body) };
        let to = Destination::Topic { topic, queue_index: None };
        batch.push(&draft, to, tag_hash(tag), Durability::Memory).unwrap();
    }
    sim.send(client, batch);
}

/// What came to a receive so far; `None` while it waits.
fn answer(sim: &Simulation, client: &Client) -> Option<Result<Vec<Delivery>, Error>> {
    match sim.events(client).pop() {
        Some(Event::Deliveries { deliveries, .. }) => Some(Ok(deliveries)),
        Some(Event::Reply { result: Err(error), .. }) => Some(Err(error)),
        None => None,
        other => panic!("{other:?}"),
    }
}

fn ask(sim: &mut Simulation, client: &Client, group: &str, filter: Option<Filter>, max: u32, wait_ms: u64) {
    let (token, group, topic, lease_ms) = (client.token(), group.into(), "t".into(), 600_000);
    sim.tell(client, Command::Receive { token, group, topic, max, wait_ms, lease_ms, filter });
}

fn receive(sim: &mut Simulation, client: &Client, filter: Filter, max: u32) -> Result<Vec<Delivery>, Error> {
    ask(sim, client, "g", Some(filter), max, 0);
    answer(sim, client).expect("what does not wait is answered")
}

/// Receives and acknowledges until nothing comes any more.
fn drain(sim: &mut Simulation, client: &Client, filter: &Filter) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let got = receive(sim, client, filter.clone(), 3).unwrap();
        if got.is_empty() {
            return all;
        }
        all.extend(bodies(&got));
        assert!(sim.settle(client, &got, Outcome::Ack).iter().all(Result::is_ok));
    }
}

fn lag(sim: &mut Simulation, client: &Client, group: &str) -> u64 {
    let (group, topic): (Name, Name) = (group.into(), "t".into());
    match sim.ask(client, |token| Command::GroupState { token, group, topic }).unwrap() {
        Reply::Group(view) => view.queues.iter().map(|queue| queue.lag).sum(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_gets_what_passes_and_the_rest_is_settled_for_it_alone() {
    // `Aa` and `BB` have one hash.
    let tags = ["red", "Aa", "blue", "BB", "red", "BB", "Aa"];
    let cases = [
        (tagged("red"), vec!["red:0", "red:4"]),
        (tagged("Aa"), vec!["Aa:1", "Aa:6"]),
        (sql("number IS NULL"), vec![]),
        (sql("number IN ('2', '5')"), vec!["blue:2", "BB:5"]),
        (
            tagged("red || BB").and_sql("number <> '4'", Dialect::Rocketmq).unwrap(),
            vec!["red:0", "BB:3", "BB:5"],
        ),
        (Filter::all(), vec!["red:0", "Aa:1", "blue:2", "BB:3", "red:4", "BB:5", "Aa:6"]),
    ];
    for (filter, expected) in cases {
        let (mut sim, client, _) = scene(one_queue());
        publish(&mut sim, &client, &tags, "");
        assert_eq!(drain(&mut sim, &client, &filter), expected, "{filter}");
        assert_eq!(lag(&mut sim, &client, "g"), 0, "{filter}");
        assert_eq!(sim.receive(&client, "h", "t", 32, 1_000).len(), tags.len(), "another group wants all");
        let sim = sim.crash(Loss::Nothing);
        let store = Arc::new(MemoryStore::default());
        let mut sim = Simulation::on(sim.disk.power_cut(Loss::Nothing), store, "boot-1", sim.now);
        let client = sim.connect();
        assert!(
            receive(&mut sim, &client, Filter::all(), 32).unwrap().is_empty(),
            "what was settled stays so"
        );
    }
}

#[test]
fn what_is_settled_unseen_is_counted_and_traced() {
    let attributes = [(TRACE_SAMPLE.to_owned(), "1000000".to_owned())];
    let (mut sim, client, topic) = scene(TopicSettings { attributes: attributes.into(), ..one_queue() });
    publish(&mut sim, &client, &["a", "b", "c", "a"], "");
    assert_eq!(bodies(&receive(&mut sim, &client, tagged("a"), 9).unwrap()), ["a:0", "a:3"]);
    assert_eq!(super::counts::of_group(&sim, &topic), [("handed out", 2), ("settled", 2)]);
    let all = super::trace::records(&mut sim);
    let settled: Vec<_> = all.iter().filter(|record| record.stage == TraceStage::Settled).collect();
    for (record, offset) in settled.iter().zip([1, 2]) {
        assert_eq!((record.how.as_deref(), record.offset), (Some("filtered"), Some(offset)));
        assert_eq!((record.group.as_deref(), &record.by), (Some("g"), &None));
    }
    assert_eq!(settled.len(), 2);
}

#[test]
fn several_queues_strict_order_and_priorities_are_filtered_alike() {
    let tags: Vec<&str> = ["a", "b", "b"].into_iter().cycle().take(30).collect();
    let passing: Vec<String> = (0..30).step_by(3).map(|number| format!("a:{number}")).collect();
    let with_priorities = TopicSettings {
        attributes: [(PRIORITY_MAX.to_owned(), "9".to_owned())].into_iter().collect(),
        ..one_queue()
    };
    let turns =
        |order| GroupSettings { turns: Turns { order, single_active: false }, ..GroupSettings::at_once() };
    for (settings, order) in [
        (TopicSettings { queues: 4, ..TopicSettings::default() }, Order::Any),
        (one_queue(), Order::Queue),
        (one_queue(), Order::Key),
        (with_priorities, Order::Any),
    ] {
        let (mut sim, client, _) = scene(settings);
        sim.make_group(&client, "g", turns(order));
        publish(&mut sim, &client, &tags, "PRIORITY\u{1}5\u{2}__SHARDINGKEY\u{1}k\u{2}");
        let mut got = drain(&mut sim, &client, &tagged("a"));
        got.sort_by_key(|body| body.trim_start_matches("a:").parse::<u32>().unwrap());
        assert_eq!(got, passing, "{order:?}");
        assert_eq!(lag(&mut sim, &client, "g"), 0, "{order:?}");
    }
}

#[test]
fn one_look_is_waited_for_and_a_receive_that_waits_gets_what_lies_behind_many() {
    let (mut sim, client, _) = scene(one_queue());
    let many = vec!["b"; FILTERED_ENTRIES_MAX];
    publish(&mut sim, &client, &many, "");
    publish(&mut sim, &client, &["b", "a"], "");
    assert!(receive(&mut sim, &client, tagged("a"), 1).unwrap().is_empty(), "one look goes so far");
    assert_eq!(bodies(&receive(&mut sim, &client, tagged("a"), 1).unwrap()), ["a:1"]);
    publish(&mut sim, &client, &many, "");
    ask(&mut sim, &client, "g", Some(tagged("a")), 1, 10_000);
    assert!(answer(&sim, &client).is_none());
    let publisher = sim.connect();
    publish(&mut sim, &publisher, &["b", "b"], "");
    sim.pass_ms(5_000);
    assert!(answer(&sim, &client).is_none(), "it still waits");
    publish(&mut sim, &publisher, &["b", "a"], "");
    assert_eq!(bodies(&answer(&sim, &client).unwrap().unwrap()), ["a:1"]);
    ask(&mut sim, &client, "g", Some(tagged("a")), 1, 1_000);
    sim.pass_ms(1_000);
    assert!(answer(&sim, &client).unwrap().unwrap().is_empty());
}

#[test]
fn what_failed_or_is_sought_again_is_filtered_as_before() {
    let (mut sim, client, _) = scene(one_queue());
    publish(&mut sim, &client, &["b", "a", "b", "a"], "");
    let got = receive(&mut sim, &client, tagged("a"), 10).unwrap();
    assert_eq!(bodies(&got), ["a:1", "a:3"]);
    sim.settle(&client, &got[1..], Outcome::Retry { delay_ms: Some(0) });
    sim.settle(&client, &got[..1], Outcome::Ack);
    let again = receive(&mut sim, &client, tagged("a"), 10).unwrap();
    assert_eq!((bodies(&again), again[0].attempts), (vec!["a:3".to_owned()], 1));
    sim.settle(&client, &again, Outcome::Ack);
    let seek = |token| Command::Seek { token, group: "g".into(), topic: "t".into(), to: SeekTo::Earliest };
    sim.ask(&client, seek).unwrap();
    assert_eq!(drain(&mut sim, &client, &tagged("a")), ["a:1", "a:3"]);
}

#[test]
fn one_filter_is_in_force_as_long_as_somebody_may_count_on_it() {
    let (mut sim, client, _) = scene(one_queue());
    publish(&mut sim, &client, &["a", "b", "c"], "");
    let is_refused = |result: Result<Vec<Delivery>, Error>| {
        let Err(Error::Differs { field, .. }) = result else { panic!("{result:?}") };
        assert_eq!(field, "filter on the topic in use");
    };
    let got = receive(&mut sim, &client, tagged("a"), 1).unwrap();
    sim.settle(&client, &got, Outcome::Ack);
    let other = sim.connect();
    let before = sim.shard.log_end();
    sim.pass_ms(FILTER_HELD_MS - 1);
    for filter in [tagged("b"), sql("number = '1'"), Filter::all()] {
        is_refused(receive(&mut sim, &other, filter, 1));
    }
    assert_eq!(sim.shard.log_end(), before, "a refusal changes nothing");
    // Who names none goes by the group's.
    ask(&mut sim, &other, "g", None, 10, 0);
    assert!(answer(&sim, &other).unwrap().unwrap().is_empty());
    publish(&mut sim, &client, &["a", "d", "a"], "");
    let held = receive(&mut sim, &client, tagged("a"), 1).unwrap();
    sim.pass_ms(FILTER_HELD_MS);
    is_refused(receive(&mut sim, &other, tagged("d"), 1));
    sim.settle(&client, &held, Outcome::Ack);
    assert_eq!(
        bodies(&receive(&mut sim, &other, tagged("a || d"), 9).unwrap()),
        ["a:2"],
        "d was settled before"
    );
}

#[test]
fn a_filter_is_over_when_nobody_counts_on_it() {
    let (mut sim, client, _) = scene(one_queue());
    publish(&mut sim, &client, &["a"], "");
    assert_eq!(drain(&mut sim, &client, &tagged("a")), ["a:0"]);
    sim.pass_ms(FILTER_HELD_MS);
    publish(&mut sim, &client, &["b", "a"], "");
    let got = sim.receive(&client, "g", "t", 32, 1_000);
    assert_eq!(bodies(&got), ["b:0", "a:1"], "this one asked for all");
    let refused = receive(&mut sim, &client, tagged("a"), 1);
    assert!(matches!(refused, Err(Error::Differs { .. })), "and holds them: {refused:?}");
}

#[test]
fn consumers_go_by_the_groups_filter_and_one_that_counts_on_all_keeps_filters_out() {
    let (mut sim, client, _) = scene(one_queue());
    let consumer = sim.connect();
    let consume = |token| Command::Consume {
        token,
        consumer: ConsumerId(1),
        group: "g".into(),
        topic: "t".into(),
        credit: 10,
        no_ack: true,
        exclusive: false,
        priority: 0,
    };
    assert!(receive(&mut sim, &client, tagged("a"), 1).unwrap().is_empty());
    sim.ask(&consumer, consume).unwrap();
    publish(&mut sim, &client, &["b", "a", "b", "a"], "");
    let all: Vec<String> = sim
        .events(&consumer)
        .into_iter()
        .flat_map(|event| match event {
            Event::Deliveries { deliveries, .. } => bodies(&deliveries),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(all, ["a:1", "a:3"]);
    sim.disconnect(consumer);
    sim.pass_ms(FILTER_HELD_MS);
    let consumer = sim.connect();
    assert!(receive(&mut sim, &client, Filter::all(), 1).unwrap().is_empty());
    sim.pass_ms(FILTER_HELD_MS);
    sim.ask(&consumer, consume).unwrap();
    assert!(matches!(receive(&mut sim, &client, tagged("a"), 1), Err(Error::Differs { .. })));
}

#[test]
fn the_group_that_owns_the_messages_takes_no_filter() {
    let (mut sim, client, _) = scene(TopicSettings::settled_queue());
    sim.make_group(&client, "t", GroupSettings::at_once());
    publish(&mut sim, &client, &["a", "b"], "");
    ask(&mut sim, &client, "t", Some(tagged("a")), 1, 0);
    assert!(matches!(answer(&sim, &client), Some(Err(Error::Argument { name: "filter", .. }))));
    ask(&mut sim, &client, "t", Some(Filter::all()), 9, 0);
    assert_eq!(bodies(&answer(&sim, &client).unwrap().unwrap()), ["a:0", "b:1"]);
    assert_eq!(bodies(&receive(&mut sim, &client, tagged("b"), 9).unwrap()), ["b:1"], "of another group");
}

#[test]
fn a_look_that_comes_back_late_settles_nothing_of_what_began_anew() {
    let (mut sim, client, _) = scene(one_queue());
    publish(&mut sim, &client, &["b", "a"], "");
    let (mailbox, since) = (client.mailbox.clone(), sim.now.mono);
    let (group, topic): (Name, Name) = ("g".into(), "t".into());
    let commands = |sim: &mut Simulation, command: Command| {
        let (mailbox, commands) = (mailbox.clone(), vec![command]);
        sim.shard.handle(sim.now, Input::Commands { mailbox, commands, since });
        sim.step(Part::Shard);
    };
    let filter = Some(tagged("a"));
    let receive_one = Command::Receive {
        token: client.token(),
        group: group.clone(),
        topic: topic.clone(),
        max: 9,
        wait_ms: 1_000,
        lease_ms: 1_000,
        filter,
    };
    commands(&mut sim, receive_one);
    let seek = Command::Seek {
        token: client.token(),
        group,
        topic,
        to: SeekTo::Offset { queue_index: 0, offset: 1 },
    };
    commands(&mut sim, seek);
    let back =
        Command::Seek { token: client.token(), group: "g".into(), topic: "t".into(), to: SeekTo::Earliest };
    commands(&mut sim, back);
    // The look at what was before the seeks comes back only now.
    sim.run();
    let events = sim.events(&client);
    let got = events.into_iter().find_map(|event| match event {
        Event::Deliveries { deliveries, .. } => Some(deliveries),
        _ => None,
    });
    assert_eq!(bodies(&got.unwrap()), ["a:1"]);
    assert_eq!(lag(&mut sim, &client, "g"), 1, "only what is held");
}

#[derive(Clone, Debug)]
enum Act {
    /// Messages with these tags.
    Publish(Vec<u8>),
    Receive(u8),
    Ack(u8),
    Retry(u8),
    PassMs(u16),
    Restart {
        loses_store: bool,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => proptest::collection::vec(0u8..3, 1..30).prop_map(Act::Publish),
        4 => (1u8..8).prop_map(Act::Receive),
        3 => any::<u8>().prop_map(Act::Ack),
        1 => any::<u8>().prop_map(Act::Retry),
        1 => (1u16..2_000).prop_map(Act::PassMs),
        1 => any::<bool>().prop_map(|loses_store| Act::Restart { loses_store }),
    ];
    proptest::collection::vec(act, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever fails, what passes is got until it is acknowledged, nothing else ever is, and in the end nothing is left.
    #[test]
    fn all_that_passes_is_got_and_nothing_else(acts in acts()) {
        let (mut sim, mut client, _) = scene(TopicSettings { queues: 2, ..TopicSettings::default() });
        let names = ["a", "b", "c"];
        let filter = tagged("a || c");
        let (mut wanted, mut held) = (std::collections::BTreeSet::new(), Vec::new());
        let mut sent = 0;
        for act in acts {
            match act {
                Act::Publish(tags) => {
                    let topic = sim.topic("t").id;
                    let mut batch = PublishBatch::default();
                    for tag in tags {
                        let tag = names[usize::from(tag)];
                        let (body, properties) = (format!("{tag}:{sent}"), format!("TAGS\u{1}{tag}\u{2}"));
                        sent += 1;
                        let draft = Draft { properties: properties.as_bytes(), ..draft("t", &body) };
                        let to = Destination::Topic { topic, queue_index: None };
                        batch.push(&draft, to, tag_hash(tag), Durability::Disk).unwrap();
                        if tag != "b" {
                            wanted.insert(body);
                        }
                    }
                    sim.send(&client, batch);
                }
                Act::Receive(max) => {
                    let token = client.token();
                    let (group, topic) = ("g".into(), "t".into());
                    let (max, filter) = (max.into(), Some(filter.clone()));
                    sim.tell(&client, Command::Receive { token, group, topic, max, wait_ms: 0, lease_ms: 1_000, filter });
                    let got = answer(&sim, &client).unwrap().unwrap();
                    for delivery in &got {
                        prop_assert!(wanted.contains(&body(&delivery.message)), "{}", body(&delivery.message));
                    }
                    held.extend(got);
                }
                Act::Ack(which) | Act::Retry(which) if !held.is_empty() => {
                    let delivery = held.swap_remove(usize::from(which) % held.len());
                    let is_ack = matches!(act, Act::Ack(_));
                    let outcome = if is_ack { Outcome::Ack } else { Outcome::Retry { delay_ms: None } };
                    let result = sim.settle(&client, std::slice::from_ref(&delivery), outcome).remove(0);
                    if is_ack && result.is_ok() {
                        wanted.remove(&body(&delivery.message));
                    }
                }
                Act::Ack(_) | Act::Retry(_) => {}
                Act::PassMs(ms) => sim.pass_ms(ms.into()),
                Act::Restart { loses_store } => {
                    let store: Arc<dyn Store> =
                        if loses_store { Arc::new(MemoryStore::default()) } else { sim.store.clone() };
                    sim = Simulation::on(sim.disk.power_cut(Loss::Nothing), store, "boot-1", sim.now);
                    client = sim.connect();
                }
            }
        }
        sim.pass_ms(10_000);
        let mut rest = Vec::new();
        for _ in 0..3 {
            // The first look may find nothing for an answer that does not wait.
            rest.extend(drain(&mut sim, &client, &filter));
        }
        rest.sort();
        prop_assert_eq!(rest, wanted.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(lag(&mut sim, &client, "g"), 0);
    }
}
