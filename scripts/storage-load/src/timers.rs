//! Messages that wait for their time: what very many of them cost beside messages that do not wait, how punctual those
//! are that come soon, and what a backlog that is due all at once does to publishers.
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mailrail_broker::{Broker, PublishBatch, Topic};
use serde_json::{Value, json};

use crate::backlog::bytes_below;
use crate::client::{self, Client, Failure};
use crate::observe::status_kib;
use crate::{Durability, TimerLoad};

const BATCH_MESSAGES: usize = 64;
const WINDOW: usize = 8;
const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1_000;
/// The first of the far timers is due after that much, when all has been measured.
const FAR_MS: u64 = 60 * 60 * 1_000;
/// How soon a punctual timer is due, and how often one is published.
const SOON_MS: u64 = 50;
const PACE: Duration = Duration::from_millis(5);
/// How often it is looked whether something has come.
const GLANCE: Duration = Duration::from_micros(100);
/// Longest wait for what is due.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(data: &Path, load: &TimerLoad) -> Result<Value, Failure> {
    let broker = client::open(data)?;
    let mut client = Client::new(&broker);
    let topic = client.topic("timers", 1)?;
    let body = vec![b'x'; load.size];
    // The same number, alternating, so that both see the same disk.
    let (mut plain_s, mut timers_s) = (0.0, 0.0);
    let plain_part = load.messages / 10 / PARTS;
    let mut random = Random(1);
    for _ in 0..PARTS {
        plain_s += publish_all(&mut client, &topic, &body, plain_part, || None)?;
        let base_ms = broker.now().wall_ms + FAR_MS;
        timers_s += publish_all(&mut client, &topic, &body, load.messages / PARTS, || {
            Some(base_ms + random.below(YEAR_MS))
        })?;
    }
    let (plain, timers) = (plain_part * PARTS, load.messages / PARTS * PARTS);
    let high_mib = status_kib("VmHWM") as f64 / 1024.0;
    let lateness = punctuality(&broker, &mut client, &topic, load.punctual)?;
    broker.stop()?;
    let store = bytes_below(data)? - bytes_below(&data.join("log"))? - bytes_below(&data.join("keys"))?;
    Ok(json!({
        "timers": timers,
        "rate": timers as f64 / timers_s,
        "plain_rate": plain as f64 / plain_s,
        "of_plain": (timers as f64 / timers_s) / (plain as f64 / plain_s),
        "high_mib": high_mib,
        "resident_mib": status_kib("VmRSS") as f64 / 1024.0,
        "store_bytes_each": store as f64 / timers as f64,
        "late_ms_p50": lateness.value_at_quantile(0.5) as f64 / 1e3,
        "late_ms_p99": lateness.value_at_quantile(0.99) as f64 / 1e3,
        "late_ms_max": lateness.max() as f64 / 1e3,
        "high_mib_at_the_end": status_kib("VmHWM") as f64 / 1024.0,
    }))
}

/// Turns that plain messages and timers take.
const PARTS: u64 = 4;

/// Publishes so many messages as fast as answers come; returns the seconds.
fn publish_all(
    client: &mut Client,
    topic: &Topic,
    body: &[u8],
    messages: u64,
    mut due_ms: impl FnMut() -> Option<u64>,
) -> Result<f64, Failure> {
    let begin = Instant::now();
    let (mut sent, mut stored, mut under_way) = (0, 0, 0);
    while stored < messages {
        while under_way < WINDOW && sent < messages {
            let count = BATCH_MESSAGES.min(usize::try_from(messages - sent)?);
            client.publish(batch(topic, body, count, &mut due_ms));
            sent += count as u64;
            under_way += 1;
        }
        let (batches, count) = client.published()?;
        under_way -= batches;
        stored += count;
    }
    Ok(begin.elapsed().as_secs_f64())
}

