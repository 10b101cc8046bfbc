//! Whose turn it is in an AMQP queue: the message of the highest priority, the one active consumer, and the consumer of the
//! highest priority.

use std::time::Duration;

use serde_json::{Value, json};

use crate::driver::{Consume, Driver};
use crate::line::{Arrived, Outgoing};
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, require};

use super::Case;
use super::routes::{Names, Scenario, bodies, cases_of, route};

/// How long somebody is watched who must not get anything.
const WATCHED: Duration = Duration::from_millis(500);

pub fn cases(sdks: &[Sdk]) -> Vec<Case> {
    let scenarios: [(&str, Scenario); 3] = [
        ("higher priority comes first", messages),
        ("single active consumer hands over", single_active),
        ("consumer of higher priority is served first", consumers),
    ];
    cases_of(sdks, &scenarios)
}

fn messages(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "priority");
    let message = |queue: &str, text: &str, priority: u8| json!({"exchange": "", "key": names.of(queue), "text": text, "priority": priority});
    let many = [("a", 1), ("b", 5), ("c", 1), ("d", 3), ("e", 0), ("f", 9), ("g", 5), ("h", 255)];
    let in_all = ["usual", "short", "plain"].iter().flat_map(|queue| {
        many.iter().map(|(text, priority)| message(queue, text, *priority)).collect::<Vec<Value>>()
    });
    let fields = json!({
        "exchanges": [], "bindings": [],
        "queue_arguments": {
            names.of("usual"): {"x-max-priority": 5},
            names.of("short"): {"x-max-priority": 5, "x-max-length": 3},
        },
        "messages": in_all.collect::<Vec<Value>>(),
    });
    let queues = ["usual", "short", "plain"];
    let routed = route(world, sdk, &names, &queues, fields)?;
    let expected = [
        ("usual", vec!["b", "f", "g", "h", "d", "a", "c", "e"]),
        // What is too much goes from the head, which is what has the highest priority.
        ("short", vec!["a", "c", "e"]),
        ("plain", vec!["a", "b", "c", "d", "e", "f", "g", "h"]),
    ];
    let found = bodies(&routed, &names, &queues);
    require!(found == expected.into(), "the queues hold {found:?}");
    Ok(())
}

/// Makes a queue of a scenario.
fn declare(
    world: &mut World,
    sdk: Sdk,
    names: &Names,
    queue: &str,
    arguments: Value,
) -> Result<String, Failure> {
    let own = names.of(queue);
    let fields = json!({
        "exchanges": [], "bindings": [], "messages": [], "queue_arguments": {own.as_str(): arguments},
    });
    route(world, sdk, names, &[queue], fields)?;
    Ok(own)
}

fn send(driver: &mut Driver, queue: &str, texts: &[&str]) -> Result<(), Failure> {
    let messages: Vec<Outgoing> = texts.iter().copied().map(Outgoing::text).collect();
    driver.send(queue, "sync", &messages).map(drop)
}

/// The next messages of a consumer, which must be these.
fn expect(driver: &mut Driver, expected: &[&str], redelivered: usize) -> Result<Vec<Arrived>, Failure> {
    let arrived = driver.receive("c", expected.len(), DELIVERY_MAX)?;
    let texts: Vec<String> = arrived.iter().map(Arrived::text).collect();
    require!(texts == expected, "{texts:?} came where {expected:?} was due");
    let again = arrived.iter().filter(|message| message.redelivered == Some(true)).count();
    require!(again == redelivered, "{again} of {texts:?} are marked as redelivered, not {redelivered}");
    Ok(arrived)
}

fn expect_nothing(driver: &mut Driver) -> Result<(), Failure> {
    driver.poll(WATCHED)?;
    let arrived = driver.take_arrived("c");
    require!(arrived.is_empty(), "{:?} came", arrived.iter().map(Arrived::text).collect::<Vec<_>>());
    Ok(())
}

fn single_active(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "active");
    let queue = declare(world, sdk, &names, "q", json!({"x-single-active-consumer": true}))?;
    let consumer = |prefetch| Consume { hold: true, prefetch, ..Consume::new("c", &queue, "") };
    let (mut first, mut second) = (world.driver(sdk)?, world.driver(sdk)?);
    let (mut third, mut sender) = (world.driver(sdk)?, world.driver(sdk)?);
    first.consume(&consumer(2))?;
    second.consume(&consumer(3))?;
    third.consume(&consumer(9))?;
    send(&mut sender, &queue, &["0", "1", "2", "3", "4"])?;
    expect(&mut first, &["0", "1"], 0)?;
    expect_nothing(&mut second)?;
    expect_nothing(&mut third)?;
    first.kill();
    let held = expect(&mut second, &["0", "1", "2"], 2)?;
    second.settle("c", &held[..1], "ack")?;
    expect(&mut second, &["3"], 0)?;
    expect_nothing(&mut third)?;
    second.kill();
    let rest = expect(&mut third, &["1", "2", "3", "4"], 3)?;
    third.settle("c", &rest, "ack")?;
    world.done(third);
    world.done(sender);
    Ok(())
}

fn consumers(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "consumers");
    let queue = declare(world, sdk, &names, "q", json!({}))?;
    let consumer =
        |prefetch, priority| Consume { hold: true, prefetch, priority, ..Consume::new("c", &queue, "") };
    let (mut low, mut high, mut sender) = (world.driver(sdk)?, world.driver(sdk)?, world.driver(sdk)?);
    low.consume(&consumer(2, -1))?;
    high.consume(&consumer(2, 10))?;
    send(&mut sender, &queue, &["0"])?;
    let first = expect(&mut high, &["0"], 0)?;
    send(&mut sender, &queue, &["1", "2"])?;
    expect(&mut high, &["1"], 0)?;
    expect(&mut low, &["2"], 0)?;
    high.settle("c", &first, "ack")?;
    send(&mut sender, &queue, &["3"])?;
    expect(&mut high, &["3"], 0)?;
    expect_nothing(&mut low)?;
    for driver in [low, high, sender] {
        world.done(driver);
    }
    Ok(())
}
