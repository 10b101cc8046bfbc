//! Exchanges of every kind, alternates, and several keys: where messages go, and what is refused without a trace.

use mailrail_commitlog::disk::Loss;
use mailrail_message::{AnnexKind, HeaderValue, RECORD_MESSAGE_BYTES_MAX, push_header};

use super::*;
use crate::limits::*;

fn put(name: &str, settings: ExchangeSettings) -> impl FnOnce(Token) -> Command {
    let name = Name::from(name);
    move |token| Command::PutExchange { token, name, settings }
}

fn with_alternate(kind: ExchangeKind, alternate: &str) -> ExchangeSettings {
    let attributes = [(ALTERNATE_EXCHANGE.to_owned(), alternate.to_owned())].into();
    ExchangeSettings { attributes, ..ExchangeSettings::durable(kind) }
}

fn queue(name: &str) -> BindTarget {
    BindTarget::Topic(name.into())
}

fn exchange(name: &str) -> BindTarget {
    BindTarget::Exchange(name.into())
}

fn bind(source: &str, target: BindTarget, key: &str) -> impl FnOnce(Token) -> Command + use<> {
    bind_with(source, target, key, Vec::new())
}

fn bind_with(
    source: &str,
    target: BindTarget,
    key: &str,
    attributes: Vec<u8>,
) -> impl FnOnce(Token) -> Command + use<> {
    let (source, key): (Name, Name) = (source.into(), key.into());
    move |token| Command::Bind { token, source, target, key, attributes: attributes.into() }
}

