//! A subscription by SQL92 gets the messages that its expression is true of and no other, and a wrong one is refused.

use crate::driver::Consume;
use crate::line::Outgoing;
use crate::sdk::{Protocol, Sdk};
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::{possible, queues_for};

const MESSAGES: u32 = 60;
const EXPRESSION: &str = "amount BETWEEN 3 AND 5 AND region IN ('eu', 'us') OR TAGS = 'all' OR note IS NULL";

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    if sdk.protocol() == Protocol::Amqp {
        return Ok(Outcome::Cannot("an AMQP consumer has no filter; bindings have".into()));
    }
    if !matches!(sdk, Sdk::JavaRocketmq | Sdk::JavaRocketmq4 | Sdk::GoRocketmq | Sdk::Curl) {
        return Ok(Outcome::Cannot("its driver subscribes by tag".into()));
    }
    possible(scenario(world, sdk))
}

fn message(i: u32) -> Outgoing {
    let regions = ["eu", "us", "ap"];
    let region = regions[i as usize % regions.len()];
    let mut properties = vec![("amount", (i % 10).to_string()), ("region", region.to_owned())];
    if i % 20 != 1 {
        properties.push(("note", "x".to_owned()));
    }
    let tag = if i % 15 == 2 { "all" } else { "some" };
    Outgoing {
        tag: Some(tag.into()),
        properties: properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..Outgoing::text(i.to_string())
    }
}

fn is_wanted(i: u32) -> bool {
    (3..=5).contains(&(i % 10)) && i % 3 != 2 || i % 15 == 2 || i % 20 == 1
}

fn scenario(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let topic = world.name("sql");
    let group = world.name("sql-group");
    world.make_topic(&topic, queues_for(sdk), &[sdk])?;
    let mut driver = world.driver(sdk)?;
    driver.send(&topic, "sync", &(0..MESSAGES).map(message).collect::<Vec<_>>())?;
    driver.consume(&Consume { sql: Some(EXPRESSION), ..Consume::new("c", &topic, &group) })?;
    let wanted: Vec<u32> = (0..MESSAGES).filter(|i| is_wanted(*i)).collect();
    let arrived = driver.receive("c", wanted.len(), DELIVERY_MAX)?;
    driver.stop("c")?;
    let late = driver.take_arrived("c");
    let mut numbers: Vec<u32> =
        arrived.iter().chain(&late).filter_map(|message| message.text().parse().ok()).collect();
    numbers.sort_unstable();
    require!(numbers == wanted, "delivered {numbers:?} and not {wanted:?}");
    // The Go client does not ask before it starts.
    if sdk != Sdk::GoRocketmq {
        let refused =
            driver.consume(&Consume { sql: Some("amount >"), ..Consume::new("wrong", &topic, &group) });
        let text = match refused {
            Err(Failure::Refused { text, .. }) => text,
            other => return Err(Failure::Wrong(format!("a wrong expression ended with {other:?}"))),
        };
        require!(text.contains("at byte 8"), "where the expression is wrong is not said: {text}");
    }
    world.done(driver);
    Ok(())
}
