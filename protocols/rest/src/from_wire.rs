//! From what requests say to what the core takes: messages into a publish batch, settings, positions, filters. Decides
//! what is refused before anything is stored.

pub(crate) mod deduplication;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mailrail_broker::limits::DELAY_MS_MAX;
use mailrail_broker::{
    ALTERNATE_EXCHANGE, Action, BindTarget, COMPACTION_LAG_MS, DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY,
    DEAD_LETTER_TOPIC, DEDUPLICATION_WINDOW_MS, Destination, Dialect, Durability, EXPIRES_MS, Effect,
    Exchange, ExchangeKind, ExchangeSettings, Filter, GroupSettings, HalfTerms, LENGTH_BYTES_MAX, LENGTH_MAX,
    Lifetime, MESSAGE_TTL_MS, Name, OVERFLOW, Order, Overflow, PRIORITY_MAX, Pattern, PublishBatch,
    ResourceKind, Retention, Rule, SeekTo, TOMBSTONE_MS, TRACE_SAMPLE, Topic, TopicSettings, lite,
};
use mailrail_message::{
    AnnexKind, BODY_BYTES_MAX, Draft, HEADER_NAME_BYTES_MAX, HeaderValue, property, push_header, tag_hash,
};

use crate::instant::WallTime;
use crate::problem::{Kind, Refusal};
use crate::schema::exchange::{BindingRequest, ExchangeRequest, HeaderScalar, KindName, MatchName};
use crate::schema::group::{GroupRequest, OrderName, SeekRequest};
use crate::schema::publish::{DurabilityName, NewMessage};
use crate::schema::topic::{LifetimeRequest, OverflowName, RetentionName, TopicRequest};
use crate::schema::user::{ActionName, EffectName, Permission, ResourceName};

const HEADER_PREFIX: &str = "mailrail-";
const PROPERTY_HEADER_PREFIX: &str = "property-";
const PROPERTY_QUERY_PREFIX: &str = "property.";
/// Header of a binding that says how many of the others must be equal.
pub(crate) const MATCH_HEADER: &str = "x-match";
/// Content types that say nothing about a body: what curl and browsers send when nobody asked for one.
const UNTYPED: [&str; 2] = ["application/octet-stream", "application/x-www-form-urlencoded"];

/// The fields of a message whose body is the request body: from query parameters and `Mailrail-*` headers, the former
/// winning. Also the durability, which both forms of publish may give.
pub(crate) fn raw_fields<'a>(
    headers: &'a HeaderMap,
    query: &'a [(String, String)],
) -> Result<(NewMessage<'a>, Option<Durability>), Refusal> {
    let (mut message, mut durability) = (NewMessage::default(), None);
    for (name, value) in headers {
        let Some(field) = name.as_str().strip_prefix(HEADER_PREFIX) else { continue };
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Refusal::invalid(format!("the header {name} is not UTF-8")))?;
        match field.strip_prefix(PROPERTY_HEADER_PREFIX) {
            Some(key) => message.properties.push((text(key), text(value))),
            None => set_field(&mut message, &mut durability, &field.replace('-', "_"), value)
                .map_err(|refusal| named(refusal, "header", name.as_str()))?,
        }
    }
    for (name, value) in query {
        match name.strip_prefix(PROPERTY_QUERY_PREFIX) {
            Some(key) => message.properties.push((text(key), text(value))),
            None => set_field(&mut message, &mut durability, name, value)
                .map_err(|refusal| named(refusal, "query parameter", name))?,
        }
    }
    Ok((message, durability))
}

fn named(refusal: Refusal, what: &str, name: &str) -> Refusal {
    Refusal { detail: format!("the {what} {name}: {}", refusal.detail), ..refusal }
}

fn text(value: &str) -> crate::schema::text::Text<'_> {
    crate::schema::text::Text(Cow::Borrowed(value))
}

