//! Every way in which a request is refused, as RFC 9457 problem documents. One kind has one status; broker errors become
//! kinds here and nowhere else.

use std::collections::BTreeMap;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mailrail_broker::{Error, FilterError};
use mailrail_message::DraftError;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

/// Seconds after which a client that was told to come back later may do so.
const RETRY_AFTER_S: u32 = 1;
/// What a client that has not logged in is asked for.
const CHALLENGE: &str = "Basic realm=\"mailrail\", charset=\"UTF-8\"";
const MEDIA_TYPE: &str = "application/problem+json";
/// Prefix of every problem type.
pub(crate) const TYPE_PREFIX: &str = "urn:mailrail:problem:";

/// What kind of problem: decides type, title and status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    InvalidRequest,
    InvalidName,
    LimitExceeded,
    InvalidReceipt,
    Unauthenticated,
    Forbidden,
    AccessDenied,
    NoSuchResource,
    TopicNotFound,
    ExchangeNotFound,
    Unroutable,
    QueueNotFound,
    GroupNotFound,
    MessageNotFound,
    UserNotFound,
    MethodNotAllowed,
    RequestTimeout,
    Differs,
    NoDeduplication,
    OutOfSequence,
    ModeConflict,
    InUse,
    NotEmpty,
    Locked,
    ReceiptEnded,
    NotWaiting,
    TransactionNotFound,
    TransactionEnding,
    LastAdministrator,
    TooLarge,
    UnsupportedMediaType,
    Busy,
    Full,
    Internal,
    NotSupported,
    Overloaded,
    Stopping,
    ReadOnly,
    NoAnswer,
    NoSpace,
}

impl Kind {
    /// Status, name within the type URN, title.
    pub(crate) fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Kind::InvalidRequest => (S::BAD_REQUEST, "invalid-request", "The request is not valid"),
            Kind::InvalidName => (S::BAD_REQUEST, "invalid-name", "The name is not allowed"),
            Kind::LimitExceeded => (S::BAD_REQUEST, "limit-exceeded", "A limit is exceeded"),
            Kind::InvalidReceipt => (S::BAD_REQUEST, "invalid-receipt", "The receipt is not one of this API"),
            Kind::Forbidden => (S::FORBIDDEN, "forbidden", "The settings of the topic or exchange forbid it"),
            Kind::Unauthenticated => (S::UNAUTHORIZED, "unauthenticated", "A user must log in"),
            Kind::AccessDenied => (S::FORBIDDEN, "access-denied", "The user may not do this"),
            Kind::NoSuchResource => (S::NOT_FOUND, "no-such-resource", "There is nothing at this path"),
            Kind::TopicNotFound => (S::NOT_FOUND, "topic-not-found", "The topic does not exist"),
            Kind::ExchangeNotFound => (S::NOT_FOUND, "exchange-not-found", "The exchange does not exist"),
            Kind::Unroutable => (S::NOT_FOUND, "unroutable", "No queue is bound for the message"),
            Kind::QueueNotFound => (S::NOT_FOUND, "queue-not-found", "The topic has no such queue"),
            Kind::GroupNotFound => (S::NOT_FOUND, "group-not-found", "The group does not exist"),
            Kind::MessageNotFound => (S::NOT_FOUND, "message-not-found", "The message does not exist"),
            Kind::UserNotFound => (S::NOT_FOUND, "user-not-found", "The user does not exist"),
            Kind::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method-not-allowed", "The path does not know this method")
            }
            Kind::RequestTimeout => {
                (S::REQUEST_TIMEOUT, "request-timeout", "The request body took too long to arrive")
            }
            Kind::Differs => (S::CONFLICT, "differs", "It exists with other settings"),
            Kind::NoDeduplication => (S::CONFLICT, "no-deduplication", "The topic does not deduplicate"),
            Kind::OutOfSequence => {
                (S::CONFLICT, "out-of-sequence", "A later message of the producer was stored already")
            }
            Kind::ModeConflict => {
                (S::CONFLICT, "mode-conflict", "The group is being consumed in another way")
            }
            Kind::InUse => (S::CONFLICT, "in-use", "It is in use"),
            Kind::NotEmpty => (S::CONFLICT, "not-empty", "It is not empty"),
            Kind::Locked => (S::CONFLICT, "locked", "It belongs to another session"),
            Kind::ReceiptEnded => (S::GONE, "receipt-ended", "The receipt's lease has ended"),
            Kind::NotWaiting => (S::CONFLICT, "not-waiting", "The message does not wait for its time"),
            Kind::TransactionNotFound => {
                (S::NOT_FOUND, "transaction-not-found", "No such transaction is open")
            }
            Kind::TransactionEnding => {
                (S::CONFLICT, "transaction-ending", "The transaction is being ended another way")
            }
            Kind::LastAdministrator => {
                (S::CONFLICT, "last-administrator", "Nobody could let others in any more")
            }
            Kind::TooLarge => (S::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            Kind::UnsupportedMediaType => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The content type is not supported")
            }
            Kind::Busy => (S::TOO_MANY_REQUESTS, "busy", "Too much work is waiting"),
            Kind::Full => (S::TOO_MANY_REQUESTS, "full", "The topic is full"),
            Kind::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "The broker failed"),
            Kind::NotSupported => (S::NOT_IMPLEMENTED, "not-supported", "This is not supported yet"),
            Kind::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded", "Too many requests are open"),
            Kind::Stopping => (S::SERVICE_UNAVAILABLE, "stopping", "The broker is stopping"),
            Kind::ReadOnly => (S::SERVICE_UNAVAILABLE, "read-only", "The log has failed"),
            Kind::NoAnswer => (S::GATEWAY_TIMEOUT, "no-answer", "The broker did not answer in time"),
            Kind::NoSpace => (S::INSUFFICIENT_STORAGE, "no-space", "The disk is full"),
        }
    }

    /// Whether the same request may succeed a little later.
    fn may_retry(self) -> bool {
        matches!(self, Kind::Busy | Kind::Full | Kind::Overloaded | Kind::Stopping | Kind::NoSpace)
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{TYPE_PREFIX}{}", self.facts().1))
    }
}

