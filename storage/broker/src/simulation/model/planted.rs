//! A test of the test: each planted bug is found by some history. The quick suite runs the one that is known to find it;
//! with `MAILRAIL_HISTORIES` the first among so many is looked for.

use mailrail_commitlog::planted::{Bug, plant};

use super::*;

/// Each bug with the first history that finds it.
const PLANTED: [(Bug, u64); 20] = [
    (Bug::LeaseEndsEarly, 1),
    (Bug::AttemptNotCounted, 1),
    (Bug::FifoPassesRetry, 4),
    (Bug::DeathForgotten, 7),
    (Bug::OwnExpiryIgnored, 1),
    (Bug::LeasedDropped, 2),
    (Bug::SeekKeepsLeases, 1),
    (Bug::CreditNotReduced, 1),
    (Bug::TwoActive, 5),
    (Bug::NewestOfPriorityFirst, 1),
    (Bug::LengthNotLimited, 1),
    (Bug::ExpiredHandedOut, 5),
    (Bug::DispatchedEarly, 1),
    (Bug::DispatchedInAnyOrder, 1),
    (Bug::DispatchNotReplayed, 1),
    (Bug::RecallNotReplayed, 3),
    (Bug::HalfEndsTwice, 4),
    (Bug::RolledBackHalfCommitted, 12),
    (Bug::RollBackNotReplayed, 3),
    (Bug::ChecksNotCounted, 1),
];

/// What a history says with a bug planted; `None` when it does not find it.
fn finding(bug: Bug, number: u64) -> Option<String> {
    let (setup, acts) = history(number);
    plant(Some(bug));
    let found = run(&setup, &acts, &mut Counts::new()).err();
    plant(None);
    found.map(|wrong| wrong.why)
}

#[test]
fn every_planted_bug_of_delivery_is_found() {
    let mut missed = Vec::new();
    for (bug, known) in PLANTED {
        let mut among = histories().unwrap_or(known..=known);
        match among.find_map(|number| Some((number, finding(bug, number)?))) {
            Some((number, why)) => println!("{bug:?}: history {number} says: {why}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
