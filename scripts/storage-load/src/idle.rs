//! What very many queues with a time to live and limits cost while nothing happens: CPU of the whole process.
use std::path::Path;
use std::time::Duration;

use mailrail_broker::*;
use serde_json::{Value, json};

use crate::client::{Client, Failure, batch, open};
use crate::observe::{Moment, status_kib};

/// Messages that wait in each queue.
const MESSAGES: usize = 3;
/// Longer than it is looked at.
const TTL_MS: u64 = 60 * 60 * 1_000;

pub fn run(data: &Path, queues: u32, seconds: f64) -> Result<Value, Failure> {
    let broker = open(data)?;
    let mut client = Client::new(&broker);
    let attributes = [
        (MESSAGE_TTL_MS, TTL_MS.to_string()),
        (EXPIRES_MS, (2 * TTL_MS).to_string()),
        (LENGTH_MAX, "1000".to_owned()),
    ];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value));
    let settings =
        TopicSettings { attributes: attributes.into_iter().collect(), ..TopicSettings::settled_queue() };
    for number in 0..queues {
        let topic = client.topic_with(&format!("queue-{number}"), settings.clone())?;
        client.publish(batch(&topic, &[b'x'; 100], MESSAGES, Durability::Memory, 0));
        client.published()?;
    }
    // The first checkpoint comes after half a minute.
    std::thread::sleep(Duration::from_secs(35));
    let begin = Moment::now();
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let report = begin.report(1);
    let cpu_us = report["cpu_us"].as_f64().ok_or("no CPU time")?;
    broker.stop()?;
    Ok(json!({
        "queues": queues,
        "seconds": report["seconds"],
        "cpu_percent": cpu_us / seconds / 1e4,
        "switches_per_s": report["switches"].as_f64().map(|switches| switches / seconds),
        "resident_mib": status_kib("VmRSS") as f64 / 1024.0,
    }))
}
