//! A model of the delivery core, and random histories after each step of which the broker is where the model is. The
//! model is made of plain lists and knows no log; where the outcome is open, it says what is allowed.
//! `MAILRAIL_HISTORIES=10000` runs as many, and `MAILRAIL_HISTORIES=101..200` those.

mod acts;
mod broker;
mod consuming;
mod halves;
mod leases;
mod line;
mod locks;
mod observing;
mod planted;
mod producing;
mod publishing;
mod queue;
mod restarts;
mod rig;
mod subscription;
mod time;
mod waiting;

use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::acts::{Act, GROUPS, Setup, TOPICS};
use self::rig::Rig;
use super::*;

/// What a check says: nothing, or what is wrong.
type Said<T = ()> = Result<T, String>;

/// Says what is wrong where a condition does not hold.
macro_rules! must {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}
use must;

const ACTS: usize = 200;
/// Histories of the quick suite.
const HISTORIES: u64 = 50;

type Counts = BTreeMap<&'static str, u64>;

/// What must happen in the quick suite, at least ten times.
const HAPPENS: [&str; 42] = [
    "acks",
    "cancels",
    "checks",
    "clock jumps",
    "commits",
    "consumers",
    "credits",
    "dead letters: attempts used up",
    "dead letters: expired",
    "dead letters: rejected",
    "dead letters: too many",
    "deliveries",
    "disconnects",
    "ends of no half message",
    "ends that came second",
    "gets of nothing",
    "half messages",
    "half messages committed",
    "half messages rolled back",
    "leases extended",
    "leases that ended with their session",
    "leases that ended with time",
    "locks",
    "locks refused",
    "messages purged",
    "messages that waited",
    "passed over: expired",
    "power cuts",
    "recalls",
    "recalls that were too late",
    "receives of nothing",
    "redeliveries",
    "refused because full",
    "refused commits",
    "refused consumers",
    "refused receipts",
    "refused requests",
    "releases",
    "retries",
    "seeks",
    "waits of messages",
    "waits that ended",
];

/// A history that went wrong: after so many acts, and how.
struct Wrong {
    acts: usize,
    why: String,
}

fn run(setup: &Setup, acts: &[Act], counts: &mut Counts) -> Result<(), Wrong> {
    let done = catch_unwind(AssertUnwindSafe(|| {
        let mut rig = Rig::new(setup).map_err(|why| Wrong { acts: 0, why })?;
        for (step, act) in acts.iter().enumerate() {
            rig.act(act).map_err(|why| Wrong { acts: step + 1, why })?;
        }
        rig.finish().map_err(|why| Wrong { acts: acts.len(), why: format!("at the end: {why}") })?;
        for (what, times) in rig.counts() {
            *counts.entry(what).or_default() += times;
        }
        Ok(())
    }));
    done.unwrap_or_else(|_| Err(Wrong { acts: acts.len(), why: "a panic, see above".to_owned() }))
}

/// The acts without those that a history goes wrong without, and how it does.
fn shrink(setup: &Setup, acts: &[Act], wrong: Wrong) -> (Vec<Act>, String) {
    let (mut acts, mut why) = (acts[..wrong.acts].to_vec(), wrong.why);
    let mut step = acts.len().div_ceil(2);
    while step > 0 {
        let mut at = 0;
        while at < acts.len() {
            let mut fewer = acts.clone();
            fewer.drain(at..acts.len().min(at + step));
            match run(setup, &fewer, &mut Counts::new()) {
                Err(wrong) => (acts, why) = (fewer[..wrong.acts].to_vec(), wrong.why),
                Ok(()) => at += step,
            }
        }
        step = if step == 1 { 0 } else { step.div_ceil(2) };
    }
    (acts, why)
}

/// The history with a number: always the same.
fn history(number: u64) -> (Setup, Vec<Act>) {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    acts::history(ACTS).new_tree(&mut runner).unwrap().current()
}

/// Those that `MAILRAIL_HISTORIES` asks for: up to a number, or from one to another.
fn histories() -> Option<RangeInclusive<u64>> {
    let asked = std::env::var("MAILRAIL_HISTORIES").ok()?;
    let (first, last) = asked.split_once("..").unwrap_or(("1", &asked));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// Runs histories; says which goes wrong first, shrunk.
fn run_all(histories: RangeInclusive<u64>, counts: &mut Counts) -> Result<(), String> {
    for number in histories {
        let (setup, acts) = history(number);
        if let Err(wrong) = run(&setup, &acts, counts) {
            let (acts, why) = shrink(&setup, &acts, wrong);
            let acts: Vec<String> = acts.iter().map(|act| format!("{act:?}")).collect();
            let Setup { topics, groups } = setup;
            let topics = TOPICS.iter().zip(topics).map(|(name, rules)| format!("{name}: {rules:?}\n"));
            let groups = GROUPS.iter().zip(groups).map(|(name, rules)| format!("{name}: {rules:?}\n"));
            let setup: String = topics.chain(groups).collect();
            return Err(format!("history {number}: {why}\n{setup}{}", acts.join("\n")));
        }
    }
    Ok(())
}

#[test]
fn the_broker_does_what_the_model_does() {
    let mut counts = Counts::new();
    let done = run_all(histories().unwrap_or(1..=HISTORIES), &mut counts);
    for (what, times) in &counts {
        println!("{times:9} {what}");
    }
    if let Err(wrong) = done {
        panic!("{wrong}");
    }
    let idle: Vec<_> = HAPPENS.iter().filter(|what| counts.get(**what).copied().unwrap_or(0) < 10).collect();
    assert!(idle.is_empty(), "hardly ever: {idle:?}");
}
