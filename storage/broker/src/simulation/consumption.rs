//! What consumers see: order, leases, retries, dead letters, seeks, waiting messages.

use super::*;

/// A topic `t` with one queue, a group `g`, and a client.
fn scene(group: GroupSettings) -> (Simulation, Client, Arc<Topic>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    sim.make_group(&client, "g", group);
    (sim, client, topic)
}

fn retrying(attempts_max: u32, backoff_ms: Vec<u64>, dead_letter: Option<&str>) -> GroupSettings {
    GroupSettings {
        attempts_max: Some(attempts_max),
        backoff_ms,
        dead_letter: dead_letter.map(str::to_owned),
        ..GroupSettings::at_once()
    }
}

#[test]
fn messages_come_in_order_and_once_while_leased() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    let stored = sim.publish(&client, &topic, &["a", "b", "c"]);
    let offsets: Vec<_> = stored.iter().map(|stored| stored.as_ref().unwrap().offset).collect();
    assert_eq!(offsets, [Some(0), Some(1), Some(2)]);
    let first = sim.receive(&client, "g", "t", 2, 1_000);
    assert_eq!(bodies(&first), ["a", "b"]);
    assert_eq!(bodies(&sim.receive(&client, "g", "t", 9, 1_000)), ["c"]);
    assert!(sim.receive(&client, "g", "t", 9, 1_000).is_empty());
    assert_eq!(sim.settle(&client, &first, Outcome::Ack), [Ok(()), Ok(())]);
    assert!(
        sim.settle(&client, &first, Outcome::Ack)
            .iter()
            .all(|result| matches!(result, Err(Error::Receipt(_))))
    );
}

#[test]
fn an_expired_lease_brings_the_message_back_and_the_old_receipt_no_longer_counts() {
    let (mut sim, client, topic) = scene(retrying(16, vec![500], None));
    sim.publish(&client, &topic, &["a"]);
    let first = sim.receive(&client, "g", "t", 1, 1_000);
    sim.pass_ms(1_000);
    assert!(sim.receive(&client, "g", "t", 1, 1_000).is_empty(), "the backoff holds it back");
    sim.pass_ms(500);
    let second = sim.receive(&client, "g", "t", 1, 1_000);
    assert_eq!((bodies(&second), second[0].attempts), (vec!["a".to_owned()], 1));
    assert!(sim.settle(&client, &first, Outcome::Ack)[0].is_err());
    assert_eq!(sim.settle(&client, &second, Outcome::Ack), [Ok(())]);
    sim.pass_ms(10_000);
    assert!(sim.receive(&client, "g", "t", 1, 1_000).is_empty());
}

#[test]
fn a_late_ack_counts_when_nobody_else_has_the_message() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    sim.publish(&client, &topic, &["a"]);
    let first = sim.receive(&client, "g", "t", 1, 1_000);
    sim.pass_ms(5_000);
    assert_eq!(sim.settle(&client, &first, Outcome::Ack), [Ok(())]);
    assert!(sim.receive(&client, "g", "t", 1, 1_000).is_empty());
}

#[test]
fn extending_a_lease_keeps_the_message() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    sim.publish(&client, &topic, &["a"]);
    let first = sim.receive(&client, "g", "t", 1, 1_000);
    sim.pass_ms(900);
    let receipts = vec![first[0].receipt];
    let extended = sim.ask(&client, |token| Command::Extend { token, receipts, lease_ms: 1_000 });
    assert!(matches!(extended, Ok(Reply::Settled(results)) if results == [Ok(())]));
    sim.pass_ms(900);
    assert!(sim.receive(&client, "g", "t", 1, 1_000).is_empty());
    sim.pass_ms(100);
    assert_eq!(sim.receive(&client, "g", "t", 1, 1_000)[0].attempts, 1);
}

