//! What members of groups know: what they hold, and what they have settled. It knows no log.

use super::*;

/// A group on a queue, by the broker's numbers.
pub(super) type Line = (GroupId, QueueId);

/// One lease as its holder sees it.
struct Held {
    until: Duration,
    lease: u64,
}

#[derive(Default)]
pub(super) struct Lines {
    leases: BTreeMap<(Line, u64), Held>,
    /// Settlements that were acknowledged, and behind which log position their records end.
    done: BTreeMap<(Line, u64), Position>,
    /// Settlements that were asked for, and of which nobody knows.
    asked: BTreeSet<(Line, u64)>,
    /// Below, a seek may have passed entries over; and where the log ended when it was asked for.
    passed: BTreeMap<Line, (u64, Position)>,
}

impl Lines {
    /// A message was handed out: nobody else holds it, and its group has not settled it.
    pub fn delivered(&mut self, receipt: &Receipt, now: Now, lease_ms: u64) {
        let at = ((receipt.group, receipt.queue), receipt.offset);
        assert!(!self.done.contains_key(&at), "{at:?} was settled and comes back");
        if let Some(held) = self.leases.get(&at) {
            assert!(
                held.until <= now.mono,
                "{at:?} is leased until {:?} and handed out at {:?}",
                held.until,
                now.mono
            );
        }
        let until = now.mono + Duration::from_millis(lease_ms);
        self.leases.insert(at, Held { until, lease: receipt.lease });
    }

    /// A lease was given back, or is being extended.
    pub fn let_go(&mut self, receipt: &Receipt) {
        let at = ((receipt.group, receipt.queue), receipt.offset);
        if self.leases.get(&at).is_some_and(|held| held.lease == receipt.lease) {
            self.leases.remove(&at);
        }
    }

    pub fn extended(&mut self, receipt: &Receipt, until: Duration) {
        let at = ((receipt.group, receipt.queue), receipt.offset);
        self.leases.entry(at).or_insert(Held { until, lease: receipt.lease });
    }

    pub fn ask_to_settle(&mut self, receipt: &Receipt) {
        self.asked.insert(((receipt.group, receipt.queue), receipt.offset));
    }

    pub fn settled(&mut self, receipt: &Receipt, end: Position) {
        let at = ((receipt.group, receipt.queue), receipt.offset);
        // A seek that was asked for later may have taken it back.
        if self.passed.get(&at.0).is_none_or(|(_, moved_at)| end > *moved_at) {
            self.done.entry(at).or_insert(end);
        }
    }

    /// The position of a group is moved: what it had settled may come again, and what lies below `end` may not come.
    pub fn moved(&mut self, line: Line, end: u64, log_end: Position) {
        self.done.retain(|(at, _), _| *at != line);
        self.leases.retain(|(at, _), _| *at != line);
        let (passed, moved_at) = self.passed.entry(line).or_default();
        (*passed, *moved_at) = (end.max(*passed), log_end);
    }

    /// Leases end with the process. Settlements that were not synced may be gone with the power.
    pub fn crashed(&mut self, synced: Position, lost_power: bool) {
        self.leases.clear();
        if lost_power {
            self.done.retain(|_, end| *end <= synced);
        }
    }

    /// Whether a settlement was acknowledged that must hold.
    pub fn is_settled(&self, line: Line, offset: u64) -> bool {
        self.done.contains_key(&(line, offset))
    }

    /// Whether this group may leave an offset out when it gets everything that is there.
    pub fn may_miss(&self, line: Line, offset: u64) -> bool {
        let at = (line, offset);
        let passed = self.passed.get(&line).is_some_and(|(end, _)| offset < *end);
        passed || self.done.contains_key(&at) || self.asked.contains(&at)
    }
}
