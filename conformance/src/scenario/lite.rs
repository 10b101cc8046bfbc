//! Light queues: a message names some of those of its topic, is in all of them, and each is consumed as a topic of its own.

use serde_json::json;

use crate::driver::Consume;
use crate::line::{Arrived, Outgoing};
use crate::sdk::{Protocol, Sdk};
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::{Case, possible};

pub fn cases(sdks: &[Sdk]) -> Vec<Case> {
    let can =
        |sdk: &&Sdk| matches!(sdk, Sdk::JavaRocketmq | Sdk::JavaRocketmq4 | Sdk::GoRocketmq | Sdk::Curl);
    let case = |&sdk: &Sdk| Case::new("light queues get what names them", sdk, move |world| run(world, sdk));
    sdks.iter().filter(can).map(case).collect()
}

fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    possible(scenario(world, sdk))
}

fn scenario(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let topic = world.name("lite");
    let mut maker = world.driver(Sdk::Curl)?;
    maker.command("create_topic", json!({"topic": topic, "queues": 4, "lite": true}), 30_000)?;
    world.done(maker);
    let mut driver = world.driver(sdk)?;
    let whole = |name: &str| format!("%LMQ%{topic}-{name}");
    let message = |text: &str, names: &[&str]| {
        let mut message = Outgoing::text(text);
        if sdk.protocol() == Protocol::Http {
            message.lite = names.iter().map(|name| format!("{topic}-{name}")).collect();
        } else {
            let names: Vec<String> = names.iter().map(|name| whole(name)).collect();
            message.properties.insert("INNER_MULTI_DISPATCH".into(), names.join(","));
        }
        message
    };
    let messages = [message("both", &["a", "b"]), message("second", &["b"]), Outgoing::text("none")];
    driver.send(&topic, "sync", &messages)?;
    for (name, expected) in [("a", vec!["both"]), ("b", vec!["both", "second"])] {
        let (queue, group) = (whole(name), world.name("g"));
        driver.consume(&Consume::new(name, &queue, &group))?;
        let got = driver.receive(name, expected.len(), DELIVERY_MAX)?;
        driver.stop(name)?;
        let late = driver.take_arrived(name);
        let mut texts: Vec<String> = got.iter().chain(&late).map(Arrived::text).collect();
        // A push consumer may show them in any order.
        texts.sort_unstable();
        require!(texts == expected, "{queue} has {texts:?}");
    }
    world.done(driver);
    Ok(())
}
