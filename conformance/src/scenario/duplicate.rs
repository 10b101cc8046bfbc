//! A message that is sent again is stored once, and the second send is answered like the first: where the topic remembers what
//! it has stored. RocketMQ SDKs need nothing for it but their own retries; over AMQP a header says it, over REST a field.

use serde_json::{Value, json};

use crate::broker::Against;
use crate::driver::Consume;
use crate::line::{Arrived, Outgoing, Receipt};
use crate::sdk::Sdk;
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

use super::routes::{Names, Scenario, bodies, route};
use super::{Case, possible};

const WINDOW_MS: u64 = 600_000;

pub fn cases(sdks: &[Sdk]) -> Vec<Case> {
    let scenario_of = |sdk: Sdk| -> Option<Scenario> {
        match sdk {
            Sdk::JavaRocketmq | Sdk::JavaRocketmq4 | Sdk::GoRocketmq | Sdk::Curl => Some(by_itself),
            Sdk::Pika | Sdk::Amqp091Go => Some(by_header),
            _ => None,
        }
    };
    let case = |&sdk: &Sdk| {
        let scenario = scenario_of(sdk)?;
        Some(Case::new(
            "message that is sent again is stored once",
            sdk,
            move |world: &mut World| match world.against() {
                Against::Mailrail => possible(scenario(world, sdk)),
                _ => Ok(Outcome::Cannot("without a plug-in this broker stores what is sent again".into())),
            },
        ))
    };
    sdks.iter().filter_map(case).collect()
}

fn by_itself(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let (topic, group) = (world.name("again"), world.name("g"));
    let mut curl = world.driver(Sdk::Curl)?;
    curl.create_deduplicating_topic(&topic, 4, WINDOW_MS)?;
    world.done(curl);
    let mut driver = world.driver(sdk)?;
    // The key is the application's, and no reason to take two messages for one.
    let message =
        |text: &str, again| Outgoing { key: Some("order-13".into()), again, ..Outgoing::text(text) };
    let sent = [message("twice", 1), message("once", 0), message("thrice", 2)];
    let receipts = driver.send(&topic, "sync", &sent)?;
    let place = |receipt: &Receipt| (receipt.queue, receipt.offset);
    let places: Vec<_> = receipts.iter().map(place).collect();
    let [twice, again, once, thrice, second, third] = places[..] else {
        return Err(Failure::Wrong(format!("{} receipts for 6 sends", places.len())));
    };
    require!(twice == again && thrice == second && thrice == third, "the receipts are {places:?}");
    require!(twice != once && once != thrice && twice != thrice, "the receipts are {places:?}");
    driver.consume(&Consume::new("c", &topic, &group))?;
    let mut got = driver.receive("c", sent.len(), DELIVERY_MAX)?;
    driver.send(&topic, "sync", &[message("last", 0)])?;
    got.extend(driver.receive("c", 1, DELIVERY_MAX)?);
    driver.stop("c")?;
    got.extend(driver.take_arrived("c"));
    let mut texts: Vec<String> = got.iter().map(Arrived::text).collect();
    texts.sort();
    require!(texts == ["last", "once", "thrice", "twice"], "came: {texts:?}");
    world.done(driver);
    Ok(())
}

fn by_header(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "again");
    let (own, other) = (names.of("own"), names.of("other"));
    let message = |queue: &str, key: &str, text: &str| json!({"exchange": "", "key": queue, "headers": {"x-deduplication-header": key}, "text": text});
    let messages: Vec<Value> = [&own, &other]
        .into_iter()
        .flat_map(|queue| {
            [("a", "a1"), ("a", "a2"), ("b", "b1")].map(|(key, text)| message(queue, key, text))
        })
        .collect();
    let fields = json!({
        "exchanges": [],
        "bindings": [],
        "queue_arguments": {own.clone(): {"x-message-deduplication": true}},
        "messages": messages,
    });
    let queues = ["own", "other"];
    let routed = route(world, sdk, &names, &queues, fields)?;
    let expected = [("own", vec!["a1", "b1"]), ("other", vec!["a1", "a2", "b1"])].into();
    let found = bodies(&routed, &names, &queues);
    require!(found == expected, "the queues hold {found:?}");
    require!(routed.nacked.is_empty() && routed.returned.is_empty(), "not all were confirmed: {routed:?}");
    Ok(())
}
