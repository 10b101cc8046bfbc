//! Users and the list of administrative changes in the state.

use super::*;
use crate::access::{AuditEntry, UserSettings};

impl State {
    pub(super) fn put_user(&mut self, id: UserId, name: &str, settings: &UserSettings) {
        self.saw_id(id.0);
        self.before_change(ItemKey::User(id));
        let user = Arc::new(User::new(id, Arc::from(name), settings.clone()));
        self.directory.access().put(user.clone());
        self.users.insert(id, user);
        self.dirty.insert(ItemKey::User(id));
    }

    pub(super) fn delete_user(&mut self, id: UserId) {
        self.before_change(ItemKey::User(id));
        if self.users.remove(&id).is_some() {
            self.directory.access().remove(id);
            self.dirty.insert(ItemKey::User(id));
        }
    }

    pub(super) fn user_item(&self, id: UserId) -> Option<Item> {
        let user = self.users.get(&id)?;
        Some(Item::User { id, name: user.name.to_string(), settings: Box::new(user.settings.clone()) })
    }

    pub(super) fn audit_item(&self) -> Option<Item> {
        let entries: Vec<AuditEntry> = self.audit.entries().cloned().collect();
        (!entries.is_empty()).then_some(Item::Audit(entries))
    }

    pub(super) fn add_audit(&mut self, entry: &AuditEntry) {
        self.before_change(ItemKey::Audit);
        self.audit.add(entry.clone());
        self.dirty.insert(ItemKey::Audit);
    }
}