#[test]
fn attempts_used_up_lead_to_the_dead_letter_topic_with_the_message_and_its_origin() {
    let (mut sim, client, topic) = scene(retrying(2, vec![], Some("dead")));
    sim.publish(&client, &topic, &["poison"]);
    for attempts in 0..3 {
        let got = sim.receive(&client, "g", "t", 1, 1_000);
        assert_eq!(got[0].attempts, attempts);
        sim.settle(&client, &got, Outcome::Retry { delay_ms: None });
    }
    assert!(sim.receive(&client, "g", "t", 1, 1_000).is_empty());
    assert_eq!(sim.read("dead", 0, 0), [(0, "poison".to_owned())]);
    let request = ReadRequest {
        queue: sim.topic("dead").queue(0).unwrap(),
        offset: 0,
        max_entries: 1,
        max_bytes: 1_000,
        filter: Filter::all(),
    };
    let dead = sim.context.read(&request, sim.now.wall_ms).unwrap().entries[0].message.clone();
    assert_eq!(property_of(&dead, property::DLQ_ORIGIN_TOPIC).as_deref(), Some("t"));
    assert_eq!(StoredMessage::parse(&dead).unwrap().topic(), "dead");
}

#[test]
fn a_rejected_message_without_a_dead_letter_topic_is_gone() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    sim.publish(&client, &topic, &["a", "b"]);
    let got = sim.receive(&client, "g", "t", 1, 1_000);
    sim.settle(&client, &got, Outcome::Reject);
    assert_eq!(bodies(&sim.receive(&client, "g", "t", 9, 1_000)), ["b"]);
}

#[test]
fn a_released_message_is_back_at_once_and_uncounted() {
    let (mut sim, client, topic) = scene(retrying(1, vec![60_000], None));
    sim.publish(&client, &topic, &["a", "b"]);
    let got = sim.receive(&client, "g", "t", 1, 1_000);
    sim.settle(&client, &got, Outcome::Release);
    let again = sim.receive(&client, "g", "t", 9, 1_000);
    assert_eq!(again.iter().map(|d| d.attempts).collect::<Vec<_>>(), [0, 0]);
    assert_eq!(bodies(&again), ["a", "b"]);
}

#[test]
fn a_receive_waits_for_a_message_or_its_time() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    let token = client.token();
    let receive = |token| Command::Receive {
        token,
        group: "g".into(),
        topic: "t".into(),
        max: 5,
        wait_ms: 1_000,
        lease_ms: 60_000,
        filter: None,
    };
    sim.tell(&client, receive(token));
    assert!(sim.events(&client).is_empty());
    let other = sim.connect();
    sim.publish(&other, &topic, &["a"]);
    let events = sim.events(&client);
    assert!(matches!(&events[..], [Event::Deliveries { to, deliveries }]
        if *to == Recipient::Request(token) && bodies(deliveries) == ["a"]));
    let token = client.token();
    sim.tell(&client, receive(token));
    sim.pass_ms(999);
    assert!(sim.events(&client).is_empty());
    sim.pass_ms(1);
    assert!(
        matches!(&sim.events(&client)[..], [Event::Deliveries { deliveries, .. }] if deliveries.is_empty())
    );
}

fn consume(consumer: u64, credit: u32, no_ack: bool) -> impl FnOnce(Token) -> Command {
    move |token| Command::Consume {
        token,
        consumer: ConsumerId(consumer),
        group: "g".into(),
        topic: "t".into(),
        credit,
        no_ack,
        exclusive: false,
        priority: 0,
    }
}

fn delivered(sim: &Simulation, client: &Client) -> Vec<Delivery> {
    let deliveries = |event| match event {
        Event::Deliveries { deliveries, .. } => deliveries,
        other => panic!("{other:?}"),
    };
    sim.events(client).into_iter().flat_map(deliveries).collect()
}

#[test]
fn a_consumer_gets_as_much_as_it_has_credit_for_and_loses_all_when_it_goes() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    let consumer = sim.connect();
    sim.tell(&consumer, consume(1, 2, false)(consumer.token()));
    sim.publish(&client, &topic, &["a", "b", "c"]);
    let events = sim.events(&consumer);
    assert!(matches!(&events[0], Event::Reply { result: Ok(Reply::Done), .. }), "{events:?}");
    assert!(matches!(&events[1], Event::Deliveries { deliveries, .. } if bodies(deliveries) == ["a", "b"]));
    sim.tell(&consumer, Command::Credit { consumer: ConsumerId(1), add: 5 });
    assert_eq!(bodies(&delivered(&sim, &consumer)), ["c"]);
    sim.disconnect(consumer);
    let again = sim.receive(&client, "g", "t", 9, 1_000);
    assert_eq!(bodies(&again), ["a", "b", "c"]);
    assert!(again.iter().all(|delivery| delivery.attempts == 1));
}

