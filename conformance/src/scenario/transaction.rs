//! Transactions of RocketMQ's producers: a message is seen once its producer, or another of its group, has said that it may be,
//! and never when one has said that it may not.

use std::time::{Duration, Instant};

use crate::broker::{Against, Broker};
use crate::driver::{Consume, Driver};
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::{Case, possible};

/// A producer that lost the broker tells of itself with its next heartbeat, 30 s later, and what is asked every 30 s then.
const AFTER_RESTART_MAX: Duration = Duration::from_secs(120);
/// What is not there after so long will not come.
const SILENCE: Duration = Duration::from_secs(3);

pub fn cases(sdks: &[Sdk]) -> Vec<Case> {
    let can = |sdk: &&Sdk| matches!(sdk, Sdk::JavaRocketmq | Sdk::JavaRocketmq4 | Sdk::GoRocketmq);
    type Scenario = fn(&mut World, Sdk) -> Result<(), Failure>;
    let scenarios: [(&str, Scenario); 3] = [
        ("transaction is committed, rolled back, or asked for", ends),
        ("another producer is asked for a transaction", is_asked_elsewhere),
        ("transaction outlives the broker's restart", outlives_restart),
    ];
    let case = |(row, scenario): (&'static str, Scenario)| {
        sdks.iter().filter(can).map(move |&sdk| {
            Case::new(row, sdk, move |world: &mut World| {
                if scenario as usize == outlives_restart as usize && world.against() != Against::Mailrail {
                    let reason = "the peers are shared by a run and not restarted";
                    return Ok(Outcome::Cannot(reason.into()));
                }
                possible(scenario(world, sdk))
            })
        })
    };
    scenarios.into_iter().flat_map(case).collect()
}

/// The texts that come, once they are so many and no more follow.
fn all_that_come(driver: &mut Driver, count: usize, limit: Duration) -> Result<Vec<String>, Failure> {
    let mut got = driver.receive("c", count, limit)?;
    let deadline = Instant::now() + SILENCE;
    while Instant::now() < deadline {
        driver.poll(SILENCE / 10)?;
    }
    got.extend(driver.take_arrived("c"));
    let mut texts: Vec<String> = got.iter().map(|message| message.text()).collect();
    texts.sort_unstable();
    Ok(texts)
}

fn ends(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let (topic, group) = (world.name("transaction"), world.name("pg"));
    world.make_topic(&topic, 4, &[sdk])?;
    let mut driver = world.driver(sdk)?;
    driver.consume(&Consume::new("c", &topic, &world.name("g")))?;
    for (text, local) in [("committed", "commit"), ("rolled back", "rollback"), ("asked for", "unknown")] {
        driver.prepare(&topic, &group, text, local, "commit")?;
    }
    let texts = all_that_come(&mut driver, 2, DELIVERY_MAX)?;
    require!(texts == ["asked for", "committed"], "came: {texts:?}");
    world.done(driver);
    Ok(())
}

fn is_asked_elsewhere(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let (topic, group) = (world.name("transaction"), world.name("pg"));
    world.make_topic(&topic, 4, &[sdk])?;
    let (mut first, mut second) = (world.driver(sdk)?, world.driver(sdk)?);
    second.consume(&Consume::new("c", &topic, &world.name("g")))?;
    first.prepare(&topic, &group, "orphan", "unknown", "rollback")?;
    first.kill();
    second.produce(&group, "commit")?;
    let texts = all_that_come(&mut second, 1, DELIVERY_MAX)?;
    require!(texts == ["orphan"], "came: {texts:?}");
    world.done(second);
    Ok(())
}

fn outlives_restart(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let folder = world.folder().join(format!("transaction-{sdk}"));
    std::fs::create_dir_all(&folder).map_err(Failure::io(format!("creating {}", folder.display())))?;
    let mut broker = Broker::start(Against::Mailrail, &folder)?;
    let (mut producing, mut consuming) = (world.unconnected(sdk)?, world.unconnected(sdk)?);
    for driver in [&mut producing, &mut consuming] {
        driver.connect(&broker.endpoints().fields())?;
    }
    let topic = "restarted";
    producing.send(topic, "sync", &[crate::line::Outgoing::text("plain")])?;
    consuming.consume(&Consume::new("c", topic, "g"))?;
    consuming.receive("c", 1, DELIVERY_MAX)?;
    producing.prepare(topic, "pg", "half", "wait", "unknown")?;
    broker.kill()?;
    broker.restart()?;
    require!(consuming.take_arrived("c").is_empty(), "it is seen before it is committed");
    producing.decide("pg", "commit")?;
    let texts = all_that_come(&mut consuming, 1, AFTER_RESTART_MAX)?;
    require!(texts.iter().any(|text| text == "half"), "came: {texts:?}");
    require!(texts.iter().filter(|text| *text == "half").count() == 1, "came: {texts:?}");
    world.done(producing);
    world.done(consuming);
    broker.stop()?;
    Ok(())
}
