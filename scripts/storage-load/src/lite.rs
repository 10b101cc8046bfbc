//! Messages to light queues of one topic: what each queue takes in memory, and whether many of them make a message dearer.
use std::path::Path;
use std::time::Instant;

use mailrail_broker::lite::{LITE, LITE_PREFIX};
use mailrail_broker::*;
use mailrail_message::{Draft, property};
use serde_json::{Value, json};

use crate::client::{self, Client, Failure};
use crate::observe::{Moment, status_kib};

const BATCH_MESSAGES: usize = 64;
/// Batches in flight.
const WINDOW: usize = 8;

/// Makes so many light queues, each by a message of its own, then publishes to them in a scattered order for some seconds.
/// Reports how many were made in a second, the bytes of resident memory for each, and what a message costs then.
pub fn run(data: &Path, queues: u64, size: usize, seconds: f64) -> Result<Value, Failure> {
    let broker = client::open(data)?;
    let mut client = Client::new(&broker);
    let attributes = [(LITE.to_owned(), "true".to_owned())].into();
    let topic =
        client.topic_with("home", TopicSettings { queues: 1, attributes, ..TopicSettings::default() })?;
    let body = vec![b'x'; size];
    // What the process needs anyway is there before anything is compared: as many messages to one light queue, up to
    // 16,384 of them.
    for _ in 0..queues.div_ceil(BATCH_MESSAGES as u64).min(256) {
        client.publish(batch(&topic, &body, std::iter::repeat_n(0, BATCH_MESSAGES)));
        client.published()?;
    }
    let (before_kib, begin) = (status_kib("VmRSS"), Instant::now());
    let numbers: Vec<u64> = (0..queues).collect();
    let mut in_flight = 0;
    for numbers in numbers.chunks(BATCH_MESSAGES) {
        while in_flight >= WINDOW {
            in_flight -= client.published()?.0;
        }
        client.publish(batch(&topic, &body, numbers.iter().copied()));
        in_flight += 1;
    }
    while in_flight > 0 {
        in_flight -= client.published()?.0;
    }
    let made_s = begin.elapsed().as_secs_f64();
    let each = (status_kib("VmRSS") - before_kib) as f64 * 1024.0 / queues as f64;
    let (since, mut count, mut turn) = (Moment::now(), 0, 0u64);
    while since.seconds() < seconds {
        while in_flight < WINDOW {
            // A multiplier without a factor in common with the count visits all in a scattered order.
            let scattered = |step: usize| (turn + step as u64).wrapping_mul(2_654_435_761) % queues;
            let next = (0..BATCH_MESSAGES).map(scattered);
            client.publish(batch(&topic, &body, next));
            turn += BATCH_MESSAGES as u64;
            in_flight += 1;
        }
        let (batches, messages) = client.published()?;
        in_flight -= batches;
        count += messages;
    }
    let mut report = since.report(count);
    report["light_queues"] = json!(broker.directory().lite_count("home"));
    report["made_per_s"] = json!(queues as f64 / made_s);
    report["bytes_each"] = json!(each);
    broker.stop()?;
    Ok(report)
}

/// Messages to the topic and one light queue each.
fn batch(topic: &Topic, body: &[u8], numbers: impl ExactSizeIterator<Item = u64>) -> PublishBatch {
    let mut batch = PublishBatch::with_capacity(numbers.len() * (body.len() + 300), numbers.len());
    for number in numbers {
        let mut properties = Vec::new();
        property::push(&mut properties, property::LITE_QUEUES, &format!("{LITE_PREFIX}device-{number:08}"));
        let draft = Draft { properties: &properties, ..client::draft(topic, body) };
        let destination = Destination::Topic { topic: topic.id, queue_index: Some(0) };
        // The length is what a command line gave, and far below every limit.
        batch.push(&draft, destination, 0, Durability::Disk).expect("a message of the load is well formed");
    }
    batch
}
