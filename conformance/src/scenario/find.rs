//! A message is found by the key that its producer gave it. Few SDKs can search: for the others another one does.

use crate::line::Outgoing;
use crate::sdk::{Protocol, Sdk};
use crate::world::World;
use crate::{Failure, Outcome, require};

use super::{possible, queues_for};

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    possible(scenario(world, sdk))
}

fn scenario(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let topic = world.name("find");
    world.make_topic(&topic, queues_for(sdk), &[sdk])?;
    let mut driver = world.driver(sdk)?;
    for (key, body) in [("invoice-7", "first"), ("invoice-8", "other"), ("invoice-7", "second")] {
        driver.send(&topic, "sync", &[Outgoing { key: Some(key.into()), ..Outgoing::text(body) }])?;
    }
    let finder = if sdk.protocol() == Protocol::Remoting { Sdk::JavaRocketmq } else { Sdk::Curl };
    let mut finder = world.driver(finder)?;
    let found = finder.find(&topic, "invoice-7", 10)?;
    require!(found == ["second", "first"], "by its key it found {found:?}");
    let found = finder.find(&topic, "invoice-7", 1)?;
    require!(found == ["second"], "the newest is {found:?}");
    world.done(finder);
    world.done(driver);
    Ok(())
}
