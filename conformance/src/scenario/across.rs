//! What only a broker of three protocols can do: one topic, one group and one position seen through all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::driver::{Consume, Driver};
use crate::line::{Arrived, Outgoing};
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::Case;

const COUNT: usize = 40;
const STEP: Duration = Duration::from_millis(20);

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("topic made by an SDK's send, seen by", Sdk::Curl, |world| auto_created(world, Sdk::Curl)),
        Case::new("topic made by an SDK's send, seen by", Sdk::Pika, |world| auto_created(world, Sdk::Pika)),
        Case::new("one group shared with curl by", Sdk::Pika, shared_group),
        Case::new("dead letter of an SDK, read by", Sdk::Curl, |world| dead_letter(world, Sdk::Curl)),
        Case::new("dead letter of an SDK, read by", Sdk::Pika, |world| dead_letter(world, Sdk::Pika)),
        Case::new("group moved by REST goes back for", Sdk::JavaRocketmq, moved_group),
    ]
}

fn numbered(name: &str) -> Vec<Outgoing> {
    (0..COUNT).map(|i| Outgoing::text(format!("{name} {i}"))).collect()
}

fn expected(name: &str) -> BTreeSet<String> {
    (0..COUNT).map(|i| format!("{name} {i}")).collect()
}

/// The Java SDK sends to a topic that nobody made; the reader finds all of it, over all queues.
fn auto_created(world: &mut World, reader: Sdk) -> Result<Outcome, Failure> {
    let (topic, group) = (world.name("auto"), world.name("auto-group"));
    let mut java = world.driver(Sdk::JavaRocketmq)?;
    let receipts = java.send(&topic, "sync", &numbered("m"))?;
    let queues: BTreeSet<_> = receipts.iter().filter_map(|receipt| receipt.queue).collect();
    require!(queues.len() == 4, "the SDK spread its messages over queues {queues:?}");
    let mut other = world.driver(reader)?;
    if reader == Sdk::Pika {
        other.create_topic(&topic, 1)?; // a durable declare of what exists, as an AMQP program does
    }
    other.consume(&Consume::new("c", &topic, &group))?;
    let got: BTreeSet<String> = other.receive("c", COUNT, DELIVERY_MAX)?.iter().map(Arrived::text).collect();
    require!(got == expected("m"), "{reader} got {got:?}");
    world.done(java);
    world.done(other);
    Ok(Outcome::Pass)
}

/// An AMQP consumer of `topic::group` and a REST receiver of the group compete: everything once, over both together.
fn shared_group(world: &mut World) -> Result<Outcome, Failure> {
    let (topic, group) = (world.name("shared"), world.name("shared-group"));
    let mut curl = world.driver(Sdk::Curl)?;
    curl.create_topic(&topic, 4)?;
    let mut pika = world.driver(Sdk::Pika)?;
    let queue = format!("{topic}::{group}");
    let mut java = world.driver(Sdk::JavaRocketmq)?;
    curl.consume(&Consume { prefetch: 2, ..Consume::new("c", &topic, &group) })?;
    pika.consume(&Consume { prefetch: 2, ..Consume::new("c", &queue, &group) })?;
    let mut times: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    let deadline = Instant::now() + DELIVERY_MAX;
    for batch in 0.. {
        java.send(&topic, "sync", &numbered(&format!("b{batch}")))?;
        while times.len() < (batch + 1) * COUNT {
            require!(Instant::now() < deadline, "{} of {} messages came", times.len(), (batch + 1) * COUNT);
            for (member, driver) in [&mut curl, &mut pika].into_iter().enumerate() {
                driver.poll(STEP)?;
                for message in driver.take_arrived("c") {
                    times.entry(message.text()).or_default()[member] += 1;
                }
            }
        }
        if (0..2).all(|member| times.values().any(|n| n[member] > 0)) {
            break;
        }
        require!(Instant::now() < deadline, "one of the two gets everything");
    }
    let wrong: Vec<_> = times.iter().filter(|(_, n)| n.iter().sum::<u32>() != 1).collect();
    require!(wrong.is_empty(), "not exactly once (curl, pika): {wrong:?}");
    world.done(java);
    world.done(curl);
    world.done(pika);
    Ok(Outcome::Pass)
}

/// What a Java group gave up lies in `%DLQ%group` for every protocol.
fn dead_letter(world: &mut World, reader: Sdk) -> Result<Outcome, Failure> {
    let (topic, group) = (world.name("grave"), world.name("grave-group"));
    let mut java = world.driver(Sdk::JavaRocketmq)?;
    let poison = Outgoing { key: Some("k-1".into()), tag: Some("bad".into()), ..Outgoing::text("poison") };
    java.send(&topic, "sync", std::slice::from_ref(&poison))?;
    java.consume(&Consume { fail_times: -1, max_attempts: Some(1), ..Consume::new("c", &topic, &group) })?;
    java.receive("c", 1, DELIVERY_MAX)?;
    let dead = format!("%DLQ%{group}");
    let mut other = world.driver(reader)?;
    let readers = world.name("grave-reader");
    let wanted = Consume::new("dead", &dead, &readers);
    consume_when_there(&mut other, reader, &wanted)?;
    let got = other.receive("dead", 1, DELIVERY_MAX)?;
    require!(got[0].body == poison.body, "the dead letter has body {:?}", got[0].text());
    require!(got[0].tag == poison.tag, "the dead letter has tag {:?}", got[0].tag);
    require!(got[0].key == poison.key, "the dead letter has key {:?}", got[0].key);
    world.done(java);
    world.done(other);
    Ok(Outcome::Pass)
}

/// The dead-letter topic is made with the first dead letter.
fn consume_when_there(driver: &mut Driver, reader: Sdk, wanted: &Consume<'_>) -> Result<(), Failure> {
    let deadline = Instant::now() + DELIVERY_MAX;
    loop {
        let queue = format!("{}::{}", wanted.topic, wanted.group);
        let named =
            if reader == Sdk::Pika { Consume { topic: &queue, ..wanted.clone() } } else { wanted.clone() };
        match driver.consume(&named) {
            Err(Failure::Refused { .. }) if Instant::now() < deadline => driver.poll(10 * STEP).map(drop)?,
            result => return result,
        }
    }
}

/// REST moves the group of a stopped Java consumer back to the earliest moment; the SDK then reads everything again.
fn moved_group(world: &mut World) -> Result<Outcome, Failure> {
    let (topic, group) = (world.name("moved"), world.name("moved-group"));
    let mut java = world.driver(Sdk::JavaRocketmq)?;
    java.send(&topic, "sync", &numbered("m"))?;
    for reading in 0..2 {
        java.consume(&Consume::new("c", &topic, &group))?;
        let mut got = java.receive("c", COUNT, DELIVERY_MAX)?;
        java.stop("c")?;
        got.extend(java.take_arrived("c"));
        let bodies: BTreeSet<String> = got.iter().map(Arrived::text).collect();
        require!(bodies == expected("m"), "reading {reading} got {bodies:?}");
        if reading == 0 {
            let mut curl = world.driver(Sdk::Curl)?;
            curl.seek_time(&topic, &group, 0)?;
            world.done(curl);
        }
    }
    world.done(java);
    Ok(Outcome::Pass)
}
