//! Fault 1. The process is killed under load, 200 times in the long form: nothing acknowledged is lost at any level, and offsets stay
//! contiguous. How long a start takes after a kill is measured where there are processes, in the conformance suite.

use super::*;

#[test]
fn kills_under_load_lose_nothing_at_any_level() {
    const KILLS: Course =
        Course { operations: 200, faults: &[Fault::Kill, Fault::KillAtSegmentEnd], times: 20 };
    // 40 kills a seed: 200 in the long form.
    let seeds = if is_long() { 5 } else { 1 };
    let tallies = survive(&KILLS, seeds);
    assert!(tallies.iter().all(|tally| tally.lost_in_memory == 0), "{tallies:?}");
}
