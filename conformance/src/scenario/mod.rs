//! The scenarios: what a user of these SDKs relies on, each written once.
//!
//! A scenario gets the drivers' SDKs and the world, and says whether it passed, cannot be done, or failed. The list says which SDKs
//! or pairs each runs for; the skips are not decided here but by what a driver answers, or by a reason that the scenario states.

mod access;
mod across;
mod balance;
mod crash;
mod duplicate;
mod endings;
mod expression;
mod find;
mod full_disk;
mod hostile;
mod lite;
mod load;
mod modes;
mod order;
mod recall;
mod requeue;
mod restart;
mod resume;
mod retry;
mod round_trip;
mod routes;
mod seek;
mod tag;
mod tasks;
mod trace;
mod transaction;
mod turns;

use std::time::Instant;

use crate::sdk::{Protocol, Sdk};
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

type Run = Box<dyn FnOnce(&mut World) -> Result<Outcome, Failure> + Send>;

/// One cell of the table: a scenario for one driver or pair.
pub struct Case {
    pub row: String,
    pub column: String,
    pub run: Run,
}

impl Case {
    fn new(
        row: impl Into<String>,
        column: impl ToString,
        run: impl FnOnce(&mut World) -> Result<Outcome, Failure> + Send + 'static,
    ) -> Self {
        Self { row: row.into(), column: column.to_string(), run: Box::new(run) }
    }
}

type Single = fn(&mut World, Sdk) -> Result<Outcome, Failure>;

/// What each SDK does by itself.
const SINGLES: [(&str, Single); 14] = [
    ("every way of sending", modes::run),
    ("load is complete and where receipts say", load::run),
    ("filter by tag", tag::run),
    ("filter by SQL92", expression::run),
    ("group resumes where it stopped", resume::run),
    ("group balances over two members", balance::shares),
    ("survivor takes over", balance::takes_over),
    ("failed ordered message holds up its key", order::blocks),
    ("failed message comes back", retry::comes_back),
    ("exhausted message is dead-lettered", retry::dead_letter),
    ("requeue sets redelivered", requeue::run),
    ("group seeks back by time", seek::run),
    ("message is found by its key", find::run),
    ("client outlives the broker's restart", restart::run),
];

/// Every case that the SDKs given allow; `crash_rounds` is the number of kills in the crash scenario, and `long` adds what only
/// waits for long.
pub fn cases(sdks: &[Sdk], crash_rounds: u32, long: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for (producer, consumer) in pairs(sdks) {
        let row = format!("round trip from {producer}");
        cases.push(Case::new(row, consumer, move |world| round_trip::run(world, producer, consumer)));
    }
    for (producer, consumer) in pairs(sdks) {
        let row = format!("order from {producer}");
        cases.push(Case::new(row, consumer, move |world| order::run(world, producer, consumer)));
    }
    for (row, scenario) in SINGLES {
        for &sdk in sdks {
            cases.push(Case::new(row, sdk, move |world| scenario(world, sdk)));
        }
    }
    if sdks.contains(&Sdk::JavaRocketmq) {
        let is_other = |sdk: &&Sdk| sdk.protocol() == Protocol::Remoting && **sdk != Sdk::JavaRocketmq;
        cases.extend(sdks.iter().filter(is_other).map(|&sdk| {
            Case::new("group shared with java-rocketmq by", sdk, move |world| {
                balance::shares_with(world, Sdk::JavaRocketmq, sdk)
            })
        }));
    }
    cases.extend(of_some(sdks));
    if sdks.contains(&Sdk::Celery) {
        cases.extend(tasks::cases());
    }
    if Sdk::QUICK.iter().all(|sdk| sdks.contains(sdk)) {
        cases.extend(across::cases());
        for sdk in [Sdk::JavaRocketmq, Sdk::Pika, Sdk::Curl] {
            cases.push(Case::new("served after hostile bytes on its port", sdk, move |world| {
                hostile::run(world, sdk)
            }));
        }
    }
    for &sdk in sdks.iter().filter(|sdk| sdk.is_quick()) {
        cases.push(Case::new("full disk is refused and survived", sdk, move |world| {
            full_disk::run(world, sdk)
        }));
    }
    if long {
        cases.push(Case::new("silent connections are closed", Sdk::Curl, hostile::silent_http));
    }
    if Sdk::PARTNERS.iter().any(|sdk| sdks.contains(sdk)) {
        let all = sdks.to_vec();
        cases.push(Case::new(
            format!("{crash_rounds} kills of the broker under load"),
            "all",
            move |world| crash::run(world, crash_rounds, &all),
        ));
    }
    cases
}

