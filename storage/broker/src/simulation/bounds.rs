//! Every limit of the core from both sides: what has just its size is done; one more is refused by an error that names
//! the value and the limit, changes nothing, and costs the next request nothing. What is bounded and not refused (a read,
//! a search) goes that far and no farther.

use super::*;
use crate::limits::*;

/// A topic `t` with one queue, a group `g`, and a client.
fn scene() -> (Simulation, Client, Arc<Topic>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.make_group(&client, "g", GroupSettings::at_once());
    (sim, client, topic)
}

/// The refusal of one too many, which leaves everything as it was.
#[track_caller]
fn check_refused(sim: &mut Simulation, client: &Client, max: u64, command: impl FnOnce(Token) -> Command) {
    let before = (sim.fingerprint(), sim.shard.log_end());
    let Err(error) = sim.ask(client, command) else { panic!("one more than {max} was not refused") };
    let Error::Limit { value, max: named, .. } = error else { panic!("{error}") };
    assert_eq!((value, named), (max + 1, max));
    let text = error.to_string();
    assert!(text.contains(&value.to_string()) && text.contains(&max.to_string()), "{text}");
    assert!(before == (sim.fingerprint(), sim.shard.log_end()), "a refusal changed something");
}

fn receive(max: u32, wait_ms: u64, lease_ms: u64) -> impl FnOnce(Token) -> Command {
    move |token| Command::Receive {
        token,
        group: "g".into(),
        topic: "t".into(),
        max,
        wait_ms,
        lease_ms,
        filter: None,
    }
}

#[test]
fn a_receive_is_bounded_in_messages_wait_and_lease() {
    let (mut sim, client, topic) = scene();
    check_refused(&mut sim, &client, RECEIVE_MESSAGES_MAX.into(), receive(RECEIVE_MESSAGES_MAX + 1, 0, 1));
    check_refused(&mut sim, &client, RECEIVE_WAIT_MS_MAX, receive(1, RECEIVE_WAIT_MS_MAX + 1, 1));
    check_refused(&mut sim, &client, LEASE_MS_MAX, receive(1, 0, LEASE_MS_MAX + 1));
    let count = usize::try_from(RECEIVE_MESSAGES_MAX).unwrap();
    sim.publish(&client, &topic, &vec!["m"; count + 1]);
    let got = sim.receive(&client, "g", "t", RECEIVE_MESSAGES_MAX, LEASE_MS_MAX);
    assert_eq!(got.len(), count);
    // The lease lasts to its last millisecond.
    sim.pass_ms(LEASE_MS_MAX - 1);
    assert_eq!(sim.receive(&client, "g", "t", 2, LEASE_MS_MAX).len(), 1, "the one that was left");
    sim.pass_ms(1);
    assert_eq!(sim.receive(&client, "g", "t", 2, LEASE_MS_MAX).len(), 2);
}

#[test]
fn the_longest_wait_is_waited_for() {
    let (mut sim, client, topic) = scene();
    for waited_ms in [RECEIVE_WAIT_MS_MAX - 1, RECEIVE_WAIT_MS_MAX] {
        sim.tell(&client, receive(1, RECEIVE_WAIT_MS_MAX, 1_000)(client.token()));
        sim.pass_ms(waited_ms);
        let is_over = waited_ms == RECEIVE_WAIT_MS_MAX;
        let events = sim.events(&client);
        assert_eq!(events.len(), usize::from(is_over), "{waited_ms} ms: {events:?}");
        if !is_over {
            sim.publish(&sim.connect(), &topic, &["m"]);
            assert!(
                matches!(&sim.events(&client)[..], [Event::Deliveries { deliveries, .. }] if deliveries.len() == 1)
            );
            sim.pass_ms(1_000);
            let got = sim.receive(&client, "g", "t", 1, 1_000);
            sim.settle(&client, &got, Outcome::Ack);
        }
    }
}

#[test]
fn a_lease_is_never_shorter_than_the_shortest() {
    let (mut sim, client, topic) = scene();
    sim.publish(&client, &topic, &["m"]);
    assert_eq!(sim.receive(&client, "g", "t", 1, 0).len(), 1);
    assert!(sim.receive(&client, "g", "t", 1, 0).is_empty(), "it is leased at this instant");
    sim.pass_ms(LEASE_MS_MIN);
    assert_eq!(sim.receive(&client, "g", "t", 1, 0).len(), 1);
}

