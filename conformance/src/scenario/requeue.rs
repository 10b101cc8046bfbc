//! What a consumer puts back, or held when its connection went, comes again marked as redelivered; what it settled does not.

use crate::driver::Consume;
use crate::line::Outgoing;
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::{possible, queues_for};

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    possible(scenario(world, sdk))
}

fn scenario(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let (topic, group) = (world.name("requeue"), world.name("requeue-group"));
    world.make_topic(&topic, queues_for(sdk), &[sdk])?;
    let mut sender = world.driver(sdk)?;
    sender.send(&topic, "sync", &["settled", "put back", "held"].map(Outgoing::text))?;

    let mut first = world.driver(sdk)?;
    let held = Consume { hold: true, lease_ms: 8_000, ..Consume::new("c", &topic, &group) };
    first.consume(&held)?;
    let arrived = first.receive("c", 3, DELIVERY_MAX)?;
    let of = |body: &str| arrived.iter().filter(|m| m.text() == body).cloned().collect::<Vec<_>>();
    for message in &arrived {
        require!(
            message.redelivered == Some(false),
            "{:?} is marked as redelivered at first",
            message.text()
        );
    }
    first.settle("c", &of("settled"), "ack")?;
    first.settle("c", &of("put back"), "requeue")?;
    let again = first.receive("c", 1, DELIVERY_MAX)?;
    require!(
        again.len() == 1 && again[0].text() == "put back",
        "after the requeue came {:?}",
        again[0].text()
    );
    require!(again[0].redelivered == Some(true), "what was put back is not marked as redelivered");
    require!(again[0].attempt.is_none_or(|n| n == 2), "what was put back is attempt {:?}", again[0].attempt);
    first.settle("c", &again, "ack")?;

    // The connection goes with "held" unsettled.
    first.kill();
    let mut second = world.driver(sdk)?;
    second.consume(&Consume::new("c", &topic, &group))?;
    let left = second.receive("c", 1, DELIVERY_MAX)?;
    require!(left.len() == 1 && left[0].text() == "held", "left behind was {:?}", left[0].text());
    require!(left[0].redelivered == Some(true), "what the dead consumer held is not marked as redelivered");
    sender.send(&topic, "sync", &[Outgoing::text("last")])?;
    let last = second.receive("c", 1, DELIVERY_MAX)?;
    require!(last[0].text() == "last", "what was settled came again: {:?}", last[0].text());
    world.done(second);
    world.done(sender);
    Ok(())
}
