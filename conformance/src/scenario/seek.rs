//! A group goes back to a point in time and reads again what was stored since, and nothing older.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::driver::{Consume, Driver};
use crate::line::Outgoing;
use crate::sdk::{Protocol, Sdk};
use crate::world::{DELIVERY_MAX, OPENING_BODY, World};
use crate::{Failure, Outcome, require};

use super::{possible, queues_for};

const EACH: usize = 12;

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    possible(scenario(world, sdk))
}

fn scenario(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let (topic, group) = (world.name("seek"), world.name("seek-group"));
    world.make_topic(&topic, queues_for(sdk), &[sdk])?;
    let mut driver = world.driver(sdk)?;
    driver.send(&topic, "sync", &batch("before"))?;
    let boundary_ms = next_second_ms();
    driver.send(&topic, "sync", &batch("after"))?;
    driver.consume(&Consume::new("c", &topic, &group))?;
    let got = bodies(&mut driver, 2 * EACH)?;
    require!(got == expected(&["before", "after"]), "at first it got {got:?}");
    match driver.seek_time(&topic, &group, boundary_ms) {
        // Most clients cannot move a group; the Java client moves any, as an operator would.
        Err(Failure::Unsupported { .. }) if sdk.protocol() == Protocol::Remoting => {
            let mut java = world.driver(Sdk::JavaRocketmq)?;
            java.seek_time(&topic, &group, boundary_ms)?;
            world.done(java);
        }
        result => result?,
    }
    driver.consume(&Consume::new("c", &topic, &group))?;
    let again = bodies(&mut driver, EACH)?;
    require!(again == expected(&["after"]), "after seeking back it got {again:?}");
    world.done(driver);
    Ok(())
}

/// The start of the next second, once it has come: the SDKs give times in whole seconds.
fn next_second_ms() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let boundary = Duration::from_secs(now().as_secs() + 1);
    while now() <= boundary {
        std::thread::sleep(Duration::from_millis(5));
    }
    boundary.as_secs() * 1_000
}

fn batch(name: &str) -> Vec<Outgoing> {
    (0..EACH).map(|i| Outgoing::text(format!("{name} {i}"))).collect()
}

fn expected(names: &[&str]) -> BTreeSet<String> {
    names.iter().flat_map(|name| (0..EACH).map(move |i| format!("{name} {i}"))).collect()
}

/// What the consumer gets, once each, and after it was stopped nothing else.
fn bodies(driver: &mut Driver, count: usize) -> Result<BTreeSet<String>, Failure> {
    let mut got = Vec::new();
    while got.len() < count {
        got.extend(
            driver.receive("c", 1, DELIVERY_MAX)?.into_iter().filter(|m| m.body != OPENING_BODY.as_bytes()),
        );
    }
    driver.stop("c")?;
    got.extend(driver.take_arrived("c"));
    require!(got.len() == count, "{} deliveries where {count} were due", got.len());
    Ok(got.iter().map(|m| m.text()).collect())
}
