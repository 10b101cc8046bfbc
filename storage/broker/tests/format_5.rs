//! A data folder of format 5: messages in several queues, and indexes of them in blocks of the store and behind those.
//! It says nothing about older formats, which have folders of their own.
mod fixture;
mod rig;

use std::fmt::Write as _;
use std::path::Path;

use fixture::*;
use mailrail_broker::*;
use mailrail_message::{Draft, StoredMessage, property};
use rig::*;

const FORMAT_5: Fixture = Fixture { version: 5, waiting: 0, furnish, described };
const QUEUES: [&str; 3] = ["first", "ranked", "late"];
/// Of the messages that lie before the snapshot, and behind it; those make the index behind the checkpoint a block.
const BEFORE: u32 = 30;
const BEHIND: u32 = 300;

/// Messages to two queues, of which one has priorities, then to three.
fn furnish(folder: &Path) {
    let mut rig = Rig::at(folder, WALL_MS);
    let filler = fill(&mut rig, "filler");
    let settings = ExchangeSettings::durable(ExchangeKind::Fanout);
    rig.ask(|token| Command::PutExchange { token, name: "all".into(), settings });
    for name in QUEUES {
        let attributes = [(PRIORITY_MAX.to_owned(), "9".to_owned())].into_iter().filter(|_| name == "ranked");
        let attributes = attributes.collect();
        rig.put_topic(name, TopicSettings { queues: 1, attributes, ..TopicSettings::default() });
    }
    let settings = Some(GroupSettings::at_once());
    rig.ask(|token| Command::PutGroup { token, name: "readers".into(), settings });
    for name in QUEUES {
        let (group, topic) = ("readers".into(), name.into());
        rig.ask(|token| Command::Seek { token, group, topic, to: SeekTo::Earliest });
    }
    bind(&mut rig, "first");
    bind(&mut rig, "ranked");
    publish(&mut rig, 0..BEFORE);
    let before = rig.publish(&filler, b"the last before the snapshot").position;
    trim(&mut rig, folder, before);
    bind(&mut rig, "late");
    publish(&mut rig, BEFORE..BEFORE + BEHIND);
    rig.stop();
    Rig::at(folder, WALL_MS).stop();
}

fn bind(rig: &mut Rig, queue: &str) {
    rig.ask(|token| Command::Bind {
        token,
        source: "all".into(),
        target: BindTarget::Topic(queue.into()),
        key: "".into(),
        attributes: Default::default(),
    });
}

/// Messages of some lengths, a few of which have a tag, a time to live or a priority.
fn publish(rig: &mut Rig, numbers: std::ops::Range<u32>) {
    let exchange = rig.broker.directory().exchange("all").unwrap().id;
    for number in numbers {
        let mut properties = Vec::new();
        let mut put = |name, value: &str| assert!(property::push(&mut properties, name, value));
        if number % 50 == 7 {
            put(property::TAGS, "seventh");
        }
        if number % 100 == 8 {
            put(property::TTL, "99999999999");
        }
        if number % 100 == 9 {
            put(property::PRIORITY, &(number / 50).to_string());
        }
        let body = format!("message {number}{}", ".".repeat(usize::try_from(number % 3).unwrap()));
        let draft = Draft { properties: &properties, ..draft("all", body.as_bytes()) };
        let mut batch = PublishBatch::default();
        let tag_hash = mailrail_message::tag_hash(if number % 50 == 7 { "seventh" } else { "" });
        let destination = Destination::Exchange { exchange, keys: [Default::default()].into() };
        batch.push(&draft, destination, tag_hash, Durability::Disk).unwrap();
        rig.publish_batch(batch).unwrap();
    }
}

fn described(folder: &Path) -> String {
    let mut rig = reopened(folder);
    let mut text = String::new();
    for name in QUEUES {
        let queue = rig.broker.directory().topic(name).unwrap().queue(0).unwrap();
        writeln!(text, "{name}: {} to {}", queue.min_offset(), queue.end_offset()).unwrap();
        let (mut offset, mut bytes, mut positions) = (queue.min_offset(), 0, 0);
        while offset < queue.end_offset() {
            let batch = rig.read(&queue, offset);
            for entry in &batch.entries {
                assert_eq!(entry.offset, offset);
                let stored = StoredMessage::parse(&entry.message).unwrap();
                bytes += entry.message.len();
                positions += stored.position();
                if offset % 50 == 9 {
                    let body = String::from_utf8(stored.body().to_vec()).unwrap();
                    let offsets: Vec<u64> = stored.targets().unwrap().iter().map(|to| to.offset).collect();
                    writeln!(text, "  {offset}: {body} at {}, in {offsets:?}", stored.position()).unwrap();
                }
                offset += 1;
            }
        }
        writeln!(text, "  {bytes} bytes, positions {positions}").unwrap();
        let (mut tagged, mut offset) = (Vec::new(), queue.min_offset());
        while offset < queue.end_offset() {
            let filter = Filter::tags("seventh").unwrap();
            let batch = rig.try_read_filtered(&queue, offset, filter).unwrap();
            tagged.extend(batch.entries.iter().map(|entry| entry.offset));
            offset = batch.next_offset;
        }
        writeln!(text, "  tagged: {tagged:?}").unwrap();
        let received = rig.receive("readers", name, 5).into_iter().map(|delivery| {
            let stored = StoredMessage::parse(&delivery.message).unwrap();
            String::from_utf8(stored.body().to_vec()).unwrap()
        });
        writeln!(text, "  received first: {:?}", received.collect::<Vec<_>>()).unwrap();
    }
    rig.stop();
    text
}

#[test]
fn a_folder_of_format_5_has_what_it_had() {
    FORMAT_5.check();
}

#[test]
fn a_log_of_format_5_is_enough() {
    FORMAT_5.check_without_store();
}
