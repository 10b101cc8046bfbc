//! A test of the tests: each planted bug is found by some seed. The quick suite runs the seed that is known to find it,
//! the long one (`MAILRAIL_SEEDS`) looks for the first.

use mailrail_commitlog::planted::{Bug, plant};

use super::*;

/// Each bug with the first seed that finds it.
const PLANTED: [(Bug, u64); 25] = [
    (Bug::SkippedSync, 1),
    (Bug::FailedSyncCounts, 2),
    (Bug::SegmentBegunEarly, 1),
    (Bug::NameNotSynced, 1),
    (Bug::OldNameNotSynced, 2),
    (Bug::SyncedToTooHigh, 1),
    (Bug::CutTooEarly, 6),
    (Bug::OpenWithoutSync, 1),
    (Bug::AckBeforeSync, 1),
    (Bug::AckBeforeWrite, 1),
    (Bug::SeenBeforeSync, 1),
    (Bug::OffsetsNotReserved, 1),
    (Bug::OffsetsNotSkipped, 1),
    (Bug::StoreTimeGoesBack, 1),
    (Bug::CheckpointAheadOfLog, 27),
    (Bug::TrimAheadOfSnapshot, 36),
    (Bug::TrimPassesWaiting, 1),
    (Bug::SettleNotReplayed, 1),
    (Bug::ReplaySkipsTooMuch, 1),
    (Bug::DispatchNotReplayed, 1),
    (Bug::TrimPassesRecall, 1),
    (Bug::RecallNotReplayed, 1),
    (Bug::DispatchedInAnyOrder, 1),
    (Bug::DispatchedEarly, 1),
    (Bug::LeaseEndsEarly, 1),
];

/// What a seed says with a bug planted; `None` when it does not find it.
fn finding(bug: Bug, seed: u64) -> Option<String> {
    plant(Some(bug));
    let found = try_run(seed, &WHOLE).err();
    plant(None);
    found
}

#[test]
fn every_planted_bug_is_found() {
    let seeds = number_from("MAILRAIL_SEEDS");
    let mut missed = Vec::new();
    for (bug, known) in PLANTED {
        let mut among = if let Some(seeds) = seeds { 1..=seeds } else { known..=known };
        match among.find_map(|seed| Some((seed, finding(bug, seed)?))) {
            Some((seed, why)) => println!("{bug:?}: seed {seed} says: {why}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
