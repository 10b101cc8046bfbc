//! What became of a message is told over HTTP, whichever client sent and consumed it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::broker::Against;
use crate::driver::Consume;
use crate::line::{Arrived, Outgoing};
use crate::sdk::{Protocol, Sdk};
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::{Case, await_settled, possible};

const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub fn cases(sdks: &[Sdk]) -> Vec<Case> {
    let can = |sdk: &&Sdk| matches!(sdk, Sdk::JavaRocketmq | Sdk::Pika | Sdk::Curl);
    let case = |&sdk: &Sdk| Case::new("steps of a message are traced", sdk, move |world| run(world, sdk));
    sdks.iter().filter(can).map(case).collect()
}

fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    if world.against() != Against::Mailrail {
        return Ok(Outcome::Cannot("the peers' brokers trace nothing by themselves".into()));
    }
    possible(scenario(world, sdk))
}

fn scenario(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let (topic, group) = (world.name("trace"), world.name("g"));
    let group = if sdk.protocol() == Protocol::Amqp { topic.clone() } else { group };
    world.make_topic(&topic, 1, &[sdk])?;
    let mut driver = world.driver(sdk)?;
    driver.consume(&Consume::new("c", &topic, &group))?;
    // With the first commit a RocketMQ group only begins: what lies before it may never have been wanted.
    driver.send(&topic, "sync", &[Outgoing::text("before")])?;
    driver.receive("c", 1, DELIVERY_MAX)?;
    await_settled(world, sdk, &topic, &group)?;
    let mut curl = world.driver(Sdk::Curl)?;
    let sample = json!({"topic": &topic, "trace_sample": 1_000_000});
    curl.command("create_topic", sample, 10_000)?;
    driver.send(&topic, "sync", &[Outgoing::text("one"), Outgoing::text("two")])?;
    let got = driver.receive("c", 2, DELIVERY_MAX)?;
    let mut texts: Vec<String> = got.iter().map(Arrived::text).collect();
    texts.sort();
    require!(texts == ["one", "two"], "came: {texts:?}");
    let (protocol, given, last) = match sdk.protocol() {
        Protocol::Remoting => ("remoting", "read", "settled commit"),
        Protocol::Amqp => ("amqp", "handed_out", "settled ack"),
        Protocol::Http => ("http", "handed_out", "settled ack"),
    };
    let expected = ["stored", given, last].map(|step| format!("{step} {protocol}"));
    let deadline = Instant::now() + DELIVERY_MAX;
    loop {
        let found = curl.traces(&topic)?;
        let is_whole = |steps: &Vec<String>| *steps == expected;
        if found.len() == 2 && found.iter().all(is_whole) {
            break;
        }
        require!(Instant::now() < deadline, "the traces are {found:?}");
        std::thread::sleep(LOOK_AGAIN);
    }
    driver.stop("c")?;
    world.done(driver);
    world.done(curl);
    Ok(())
}
