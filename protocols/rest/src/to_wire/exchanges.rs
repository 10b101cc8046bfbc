//! Exchanges and their bindings.

use std::collections::BTreeMap;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use mailrail_broker::{BindTarget, BindingView as CoreBindingView, Exchange, ExchangeKind, Lifetime};
use mailrail_message::{HeaderValue, Headers};

use crate::from_wire::MATCH_HEADER;
use crate::schema::exchange::{BindingView, ExchangeView, HeaderScalar, KindName};

pub(crate) fn exchange_view(exchange: &Exchange) -> ExchangeView {
    let settings = &exchange.settings;
    ExchangeView {
        exchange: exchange.name.to_string(),
        kind: match settings.kind {
            ExchangeKind::Direct => KindName::Direct,
            ExchangeKind::Fanout => KindName::Fanout,
            ExchangeKind::Topic => KindName::Topic,
            ExchangeKind::Headers => KindName::Headers,
        },
        durable: settings.lifetime == Lifetime::Durable,
        auto_delete: settings.delete_when_unused,
        internal: settings.internal,
        alternate: settings.alternate().map(str::to_owned),
    }
}

pub(crate) fn binding_view(binding: CoreBindingView) -> BindingView {
    let mut headers: BTreeMap<String, HeaderScalar> =
        Headers::new(&binding.attributes).map(|(name, value)| (name.to_owned(), scalar(value))).collect();
    let matches = match headers.remove(MATCH_HEADER) {
        Some(HeaderScalar::Text(matches)) => Some(matches.replace('-', "_")),
        _ => None,
    };
    let (topic, exchange) = match binding.target {
        BindTarget::Topic(name) => (Some(name.to_string()), None),
        BindTarget::Exchange(name) => (None, Some(name.to_string())),
    };
    BindingView { topic, exchange, key: binding.key, matches, headers }
}

fn scalar(value: HeaderValue<'_>) -> HeaderScalar {
    let coded = |bytes| HeaderScalar::Text(Base64Display::new(bytes, &STANDARD).to_string());
    match value {
        HeaderValue::Void => HeaderScalar::Void(()),
        HeaderValue::Bool(value) => HeaderScalar::Bool(value),
        HeaderValue::Integer(value) => HeaderScalar::Integer(value),
        HeaderValue::Float(value) => HeaderScalar::Float(value),
        HeaderValue::Text(bytes) => HeaderScalar::Text(String::from_utf8_lossy(bytes).into_owned()),
        HeaderValue::Untyped(text) => HeaderScalar::Text(text.to_owned()),
        HeaderValue::Decimal { scale, value } => HeaderScalar::Text(format!("{value}e-{scale}")),
        HeaderValue::Time(seconds) => HeaderScalar::Text(seconds.to_string()),
        HeaderValue::Bytes(bytes) | HeaderValue::Array(bytes) | HeaderValue::Table(bytes) => coded(bytes),
    }
}
