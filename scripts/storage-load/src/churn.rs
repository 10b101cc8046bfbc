//! Much goes through one queue while a little stays in another: what memory and disk that takes in the long run.
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mailrail_broker::*;
use serde_json::{Value, json};

use crate::client::{self, Client, Failure};
use crate::observe::status_kib;

const BATCH_MESSAGES: usize = 64;
/// Batches that are published before they are consumed.
const WINDOW: usize = 16;
const RECEIVE_MESSAGES: u32 = 1_024;
const LEASE_MS: u64 = 60_000;
const BYTES_PER_GB: u64 = 1_000_000_000;
/// Memory is compared with what it was after so much.
const SETTLED_GB: u64 = 2;

/// Publishes and consumes so many GB of bodies. Reports, in MiB: resident memory after the first 2 GB, its greatest value
/// from then on, and that at the end; bytes of the bodies that stay, and the most that the folder took, looked at each GB.
pub fn run(data: &Path, gb: u64, stays: u64, size: usize) -> Result<Value, Failure> {
    let broker = client::open(data)?;
    let mut client = Client::new(&broker);
    let body = vec![b'x'; size];
    let kept = client.topic_with("kept", TopicSettings::settled_queue())?;
    for _ in 0..stays / BATCH_MESSAGES as u64 {
        client.publish(client::batch(&kept, &body, BATCH_MESSAGES, Durability::Disk, 0));
        client.published()?;
    }
    let passing = client.topic_with("passing", TopicSettings::settled_queue())?;
    client.group("passing", GroupSettings::at_once())?;
    let round_bytes = (WINDOW * BATCH_MESSAGES * size) as u64;
    let (begin, mut done, mut looked) = (Instant::now(), 0, 0);
    let (mut settled_kib, mut most_kib, mut most_bytes) = (0, 0, 0);
    while done < gb * BYTES_PER_GB {
        pass(&mut client, &passing, &body)?;
        done += round_bytes;
        if done / BYTES_PER_GB > looked {
            looked = done / BYTES_PER_GB;
            most_bytes = most_bytes.max(folder_bytes(data)?);
            if looked >= SETTLED_GB {
                let kib = status_kib("VmRSS");
                settled_kib = if settled_kib == 0 { kib } else { settled_kib };
                most_kib = most_kib.max(kib);
            }
        }
    }
    let mib = |kib: u64| kib as f64 / 1024.0;
    let report = json!({
        "gb": gb,
        "messages_per_s": done as f64 / size as f64 / begin.elapsed().as_secs_f64(),
        "rss_settled_mib": mib(settled_kib),
        "rss_most_mib": mib(most_kib),
        "rss_end_mib": mib(status_kib("VmRSS")),
        "stays_mib": mib(stays * size as u64 / 1024),
        "disk_most_mib": mib(most_bytes / 1024),
        "disk_end_mib": mib(folder_bytes(data)? / 1024),
    });
    broker.stop()?;
    Ok(report)
}

/// Publishes some batches, and consumes and acknowledges what there is.
fn pass(client: &mut Client, topic: &Arc<Topic>, body: &[u8]) -> Result<(), Failure> {
    for _ in 0..WINDOW {
        client.publish(client::batch(topic, body, BATCH_MESSAGES, Durability::Disk, 0));
    }
    let mut answered = 0;
    while answered < WINDOW {
        answered += client.published()?.0;
    }
    let mut left = WINDOW * BATCH_MESSAGES;
    while left > 0 {
        client.session.keep_held(0);
        let (token, wait_ms, lease_ms) = (Token(4), 10_000, LEASE_MS);
        let (group, name) = (topic.name.clone(), topic.name.clone());
        let receive = Command::Receive {
            token,
            group,
            topic: name,
            max: RECEIVE_MESSAGES,
            wait_ms,
            lease_ms,
            filter: None,
        };
        client.session.submit(vec![receive]);
        let mut receipts = Vec::new();
        for event in client.events()? {
            let Event::Deliveries { deliveries, .. } = event else { return Err(format!("{event:?}").into()) };
            receipts.extend(deliveries.iter().map(|delivery| delivery.receipt));
        }
        left = left.saturating_sub(receipts.len());
        client.session.submit(vec![Command::Settle { token: None, receipts, outcome: Outcome::Ack }]);
    }
    Ok(())
}

/// Bytes that a folder takes on the disk.
fn folder_bytes(folder: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // A file may go while it is looked at.
        let Ok(found) = path.symlink_metadata() else { continue };
        bytes += if found.is_dir() { folder_bytes(&path)? } else { found.blocks() * 512 };
    }
    Ok(bytes)
}
