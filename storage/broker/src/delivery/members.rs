//! Members of groups that consume by offset: who they are, and which queues they have locked for themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::command::Name;
use crate::ids::*;
use crate::session::Mailbox;

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub mailbox: Arc<Mailbox>,
    pub topics: Vec<Name>,
    pub expires: Duration,
}

/// A queue locked for one member: until a monotonic time, and no longer than its session lasts.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub member: Name,
    pub session: SessionId,
    pub ends: Duration,
}

/// All members and locks of the shard's groups.
#[derive(Debug, Default)]
pub(crate) struct Members {
    groups: BTreeMap<Name, BTreeMap<Name, Member>>,
    /// No member's time is over before.
    expires_from: Option<Duration>,
    locks: FxHashMap<(Name, QueueId), Lock>,
}

impl Members {
    /// Registers or renews a member; true when the group looks different to the others.
    pub fn join(&mut self, group: &Name, name: &Name, member: Member) -> bool {
        self.expires_from =
            Some(self.expires_from.map_or(member.expires, |earliest| earliest.min(member.expires)));
        let before = self.groups.entry(group.clone()).or_default().insert(name.clone(), member);
        let now = self.groups.get(group).and_then(|members| members.get(name));
        match (before, now) {
            (Some(before), Some(now)) => {
                before.topics != now.topics || before.mailbox.session != now.mailbox.session
            }
            _ => true,
        }
    }

    /// Removes a member; true when there was one. Its locks are released.
    pub fn leave(&mut self, group: &str, name: &str) -> bool {
        let Some(members) = self.groups.get_mut(group) else { return false };
        let left = members.remove(name).is_some();
        if members.is_empty() {
            self.groups.remove(group);
        }
        self.locks.retain(|(locked, _), lock| &**locked != group || &*lock.member != name);
        left
    }

    /// Removes the members of a session that has gone, and those whose time is over; returns their groups.
    pub fn remove_gone(&mut self, session: Option<SessionId>, now: Duration) -> Vec<Name> {
        let mut gone = Vec::new();
        for (group, members) in &self.groups {
            for (name, member) in members {
                if session == Some(member.mailbox.session) || member.expires <= now {
                    gone.push((group.clone(), name.clone()));
                }
            }
        }
        for (group, name) in &gone {
            self.leave(group, name);
        }
        self.locks.retain(|_, lock| session != Some(lock.session) && lock.ends > now);
        let members = self.groups.values().flat_map(|members| members.values());
        self.expires_from = members.map(|member| member.expires).min();
        let mut groups: Vec<Name> = gone.into_iter().map(|(group, _)| group).collect();
        groups.dedup();
        groups
    }

    /// Names of a group's members, sorted.
    pub fn names(&self, group: &str) -> Vec<Name> {
        self.groups.get(group).map(|members| members.keys().cloned().collect()).unwrap_or_default()
    }

    /// Mailboxes of a group's members.
    pub fn mailboxes(&self, group: &str) -> Vec<Arc<Mailbox>> {
        let members = self.groups.get(group).into_iter().flat_map(|members| members.values());
        let mut mailboxes: Vec<_> = members.map(|member| member.mailbox.clone()).collect();
        mailboxes.sort_by_key(|mailbox| mailbox.session);
        mailboxes.dedup_by_key(|mailbox| mailbox.session);
        mailboxes
    }

    /// True while a live member of the group reads the topic by offset.
    pub fn reads(&self, group: &str, topic: &str, now: Duration) -> bool {
        let members = self.groups.get(group).into_iter().flat_map(|members| members.values());
        members
            .filter(|member| member.expires > now)
            .any(|member| member.topics.iter().any(|t| &**t == topic))
    }

    /// Locks a queue for a member, unless another holds it.
    pub fn lock(&mut self, group: &Name, queue: QueueId, lock: &Lock, now: Duration) -> bool {
        let key = (group.clone(), queue);
        let free = self.locks.get(&key).is_none_or(|held| held.member == lock.member || held.ends <= now);
        if free {
            self.locks.insert(key, lock.clone());
        }
        free
    }

    /// True while a queue is locked for a member of the group.
    pub fn is_locked(&self, group: &str, mut queues: impl Iterator<Item = QueueId>, now: Duration) -> bool {
        if self.locks.is_empty() {
            return false;
        }
        let group = Name::from(group);
        queues.any(|queue| self.locks.get(&(group.clone(), queue)).is_some_and(|lock| lock.ends > now))
    }

    /// A queue is no more.
    pub fn forget_queue(&mut self, queue: QueueId) {
        self.locks.retain(|(_, locked), _| *locked != queue);
    }

    pub fn unlock(&mut self, group: &Name, queue: QueueId, member: &Name) {
        let key = (group.clone(), queue);
        if self.locks.get(&key).is_some_and(|lock| lock.member == *member) {
            self.locks.remove(&key);
        }
    }

    /// When to look for members whose time is over.
    pub fn deadline(&self) -> Option<Duration> {
        self.expires_from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_for_one_member_until_it_ends_or_leaves() {
        let mut members = Members::default();
        let (group, a, b): (Name, Name, Name) = ("g".into(), "a".into(), "b".into());
        let at = Duration::from_secs;
        let member = |session| Member {
            mailbox: Arc::new(Mailbox::new(SessionId(session), None)),
            topics: vec!["t".into()],
            expires: at(100),
        };
        assert!(members.join(&group, &a, member(1)) && members.join(&group, &b, member(2)));
        assert!(!members.join(&group, &a, member(1)));
        let lock =
            |member: &Name, ends| Lock { member: member.clone(), session: SessionId(1), ends: at(ends) };
        assert!(members.lock(&group, QueueId(1), &lock(&a, 60), at(0)));
        assert!(!members.lock(&group, QueueId(1), &lock(&b, 119), at(59)));
        assert!(members.lock(&group, QueueId(1), &lock(&b, 120), at(60)));
        assert!(members.leave("g", "b") && !members.leave("g", "b"));
        assert!(members.lock(&group, QueueId(1), &lock(&a, 120), at(61)));
        assert!(members.reads("g", "t", at(99)) && !members.reads("g", "t", at(100)));
        assert_eq!(members.remove_gone(None, at(100)), [group]);
    }
}
