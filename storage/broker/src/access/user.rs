//! A user: what is stored of it, how it changes, and the form in which it is asked.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::password::PasswordHash;
use super::rule::{Compiled, Rule};
use super::secret::{SealedSecret, SecretKeyFile};
use crate::command::Name;
use crate::error::Error;
use crate::ids::UserId;
use crate::limits::USER_RULES_MAX;

/// What is stored of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSettings {
    /// Whether it may log in and do anything.
    pub enabled: bool,
    /// May do everything, whatever rules say.
    pub admin: bool,
    pub password: Option<PasswordHash>,
    /// What it signs requests with, where a protocol has no passwords.
    pub signing_secret: Option<SealedSecret>,
    pub rules: Vec<Rule>,
}

impl Default for UserSettings {
    fn default() -> Self {
        UserSettings { enabled: true, admin: false, password: None, signing_secret: None, rules: Vec::new() }
    }
}

/// What is to be different about a user; `None` leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    pub enabled: Option<bool>,
    pub admin: Option<bool>,
    pub password: Option<PasswordHash>,
    pub signing_secret: Option<SealedSecret>,
    pub rules: Option<Vec<Rule>>,
}

impl UserChange {
    pub(crate) fn carry_out(self, settings: &mut UserSettings) {
        settings.enabled = self.enabled.unwrap_or(settings.enabled);
        settings.admin = self.admin.unwrap_or(settings.admin);
        settings.password = self.password.or(settings.password.take());
        settings.signing_secret = self.signing_secret.or(settings.signing_secret.take());
        if let Some(rules) = self.rules {
            settings.rules = rules;
        }
    }

    /// In words, without any secret.
    pub(crate) fn describe(&self) -> String {
        let flags = [("enabled", self.enabled), ("admin", self.admin)];
        let mut words: Vec<String> =
            flags.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}"))).collect();
        words.extend(self.password.as_ref().map(|_| "a new password".to_owned()));
        words.extend(self.signing_secret.as_ref().map(|_| "a new signing secret".to_owned()));
        if let Some(rules) = &self.rules {
            let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
            words.push(format!("rules [{}]", rules.join("; ")));
        }
        words.join(", ")
    }
}

/// A user as sessions ask it.
#[derive(Debug)]
pub struct User {
    pub id: UserId,
    pub name: Name,
    pub settings: UserSettings,
    rules: Vec<Compiled>,
    looks_at_keys: bool,
    opened: OnceLock<Option<Arc<[u8]>>>,
}

/// Compiles the rules of a user, or says what is wrong with them.
pub(crate) fn checked(settings: &UserSettings) -> Result<(), Error> {
    let (value, max) = (settings.rules.len(), USER_RULES_MAX);
    if value > max {
        let wide = |count| u64::try_from(count).unwrap_or(u64::MAX);
        return Err(Error::Limit { what: "rules of a user", value: wide(value), max: wide(max) });
    }
    settings.rules.iter().try_for_each(|rule| Compiled::of(rule).map(drop))
}

impl User {
    pub(crate) fn new(id: UserId, name: Name, settings: UserSettings) -> Self {
        let mut rules = Vec::with_capacity(settings.rules.len());
        for rule in &settings.rules {
            let compiled = Compiled::of(rule).map_or_else(
                |error| {
                    // It was checked before it was recorded.
                    tracing::error!(user = %name, %error, "a rule cannot be read");
                    Compiled::unreadable(rule)
                },
                Some,
            );
            // One that allows nothing keeps the others' numbers.
            rules.extend(compiled.or_else(|| Compiled::of(&nothing(rule)).ok()));
        }
        let looks_at_keys = rules.iter().any(Compiled::looks_at_keys);
        User { id, name, settings, rules, looks_at_keys, opened: OnceLock::new() }
    }

    pub(super) fn rules(&self) -> &[Compiled] {
        &self.rules
    }

    pub(super) fn looks_at_keys(&self) -> bool {
        self.looks_at_keys
    }

    /// The secret that it signs requests with, if it has one that can be opened.
    pub(crate) fn signing_secret(&self, key: &SecretKeyFile) -> Option<Arc<[u8]>> {
        let open = || {
            let opened = key.unseal(&self.name, self.settings.signing_secret.as_ref()?);
            opened.map_or_else(
                |error| {
                    tracing::error!(user = %self.name, %error, "a signing secret cannot be opened; set it again");
                    None
                },
                |secret| Some(secret.into()),
            )
        };
        self.opened.get_or_init(open).clone()
    }
}

/// A rule without meaning in the place of one that cannot be read.
fn nothing(rule: &Rule) -> Rule {
    Rule {
        names: super::Pattern::Literal("\0".to_owned()),
        routing_keys: None,
        sources: Vec::new(),
        ..rule.clone()
    }
}
