//! The numbered fault tests of storage, one file each; the head of a file is the criterion. What the log alone must do is
//! tested beside it, in `storage/commitlog/tests` (`recovery.rs`: torn writes and flipped bits; `faults.rs`: power cuts at
//! every change, errors, a full disk); what real processes do, in the kills of the conformance suite. Each test prints
//! what it injected.

mod bit_flip;
mod clock;
mod failed_sync;
mod full_disk;
mod kill;
mod power_cut;
mod torn_write;

use super::seeded::{Course, Fault, Tally, run};
use super::store::FaultStore;
use super::*;

/// A start with short segments, for tests that make many.
fn open(disk: FaultDisk, store: Arc<dyn Store>, boot: &str, now: Now) -> Result<Simulation, OpenError> {
    Simulation::with_segments_of(mailrail_commitlog::SEGMENT_BYTES_MIN, disk, store, boot, now)
}

/// Whether the long forms are asked for.
fn is_long() -> bool {
    std::env::var_os("MAILRAIL_SEEDS").is_some()
}

/// Runs a course under some seeds; the oracle has seen no loss when this returns.
fn survive(course: &Course, seeds: u64) -> Vec<Tally> {
    let tallies: Vec<Tally> = (1..=seeds).map(|seed| run(seed, course)).collect();
    let mut injected = BTreeMap::new();
    for (fault, times) in tallies.iter().flat_map(|tally| &tally.faults) {
        *injected.entry(fault).or_insert(0) += times;
    }
    println!("{injected:?}, 0 lost");
    tallies
}
