//! A subscription to two tags gets the messages with these tags and no other.

use crate::driver::Consume;
use crate::line::Outgoing;
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::{possible, queues_for};

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    let topic = world.name("tag");
    let group = world.name("tag-group");
    world.make_topic(&topic, queues_for(sdk), &[sdk])?;
    let mut driver = world.driver(sdk)?;
    // "Aa" and "BB" have the same hash in Java, which is what the broker compares: the SDK must tell them apart.
    let tags = ["red", "green", "blue", "Aa", "BB"];
    let messages: Vec<Outgoing> = (0..50)
        .map(|i| {
            let tag = tags[i % tags.len()];
            Outgoing { tag: Some(tag.into()), ..Outgoing::text(format!("{tag} {i}")) }
        })
        .collect();
    driver.send(&topic, "sync", &messages)?;
    let subscribed = driver.consume(&Consume { tag: "green || Aa", ..Consume::new("c", &topic, &group) });
    let result = subscribed.and_then(|()| {
        let arrived = driver.receive("c", 20, DELIVERY_MAX)?;
        driver.stop("c")?;
        let late = driver.take_arrived("c");
        let other = arrived.iter().chain(&late).find(|m| !matches!(m.tag.as_deref(), Some("green" | "Aa")));
        require!(other.is_none(), "delivered in spite of its tag: {:?}", other.map(|m| m.text()));
        require!(
            arrived.len() + late.len() == 20,
            "{} deliveries of 20 messages",
            arrived.len() + late.len()
        );
        Ok(())
    });
    world.done(driver);
    possible(result)
}
