//! A Celery application on the broker: its tasks are run once, give results, are retried, wait for their time, and are run again by
//! another worker when theirs dies.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::driver::Call;
use crate::line::Arrived;
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::Case;

const COUNT: usize = 30;
const FAILURES: u32 = 2;
const DELAY: Duration = Duration::from_millis(1_500);
const HOLD_MS: u64 = 60_000;

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("tasks are run and give results", Sdk::Celery, results),
        Case::new("failed task is retried", Sdk::Celery, retried),
        Case::new("task waits for its time", Sdk::Celery, delayed),
        Case::new("task of a dead worker is run by another", Sdk::Celery, taken_over),
    ]
}

fn numbered() -> Vec<String> {
    (0..COUNT).map(|i| format!("task {i}")).collect()
}

fn results(world: &mut World) -> Result<Outcome, Failure> {
    let topic = world.name("tasks");
    let mut driver = world.driver(Sdk::Celery)?;
    driver.work("w", &topic)?;
    let results = driver.call(&Call { topic: &topic, texts: numbered(), wait: true, ..Call::default() })?;
    let expected: Vec<String> = numbered().iter().map(|text| text.to_uppercase()).collect();
    require!(results == expected, "the results are {results:?}");
    driver.stop("w")?;
    let run: Vec<String> = driver.take_arrived("w").iter().map(Arrived::text).collect();
    let different: BTreeSet<&String> = run.iter().collect();
    require!(run.len() == COUNT && different.len() == COUNT, "run were {run:?}");
    // What was acknowledged late stays away from the next worker.
    driver.work("next", &topic)?;
    driver.call(&Call { topic: &topic, texts: vec!["last".into()], wait: true, ..Call::default() })?;
    let next = driver.receive("next", 1, DELIVERY_MAX)?;
    require!(next.len() == 1 && next[0].text() == "last", "the next worker ran {:?}", next[0].text());
    world.done(driver);
    Ok(Outcome::Pass)
}

fn retried(world: &mut World) -> Result<Outcome, Failure> {
    let topic = world.name("retried");
    let mut driver = world.driver(Sdk::Celery)?;
    driver.work("w", &topic)?;
    let texts = vec!["again".to_owned()];
    let results =
        driver.call(&Call { topic: &topic, texts, fail_times: FAILURES, wait: true, ..Call::default() })?;
    require!(results == ["AGAIN"], "the result is {results:?}");
    let attempts: Vec<_> = driver.take_arrived("w").iter().map(|run| run.attempt).collect();
    require!(attempts == [Some(1), Some(2), Some(3)], "the attempts were {attempts:?}");
    world.done(driver);
    Ok(Outcome::Pass)
}

/// The worker takes such messages early and keeps them unsettled, with a prefetch that it raises for each.
fn delayed(world: &mut World) -> Result<Outcome, Failure> {
    let topic = world.name("delayed");
    let mut driver = world.driver(Sdk::Celery)?;
    driver.work("w", &topic)?;
    let delay_ms = u64::try_from(DELAY.as_millis()).unwrap_or(u64::MAX);
    let called = Instant::now();
    driver.call(&Call { topic: &topic, texts: numbered(), delay_ms, ..Call::default() })?;
    let mut got = driver.receive("w", 1, DELIVERY_MAX)?;
    require!(called.elapsed() >= DELAY, "run after {:?} where {DELAY:?} was due", called.elapsed());
    if got.len() < COUNT {
        got.extend(driver.receive("w", COUNT - got.len(), DELIVERY_MAX)?);
    }
    driver.stop("w")?;
    got.extend(driver.take_arrived("w"));
    let run: BTreeSet<String> = got.iter().map(Arrived::text).collect();
    require!(got.len() == COUNT && run.len() == COUNT, "run were {} tasks: {run:?}", got.len());
    world.done(driver);
    Ok(Outcome::Pass)
}

fn taken_over(world: &mut World) -> Result<Outcome, Failure> {
    let topic = world.name("orphaned");
    let mut first = world.driver(Sdk::Celery)?;
    first.work("w", &topic)?;
    let call = Call { topic: &topic, texts: vec!["held".into()], hold_ms: HOLD_MS, ..Call::default() };
    first.call(&call)?;
    let begun = first.receive("w", 1, DELIVERY_MAX)?;
    require!(begun[0].redelivered == Some(false), "a first run is marked as redelivered");
    first.kill();
    let mut second = world.driver(Sdk::Celery)?;
    second.work("w", &topic)?;
    let again = second.receive("w", 1, DELIVERY_MAX)?;
    require!(again[0].text() == "held", "the other worker ran {:?}", again[0].text());
    require!(again[0].redelivered == Some(true), "what the dead worker ran is not marked as redelivered");
    second.kill(); // its task would hold up a calm end
    Ok(Outcome::Pass)
}
