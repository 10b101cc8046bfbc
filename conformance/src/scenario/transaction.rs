//! Transactions. Of RocketMQ's producers: a message is seen once its producer, or another of its group, has said that it may be,
//! and never when one has said that it may not. Of AMQP's channels: publishes and acknowledgements count together, or not at all.

use std::time::{Duration, Instant};

use crate::broker::{Against, Broker};
use crate::driver::{Consume, Driver};
use crate::line::Arrived;
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, OPENING_BODY, World};
use crate::{Failure, require};

use super::{Case, possible};

/// A producer tells of itself with a heartbeat every 30 s, and is asked every 30 s from then on.
const HEARTBEATS_MAX: Duration = Duration::from_secs(120);
/// What is not there after so long will not come.
const SILENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(300);

pub fn cases(sdks: &[Sdk]) -> Vec<Case> {
    let can = |sdk: &&Sdk| matches!(sdk, Sdk::JavaRocketmq | Sdk::JavaRocketmq4 | Sdk::GoRocketmq);
    type Scenario = fn(&mut World, Sdk) -> Result<(), Failure>;
    let scenarios: [(&str, Scenario); 3] = [
        ("transaction is committed, rolled back, or asked for", ends),
        ("another producer is asked for a transaction", is_asked_elsewhere),
        ("transaction outlives the broker's restart", outlives_restart),
    ];
    let case = |(row, scenario): (&'static str, Scenario)| {
        sdks.iter()
            .filter(can)
            .map(move |&sdk| Case::new(row, sdk, move |world: &mut World| possible(scenario(world, sdk))))
    };
    let speaks_amqp = |sdk: &&Sdk| matches!(sdk, Sdk::Pika | Sdk::Amqp091Go);
    let on_channel = |&sdk: &Sdk| {
        let row = "transaction on a channel counts as a whole";
        Case::new(row, sdk, move |world: &mut World| possible(on_channel(world, sdk)))
    };
    let on_channel = sdks.iter().filter(speaks_amqp).map(on_channel);
    scenarios.into_iter().flat_map(case).chain(on_channel).collect()
}

/// What is done on a channel in transaction mode, and what is to come of it: nothing, the text that is got, the number of
/// messages that wait, or the code that closes the channel. `ack` and `requeue` are of what was got last.
const STEPS: &[(&str, &str)] = &[
    ("select", ""),
    ("publish one", ""),
    ("publish two", ""),
    ("depth", "0"),
    ("commit", ""),
    ("depth", "2"),
    ("publish dropped", ""),
    ("rollback", ""),
    ("depth", "2"),
    ("get", "one"),
    ("get", "two"),
    ("ack", ""),
    ("publish dropped", ""),
    ("rollback", ""),
    ("depth", "0"),
    ("ack", ""),
    ("publish three", ""),
    ("depth", "0"),
    ("commit", ""),
    ("depth", "1"),
    ("reopen", ""),
    // What was held goes back to its place; what was acknowledged and committed is gone.
    ("get", "one"),
    ("get", "three"),
    ("get", "none"),
    ("reopen", ""),
    ("select", ""),
    ("get", "one"),
    ("requeue", ""),
    ("depth", "1"),
    ("commit", ""),
    ("depth", "2"),
    ("get", "one"),
    ("ack", ""),
    // Without a commit it ends with its channel.
    ("reopen", ""),
    ("depth", "2"),
    ("commit", "406"),
    ("rollback", "406"),
    ("confirm", ""),
    ("select", "406"),
    ("select", ""),
    ("confirm", "406"),
];

fn on_channel(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let queue = world.name("transaction");
    world.make_topic(&queue, 1, &[sdk])?;
    let mut driver = world.driver(sdk)?;
    let steps: Vec<&str> = STEPS.iter().map(|(step, _)| *step).collect();
    let seen = driver.transact(&queue, &steps)?;
    let expected: Vec<&str> = STEPS.iter().map(|(_, expected)| *expected).collect();
    let wrong =
        (0..).zip(steps.iter().zip(&seen)).find(|(at, (_, seen))| expected.get(*at) != Some(&seen.as_str()));
    require!(
        wrong.is_none() && seen.len() == expected.len(),
        "step, and what came of it: {wrong:?}; all: {seen:?}"
    );
    world.done(driver);
    Ok(())
}

/// The texts that come, once they are so many and no more follow.
fn all_that_come(driver: &mut Driver, count: usize, limit: Duration) -> Result<Vec<String>, Failure> {
    let mut texts: Vec<String> = Vec::new();
    let mut deadline = Instant::now() + limit;
    let mut is_complete = false;
    while Instant::now() < deadline {
        driver.poll(POLL)?;
        texts.extend(driver.take_arrived("c").iter().map(Arrived::text).filter(|text| text != OPENING_BODY));
        if texts.len() >= count && !is_complete {
            is_complete = true;
            deadline = Instant::now() + SILENCE;
        }
    }
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
    let texts = all_that_come(&mut driver, 2, HEARTBEATS_MAX)?;
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
    // A producer of the Go client knows no broker before it has sent to one.
    second.prepare(&topic, &group, "own", "commit", "commit")?;
    let texts = all_that_come(&mut second, 2, HEARTBEATS_MAX)?;
    require!(texts == ["orphan", "own"], "came: {texts:?}");
    world.done(second);
    Ok(())
}

fn outlives_restart(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    if world.against() != Against::Mailrail {
        let reason = "the peers are shared by a run and not restarted".to_owned();
        return Err(Failure::Unsupported { driver: sdk.to_string(), command: "restart".to_owned(), reason });
    }
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
    let texts = all_that_come(&mut consuming, 1, HEARTBEATS_MAX)?;
    require!(texts.iter().any(|text| text == "half"), "came: {texts:?}");
    require!(texts.iter().filter(|text| *text == "half").count() == 1, "came: {texts:?}");
    world.done(producing);
    world.done(consuming);
    broker.stop()?;
    Ok(())
}
