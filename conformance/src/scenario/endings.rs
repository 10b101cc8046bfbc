//! How messages and queues end by themselves: they expire, are too many, are rejected, or are not used; and where what ended is
//! found again, with its history.

use serde_json::{Value, json};

use crate::driver::{Death, Routed};
use crate::sdk::Sdk;
use crate::world::World;
use crate::{Failure, require};

use super::Case;
use super::routes::{Names, Scenario, bodies, cases_of, route};

/// A time to live, and a wait until it is over for certain.
const TTL_MS: u64 = 300;
const WAIT_MS: u64 = 1_500;
/// A time to live that nobody waits for.
const LONG_MS: u64 = 600_000;

pub fn cases(sdks: &[Sdk]) -> Vec<Case> {
    let scenarios: [(&str, Scenario); 5] = [
        ("message expires at its own time", expires),
        ("rejected message is dead-lettered with its history", rejected),
        ("message goes round until it is taken", goes_round),
        ("full queue drops its head or refuses", full),
        ("queue that nobody uses goes", unused),
    ];
    cases_of(sdks, &scenarios)
}

/// The default exchange leads dead letters to one queue.
fn to_queue(queue: &str) -> Value {
    json!({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue})
}

fn message(key: &str, text: &str) -> Value {
    json!({"exchange": "", "key": key, "text": text})
}

/// The deaths of the only message in a queue.
fn deaths<'a>(routed: &'a Routed, queue: &str) -> Result<&'a [Death], Failure> {
    let found = routed.queues.get(queue).map(Vec::as_slice).unwrap_or_default();
    let [message] = found else { return Err(Failure::Wrong(format!("queue `{queue}` holds {found:?}"))) };
    require!(message.expiration.as_deref().unwrap_or_default().is_empty(), "{message:?} expires again");
    Ok(&message.deaths)
}

fn expires(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "expires");
    let [own, all, dead] = ["own", "all", "dead"].map(|name| names.of(name));
    let mut short = message(&own, "goes");
    short["expiration"] = json!(TTL_MS.to_string());
    let mut long = message(&own, "stays");
    long["expiration"] = json!(LONG_MS.to_string());
    let mut of_queue = to_queue(&names.of("dead of all"));
    of_queue["x-message-ttl"] = json!(TTL_MS);
    let fields = json!({
        "exchanges": [], "bindings": [],
        "queue_arguments": {&own: to_queue(&dead), &all: of_queue},
        // RabbitMQ itself lets only the head expire.
        "messages": [short, long, message(&own, "has no time"), message(&all, "of the queue")],
        "wait_ms": WAIT_MS,
    });
    let queues = ["own", "all", "dead", "dead of all"];
    let routed = route(world, sdk, &names, &queues, fields)?;
    let found = bodies(&routed, &names, &queues);
    let expected = [
        ("own", vec!["stays", "has no time"]),
        ("all", vec![]),
        ("dead", vec!["goes"]),
        ("dead of all", vec!["of the queue"]),
    ];
    require!(found == expected.into(), "the queues hold {found:?}");
    let [death] = deaths(&routed, &dead)? else { return Err(Failure::Wrong(format!("{routed:?}"))) };
    let expiration = Some(TTL_MS.to_string());
    let (queue, reason, exchange, keys) = (own.clone(), "expired".to_owned(), String::new(), vec![own]);
    let expected = Death { queue, reason, count: 1, exchange, keys, expiration };
    require!(*death == expected, "the message died so: {death:?}");
    Ok(())
}

fn rejected(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "rejected");
    let [queue, exchange, dead] = ["q", "dlx", "dead"].map(|name| names.of(name));
    let fields = json!({
        "exchanges": [{"name": exchange, "kind": "direct"}],
        "bindings": [{"source": exchange, "queue": dead, "key": queue}],
        "queue_arguments": {&queue: {"x-dead-letter-exchange": exchange}},
        "messages": [{"exchange": "", "key": queue, "text": "no", "headers": {"mine": "stays"}}],
        "reject_queues": [queue],
        "wait_ms": TTL_MS,
    });
    let routed = route(world, sdk, &names, &["q", "dead"], fields)?;
    let [death] = deaths(&routed, &dead)? else { return Err(Failure::Wrong(format!("{routed:?}"))) };
    let (reason, keys) = ("rejected".to_owned(), vec![queue.clone()]);
    let expected = Death { queue, reason, count: 1, exchange: String::new(), keys, expiration: None };
    require!(*death == expected, "the message died so: {death:?}");
    let headers = &routed.queues[&dead][0].headers;
    for header in ["mine", "x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"]
    {
        require!(headers.iter().any(|name| name == header), "the headers are {headers:?}");
    }
    Ok(())
}

