//! What exchanges do with messages: by headers, to an alternate, through each other, and to more keys than one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::driver::Routed;
use crate::sdk::Sdk;
use crate::world::World;
use crate::{Failure, require};

use super::{Case, possible};

/// The drivers that declare exchanges and bind them.
pub(super) const SDKS: [Sdk; 2] = [Sdk::Pika, Sdk::Amqp091Go];

pub fn cases(sdks: &[Sdk]) -> Vec<Case> {
    let scenarios: [(&str, Scenario); 4] = [
        ("headers exchange matches by value", headers),
        ("alternate exchange gets what goes nowhere", alternate),
        ("exchanges are bound to each other", through_each_other),
        ("copies go to the keys of CC and BCC", copies),
    ];
    cases_of(sdks, &scenarios)
}

pub(super) type Scenario = fn(&mut World, Sdk) -> Result<(), Failure>;

/// Each scenario with each of the drivers that are there.
pub(super) fn cases_of(sdks: &[Sdk], scenarios: &[(&'static str, Scenario)]) -> Vec<Case> {
    let cell = |&(row, scenario): &(&'static str, Scenario), sdk: Sdk| {
        Case::new(row, sdk, move |world| possible(scenario(world, sdk)))
    };
    let drivers = || SDKS.into_iter().filter(|sdk| sdks.contains(sdk));
    scenarios.iter().flat_map(|scenario| drivers().map(move |sdk| cell(scenario, sdk))).collect()
}

/// Names that no other run of a scenario has.
pub(super) struct Names(String);

impl Names {
    pub fn new(world: &mut World, what: &str) -> Self {
        Names(world.name(what))
    }

    pub fn of(&self, name: &str) -> String {
        format!("{}-{name}", self.0)
    }
}

pub(super) fn route(
    world: &mut World,
    sdk: Sdk,
    names: &Names,
    queues: &[&str],
    fields: Value,
) -> Result<Routed, Failure> {
    let mut driver = world.driver(sdk)?;
    let mut fields = fields;
    fields["queue_names"] = queues.iter().map(|queue| names.of(queue)).collect();
    let routed = driver.route(fields)?;
    world.done(driver);
    Ok(routed)
}

/// The bodies in each queue, in their order.
pub(super) fn bodies<'a>(
    routed: &'a Routed,
    names: &Names,
    queues: &[&'a str],
) -> BTreeMap<&'a str, Vec<&'a str>> {
    let of = |queue: &&'a str| {
        let found = routed.queues.get(&names.of(queue));
        (*queue, found.into_iter().flatten().map(|message| message.text.as_str()).collect())
    };
    queues.iter().map(of).collect()
}

fn headers(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "headers");
    let modes = ["all", "any", "all-with-x", "any-with-x"];
    let exchange = names.of("x");
    let mut bindings: Vec<Value> = modes
        .iter()
        .map(|mode| {
            let arguments = json!({"x-match": mode, "region": "eu", "size": 5, "x-own": true});
            json!({"source": exchange, "queue": names.of(mode), "key": "", "arguments": arguments})
        })
        .collect();
    let there = json!({"size": null});
    bindings.push(json!({"source": exchange, "queue": names.of("there"), "key": "", "arguments": there}));
    let message = |text: &str, headers: Value| json!({"exchange": exchange, "key": "any", "headers": headers, "text": text});
    let fields = json!({
        "exchanges": [{"name": exchange, "kind": "headers"}],
        "bindings": bindings,
        "messages": [
            message("whole", json!({"region": "eu", "size": 5, "x-own": true})),
            message("plain", json!({"region": "eu", "size": 5})),
            message("own", json!({"x-own": true})),
            message("text", json!({"region": "us", "size": "5"})),
            message("none", json!({"region": "us"})),
        ],
    });
    let queues = ["all", "any", "all-with-x", "any-with-x", "there"];
    let routed = route(world, sdk, &names, &queues, fields)?;
    let expected: BTreeMap<&str, Vec<&str>> = [
        ("all", vec!["whole", "plain"]),
        ("any", vec!["whole", "plain"]),
        ("all-with-x", vec!["whole"]),
        ("any-with-x", vec!["whole", "plain", "own"]),
        ("there", vec!["whole", "plain", "text"]),
    ]
    .into();
    let found = bodies(&routed, &names, &queues);
    require!(found == expected, "the queues hold {found:?}");
    require!(routed.returned == ["none"], "returned were {:?}", routed.returned);
    Ok(())
}