fn table(headers: &[(&str, HeaderValue<'_>)]) -> Vec<u8> {
    let mut table = Vec::new();
    headers.iter().for_each(|(name, value)| assert!(push_header(&mut table, name, value)));
    table
}

/// Publishes a message to an exchange by keys; returns to how many queues it went.
fn publish(sim: &mut Simulation, client: &Client, name: &str, keys: &[&'static str]) -> Result<u32, Error> {
    publish_draft(sim, client, name, keys, &draft(name, "a message"))
}

fn publish_draft(
    sim: &mut Simulation,
    client: &Client,
    name: &str,
    keys: &[&'static str],
    draft: &Draft<'_>,
) -> Result<u32, Error> {
    let exchange = sim.shard.directory().exchange(name).unwrap().id;
    let keys = keys.iter().map(|key| bytes::Bytes::from_static(key.as_bytes())).collect();
    let mut batch = PublishBatch::default();
    batch.push(draft, Destination::Exchange { exchange, keys }, 0, Durability::Disk).unwrap();
    sim.send(client, batch).pop().unwrap().map(|stored| stored.queues)
}

fn make(sim: &mut Simulation, client: &Client, queues: &[&str], exchanges: &[(&str, ExchangeSettings)]) {
    for name in queues {
        sim.make_topic(client, name, TopicSettings::settled_queue());
    }
    for (name, settings) in exchanges {
        sim.ask(client, put(name, settings.clone())).unwrap();
    }
}

fn counts<const N: usize>(sim: &Simulation, queues: [&str; N]) -> [usize; N] {
    queues.map(|name| sim.read(name, 0, 0).len())
}

#[test]
fn headers_are_matched_by_type_or_as_text_and_after_a_restart_too() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    make(
        &mut sim,
        &client,
        &["all", "any", "there"],
        &[("x", ExchangeSettings::durable(ExchangeKind::Headers))],
    );
    let (eu, five) = (("region", HeaderValue::Text(b"eu")), ("size", HeaderValue::Integer(5)));
    let any = ("x-match", HeaderValue::Text(b"any"));
    sim.ask(&client, bind_with("x", queue("all"), "", table(&[eu, five]))).unwrap();
    sim.ask(&client, bind_with("x", queue("any"), "", table(&[any, eu, five]))).unwrap();
    let there = table(&[("size", HeaderValue::Void)]);
    sim.ask(&client, bind_with("x", queue("there"), "", there)).unwrap();

    let odd = table(&[("x-match", HeaderValue::Text(b"some"))]);
    let refused = sim.ask(&client, bind_with("x", queue("all"), "", odd));
    assert!(matches!(refused, Err(Error::Argument { name: "x-match", .. })), "{refused:?}");

    let mut sim = sim.crash(Loss::All);
    let client = sim.connect();
    // What an AMQP client sent: exchange and key, flags for a content type and headers, both of them.
    let birth = |headers: &[(&str, HeaderValue<'_>)]| {
        let table = table(headers);
        let length = u32::try_from(table.len()).unwrap().to_be_bytes();
        [b"\x01x\x00\xa0\x00\x04text", length.as_slice(), &table].concat()
    };
    let narrow = birth(&[eu, ("size", HeaderValue::Integer(5))]);
    let text = birth(&[("size", HeaderValue::Text(b"5"))]);
    for (bytes, expected) in [(&narrow, 3), (&text, 1)] {
        let annexes = [(AnnexKind::Amqp, bytes.as_slice())];
        let message = Draft { annexes: &annexes, ..draft("x", "typed") };
        assert_eq!(publish_draft(&mut sim, &client, "x", &[""], &message), Ok(expected));
    }
    let properties: [(&[u8], _); 3] = [
        (b"region\x01eu\x02size\x015\x02", Ok(3)),
        (b"region\x01us\x02size\x016\x02", Ok(1)),
        (b"region\x01us\x02", Err(Error::Unroutable)),
    ];
    for (properties, expected) in properties {
        let message = Draft { properties, ..draft("x", "text") };
        assert_eq!(publish_draft(&mut sim, &client, "x", &[""], &message), expected);
    }
    assert_eq!(counts(&sim, ["all", "any", "there"]), [2, 2, 4]);
}

#[test]
fn what_goes_nowhere_goes_to_the_alternate() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let internal = ExchangeSettings { internal: true, ..with_alternate(ExchangeKind::Direct, "of all") };
    make(
        &mut sim,
        &client,
        &["q", "rest", "odd"],
        &[
            ("first", with_alternate(ExchangeKind::Direct, "second")),
            ("second", internal),
            ("of all", ExchangeSettings::durable(ExchangeKind::Fanout)),
            ("alone", with_alternate(ExchangeKind::Direct, "missing")),
            ("here", with_alternate(ExchangeKind::Direct, "there")),
            ("there", with_alternate(ExchangeKind::Direct, "here")),
        ],
    );
    sim.ask(&client, bind("first", queue("q"), "k")).unwrap();
    sim.ask(&client, bind("second", queue("odd"), "odd")).unwrap();
    assert_eq!(publish(&mut sim, &client, "first", &["nowhere"]), Err(Error::Unroutable));
    sim.ask(&client, bind("of all", queue("rest"), "")).unwrap();

    for (key, expected) in [("k", [1, 0, 0]), ("odd", [1, 0, 1]), ("other", [1, 1, 1])] {
        assert_eq!(publish(&mut sim, &client, "first", &[key]), Ok(1), "{key}");
        assert_eq!(counts(&sim, ["q", "rest", "odd"]), expected, "{key}");
    }
    assert_eq!(publish(&mut sim, &client, "second", &["odd"]), Err(Error::Internal("second".to_owned())));
    assert_eq!(publish(&mut sim, &client, "alone", &["k"]), Err(Error::Unroutable));
    assert_eq!(publish(&mut sim, &client, "here", &["k"]), Err(Error::Unroutable), "the circle ends");
    let other = sim.ask(&client, put("first", with_alternate(ExchangeKind::Direct, "other")));
    assert!(matches!(other, Err(Error::Differs { field: "attributes", .. })), "{other:?}");

    let mut sim = sim.crash(Loss::All);
    let client = sim.connect();
    assert_eq!(publish(&mut sim, &client, "first", &["other"]), Ok(1));
    assert_eq!(counts(&sim, ["rest"]), [2]);
}

#[test]
fn several_keys_reach_each_queue_once() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    make(
        &mut sim,
        &client,
        &["a", "b", "rest"],
        &[
            ("x", with_alternate(ExchangeKind::Direct, "rest")),
            ("t", ExchangeSettings::durable(ExchangeKind::Topic)),
            ("rest", ExchangeSettings::durable(ExchangeKind::Fanout)),
        ],
    );
    for (source, target, key) in [("x", "a", "a"), ("x", "b", "b"), ("t", "a", "a.*"), ("t", "b", "#")] {
        sim.ask(&client, bind(source, queue(target), key)).unwrap();
    }
    sim.ask(&client, bind("rest", queue("rest"), "")).unwrap();
    assert_eq!(publish(&mut sim, &client, "x", &["a", "b", "a", "c"]), Ok(2));
    assert_eq!(publish(&mut sim, &client, "t", &["a.x", "a.y"]), Ok(2));
    assert_eq!(publish(&mut sim, &client, "x", &["c", "b"]), Ok(1), "one key is enough to go somewhere");
    assert_eq!(publish(&mut sim, &client, "x", &["c", "d"]), Ok(1));
    assert_eq!(counts(&sim, ["a", "b", "rest"]), [2, 3, 1]);

    let [a, b] = ["a", "b"].map(|name| sim.topic(name).id);
    let mut batch = PublishBatch::default();
    let gone = TopicId(1 << 40);
    for topics in [vec![b, gone, a, b], vec![gone], vec![a; limits::ROUTING_KEYS_MAX + 1]] {
        batch.push(&draft("a", "named"), Destination::Topics(topics), 0, Durability::Disk).unwrap();
    }
    let results = sim.send(&client, batch);
    assert_eq!(results[0].as_ref().unwrap().queues, 2);
    assert_eq!(results[1], Err(Error::Unroutable));
    assert!(matches!(results[2], Err(Error::Limit { value: 1025, max: 1024, .. })), "{results:?}");
    let many = vec!["a"; limits::ROUTING_KEYS_MAX + 1];
    assert!(matches!(publish(&mut sim, &client, "x", &many), Err(Error::Limit { value: 1025, .. })));
    assert_eq!(counts(&sim, ["a", "b", "rest"]), [3, 4, 1]);
}

#[test]
fn exchanges_that_are_no_longer_used_go_however_many_lead_to_each_other() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "q", TopicSettings::settled_queue());
    let count = 10_000;
    let settings =
        ExchangeSettings { delete_when_unused: true, ..ExchangeSettings::durable(ExchangeKind::Fanout) };
    let name = |number: usize| format!("x{number}");
    let mut commands = Vec::new();
    for number in 0..count {
        commands.push(put(&name(number), settings.clone())(client.token()));
        let target = if number == 0 { queue("q") } else { exchange(&name(number - 1)) };
        commands.push(bind(&name(number), target, "")(client.token()));
    }
    sim.input(Input::Commands { mailbox: client.mailbox.clone(), commands, since: sim.now.mono });
    assert_eq!(sim.shard.directory().exchanges().len(), count);
    sim.events(&client);
    let delete = |token| Command::DeleteTopic { token, name: "q".into(), if_unused: false, if_empty: false };
    sim.ask(&client, delete).unwrap();
    assert_eq!(sim.shard.directory().exchanges().len(), 0);
}

