//! What headers and query parameters say about a message whose body is the request body.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};
use mailrail_broker::Durability;

use super::time;
use crate::problem::{Kind, Refusal};
use crate::schema::publish::NewMessage;

const HEADER_PREFIX: &str = "mailrail-";
const PROPERTY_HEADER_PREFIX: &str = "property-";
const PROPERTY_QUERY_PREFIX: &str = "property.";
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