fn alternate(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "alternate");
    let [first, second, last] = ["first", "second", "last"].map(|name| names.of(name));
    let message = |exchange: &str, text: &str| json!({"exchange": exchange, "key": text, "text": text});
    let round = names.of("round");
    let fields = json!({
        "exchanges": [
            {"name": first, "kind": "direct", "alternate": second},
            {"name": second, "kind": "direct", "alternate": last, "internal": true},
            {"name": last, "kind": "fanout"},
            {"name": round, "kind": "direct", "alternate": round},
        ],
        "bindings": [
            {"source": first, "queue": names.of("own"), "key": "own"},
            {"source": second, "queue": names.of("next"), "key": "next"},
            {"source": last, "queue": names.of("rest"), "key": ""},
        ],
        "messages": [message(&first, "own"), message(&first, "next"), message(&first, "other"), message(&round, "lost")],
    });
    let queues = ["own", "next", "rest"];
    let routed = route(world, sdk, &names, &queues, fields)?;
    let found = bodies(&routed, &names, &queues);
    let expected = [("own", vec!["own"]), ("next", vec!["next"]), ("rest", vec!["other"])].into();
    require!(found == expected, "the queues hold {found:?}");
    require!(routed.returned == ["lost"], "returned were {:?}", routed.returned);
    Ok(())
}

fn through_each_other(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "through");
    let [topic, direct, fanout] = ["topic", "direct", "fanout"].map(|name| names.of(name));
    let message = |key: &str| json!({"exchange": topic, "key": key, "text": key});
    let fields = json!({
        "exchanges": [
            {"name": topic, "kind": "topic"}, {"name": direct, "kind": "direct"}, {"name": fanout, "kind": "fanout"},
        ],
        "bindings": [
            {"source": topic, "exchange": direct, "key": "a.#"},
            {"source": direct, "exchange": fanout, "key": "a.b"},
            {"source": fanout, "exchange": topic, "key": ""},
            {"source": fanout, "queue": names.of("q"), "key": ""},
            {"source": direct, "queue": names.of("q"), "key": "a.b"},
            {"source": topic, "queue": names.of("all"), "key": "#"},
        ],
        "messages": [message("a.b"), message("a.c"), message("b")],
    });
    let queues = ["q", "all"];
    let routed = route(world, sdk, &names, &queues, fields)?;
    let found = bodies(&routed, &names, &queues);
    let expected = [("q", vec!["a.b"]), ("all", vec!["a.b", "a.c", "b"])].into();
    require!(found == expected, "the queues hold {found:?}");
    require!(routed.returned.is_empty(), "returned were {:?}", routed.returned);
    Ok(())
}

fn copies(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "copies");
    let (exchange, queues) = (names.of("x"), ["to", "cc", "bcc"]);
    let bindings: Vec<Value> = queues
        .iter()
        .map(|queue| json!({"source": exchange, "queue": names.of(queue), "key": names.of(queue)}))
        .collect();
    let headers = json!({"CC": [names.of("cc"), "nowhere"], "BCC": [names.of("bcc")], "mine": "stays"});
    let message = |exchange: &str, key: &str, text: &str| json!({"exchange": exchange, "key": names.of(key), "headers": headers, "text": text});
    let fields = json!({
        "exchanges": [{"name": exchange, "kind": "direct"}],
        "bindings": bindings,
        "messages": [
            message("", "to", "by name"), message(&exchange, "to", "by key"), message("", "missing", "copies alone"),
        ],
    });
    let routed = route(world, sdk, &names, &queues, fields)?;
    let found = bodies(&routed, &names, &queues);
    let both = vec!["by name", "by key"];
    let all = vec!["by name", "by key", "copies alone"];
    let expected = [("to", both), ("cc", all.clone()), ("bcc", all)].into();
    require!(found == expected, "the queues hold {found:?}");
    require!(routed.returned.is_empty(), "returned were {:?}", routed.returned);
    for message in routed.queues.values().flatten() {
        let names = &message.headers;
        require!(names == &["CC", "mine"], "{:?} came with the headers {names:?}", message.text);
    }
    Ok(())
}