#[test]
fn bindings_hold_their_limits_and_what_is_refused_leaves_no_trace() {
    let mut sim = Simulation::with_segments_of(
        2 << 20,
        FaultDisk::new(7),
        Arc::new(MemoryStore::default()),
        "boot-1",
        start(),
    )
    .unwrap();
    let client = sim.connect();
    make(&mut sim, &client, &["q"], &[("x", ExchangeSettings::durable(ExchangeKind::Topic))]);
    sim.ask(&client, bind("x", queue("q"), &"k".repeat(limits::NAME_BYTES_MAX))).unwrap();
    let attributes = vec![0; limits::BINDING_ATTRIBUTES_BYTES_MAX];
    sim.ask(&client, bind_with("x", queue("q"), "", attributes.clone())).unwrap();
    let end = sim.shard.log_end();
    let longer = [attributes, vec![0]].concat();
    for (refused, value) in [
        (bind_with("x", queue("q"), &"k".repeat(limits::NAME_BYTES_MAX + 1), Vec::new()), 256),
        (bind_with("x", queue("q"), "", longer), 65_537),
    ] {
        let answer = sim.ask(&client, refused);
        assert!(matches!(answer, Err(Error::Limit { value: found, .. }) if found == value), "{answer:?}");
    }
    let long = "n".repeat(limits::NAME_BYTES_MAX + 1);
    let settings = with_alternate(ExchangeKind::Direct, &long);
    for refused in [put("y", settings), put(&long, ExchangeSettings::durable(ExchangeKind::Direct))] {
        assert!(matches!(sim.ask(&client, refused), Err(Error::Name { .. })));
    }
    assert_eq!(sim.shard.log_end(), end, "what is refused is not in the log");

    let more =
        (2..limits::EXCHANGE_BINDINGS_MAX).map(|n| bind("x", queue("q"), &format!("a.{n}"))(client.token()));
    let commands = more.collect();
    sim.input(Input::Commands { mailbox: client.mailbox.clone(), commands, since: sim.now.mono });
    assert!(sim.events(&client).iter().all(|event| matches!(event, Event::Reply { result: Ok(_), .. })));
    let end = sim.shard.log_end();
    let answer = sim.ask(&client, bind("x", queue("q"), "one more"));
    let what = "bindings of an exchange is 100001; at most 100000 is allowed";
    assert_eq!(answer.unwrap_err().to_string(), what);
    assert_eq!(sim.shard.log_end(), end);
    sim.ask(&client, bind("x", queue("q"), "a.7")).unwrap();

    // All of them are more than a record may hold.
    let token = client.token();
    let before = sim.shard.log_end();
    sim.input(Input::Trim { mailbox: client.mailbox.clone(), token, before });
    let (disk, now) = (sim.disk.power_cut(Loss::All), sim.now);
    let state = sim.fingerprint();
    assert!(sim.shard.log_start() > 0, "nothing was trimmed");
    drop(sim);
    let rebuilt =
        Simulation::with_segments_of(2 << 20, disk, Arc::new(MemoryStore::default()), "boot-1", now).unwrap();
    assert!(rebuilt.fingerprint() == state, "a snapshot lost something");
}

