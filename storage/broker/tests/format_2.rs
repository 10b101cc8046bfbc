//! A data folder of format 2: records and pieces of the state that came after the first ones. It says nothing about
//! those of format 1, which has a folder of its own.
mod fixture;
mod rig;

use std::fmt::Write as _;
use std::path::Path;

use fixture::*;
use mailrail_broker::*;
use mailrail_message::{AnnexKind, Deaths, Draft, StoredMessage, property};
use rig::*;

const FORMAT_2: Fixture = Fixture { version: 2, waiting: 3, furnish, described };

/// Limits of a queue, priorities, groups in turns, messages that expire, that died, that wait, that were recalled, half
/// messages in each state, a group of messages that were stored together, and users; most of it before a snapshot.
fn furnish(folder: &Path) {
    let mut rig = Rig::at(folder, WALL_MS);
    let filler = fill(&mut rig, "filler");
    limited_queues(&mut rig);
    let before = rig.publish(&filler, b"the last before the snapshot").position;
    turns(&mut rig);
    waiting(&mut rig);
    half_messages(&mut rig);
    users(&mut rig);
    trim(&mut rig, folder, before);
    rig.stop();
    Rig::at(folder, WALL_MS).stop();
}

fn with(attributes: &[(&str, &str)]) -> TopicSettings {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    TopicSettings { attributes: attributes.collect(), ..TopicSettings::settled_queue() }
}

fn publish_with(rig: &mut Rig, topic: &Topic, body: &str, properties: &[(&str, &str)]) {
    let mut bytes = Vec::new();
    for (key, value) in properties {
        assert!(property::push(&mut bytes, key, value));
    }
    let draft = Draft { properties: &bytes, ..draft(&topic.name, body.as_bytes()) };
    let destination = Destination::Topic { topic: topic.id, queue_index: Some(0) };
    let mut batch = PublishBatch::default();
    batch.push(&draft, destination, 0, Durability::Disk).unwrap();
    rig.publish_batch(batch).unwrap();
}

/// The first two of five are too many; of three, one is rejected, one lives for a second, and one for two hours.
fn limited_queues(rig: &mut Rig) {
    let short = rig.put_topic("short", with(&[(LENGTH_MAX, "3"), (DEAD_LETTER_TOPIC, "dead")]));
    rig.put_topic("dead", TopicSettings { queues: 1, ..TopicSettings::default() });
    for number in 0..5 {
        rig.publish(&short, format!("short {number}").as_bytes());
    }
    let mortal = rig.put_topic("mortal", with(&[(MESSAGE_TTL_MS, "10000000"), (DEAD_LETTER_TOPIC, "dead")]));
    publish_with(rig, &mortal, "rejected", &[]);
    let taken = rig.receive("mortal", "mortal", 1).remove(0).receipt;
    rig.settle(vec![taken], Outcome::Reject);
    publish_with(rig, &mortal, "for a second", &[(property::TTL, "1000")]);
    publish_with(rig, &mortal, "for two hours", &[(property::TTL, "7200000")]);
}

fn turns(rig: &mut Rig) {
    let ranked = rig.put_topic("ranked", with(&[(PRIORITY_MAX, "9")]));
    for (body, priority) in [("last", "0"), ("first", "99"), ("second", "5")] {
        publish_with(rig, &ranked, body, &[(property::PRIORITY, priority)]);
    }
    let ordered = rig.put_topic("ordered", TopicSettings { queues: 1, ..TopicSettings::default() });
    let turns = Turns { order: Order::Key, single_active: false };
    let settings = Some(GroupSettings { turns, ..GroupSettings::at_once() });
    rig.ask(|token| Command::PutGroup { token, name: "in order".into(), settings });
    let (group, topic) = ("in order".into(), "ordered".into());
    rig.ask(|token| Command::Seek { token, group, topic, to: SeekTo::Earliest });
    for (body, key) in [("a0", "a"), ("a1", "a"), ("b0", "b"), ("a2", "a"), ("b1", "b")] {
        publish_with(rig, &ordered, body, &[(property::ORDERING_KEY, key)]);
    }
    // A batch of one key, of which the first is done.
    let taken: Vec<_> =
        rig.receive("in order", "ordered", 2).iter().map(|delivery| delivery.receipt).collect();
    rig.settle(vec![taken[0]], Outcome::Ack);
    rig.settle(taken[1..].to_vec(), Outcome::Retry { delay_ms: None });
}

fn waiting(rig: &mut Rig) {
    let timers = rig.put_topic("timers", TopicSettings { queues: 1, ..TopicSettings::default() });
    rig.publish_due(&timers, b"waited an hour", DUE_MS);
    rig.publish_due(&timers, b"waits for years", DUE_MS + 100_000_000_000);
    let recalled = rig.publish_due(&timers, b"recalled", DUE_MS).position;
    rig.ask(|token| Command::Recall { token, position: recalled, topic: None });
}