fn set_field<'a>(
    message: &mut NewMessage<'a>,
    durability: &mut Option<Durability>,
    name: &str,
    value: &'a str,
) -> Result<(), Refusal> {
    match name {
        "durability" => *durability = Some(parse_durability(value)?),
        "tag" => message.tag = Some(text(value)),
        "routing_key" => message.routing_key = Some(text(value)),
        "keys" => message.keys = value.split_ascii_whitespace().map(text).collect(),
        "unique_id" => message.unique_id = Some(text(value)),
        "correlation_id" => message.correlation_id = Some(text(value)),
        "reply_to" => message.reply_to = Some(text(value)),
        "type" => message.message_type = Some(text(value)),
        "ordering_key" => message.ordering_key = Some(text(value)),
        "lite" => message.lite = value.split(',').map(text).collect(),
        "queue" => message.queue = Some(number(value)?),
        "priority" => message.priority = Some(number(value)?),
        "expires_in_ms" => message.expires_in_ms = Some(number(value)?),
        "deduplication_key" => message.deduplication_key = Some(text(value)),
        "producer_id" => message.producer_id = Some(text(value)),
        "sequence" => message.sequence = Some(number(value)?),
        "delay_ms" => message.delay_ms = Some(number(value)?),
        "deliver_at" => message.deliver_at = Some(time(value)?),
        "born_at" => message.born_at = Some(time(value)?),
        _ => return Err(Refusal::invalid("a message has no such field")),
    }
    Ok(())
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, Refusal> {
    value.parse().map_err(|_| Refusal::invalid(format!("{value:?} is not a number in range")))
}

pub(crate) fn time(value: &str) -> Result<WallTime, Refusal> {
    WallTime::parse(value).map_err(Refusal::invalid)
}

fn parse_durability(value: &str) -> Result<Durability, Refusal> {
    match value {
        "memory" => Ok(Durability::Memory),
        "disk" => Ok(Durability::Disk),
        "quorum" => Err(Refusal::new(Kind::NotSupported, "durability quorum needs a cluster")),
        _ => Err(Refusal::invalid(format!("{value:?} is not a durability; memory and disk are"))),
    }
}

/// Takes what a request's own headers say about a body that is one message.
pub(crate) fn describe_body<'a>(message: &mut NewMessage<'a>, headers: &'a HeaderMap) -> Result<(), Refusal> {
    let read = |name: header::HeaderName| {
        let Some(value) = headers.get(&name) else { return Ok(None) };
        let value = std::str::from_utf8(value.as_bytes());
        value.map(Some).map_err(|_| Refusal::invalid(format!("the header {name} is not UTF-8")))
    };
    let content_type = read(header::CONTENT_TYPE)?;
    let untyped =
        |value: &str| value.is_empty() || UNTYPED.iter().any(|known| value.eq_ignore_ascii_case(known));
    message.content_type = content_type.filter(|value| !untyped(value)).map(text);
    message.content_encoding = read(header::CONTENT_ENCODING)?.filter(|value| !value.is_empty()).map(text);
    Ok(())
}

/// What messages are published to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To<'a> {
    Topic(&'a Topic),
    Exchange(&'a Exchange),
}

impl<'a> To<'a> {
    pub fn name(self) -> &'a Name {
        match self {
            To::Topic(topic) => &topic.name,
            To::Exchange(exchange) => &exchange.name,
        }
    }

    /// Where one of the messages goes.
    fn destination(self, message: &NewMessage<'_>) -> Result<Destination, Refusal> {
        match self {
            To::Topic(_) if message.routing_key.is_some() => {
                Err(Refusal::invalid("only a message to an exchange has a routing_key"))
            }
            To::Topic(topic) => {
                Ok(Destination::Topic { topic: topic.id, queue_index: queue_of(topic, message) })
            }
            To::Exchange(_) if !message.lite.is_empty() => {
                Err(Refusal::invalid("a message to an exchange names no light queues"))
            }
            To::Exchange(_) if message.queue.is_some() => {
                Err(Refusal::invalid("a message to an exchange names no queue: its bindings decide"))
            }
            To::Exchange(_) if message.delay_ms.is_some() || message.deliver_at.is_some() => {
                Err(Refusal::new(Kind::NotSupported, "a message to an exchange cannot be delayed yet"))
            }
            To::Exchange(exchange) => {
                let key = message.routing_key.as_deref().unwrap_or_default();
                let keys = [Bytes::copy_from_slice(key.as_bytes())].into();
                Ok(Destination::Exchange { exchange: exchange.id, keys })
            }
        }
    }
}

