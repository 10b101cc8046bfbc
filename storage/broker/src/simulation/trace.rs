//! Traces: every step of a message in order, how many are traced, and that what is traced notices nothing of it.

use super::transaction::{end, prepare};
use super::*;
use crate::limits::*;

/// Settings of a topic with one queue of whose million messages so many are traced.
pub(super) fn traced(of_a_million: u32) -> TopicSettings {
    let attributes = [(TRACE_SAMPLE.to_owned(), of_a_million.to_string())];
    TopicSettings { queues: 1, attributes: attributes.into(), ..TopicSettings::default() }
}

pub(super) fn scene(of_a_million: u32) -> (Simulation, Client, Arc<Topic>) {
    let mut sim = Simulation::new();
    let client = sim.connect();
    let topic = sim.make_topic(&client, "t", traced(of_a_million));
    let dead_letter = Some("dead".to_owned());
    let settings = GroupSettings { attempts_max: Some(1), dead_letter, ..GroupSettings::at_once() };
    sim.make_group(&client, "g", settings);
    (sim, client, topic)
}

/// All steps that are written, in their order.
pub(super) fn records(sim: &mut Simulation) -> Vec<TraceRecord> {
    sim.pass_ms(1_000);
    let Some(topic) = sim.shard.directory().topic(TRACE_TOPIC) else { return Vec::new() };
    let (queue, now_ms) = (topic.queue(0).unwrap(), sim.now.wall_ms);
    let (mut found, mut offset) = (Vec::new(), queue.min_offset());
    while offset < queue.end_offset() {
        let filter = Filter::all();
        let request =
            ReadRequest { queue: queue.clone(), offset, max_entries: 100, max_bytes: 1 << 20, filter };
        let batch = sim.context.read(&request, now_ms).unwrap();
        offset = batch.next_offset;
        let read =
            |entry: &ReadEntry| TraceRecord::read(&StoredMessage::parse(&entry.message).unwrap()).unwrap();
        found.extend(batch.entries.iter().map(read));
    }
    found
}

/// Stages, with how.
pub(super) fn steps(records: &[TraceRecord]) -> Vec<String> {
    let text = |record: &TraceRecord| {
        let how = record.how.as_ref().map(|how| format!(" {how}"));
        format!("{}{}", record.stage.name(), how.unwrap_or_default())
    };
    records.iter().map(text).collect()
}

pub(super) fn all_steps(sim: &mut Simulation) -> Vec<String> {
    steps(&records(sim))
}

#[test]
fn every_step_of_a_message_is_there_in_order_with_its_time_and_group() {
    let (mut sim, client, topic) = scene(1_000_000);
    let stored = sim.publish(&client, &topic, &["m"]).remove(0).unwrap();
    let stored_ms = sim.now.wall_ms;
    sim.pass_ms(5);
    let first = sim.receive(&client, "g", "t", 1, 1_000);
    sim.settle(&client, &first, Outcome::Release);
    let again = sim.receive(&client, "g", "t", 1, 1_000);
    sim.settle(&client, &again, Outcome::Retry { delay_ms: None });
    let last = sim.receive(&client, "g", "t", 1, 1_000);
    sim.settle(&client, &last, Outcome::Ack);
    let records = records(&mut sim);
    let expected = [
        "stored",
        "handed_out",
        "settled release",
        "handed_out",
        "settled retry",
        "handed_out",
        "settled ack",
    ];
    assert_eq!(steps(&records), expected);
    assert_eq!((records[0].at_ms, records[1].at_ms), (stored_ms, stored_ms + 5));
    for record in &records {
        assert_eq!((&*record.topic, record.position), ("t", stored.position));
        assert_eq!((record.queue, record.offset), (Some(0), Some(0)));
    }
    assert_eq!(records[0].group, None);
    assert!(records[1..].iter().all(|record| record.group.as_deref() == Some("g")));
    let attempts: Vec<_> = records.iter().filter_map(|record| record.attempt).collect();
    assert_eq!(attempts, [1, 1, 2]);
}

