//! A broker's life from one seed: which operations, which faults, which part of the broker gets on when, and what the
//! clock shows. An oracle that knows only what clients were told looks on. `MAILRAIL_SEED=7 cargo test -p
//! mailrail-broker seeded` runs one seed again; `MAILRAIL_SEEDS=1000` runs many.

mod acts;
mod faults;
mod halves;
mod ledger;
mod lines;
mod mortal;
mod planted;
mod random;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) use self::faults::Fault;
use self::halves::Half;
use self::ledger::{Ledger, number_of};
use self::lines::Lines;
use self::mortal::Mortals;
use self::random::Random;
use self::world::World;
use super::store::FaultStore;
use super::*;

/// Seeds of the quick suite, from 1 on.
const SEEDS: u64 = 3;
/// And those that have found something: a kept file that was replaced by one for other positions, a trimmed queue that
/// forgot a gap, a trim past what was not seen yet, an open that finished a trim which had not begun, a kept file
/// that was replaced before the settlement of what it held was safe.
const FINDERS: [u64; 5] = [47, 49, 54, 85, 203];

/// How long a run is, and which faults happen how often.
#[derive(Clone, Copy)]
pub(super) struct Course {
    pub operations: u64,
    pub faults: &'static [Fault],
    pub times: u64,
}

/// Every fault twice.
const WHOLE: Course = Course { operations: 1_000, faults: &Fault::ALL, times: 2 };

/// Power cuts amid what was written at once, and nothing else.
const TORN: Course =
    Course { operations: 1_000, faults: &[Fault::PowerCutTorn, Fault::PowerCutPages], times: 60 };

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    operations: u64,
    pub faults: BTreeMap<Fault, u64>,
    acknowledged: u64,
    settled: u64,
    timers: u64,
    recalled: u64,
    /// Half messages committed, asked for, and ended a second time; groups of messages that were stored together.
    committed: u64,
    checks: u64,
    ended_before: u64,
    together: u64,
    /// Starts after which the state was compared with the one before.
    compared: u64,
    starts: u64,
    pub lost_in_memory: u64,
    trimmed_bytes: u64,
    /// Messages in the grave at the end, by reason.
    deaths: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.settled += other.settled;
        self.timers += other.timers;
        self.recalled += other.recalled;
        self.committed += other.committed;
        self.checks += other.checks;
        self.ended_before += other.ended_before;
        self.together += other.together;
        self.compared += other.compared;
        self.starts += other.starts;
        self.lost_in_memory += other.lost_in_memory;
        self.trimmed_bytes += other.trimmed_bytes;
        for (reason, times) in &other.deaths {
            *self.deaths.entry(reason).or_default() += times;
        }
        for (fault, times) in &other.faults {
            *self.faults.entry(*fault).or_default() += times;
        }
    }
}

/// Runs a seed to its end; panics where something is wrong.
pub(super) fn run(seed: u64, course: &Course) -> Tally {
    live(World::new(seed, course), course)
}

/// As [`run`], with every fault, and half of the acts on messages that expire, are too many, or are rejected.
fn run_mortal(seed: u64) -> Tally {
    let mut world = World::new(seed, &WHOLE);
    world.set_up_mortals();
    live(world, &WHOLE)
}

fn live(mut world: World, course: &Course) -> Tally {
    for operation in 0..course.operations {
        world.operate(operation);
    }
    world.finish()
}

/// Runs a seed; the error is what the oracle, or an assertion of the product, found.
fn try_run(seed: u64, course: &Course) -> Result<Tally, String> {
    tried(|| run(seed, course))
}

fn tried(run: impl FnOnce() -> Tally) -> Result<Tally, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn whatever_fails_no_promise_is_broken() {
    let seeds: Vec<u64> = match (number_from("MAILRAIL_SEED"), number_from("MAILRAIL_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(seeds)) => (1..=seeds).collect(),
        (None, None) => (1..=SEEDS).chain(FINDERS).collect(),
    };
    let mut all = Tally::default();
    for seed in seeds {
        match try_run(seed, &WHOLE) {
            Ok(tally) => all.add(&tally),
            Err(why) => panic!(
                "seed {seed}: {why}\nagain: MAILRAIL_SEED={seed} cargo test -p mailrail-broker \
                 whatever_fails_no_promise_is_broken"
            ),
        }
    }
    println!("{all:?}, 0 lost");
    assert!(all.faults.len() >= 5 && all.compared * 4 >= all.starts, "{all:?}");
}

#[test]
fn whatever_fails_each_message_lives_or_dies_once() {
    let seeds: Vec<u64> = match (number_from("MAILRAIL_SEED"), number_from("MAILRAIL_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, seeds) => (1..=seeds.unwrap_or(SEEDS)).collect(),
    };
    let mut all = Tally::default();
    for seed in seeds {
        match tried(|| run_mortal(seed)) {
            Ok(tally) => all.add(&tally),
            Err(why) => panic!(
                "seed {seed}: {why}\nagain: MAILRAIL_SEED={seed} cargo test -p mailrail-broker \
                 whatever_fails_each_message_lives_or_dies_once"
            ),
        }
    }
    println!("{all:?}");
    assert_eq!(all.deaths.keys().copied().collect::<Vec<_>>(), ["expired", "maxlen", "rejected"], "{all:?}");
}

#[test]
fn power_cuts_part_nothing_that_was_stored_together() {
    let mut all = Tally::default();
    for seed in 1..=number_from("MAILRAIL_SEEDS").unwrap_or(SEEDS) {
        all.add(&run(seed, &TORN));
    }
    assert!(all.together > 20 && all.committed > 20, "{all:?}");
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let course = Course { operations: 200, ..WHOLE };
    let again = || format!("{:?}", try_run(3, &course));
    assert_eq!(again(), again());
}
