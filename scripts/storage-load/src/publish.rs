//! Publishes in a closed loop: as many batches in flight as the window says.
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hdrhistogram::Histogram;
use mailrail_broker::Topic;
use serde_json::Value;

use crate::Load;
use crate::client::{Client, Failure, batch, open};
use crate::observe::Moment;

/// Most queues of one topic here.
const QUEUES_MAX: usize = 1_000;
/// Seconds before anything counts.
pub const WARM_UP_S: f64 = 1.0;

pub fn run(data: &Path, load: &Load) -> Result<Value, Failure> {
    let broker = open(data)?;
    let mut client = Client::new(&broker);
    let topics = topics(&mut client, load.queues)?;
    let body = vec![b'x'; load.size];
    let mut latencies = Histogram::<u64>::new(3)?;
    let (mut sent, mut turn) = (VecDeque::new(), 0);
    let begin = Moment::now();
    let mut measured: Option<(Moment, u64)> = None;
    loop {
        while sent.len() < load.window {
            sent.push_back(Instant::now());
            let topic = &topics[turn % topics.len()];
            let first = u32::try_from(turn / topics.len() * load.batch % QUEUES_MAX)?;
            client.publish(batch(topic, &body, load.batch, load.durability.into(), first));
            turn += 1;
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

/// Topics that together have so many queues.
fn topics(client: &mut Client, queues: u32) -> Result<Vec<Arc<Topic>>, Failure> {
    let queues = usize::try_from(queues)?;
    let counts = (0..queues).step_by(QUEUES_MAX).map(|first| QUEUES_MAX.min(queues - first));
    counts.enumerate().map(|(n, count)| client.topic(&format!("load-{n}"), u32::try_from(count)?)).collect()
}

/// Adds p50 and p99, in microseconds.
pub fn with_latencies(mut report: Value, latencies: &Histogram<u64>) -> Value {
    for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99)] {
        report[name] = (latencies.value_at_quantile(quantile) as f64 / 1e3).into();
    }
    report
}