#[test]
fn leases_that_end_by_themselves_and_what_is_given_up_are_steps_too() {
    let (mut sim, client, topic) = scene(1_000_000);
    let origin = sim.publish(&client, &topic, &["m"]).remove(0).unwrap();
    sim.receive(&client, "g", "t", 1, 1_000);
    sim.pass_ms(1_000);
    let last = sim.receive(&client, "g", "t", 1, 60_000);
    sim.settle(&client, &last, Outcome::Retry { delay_ms: None });
    let all = records(&mut sim);
    let expected = [
        "stored",
        "handed_out",
        "settled lease_expired",
        "handed_out",
        "settled retry",
        "given_up delivery_limit",
        "dead_lettered",
    ];
    assert_eq!(steps(&all), expected);
    let dead = all.last().unwrap();
    assert_eq!((dead.position, dead.to.as_deref()), (origin.position, Some("dead")));
    let copy = sim.topic("dead").queue(0).unwrap().in_memory(0, 1).unwrap()[0];
    assert_eq!(dead.copy, Some(copy.position));
    // A rejected one, and one whose owner goes.
    sim.publish(&client, &topic, &["n"]);
    let got = sim.receive(&client, "g", "t", 1, 60_000);
    sim.settle(&client, &got, Outcome::Reject);
    sim.publish(&client, &topic, &["o"]);
    let consumer = sim.connect();
    let consume = |token| Command::Consume {
        token,
        consumer: ConsumerId(1),
        group: "g".into(),
        topic: "t".into(),
        credit: 9,
        no_ack: false,
        exclusive: false,
        priority: 0,
    };
    let token = consumer.token();
    sim.tell(&consumer, consume(token));
    sim.disconnect(consumer);
    let expected = [
        "stored",
        "handed_out",
        "settled reject",
        "given_up rejected",
        "dead_lettered",
        "stored",
        "handed_out",
        "settled owner_gone",
    ];
    assert_eq!(all_steps(&mut sim)[all.len()..], expected);
}

#[test]
fn commits_and_deliveries_without_acknowledgement_settle() {
    let (mut sim, client, topic) = scene(1_000_000);
    sim.publish(&client, &topic, &["a", "b", "c"]);
    let token = client.token();
    sim.tell(&client, Command::Get { token, group: "g".into(), topic: "t".into(), no_ack: true });
    let commits = vec![(topic.queue(0).unwrap().id, 3)];
    sim.tell(&client, Command::Commit { token: None, group: "g".into(), commits });
    let expected =
        ["stored"; 3].into_iter().chain(["handed_out", "settled no_ack"]).chain(["settled commit"; 2]);
    assert!(all_steps(&mut sim).into_iter().eq(expected));
}

#[test]
fn one_commit_is_looked_through_so_far_and_no_farther() {
    let max = TRACE_COMMIT_ENTRIES_MAX;
    for (messages, settled) in [(max, max), (max + 1, max)] {
        let (mut sim, client, topic) = scene(1_000_000);
        let commit = |sim: &mut Simulation, offset| {
            let commits = vec![(topic.queue(0).unwrap().id, offset)];
            sim.tell(&client, Command::Commit { token: None, group: "g".into(), commits });
        };
        commit(&mut sim, 0);
        let bodies = vec!["m"; 10];
        (0..messages / 10).for_each(|_| drop(sim.publish(&client, &topic, &bodies)));
        sim.publish(&client, &topic, &bodies[..usize::try_from(messages % 10).unwrap()]);
        sim.pass_ms(1_000);
        commit(&mut sim, messages);
        let found = all_steps(&mut sim).iter().filter(|step| *step == "settled commit").count();
        assert_eq!(found as u64, settled, "{messages} messages");
    }
}

#[test]
fn messages_that_expire_are_given_up() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    for (name, extra) in [("a", None), ("b", Some((DEAD_LETTER_TOPIC, "dead")))] {
        let attributes = [(TRACE_SAMPLE, "1000000"), (MESSAGE_TTL_MS, "1000")].into_iter().chain(extra);
        let settings = super::expiry::policy(&attributes.collect::<Vec<_>>());
        let topic = sim.make_topic(&client, name, settings);
        sim.publish(&client, &topic, &["m"]);
    }
    sim.pass_ms(5_000);
    let mut found: Vec<_> =
        records(&mut sim).iter().map(|record| format!("{} {}", record.topic, record.stage.name())).collect();
    found.sort();
    assert_eq!(found, ["a given_up", "a stored", "b dead_lettered", "b given_up", "b stored"]);
}

