//! When a publisher is told that its publishes are held back.
//!
//! A moment of congestion is felt by the socket alone: the news of it would come too late and cost more than it is
//! worth. Reads no clock, and does not know what congestion is.

use std::time::Duration;

use crate::codec::limits::CONGESTION_CHECK_MILLIS;

const CHECK: Duration = Duration::from_millis(CONGESTION_CHECK_MILLIS);

/// What one connection has seen of it. Times are monotonic.
#[derive(Debug, Default)]
pub(crate) struct Congestion {
    since: Option<Duration>,
    check_at: Option<Duration>,
}

impl Congestion {
    /// Notes whether publishes are held back now; true when the client should know.
    pub fn note(&mut self, now: Duration, is_held_back: bool) -> bool {
        if !is_held_back {
            *self = Congestion::default();
            return false;
        }
        self.check_at = Some(now + CHECK);
        now >= *self.since.get_or_insert(now) + CHECK
    }

    /// When to look again: nothing else may happen on a connection that is held back.
    pub fn deadline(&self) -> Option<Duration> {
        self.check_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn only_what_lasts_is_told_and_its_end_is_looked_for() {
        let mut congestion = Congestion::default();
        assert!(!congestion.note(at(0), false) && congestion.deadline().is_none());
        assert!(!congestion.note(at(1_000), true));
        assert!(!congestion.note(at(1_249), true));
        assert_eq!(congestion.deadline(), Some(at(1_499)));
        assert!(congestion.note(at(1_250), true) && congestion.note(at(9_000), true));
        assert!(!congestion.note(at(9_001), false) && congestion.deadline().is_none());
        assert!(!congestion.note(at(9_002), true), "another one");
    }
}
