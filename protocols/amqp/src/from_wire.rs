//! Wire to domain: what a publish's properties, a declared queue or exchange mean to the broker.
//!
//! The way back is `to_wire`; nothing else translates.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mailrail_broker as broker;
use mailrail_broker::{
    ALTERNATE_EXCHANGE, DeduplicationKey, Durability, ExchangeKind, GroupSettings, Lifetime, Now, Order,
    TopicSettings, Turns,
};
use mailrail_message::{PROPERTIES_BYTES_MAX, property, tag_hash};

use crate::channel::{ExchangeSettings, ExchangeType, QueueSettings};
use crate::codec::{BasicProperties, ReplyCode, ShortBytes, Table, Value};
use crate::fault::Refusal;

/// Header that names the tag; the routing key otherwise.
pub(crate) const TAG_HEADER: &str = "x-tag";
/// Header with the keys for look-up, separated by spaces; the message id is the key otherwise.
pub(crate) const KEYS_HEADER: &str = "x-keys";
/// Header with the names of light queues that the message goes to as well, separated by commas.
pub(crate) const LITE_HEADER: &str = "x-lite";
/// Header by which a queue that deduplicates knows a message that is sent again.
pub(crate) const DEDUPLICATION_HEADER: &str = "x-deduplication-header";
/// Between topic and group in the name of a group that is used as a queue.
pub(crate) const GROUP_SEPARATOR: &str = "::";
/// Header with more routing keys.
const COPIES_HEADER: &str = "CC";
/// The same, but for those who get the message: they do not see it.
pub(crate) const BLIND_COPIES_HEADER: &str = "BCC";
/// Attribute of a topic that AMQP made, with what declare said of its durability.
const DECLARED: &str = "amqp";
const DECLARED_DURABLE: &str = "durable";
const DECLARED_TRANSIENT: &str = "transient";

/// What the broker reads out of a publish's properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    pub durability: Durability,
    pub born_ms: u64,
    pub tag_hash: i32,
    /// What it is known by when it is sent again.
    pub key: Option<DeduplicationKey>,
}

/// Reads properties and appends RocketMQ's form of them to `out`, what the broker itself reads before what is only
/// passed on. What does not fit there is left out: the original header is stored beside it. `tag` is what the routing
/// key says; empty = none.
pub(crate) fn project(
    properties: &BasicProperties<'_>,
    tag: &str,
    user: &str,
    now: Now,
    out: &mut Vec<u8>,
    text: &mut String,
) -> Result<Meant, Refusal> {
    check(properties, user)?;
    let headers = properties.headers.unwrap_or_default();
    let named = Named::read(headers);
    if let Some(lites) = named.lites {
        push_lites(out, lites)?;
    }
    let tag = named.tag.unwrap_or(tag);
    let is_tagged = push(out, property::TAGS, tag);
    let pairs = [
        (property::KEYS, named.keys.or(properties.message_id)),
        (property::UNIQUE_ID, properties.message_id),
        (property::CORRELATION_ID, properties.correlation_id),
        (property::REPLY_TO, properties.reply_to),
        (property::TTL, properties.expiration.and_then(ShortBytes::as_text)),
        (property::MESSAGE_TYPE, properties.kind),
        (property::CONTENT_TYPE, properties.content_type),
        (property::CONTENT_ENCODING, properties.content_encoding),
    ];
    for (key, value) in pairs {
        if let Some(value) = value {
            push(out, key, value);
        }
    }
    if let Some(priority) = properties.priority {
        push(out, property::PRIORITY, itoa::Buffer::new().format(priority));
    }
    project_headers(headers, out, text);
    let born_ms = properties.timestamp.and_then(|seconds| seconds.checked_mul(1_000));
    Ok(Meant {
        durability: if properties.is_persistent() { Durability::Disk } else { Durability::Memory },
        born_ms: born_ms.filter(|born| *born > 0 && i64::try_from(*born).is_ok()).unwrap_or(now.wall_ms),
        tag_hash: if is_tagged { tag_hash(tag) } else { 0 },
        key: named.deduplication.map(|value| deduplication_key(value, text)).transpose()?.flatten(),
    })
}

fn check(properties: &BasicProperties<'_>, user: &str) -> Result<(), Refusal> {
    if let Some(claimed) = properties.user_id.filter(|claimed| claimed.as_bytes() != user.as_bytes()) {
        let text = format!("user_id property set to '{claimed}' but authenticated user was '{user}'");
        return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
    }
    if let Some(expiration) = properties.expiration.filter(|expiration| !is_expiration(*expiration)) {
        let text = format!("invalid expiration '{expiration}': not a decimal number of milliseconds");
        return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
    }
    Ok(())
}

