//! Users and what they may do: what can be asked for and what is shown. No secret is ever shown.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::instant::WallTime;

/// What is to be different about a user. What is missing stays, or gets its default when the user is made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "password": "correct horse battery staple",
    "permissions": [{"effect": "allow", "actions": ["publish"], "resources": ["topic"], "prefix": "orders."}],
}))]
pub(crate) struct UserRequest {
    /// With which it logs in, over HTTP and AMQP; at most 1,024 bytes of UTF-8.
    pub password: Option<String>,
    /// With which it signs requests over RocketMQ remoting, where the user's name is the access key. Kept so that the
    /// broker can read it; at most 1,024 bytes.
    pub signing_secret: Option<String>,
    /// Whether it may do everything; `false` by default.
    pub admin: Option<bool>,
    /// Whether it may log in; `true` by default.
    pub enabled: Option<bool>,
    /// All its rules; none by default.
    pub permissions: Option<Vec<Permission>>,
}

/// A rule. One that denies beats all that allow; what no rule allows is denied. Exactly one of `name`, `prefix` and
/// `pattern` says which topics, groups or exchanges it is about; for the cluster, `prefix` may be empty.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "effect": "allow", "actions": ["publish", "consume"], "resources": ["topic", "group"], "pattern": "^orders($|\\.)",
}))]
pub(crate) struct Permission {
    pub effect: EffectName,
    /// At least one. Who may do anything may describe.
    pub actions: Vec<ActionName>,
    /// At least one.
    pub resources: Vec<ResourceName>,
    /// This name alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Names that begin so; empty = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Names in which this regular expression is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Only with a routing key in which this regular expression is found: when publishing to an exchange, or binding to
    /// one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_keys: Option<String>,
    /// Addresses or networks that it may come from; any by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["10.0.0.0/8"]))]
    pub sources: Vec<String>,
}

/// What a rule leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EffectName {
    Allow,
    Deny,
}

/// Something that can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ActionName {
    /// Send messages there, and bind to it as a target.
    Publish,
    /// Receive, read, settle, move positions, and bind to it as a source.
    Consume,
    /// Make, change and delete it.
    Configure,
    /// See its settings and state.
    Describe,
    /// Users, rules, backups.
    Administer,
}

/// What kind of thing it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResourceName {
    Topic,
    Group,
    Exchange,
    Cluster,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user": "ann", "admin": false, "enabled": true, "has_password": true, "has_signing_secret": false,
    "permissions": [{"effect": "allow", "actions": ["publish"], "resources": ["topic"], "prefix": "orders."}],
}))]
pub(crate) struct UserView {
    pub user: String,
    pub admin: bool,
    pub enabled: bool,
    pub has_password: bool,
    pub has_signing_secret: bool,
    pub permissions: Vec<Permission>,
}

/// Users, sorted by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserList {
    pub users: Vec<UserView>,
    /// Name to pass as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// All rules of a user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Permissions {
    pub permissions: Vec<Permission>,
}

/// An administrative change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "number": 7, "time": "2026-01-31T12:00:00.000Z", "user": "root", "address": "127.0.0.1",
    "change": "delete user \"ann\"",
}))]
pub(crate) struct ChangeView {
    /// Counts up from 1.
    pub number: u64,
    #[schema(value_type = String, format = "date-time")]
    pub time: WallTime,
    /// Who made it.
    pub user: String,
    /// Where from.
    pub address: String,
    /// In words.
    pub change: String,
    /// Why it was refused; missing when it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Administrative changes, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeList {
    pub changes: Vec<ChangeView>,
    /// Number to pass as `before` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Which changes to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangesQuery {
    /// Only those with a smaller number.
    pub before: Option<u64>,
    /// Most changes to show, 1 to 100.
    #[param(default = 100, minimum = 1, maximum = 100)]
    pub max: Option<usize>,
}
