//! Numbers for operators: the recorder behind `/metrics`, and what is counted of connections. Everything is counted per
//! batch, never per message.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 14] =
    [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.25, 1.0];

/// Installs the recorder. To be called once, before anything counts.
pub fn install() -> Result<PrometheusHandle, String> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| format!("metrics cannot be recorded: {error}"))?;
    describe_counter!("mailrail_received_bytes_total", "Bytes read from clients.");
    describe_counter!("mailrail_sent_bytes_total", "Bytes written to clients.");
    describe_counter!("mailrail_connections_total", "Connections accepted.");
    describe_gauge!("mailrail_connections", "Connections open.");
    describe_histogram!("mailrail_stage_seconds", "Time a batch spends in a stage.");
    describe_counter!("mailrail_published_messages_total", "Messages stored.");
    describe_counter!("mailrail_duplicates_total", "Messages that were sent again and not stored.");
    describe_counter!("mailrail_published_bytes_total", "Bytes of messages stored.");
    describe_counter!("mailrail_delivered_messages_total", "Messages handed to consumers by lease.");
    describe_counter!("mailrail_read_messages_total", "Messages read by offset.");
    describe_counter!(
        "mailrail_lost_messages_total",
        "Messages that were gone before a group was handed them."
    );
    describe_counter!(
        "mailrail_trace_lost_steps_total",
        "Steps of traced messages that could not be written."
    );
    describe_counter!("mailrail_damaged_messages_total", "Stored messages that readers found damaged.");
    describe_counter!(
        "mailrail_log_faults_total",
        "Failed writes or syncs of the log: it takes nothing more."
    );
    describe_gauge!("mailrail_memory_budget_bytes", "The memory budget.");
    describe_gauge!("mailrail_memory_share_bytes_max", "What a share of the memory budget allows.");
    describe_gauge!("mailrail_memory_share_bytes", "What is used of a share of the memory budget.");
    Ok(handle)
}

type Look = Box<dyn Fn() -> u64 + Send + Sync>;

/// The memory budget and what is used of it, looked at whenever somebody asks for the metrics.
#[derive(Default)]
pub struct MemoryMeter {
    shares: Vec<(Gauge, Look)>,
}

impl MemoryMeter {
    pub fn new(budget_bytes: u64) -> MemoryMeter {
        gauge!("mailrail_memory_budget_bytes").set(float(budget_bytes));
        MemoryMeter::default()
    }

    /// Adds a share, with what it allows and how to see what is used of it.
    pub fn with(
        mut self,
        share: &'static str,
        bytes_max: u64,
        used: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> MemoryMeter {
        gauge!("mailrail_memory_share_bytes_max", "share" => share).set(float(bytes_max));
        self.shares.push((gauge!("mailrail_memory_share_bytes", "share" => share), Box::new(used)));
        self
    }

    pub fn look(&self) {
        self.shares.iter().for_each(|(gauge, used)| gauge.set(float(used())));
    }
}

fn float(bytes: u64) -> f64 {
    bytes as f64
}

/// Counts what one protocol's connections do.
#[derive(Clone)]
pub struct ConnectionMeter {
    accepted: Counter,
    open: Gauge,
    received: Counter,
    sent: Counter,
    decode: Histogram,
}

impl ConnectionMeter {
    pub fn new(protocol: &'static str) -> Self {
        ConnectionMeter {
            accepted: counter!("mailrail_connections_total", "protocol" => protocol),
            open: gauge!("mailrail_connections", "protocol" => protocol),
            received: counter!("mailrail_received_bytes_total", "protocol" => protocol),
            sent: counter!("mailrail_sent_bytes_total", "protocol" => protocol),
            decode: histogram!("mailrail_stage_seconds", "stage" => "decode"),
        }
    }

    /// Counts a connection, as open until what is returned goes.
    pub fn opened(&self) -> OpenConnection {
        self.accepted.increment(1);
        self.open.increment(1.0);
        OpenConnection { open: self.open.clone() }
    }

    pub fn received(&self, bytes: usize) {
        self.received.increment(bytes as u64);
    }

    pub fn sent(&self, bytes: usize) {
        self.sent.increment(bytes as u64);
    }

    pub fn decoded(&self, took: Duration) {
        self.decode.record(took);
    }
}

/// A connection that is counted as open, however its task ends.
pub struct OpenConnection {
    open: Gauge,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.decrement(1.0);
    }
}