#[test]
fn what_waits_is_traced_until_its_copy_is_settled() {
    let (mut sim, client, topic) = scene(1_000_000);
    let publish = |sim: &mut Simulation| {
        let mut batch = PublishBatch::default();
        let due_ms = sim.now.wall_ms + 10_000;
        batch.push_due(&draft("t", "m"), topic.id, None, tag_hash("t"), Durability::Disk, due_ms).unwrap();
        sim.send(&client, batch).remove(0).unwrap().position
    };
    let position = publish(&mut sim);
    let recalled = publish(&mut sim);
    sim.ask(&client, |token| Command::Recall { token, position: recalled, topic: None }).unwrap();
    sim.pass_ms(10_000);
    let got = sim.receive(&client, "g", "t", 1, 1_000);
    sim.settle(&client, &got, Outcome::Ack);
    let all = records(&mut sim);
    let expected = ["stored", "stored", "recalled", "stored", "dispatched", "handed_out", "settled ack"];
    assert_eq!(steps(&all), expected);
    assert_eq!((all[0].offset, all[2].position), (None, recalled));
    let dispatched = &all[4];
    assert_eq!((dispatched.position, dispatched.copy), (position, Some(all[3].position)));
    assert_eq!((dispatched.queue, dispatched.offset), (Some(0), Some(0)));
    assert!(all[5..].iter().all(|record| Some(record.position) == dispatched.copy));
}

#[test]
fn half_messages_are_committed_or_rolled_back_also_after_a_restart() {
    let mut sim = Simulation::new();
    let client = sim.connect();
    sim.make_topic(&client, "t", TopicSettings { queues: 2, ..traced(1_000_000) });
    let committed = prepare(&mut sim, &client, "p", "c");
    let rolled_back = prepare(&mut sim, &client, "p", "r");
    let before = all_steps(&mut sim);
    assert_eq!(before, ["stored", "stored"]);
    let mut sim = sim.crash(Loss::Nothing);
    let client = sim.connect();
    end(&mut sim, &client, committed, None, Decision::Commit).unwrap();
    end(&mut sim, &client, rolled_back, None, Decision::RollBack).unwrap();
    assert!(end(&mut sim, &client, rolled_back, None, Decision::RollBack).is_err());
    let all = records(&mut sim);
    assert_eq!(steps(&all[2..]), ["stored", "committed", "rolled_back"]);
    assert_eq!((all[3].position, all[3].copy), (committed, Some(all[2].position)));
    assert_eq!(all[4].position, rolled_back);
}

#[test]
fn what_is_written_is_there_after_a_restart_and_goes_on_with_the_same_messages() {
    let (mut sim, client, topic) = scene(300_000);
    let stored = sim.publish(&client, &topic, &["m"; 60]);
    let positions: Vec<u64> = stored.into_iter().map(|stored| stored.unwrap().position).collect();
    let chosen: Vec<u64> = records(&mut sim).iter().map(|record| record.position).collect();
    assert!((5..30).contains(&chosen.len()), "{} of 60", chosen.len());
    assert!(chosen.iter().all(|position| positions.contains(position)));
    let mut sim = sim.crash(Loss::Nothing);
    let client = sim.connect();
    let got = sim.receive(&client, "g", "t", 60, 1_000);
    assert_eq!(got.len(), 60);
    sim.settle(&client, &got, Outcome::Ack);
    let all = records(&mut sim);
    let of_stage =
        |stage| all.iter().filter(move |record| record.stage == stage).map(|record| record.position);
    for stage in [TraceStage::Stored, TraceStage::HandedOut, TraceStage::Settled] {
        assert!(of_stage(stage).eq(chosen.iter().copied()), "{stage:?}");
    }
}

#[test]
fn a_stop_writes_what_waits() {
    let (mut sim, client, topic) = scene(1_000_000);
    sim.publish(&client, &topic, &["m"]);
    sim.input(Input::Stop);
    let mut sim = sim.crash(Loss::Nothing);
    assert_eq!(all_steps(&mut sim), ["stored"]);
}

#[test]
fn nothing_is_traced_where_nobody_asked_nor_of_the_traces() {
    let (mut sim, client, topic) = scene(0);
    sim.publish(&client, &topic, &["m"]);
    let got = sim.receive(&client, "g", "t", 1, 1_000);
    sim.settle(&client, &got, Outcome::Ack);
    sim.pass_ms(1_000);
    assert!(sim.shard.directory().topic(TRACE_TOPIC).is_none());
}

