//! Messages with one ordering key are delivered in the order in which they were sent, also while more of them are being sent.

use std::collections::BTreeMap;

use crate::driver::{Consume, Driver};
use crate::line::{Arrived, Outgoing, Settled};
use crate::sdk::{Protocol, Sdk};
use crate::world::{DELIVERY_MAX, OPENING_BODY, World};
use crate::{Failure, Outcome, require};

use super::possible;

const KEYS: u32 = 5;
const PER_KEY: u32 = 60;
/// So many of each key go out between two looks at what has arrived.
const PER_KEY_AT_ONCE: u32 = 10;
/// How many of a key the failing scenario uses.
const BLOCKED: usize = 6;

pub fn run(world: &mut World, producer: Sdk, consumer: Sdk) -> Result<Outcome, Failure> {
    possible(in_order(world, producer, consumer))
}

fn in_order(world: &mut World, producer: Sdk, consumer: Sdk) -> Result<(), Failure> {
    let topic = world.name("order");
    let group = world.name("order-group");
    let queues = world.make_topic(&topic, 4, &[producer, consumer])?;
    let total = (KEYS * PER_KEY) as usize;

    let mut receiver = world.driver(consumer)?;
    receiver.consume(&Consume { orderly: true, ..Consume::new("c", &topic, &group) })?;
    let mut sender = world.driver(producer)?;
    let mut arrived: Vec<Arrived> = Vec::new();
    let mut sent = 0;
    for (part, messages) in parts(producer, queues).iter().enumerate() {
        sender.send(&topic, mode(producer), messages)?;
        sent += messages.len();
        // Only once the consumer is seen at work do the others go out, and then without waiting for it.
        if part == 0 {
            collect(&mut receiver, &mut arrived, sent)?;
        }
    }
    collect(&mut receiver, &mut arrived, total)?;
    world.done(sender);
    world.done(receiver);
    check(&arrived)
}

/// How the SDK may send in order without waiting for each receipt: within one batch, or on one AMQP channel. The RocketMQ
/// clients promise no order of asynchronous sends, and the Go client no queue for a batch.
fn mode(producer: Sdk) -> &'static str {
    match producer {
        Sdk::JavaRocketmq | Sdk::JavaRocketmq4 | Sdk::Curl => "batch",
        // Each message has its own run of the program.
        Sdk::AmqpTools => "sync",
        _ if producer.protocol() == Protocol::Amqp => "oneway",
        _ => "sync",
    }
}

/// Takes what arrives until there is so much of it, the message that made the topic left out.
fn collect(receiver: &mut Driver, arrived: &mut Vec<Arrived>, count: usize) -> Result<(), Failure> {
    while arrived.len() < count {
        arrived.extend(receiver.receive("c", count - arrived.len(), DELIVERY_MAX)?);
        arrived.retain(|message| message.body != OPENING_BODY.as_bytes());
    }
    Ok(())
}

/// A message that fails holds up those behind it with the same key until it succeeds.
pub fn blocks(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    if sdk.protocol() != Protocol::Remoting {
        return Ok(Outcome::Cannot("consuming in order is a mode of RocketMQ's push consumer".into()));
    }
    possible(one_blocks(world, sdk))
}

fn one_blocks(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let topic = world.name("block");
    let group = world.name("block-group");
    let queues = world.make_topic(&topic, 4, &[sdk])?;
    let mut driver = world.driver(sdk)?;
    let is_first_key = |m: &Outgoing| m.ordering_key.as_deref() == Some("key0");
    let sent: Vec<Outgoing> =
        parts(sdk, queues).into_iter().flatten().filter(is_first_key).take(BLOCKED).collect();
    driver.send(&topic, "sync", &sent)?;
    driver.consume(&Consume { orderly: true, fail_times: 1, ..Consume::new("c", &topic, &group) })?;
    let mut arrived: Vec<Arrived> = Vec::new();
    collect(&mut driver, &mut arrived, 2 * BLOCKED)?;
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
    Ok(())
}

/// What goes out at once, part by part. Key and number make the body; the keys take turns, so that order within a key is not
/// order of sending alone. A batch of RocketMQ goes to one queue, so each of its parts has one key.
fn parts(producer: Sdk, queues: u32) -> Vec<Vec<Outgoing>> {
    let mut parts = Vec::new();
    for first in (0..PER_KEY).step_by(PER_KEY_AT_ONCE as usize) {
        let numbers = first..first + PER_KEY_AT_ONCE;
        if matches!(producer, Sdk::JavaRocketmq | Sdk::JavaRocketmq4) {
            parts.extend(
                (0..KEYS).map(|key| numbers.clone().map(|n| message(producer, queues, key, n)).collect()),
            );
        } else {
            let turns = numbers.flat_map(|n| (0..KEYS).map(move |key| message(producer, queues, key, n)));
            parts.push(turns.collect());
        }
    }
    parts
}

fn message(producer: Sdk, queues: u32, key: u32, number: u32) -> Outgoing {
    let mut message = Outgoing::text(format!("key{key} {number}"));
    if producer.names_queues() {
        message.queue = Some(key % queues);
    } else {
        message.ordering_key = Some(format!("key{key}"));
    }
    message
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