/// Turns messages into items of a publish batch. Its buffers are used again for every message.
#[derive(Debug)]
pub(crate) struct Encoder<'a> {
    pub to: To<'a>,
    pub durability: Durability,
    /// The publishing client.
    pub peer: SocketAddr,
    /// The advertised address.
    pub store_host: SocketAddr,
    pub now_ms: u64,
    /// Of the request: each message that has none of its own is known by it and its place in the batch.
    pub idempotency_key: Option<&'a [u8]>,
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

impl Encoder<'_> {
    /// Adds a message with this body, or the body it names; where there are terms, to be seen once it is committed.
    /// Returns when it becomes visible, if that is later.
    pub fn push(
        &mut self,
        batch: &mut PublishBatch,
        message: &NewMessage<'_>,
        body: Option<&[u8]>,
        half: Option<HalfTerms>,
    ) -> Result<Option<WallTime>, Refusal> {
        self.properties.clear();
        put_properties(&mut self.properties, message)?;
        let destination = self.to.destination(message)?;
        let body = match body {
            Some(body) => body,
            None => body_of(message, &mut self.body)?,
        };
        let key = deduplication::key_of(message, self.idempotency_key, batch.len())?;
        let key_annex = key.map(|key| key.annex());
        let annexes = key_annex.as_ref().map(|annex| (AnnexKind::Deduplication, annex.as_slice()));
        let draft = Draft {
            topic: self.to.name(),
            flag: 0,
            sys_flags: 0,
            born_ms: message.born_at.map_or(self.now_ms, |born| born.0),
            born_host: self.peer,
            store_host: self.store_host,
            reconsume_times: 0,
            body,
            properties: &self.properties,
            more_properties: &[],
            annexes: annexes.as_slice(),
        };
        let tag_hash = message.tag.as_ref().map_or(0, |tag| tag_hash(tag));
        let due = due(message, self.now_ms)?;
        match (due, destination) {
            (None, Destination::Topic { topic, queue_index }) if half.is_some() => {
                if let Some(half) = half {
                    batch.push_half(&draft, topic, queue_index, tag_hash, self.durability, half)?;
                }
            }
            (Some(WallTime(due_ms)), Destination::Topic { topic, queue_index }) => {
                batch.push_due(&draft, topic, queue_index, tag_hash, self.durability, due_ms)?;
            }
            (_, destination) => batch.push(&draft, destination, tag_hash, self.durability)?,
        }
        if key.is_some() {
            batch.need_deduplication();
        }
        Ok(due)
    }
}

/// The queue that the message names, or that its ordering key stands for: RocketMQ's hash selector
/// (`Math.abs(hashCode % queues)`), so that a key meets its queue whoever sends.
fn queue_of(topic: &Topic, message: &NewMessage<'_>) -> Option<u32> {
    if message.queue.is_some() {
        return message.queue;
    }
    let key = message.ordering_key.as_ref()?;
    let queues = i32::try_from(topic.queues().len()).ok()?;
    tag_hash(key).checked_rem(queues).map(i32::unsigned_abs)
}

