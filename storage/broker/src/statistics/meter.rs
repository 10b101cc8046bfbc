//! Counters with as much of their past as their rates need.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Stretches of time, in seconds, at whose beginnings counts are noted: of each kind, as many as a rate covers.
const STEPS_S: [u64; 3] = [10, 100, 600];
/// Stretches that a rate covers: a minute, ten minutes, an hour.
const STEPS_COVERED: u64 = 6;
/// The current stretch is noted too.
const SAMPLES: usize = 7;

/// Some counters that only grow. Anybody may add; each add is for a batch.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Meter<const N: usize> {
    /// Number of the shortest stretch that is noted, plus 1; 0 = none is.
    noted: AtomicU64,
    counters: [AtomicU64; N],
    history: Mutex<Option<Box<History<N>>>>,
}

/// What the counts were when stretches began, by the number of the stretch.
#[derive(Debug)]
struct History<const N: usize> {
    rings: [[Option<Sample<N>>; SAMPLES]; STEPS_S.len()],
}

#[derive(Clone, Copy, Debug)]
struct Sample<const N: usize> {
    step: u64,
    counts: [u64; N],
}

/// Growth per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Over the last minute, and up to ten seconds more.
    pub minute: f64,
    /// Over the last ten minutes, and up to 100 seconds more.
    pub ten_minutes: f64,
    /// Over the last hour, and up to ten minutes more.
    pub hour: f64,
}

/// A count since the broker started, and how it grows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    pub total: u64,
    pub per_second: Rates,
}

impl Count {
    pub(crate) fn plus(self, other: Count) -> Count {
        let (a, b) = (self.per_second, other.per_second);
        Count {
            total: self.total.saturating_add(other.total),
            per_second: Rates {
                minute: a.minute + b.minute,
                ten_minutes: a.ten_minutes + b.ten_minutes,
                hour: a.hour + b.hour,
            },
        }
    }
}

impl<const N: usize> Default for Meter<N> {
    fn default() -> Self {
        Meter {
            noted: AtomicU64::new(0),
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
            history: Mutex::default(),
        }
    }
}

impl<const N: usize> Meter<N> {
    /// Adds what a batch came to. `now` is monotonic.
    pub fn add(&self, now: Duration, amounts: &[u64; N]) {
        let [shortest, ..] = STEPS_S;
        if self.noted.load(Ordering::Relaxed) <= now.as_secs() / shortest {
            self.note(now);
        }
        for (counter, amount) in self.counters.iter().zip(amounts).filter(|(_, amount)| **amount > 0) {
            counter.fetch_add(*amount, Ordering::Relaxed);
        }
    }

    /// A stretch of time has begun since the last add: until now the counts were what they are.
    fn note(&self, now: Duration) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let history =
            history.get_or_insert_with(|| Box::new(History { rings: [[None; SAMPLES]; STEPS_S.len()] }));
        let counts = self.counts();
        for (ring, step_s) in history.rings.iter_mut().zip(STEPS_S) {
            let step = now.as_secs() / step_s;
            let at = usize::try_from(step).map_or(0, |step| step % SAMPLES);
            if let Some(place) = ring.get_mut(at)
                && place.is_none_or(|sample| sample.step < step)
            {
                *place = Some(Sample { step, counts });
            }
        }
        let [shortest, ..] = STEPS_S;
        self.noted.fetch_max(now.as_secs() / shortest + 1, Ordering::Relaxed);
    }

    pub fn counts(&self) -> [u64; N] {
        std::array::from_fn(|at| self.counters.get(at).map_or(0, |counter| counter.load(Ordering::Relaxed)))
    }

    /// The counts, with their rates at a monotonic time. Nothing was counted before `started`.
    pub fn read(&self, now: Duration, started: Duration) -> [Count; N] {
        let totals = self.counts();
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(history) = &*history else { return totals.map(|total| Count { total, ..Count::default() }) };
        let mut rates = history.rings.iter().zip(STEPS_S).map(|(ring, step_s)| {
            let first = (now.as_secs() / step_s).saturating_sub(STEPS_COVERED);
            // Nothing was added between the beginning of that stretch and the first one noted since.
            let noted = ring.iter().flatten().filter(|sample| sample.step >= first);
            let before = noted.min_by_key(|sample| sample.step).map_or(totals, |sample| sample.counts);
            let from = Duration::from_secs(first * step_s).max(started);
            let seconds = now.saturating_sub(from).as_secs_f64().max(1.0);
            std::array::from_fn::<f64, N, _>(|at| {
                let count = |counts: &[u64; N]| counts.get(at).copied().unwrap_or_default();
                float(count(&totals).saturating_sub(count(&before))) / seconds
            })
        });
        let mut next = || rates.next().unwrap_or([0.0; N]);
        let (minute, ten_minutes, hour) = (next(), next(), next());
        std::array::from_fn(|at| {
            let rate = |rates: &[f64; N]| rates.get(at).copied().unwrap_or_default();
            let (minute, ten_minutes, hour) = (rate(&minute), rate(&ten_minutes), rate(&hour));
            let total = totals.get(at).copied().unwrap_or_default();
            Count { total, per_second: Rates { minute, ten_minutes, hour } }
        })
    }

    #[cfg(test)]
    pub fn has_history(&self) -> bool {
        self.history.lock().is_ok_and(|history| history.is_some())
    }
}