fn batch(
    topic: &Topic,
    body: &[u8],
    messages: usize,
    due_ms: &mut dyn FnMut() -> Option<u64>,
) -> PublishBatch {
    let draft = client::draft(topic, body);
    let mut batch = PublishBatch::with_capacity(messages * (body.len() + 200), messages);
    let durability = Durability::Disk.into();
    for _ in 0..messages {
        let pushed = match due_ms() {
            Some(due_ms) => batch.push_due(&draft, topic.id, Some(0), 0, durability, due_ms),
            None => {
                let destination =
                    mailrail_broker::Destination::Topic { topic: topic.id, queue_index: Some(0) };
                batch.push(&draft, destination, 0, durability)
            }
        };
        // The length is what a command line gave, and far below every limit.
        pushed.expect("a message of the load is well formed");
    }
    batch
}

/// Microseconds from when a message is due until it can be read, under light load.
fn punctuality(
    broker: &Broker,
    client: &mut Client,
    topic: &Arc<Topic>,
    messages: u64,
) -> Result<Histogram<u64>, Failure> {
    let mut lateness = Histogram::new(3)?;
    let queue = topic.queue(0).ok_or("the queue is not there")?;
    let mut seen = queue.end_offset();
    let mut waiting: VecDeque<u64> = VecDeque::new();
    let (mut sent, mut next) = (0, Instant::now());
    let deadline = Instant::now() + PATIENCE;
    while sent < messages || !waiting.is_empty() {
        if sent < messages && Instant::now() >= next {
            let due_ms = broker.now().wall_ms + SOON_MS;
            client.publish(batch(topic, b"soon", 1, &mut || Some(due_ms)));
            waiting.push_back(due_ms);
            (sent, next) = (sent + 1, next + PACE);
        }
        while seen < queue.end_offset()
            && let Some(due_ms) = waiting.pop_front()
        {
            lateness.record(wall_us().saturating_sub(due_ms * 1_000))?;
            seen += 1;
        }
        if Instant::now() >= deadline {
            return Err("a timer did not come".into());
        }
        thread::sleep(GLANCE);
    }
    Ok(lateness)
}

fn wall_us() -> u64 {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)
}

/// So many messages become due while the broker is stopped: how fast they come then, and what a publisher sees meanwhile.
pub fn due_at_once(data: &Path, load: &TimerLoad) -> Result<Value, Failure> {
    let broker = client::open(data)?;
    let mut client = Client::new(&broker);
    let topic = client.topic("timers", 1)?;
    let body = vec![b'x'; load.size];
    // Long enough for all to be published, which the end of the stop makes sure of.
    let due_ms = broker.now().wall_ms + 1_000 + load.messages / 20;
    publish_all(&mut client, &topic, &body, load.messages, || Some(due_ms))?;
    drop(client);
    broker.stop()?;
    thread::sleep(Duration::from_millis(due_ms.saturating_sub(wall_us() / 1_000)));
    let begin = Instant::now();
    let broker = client::open(data)?;
    let open_ms = begin.elapsed().as_secs_f64() * 1e3;
    let mut client = Client::new(&broker);
    let topic = client.topic("timers", 1)?;
    let queue = topic.queue(0).ok_or("the queue is not there")?;
    let mut latencies = Histogram::<u64>::new(3)?;
    let (begin, mut published) = (Instant::now(), 0);
    let deadline = begin + PATIENCE;
    while queue.end_offset() < load.messages + published {
        let sent = Instant::now();
        client.publish(batch(&topic, &body, 1, &mut || None));
        published += client.published()?.1;
        latencies.record(u64::try_from(sent.elapsed().as_micros())?)?;
        if Instant::now() >= deadline {
            return Err("what was due did not come".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    let seconds = begin.elapsed().as_secs_f64();
    broker.stop()?;
    Ok(json!({
        "due_at_once": load.messages,
        "open_ms": open_ms,
        "dispatch_rate": load.messages as f64 / seconds,
        "publishes_meanwhile": published,
        "publish_ms_p50": latencies.value_at_quantile(0.5) as f64 / 1e3,
        "publish_ms_p99": latencies.value_at_quantile(0.99) as f64 / 1e3,
        "publish_ms_max": latencies.max() as f64 / 1e3,
        "high_mib": status_kib("VmHWM") as f64 / 1024.0,
    }))
}

/// The SplitMix64 sequence.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}