/// Why a request, or one item of it, was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub kind: Kind,
    pub detail: String,
    /// Which message or receipt of the request, from 0.
    pub index: Option<usize>,
    /// Refusals of single items, where none of them was accepted.
    pub errors: Vec<ItemProblem>,
}

impl Refusal {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Refusal { kind, detail: detail.into(), index: None, errors: Vec::new() }
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Refusal::new(Kind::InvalidRequest, detail)
    }

    pub fn no_topic(name: &str) -> Self {
        Error::NoTopic(name.to_owned()).into()
    }

    pub fn at(self, index: usize) -> Self {
        Refusal { index: Some(index), ..self }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.clone().problem()).unwrap_or_default()
    }

    /// The document that goes over the wire.
    fn problem(self) -> Problem {
        let (status, _, title) = self.kind.facts();
        Problem {
            kind: self.kind,
            title,
            status: status.as_u16(),
            detail: self.detail,
            index: self.index,
            retry_after_s: self.kind.may_retry().then_some(RETRY_AFTER_S),
            errors: self.errors,
        }
    }
}

/// An RFC 9457 problem document (`application/problem+json`), with extension members.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "urn:mailrail:problem:topic-not-found",
    "title": "The topic does not exist",
    "status": 404,
    "detail": "topic \"orders\" does not exist",
}))]
pub(crate) struct Problem {
    /// What kind of problem, as a URN `urn:mailrail:problem:NAME`. Programs branch on this, or on the status.
    #[serde(rename = "type")]
    #[schema(value_type = String, format = "uri")]
    kind: Kind,
    /// The kind in words; the same for every problem of the kind.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request, for people: names the value and the limit.
    detail: String,
    /// Which message or receipt of the request it is about, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// Seconds after which the same request may succeed; also in the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u32>,
    /// The problem of each message, where a request of several was refused whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ItemProblem>,
}