#[test]
fn the_sample_of_a_topic_may_change_and_nothing_else() {
    let (mut sim, client, topic) = scene(0);
    let put = |sim: &mut Simulation, settings: TopicSettings| {
        sim.ask(&client, |token| Command::PutTopic { token, name: "t".into(), settings, adopt: false })
    };
    put(&mut sim, traced(1_000_000)).unwrap();
    sim.publish(&client, &topic, &["m"]);
    assert_eq!(all_steps(&mut sim), ["stored"]);
    // Who says nothing of it changes nothing.
    put(&mut sim, TopicSettings { queues: 1, ..TopicSettings::default() }).unwrap();
    assert_eq!(topic.settings().attributes[TRACE_SAMPLE], "1000000");
    let error = put(&mut sim, traced(1_000_001)).unwrap_err().to_string();
    assert!(error.contains("trace-sample is 1000001; at most 1000000"), "{error}");
    assert!(matches!(put(&mut sim, TopicSettings { queues: 2, ..traced(5) }), Err(Error::Differs { .. })));
    assert_eq!(topic.settings().attributes[TRACE_SAMPLE], "1000000");
    let mut sim = sim.crash(Loss::All);
    let client = sim.connect();
    let topic = sim.topic("t");
    sim.publish(&client, &topic, &["m"]);
    assert_eq!(all_steps(&mut sim).last().map(String::as_str), Some("stored"));
    let settings = traced(0);
    sim.ask(&client, |token| Command::PutTopic { token, name: "t".into(), settings, adopt: false }).unwrap();
    let before = all_steps(&mut sim).len();
    sim.publish(&client, &topic, &["m"]);
    assert_eq!(all_steps(&mut sim).len(), before);
}

#[test]
fn steps_beyond_the_limit_are_lost_and_counted_and_the_messages_notice_nothing() {
    for (messages, lost) in [(TRACE_STEPS_WAITING_MAX, None), (TRACE_STEPS_WAITING_MAX + 1, Some(1))] {
        let (mut sim, client, topic) = scene(1_000_000);
        let bodies = vec!["m"; messages];
        assert!(sim.publish(&client, &topic, &bodies).iter().all(Result::is_ok));
        let all = records(&mut sim);
        let stored = all.iter().filter(|record| record.stage == TraceStage::Stored).count();
        assert_eq!(stored, TRACE_STEPS_WAITING_MAX);
        let told: Vec<_> = all.iter().filter_map(|record| record.lost).collect();
        assert_eq!(told, lost.into_iter().collect::<Vec<_>>());
        assert_eq!(sim.receive(&client, "g", "t", 1_000, 1_000).len(), messages);
    }
}

#[test]
fn a_turn_writes_a_batch_and_no_more() {
    let (mut sim, client, topic) = scene(1_000_000);
    let bodies = vec!["m"; TRACE_BATCH_STEPS_MAX + 1];
    let mut batch = PublishBatch::default();
    for body in &bodies {
        let destination = Destination::Topic { topic: topic.id, queue_index: None };
        batch.push(&draft("t", body), destination, tag_hash("t"), Durability::Disk).unwrap();
    }
    let (mailbox, token) = (client.mailbox.clone(), client.token());
    let commands = vec![Command::Publish { token, batch }];
    sim.shard.handle(sim.now, Input::Commands { mailbox, commands, since: sim.now.mono });
    sim.shard.finish_turn(sim.now);
    let queue = |sim: &Simulation| sim.topic(TRACE_TOPIC).queue(0).unwrap();
    sim.writing = false;
    let appended = |sim: &Simulation| {
        let id = queue(sim).id;
        sim.shard.state().queues[&id].next_offset
    };
    assert_eq!(appended(&sim), TRACE_BATCH_STEPS_MAX as u64);
    sim.writing = true;
    sim.pass_ms(100);
    assert_eq!(appended(&sim), TRACE_BATCH_STEPS_MAX as u64 + 1);
}