#[test]
fn the_longest_message_is_found_by_its_position_wherever_it_went() {
    let (disk, store) = (FaultDisk::new(7), Arc::new(MemoryStore::default()));
    let mut sim = Simulation::with_segments_of(8 << 20, disk, store, "boot-1", start()).unwrap();
    let client = sim.connect();
    make(&mut sim, &client, &[], &[("x", ExchangeSettings::durable(ExchangeKind::Fanout))]);
    for number in 0..100 {
        let name = format!("q{number}");
        make(&mut sim, &client, &[&name], &[]);
        sim.ask(&client, bind("x", queue(&name), "")).unwrap();
    }
    let body = "b".repeat(mailrail_message::BODY_BYTES_MAX);
    let short = Draft { annexes: &[(AnnexKind::Amqp, &[])], ..draft("x", &body) };
    let annex = vec![0; RECORD_MESSAGE_BYTES_MAX - short.encoded_len()];
    let longest = Draft { annexes: &[(AnnexKind::Amqp, &annex)], ..short };
    assert_eq!(publish_draft(&mut sim, &client, "x", &[""], &longest), Ok(100));
    let position = sim.topic("q0").queue(0).unwrap().in_memory(0, 1).unwrap()[0].position;
    let found = sim.context.read_position(position).unwrap();
    let bytes = found.entries[0].message.len();
    assert!(bytes > RECORD_MESSAGE_BYTES_MAX && bytes <= STORED_MESSAGE_BYTES_MAX, "{bytes}");
}
