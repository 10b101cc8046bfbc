//! One rule: whether it allows or denies, what, to which names, for which routing keys, from where. Checked and compiled
//! once, so that asking it is cheap.

use std::net::IpAddr;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::decision::Request;
use super::resource::{Action, ResourceKind};
use crate::error::Error;
use crate::limits::*;

/// What a rule that fits leads to. A rule that denies beats all that allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    Allow,
    Deny,
}

/// Which names a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pattern {
    /// This one.
    Literal(String),
    /// Those that begin so; empty = all.
    Prefix(String),
    /// Those in which the regular expression is found somewhere, as with RabbitMQ; empty = the empty name alone.
    Regex(String),
}

impl Pattern {
    fn text(&self) -> &str {
        let (Pattern::Literal(text) | Pattern::Prefix(text) | Pattern::Regex(text)) = self;
        text
    }
}

/// A rule of one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub effect: Effect,
    /// At least one.
    pub actions: Vec<Action>,
    /// At least one.
    pub resources: Vec<ResourceKind>,
    pub names: Pattern,
    /// A regular expression: only with a routing key in which it is found. `None` = whatever the key.
    pub routing_keys: Option<String>,
    /// Addresses or networks (`10.0.0.0/8`) that clients come from; empty = any.
    pub sources: Vec<String>,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let effect = match self.effect {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        };
        let actions: Vec<&str> = self.actions.iter().map(|action| action.name()).collect();
        let kinds: Vec<&str> = self.resources.iter().map(|kind| kind.name()).collect();
        write!(f, "{effect} {} on {}", actions.join(","), kinds.join(","))?;
        match &self.names {
            Pattern::Literal(name) => write!(f, " {name:?}"),
            Pattern::Prefix(prefix) => write!(f, " {prefix:?}..."),
            Pattern::Regex(regex) => write!(f, " /{regex}/"),
        }
    }
}

/// A rule that was checked.
#[derive(Debug)]
pub(super) struct Compiled {
    pub effect: Effect,
    actions: Vec<Action>,
    resources: Vec<ResourceKind>,
    names: Names,
    routing_keys: Option<Names>,
    sources: Vec<Network>,
}

#[derive(Debug)]
enum Names {
    One(Box<str>),
    Beginning(Box<str>),
    Matching(Box<Regex>),
}

impl Names {
    fn has(&self, name: &str) -> bool {
        match self {
            Names::One(one) => **one == *name,
            Names::Beginning(prefix) => name.starts_with(&**prefix),
            Names::Matching(regex) => regex.is_match(name),
        }
    }

    fn regex(text: &str) -> Result<Names, Error> {
        bytes_at_most("bytes of a rule's pattern", text.len(), RULE_PATTERN_BYTES_MAX)?;
        if text.is_empty() {
            return Ok(Names::One(Box::default()));
        }
        let regex = RegexBuilder::new(text).size_limit(RULE_REGEX_BYTES_MAX).build();
        let wrong = |_| Error::Argument {
            name: "pattern",
            value: text.to_owned(),
            allowed: "a regular expression without backtracking, not too large when compiled,",
        };
        regex.map(|regex| Names::Matching(Box::new(regex))).map_err(wrong)
    }
}

impl Compiled {
    pub fn of(rule: &Rule) -> Result<Compiled, Error> {
        bytes_at_most("bytes of a rule's pattern", rule.names.text().len(), RULE_PATTERN_BYTES_MAX)?;
        bytes_at_most("sources of a rule", rule.sources.len(), RULE_SOURCES_MAX)?;
        let named = [("actions", rule.actions.is_empty()), ("resources", rule.resources.is_empty())];
        if let Some((name, _)) = named.into_iter().find(|(_, is_empty)| *is_empty) {
            return Err(Error::Argument { name, value: "[]".to_owned(), allowed: "at least one" });
        }
        let names = match &rule.names {
            Pattern::Literal(name) => Names::One(name.as_str().into()),
            Pattern::Prefix(prefix) => Names::Beginning(prefix.as_str().into()),
            Pattern::Regex(text) => Names::regex(text)?,
        };
        Ok(Compiled {
            effect: rule.effect,
            actions: unique(&rule.actions),
            resources: unique(&rule.resources),
            names,
            routing_keys: rule.routing_keys.as_deref().map(Names::regex).transpose()?,
            sources: rule.sources.iter().map(|text| Network::parse(text)).collect::<Result<_, _>>()?,
        })
    }

    /// What is left of a rule that cannot be read any more: whom it would deny something, it denies all.
    pub fn unreadable(rule: &Rule) -> Option<Compiled> {
        (rule.effect == Effect::Deny).then(|| Compiled {
            effect: Effect::Deny,
            actions: Action::NAMES.iter().map(|(_, action)| *action).collect(),
            resources: ResourceKind::NAMES.iter().map(|(_, kind)| *kind).collect(),
            names: Names::Beginning(Box::default()),
            routing_keys: None,
            sources: Vec::new(),
        })
    }

    pub fn looks_at_keys(&self) -> bool {
        self.routing_keys.is_some()
    }

    pub fn fits(&self, request: &Request<'_>) -> bool {
        // Seeing something is allowed with anything else.
        let is_seeing = request.action == Action::Describe && self.effect == Effect::Allow;
        (is_seeing || self.actions.contains(&request.action))
            && self.resources.contains(&request.resource.kind)
            && self.names.has(request.resource.name)
            && (is_seeing || self.fits_key(request.key))
            && (self.sources.is_empty() || self.sources.iter().any(|network| network.has(request.from)))
    }

    fn fits_key(&self, key: Option<&str>) -> bool {
        self.routing_keys.as_ref().is_none_or(|keys| key.is_some_and(|key| keys.has(key)))
    }
}

fn unique<T: Copy + Ord>(all: &[T]) -> Vec<T> {
    let mut all = all.to_vec();
    all.sort_unstable();
    all.dedup();
    all
}

fn bytes_at_most(what: &'static str, value: usize, max: usize) -> Result<(), Error> {
    let (value, max) = (u64::try_from(value).unwrap_or(u64::MAX), u64::try_from(max).unwrap_or(u64::MAX));
    if value > max { Err(Error::Limit { what, value, max }) } else { Ok(()) }
}

/// Addresses with the same first bits.
#[derive(Debug)]
struct Network {
    base: u128,
    /// Of 128: addresses of the older family are looked at as they are mapped into the newer one.
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Result<Network, Error> {
        let wrong = || Error::Argument {
            name: "source",
            value: text.chars().take(RULE_SOURCE_BYTES_SHOWN_MAX).collect(),
            allowed: "an address or a network as 10.0.0.0/8",
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width {
            return Err(wrong());
        }
        Ok(Network { base: wide(address), bits: bits + (128 - width) })
    }

    fn has(&self, address: IpAddr) -> bool {
        let differ = self.base ^ wide(address);
        differ.leading_zeros() >= self.bits
    }
}

fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(older) => older.to_ipv6_mapped().to_bits(),
        IpAddr::V6(newer) => newer.to_bits(),
    }
}