#[expect(clippy::as_conversions, reason = "a rate may be off by the rounding of a float")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn read(meter: &Meter<1>, seconds: f64) -> Count {
        let [count] = meter.read(at(seconds), Duration::ZERO);
        count
    }

    fn is_about(rate: f64, expected: f64) -> bool {
        (rate - expected).abs() < 1e-9
    }

    #[test]
    fn what_never_moved_has_no_history() {
        let meter = Meter::<2>::default();
        assert_eq!(meter.read(at(5_000.0), Duration::ZERO), [Count::default(); 2]);
        assert!(!meter.has_history());
        meter.add(at(5_000.0), &[0, 1]);
        assert!(meter.has_history());
    }

    #[test]
    fn a_steady_rate_is_the_same_over_every_time() {
        let meter = Meter::default();
        for second in 0..8_000 {
            meter.add(at(f64::from(second)), &[3]);
        }
        let Count { total, per_second } = read(&meter, 8_000.0);
        assert_eq!(total, 24_000);
        for rate in [per_second.minute, per_second.ten_minutes, per_second.hour] {
            assert!(is_about(rate, 3.0), "{per_second:?}");
        }
    }

    #[test]
    fn a_burst_leaves_the_rates_one_after_the_other() {
        let meter = Meter::default();
        meter.add(at(10_000.0), &[6_000]);
        let rates = |seconds| read(&meter, seconds).per_second;
        assert!(is_about(rates(10_060.0).minute, 100.0), "{:?}", rates(10_060.0));
        assert_eq!(rates(10_070.0).minute, 0.0, "no add was needed for that");
        assert!(rates(10_070.0).ten_minutes > 0.0 && rates(10_700.0).ten_minutes == 0.0);
        assert!(rates(10_700.0).hour > 0.0 && rates(14_400.0).hour == 0.0);
        assert_eq!(read(&meter, 20_000.0).total, 6_000);
    }

    #[test]
    fn after_a_pause_only_what_came_since_counts() {
        let meter = Meter::default();
        meter.add(at(0.0), &[1_000_000]);
        meter.add(at(50_000.0), &[600]);
        meter.add(at(50_001.0), &[600]);
        let Count { total, per_second } = read(&meter, 50_060.0);
        assert_eq!(total, 1_001_200);
        assert!(is_about(per_second.minute, 20.0), "{per_second:?}");
    }

    #[test]
    fn a_young_broker_divides_by_the_time_that_it_has_run() {
        let meter = Meter::default();
        let started = at(1_000_000.0);
        meter.add(at(1_000_001.0), &[500]);
        let [count] = meter.read(at(1_000_005.0), started);
        let Rates { minute, ten_minutes, hour } = count.per_second;
        assert!([minute, ten_minutes, hour].iter().all(|rate| is_about(*rate, 100.0)), "{count:?}");
        let [count] = meter.read(started, started);
        assert!(is_about(count.per_second.minute, 500.0), "less than a second counts as one: {count:?}");
    }

    #[test]
    fn whoever_looked_at_the_clock_a_little_earlier_changes_no_note() {
        let meter = Meter::default();
        meter.add(at(100.0), &[10]);
        meter.add(at(110.0), &[10]);
        meter.add(at(109.9), &[10]);
        assert_eq!(read(&meter, 111.0).total, 30);
        assert!(is_about(read(&meter, 170.0).per_second.minute, 20.0 / 60.0));
    }

    #[test]
    fn adds_of_many_threads_are_all_counted() {
        let meter = Meter::<1>::default();
        std::thread::scope(|scope| {
            for thread in 0..4u32 {
                let meter = &meter;
                scope.spawn(move || {
                    (0..1_000u32).for_each(|add| meter.add(at(f64::from(add + thread)), &[1]));
                });
            }
        });
        assert_eq!(read(&meter, 1_003.0).total, 4_000);
    }
}
