//! Very many small messages in one queue: whether the last ones cost what the first ones cost, what they take of memory
//! and disk, and how soon a start accepts the next one.
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::client::{Client, Failure, batch};
use crate::observe::{Moment, status_kib};
use crate::{Durability, client};

const BATCH_MESSAGES: usize = 256;
const WINDOW: usize = 8;
/// Messages whose rate is taken at the beginning, after as many that do not count, and at the end.
const PART_MESSAGES: u64 = 500_000;
const READ_ENTRIES: usize = 1_024;

pub fn run(data: &Path, messages: u64, size: usize, die: bool) -> Result<Value, Failure> {
    let broker = client::open(data)?;
    let mut client = Client::new(&broker);
    let topic = client.topic("backlog", 1)?;
    let body = vec![b'x'; size];
    let (mut sent, mut stored) = (0, 0);
    let mut under_way = 0;
    let mut rates = Rates::new(messages);
    let whole = Moment::now();
    while stored < messages {
        while under_way < WINDOW && sent < messages {
            client.publish(batch(&topic, &body, BATCH_MESSAGES, Durability::Disk.into(), 0));
            sent += BATCH_MESSAGES as u64;
            under_way += 1;
        }
        let (batches, count) = client.published()?;
        under_way -= batches;
        stored += count;
        rates.pass(stored);
    }
    let mut report = whole.report(stored);
    report["publish_first"] = rates.first().into();
    report["publish_last"] = rates.last().into();
    if die {
        println!("{report}");
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    }
    let queue = topic.queue(0).ok_or("the queue is not there")?;
    let (mut offset, mut rates) = (0, Rates::new(stored));
    while offset < stored {
        offset = client.read(&queue, offset, READ_ENTRIES)?.next_offset;
        rates.pass(offset);
    }
    report["read_first"] = rates.first().into();
    report["read_last"] = rates.last().into();
    report["high_mib"] = (status_kib("VmHWM") as f64 / 1024.0).into();
    report["resident_mib"] = (status_kib("VmRSS") as f64 / 1024.0).into();
    broker.stop()?;
    for (name, folder) in [("log", "log"), ("keys", "keys"), ("store", "")] {
        let bytes = if folder.is_empty() {
            bytes_below(data)? - bytes_below(&data.join("log"))? - bytes_below(&data.join("keys"))?
        } else {
            bytes_below(&data.join(folder))?
        };
        report[format!("{name}_bytes_each")] = (bytes as f64 / stored as f64).into();
    }
    Ok(report)
}

/// Rates of one part at the beginning and one at the end.
struct Rates {
    marks: [u64; 4],
    times: [Option<Instant>; 4],
}

impl Rates {
    fn new(messages: u64) -> Rates {
        let part = PART_MESSAGES.min(messages / 4);
        Rates { marks: [part, 2 * part, messages - part, messages], times: [None; 4] }
    }

    fn pass(&mut self, count: u64) {
        for (mark, time) in self.marks.iter().zip(&mut self.times) {
            if count >= *mark {
                time.get_or_insert_with(Instant::now);
            }
        }
    }

    fn between(&self, from: usize, to: usize) -> Option<f64> {
        let seconds = self.times[to]?.duration_since(self.times[from]?).as_secs_f64();
        Some((self.marks[to] - self.marks[from]) as f64 / seconds)
    }

    fn first(&self) -> Option<f64> {
        self.between(0, 1)
    }

    fn last(&self) -> Option<f64> {
        self.between(2, 3)
    }
}

/// Bytes that the files below a folder take of the disk.
pub fn bytes_below(folder: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_below(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

/// Milliseconds from here to the first answer.
fn open_first(data: &Path) -> Result<f64, Failure> {
    let begin = Instant::now();
    let broker = client::open(data)?;
    let mut client = Client::new(&broker);
    let topic = client.topic("backlog", 1)?;
    client.publish(batch(&topic, b"first", 1, Durability::Disk.into(), 0));
    client.published()?;
    let ms = begin.elapsed().as_secs_f64() * 1e3;
    broker.stop()?;
    Ok(ms)
}

pub fn open(data: &Path) -> Result<Value, Failure> {
    Ok(json!({ "ms": open_first(data)?, "high_mib": status_kib("VmHWM") as f64 / 1024.0 }))
}
