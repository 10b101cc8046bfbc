//! The disk of a running broker fills up: sends are refused in the way that the SDK's protocol has for it, what was stored
//! can be consumed, and with room again the same broker takes messages, having lost none that it acknowledged.
//!
//! The disk is a small file system in memory that only this broker sees; where a machine lets nobody mount one, the cell
//! says so.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::broker::{Against, Broker};
use crate::driver::{Consume, Driver};
use crate::line::Outgoing;
use crate::sdk::{Protocol, Sdk};
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::hostile::random::Random;
use super::queues_for;

const DISK_MIB: u64 = 48;
const BODY_BYTES: usize = 64 * 1024;
/// More than any segment that is there already can take.
const SENDS_MAX: usize = 100;
/// How long a broker may take to see that there is room again.
const RESUME_MAX: Duration = Duration::from_secs(15);

/// How full the disk gets: to the least that is to stay free, or to the last byte.
const FORMS: [(&str, u64); 2] = [("low", 8), ("full", 0)];

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    if world.against() != Against::Mailrail {
        return Ok(Outcome::Cannot("a peer cannot be given a small disk here".into()));
    }
    if let Err(reason) = Broker::can_have_small_disk() {
        println!("not shown for {sdk}: {reason}");
        return Ok(Outcome::Cannot(format!("this machine mounts no small disk: {reason}")));
    }
    for (form, free_mib_min) in FORMS {
        let folder = world.folder().join(format!("{form}-disk-{sdk}"));
        std::fs::create_dir_all(&folder).map_err(Failure::io(format!("creating {}", folder.display())))?;
        let broker = Broker::start_on_small_disk(&folder, DISK_MIB, free_mib_min)?;
        let mut driver = world.unconnected(sdk)?;
        driver.connect(&broker.endpoints().fields())?;
        fill(world, broker, &mut driver, free_mib_min)
            .map_err(|failure| Failure::Wrong(format!("{form} disk: {failure}")))?;
        world.done(driver);
    }
    Ok(Outcome::Pass)
}

fn fill(
    world: &mut World,
    mut broker: Broker,
    driver: &mut Driver,
    free_mib_min: u64,
) -> Result<(), Failure> {
    let (topic, group) = ("filled", "filled-group");
    make_topic(world, &broker, driver, topic)?;
    let mut sent = BTreeSet::new();
    let first = send_until(driver, topic, &mut sent, 1)?;
    require!(first.is_none(), "refused on an empty disk: {first:?}");
    broker.fill_small_disk(free_mib_min * 3 / 4)?;
    let refusal = send_until(driver, topic, &mut sent, SENDS_MAX)?;
    let Some(refusal) = refusal else {
        return Err(Failure::Wrong(format!("{} sends were taken by a full disk", sent.len())));
    };
    check_refusal(driver.sdk(), &refusal)?;

    driver.consume(&Consume::new("c", topic, group))?;
    collect(driver, &mut BTreeSet::new(), &sent)?;

    broker.empty_small_disk()?;
    let deadline = Instant::now() + RESUME_MAX;
    while let Some(refusal) = send_until(driver, topic, &mut sent, 1)? {
        require!(Instant::now() < deadline, "still refused {RESUME_MAX:?} after there is room: {refusal}");
        driver.poll(Duration::from_millis(100))?;
    }
    let last: BTreeSet<String> = sent.iter().next_back().cloned().into_iter().collect();
    collect(driver, &mut BTreeSet::new(), &last)?;
    driver.stop("c")?;
    broker.stop()
}

/// By REST where the SDK makes none and its first send would not either.
fn make_topic(world: &mut World, broker: &Broker, driver: &mut Driver, topic: &str) -> Result<(), Failure> {
    match driver.create_topic(topic, queues_for(driver.sdk())) {
        Err(Failure::Unsupported { .. }) => {
            let mut curl = world.unconnected(Sdk::Curl)?;
            curl.connect(&broker.endpoints().fields())?;
            curl.create_topic(topic, queues_for(driver.sdk()))?;
            world.done(curl);
            Ok(())
        }
        result => result,
    }
}

/// Sends so many messages one by one, or until one is refused, and gives the refusal.
fn send_until(
    driver: &mut Driver,
    topic: &str,
    sent: &mut BTreeSet<String>,
    count: usize,
) -> Result<Option<String>, Failure> {
    for _ in 0..count {
        let name = format!("message {:04}", sent.len());
        let message = Outgoing { body: body(&name), ..Outgoing::default() };
        match driver.send(topic, "sync", &[message]) {
            Ok(_) => drop(sent.insert(name)),
            Err(Failure::Refused { text, .. }) => return Ok(Some(text)),
            Err(failure) => return Err(failure),
        }
    }
    Ok(None)
}

/// The name, and then bytes that SDKs cannot compress.
fn body(name: &str) -> Vec<u8> {
    [format!("{name}\n").into_bytes(), Random::new(1, 0).bytes(BODY_BYTES)].concat()
}

/// What each protocol says of a broker that has no room.
fn check_refusal(sdk: Sdk, text: &str) -> Result<(), Failure> {
    let words: &[&str] = match sdk.protocol() {
        Protocol::Http => &["507"],
        // The Java client tells the code only to who asks for the cause.
        Protocol::Remoting => &["CODE: 14", "still failed"],
        Protocol::Amqp => &["NACK", "506"],
    };
    require!(words.iter().any(|word| text.contains(word)), "a full disk reads as {text:?}");
    println!("a full disk to {sdk}: {text:.200}");
    Ok(())
}

/// Until every message named was there at least once: what was refused may be there too, as after a lost answer.
fn collect(
    driver: &mut Driver,
    seen: &mut BTreeSet<String>,
    wanted: &BTreeSet<String>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + DELIVERY_MAX;
    while !wanted.is_subset(seen) {
        let missing: Vec<_> = wanted.difference(seen).take(3).collect();
        require!(Instant::now() < deadline, "not received: {missing:?} and more");
        driver.poll(Duration::from_millis(100))?;
        let arrived = driver.take_arrived("c");
        seen.extend(arrived.iter().filter_map(|message| message.text().lines().next().map(str::to_owned)));
    }
    Ok(())
}
