//! Reading what is in no cache: how near one sequential reader comes to large plain reads of the same files, and what a
//! slow one costs the others.
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mailrail_broker::{Broker, Queue};
use rustix::fs::{Advice, fadvise};
use serde_json::{Value, json};

use crate::Durability;
use crate::client::{Client, Failure, batch, open};
use crate::observe::Moment;

const READ_ENTRIES: usize = 1_024;
const PLAIN_BYTES: usize = 1 << 20;
/// How long each of the two states of [`beside_a_slow_reader`] is measured.
const MEASURED: Duration = Duration::from_secs(3);

/// Puts what is in the page cache of the log's files out of it.
fn forget(data: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(data.join("log"))? {
        // A file that is on its way to another name holds nothing that is read.
        let Ok(file) = File::open(entry?.path()) else { continue };
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        bytes += file.metadata()?.len();
    }
    Ok(bytes)
}

fn backlog_of(client: &mut Client) -> Result<Arc<Queue>, Failure> {
    Ok(client.topic("backlog", 1)?.queue(0).ok_or("the queue is not there")?)
}

pub fn read(data: &Path) -> Result<Value, Failure> {
    let broker = open(data)?;
    let mut client = Client::new(&broker);
    let queue = backlog_of(&mut client)?;
    forget(data)?;
    let since = Moment::now();
    let (mut offset, mut bytes) = (queue.min_offset(), 0);
    while offset < queue.end_offset() {
        let batch = client.read(&queue, offset, READ_ENTRIES)?;
        bytes += batch.entries.iter().map(|entry| entry.message.len()).sum::<usize>();
        offset = batch.next_offset;
    }
    let mut report = since.report(offset);
    report["mib_per_s"] = (bytes as f64 / since.seconds() / f64::from(1 << 20)).into();
    broker.stop()?;
    Ok(report)
}

pub fn plain(data: &Path) -> Result<Value, Failure> {
    forget(data)?;
    let mut paths: Vec<_> = fs::read_dir(data.join("log"))?.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|is| is == "seg"));
    paths.sort();
    // The last ones are not full of messages.
    paths.truncate(paths.len().saturating_sub(2).max(1));
    let (begin, mut bytes, mut buffer) = (Instant::now(), 0, vec![0; PLAIN_BYTES]);
    for path in paths {
        let file = File::open(path)?;
        let mut offset = 0;
        while let read @ 1.. = file.read_at(&mut buffer, offset)? {
            offset += read as u64;
        }
        bytes += offset;
    }
    Ok(json!({ "mib_per_s": bytes as f64 / begin.elapsed().as_secs_f64() / f64::from(1 << 20) }))
}

/// One reader asks for old messages at random places and one for each new message as it comes; then the same while a
/// third goes through everything cold, slowly: it reads as much as one read gives and thinks for a millisecond.
pub fn beside_a_slow_reader(data: &Path) -> Result<Value, Failure> {
    let broker = open(data)?;
    let queue = backlog_of(&mut Client::new(&broker))?;
    forget(data)?;
    let alone = readers(&broker, &queue)?;
    let stop = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        let slow = scope.spawn(|| slow_reader(&broker, &queue, &stop).map_err(|error| error.to_string()));
        forget(data)?;
        let beside = readers(&broker, &queue);
        stop.store(true, Ordering::Relaxed);
        slow.join().map_err(|_| "the slow reader panicked")??;
        beside
    })?;
    broker.stop()?;
    Ok(json!({ "alone": alone, "beside": beside }))
}

fn slow_reader(broker: &Broker, queue: &Arc<Queue>, stop: &AtomicBool) -> Result<(), Failure> {
    let mut client = Client::new(broker);
    let mut offset = queue.min_offset();
    while !stop.load(Ordering::Relaxed) {
        offset = client.read(queue, offset, READ_ENTRIES)?.next_offset;
        if offset >= queue.end_offset() {
            offset = queue.min_offset();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// p99 in microseconds of a read of 32 old messages, and from a publish to its message in a reader's hands.
fn readers(broker: &Broker, queue: &Arc<Queue>) -> Result<Value, Failure> {
    let mut client = Client::new(broker);
    let fresh = client.topic("fresh", 1)?;
    let newest = fresh.queue(0).ok_or("the queue is not there")?;
    let mut histograms = [Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?];
    let (begin, mut random) = (Instant::now(), 1u64);
    while begin.elapsed() < MEASURED {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let offset = (random >> 33) % queue.end_offset().max(1);
        let at = Instant::now();
        client.read(queue, offset, 32)?;
        histograms[0].record(u64::try_from(at.elapsed().as_nanos())?)?;

        let at = Instant::now();
        client.publish(batch(&fresh, b"new", 1, Durability::Memory.into(), 0));
        client.published()?;
        client.read(&newest, newest.end_offset() - 1, 1)?;
        histograms[1].record(u64::try_from(at.elapsed().as_nanos())?)?;
    }
    let p99 = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.99) as f64 / 1e3;
    Ok(json!({ "old_p99_us": p99(&histograms[0]), "new_p99_us": p99(&histograms[1]) }))
}
