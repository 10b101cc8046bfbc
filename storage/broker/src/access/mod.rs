//! Who may do what: users with credentials and rules, decisions with their reasons, and the list of administrative
//! changes. One model for all protocols: they authenticate and translate refusals; what is allowed is decided here.
//!
//! Users are part of the shard's state and change by records of the log. A broker without users lets everybody do
//! everything; with the first user, whoever does not log in may do nothing.

mod audit;
mod decision;
mod identity;
mod login;
mod password;
mod resource;
mod rule;
mod secret;
mod signature;
mod user;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

pub use self::audit::AuditEntry;
pub(crate) use self::audit::{Audit, bounded};
pub use self::decision::Denial;
pub use self::identity::Identity;
pub(crate) use self::login::{Claim, Logins};
pub use self::password::PasswordHash;
pub use self::resource::{Action, Resource, ResourceKind};
pub use self::rule::{Effect, Pattern, Rule};
pub use self::secret::{SealedSecret, SecretKeyFile};
pub(crate) use self::signature::check_signature;
pub(crate) use self::user::checked;
pub use self::user::{User, UserChange, UserSettings};
use crate::command::Name;
use crate::ids::UserId;

/// Everybody who may log in, as sessions look at it: shared, changed by the shard alone.
#[derive(Debug, Default)]
pub struct Access {
    table: ArcSwap<Table>,
    is_closed: AtomicBool,
}

/// All users at one moment.
#[derive(Clone, Debug, Default)]
struct Table {
    /// Counts changes: what was decided at another version is worth nothing.
    version: u64,
    users: BTreeMap<Name, Arc<User>>,
}

impl Access {
    /// True while there are no users: everybody may do everything.
    pub fn is_open(&self) -> bool {
        !self.is_closed.load(Ordering::Acquire)
    }

    /// A user by name, enabled or not.
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.table.load().users.get(name).cloned()
    }

    /// All users, sorted by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.table.load().users.values().cloned().collect()
    }

    /// Counts up with every change of users.
    pub fn version(&self) -> u64 {
        self.table.load().version
    }

    /// Whether somebody may do something, and if not, why.
    ///
    /// `key` is the routing key that the action is about, if it is about one.
    pub fn check(
        &self,
        identity: &Identity,
        action: Action,
        resource: Resource<'_>,
        key: Option<&str>,
    ) -> Result<(), Box<Denial>> {
        identity.check(self, action, resource, key)
    }

    pub(crate) fn put(&self, user: Arc<User>) {
        self.change(|users| drop(users.insert(user.name.clone(), user.clone())));
    }

    /// Removes a user, unless somebody else has its name by now.
    pub(crate) fn remove(&self, id: UserId) {
        self.change(|users| users.retain(|_, user| user.id != id));
    }

    fn change(&self, change: impl Fn(&mut BTreeMap<Name, Arc<User>>)) {
        let mut table = Table::clone(&self.table.load());
        table.version += 1;
        change(&mut table.users);
        let is_closed = !table.users.is_empty();
        self.table.store(Arc::new(table));
        self.is_closed.store(is_closed, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