/// Why one message or receipt of a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ItemProblem {
    /// Which one, from 0.
    pub index: usize,
    /// As in a problem document.
    #[serde(rename = "type")]
    #[schema(value_type = String, format = "uri", example = "urn:mailrail:problem:queue-not-found")]
    pub kind: Kind,
    /// The status that the item alone would have got.
    pub status: u16,
    /// What is wrong with it, for people.
    pub detail: String,
}

impl ItemProblem {
    pub fn new(index: usize, refusal: Refusal) -> Self {
        let status = refusal.kind.facts().0.as_u16();
        ItemProblem { index, kind: refusal.kind, status, detail: refusal.detail }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind.facts();
        let may_retry = self.kind.may_retry();
        let must_log_in = self.kind == Kind::Unauthenticated;
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if may_retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        if must_log_in {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::NoTopic(_) => Kind::TopicNotFound,
            Error::NoQueue { .. } => Kind::QueueNotFound,
            Error::NoGroup { .. } => Kind::GroupNotFound,
            Error::NoExchange(_) => Kind::ExchangeNotFound,
            Error::Unroutable => Kind::Unroutable,
            Error::Argument { .. } | Error::NoKey(_) => Kind::InvalidRequest,
            Error::NoMessage(_) => Kind::MessageNotFound,
            Error::Differs { .. } => Kind::Differs,
            Error::NoDeduplication(_) => Kind::NoDeduplication,
            // Where a receipt that is forgotten can be told, that is no refusal.
            Error::Forgotten { .. } | Error::OutOfSequence { .. } => Kind::OutOfSequence,
            Error::Locked(_) => Kind::Locked,
            Error::InUse(_) | Error::ExclusiveConsumer(_) => Kind::InUse,
            Error::NotEmpty(_) => Kind::NotEmpty,
            Error::Mode { .. } => Kind::ModeConflict,
            Error::Name { .. } => Kind::InvalidName,
            Error::Limit { .. } => Kind::LimitExceeded,
            Error::NotWritable(_) | Error::NotReadable(_) | Error::Internal(_) => Kind::Forbidden,
            Error::Full { .. } => Kind::Full,
            Error::NoSpace => Kind::NoSpace,
            Error::Poisoned(_) => Kind::ReadOnly,
            Error::Stopping => Kind::Stopping,
            Error::Busy { .. } => Kind::Busy,
            Error::Receipt(_) => Kind::ReceiptEnded,
            Error::Read(_) | Error::Damaged(_) => Kind::Internal,
            Error::Durability(_) => Kind::NotSupported,
            Error::NotWaiting { .. } => Kind::NotWaiting,
            Error::NotHalf { .. } => Kind::TransactionNotFound,
            Error::Ending(_) => Kind::TransactionEnding,
            Error::Denied(_) => Kind::AccessDenied,
            Error::Login => Kind::Unauthenticated,
            Error::NoUser(_) => Kind::UserNotFound,
            Error::LastAdministrator(_) => Kind::LastAdministrator,
            Error::SecretKey(_) | Error::Random => Kind::Internal,
        };
        if kind == Kind::Internal {
            tracing::error!(%error, "a REST request failed");
        }
        Refusal::new(kind, error.to_string())
    }
}

impl From<FilterError> for Refusal {
    fn from(error: FilterError) -> Self {
        let kind = match error {
            FilterError::TooLong { .. } | FilterError::TooManyTerms { .. } | FilterError::TooDeep { .. } => {
                Kind::LimitExceeded
            }
            FilterError::Syntax { .. } | FilterError::Misuse { .. } | FilterError::NoTag(_) => {
                Kind::InvalidRequest
            }
        };
        Refusal::new(kind, format!("the filter is not valid: {error}"))
    }
}