#[test]
fn copies_are_followed_until_there_are_too_many() {
    // None of a sample so small is chosen by its own position, so that only following can be why it is traced.
    let (mut sim, client, topic) = scene(1_000_000);
    let publish = |sim: &mut Simulation, count: usize| {
        let mut batch = PublishBatch::default();
        let due_ms = sim.now.wall_ms + 10_000;
        for _ in 0..count {
            batch
                .push_due(&draft("t", "m"), topic.id, None, tag_hash("t"), Durability::Disk, due_ms)
                .unwrap();
        }
        sim.send(&client, batch);
    };
    let count = TRACE_COPIES_FOLLOWED_MAX + 1;
    publish(&mut sim, count);
    sim.pass_ms(10_000);
    records(&mut sim);
    let settings = traced(1);
    sim.ask(&client, |token| Command::PutTopic { token, name: "t".into(), settings, adopt: false }).unwrap();
    let before = records(&mut sim).len();
    assert_eq!(sim.receive(&client, "g", "t", 100, 60_000).len(), count);
    let handed_out = &records(&mut sim)[before..];
    assert_eq!(handed_out.len(), TRACE_COPIES_FOLLOWED_MAX, "the oldest is not followed any more");
    assert!(handed_out.iter().all(|record| record.offset != Some(0)));
}

#[test]
fn dead_letters_of_what_is_traced_are_followed() {
    let (mut sim, client, topic) = scene(300_000);
    let dead = sim.make_topic(&client, "dead", traced(300_000));
    sim.publish(&client, &topic, &["m"; 40]);
    let got = sim.receive(&client, "g", "t", 40, 60_000);
    sim.settle(&client, &got, Outcome::Reject);
    assert_eq!(sim.receive(&client, "g", "dead", 40, 60_000).len(), 40);
    let all = records(&mut sim);
    let copies: Vec<u64> = all.iter().filter_map(|record| record.copy).collect();
    assert!((5..=TRACE_COPIES_FOLLOWED_MAX).contains(&copies.len()), "{} of 40", copies.len());
    let is_handed_out = |copy: &u64| {
        let is_it = |record: &&TraceRecord| (record.stage, record.position) == (TraceStage::HandedOut, *copy);
        all.iter().find(is_it).is_some_and(|record| *record.topic == *dead.name)
    };
    assert_eq!(copies.iter().filter(|copy| !is_handed_out(copy)).count(), 0);
}

#[test]
fn a_trace_says_who_did_it() {
    let (mut sim, client, topic) = scene(1_000_000);
    let ann = Identity::user("ann".into(), "192.0.2.7".parse().unwrap());
    sim.tell(&client, Command::Identify { identity: ann.into() });
    let directory = sim.shard.directory();
    let entry = ClientEntry::new(directory, "amqp", "192.0.2.7:4711".parse().unwrap(), sim.now);
    entry.client().set_name("shop");
    client.mailbox.belong_to(Some(entry.client().clone()));
    sim.publish(&client, &topic, &["m"]);
    let other = sim.connect();
    sim.receive(&other, "g", "t", 1, 1_000);
    sim.pass_ms(1_000);
    let all = records(&mut sim);
    let by = TraceActor {
        user: Some("ann".into()),
        protocol: Some("amqp".into()),
        address: Some("192.0.2.7:4711".into()),
        client: Some("shop".into()),
    };
    assert_eq!(all[0].by, Some(by));
    assert_eq!(steps(&all[2..3]), ["settled lease_expired"]);
    assert_eq!(all[2].by, None, "time has no name");
}

#[test]
fn steps_are_found_by_the_place_of_the_message_and_by_the_id_of_its_producer() {
    let (mut sim, client, topic) = scene(1_000_000);
    let mut batch = PublishBatch::default();
    let destination = Destination::Topic { topic: topic.id, queue_index: None };
    let draft = Draft { properties: b"UNIQ_KEY\x01U-7\x02", ..draft("t", "m") };
    batch.push(&draft, destination, 0, Durability::Disk).unwrap();
    let position = sim.send(&client, batch).remove(0).unwrap().position;
    sim.publish(&client, &topic, &["other"]);
    sim.receive(&client, "g", "t", 1, 1_000);
    records(&mut sim);
    let find = |key: &str| {
        let topic = sim.topic(TRACE_TOPIC);
        let (key, max, max_bytes) = (key.to_owned(), 100, 1 << 20);
        let request = FindRequest { topic, key, from_ms: 0, to_ms: u64::MAX, max, max_bytes };
        let found = sim.context.find(&request).unwrap();
        let read = |found: &crate::Found| {
            TraceRecord::read(&StoredMessage::parse(&found.entry.message).unwrap()).unwrap()
        };
        steps(&found.iter().rev().map(read).collect::<Vec<_>>())
    };
    assert_eq!(find(&trace_key(position)), ["stored", "handed_out", "settled lease_expired"]);
    assert_eq!(find("U-7"), ["stored"]);
}