/// What only some SDKs have calls for; each family knows which.
fn of_some(sdks: &[Sdk]) -> impl Iterator<Item = Case> {
    let families = [
        lite::cases(sdks),
        routes::cases(sdks),
        recall::cases(sdks),
        transaction::cases(sdks),
        endings::cases(sdks),
        turns::cases(sdks),
        access::cases(sdks),
        trace::cases(sdks),
        duplicate::cases(sdks),
    ];
    families.into_iter().flatten()
}

/// Who sends to whom: in the quick set each to each; another SDK to and from itself and one SDK of each protocol, since with each
/// to each the run would grow with the square of the list and show little more.
fn pairs(sdks: &[Sdk]) -> Vec<(Sdk, Sdk)> {
    let each_to_each =
        sdks.iter().flat_map(|&producer| sdks.iter().map(move |&consumer| (producer, consumer)));
    let is_wanted = |&(producer, consumer): &(Sdk, Sdk)| {
        producer == consumer
            || producer.is_quick() && consumer.is_quick()
            || Sdk::PARTNERS.contains(&producer)
            || Sdk::PARTNERS.contains(&consumer)
    };
    each_to_each.filter(is_wanted).collect()
}

/// The number of queues that a topic gets when this SDK is to use it.
fn queues_for(sdk: Sdk) -> u32 {
    if sdk.protocol() == Protocol::Amqp { 1 } else { 4 }
}

/// Turns a driver's "my SDK can't" into an outcome; every other failure stays one.
fn possible(result: Result<(), Failure>) -> Result<Outcome, Failure> {
    match result {
        Ok(()) => Ok(Outcome::Pass),
        Err(Failure::Unsupported { reason, .. }) => Ok(Outcome::Cannot(reason)),
        Err(failure) => Err(failure),
    }
}

/// Waits until the group has committed everything. A RocketMQ SDK reports a message before it counts it as consumed, and commits
/// in the background; the other drivers settle before they stop.
fn await_settled(world: &mut World, sdk: Sdk, topic: &str, group: &str) -> Result<(), Failure> {
    if sdk.protocol() != Protocol::Remoting {
        return Ok(());
    }
    let mut java = world.driver(Sdk::JavaRocketmq)?;
    let deadline = Instant::now() + DELIVERY_MAX;
    loop {
        let queues = java.offsets(topic, group)?;
        if queues.iter().all(|queue| queue.committed == queue.max || queue.max == 0) {
            world.done(java);
            return Ok(());
        }
        require!(Instant::now() < deadline, "{sdk} consumed everything but committed only {queues:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_set_is_paired_each_to_each_and_the_others_with_one_of_each_protocol() {
        assert_eq!(pairs(&Sdk::QUICK).len(), Sdk::QUICK.len() * Sdk::QUICK.len());
        let all = pairs(&Sdk::ALL);
        let others: Vec<Sdk> = Sdk::ALL.into_iter().filter(|sdk| !sdk.is_quick()).collect();
        for &other in &others {
            for partner in Sdk::PARTNERS {
                assert!(
                    all.contains(&(other, partner)) && all.contains(&(partner, other)),
                    "{other}, {partner}"
                );
            }
            let among_others = all.iter().filter(|(a, b)| *a == other && others.contains(b)).count();
            assert_eq!(among_others, 1, "{other} with itself only");
        }
    }

    #[test]
    fn partners_speak_every_protocol_and_are_quick() {
        let protocols = Sdk::PARTNERS.map(Sdk::protocol);
        assert_eq!(protocols, [Protocol::Remoting, Protocol::Amqp, Protocol::Http]);
        assert!(Sdk::PARTNERS.into_iter().all(Sdk::is_quick));
    }
}