#[test]
fn consumers_share_and_a_settling_one_keeps_nothing() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    let (one, two) = (sim.connect(), sim.connect());
    for consumer in [&one, &two] {
        sim.ask(consumer, consume(1, 1_000, consumer.mailbox.session == two.mailbox.session)).unwrap();
    }
    let many: Vec<String> = (0..300).map(|i| i.to_string()).collect();
    let texts: Vec<&str> = many.iter().map(String::as_str).collect();
    sim.publish(&client, &topic, &texts);
    let (first, second) = (delivered(&sim, &one), delivered(&sim, &two));
    assert_eq!(first.len() + second.len(), 300);
    assert!(first.len() >= 100 && second.len() >= 100, "{} {}", first.len(), second.len());
    sim.disconnect(two);
    sim.disconnect(one);
    assert_eq!(sim.receive(&client, "g", "t", 1_000, 1_000).len(), first.len());
}

#[test]
fn entries_of_several_queues_are_handed_out_by_age() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "many", TopicSettings { queues: 3, ..TopicSettings::default() });
    sim.make_group(&client, "g", GroupSettings::at_once());
    let expected: Vec<String> = (0..10).map(|i| i.to_string()).collect();
    for text in &expected {
        sim.publish(&client, &topic, &[text]);
        sim.pass_ms(1);
    }
    assert_eq!(bodies(&sim.receive(&client, "g", "many", 100, 1_000)), expected);
}

#[test]
fn seeking_back_by_time_gives_everything_from_there_again() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    sim.publish(&client, &topic, &["old"]);
    sim.pass_ms(1_000);
    let at = sim.now.wall_ms;
    sim.publish(&client, &topic, &["new", "newer"]);
    let got = sim.receive(&client, "g", "t", 9, 60_000);
    sim.settle(&client, &got, Outcome::Ack);
    let seek = |to| move |token| Command::Seek { token, group: "g".into(), topic: "t".into(), to };
    sim.ask(&client, seek(SeekTo::Time(at))).unwrap();
    assert_eq!(bodies(&sim.receive(&client, "g", "t", 9, 60_000)), ["new", "newer"]);
    sim.ask(&client, seek(SeekTo::Earliest)).unwrap();
    assert_eq!(bodies(&sim.receive(&client, "g", "t", 9, 60_000)), ["old", "new", "newer"]);
    sim.ask(&client, seek(SeekTo::Latest)).unwrap();
    assert!(sim.receive(&client, "g", "t", 9, 60_000).is_empty());
    let nowhere = sim.ask(&client, seek(SeekTo::Offset { queue_index: 7, offset: 0 }));
    assert!(matches!(nowhere, Err(Error::NoQueue { index: 7, .. })));
}

#[test]
fn a_waiting_message_is_seen_when_it_is_due_and_not_before() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    let due = sim.now.wall_ms + 5_000;
    let mut batch = PublishBatch::default();
    batch.push_due(&draft("t", "later"), topic.id, Some(0), 7, Durability::Disk, due).unwrap();
    let stored = sim.send(&client, batch).pop().unwrap().unwrap();
    assert_eq!(stored.offset, None);
    sim.pass_ms(4_999);
    assert!(sim.receive(&client, "g", "t", 9, 1_000).is_empty());
    sim = sim.crash(Loss::All);
    let client = sim.connect();
    sim.pass_ms(1);
    let got = sim.receive(&client, "g", "t", 9, 1_000);
    assert_eq!(bodies(&got), ["later"]);
    sim.settle(&client, &got, Outcome::Ack);
    sim = sim.crash(Loss::All);
    let client = sim.connect();
    sim.pass_ms(100_000);
    assert!(sim.receive(&client, "g", "t", 9, 1_000).is_empty(), "it was dispatched once");
}

#[test]
fn a_group_is_consumed_one_way_at_a_time() {
    let (mut sim, client, _) = scene(GroupSettings::at_once());
    let join = |expires_ms| {
        move |token| Command::Join {
            token,
            group: "g".into(),
            member: "m".into(),
            topics: vec!["t".into()],
            expires_ms,
        }
    };
    sim.ask(&client, join(1_000)).unwrap();
    let refused = sim.ask(&client, consume(1, 1, false));
    assert!(matches!(refused, Err(Error::Mode { found: "offset", .. })), "{refused:?}");
    sim.pass_ms(1_000);
    sim.ask(&client, consume(1, 1, false)).unwrap();
    assert!(matches!(sim.ask(&client, join(1_000)), Err(Error::Mode { found: "lease", .. })));
}

