//! What one SDK sends, another receives: every byte of the body, every property, the tag and the key.

use std::collections::BTreeMap;

use crate::ability::Part;
use crate::broker::Against;
use crate::driver::{Consume, Driver};
use crate::line::{Arrived, Outgoing, Receipt};
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, OPENING_BODY, World};
use crate::{Failure, Outcome, require};

const LARGE_BYTES: usize = 1 << 20;
/// Above the size from which RocketMQ's SDKs compress a body.
const COMPRESSED_BYTES: usize = 9_000;
const PROPERTY_NAMES: [&str; 5] = ["colour", "count", "umlaut", "spaced", "both"];

pub fn run(world: &mut World, producer: Sdk, consumer: Sdk) -> Result<Outcome, Failure> {
    let trip = Trip { producer, consumer };
    let topic = world.name("trip");
    let group = world.name("trip-group");
    world.make_topic(&topic, 4, &[producer, consumer])?;
    let messages = trip.messages(world.against());

    let mut sender = world.driver(producer)?;
    let receipts = sender.send(&topic, "sync", &messages)?;
    require!(receipts.len() == messages.len(), "{} receipts for {} messages", receipts.len(), messages.len());
    world.done(sender);

    let mut receiver = world.driver(consumer)?;
    receiver.consume(&Consume { property_names: &PROPERTY_NAMES, ..Consume::new("c", &topic, &group) })?;
    let arrived = collect(&mut receiver, messages.len())?;
    world.done(receiver);

    for (sent, receipt) in messages.iter().zip(&receipts) {
        let same: Vec<&Arrived> = arrived.iter().filter(|message| message.body == sent.body).collect();
        require!(same.len() == 1, "{} arrived {} times", show(sent), same.len());
        if trip.cannot(Part::Envelope).is_none() {
            trip.compare(sent, receipt, same[0])?;
        }
    }
    let left_out = trip.left_out();
    Ok(if left_out.is_empty() { Outcome::Pass } else { Outcome::PassBut(left_out.join("; ")) })
}

/// From whom to whom.
struct Trip {
    producer: Sdk,
    consumer: Sdk,
}

impl Trip {
    fn cannot(&self, part: Part) -> Option<&'static str> {
        self.producer.cannot_send(part).or_else(|| self.consumer.cannot_show(part))
    }

    fn left_out(&self) -> Vec<&'static str> {
        [Part::EmptyBody, Part::BinaryBody, Part::Envelope, Part::Properties]
            .into_iter()
            .filter_map(|part| self.cannot(part))
            .collect()
    }

    fn messages(&self, against: Against) -> Vec<Outgoing> {
        let mut messages = texts();
        if self.cannot(Part::BinaryBody).is_none() {
            messages.extend(binaries());
        }
        // The real broker fails on Go's empty body with a NullPointerException; ours takes it.
        if self.cannot(Part::EmptyBody).is_none() && against != Against::Rocketmq {
            messages.push(Outgoing::default());
        }
        if self.producer.cannot_send(Part::Properties).is_some() {
            messages.iter_mut().for_each(|message| message.properties.clear());
        }
        messages
    }
}

/// Bodies are unique, so that each arrival can be told to be of one message.
fn binaries() -> Vec<Outgoing> {
    let every_byte: Vec<u8> = (0..=255).rev().collect();
    let large = (0..LARGE_BYTES).map(noise).collect();
    [every_byte, vec![0xff, 0xfe, 0xc0, 0x00, 0x80], large]
        .map(|body| Outgoing { body, ..Outgoing::default() })
        .into()
}

/// Bytes that do not compress much, the same in each run.
fn noise(i: usize) -> u8 {
    (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]
}

fn texts() -> Vec<Outgoing> {
    let large = (0..LARGE_BYTES).map(|i| char::from(b'a' + noise(i) % 26)).collect::<String>();
    let properties = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    vec![
        Outgoing::text("x"),
        Outgoing::text(large),
        Outgoing::text("compressible ".repeat(COMPRESSED_BYTES / 13)),
        Outgoing {
            properties: properties(&[
                ("colour", "red"),
                ("count", "17"),
                ("umlaut", "grün ☃ 𝄞"),
                ("spaced", "a b  c"),
            ]),
            ..Outgoing::text("with properties")
        },
        Outgoing { tag: Some("created".into()), ..Outgoing::text("with a tag") },
        Outgoing { key: Some("order-4711".into()), ..Outgoing::text("with a key") },
        Outgoing {
            properties: properties(&[("both", "yes")]),
            tag: Some("paid".into()),
            key: Some("order-4712".into()),
            ..Outgoing::text("with all of it")
        },
    ]
}

/// `count` arrivals, without the message that made the topic.
fn collect(receiver: &mut Driver, count: usize) -> Result<Vec<Arrived>, Failure> {
    let mut arrived: Vec<Arrived> = Vec::new();
    while arrived.len() < count {
        let missing = count - arrived.len();
        arrived.extend(
            receiver
                .receive("c", missing, DELIVERY_MAX)?
                .into_iter()
                .filter(|m| m.body != OPENING_BODY.as_bytes()),
        );
    }
    receiver.stop("c")?;
    arrived.extend(receiver.take_arrived("c").into_iter().filter(|m| m.body != OPENING_BODY.as_bytes()));
    require!(arrived.len() == count, "{} deliveries of {count} messages", arrived.len());
    Ok(arrived)
}

impl Trip {
    fn compare(&self, sent: &Outgoing, receipt: &Receipt, got: &Arrived) -> Result<(), Failure> {
        let what = show(sent);
        let wanted = if self.consumer.cannot_show(Part::Properties).is_none() {
            &sent.properties
        } else {
            &BTreeMap::new()
        };
        for (key, value) in wanted {
            let arrived = got.properties.get(key).and_then(serde_json::Value::as_str);
            require!(
                arrived == Some(value.as_str()),
                "{what}: property {key} arrived as {:?}",
                got.properties.get(key)
            );
        }
        // Drivers leave out what their SDK or the broker uses for itself, so nothing is left that nobody sent.
        let is_known =
            |key: &str| sent.properties.contains_key(key) || self.producer.added_properties().contains(&key);
        let added: Vec<_> = got.properties.iter().filter(|(key, _)| !is_known(key)).collect();
        require!(added.is_empty(), "{what}: arrived with properties that nobody sent: {added:?}");
        require!(
            got.tag.as_deref().unwrap_or("") == sent.tag.as_deref().unwrap_or(""),
            "{what}: tag arrived as {:?}",
            got.tag
        );
        if sent.key.is_some() {
            require!(got.key == sent.key, "{what}: key arrived as {:?}", got.key);
        }
        require!(got.attempt.unwrap_or(1) == 1, "{what}: first delivery has attempt {:?}", got.attempt);
        require!(!got.redelivered.unwrap_or(false), "{what}: first delivery is marked as redelivered");
        for (name, told, seen) in [
            ("queue", receipt.queue.map(u64::from), got.queue.map(u64::from)),
            ("offset", receipt.offset, got.offset),
        ] {
            if let (Some(told), Some(seen)) = (told, seen) {
                require!(told == seen, "{what}: receipt says {name} {told}, it arrived from {seen}");
            }
        }
        Ok(())
    }
}

fn show(message: &Outgoing) -> String {
    let start: String = String::from_utf8_lossy(&message.body).chars().take(20).collect();
    format!("message of {} bytes ({start:?})", message.body.len())
}