/// Milliseconds as decimal digits, below 2^32 as with RabbitMQ.
fn is_expiration(expiration: ShortBytes<'_>) -> bool {
    let digits = expiration.as_text().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.is_some_and(|digits| digits.parse::<u32>().is_ok())
}

/// What headers say that is the broker's own.
#[derive(Clone, Copy, Debug, Default)]
struct Named<'a> {
    tag: Option<&'a str>,
    keys: Option<&'a str>,
    lites: Option<&'a str>,
    deduplication: Option<Value<'a>>,
}

impl<'a> Named<'a> {
    fn read(headers: Table<'a>) -> Self {
        let mut named = Named::default();
        for (key, value) in headers.iter() {
            match key {
                TAG_HEADER => named.tag = value.as_text(),
                KEYS_HEADER => named.keys = value.as_text(),
                // What is no text names nothing, and is refused as such.
                LITE_HEADER => named.lites = Some(value.as_text().unwrap_or_default()),
                DEDUPLICATION_HEADER => named.deduplication = Some(value),
                _ => {}
            }
        }
        named
    }
}

/// A text of any bytes, or what can be written as a short one; anything else is no key.
fn deduplication_key(value: Value<'_>, text: &mut String) -> Result<Option<DeduplicationKey>, Refusal> {
    text.clear();
    let key = match value {
        Value::Text(bytes) => Some(bytes),
        value => as_text(value, text).map(str::as_bytes),
    };
    let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(None) };
    let told = |error| {
        Refusal::new(ReplyCode::PreconditionFailed, format!("header '{DEDUPLICATION_HEADER}': {error}"))
    };
    DeduplicationKey::of_key(key).map(Some).map_err(told)
}

/// Routing keys of a message beside its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copies<'a> {
    pub keys: Vec<&'a [u8]>,
    pub any_blind: bool,
}

impl<'a> Copies<'a> {
    /// Arrays of texts; what else is in them is passed over, as RabbitMQ does.
    pub fn read(properties: &BasicProperties<'a>) -> Result<Self, Refusal> {
        let mut copies = Copies::default();
        for (name, value) in properties.headers.unwrap_or_default().iter() {
            if name != COPIES_HEADER && name != BLIND_COPIES_HEADER {
                continue;
            }
            let Value::Array(array) = value else {
                let text = format!("header '{name}' is not an array of routing keys");
                return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
            };
            copies.any_blind |= name == BLIND_COPIES_HEADER;
            copies.keys.extend(array.iter().filter_map(|value| match value {
                Value::Text(key) => Some(key),
                _ => None,
            }));
        }
        Ok(copies)
    }
}

/// Appends the names of light queues as the broker knows them.
fn push_lites(out: &mut Vec<u8>, lites: &str) -> Result<(), Refusal> {
    let names: Vec<String> =
        lites.split(',').map(|name| format!("{}{name}", broker::lite::LITE_PREFIX)).collect();
    let joined = broker::lite::join(names.iter().map(String::as_str));
    if lites.split(',').all(|name| !name.is_empty()) && push(out, property::LITE_QUEUES, &joined) {
        return Ok(());
    }
    let text =
        format!("header '{LITE_HEADER}' is not a text with the names of light queues, separated by commas");
    Err(Refusal::new(ReplyCode::PreconditionFailed, text))
}

/// Appends headers as user properties.
fn project_headers(headers: Table<'_>, out: &mut Vec<u8>, text: &mut String) {
    for (key, value) in headers.iter() {
        let is_own =
            [TAG_HEADER, KEYS_HEADER, LITE_HEADER].contains(&key) || property::RESERVED.contains(&key);
        text.clear();
        if !is_own && let Some(value) = as_text(value, text) {
            push(out, key, value);
        }
    }
}

/// A header's value as text; `None` for what has no short text.
fn as_text<'a>(value: Value<'a>, text: &'a mut String) -> Option<&'a str> {
    let written = match value {
        Value::Text(_) => return value.as_text(),
        Value::Bool(value) => return Some(if value { "true" } else { "false" }),
        Value::F32(value) => write!(text, "{value}"),
        Value::F64(value) => write!(text, "{value}"),
        Value::Timestamp(seconds) => write!(text, "{seconds}"),
        _ => write!(text, "{}", value.as_integer()?),
    };
    written.ok().map(|()| text.as_str())
}

/// Appends a pair, if it can be stored and the whole does not become too long; false if not.
fn push(out: &mut Vec<u8>, key: &str, value: &str) -> bool {
    out.len() + key.len() + value.len() + 3 <= PROPERTIES_BYTES_MAX && property::push(out, key, value)
}