#[test]
fn a_lease_is_extended_up_to_the_longest() {
    let (mut sim, client, topic) = scene();
    sim.publish(&client, &topic, &["m"]);
    let receipts: Vec<Receipt> =
        sim.receive(&client, "g", "t", 1, 1_000).iter().map(|delivery| delivery.receipt).collect();
    let extend = |lease_ms| {
        let receipts = receipts.clone();
        move |token| Command::Extend { token, receipts, lease_ms }
    };
    check_refused(&mut sim, &client, LEASE_MS_MAX, extend(LEASE_MS_MAX + 1));
    assert!(sim.ask(&client, extend(LEASE_MS_MAX)).is_ok());
    sim.pass_ms(LEASE_MS_MAX - 1);
    assert!(sim.receive(&client, "g", "t", 1, 1_000).is_empty());
    sim.pass_ms(1);
    assert_eq!(sim.receive(&client, "g", "t", 1, 1_000).len(), 1);
}

#[test]
fn a_membership_lasts_no_longer_than_its_limit() {
    let (mut sim, client, _) = scene();
    let join = |expires_ms| {
        move |token| Command::Join {
            token,
            group: "g".into(),
            member: "m".into(),
            topics: vec!["t".into()],
            expires_ms,
        }
    };
    check_refused(&mut sim, &client, MEMBER_MS_MAX, join(MEMBER_MS_MAX + 1));
    assert!(sim.ask(&client, join(MEMBER_MS_MAX)).is_ok());
    let other = sim.connect();
    sim.pass_ms(MEMBER_MS_MAX - 1);
    assert!(matches!(sim.ask(&other, receive(1, 0, 1)), Err(Error::Mode { .. })), "it is still a member");
    sim.pass_ms(1);
    assert!(sim.receive(&other, "g", "t", 1, 1).is_empty());
}

#[test]
fn an_exchange_takes_bindings_up_to_its_limit() {
    let (mut sim, client, _) = scene();
    let settings = ExchangeSettings {
        kind: ExchangeKind::Direct,
        lifetime: Lifetime::Durable,
        delete_when_unused: false,
        internal: false,
        attributes: BTreeMap::new(),
    };
    sim.ask(&client, |token| Command::PutExchange { token, name: "x".into(), settings }).unwrap();
    let bind = |number: usize, token| Command::Bind {
        token,
        source: "x".into(),
        target: BindTarget::Topic("t".into()),
        key: number.to_string().into(),
        attributes: Default::default(),
    };
    let commands = (1..EXCHANGE_BINDINGS_MAX).map(|number| bind(number, client.token())).collect();
    sim.input(Input::Commands { mailbox: client.mailbox.clone(), commands, since: sim.now.mono });
    assert!(sim.events(&client).iter().all(|event| matches!(event, Event::Reply { result: Ok(_), .. })));
    assert!(sim.ask(&client, |token| bind(EXCHANGE_BINDINGS_MAX, token)).is_ok());
    let max = u64::try_from(EXCHANGE_BINDINGS_MAX).unwrap();
    check_refused(&mut sim, &client, max, |token| bind(EXCHANGE_BINDINGS_MAX + 1, token));
    assert!(sim.ask(&client, |token| bind(1, token)).is_ok(), "one that is there is no further one");
}

#[test]
fn a_read_returns_as_many_entries_as_its_limit_and_goes_on_behind_them() {
    let (mut sim, client, topic) = scene();
    sim.publish(&client, &topic, &vec!["m"; READ_ENTRIES_MAX + 1]);
    let read = |offset, max_entries| {
        let queue = topic.queue(0).unwrap();
        let batch = sim.context.read(
            &ReadRequest { queue, offset, max_entries, max_bytes: 1 << 20, filter: Filter::all() },
            sim.now.wall_ms,
        );
        let batch = batch.unwrap();
        (batch.entries.len(), usize::try_from(batch.next_offset).unwrap())
    };
    assert_eq!(read(0, READ_ENTRIES_MAX), (READ_ENTRIES_MAX, READ_ENTRIES_MAX));
    assert_eq!(read(0, READ_ENTRIES_MAX + 1), (READ_ENTRIES_MAX, READ_ENTRIES_MAX));
    assert_eq!(read(u64::try_from(READ_ENTRIES_MAX).unwrap(), 10), (1, READ_ENTRIES_MAX + 1));
}

