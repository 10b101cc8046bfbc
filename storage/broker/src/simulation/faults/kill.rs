//! Fault 1. The process is killed, 200 times under load: nothing acknowledged is lost at any level, and offsets stay
//! contiguous. How long a start takes after a kill is measured where there are processes, in the conformance suite.

use super::*;

#[test]
fn two_hundred_kills_lose_nothing_at_any_level() {
    const KILLS: Course =
        Course { operations: 1_000, faults: &[Fault::Kill, Fault::KillAtSegmentEnd], times: 100 };
    let tallies = survive(&KILLS, 1);
    assert!(tallies.iter().all(|tally| tally.lost_in_memory == 0), "{tallies:?}");
}
