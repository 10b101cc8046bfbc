//! Who a session acts for, and what was decided for it: decisions are remembered until a user changes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;

use super::decision::{Decision, Denial, Request, decide};
use super::resource::{Action, Resource, ResourceKind};
use super::{Access, Table};
use crate::command::Name;
use crate::limits::DECISIONS_REMEMBERED_MAX;

/// Somebody, as a session knows them. Shared by all that a client does over one connection.
#[derive(Debug)]
pub struct Identity {
    who: Who,
    from: IpAddr,
    decisions: Mutex<Decisions>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// The broker itself, for what it tidies up.
    Broker,
    Anonymous,
    User(Name),
}

#[derive(Debug, Default)]
struct Decisions {
    version: u64,
    count: usize,
    by_action: FxHashMap<(Action, ResourceKind), FxHashMap<Box<str>, bool>>,
}

impl Identity {
    /// Nobody has logged in.
    pub fn anonymous(from: IpAddr) -> Self {
        Identity::new(Who::Anonymous, from)
    }

    /// A user whose credentials were checked.
    pub(crate) fn user(name: Name, from: IpAddr) -> Self {
        Identity::new(Who::User(name), from)
    }

    /// What nobody asked for: it may do everything.
    pub(crate) fn broker() -> Self {
        Identity::new(Who::Broker, Ipv4Addr::UNSPECIFIED.into())
    }

    fn new(who: Who, from: IpAddr) -> Self {
        Identity { who, from, decisions: Mutex::default() }
    }

    /// Name of the user, if somebody has logged in.
    pub fn name(&self) -> Option<&str> {
        match &self.who {
            Who::User(name) => Some(name),
            Who::Broker | Who::Anonymous => None,
        }
    }

    pub fn from(&self) -> IpAddr {
        self.from
    }

    /// As records of changes name them.
    pub(crate) fn signature(&self) -> &str {
        match &self.who {
            Who::User(name) => name,
            Who::Broker => "the broker",
            Who::Anonymous => "anonymous",
        }
    }

    pub(super) fn check(
        &self,
        access: &Access,
        action: Action,
        resource: Resource<'_>,
        key: Option<&str>,
    ) -> Result<(), Box<Denial>> {
        if self.who == Who::Broker || access.is_open() {
            return Ok(());
        }
        let (action, resource) = resource.meant(action);
        let table = access.table.load();
        let request = Request { action, resource, key, from: self.from };
        match self.is_allowed(&table, &request) {
            true => Ok(()),
            false => Err(Box::new(self.denial(&table, &request))),
        }
    }

    fn is_allowed(&self, table: &Table, request: &Request<'_>) -> bool {
        let Who::User(name) = &self.who else { return false };
        let Some(user) = table.users.get(name).filter(|user| user.settings.enabled) else { return false };
        if user.settings.admin {
            return true;
        }
        if request.key.is_some() && user.looks_at_keys() {
            return decide(user.rules(), request) == Decision::Allowed;
        }
        let mut decisions = self.decisions.lock().unwrap_or_else(PoisonError::into_inner);
        if decisions.version != table.version || decisions.count >= DECISIONS_REMEMBERED_MAX {
            *decisions = Decisions { version: table.version, ..Decisions::default() };
        }
        let by_name = decisions.by_action.entry((request.action, request.resource.kind)).or_default();
        if let Some(known) = by_name.get(request.resource.name) {
            return *known;
        }
        let is_allowed = decide(user.rules(), request) == Decision::Allowed;
        by_name.insert(request.resource.name.into(), is_allowed);
        decisions.count += 1;
        is_allowed
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.decisions.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    fn denial(&self, table: &Table, request: &Request<'_>) -> Denial {
        let user = self.name().and_then(|name| table.users.get(name));
        let why = match (self.name(), user) {
            (None, _) => "log in first".to_owned(),
            (Some(_), None) => "the user is no more".to_owned(),
            (Some(_), Some(user)) if !user.settings.enabled => "the user is disabled".to_owned(),
            (Some(_), Some(user)) => match decide(user.rules(), request) {
                Decision::DeniedBy(number) => {
                    let rule = user.settings.rules.get(number).map(ToString::to_string).unwrap_or_default();
                    format!("rule {} is to {rule}", number + 1)
                }
                Decision::NothingAllows | Decision::Allowed => "no rule allows it".to_owned(),
            },
        };
        let who = self
            .name()
            .map_or_else(|| "whoever has not logged in".to_owned(), |name| format!("user {name:?}"));
        Denial {
            who,
            action: request.action,
            resource: request.resource.to_string(),
            key: request.key.map(str::to_owned),
            why,
        }
    }
}