fn body_of<'m>(message: &'m NewMessage<'_>, decoded: &'m mut Vec<u8>) -> Result<&'m [u8], Refusal> {
    match (&message.body, &message.body_base64) {
        (Some(_), Some(_)) => Err(Refusal::invalid("a message has either body or body_base64, not both")),
        (Some(body), None) => Ok(body.as_bytes()),
        (None, Some(coded)) => {
            decoded.clear();
            // What is longer than any body is refused before it is decoded.
            if coded.len() / 4 > BODY_BYTES_MAX / 3 + 1 {
                let detail =
                    format!("body_base64 holds more than the {BODY_BYTES_MAX} bytes a body may have");
                return Err(Refusal::new(Kind::TooLarge, detail));
            }
            STANDARD
                .decode_vec(coded.as_bytes(), decoded)
                .map_err(|error| Refusal::invalid(format!("body_base64: {error}")))?;
            Ok(decoded)
        }
        (None, None) => Ok(&[]),
    }
}

/// When a message becomes visible; `None` = at once.
fn due(message: &NewMessage<'_>, now_ms: u64) -> Result<Option<WallTime>, Refusal> {
    let due_ms = match (message.delay_ms, message.deliver_at) {
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid("a message has either delay_ms or deliver_at, not both"));
        }
        (Some(delay_ms), None) => now_ms.saturating_add(delay_ms),
        (None, Some(at)) => at.0,
        (None, None) => return Ok(None),
    };
    let ahead_ms = due_ms.saturating_sub(now_ms);
    if ahead_ms > DELAY_MS_MAX {
        let detail = format!("the message would wait {ahead_ms} ms; at most {DELAY_MS_MAX} are allowed");
        return Err(Refusal::new(Kind::LimitExceeded, detail));
    }
    Ok((ahead_ms > 0).then_some(WallTime(due_ms)))
}

fn put_properties(out: &mut Vec<u8>, message: &NewMessage<'_>) -> Result<(), Refusal> {
    let texts = [
        (property::TAGS, "tag", &message.tag),
        (property::UNIQUE_ID, "unique_id", &message.unique_id),
        (property::CORRELATION_ID, "correlation_id", &message.correlation_id),
        (property::REPLY_TO, "reply_to", &message.reply_to),
        (property::MESSAGE_TYPE, "type", &message.message_type),
        (property::CONTENT_TYPE, "content_type", &message.content_type),
        (property::CONTENT_ENCODING, "content_encoding", &message.content_encoding),
        (property::ORDERING_KEY, "ordering_key", &message.ordering_key),
    ];
    for (name, field, value) in texts {
        if let Some(value) = value {
            put(out, name, field, value)?;
        }
    }
    put_keys(out, message)?;
    if !message.lite.is_empty() {
        let names: Vec<String> = message.lite.iter().map(|name| lite_topic(name)).collect();
        names.iter().try_for_each(|name| lite::check_name(name))?;
        put(out, property::LITE_QUEUES, "lite", &lite::join(names.iter().map(String::as_str)))?;
    }
    let numbers =
        [(property::TTL, message.expires_in_ms), (property::PRIORITY, message.priority.map(u64::from))];
    for (name, value) in numbers {
        if let Some(value) = value {
            put(out, name, name, &value.to_string())?;
        }
    }
    for (name, value) in &message.properties {
        if property::RESERVED.contains(&&**name) {
            let detail = format!("the property {:?} is the broker's own; use the message's fields", &**name);
            return Err(Refusal::invalid(detail));
        }
        put(out, name, name, value)?;
    }
    Ok(())
}

/// The whole name of a light queue.
pub(crate) fn lite_topic(name: &str) -> String {
    format!("{}{name}", lite::LITE_PREFIX)
}

fn put_keys(out: &mut Vec<u8>, message: &NewMessage<'_>) -> Result<(), Refusal> {
    for key in &message.keys {
        if key.is_empty() || key.contains(char::is_whitespace) {
            let detail =
                format!("the key {:?} is empty or holds a blank, which separates stored keys", &**key);
            return Err(Refusal::invalid(detail));
        }
    }
    match message.keys.as_slice() {
        [] => Ok(()),
        [key] => put(out, property::KEYS, "keys", key),
        keys => {
            let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
            put(out, property::KEYS, "keys", &keys.join(" "))
        }
    }
}

