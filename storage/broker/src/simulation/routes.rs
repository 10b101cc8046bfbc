//! What routing costs: bindings by the ten thousand, and messages that go to as many queues. Measurements: run them in a
//! release build, with `cargo test --release -p mailrail-broker routes -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

const MANY: usize = 10_000;

/// Sends commands in one go and expects each to succeed; returns how long it took.
fn ask_all(sim: &mut Simulation, client: &Client, commands: Vec<Command>) -> Duration {
    let (count, since) = (commands.len(), Instant::now());
    sim.input(Input::Commands { mailbox: client.mailbox.clone(), commands, since: sim.now.mono });
    let events = sim.events(client);
    let took = since.elapsed();
    assert_eq!(events.len(), count);
    assert!(events.iter().all(|event| matches!(event, Event::Reply { result: Ok(_), .. })));
    took
}

/// An exchange and so many queues of their own, bound by the keys that `key` makes.
fn bound(kind: ExchangeKind, count: usize, key: fn(usize) -> String) -> (Simulation, Client, Duration) {
    let mut sim = Simulation::with_segments_of(
        64 << 20,
        FaultDisk::new(7),
        Arc::new(MemoryStore::default()),
        "boot-1",
        start(),
    )
    .unwrap();
    let client = sim.connect();
    let put =
        |token| Command::PutExchange { token, name: "x".into(), settings: ExchangeSettings::durable(kind) };
    sim.ask(&client, put).unwrap();
    let name = |number: usize| Name::from(format!("q{number}"));
    let topics = (0..count).map(|number| Command::PutTopic {
        token: client.token(),
        name: name(number),
        settings: TopicSettings::settled_queue(),
        adopt: false,
    });
    ask_all(&mut sim, &client, topics.collect());
    let bindings = (0..count).map(|number| Command::Bind {
        token: client.token(),
        source: "x".into(),
        target: BindTarget::Topic(name(number)),
        key: key(number).into(),
        attributes: Default::default(),
    });
    let took = ask_all(&mut sim, &client, bindings.collect());
    (sim, client, took)
}

/// The time of one publish, each to so many queues: the best of five batches.
fn publish(sim: &mut Simulation, client: &Client, key: &'static str, batch: u32, queues: usize) -> Duration {
    let exchange = sim.shard.directory().exchange("x").unwrap().id;
    let times = (0..5).map(|_| {
        let mut messages = PublishBatch::default();
        for _ in 0..batch {
            let keys = [bytes::Bytes::from_static(key.as_bytes())].into();
            let destination = Destination::Exchange { exchange, keys };
            messages.push(&draft("x", "a message"), destination, 0, Durability::Disk).unwrap();
        }
        let since = Instant::now();
        let results = sim.send(client, messages);
        let took = since.elapsed();
        let reached = |stored: &Result<Stored, Error>| usize::try_from(stored.as_ref().unwrap().queues);
        assert!(results.iter().all(|result| reached(result) == Ok(queues)), "{:?}", results.first());
        took / batch
    });
    times.min().unwrap()
}

#[test]
#[ignore = "a measurement"]
fn a_publish_costs_the_same_with_one_binding_and_with_many() {
    let patterns: [fn(usize) -> String; 3] = [
        |number| format!("orders.{number}.*"),
        |number| format!("*.{number}.#"),
        |number| format!("#.{number}.created"),
    ];
    for pattern in patterns {
        let measure = |count| {
            let (mut sim, client, _) = bound(ExchangeKind::Topic, count, pattern);
            publish(&mut sim, &client, "orders.0.created", 1_000, 1)
        };
        let (one, many) = (measure(1), measure(MANY));
        println!("{}: {one:?} with one, {many:?} with {MANY}", pattern(7));
        assert!(many < 3 * one, "{many:?} with {MANY} bindings, {one:?} with one");
    }
}

#[test]
#[ignore = "a measurement"]
fn fan_out_costs_by_the_number_of_queues() {
    let measure = |kind, count: usize| {
        let (mut sim, client, _) = bound(kind, count, |_| "all".to_owned());
        publish(&mut sim, &client, "all", 4, count)
    };
    for kind in [ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Topic] {
        // Below some thousand queues all that is touched fits into the processor's cache.
        let times = [MANY / 10, MANY, 2 * MANY].map(|count| measure(kind, count));
        println!("{kind:?}: {times:?} to {}, {MANY} and {}", MANY / 10, 2 * MANY);
        let [_, many, twice] = times;
        assert!(twice < 3 * many, "{twice:?} to {}, {many:?} to half of them", 2 * MANY);
    }
}

#[test]
#[ignore = "a measurement"]
fn bindings_and_bound_queues_come_and_go_one_by_one_in_no_time() {
    for kind in [ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Topic] {
        for key in [(|number| format!("key.{number}")) as fn(usize) -> String, |_| "same.key".to_owned()] {
            let (mut sim, client, bind) = bound(kind, MANY, key);
            let name = |number: usize| Name::from(format!("q{number}"));
            let unbindings = (0..MANY / 2).map(|number| Command::Unbind {
                token: client.token(),
                source: "x".into(),
                target: BindTarget::Topic(name(number)),
                key: key(number).into(),
                attributes: Default::default(),
            });
            let unbind = ask_all(&mut sim, &client, unbindings.collect());
            let deletes = (MANY / 2..MANY).map(|number| Command::DeleteTopic {
                token: client.token(),
                name: name(number),
                if_unused: false,
                if_empty: false,
            });
            let delete = ask_all(&mut sim, &client, deletes.collect());
            println!(
                "{kind:?}, {}: {bind:?} to bind {MANY}, {unbind:?} to unbind half of them, {delete:?} to delete the others' queues",
                key(7)
            );
            let most = Duration::from_millis(500);
            assert!(bind < most && unbind < most && delete < most);
            let exchange = sim.shard.directory().exchange("x").unwrap().id;
            assert!(
                sim.shard.state().routes(crate::record::RouteEnd::Exchange(exchange)).unwrap().is_empty()
            );
        }
    }
}
