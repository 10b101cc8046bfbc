//! What a filter adds to a read from memory: for each entry that its tag keeps back, and for each message that an
//! expression looks at.
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mailrail_broker::{Dialect, Filter, Queue};
use serde_json::{Value, json};

use crate::Durability;
use crate::client::{Client, Failure, batch, open};

/// All of them lie in the log's newest bytes, which are in memory.
const MESSAGES: usize = 4_096;
const READ_ENTRIES: usize = 1_024;
const ROUNDS: usize = 200;

pub fn run(data: &Path) -> Result<Value, Failure> {
    let broker = open(data)?;
    let mut client = Client::new(&broker);
    let topic = client.topic("filtered", 1)?;
    client.publish(batch(&topic, &[b'x'; 100], MESSAGES, Durability::Disk.into(), 0));
    client.published()?;
    let queue = topic.queue(0).ok_or("the queue is not there")?;
    let three_terms = "amount IS NULL AND region IS NULL AND customer IS NULL";
    let sql = Filter::all().and_sql(three_terms, Dialect::Rocketmq)?;
    let mut each = |filter: &Filter, passes: usize| per_entry_ns(&mut client, &queue, filter, passes);
    let (all, tag) = (each(&Filter::all(), MESSAGES)?, each(&Filter::tags("none")?, 0)?);
    let sql = each(&sql, MESSAGES)?;
    broker.stop()?;
    Ok(json!({ "read_ns": all, "tag_ns": tag, "sql_read_ns": sql, "sql_ns": sql - all }))
}

/// Nanoseconds for each entry of the queue, in the best of the rounds.
fn per_entry_ns(
    client: &mut Client,
    queue: &Arc<Queue>,
    filter: &Filter,
    passes: usize,
) -> Result<f64, Failure> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (begin, mut offset, mut passed) = (Instant::now(), 0, 0);
        while offset < queue.end_offset() {
            let batch = client.read_filtered(queue, offset, READ_ENTRIES, filter)?;
            passed += batch.entries.len();
            offset = batch.next_offset;
        }
        if passed != passes {
            return Err(format!("{passed} messages passed {filter}").into());
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / MESSAGES as f64);
    }
    Ok(best)
}
