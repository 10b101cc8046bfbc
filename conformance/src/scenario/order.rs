//! Messages with one ordering key are delivered in the order in which they were sent.

use std::collections::BTreeMap;

use crate::driver::Consume;
use crate::line::{Arrived, Outgoing, Settled};
use crate::sdk::{Protocol, Sdk};
use crate::world::{DELIVERY_MAX, OPENING_BODY, World};
use crate::{Failure, Outcome, require};

const KEYS: u32 = 5;
const PER_KEY: u32 = 30;

pub fn run(world: &mut World, producer: Sdk, consumer: Sdk) -> Result<Outcome, Failure> {
    let topic = world.name("order");
    let group = world.name("order-group");
    let queues = world.make_topic(&topic, 4, &[producer, consumer])?;
    let total = (KEYS * PER_KEY) as usize;

    let mut sender = world.driver(producer)?;
    sender.send(&topic, "sync", &messages(producer, queues))?;
    world.done(sender);

    let mut receiver = world.driver(consumer)?;
    receiver.consume(&Consume { orderly: true, ..Consume::new("c", &topic, &group) })?;
    let mut arrived: Vec<Arrived> = Vec::new();
    while arrived.len() < total {
        arrived.extend(receiver.receive("c", total - arrived.len(), DELIVERY_MAX)?);
        arrived.retain(|message| message.body != OPENING_BODY.as_bytes());
    }
    world.done(receiver);
    check(&arrived)?;
    Ok(Outcome::Pass)
}

/// A message that fails holds up those behind it with the same key until it succeeds.
pub fn blocks(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    if sdk.protocol() != Protocol::Remoting {
        return Ok(Outcome::Cannot("consuming in order is a mode of RocketMQ's push consumer".into()));
    }
    let topic = world.name("block");
    let group = world.name("block-group");
    let queues = world.make_topic(&topic, 4, &[sdk])?;
    let mut driver = world.driver(sdk)?;
    let count = 6;
    let sent: Vec<Outgoing> = messages(sdk, queues)
        .into_iter()
        .filter(|m| m.ordering_key.as_deref() == Some("key0"))
        .take(count)
        .collect();
    driver.send(&topic, "sync", &sent)?;
    driver.consume(&Consume { orderly: true, fail_times: 1, ..Consume::new("c", &topic, &group) })?;
    let mut arrived: Vec<Arrived> = Vec::new();
    while arrived.len() < 2 * count {
        arrived.extend(driver.receive("c", 1, DELIVERY_MAX)?);
        arrived.retain(|message| message.body != OPENING_BODY.as_bytes());
    }
    world.done(driver);
    for (number, pair) in arrived.chunks(2).enumerate() {
        for (message, outcome) in pair.iter().zip([Settled::Fail, Settled::Ack]) {
            let expected = format!("key0 {number}");
            require!(message.text() == expected, "{:?} came while {expected:?} was due", message.text());
            require!(
                message.outcome == outcome,
                "{expected:?}: {:?} where {outcome:?} was due",
                message.outcome
            );
        }
    }
    Ok(Outcome::Pass)
}

/// Key and number make the body; the keys take turns, so that order within a key is not order of sending alone.
fn messages(producer: Sdk, queues: u32) -> Vec<Outgoing> {
    let mut messages = Vec::new();
    for number in 0..PER_KEY {
        for key in 0..KEYS {
            let mut message = Outgoing::text(format!("key{key} {number}"));
            match producer {
                Sdk::JavaRocketmq | Sdk::GoRocketmq => message.ordering_key = Some(format!("key{key}")),
                // These have no queue selector of their own, so the sender names the queue.
                Sdk::Pika | Sdk::Curl => message.queue = Some(key % queues),
            }
            messages.push(message);
        }
    }
    messages
}

fn check(arrived: &[Arrived]) -> Result<(), Failure> {
    let mut next: BTreeMap<String, u32> = BTreeMap::new();
    let mut last_offset: BTreeMap<u32, u64> = BTreeMap::new();
    for message in arrived {
        let text = message.text();
        let Some((key, number)) = text.split_once(' ') else {
            return Err(Failure::Wrong(format!("unknown message {text:?}")));
        };
        let expected = next.entry(key.to_owned()).or_default();
        require!(number == expected.to_string(), "{key}: number {number} came where {expected} was due");
        *expected += 1;
        if let (Some(queue), Some(offset)) = (message.queue, message.offset) {
            let before = last_offset.insert(queue, offset);
            require!(
                before.is_none_or(|b| b < offset),
                "queue {queue}: offset {offset} came after {before:?}"
            );
        }
    }
    Ok(())
}
