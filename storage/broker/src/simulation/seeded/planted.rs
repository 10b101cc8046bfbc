//! A test of the tests: each planted bug is found by some seed. The quick suite runs the seed that is known to find it,
//! the long one (`MAILRAIL_SEEDS`) looks for the first; `MAILRAIL_BUG` names the one bug that is planted.

use mailrail_commitlog::planted::{Bug, plant};

use super::*;

/// Each bug with the first seed that finds it.
const PLANTED: [(Bug, u64); 28] = [
    (Bug::SkippedSync, 1),
    (Bug::FailedSyncCounts, 2),
    (Bug::SegmentBegunEarly, 1),
    (Bug::NameNotSynced, 1),
    (Bug::OldNameNotSynced, 1),
    (Bug::SyncedToTooHigh, 1),
    (Bug::CutTooEarly, 2),
    (Bug::OpenWithoutSync, 3),
    (Bug::AckBeforeSync, 1),
    (Bug::AckBeforeWrite, 1),
    (Bug::SeenBeforeSync, 1),
    (Bug::OffsetsNotReserved, 2),
    (Bug::OffsetsNotSkipped, 1),
    (Bug::StoreTimeGoesBack, 1),
    (Bug::CheckpointAheadOfLog, 27),
    (Bug::TrimAheadOfSnapshot, 2),
    (Bug::TrimPassesWaiting, 1),
    (Bug::SettleNotReplayed, 1),
    (Bug::ReplaySkipsTooMuch, 1),
    (Bug::DispatchNotReplayed, 1),
    (Bug::TrimPassesRecall, 3),
    (Bug::RecallNotReplayed, 1),
    (Bug::DispatchedInAnyOrder, 1),
    (Bug::DispatchedEarly, 1),
    (Bug::LeaseEndsEarly, 1),
    (Bug::HalfEndsTwice, 1),
    (Bug::RolledBackHalfCommitted, 1),
    (Bug::TrimPassesHalf, 1),
];

/// Those that show with messages that die.
const PLANTED_MORTAL: [(Bug, u64); 4] = [
    (Bug::ExpiredHandedOut, 1),
    (Bug::ExpiryNotReplayed, 1),
    (Bug::DeadLetterNotSettled, 1),
    (Bug::LengthNotLimited, 1),
];

/// Those that show where the power fails amid what was written at once.
const PLANTED_TORN: [(Bug, u64); 1] = [(Bug::AtomicGroupParted, 2)];

fn run_torn(seed: u64) -> Tally {
    run(seed, &TORN)
}

fn run_whole(seed: u64) -> Tally {
    run(seed, &WHOLE)
}

/// What a seed says with a bug planted; `None` when it does not find it.
fn finding(bug: Bug, seed: u64, run: fn(u64) -> Tally) -> Option<String> {
    plant(Some(bug));
    let found = tried(|| run(seed)).err();
    plant(None);
    found
}

#[test]
fn every_planted_bug_is_found() {
    let seeds = number_from("MAILRAIL_SEEDS");
    let mut missed = Vec::new();
    let whole = PLANTED.map(|(bug, seed)| (bug, seed, run_whole as fn(u64) -> Tally));
    let mortal = PLANTED_MORTAL.map(|(bug, seed)| (bug, seed, run_mortal as fn(u64) -> Tally));
    let torn = PLANTED_TORN.map(|(bug, seed)| (bug, seed, run_torn as fn(u64) -> Tally));
    let wanted = std::env::var("MAILRAIL_BUG").ok();
    let is_wanted = |bug: Bug| wanted.as_ref().is_none_or(|wanted| *wanted == format!("{bug:?}"));
    let all = whole.into_iter().chain(mortal).chain(torn);
    for (bug, known, run) in all.filter(|(bug, ..)| is_wanted(*bug)) {
        let mut among = if let Some(seeds) = seeds { 1..=seeds } else { known..=known };
        match among.find_map(|seed| Some((seed, finding(bug, seed, run)?))) {
            Some((seed, why)) => println!("{bug:?}: seed {seed} says: {why}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
