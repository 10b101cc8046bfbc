//! Exchanges and bindings: what can be asked for and what is shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::topic::LifetimeRequest;

/// Settings of an exchange. What is missing keeps its value, or gets its default when the exchange is made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"kind": "topic", "alternate": "unroutable"}))]
pub(crate) struct ExchangeRequest {
    /// How it chooses among its bindings; `direct` by default.
    pub kind: Option<KindName>,
    /// How long it lives; `durable` by default.
    pub lifetime: Option<LifetimeRequest>,
    /// Whether it goes with its last binding; `false` by default.
    pub auto_delete: Option<bool>,
    /// Whether only other exchanges may route into it; `false` by default.
    pub internal: Option<bool>,
    /// Exchange that gets what none of the bindings fits. There need be none of that name.
    pub alternate: Option<String>,
}

/// How an exchange chooses among its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KindName {
    /// The binding's key is the routing key.
    Direct,
    /// Every binding.
    Fanout,
    /// Words separated by dots; in the binding's key `*` is one word and `#` any number.
    Topic,
    /// Headers: the message's properties against those of the binding.
    Headers,
}

/// An exchange.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "exchange": "events", "kind": "topic", "durable": true, "auto_delete": false, "internal": false,
    "alternate": "unroutable",
}))]
pub(crate) struct ExchangeView {
    pub exchange: String,
    pub kind: KindName,
    /// False for one that goes when the broker stops.
    pub durable: bool,
    pub auto_delete: bool,
    pub internal: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alternate: Option<String>,
}

/// Exchanges, sorted by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExchangeList {
    pub exchanges: Vec<ExchangeView>,
    /// Name to pass as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Conditions of a delete.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteExchangeQuery {
    /// Only if it has no bindings.
    #[serde(default)]
    #[param(default = false)]
    pub if_unused: bool,
}

/// A binding to make: to a topic or to an exchange.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"topic": "orders", "key": "orders.eu.*"}))]
pub(crate) struct BindingRequest {
    /// Topic that the messages go to.
    pub topic: Option<String>,
    /// Exchange that they go to instead.
    pub exchange: Option<String>,
    /// Routing key or pattern; empty by default.
    #[serde(default)]
    pub key: String,
    /// For an exchange of kind `headers`: how many of `headers` must be equal; `all` by default.
    #[serde(rename = "match")]
    pub matches: Option<MatchName>,
    /// For an exchange of kind `headers`: values to compare; `null` means any value.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderScalar>,
}

/// How many headers must be equal. Names that begin with `x-` count only `with_x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MatchName {
    All,
    Any,
    AllWithX,
    AnyWithX,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum HeaderScalar {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Void(()),
}

/// A binding. What AMQP clients bound with values that JSON has no form for is shown as text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"topic": "orders", "key": "orders.eu.*"}))]
pub(crate) struct BindingView {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    pub key: String,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderScalar>,
}

/// Bindings, in an order that stays.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BindingList {
    pub bindings: Vec<BindingView>,
    /// Number to pass as `skip` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
}

/// Which part of the bindings to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BindingsQuery {
    /// Pass over so many.
    #[serde(default)]
    #[param(default = 0)]
    pub skip: usize,
    /// Most items to show, 1 to 1000.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    pub max: Option<usize>,
}

/// Which bindings to remove.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UnbindQuery {
    /// Those to this topic.
    pub topic: Option<String>,
    /// Those to this exchange instead.
    pub exchange: Option<String>,
    /// Those with this key, whatever their headers.
    #[serde(default)]
    #[param(default = "")]
    pub key: String,
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BindingsRemoved {
    pub bindings: usize,
}
