//! Heartbeats: when to send one, and when the peer counts as gone.
//!
//! Reads no clock. Any byte counts as a sign of life; while reading is held back nothing can come, so nothing expires.

use std::time::Duration;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Nothing,
    Send,
    /// Two whole intervals without a byte.
    Dead,
}

/// Both directions of one connection. Times are monotonic.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// `None` when the client switched heartbeats off.
    interval: Option<Duration>,
    received: Duration,
    sent: Duration,
    reading: bool,
}

impl Heartbeat {
    /// No heartbeats until they are agreed on.
    pub fn off() -> Self {
        Heartbeat { interval: None, received: Duration::ZERO, sent: Duration::ZERO, reading: true }
    }

    pub fn start(&mut self, now: Duration, seconds: u16) {
        self.interval = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        (self.received, self.sent) = (now, now);
    }

    pub fn note_received(&mut self, now: Duration) {
        self.received = now;
    }

    pub fn note_sent(&mut self, now: Duration) {
        self.sent = now;
    }

    pub fn set_reading(&mut self, now: Duration, reading: bool) {
        if reading && !self.reading {
            self.received = now;
        }
        self.reading = reading;
    }

    /// When [`Heartbeat::check`] should be called next.
    pub fn deadline(&self) -> Option<Duration> {
        let interval = self.interval?;
        let send = self.sent + interval / 2;
        Some(if self.reading { send.min(self.received + interval * 2) } else { send })
    }

    pub fn check(&self, now: Duration) -> Beat {
        let Some(interval) = self.interval else { return Beat::Nothing };
        if self.reading && now >= self.received + interval * 2 {
            Beat::Dead
        } else if now >= self.sent + interval / 2 {
            Beat::Send
        } else {
            Beat::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn beats_after_half_and_dies_after_two() {
        let mut heartbeat = Heartbeat::off();
        assert_eq!((heartbeat.deadline(), heartbeat.check(at(9_999))), (None, Beat::Nothing));
        heartbeat.start(at(100), 10);
        assert_eq!((heartbeat.deadline(), heartbeat.check(at(104))), (Some(at(105)), Beat::Nothing));
        assert_eq!(heartbeat.check(at(105)), Beat::Send);
        heartbeat.note_sent(at(119));
        assert_eq!((heartbeat.deadline(), heartbeat.check(at(119))), (Some(at(120)), Beat::Nothing));
        assert_eq!(heartbeat.check(at(120)), Beat::Dead);
        heartbeat.note_received(at(118));
        assert_eq!(heartbeat.check(at(120)), Beat::Nothing);
    }

    #[test]
    fn nobody_dies_while_reading_is_held_back() {
        let mut heartbeat = Heartbeat::off();
        heartbeat.start(at(0), 10);
        heartbeat.set_reading(at(5), false);
        heartbeat.note_sent(at(98));
        assert_eq!((heartbeat.check(at(100)), heartbeat.deadline()), (Beat::Nothing, Some(at(103))));
        heartbeat.set_reading(at(100), true);
        heartbeat.note_sent(at(119));
        assert_eq!((heartbeat.check(at(119)), heartbeat.check(at(120))), (Beat::Nothing, Beat::Dead));
    }

    #[test]
    fn zero_switches_off() {
        let mut heartbeat = Heartbeat::off();
        heartbeat.start(at(0), 0);
        assert_eq!((heartbeat.deadline(), heartbeat.check(at(9_999))), (None, Beat::Nothing));
    }
}