/// One is committed, one rolled back, one open.
fn half_messages(rig: &mut Rig) {
    let orders = rig.put_topic("orders", TopicSettings { queues: 1, ..TopicSettings::default() });
    let positions = ["committed", "rolled back", "open"].map(|body| {
        let mut batch = PublishBatch::default();
        let terms = HalfTerms { group: "shop".into(), first_check_ms: DUE_MS + 9_000 };
        let draft = draft("orders", body.as_bytes());
        batch.push_half(&draft, orders.id, None, 0, Durability::Disk, terms).unwrap();
        rig.publish_batch(batch).unwrap().position
    });
    for (position, decision) in positions.into_iter().zip([Decision::Commit, Decision::RollBack]) {
        rig.ask(|token| Command::EndHalf { token, position, group: None, decision });
    }
    let mut batch = PublishBatch::default();
    for topic in ["orders", "timers"] {
        let id = rig.broker.directory().topic(topic).unwrap().id;
        let destination = Destination::Topic { topic: id, queue_index: Some(0) };
        batch.push(&draft(topic, b"together"), destination, 0, Durability::Disk).unwrap();
    }
    rig.ask(|token| Command::PublishTogether { token, batch, settlements: Vec::new() });
}

fn users(rig: &mut Rig) {
    let password = Some(PasswordHash::of("secret").unwrap());
    let root = UserChange { admin: Some(true), password, ..UserChange::default() };
    let rule = Rule {
        effect: Effect::Allow,
        actions: vec![Action::Publish, Action::Consume],
        resources: vec![ResourceKind::Topic],
        names: Pattern::Prefix("ord".to_owned()),
        routing_keys: None,
        sources: vec!["10.0.0.0/8".to_owned()],
    };
    let ann = UserChange { rules: Some(vec![rule]), ..UserChange::default() };
    // Nobody who did not log in may do anything from then on.
    rig.session = rig.broker.connect_for_tidying();
    for (name, change) in [("root", root), ("ann", ann)] {
        rig.ask(|token| Command::PutUser { token, name: name.into(), change: Box::new(change) });
    }
}

fn described(folder: &Path) -> String {
    let mut rig = reopened(folder);
    rig.session = rig.broker.connect_for_tidying();
    let queue_of = |name: &str| rig.broker.directory().topic(name).unwrap().queue(0).unwrap();
    let (timers, dead) = (queue_of("timers"), queue_of("dead"));
    wait_for(&mut rig, || timers.end_offset() >= 2 && dead.end_offset() >= 4);
    let mut text = String::new();
    for topic in rig.broker.directory().topics().iter().filter(|topic| &*topic.name != "filler") {
        writeln!(text, "topic {}: {:?}", topic.name, topic.settings().attributes).unwrap();
        describe_queue(&mut text, &mut rig, &topic.queue(0).unwrap());
    }
    for (group, topic) in [("ranked", "ranked"), ("mortal", "mortal"), ("in order", "ordered")] {
        for delivery in rig.receive(group, topic, 100) {
            let body = StoredMessage::parse(&delivery.message).unwrap().body().to_vec();
            let body = String::from_utf8(body).unwrap();
            writeln!(text, "group {group} gets {body}, attempts {}", delivery.attempts).unwrap();
        }
    }
    let list = |token| Command::OpenHalves { token, group: None, after: None, max: 10 };
    let Reply::Halves(halves) = rig.ask(list) else { panic!("not listed") };
    for half in halves {
        writeln!(text, "half message of {}, next check {}", half.group, half.next_check_ms).unwrap();
    }
    for user in rig.broker.directory().access().users() {
        let UserSettings { admin, password, rules, .. } = &user.settings;
        let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
        let has_password = password.is_some();
        writeln!(text, "user {}: admin {admin}, password {has_password}, {rules:?}", user.name).unwrap();
    }
    let Reply::Audit(entries) = rig.ask(|token| Command::Audit { token, before: None, max: 10 }) else {
        panic!("not listed")
    };
    entries.iter().for_each(|entry| writeln!(text, "change {}: {}", entry.number, entry.what).unwrap());
    rig.stop();
    text
}

fn describe_queue(text: &mut String, rig: &mut Rig, queue: &std::sync::Arc<Queue>) {
    let batch = rig.read(queue, queue.min_offset());
    writeln!(text, "  {} to {}", queue.min_offset(), queue.end_offset()).unwrap();
    for entry in &batch.entries {
        let stored = StoredMessage::parse(&entry.message).unwrap();
        let body = String::from_utf8(stored.body().to_vec()).unwrap();
        let deaths = stored.annex(AnnexKind::Deaths).and_then(Deaths::read).unwrap_or_default();
        let deaths: Vec<String> =
            deaths.all().iter().map(|death| format!("{:?} in {}", death.reason, death.queue)).collect();
        writeln!(text, "    {}: {body} {deaths:?}", entry.offset).unwrap();
    }
}

#[test]
fn a_folder_of_format_2_has_what_it_had() {
    FORMAT_2.check();
}

#[test]
fn a_log_of_format_2_is_enough() {
    FORMAT_2.check_without_store();
}