fn put(out: &mut Vec<u8>, name: &str, field: &str, value: &str) -> Result<(), Refusal> {
    if property::push(out, name, value) {
        return Ok(());
    }
    let detail = format!(
        "{field:?} cannot be stored: a name and its value may not be empty nor hold the characters U+0001 and U+0002"
    );
    Err(Refusal::invalid(detail))
}

/// A place to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    Offset(u64),
    TimeMs(u64),
}

impl Start {
    pub fn parse(value: &str) -> Result<Start, Refusal> {
        let wrong = || {
            Refusal::invalid(format!(
                "{value:?} is no place to start: earliest, latest, offset:N and time:T (RFC 3339) are"
            ))
        };
        match value.split_once(':') {
            None if value == "earliest" => Ok(Start::Earliest),
            None if value == "latest" => Ok(Start::Latest),
            Some(("offset", offset)) => offset.parse().map(Start::Offset).map_err(|_| wrong()),
            // A plus sign that was not escaped in a query arrives as a blank.
            Some(("time", at)) => Ok(Start::TimeMs(time(&at.replace(' ', "+"))?.0)),
            _ => Err(wrong()),
        }
    }
}

pub(crate) fn seek_to(request: &SeekRequest) -> Result<SeekTo, Refusal> {
    let start = match (&request.to, request.time_ms) {
        (Some(to), None) => Start::parse(to)?,
        (None, Some(time_ms)) => Start::TimeMs(time_ms),
        _ => return Err(Refusal::invalid("a seek needs either to or time_ms")),
    };
    match (start, request.queue) {
        (Start::Offset(offset), Some(queue_index)) => Ok(SeekTo::Offset { queue_index, offset }),
        (Start::Offset(_), None) => Err(Refusal::invalid("a seek to an offset needs its queue")),
        (_, Some(_)) => Err(Refusal::invalid("only a seek to an offset names a queue")),
        (Start::Earliest, None) => Ok(SeekTo::Earliest),
        (Start::Latest, None) => Ok(SeekTo::Latest),
        (Start::TimeMs(time_ms), None) => Ok(SeekTo::Time(time_ms)),
    }
}

/// What a reader wants: the tags, and of these what an expression is true of.
pub(crate) fn filter(tags: Option<&str>, sql: Option<&str>) -> Result<Filter, Refusal> {
    let filter = Filter::tags(tags.unwrap_or_default())?;
    match sql {
        Some(sql) => Ok(filter.and_sql(sql, Dialect::Rocketmq)?),
        None => Ok(filter),
    }
}

/// The settings a topic should have: what the request says, else what it has, else the defaults.
pub(crate) fn topic_settings(
    request: &TopicRequest,
    found: Option<&TopicSettings>,
    default_queues: u32,
) -> TopicSettings {
    let defaults = TopicSettings { queues: default_queues, ..TopicSettings::default() };
    let base = found.unwrap_or(&defaults).clone();
    TopicSettings {
        queues: request.queues.unwrap_or(base.queues),
        retention: request.retention.map_or(base.retention, |retention| match retention {
            RetentionName::UntilSettled => Retention::UntilSettled,
            RetentionName::TimeSize => Retention::TimeSize,
            RetentionName::Compacted => Retention::Compacted,
        }),
        durability: request.durability.map_or(base.durability, |durability| match durability {
            DurabilityName::Memory => Durability::Memory,
            DurabilityName::Disk => Durability::Disk,
        }),
        lifetime: request.lifetime.map_or(base.lifetime, |lifetime| match lifetime {
            LifetimeRequest::Durable => Lifetime::Durable,
            LifetimeRequest::Transient => Lifetime::Transient,
        }),
        attributes: policy_attributes(request, base.attributes),
        ..base
    }
}

