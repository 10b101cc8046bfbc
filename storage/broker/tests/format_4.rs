//! A data folder of format 4: what topics remember of messages that may be sent again. It says nothing about those
//! before it, which have folders of their own.
mod fixture;
mod rig;

use std::fmt::Write as _;
use std::path::Path;

use fixture::*;
use mailrail_broker::limits::DEDUPLICATION_WINDOW_MS_MAX;
use mailrail_broker::*;
use mailrail_message::{AnnexKind, Draft};
use rig::*;

const FORMAT_4: Fixture = Fixture { version: 4, waiting: 2, furnish, described };

/// Keys, a producer's numbers, a message that waits and a half one; before a snapshot, and some behind it.
fn furnish(folder: &Path) {
    let mut rig = Rig::at(folder, WALL_MS);
    let filler = fill(&mut rig, "filler");
    let window = (DEDUPLICATION_WINDOW_MS.to_owned(), DEDUPLICATION_WINDOW_MS_MAX.to_string());
    let settings =
        TopicSettings { queues: 2, attributes: [window].into_iter().collect(), ..TopicSettings::default() };
    rig.put_topic("known", settings);
    for sent in ["key one", "part 1", "sequence 5", "sequence 7", "due", "half"] {
        send(&mut rig, sent).unwrap();
    }
    let before = rig.publish(&filler, b"the last before the snapshot").position;
    trim(&mut rig, folder, before);
    for sent in ["key two", "sequence 9"] {
        send(&mut rig, sent).unwrap();
    }
    rig.stop();
    Rig::at(folder, WALL_MS).stop();
}

/// Sends a message that is known by its text.
fn send(rig: &mut Rig, text: &str) -> Result<Stored, Error> {
    let key = match text.split_once(' ') {
        Some(("sequence", number)) => DeduplicationKey::of_sequence(b"producer", number.parse().unwrap()),
        Some(("part", number)) => DeduplicationKey::of_part(b"request", number.parse().unwrap()),
        _ => DeduplicationKey::of_key(text.as_bytes()),
    };
    let annex = key.unwrap().annex();
    let annexes = [(AnnexKind::Deduplication, annex.as_slice())];
    let draft = Draft { annexes: &annexes, ..draft("known", text.as_bytes()) };
    let topic = rig.broker.directory().topic("known").unwrap().id;
    let (mut batch, at) = (PublishBatch::default(), Durability::Disk);
    match text {
        "due" => batch.push_due(&draft, topic, Some(1), 0, at, WALL_MS + 10 * 3_600_000).unwrap(),
        "half" => {
            let half = HalfTerms { group: "producers".into(), first_check_ms: WALL_MS + 10 * 3_600_000 };
            batch.push_half(&draft, topic, Some(1), 0, at, half).unwrap();
        }
        _ => {
            let destination = Destination::Topic { topic, queue_index: Some(0) };
            batch.push(&draft, destination, 0, at).unwrap();
        }
    }
    rig.publish_batch(batch)
}

fn described(folder: &Path) -> String {
    let mut rig = reopened(folder);
    let mut text = String::new();
    let known = ["key one", "key two", "part 1", "due", "half", "sequence 5", "sequence 7", "sequence 9"];
    for sent in known.into_iter().chain(["part 2", "sequence 4", "sequence 8", "sequence 10"]) {
        match send(&mut rig, sent) {
            Ok(Stored { queue_index, offset, duplicate, .. }) => {
                writeln!(text, "{sent}: queue {queue_index}, offset {offset:?}, duplicate {duplicate}")
                    .unwrap();
            }
            Err(error) => writeln!(text, "{sent}: {error}").unwrap(),
        }
    }
    rig.stop();
    text
}

#[test]
fn a_folder_of_format_4_has_what_it_had() {
    FORMAT_4.check();
}

#[test]
fn a_log_of_format_4_is_enough() {
    FORMAT_4.check_without_store();
}
