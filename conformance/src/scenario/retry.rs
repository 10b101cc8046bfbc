//! A message whose consumption failed comes back with its attempt counted, and after its last attempt lies in the dead letter.

use std::time::{Duration, Instant};

use crate::ability::Part;
use crate::driver::{Consume, Driver};
use crate::line::{Arrived, Outgoing, Settled};
use crate::sdk::{Protocol, Sdk};
use crate::world::{OPENING_BODY, RETRY_MAX, World};
use crate::{Failure, Outcome, require};

use super::{possible, queues_for};

const ATTEMPTS: u32 = 3;
const BODY: &str = "cannot be consumed";
const PROPERTY: &str = "colour";

/// Two failures, then success: three deliveries with attempts 1, 2, 3, and no more.
pub fn comes_back(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    possible(fails_twice(world, sdk))
}

fn fails_twice(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let (topic, group) = (world.name("retry"), world.name("retry-group"));
    world.make_topic(&topic, queues_for(sdk), &[sdk])?;
    let mut driver = world.driver(sdk)?;
    driver.send(&topic, "sync", &[failing(sdk)])?;
    driver.consume(&Consume { fail_times: 2, ..Consume::new("c", &topic, &group) })?;
    let arrived = receive(&mut driver, 3)?;
    check_attempts(&arrived)?;
    require!(arrived[2].outcome == Settled::Ack, "the third delivery was not the one that succeeded");
    // What was settled stays away: the next message is the next delivery.
    driver.send(&topic, "sync", &[Outgoing::text("afterwards")])?;
    let next = receive(&mut driver, 1)?;
    require!(
        next.iter().all(|m| m.text() == "afterwards"),
        "settled message came again: {:?}",
        next[0].text()
    );
    world.done(driver);
    Ok(())
}

/// Fails for ever: as many deliveries as the group allows, then one message in `%DLQ%group` with its body, properties and key.
pub fn dead_letter(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    if sdk.protocol() == Protocol::Amqp {
        return Ok(Outcome::Cannot(
            "an AMQP queue counts attempts only with the argument x-delivery-limit".into(),
        ));
    }
    possible(is_dead_lettered(world, sdk))
}

fn is_dead_lettered(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let (topic, group) = (world.name("dead"), world.name("dead-group"));
    world.make_topic(&topic, queues_for(sdk), &[sdk])?;
    let mut driver = world.driver(sdk)?;
    driver.send(&topic, "sync", &[failing(sdk)])?;
    driver.consume(&Consume {
        fail_times: -1,
        max_attempts: Some(ATTEMPTS),
        ..Consume::new("c", &topic, &group)
    })?;
    let arrived = receive(&mut driver, ATTEMPTS as usize)?;
    check_attempts(&arrived)?;

    let dead_topic = format!("%DLQ%{group}");
    let reader_group = world.name("dead-reader");
    // The SDK's own consumer reads the dead letter; RocketMQ makes its topic when the last attempt has failed.
    let reader = Consume { property_names: &[PROPERTY], ..Consume::new("dead", &dead_topic, &reader_group) };
    consume_when_there(&mut driver, &reader)?;
    let mut dead = Vec::new();
    while dead.is_empty() {
        dead = driver.receive("dead", 1, RETRY_MAX)?;
        dead.retain(|message| message.body != OPENING_BODY.as_bytes());
    }
    let expected = failing(sdk);
    require!(dead[0].body == expected.body, "the dead letter has body {:?}", dead[0].text());
    require!(dead[0].key == expected.key, "the dead letter has key {:?}", dead[0].key);
    let property = dead[0].properties.get(PROPERTY).and_then(serde_json::Value::as_str);
    let sent = expected.properties.get(PROPERTY).map(String::as_str);
    require!(property == sent, "the dead letter has property {property:?}");
    driver.stop("c")?;
    let late: Vec<Arrived> =
        driver.take_arrived("c").into_iter().filter(|m| m.body != OPENING_BODY.as_bytes()).collect();
    require!(late.is_empty(), "delivered again after its last attempt: {} times", late.len());
    world.done(driver);
    Ok(())
}

/// Starts a consumer on a topic that is about to be made; the Go client's refuses to start before.
fn consume_when_there(driver: &mut Driver, wanted: &Consume<'_>) -> Result<(), Failure> {
    let deadline = Instant::now() + RETRY_MAX;
    loop {
        match driver.consume(wanted) {
            Err(Failure::Refused { .. }) if Instant::now() < deadline => {
                driver.poll(Duration::from_millis(300)).map(drop)?
            }
            result => return result,
        }
    }
}

fn failing(sdk: Sdk) -> Outgoing {
    let is_possible = sdk.cannot_send(Part::Properties).is_none();
    Outgoing {
        properties: is_possible.then(|| (PROPERTY.to_owned(), "red".to_owned())).into_iter().collect(),
        tag: Some("poison".into()),
        key: Some("order-13".into()),
        ..Outgoing::text(BODY)
    }
}

/// At least `count` deliveries. On a broker without REST the message that made the topic is failed too, and not counted.
fn receive(driver: &mut Driver, count: usize) -> Result<Vec<Arrived>, Failure> {
    let mut arrived: Vec<Arrived> = Vec::new();
    while arrived.len() < count {
        arrived.extend(driver.receive("c", 1, RETRY_MAX)?);
        arrived.retain(|message| message.body != OPENING_BODY.as_bytes());
    }
    Ok(arrived)
}

fn check_attempts(arrived: &[Arrived]) -> Result<(), Failure> {
    for (number, message) in (1_u32..).zip(arrived) {
        require!(message.text() == BODY, "unknown message {:?}", message.text());
        require!(
            message.attempt.is_none_or(|attempt| attempt == number),
            "delivery {number} says that it is attempt {:?}",
            message.attempt
        );
        require!(
            message.redelivered.is_none_or(|redelivered| redelivered == (number > 1)),
            "delivery {number} has redelivered {:?}",
            message.redelivered
        );
        require!(message.tag.as_deref() == Some("poison"), "delivery {number} has tag {:?}", message.tag);
    }
    Ok(())
}