#[test]
fn a_trimmed_entry_is_nobody_s_and_no_other_comes_in_its_place() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let queue = sim.make_topic(&client, "q", TopicSettings::settled_queue());
    for group in ["q", "other"] {
        sim.make_group(&client, group, GroupSettings::at_once());
    }
    sim.publish(&client, &queue, &["a", "b", "c"]);
    let others = sim.receive(&client, "other", "q", 1, 60_000);
    let got = sim.receive(&client, "q", "q", 2, 60_000);
    sim.settle(&client, &got, Outcome::Ack);
    // The default group took it away.
    sim.settle(&client, &others, Outcome::Release);
    let rest = sim.receive(&client, "other", "q", 10, 60_000);
    assert_eq!(bodies(&rest), ["c"]);
    assert_eq!(sim.settle(&client, &rest, Outcome::Ack), [Ok(())]);
    sim.pass_ms(120_000);
    assert!(sim.receive(&client, "other", "q", 10, 60_000).is_empty());
}

#[test]
fn one_read_of_grants_is_bounded_by_bytes() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    let long = "x".repeat(3 << 16);
    for _ in 0..24 {
        sim.publish(&client, &topic, &[&long]);
    }
    let token = client.token();
    let (group, name) = ("g".into(), "t".into());
    sim.tell(
        &client,
        Command::Receive { token, group, topic: name, max: 30, wait_ms: 0, lease_ms: 1_000, filter: None },
    );
    let Some(Letter::Granted { mut grants, .. }) = client.mailbox.take_letters().pop() else { panic!() };
    let (mut read, mut sizes) = (Vec::new(), Vec::new());
    while !grants.is_empty() {
        let fetched = sim.context.fetch(grants, crate::limits::FETCH_BYTES_MAX);
        assert!(fetched.unread.is_empty());
        read.extend(fetched.deliveries.iter().map(|delivery| delivery.receipt.offset));
        sizes.push(fetched.deliveries.len());
        grants = fetched.rest;
    }
    assert_eq!(sizes, [5, 5, 5, 5, 4], "five of 192 KiB fit into 1 MiB");
    assert!(read.into_iter().eq(0..24));
}

#[test]
fn deleting_a_group_answers_whoever_waits_for_it() {
    let (mut sim, client, _) = scene(GroupSettings::at_once());
    let other = sim.connect();
    let token = client.token();
    let (group, name) = ("g".into(), "t".into());
    sim.tell(
        &client,
        Command::Receive { token, group, topic: name, max: 1, wait_ms: 50_000, lease_ms: 1, filter: None },
    );
    let delete = |token| Command::DeleteGroup { token, group: "g".into(), topic: "t".into() };
    sim.ask(&other, delete).unwrap();
    let events = sim.events(&client);
    let [Event::Reply { result, .. }] = &events[..] else { panic!("{events:?}") };
    assert!(matches!(result, Err(Error::NoGroup { .. })), "{result:?}");
    sim.pass_ms(60_000);
    assert!(sim.events(&client).is_empty(), "it is answered once");
}

#[test]
fn a_member_by_offset_is_refused_while_somebody_waits_for_or_holds_a_lease() {
    let (mut sim, client, topic) = scene(GroupSettings::at_once());
    let join = |token| Command::Join {
        token,
        group: "g".into(),
        member: "m".into(),
        topics: vec!["t".into()],
        expires_ms: 1_000,
    };
    let token = client.token();
    let (group, name) = ("g".into(), "t".into());
    sim.tell(
        &client,
        Command::Receive { token, group, topic: name, max: 1, wait_ms: 50_000, lease_ms: 500, filter: None },
    );
    let other = sim.connect();
    assert!(matches!(sim.ask(&other, join), Err(Error::Mode { .. })), "a receive waits");
    sim.publish(&other, &topic, &["a"]);
    assert!(matches!(sim.ask(&other, join), Err(Error::Mode { .. })), "a lease is held");
    sim.pass_ms(500);
    assert!(sim.ask(&other, join).is_ok());
}

