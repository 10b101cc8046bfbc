//! A group that stopped goes on behind what it settled: nothing twice, nothing left out.

use std::collections::BTreeSet;

use crate::driver::Consume;
use crate::line::Outgoing;
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, OPENING_BODY, World};
use crate::{Failure, Outcome, require};

use super::{await_settled, queues_for};

const PER_ROUND: usize = 24;

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    let topic = world.name("resume");
    let group = world.name("resume-group");
    world.make_topic(&topic, queues_for(sdk), &[sdk])?;
    for round in 0..3 {
        let mut driver = world.driver(sdk)?;
        let sent: Vec<Outgoing> =
            (0..PER_ROUND).map(|i| Outgoing::text(format!("round {round}, {i}"))).collect();
        driver.send(&topic, "sync", &sent)?;
        driver.consume(&Consume::new("c", &topic, &group))?;
        let mut got = Vec::new();
        while got.len() < PER_ROUND {
            got.extend(
                driver
                    .receive("c", 1, DELIVERY_MAX)?
                    .into_iter()
                    .filter(|m| m.body != OPENING_BODY.as_bytes()),
            );
        }
        await_settled(world, sdk, &topic, &group)?;
        driver.stop("c")?;
        got.extend(driver.take_arrived("c"));
        world.done(driver);
        let expected: BTreeSet<String> = (0..PER_ROUND).map(|i| format!("round {round}, {i}")).collect();
        let bodies: BTreeSet<String> = got.iter().map(|m| m.text()).collect();
        let foreign: Vec<&String> = bodies.difference(&expected).collect();
        require!(foreign.is_empty(), "round {round} got again what was settled: {foreign:?}");
        require!(bodies == expected, "round {round} misses {:?}", expected.difference(&bodies));
        require!(got.len() == PER_ROUND, "round {round}: {} deliveries of {PER_ROUND} messages", got.len());
    }
    Ok(Outcome::Pass)
}