impl From<DraftError> for Refusal {
    fn from(error: DraftError) -> Self {
        let kind = match error {
            DraftError::Topic { .. } => Kind::InvalidName,
            DraftError::Body { .. } | DraftError::Properties { .. } | DraftError::Whole { .. } => {
                Kind::TooLarge
            }
        };
        Refusal::new(kind, error.to_string())
    }
}

/// The responses that an operation's document lists for these kinds, one per status.
pub(crate) fn responses(kinds: &[Kind]) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in kinds {
        by_status.entry(kind.facts().0.as_u16()).or_default().push(*kind);
    }
    let describe = |kinds: &[Kind]| {
        let lines = kinds.iter().map(|kind| format!("`{}`: {}.", kind.facts().1, kind.facts().2));
        lines.collect::<Vec<_>>().join("\n")
    };
    let response = |kinds: &[Kind]| {
        let schema = Some(RefOr::Ref(Ref::from_schema_name("Problem")));
        let content = ContentBuilder::new().schema(schema).build();
        ResponseBuilder::new().description(describe(kinds)).content(MEDIA_TYPE, content).build()
    };
    by_status.iter().map(|(status, kinds)| (status.to_string(), RefOr::T(response(kinds)))).collect()
}

/// Names a set of problem kinds for the document of operations.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: [$($kind:ident),* $(,)?];)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::response::Response>,
            > {
                $crate::problem::responses(&[$($crate::problem::Kind::$kind),*])
            }
        }
    )*};
}
pub(crate) use refusals;

#[cfg(test)]
mod tests {
    use super::*;
    use mailrail_broker::Durability;

    #[test]
    fn every_broker_error_has_its_status() {
        let text = || "x".to_owned();
        let cases = [
            (Error::NoTopic(text()), 404),
            (Error::NoQueue { topic: text(), index: 9, queues: 4 }, 404),
            (Error::NoGroup { group: text(), topic: text() }, 404),
            (Error::NoExchange(text()), 404),
            (Error::NoMessage(7), 404),
            (
                Error::Differs { what: "topic", name: text(), field: "queues", found: text(), asked: text() },
                409,
            ),
            (Error::Locked(text()), 409),
            (Error::InUse(text()), 409),
            (Error::NotEmpty(text()), 409),
            (Error::Mode { group: text(), topic: text(), found: "offset", asked: "lease" }, 409),
            (Error::ExclusiveConsumer(text()), 409),
            (Error::Name { what: "topic", name: text(), why: "it is empty" }, 400),
            (Error::Limit { what: "queues", value: 2, max: 1 }, 400),
            (Error::Argument { name: "x-match", value: text(), allowed: "all" }, 400),
            (Error::NoKey(text()), 400),
            (Error::NotWritable(text()), 403),
            (Error::NotReadable(text()), 403),
            (Error::Internal(text()), 403),
            (Error::Unroutable, 404),
            (Error::Full { topic: text(), what: "ready entries", value: 3, max: 2 }, 429),
            (Error::NoSpace, 507),
            (Error::Poisoned(text()), 503),
            (Error::Stopping, 503),
            (Error::Busy { bytes: 1 }, 429),
            (Error::Receipt("gone"), 410),
            (Error::Read(text()), 500),
            (Error::Damaged(7), 500),
            (Error::Durability(Durability::Disk), 501),
            (Error::Login, 401),
            (Error::NoUser(text()), 404),
            (Error::LastAdministrator("it is the last one"), 409),
            (Error::SecretKey(text()), 500),
            (Error::NotWaiting { position: 7, why: "it was dispatched" }, 409),
            (Error::NotHalf { position: 7, why: "it was committed" }, 404),
            (Error::Ending(7), 409),
        ];
        for (error, status) in cases {
            let response = Refusal::from(error.clone()).into_response();
            assert_eq!(response.status().as_u16(), status, "{error}");
            let retry = response.headers().contains_key(header::RETRY_AFTER);
            let expected =
                matches!(error, Error::NoSpace | Error::Stopping | Error::Busy { .. } | Error::Full { .. });
            assert_eq!(retry, expected, "{error}");
        }
    }
}
