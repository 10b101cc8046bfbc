//! A data folder of format 3: light queues, and queues from which compaction has removed messages. It says nothing about
//! those of older formats, which have folders of their own.
mod fixture;
mod rig;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fixture::*;
use mailrail_broker::lite::{LITE, LITE_EXPIRES_MS};
use mailrail_broker::*;
use mailrail_message::{Draft, StoredMessage, property};
use rig::*;

const FORMAT_3: Fixture = Fixture { version: 3, waiting: 0, furnish, described };

/// Time by which leases and intervals run goes a thousand times faster.
struct FastClock(Instant);

impl Clock for FastClock {
    fn now(&self) -> Now {
        Now { wall_ms: WALL_MS, mono: self.0.elapsed() * 1_000 }
    }
}

/// Messages in light queues, and passes of compaction before and behind a snapshot.
fn furnish(folder: &Path) {
    let mut config = config(folder, WALL_MS);
    config.clock = Arc::new(FastClock(Instant::now()));
    let mut rig = Rig::with(config);
    let filler = fill(&mut rig, "filler");
    let compacted = TopicSettings { retention: Retention::Compacted, ..with(&[(TOMBSTONE_MS, "1000000")]) };
    let latest = rig.put_topic("latest", compacted);
    for (key, body) in [("stays", "0"), ("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("b", ""), ("a", "6")]
    {
        rig.publish_keyed(&latest, body.as_bytes(), key);
    }
    wait_for(&mut rig, || latest.queue(0).unwrap().messages() == 4);
    let home = rig.put_topic("home", with(&[(LITE, "true"), (LITE_EXPIRES_MS, "99999999999")]));
    publish_lite(&mut rig, &home, "both", "%LMQ%door,%LMQ%lamp");
    let before = rig.publish(&filler, b"the last before the snapshot").position;
    trim(&mut rig, folder, before);
    for (key, body) in [("c", "7"), ("d", "8"), ("d", "9")] {
        rig.publish_keyed(&latest, body.as_bytes(), key);
    }
    wait_for(&mut rig, || latest.queue(0).unwrap().messages() == 5);
    publish_lite(&mut rig, &home, "lamp", "%LMQ%lamp");
    rig.stop();
    Rig::at(folder, WALL_MS).stop();
}

fn with(attributes: &[(&str, &str)]) -> TopicSettings {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    TopicSettings { queues: 1, attributes: attributes.collect(), ..TopicSettings::default() }
}

fn publish_lite(rig: &mut Rig, topic: &Topic, body: &str, names: &str) {
    let mut properties = Vec::new();
    assert!(property::push(&mut properties, property::LITE_QUEUES, names));
    let draft = Draft { properties: &properties, ..draft(&topic.name, body.as_bytes()) };
    let destination = Destination::Topic { topic: topic.id, queue_index: Some(0) };
    let mut batch = PublishBatch::default();
    batch.push(&draft, destination, 0, Durability::Disk).unwrap();
    rig.publish_batch(batch).unwrap();
}

fn described(folder: &Path) -> String {
    let mut rig = reopened(folder);
    let mut text = String::new();
    let lites = rig.broker.directory().lites("home", None, 10);
    let others = ["latest", "home"].map(|name| rig.broker.directory().topic(name).unwrap());
    for topic in others.into_iter().chain(lites) {
        let (settings, queue) = (topic.settings(), topic.queue(0).unwrap());
        writeln!(text, "topic {}: {:?} {:?}", topic.name, settings.retention, settings.attributes).unwrap();
        writeln!(text, "  {} to {}, {}", queue.min_offset(), queue.end_offset(), queue.messages()).unwrap();
        for entry in rig.read(&queue, queue.min_offset()).entries {
            let stored = StoredMessage::parse(&entry.message).unwrap();
            let body = String::from_utf8(stored.body().to_vec()).unwrap();
            writeln!(text, "    {}: {:?} {body}", entry.offset, stored.properties().get(property::KEYS))
                .unwrap();
        }
    }
    rig.stop();
    text
}

#[test]
fn a_folder_of_format_3_has_what_it_had() {
    FORMAT_3.check();
}

#[test]
fn a_log_of_format_3_is_enough() {
    FORMAT_3.check_without_store();
}