/// Adds what a request says to what the topic has.
fn policy_attributes(
    request: &TopicRequest,
    mut attributes: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    if request.dead_letter.is_some() {
        // One target takes the place of another as a whole.
        attributes.retain(|name, _| {
            ![DEAD_LETTER_TOPIC, DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY].contains(&name.as_str())
        });
    }
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    let overflow = request.overflow.map(|overflow| match overflow {
        OverflowName::DropHead => Overflow::DropHead,
        OverflowName::RejectPublish => Overflow::Reject,
        OverflowName::RejectPublishDlx => Overflow::RejectToDeadLetter,
    });
    let to = request.dead_letter.as_ref();
    let said = [
        (MESSAGE_TTL_MS, number(request.message_ttl_ms)),
        (EXPIRES_MS, number(request.expires_ms)),
        (LENGTH_MAX, number(request.length_max)),
        (LENGTH_BYTES_MAX, number(request.length_bytes_max)),
        (OVERFLOW, overflow.map(|overflow| overflow.name().to_owned())),
        (COMPACTION_LAG_MS, number(request.compaction_lag_ms)),
        (TOMBSTONE_MS, number(request.tombstone_ms)),
        (lite::LITE, request.lite.map(|lite| lite.to_string())),
        (lite::LITE_EXPIRES_MS, number(request.lite_expires_ms)),
        (PRIORITY_MAX, number(request.priority_max.map(u64::from))),
        (TRACE_SAMPLE, number(request.trace_sample)),
        (DEDUPLICATION_WINDOW_MS, number(request.deduplication_window_ms)),
        (DEAD_LETTER_TOPIC, to.and_then(|to| to.topic.clone())),
        (DEAD_LETTER_EXCHANGE, to.and_then(|to| to.exchange.clone())),
        (DEAD_LETTER_KEY, to.and_then(|to| to.key.clone())),
    ];
    attributes.extend(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    attributes
}

/// The settings an exchange should have, by the same rule.
/// The rules of a user.
pub(crate) fn rules(permissions: Vec<Permission>) -> Result<Vec<Rule>, Refusal> {
    permissions.into_iter().enumerate().map(|(at, permission)| rule(at, permission)).collect()
}

fn rule(at: usize, permission: Permission) -> Result<Rule, Refusal> {
    let Permission { effect, actions, resources, name, prefix, pattern, routing_keys, sources } = permission;
    let names = match (name, prefix, pattern) {
        (Some(name), None, None) => Pattern::Literal(name),
        (None, Some(prefix), None) => Pattern::Prefix(prefix),
        (None, None, Some(pattern)) => Pattern::Regex(pattern),
        _ => {
            let detail = format!("permission {at} needs one of `name`, `prefix` and `pattern`, and no more");
            return Err(Refusal::invalid(detail));
        }
    };
    let effect = match effect {
        EffectName::Allow => Effect::Allow,
        EffectName::Deny => Effect::Deny,
    };
    let action = |name: &ActionName| match name {
        ActionName::Publish => Action::Publish,
        ActionName::Consume => Action::Consume,
        ActionName::Configure => Action::Configure,
        ActionName::Describe => Action::Describe,
        ActionName::Administer => Action::Administer,
    };
    let kind = |name: &ResourceName| match name {
        ResourceName::Topic => ResourceKind::Topic,
        ResourceName::Group => ResourceKind::Group,
        ResourceName::Exchange => ResourceKind::Exchange,
        ResourceName::Cluster => ResourceKind::Cluster,
    };
    let (actions, resources) = (actions.iter().map(action).collect(), resources.iter().map(kind).collect());
    Ok(Rule { effect, actions, resources, names, routing_keys, sources })
}

pub(crate) fn exchange_settings(
    request: ExchangeRequest,
    found: Option<&ExchangeSettings>,
) -> ExchangeSettings {
    let mut settings = found.cloned().unwrap_or_else(|| ExchangeSettings::durable(ExchangeKind::Direct));
    if let Some(kind) = request.kind {
        settings.kind = match kind {
            KindName::Direct => ExchangeKind::Direct,
            KindName::Fanout => ExchangeKind::Fanout,
            KindName::Topic => ExchangeKind::Topic,
            KindName::Headers => ExchangeKind::Headers,
        };
    }
    if let Some(lifetime) = request.lifetime {
        settings.lifetime = match lifetime {
            LifetimeRequest::Durable => Lifetime::Durable,
            LifetimeRequest::Transient => Lifetime::Transient,
        };
    }
    settings.delete_when_unused = request.auto_delete.unwrap_or(settings.delete_when_unused);
    settings.internal = request.internal.unwrap_or(settings.internal);
    if let Some(alternate) = request.alternate {
        settings.attributes.insert(ALTERNATE_EXCHANGE.to_owned(), alternate);
    }
    settings
}

/// The one thing that a binding leads to.
pub(crate) fn bind_target(topic: Option<String>, exchange: Option<String>) -> Result<BindTarget, Refusal> {
    match (topic, exchange) {
        (Some(topic), None) => Ok(BindTarget::Topic(topic.into())),
        (None, Some(exchange)) => Ok(BindTarget::Exchange(exchange.into())),
        _ => Err(Refusal::invalid("a binding leads to either a topic or an exchange")),
    }
}

/// What a binding asks of headers; nothing where the request says nothing of them.
pub(crate) fn binding_attributes(request: &BindingRequest) -> Result<Vec<u8>, Refusal> {
    let mut table = Vec::new();
    if let Some(matches) = request.matches {
        let text: &[u8] = match matches {
            MatchName::All => b"all",
            MatchName::Any => b"any",
            MatchName::AllWithX => b"all-with-x",
            MatchName::AnyWithX => b"any-with-x",
        };
        push_header(&mut table, MATCH_HEADER, &HeaderValue::Text(text));
    }
    for (name, value) in &request.headers {
        if name == MATCH_HEADER {
            return Err(Refusal::invalid("x-match is the field match of a binding, not one of its headers"));
        }
        let value = match value {
            HeaderScalar::Void(()) => HeaderValue::Void,
            HeaderScalar::Bool(value) => HeaderValue::Bool(*value),
            HeaderScalar::Integer(value) => HeaderValue::Integer(*value),
            HeaderScalar::Float(value) => HeaderValue::Float(*value),
            HeaderScalar::Text(text) => HeaderValue::Text(text.as_bytes()),
        };
        if !push_header(&mut table, name, &value) {
            let bytes = name.len();
            let detail = format!(
                "the name of a header has {bytes} bytes; at most {HEADER_NAME_BYTES_MAX} are allowed"
            );
            return Err(Refusal::new(Kind::LimitExceeded, detail));
        }
    }
    Ok(table)
}

/// The settings a group should have, by the same rule.
pub(crate) fn group_settings(
    request: GroupRequest,
    found: Option<&GroupSettings>,
    name: &str,
) -> Result<GroupSettings, Refusal> {
    let mut settings = found.cloned().unwrap_or_else(|| GroupSettings::rocketmq(name));
    if let Some(max_attempts) = request.max_attempts {
        if max_attempts == Some(0) {
            return Err(Refusal::invalid("max_attempts counts the first delivery too, so it is at least 1"));
        }
        // The core counts failures, which the last delivery adds one to.
        settings.attempts_max = max_attempts.map(|max| max - 1);
    }
    if let Some(backoff_ms) = request.backoff_ms {
        if let Some(step) = backoff_ms.iter().find(|step| **step > DELAY_MS_MAX) {
            let detail = format!("a backoff of {step} ms is too long; at most {DELAY_MS_MAX} are allowed");
            return Err(Refusal::new(Kind::LimitExceeded, detail));
        }
        settings.backoff_ms = backoff_ms;
    }
    if let Some(dead_letter) = request.dead_letter {
        settings.dead_letter = dead_letter;
    }
    if let Some(order) = request.order {
        settings.turns.order = match order {
            OrderName::Any => Order::Any,
            OrderName::Queue => Order::Queue,
            OrderName::OrderingKey => Order::Key,
        };
    }
    settings.turns.single_active = request.single_active.unwrap_or(settings.turns.single_active);
    Ok(settings)
}