/// What a routing key says beyond the name that it was published to: `orders.eu` to `orders` means `eu`.
pub(crate) fn tag_of<'a>(name: &str, routing_key: &'a str) -> &'a str {
    match routing_key.strip_prefix(name) {
        Some("") => "",
        Some(rest) => rest.strip_prefix('.').unwrap_or(routing_key),
        None => routing_key,
    }
}

/// Arguments of a queue that the broker knows by names of its own.
const ATTRIBUTES: [(&str, &str); 8] = [
    ("x-dead-letter-exchange", broker::DEAD_LETTER_EXCHANGE),
    ("x-dead-letter-routing-key", broker::DEAD_LETTER_KEY),
    ("x-expires", broker::EXPIRES_MS),
    ("x-max-length", broker::LENGTH_MAX),
    ("x-max-length-bytes", broker::LENGTH_BYTES_MAX),
    ("x-max-priority", broker::PRIORITY_MAX),
    ("x-message-ttl", broker::MESSAGE_TTL_MS),
    ("x-overflow", broker::OVERFLOW),
];

/// Argument of a queue that deduplicates; the broker's own attribute says for how long.
const DEDUPLICATION: &str = "x-message-deduplication";

/// Settings of a topic for a queue that is declared.
pub(crate) fn topic_settings(settings: &QueueSettings) -> TopicSettings {
    let declared = if settings.durable { DECLARED_DURABLE } else { DECLARED_TRANSIENT };
    let own_name =
        |name: &String| ATTRIBUTES.iter().find(|(argument, _)| argument == name).map(|(_, own)| *own);
    let attribute = |(name, value): (&String, &String)| {
        if name == DEDUPLICATION {
            return (
                broker::DEDUPLICATION_WINDOW_MS.to_owned(),
                broker::DEDUPLICATION_WINDOW_MS_DEFAULT.to_string(),
            );
        }
        (own_name(name).map_or_else(|| name.clone(), str::to_owned), value.clone())
    };
    let mut attributes: BTreeMap<String, String> = settings.arguments.iter().map(attribute).collect();
    attributes.insert(DECLARED.to_owned(), declared.to_owned());
    TopicSettings {
        lifetime: match settings {
            QueueSettings { exclusive: true, .. } => Lifetime::Session,
            QueueSettings { durable: true, .. } => Lifetime::Durable,
            _ => Lifetime::Transient,
        },
        delete_when_unused: settings.auto_delete,
        attributes,
        ..TopicSettings::settled_queue()
    }
}

/// Settings of the default group of such a topic.
pub(crate) fn group_settings(settings: &QueueSettings) -> GroupSettings {
    let turns = Turns { single_active: settings.single_active, ..Turns::default() };
    GroupSettings { attempts_max: settings.delivery_limit, turns, ..GroupSettings::at_once() }
}

/// True for a group whose settings came from a declared queue; those of other protocols wait between attempts, have a
/// dead letter, or are strict about order.
pub(crate) fn is_declared_group(settings: &GroupSettings) -> bool {
    let is_strict = settings.turns.order != Order::Any;
    settings.backoff_ms.is_empty() && settings.dead_letter.is_none() && !is_strict
}

/// True for a topic that a declared queue made.
pub(crate) fn is_declared(settings: &TopicSettings) -> bool {
    settings.attributes.contains_key(DECLARED)
}

/// True for a queue that was declared as a quorum queue of which one consumer is active.
pub(crate) fn is_quorum_with_single_active(settings: &TopicSettings) -> bool {
    let says = |name, value| settings.attributes.get(name).is_some_and(|said| said == value);
    says("x-queue-type", "quorum") && says("x-single-active-consumer", "true")
}

/// Compares a queue with what is declared again. A topic that AMQP did not make passes as a durable queue without
/// anything special. The exclusive flag of a queue that it made is not compared here: whose the queue is comes first.
pub(crate) fn compare_queue(name: &str, found: &TopicSettings, asked: &QueueSettings) -> Result<(), Refusal> {
    let mut arguments = arguments_of(found);
    // No argument of a queue, and changed at any time.
    arguments.remove(broker::TRACE_SAMPLE);
    let declared = arguments.remove(DECLARED);
    if declared.is_none() {
        arguments.clear();
        same("exclusive", name, &false, &asked.exclusive)?;
    }
    let durable = declared.as_deref().unwrap_or(DECLARED_DURABLE) == DECLARED_DURABLE;
    let auto_delete = declared.is_some() && found.delete_when_unused;
    same("durable", name, &durable, &asked.durable)?;
    same("auto_delete", name, &auto_delete, &asked.auto_delete)?;
    for key in arguments.keys().chain(asked.arguments.keys()) {
        let text = |from: &BTreeMap<String, String>| from.get(key).map_or("none".to_owned(), String::clone);
        same(key, name, &text(&arguments), &text(&asked.arguments))?;
    }
    Ok(())
}

