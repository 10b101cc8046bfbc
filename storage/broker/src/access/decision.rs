//! One decision: pure, and with its reason. A rule that denies beats all that allow; what no rule allows is denied.

use std::net::IpAddr;

use super::resource::{Action, Resource};
use super::rule::{Compiled, Effect};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub action: Action,
    pub resource: Resource<'a>,
    /// The routing key that it is about, if any.
    pub key: Option<&'a str>,
    pub from: IpAddr,
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Allowed,
    /// The rule of this number denies it.
    DeniedBy(usize),
    NothingAllows,
}

/// Asks all rules, in whatever order they stand.
pub(super) fn decide(rules: &[Compiled], request: &Request<'_>) -> Decision {
    let mut decision = Decision::NothingAllows;
    for (number, rule) in rules.iter().enumerate() {
        if !rule.fits(request) {
            continue;
        }
        match rule.effect {
            Effect::Deny => return Decision::DeniedBy(number),
            Effect::Allow => decision = Decision::Allowed,
        }
    }
    decision
}

/// Why somebody may not do something, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access denied: {who} may not {} {resource}{}: {why}", verb(*action), about(key))]
pub struct Denial {
    /// `user "x"`, or that nobody has logged in.
    pub who: String,
    pub action: Action,
    /// Kind and name.
    pub resource: String,
    pub key: Option<String>,
    /// The rule that denies it, or that none allows it.
    pub why: String,
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Publish => "publish to",
        Action::Describe => "see",
        action => action.name(),
    }
}

fn about(key: &Option<String>) -> String {
    key.as_ref().map_or_else(String::new, |key| format!(" with key {key:?}"))
}