/// A retry queue: what is rejected waits there and comes back; without a rejection on the way a cycle ends.
fn goes_round(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "round");
    let [work, pause, own] = ["work", "pause", "own"].map(|name| names.of(name));
    let mut back = to_queue(&work);
    back["x-message-ttl"] = json!(TTL_MS);
    let mut to_itself = to_queue(&own);
    to_itself["x-message-ttl"] = json!(TTL_MS);
    let fields = json!({
        "exchanges": [], "bindings": [],
        "queue_arguments": {&work: to_queue(&pause), &pause: back, &own: to_itself},
        "messages": [message(&work, "again"), message(&own, "for ever")],
        "reject_queues": [work],
        "wait_ms": WAIT_MS,
    });
    let queues = ["work", "pause", "own"];
    let routed = route(world, sdk, &names, &queues, fields)?;
    let found = bodies(&routed, &names, &queues);
    let expected = [("work", vec!["again"]), ("pause", vec![]), ("own", vec![])];
    require!(found == expected.into(), "the queues hold {found:?}");
    let seen: Vec<(&str, &str, u64)> =
        deaths(&routed, &work)?.iter().map(|d| (d.queue.as_str(), d.reason.as_str(), d.count)).collect();
    let expected = [(pause.as_str(), "expired", 1), (work.as_str(), "rejected", 1)];
    require!(seen == expected, "the message died so: {seen:?}");
    Ok(())
}

fn full(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "full");
    let [drops, refuses, both] = ["drops", "refuses", "both"].map(|name| names.of(name));
    let [dropped, refused] = ["dropped", "refused"].map(|name| names.of(name));
    let with = |mut arguments: Value, more: Value| {
        for (name, value) in more.as_object().into_iter().flatten() {
            arguments[name] = value.clone();
        }
        arguments
    };
    let limit = |overflow: &str| json!({"x-max-length": 2, "x-overflow": overflow});
    let publishes = |queue: &String| {
        ["1", "2", "3"]
            .map(|number| message(queue, &format!("{} {number}", queue.rsplit('-').next().unwrap_or(""))))
    };
    let messages = [publishes(&drops), publishes(&refuses), publishes(&both)].concat();
    let fields = json!({
        "exchanges": [], "bindings": [],
        "queue_arguments": {
            &drops: with(to_queue(&dropped), json!({"x-max-length": 2})),
            &refuses: limit("reject-publish"),
            &both: with(to_queue(&refused), limit("reject-publish-dlx")),
        },
        "messages": messages,
        "wait_ms": TTL_MS,
    });
    let queues = ["drops", "refuses", "both", "dropped", "refused"];
    let routed = route(world, sdk, &names, &queues, fields)?;
    let found = bodies(&routed, &names, &queues);
    let expected = [
        ("drops", vec!["drops 2", "drops 3"]),
        ("refuses", vec!["refuses 1", "refuses 2"]),
        ("both", vec!["both 1", "both 2"]),
        ("dropped", vec!["drops 1"]),
        ("refused", vec!["both 3"]),
    ];
    require!(found == expected.into(), "the queues hold {found:?}");
    require!(routed.nacked == ["refuses 3", "both 3"], "nacked were {:?}", routed.nacked);
    for dead in [dropped, refused] {
        let [death] = deaths(&routed, &dead)? else { return Err(Failure::Wrong(format!("{routed:?}"))) };
        require!(death.reason == "maxlen", "the message died so: {death:?}");
    }
    Ok(())
}

fn unused(world: &mut World, sdk: Sdk) -> Result<(), Failure> {
    let names = Names::new(world, "unused");
    let [goes, stays] = ["goes", "stays"].map(|name| names.of(name));
    let fields = json!({
        "exchanges": [], "bindings": [],
        "queue_arguments": {&goes: {"x-expires": TTL_MS}, &stays: {"x-expires": LONG_MS}},
        "messages": [message(&goes, "goes with it"), message(&stays, "stays")],
        "wait_ms": WAIT_MS,
        "looked_for": [goes, stays],
    });
    let routed = route(world, sdk, &names, &["goes", "stays"], fields)?;
    require!(routed.missing == [goes], "missing are {:?}", routed.missing);
    let found = bodies(&routed, &names, &["stays"]);
    require!(found == [("stays", vec!["stays"])].into(), "the queues hold {found:?}");
    Ok(())
}
