//! A journaled load without any fault: everything that was acknowledged is there, once, and where the receipt said.
//!
//! Also what shows that the drivers' journals and the checker agree, on any broker.

use std::time::{Duration, Instant};

use crate::journal::check_files;
use crate::sdk::Sdk;
use crate::world::World;
use crate::{Failure, Outcome, require};

use super::queues_for;

const ACKED_MIN: u64 = 3_000;
const BODY_BYTES: u32 = 200;
const WINDOW: u32 = 16;
const LOAD_MAX: Duration = Duration::from_secs(60);
const DRAIN_MS_MAX: u64 = 60_000;

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    match scenario(world, sdk) {
        Err(Failure::Unsupported { reason, .. }) => Ok(Outcome::Cannot(reason)),
        judged => judged,
    }
}

fn scenario(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    let topic = world.name("load");
    let reader = world.name("load-reader");
    let sent = world.folder().join(format!("{topic}.sent"));
    let read = world.folder().join(format!("{topic}.read"));
    if let Some(maker) = world.maker(&[sdk]) {
        world.make_topic(&topic, queues_for(sdk), &[maker])?;
    } else if !sdk.makes_topics() {
        return Ok(Outcome::Cannot(
            "the SDK needs a topic to be there, and this broker makes one only by a message of its own"
                .into(),
        ));
    }
    let mut driver = world.driver(sdk)?;
    driver.load(&topic, "load", BODY_BYTES, if sdk == Sdk::Curl { 2 } else { WINDOW }, &sent)?;
    let deadline = Instant::now() + LOAD_MAX;
    while driver.load_acked() < ACKED_MIN {
        require!(
            Instant::now() < deadline && !driver.load_ended(),
            "only {} acknowledged",
            driver.load_acked()
        );
        driver.poll(Duration::from_millis(20))?;
    }
    let counts = driver.stop_load()?;
    require!(counts.failed == 0, "{} of {} sends failed", counts.failed, counts.sent);
    driver.drain(&topic, &reader, &read, DRAIN_MS_MAX)?;
    world.done(driver);
    let report = check_files(&[&sent], &read)?;
    require!(report.is_clean() && report.received == counts.acked, "{report}");
    Ok(Outcome::Pass)
}