#[test]
fn one_read_for_consumers_takes_bytes_up_to_its_limit() {
    let (mut sim, client, topic) = scene();
    let around = {
        let stored = sim.publish(&client, &topic, &[""]).pop().unwrap().unwrap();
        sim.context.read_position(stored.position).unwrap().entries[0].message.len()
    };
    assert_eq!(sim.receive(&client, "g", "t", 1, 60_000).len(), 1);
    // Messages of which eight take the whole limit, to the byte; then one of the eight is a byte longer.
    let fitting = "x".repeat(FETCH_BYTES_MAX / 8 - around);
    let longer = format!("{fitting}x");
    for (last, expected) in [(&fitting, 8), (&longer, 7)] {
        for body in [&fitting; 7].into_iter().chain([last]) {
            assert!(sim.publish(&client, &topic, &[body])[0].is_ok());
        }
        sim.tell(&client, receive(8, 0, 60_000)(client.token()));
        let granted = client.mailbox.take_letters().pop();
        let Some(Letter::Granted { grants, .. }) = granted else { panic!("{granted:?}") };
        let fetched = sim.context.fetch(grants, crate::limits::FETCH_BYTES_MAX);
        assert_eq!((fetched.deliveries.len(), fetched.rest.is_empty()), (expected, expected == 8));
    }
}

#[test]
fn one_read_by_offset_takes_bytes_up_to_its_limit() {
    let (mut sim, client, topic) = scene();
    let around = {
        let stored = sim.publish(&client, &topic, &[""]).pop().unwrap().unwrap();
        sim.context.read_position(stored.position).unwrap().entries[0].message.len()
    };
    let fitting = "x".repeat(READ_BYTES_MAX / 16 - around);
    let longer = format!("{fitting}x");
    for body in [&fitting; 31].into_iter().chain([&longer]) {
        assert!(sim.publish(&client, &topic, &[body])[0].is_ok());
    }
    for (offset, expected) in [(1, 16), (17, 15)] {
        let queue = topic.queue(0).unwrap();
        let request =
            ReadRequest { queue, offset, max_entries: 100, max_bytes: usize::MAX, filter: Filter::all() };
        assert_eq!(
            sim.context.read(&request, sim.now.wall_ms).unwrap().entries.len(),
            expected,
            "from {offset}"
        );
    }
}

#[test]
fn a_retry_waits_at_most_as_long_as_a_publish() {
    let (mut sim, client, topic) = scene();
    sim.publish(&client, &topic, &["m"]);
    let got = sim.receive(&client, "g", "t", 1, 1_000);
    let retry = Outcome::Retry { delay_ms: Some(DELAY_MS_MAX + 1) };
    assert_eq!(sim.settle(&client, &got, retry), [Ok(())]);
    sim.pass_ms(DELAY_MS_MAX - 1);
    assert!(sim.receive(&client, "g", "t", 1, 1_000).is_empty());
    sim.pass_ms(1);
    assert_eq!(sim.receive(&client, "g", "t", 1, 1_000).len(), 1);
}

#[test]
fn a_message_that_just_fits_a_segment_can_be_dead_lettered() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    let dead_letter = Some("dead".to_owned());
    sim.make_group(
        &client,
        "g",
        GroupSettings {
            attempts_max: Some(1),
            backoff_ms: Vec::new(),
            dead_letter,
            ..GroupSettings::at_once()
        },
    );
    let over = sim.publish(&client, &topic, &[&"x".repeat(1 << 20)]).pop().unwrap();
    let Err(Error::Limit { max, .. }) = over else { panic!("{over:?}") };
    // What is around the body, and what a dead letter says besides.
    let body_bytes = usize::try_from(max).unwrap() - 1_024;
    sim.publish(&client, &topic, &[&"x".repeat(body_bytes)]).pop().unwrap().unwrap();
    let got = sim.receive(&client, "g", "t", 1, 1_000);
    assert_eq!(sim.settle(&client, &got, Outcome::Reject), [Ok(())]);
    let found = sim.read("dead", 0, 0);
    assert_eq!(found.iter().map(|(_, body)| body.len()).collect::<Vec<_>>(), [body_bytes]);
    assert!(sim.receive(&client, "g", "t", 1, 1_000).is_empty());
    let sim = sim.crash(Loss::All);
    assert_eq!(sim.read("dead", 0, 0), found);
}
