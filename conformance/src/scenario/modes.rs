//! Synchronous, asynchronous, one-way and batch sends all arrive, each message once.

use std::collections::BTreeMap;

use crate::driver::Consume;
use crate::line::Outgoing;
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, OPENING_BODY, World};
use crate::{Failure, Outcome, require};

use super::queues_for;

const MODES: [&str; 4] = ["sync", "async", "oneway", "batch"];
const PER_MODE: usize = 20;

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    let topic = world.name("modes");
    let group = world.name("modes-group");
    world.make_topic(&topic, queues_for(sdk), &[sdk])?;
    let mut driver = world.driver(sdk)?;
    let mut done = 0;
    for mode in MODES {
        let messages: Vec<Outgoing> = (0..PER_MODE).map(|i| Outgoing::text(format!("{mode} {i}"))).collect();
        match driver.send(&topic, mode, &messages) {
            Ok(_) => done += 1,
            // Not every SDK has every mode; the ones that it has must work.
            Err(Failure::Unsupported { .. }) => {}
            Err(failure) => return Err(failure),
        }
    }
    require!(done > 0, "no way of sending at all");

    driver.consume(&Consume::new("c", &topic, &group))?;
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    while times.len() < done * PER_MODE {
        for message in driver.receive("c", 1, DELIVERY_MAX)? {
            if message.body != OPENING_BODY.as_bytes() {
                *times.entry(message.text()).or_default() += 1;
            }
        }
    }
    world.done(driver);
    let twice: Vec<&String> = times.iter().filter(|(_, times)| **times != 1).map(|(body, _)| body).collect();
    require!(twice.is_empty(), "delivered more than once: {twice:?}");
    require!(times.len() == done * PER_MODE, "{} different bodies", times.len());
    Ok(Outcome::Pass)
}
