//! The broker is killed and starts again on its data and addresses: clients that were connected go on by themselves, and groups
//! continue where they were.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::broker::{Against, Broker};
use crate::driver::{Consume, Driver};
use crate::line::Outgoing;
use crate::sdk::Sdk;
use crate::world::World;
use crate::{Failure, Outcome, require};

use super::queues_for;

const EACH: usize = 10;
/// RocketMQ's SDKs look for a lost broker with their next heartbeat or rebalance, 20 to 30 s later.
const RECONNECT_MAX: Duration = Duration::from_secs(90);
const RETRY: Duration = Duration::from_millis(300);

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    if world.against() != Against::Mailrail {
        return Ok(Outcome::Cannot("the peers are shared by a run and not restarted".into()));
    }
    if let Some(reason) = sdk.cannot_reconnect() {
        return Ok(Outcome::Cannot(reason.into()));
    }
    let folder = world.folder().join(format!("restart-{sdk}"));
    std::fs::create_dir_all(&folder).map_err(Failure::io(format!("creating {}", folder.display())))?;
    let mut broker = Broker::start(Against::Mailrail, &folder)?;
    let mut driver = world.unconnected(sdk)?;
    driver.connect(&broker.endpoints().fields())?;
    let (topic, group) = ("restarted", "restarted-group");
    match driver.create_topic(topic, queues_for(sdk)) {
        Err(Failure::Unsupported { .. }) if sdk.makes_topics() => {} // its first send does
        Err(Failure::Unsupported { .. }) => {
            let mut curl = world.unconnected(Sdk::Curl)?;
            curl.connect(&broker.endpoints().fields())?;
            curl.create_topic(topic, queues_for(sdk))?;
            world.done(curl);
        }
        result => result?,
    }
    driver.send(topic, "sync", &batch("before"))?;
    driver.consume(&Consume::new("c", topic, group))?;
    let mut seen = BTreeSet::new();
    collect(&mut driver, &mut seen, "before")?;

    broker.kill()?;
    broker.restart()?;
    let deadline = Instant::now() + RECONNECT_MAX;
    for message in batch("after") {
        while let Err(failure) = driver.send(topic, "sync", std::slice::from_ref(&message)) {
            require!(
                Instant::now() < deadline,
                "not sent within {RECONNECT_MAX:?} after the restart: {failure}"
            );
            driver.poll(RETRY)?;
        }
    }
    collect(&mut driver, &mut seen, "after")?;
    world.done(driver);
    broker.stop()?;
    Ok(Outcome::Pass)
}

fn batch(name: &str) -> Vec<Outgoing> {
    (0..EACH).map(|i| Outgoing::text(format!("{name} {i}"))).collect()
}

/// Until every message of the batch was there at least once: a crash between consuming and committing repeats some.
fn collect(driver: &mut Driver, seen: &mut BTreeSet<String>, name: &str) -> Result<(), Failure> {
    let wanted: BTreeSet<String> = (0..EACH).map(|i| format!("{name} {i}")).collect();
    let deadline = Instant::now() + RECONNECT_MAX;
    while !wanted.is_subset(seen) {
        require!(
            Instant::now() < deadline,
            "not received within {RECONNECT_MAX:?}: {:?}",
            wanted.difference(seen)
        );
        driver.poll(RETRY)?;
        seen.extend(driver.take_arrived("c").iter().map(|message| message.text()));
    }
    Ok(())
}
