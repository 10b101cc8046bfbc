//! The state that all connections of one run share, and what each of them keeps for itself: when it may send (`Pace`)
//! and what was acknowledged (`Tally`).
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Longer latencies are recorded as this long.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
const LATENCY_DIGITS: u8 = 3;
const NS_PER_S: f64 = 1e9;

/// Shared by all connections. Everything is a plain counter or flag, read and written once per batch.
pub struct Run {
    epoch: Instant,
    /// Latencies are recorded while this is set.
    measuring: AtomicBool,
    stopped: AtomicBool,
    messages: AtomicU64,
    /// Messages that may still be requested; only counted down when the run has a goal.
    left: AtomicI64,
    goal: Option<u64>,
}

impl Run {
    pub fn new(goal: Option<u64>) -> Self {
        Self {
            epoch: Instant::now(),
            measuring: AtomicBool::new(goal.is_some()),
            stopped: AtomicBool::new(false),
            messages: AtomicU64::new(0),
            left: AtomicI64::new(goal.map_or(i64::MAX, |goal| i64::try_from(goal).unwrap_or(i64::MAX))),
            goal,
        }
    }

    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub fn measure(&self, measuring: bool) {
        self.measuring.store(measuring, Ordering::Relaxed);
    }

    pub fn is_measuring(&self) -> bool {
        self.measuring.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn reached_goal(&self) -> bool {
        self.goal.is_some_and(|goal| self.messages() >= goal)
    }

    fn reserve(&self, messages: usize) -> bool {
        if self.is_stopped() {
            return false;
        }
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        self.goal.is_none() || self.left.fetch_sub(messages, Ordering::Relaxed) > 0
    }
}

/// When one connection may send its next request.
pub struct Pace<'a> {
    run: &'a Run,
    batch: usize,
    /// Open loop: nanoseconds between two requests of this connection, and when the next one is due.
    schedule: Option<(f64, f64)>,
}

impl<'a> Pace<'a> {
    /// `requests_per_s` is this connection's share; `phase` (0 to 1) spreads the connections over one interval.
    pub fn new(run: &'a Run, batch: usize, requests_per_s: Option<f64>, phase: f64) -> Self {
        let begin_ns = run.now_ns() as f64;
        let schedule = requests_per_s.map(|rate| (NS_PER_S / rate, begin_ns + phase * NS_PER_S / rate));
        Self { run, batch, schedule }
    }

    /// Leave to send one request, with the time from which its latency counts: now, or in an open loop when it was due,
    /// so that a server that stalls cannot hide behind the requests it kept from being sent.
    pub fn next(&mut self, now_ns: u64) -> Option<u64> {
        let started_ns = match self.schedule {
            None => now_ns,
            Some((_, due_ns)) if due_ns > now_ns as f64 => return None,
            Some((_, due_ns)) => due_ns as u64,
        };
        if !self.run.reserve(self.batch) {
            return None;
        }
        if let Some((interval_ns, due_ns)) = &mut self.schedule {
            *due_ns += *interval_ns;
        }
        Some(started_ns)
    }

    pub fn is_stopped(&self) -> bool {
        self.run.is_stopped()
    }

    /// How long until the next request is due; `None` in a closed loop.
    pub fn wait(&self, now_ns: u64) -> Option<Duration> {
        let (_, due_ns) = self.schedule?;
        Some(Duration::from_nanos((due_ns - now_ns as f64).max(0.0) as u64))
    }
}

/// What one connection saw acknowledged.
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS).expect("the bounds are constants"))
    }

    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// Microseconds at `quantile` (0 to 1).
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    pub fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }
}

/// Counts the answers found in one read, and publishes them when it is dropped.
pub struct Tally<'a> {
    run: &'a Run,
    latencies: &'a mut Latencies,
    now_ns: u64,
    measuring: bool,
    messages: u64,
}

impl<'a> Tally<'a> {
    pub fn new(run: &'a Run, latencies: &'a mut Latencies) -> Self {
        Self { run, latencies, now_ns: run.now_ns(), measuring: run.is_measuring(), messages: 0 }
    }

    /// One request of `messages` messages, begun at `started_ns`, was acknowledged.
    pub fn acknowledged(&mut self, messages: u64, started_ns: u64) {
        self.messages += messages;
        self.record(self.now_ns.saturating_sub(started_ns));
    }

    /// One message arrived, `age_ns` after it was due at its publisher.
    pub fn arrived(&mut self, age_ns: u64) {
        self.messages += 1;
        self.record(age_ns);
    }

    fn record(&mut self, latency_ns: u64) {
        if self.measuring {
            self.latencies.0.saturating_record(latency_ns.clamp(1, LATENCY_NS_MAX));
        }
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.run.messages.fetch_add(self.messages, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_requested_in_full_and_not_far_beyond() {
        let run = Run::new(Some(10));
        let mut pace = Pace::new(&run, 4, None, 0.0);
        let requests = (0..20).filter(|_| pace.next(0).is_some()).count();
        assert_eq!(requests, 3, "three requests of four messages cover ten");
    }

    #[test]
    fn an_open_loop_counts_latency_from_when_a_request_was_due() {
        let run = Run::new(None);
        let mut pace = Pace::new(&run, 1, Some(1000.0), 0.0);
        let late_ns = run.now_ns() + 3_500_000;
        let started: Vec<_> = std::iter::from_fn(|| pace.next(late_ns)).collect();
        assert!(started.len() >= 4, "{started:?}");
        assert!(started.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000), "{started:?}");
        assert!(pace.wait(late_ns).is_some_and(|wait| wait <= Duration::from_millis(1)));
    }

    #[test]
    fn a_stopped_run_sends_nothing() {
        let run = Run::new(None);
        run.stop();
        assert_eq!(Pace::new(&run, 1, None, 0.0).next(5), None);
    }

    #[test]
    fn latencies_count_only_while_measuring_and_messages_always() {
        let run = Run::new(None);
        let mut latencies = Latencies::new();
        Tally::new(&run, &mut latencies).acknowledged(3, 0);
        assert_eq!((run.messages(), latencies.max_us()), (3, 0.0));
        run.measure(true);
        let mut tally = Tally::new(&run, &mut latencies);
        tally.now_ns = 5_000;
        tally.acknowledged(1, 3_000);
        drop(tally);
        assert_eq!(run.messages(), 4);
        assert!((latencies.quantile_us(0.5) - 2.0).abs() < 0.01);
    }
}
