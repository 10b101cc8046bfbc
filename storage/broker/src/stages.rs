//! How long batches take on their way: one histogram a stage, recorded per batch. Names are those that operators see.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mailrail_commitlog::Position;
use metrics::{Counter, Histogram, counter, histogram};

use crate::time::Clock;

/// Measures wake-ups: from a letter being left to its session looking.
#[derive(Clone)]
pub(crate) struct WakeMeter {
    clock: Arc<dyn Clock>,
    histogram: Histogram,
}

impl WakeMeter {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        WakeMeter { clock, histogram: stage("wake") }
    }

    pub fn now(&self) -> Duration {
        self.clock.now().mono
    }

    /// A session looks at what was left for it at `left`.
    pub fn looked(&self, left: Duration) {
        self.histogram.record(self.now().saturating_sub(left));
    }
}

impl std::fmt::Debug for WakeMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WakeMeter")
    }
}

/// Counts messages read by offset, per batch.
#[derive(Clone)]
pub(crate) struct ReadMeter {
    messages: Counter,
}

impl ReadMeter {
    pub fn new() -> Self {
        ReadMeter { messages: counter!("mailrail_read_messages_total") }
    }

    pub fn read(&self, messages: usize) {
        self.messages.increment(u64::try_from(messages).unwrap_or(u64::MAX));
    }
}

/// Measures the shard's own stages, and counts what goes through it.
pub(crate) struct ShardMeter {
    shard_wait: Histogram,
    write: Histogram,
    sync: Histogram,
    published: Counter,
    published_bytes: Counter,
    delivered: Counter,
    submitted: VecDeque<(Position, Duration)>,
    written: VecDeque<(Position, Duration)>,
}

impl ShardMeter {
    pub fn new() -> Self {
        ShardMeter {
            shard_wait: stage("shard_wait"),
            write: stage("write"),
            sync: stage("sync"),
            published: counter!("mailrail_published_messages_total"),
            published_bytes: counter!("mailrail_published_bytes_total"),
            delivered: counter!("mailrail_delivered_messages_total"),
            submitted: VecDeque::new(),
            written: VecDeque::new(),
        }
    }

    /// Commands that were handed over at `since` are looked at.
    pub fn waited(&self, since: Duration, now: Duration) {
        self.shard_wait.record(now.saturating_sub(since));
    }

    /// Everything below `end` was handed to the log.
    pub fn submitted(&mut self, end: Position, now: Duration) {
        if self.submitted.back().is_none_or(|(last, _)| *last < end) {
            self.submitted.push_back((end, now));
        }
    }

    pub fn written(&mut self, to: Position, now: Duration) {
        while let Some((end, since)) = self.submitted.pop_front_if(|(end, _)| *end <= to) {
            self.write.record(now.saturating_sub(since));
            self.written.push_back((end, now));
        }
    }

    pub fn synced(&mut self, to: Position, now: Duration) {
        self.written(to, now);
        while let Some((_, since)) = self.written.pop_front_if(|(end, _)| *end <= to) {
            self.sync.record(now.saturating_sub(since));
        }
    }

    pub fn counted(&self, published: u64, published_bytes: u64, delivered: u64) {
        self.published.increment(published);
        self.published_bytes.increment(published_bytes);
        self.delivered.increment(delivered);
    }
}

fn stage(name: &'static str) -> Histogram {
    histogram!("mailrail_stage_seconds", "stage" => name)
}