/// The attributes of a topic by the names that they have as arguments of a queue.
fn arguments_of(settings: &TopicSettings) -> BTreeMap<String, String> {
    let argument =
        |own: &String| ATTRIBUTES.iter().find(|(_, name)| name == own).map(|(argument, _)| *argument);
    let named = |(own, value): (&String, &String)| {
        if own == broker::DEDUPLICATION_WINDOW_MS {
            return (DEDUPLICATION.to_owned(), true.to_string());
        }
        (argument(own).map_or_else(|| own.clone(), str::to_owned), value.clone())
    };
    settings.attributes.iter().map(named).collect()
}

fn same<T: PartialEq + std::fmt::Display>(
    field: &str,
    queue: &str,
    found: &T,
    asked: &T,
) -> Result<(), Refusal> {
    if found == asked {
        return Ok(());
    }
    Err(inequivalent("queue", queue, field, &found.to_string(), &asked.to_string()))
}

/// RabbitMQ's text for a second declaration that differs.
pub(crate) fn inequivalent(what: &str, name: &str, field: &str, found: &str, asked: &str) -> Refusal {
    let text = format!(
        "inequivalent arg '{field}' for {what} '{name}' in vhost '/': received '{asked}' but current is '{found}'"
    );
    Refusal::new(ReplyCode::PreconditionFailed, text)
}

/// Settings of an exchange that is declared.
pub(crate) fn exchange_settings(settings: &ExchangeSettings) -> broker::ExchangeSettings {
    broker::ExchangeSettings {
        kind: exchange_kind(settings.kind),
        lifetime: if settings.durable { Lifetime::Durable } else { Lifetime::Transient },
        delete_when_unused: settings.auto_delete,
        internal: settings.internal,
        attributes: settings
            .alternate
            .iter()
            .map(|name| (ALTERNATE_EXCHANGE.to_owned(), name.clone()))
            .collect(),
    }
}

/// Compares an exchange with what is declared again.
pub(crate) fn compare_exchange(
    name: &str,
    found: &broker::ExchangeSettings,
    asked: &ExchangeSettings,
) -> Result<(), Refusal> {
    let asked = exchange_settings(asked);
    let durable = |settings: &broker::ExchangeSettings| settings.lifetime == Lifetime::Durable;
    let alternate = |settings: &broker::ExchangeSettings| settings.alternate().unwrap_or("none").to_owned();
    let fields = [
        ("type", kind_name(found.kind).to_owned(), kind_name(asked.kind).to_owned()),
        ("durable", durable(found).to_string(), durable(&asked).to_string()),
        ("auto_delete", found.delete_when_unused.to_string(), asked.delete_when_unused.to_string()),
        ("internal", found.internal.to_string(), asked.internal.to_string()),
        (ALTERNATE_EXCHANGE, alternate(found), alternate(&asked)),
    ];
    match fields.iter().find(|(_, found, asked)| found != asked) {
        None => Ok(()),
        Some((field, found, asked)) => Err(inequivalent("exchange", name, field, found, asked)),
    }
}

fn exchange_kind(kind: ExchangeType) -> ExchangeKind {
    match kind {
        ExchangeType::Direct => ExchangeKind::Direct,
        ExchangeType::Fanout => ExchangeKind::Fanout,
        ExchangeType::Topic => ExchangeKind::Topic,
        ExchangeType::Headers => ExchangeKind::Headers,
    }
}

fn kind_name(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Direct => ExchangeType::Direct.name(),
        ExchangeKind::Fanout => ExchangeType::Fanout.name(),
        ExchangeKind::Topic => ExchangeType::Topic.name(),
        ExchangeKind::Headers => ExchangeType::Headers.name(),
    }
}

/// The exchanges that every vhost has.
pub(crate) const USUAL_EXCHANGES: [(&str, ExchangeType); 5] = [
    ("amq.direct", ExchangeType::Direct),
    ("amq.fanout", ExchangeType::Fanout),
    ("amq.topic", ExchangeType::Topic),
    ("amq.headers", ExchangeType::Headers),
    ("amq.match", ExchangeType::Headers),
];

/// Settings of one of [`USUAL_EXCHANGES`].
pub(crate) fn usual_exchange(kind: ExchangeType) -> broker::ExchangeSettings {
    broker::ExchangeSettings::durable(exchange_kind(kind))
}

#[cfg(test)]
#[path = "from_wire_tests.rs"]
mod tests;
