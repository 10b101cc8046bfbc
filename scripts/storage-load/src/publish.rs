//! Publishes in a closed loop: as many batches in flight as the window says.
use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;
use serde_json::Value;

use crate::Load;
use crate::client::{Client, Failure, batch, open};
use crate::observe::Moment;

/// Seconds before anything counts.
pub const WARM_UP_S: f64 = 1.0;

pub fn run(data: &Path, load: &Load) -> Result<Value, Failure> {
    let broker = open(data)?;
    let mut client = Client::new(&broker);
    let topic = client.topic("load", load.queues)?;
    let body = vec![b'x'; load.size];
    let mut latencies = Histogram::<u64>::new(3)?;
    let (mut sent, mut first) = (std::collections::VecDeque::new(), 0u32);
    let begin = Moment::now();
    let mut measured: Option<(Moment, u64)> = None;
    loop {
        while sent.len() < load.window {
            sent.push_back(Instant::now());
            client.publish(batch(&topic, &body, load.batch, load.durability.into(), first));
            first = first.wrapping_add(load.batch as u32);
        }
        let (batches, messages) = client.published()?;
        let answered = sent.drain(..batches);
        match &mut measured {
            None if begin.seconds() >= WARM_UP_S => measured = Some((Moment::now(), 0)),
            None => {}
            Some((since, count)) => {
                *count += messages;
                for at in answered {
                    latencies.record(u64::try_from(at.elapsed().as_nanos())?)?;
                }
                if since.seconds() >= load.seconds {
                    break;
                }
            }
        }
    }
    let (since, count) = measured.ok_or("nothing was measured")?;
    let report = with_latencies(since.report(count), &latencies);
    broker.stop()?;
    Ok(report)
}

/// Adds p50 and p99, in microseconds.
pub fn with_latencies(mut report: Value, latencies: &Histogram<u64>) -> Value {
    for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99)] {
        report[name] = (latencies.value_at_quantile(quantile) as f64 / 1e3).into();
    }
    report
}