#[test]
fn a_cold_backlog_of_several_queues_is_handed_out_by_age_too() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 3, ..TopicSettings::default() });
    sim.make_group(&client, "g", GroupSettings::at_once());
    for number in 0..300 {
        let texts: Vec<String> = (0..30).map(|i| format!("{number} {i}")).collect();
        sim.publish(&client, &topic, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        sim.pass_ms(10);
    }
    assert!(topic.queues().iter().all(|queue| queue.in_memory(0, 1).is_none()), "it is cold");
    let (mut newest, mut got) = (0, 0);
    while let batch = sim.receive(&client, "g", "t", 100, 60_000)
        && !batch.is_empty()
    {
        for delivery in &batch {
            let number: u64 = body(&delivery.message).split(' ').next().unwrap().parse().unwrap();
            assert!(number + 3 >= newest, "{number} comes after {newest}");
            newest = newest.max(number);
        }
        got += batch.len();
    }
    assert_eq!(got, 9_000);
}

#[test]
fn a_receipt_settles_once_and_only_what_it_was_given_for() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 1, ..TopicSettings::default() });
    for group in ["g", "h"] {
        sim.make_group(&client, group, GroupSettings::at_once());
    }
    sim.publish(&client, &topic, &["a", "b", "c"]);
    let held = sim.receive(&client, "g", "t", 2, 1_000);
    let foreign = sim.shard.directory().group("h").unwrap().id;
    let altered = |change: fn(&mut Receipt)| {
        let mut delivery = held[0].clone();
        change(&mut delivery.receipt);
        delivery
    };
    let mut other_group = held[0].clone();
    other_group.receipt.group = foreign;
    let wrong = [
        altered(|receipt| receipt.lease += 1_000),
        altered(|receipt| receipt.epoch += 1),
        altered(|receipt| receipt.offset = 99),
        altered(|receipt| receipt.lease += 1),
        altered(|receipt| receipt.queue = QueueId(999)),
        other_group,
    ];
    let before = sim.fingerprint();
    for outcome in [Outcome::Ack, Outcome::Reject, Outcome::Release, Outcome::Retry { delay_ms: None }] {
        for result in sim.settle(&client, &wrong, outcome) {
            assert!(matches!(result, Err(Error::Receipt(_))), "{outcome:?}: {result:?}");
        }
    }
    assert_eq!(sim.fingerprint(), before, "nothing has changed");
    assert_eq!(sim.settle(&client, &held[..1], Outcome::Ack), [Ok(())]);
    let before = sim.fingerprint();
    for outcome in [Outcome::Ack, Outcome::Reject, Outcome::Release] {
        let again = sim.settle(&client, &held[..1], outcome);
        assert_eq!(again, [Err(Error::Receipt("it was settled before"))], "{outcome:?}");
    }
    assert_eq!(sim.fingerprint(), before);
    // The lease of the other one ends, and somebody else has it: the old receipt is worth nothing.
    sim.pass_ms(1_000);
    let again = sim.receive(&client, "g", "t", 1, 60_000);
    assert_eq!(bodies(&again), ["b"]);
    let old = sim.settle(&client, &held[1..], Outcome::Ack);
    assert_eq!(old, [Err(Error::Receipt("the message was handed out again"))]);
    assert_eq!(sim.settle(&client, &again, Outcome::Ack), [Ok(())]);
}

#[test]
fn a_receipt_that_comes_twice_in_one_settlement_counts_once() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", TopicSettings { queues: 2, ..TopicSettings::default() });
    sim.make_group(&client, "g", GroupSettings::at_once());
    sim.publish(&client, &topic, &["a", "b"]);
    let got = sim.receive(&client, "g", "t", 2, 60_000);
    assert_ne!(got[0].receipt.queue, got[1].receipt.queue);
    let twice = [got[0].clone(), got[1].clone(), got[0].clone()];
    assert_eq!(sim.settle(&client, &twice, Outcome::Retry { delay_ms: None }), [Ok(()), Ok(()), Ok(())]);
    let again = sim.receive(&client, "g", "t", 2, 60_000);
    assert_eq!(again.iter().map(|delivery| delivery.attempts).collect::<Vec<_>>(), [1, 1]);
}
