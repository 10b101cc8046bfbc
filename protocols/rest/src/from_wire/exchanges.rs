//! The settings of an exchange, and what its bindings lead to and ask for.

use mailrail_broker::{ALTERNATE_EXCHANGE, BindTarget, ExchangeKind, ExchangeSettings, Lifetime};
use mailrail_message::{HEADER_NAME_BYTES_MAX, HeaderValue, push_header};

use crate::problem::{Kind, Refusal};
use crate::schema::exchange::{BindingRequest, ExchangeRequest, HeaderScalar, KindName, MatchName};
use crate::schema::topic::LifetimeRequest;

/// Header of a binding that says how many of the others must be equal.
pub(crate) const MATCH_HEADER: &str = "x-match";

/// The settings an exchange should have: what the request says, else what it has, else the defaults.
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
