//! Subscriptions of consumer groups, as the newest heartbeat of any member stated them.
//!
//! Shared by all remoting connections. Membership itself (who is told what, who expires) is the broker's; this only
//! forgets a group when its last registering connection has gone.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use mailrail_broker::{Filter, Name, SessionId};

use crate::codec::body::heartbeat::{self, Consumer};
use crate::subscription::{self, SubscriptionError};

#[derive(Debug, Default)]
pub(crate) struct Registry {
    groups: RwLock<HashMap<Name, Group>>,
}

#[derive(Debug, Default)]
struct Group {
    members: HashSet<(SessionId, Name)>,
    topics: HashMap<Name, Subscription>,
    /// Monotonic time until which members hold queue locks, unless they renew them.
    locked_until: Duration,
}

/// One topic of a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Subscription {
    /// Pulls are told of an error: a heartbeat is answered with success all the same, as RocketMQ does.
    pub(crate) filter: Result<Filter, SubscriptionError>,
    /// Grows when a client changes the expression.
    pub(crate) version: i64,
    /// What it was compiled from.
    expression: String,
    expression_type: String,
}

/// Why there is no subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    Group,
    Topic,
}

impl Registry {
    /// Takes a heartbeat's word for a group. Topics it does not name are dropped, the others are replaced when their
    /// version is not older: members that differ take turns, as with RocketMQ, rather than being merged.
    pub(crate) fn update(&self, session: SessionId, group: &Name, member: &Name, consumer: &Consumer) {
        let subscriptions: Vec<_> =
            consumer.subscriptions.iter().map(|new| self.compile(group, new)).collect();
        let mut groups = self.write();
        let held = groups.entry(group.clone()).or_default();
        held.members.insert((session, member.clone()));
        let named = |topic: &str| consumer.subscriptions.iter().any(|new| new.topic == topic);
        held.topics.retain(|topic, _| named(topic));
        for (new, subscription) in consumer.subscriptions.iter().zip(subscriptions) {
            if held.topics.get(new.topic.as_str()).is_some_and(|old| old.version > new.version) {
                continue;
            }
            held.topics.insert(Name::from(new.topic.as_str()), subscription);
        }
    }

    /// Heartbeats repeat what is known; only what is new is compiled, and nobody waits for that.
    fn compile(&self, group: &str, new: &heartbeat::Subscription) -> Subscription {
        let is_it = |old: &Subscription| {
            old.expression == new.expression && old.expression_type == new.expression_type
        };
        match self.subscription(group, &new.topic) {
            Ok(old) if is_it(&old) => Subscription { version: new.version, ..old },
            _ => Subscription {
                filter: subscription::parse(&new.expression, &new.expression_type),
                version: new.version,
                expression: new.expression.clone(),
                expression_type: new.expression_type.clone(),
            },
        }
    }

    /// A heartbeat that leaves its subscriptions out: false when they are not known here.
    pub(crate) fn renew(&self, session: SessionId, group: &str, member: &Name) -> bool {
        let mut groups = self.write();
        let Some(held) = groups.get_mut(group) else { return false };
        held.members.insert((session, member.clone()));
        true
    }

    pub(crate) fn subscription(&self, group: &str, topic: &str) -> Result<Subscription, Absent> {
        let groups = self.read();
        groups.get(group).ok_or(Absent::Group)?.topics.get(topic).cloned().ok_or(Absent::Topic)
    }

    /// A member of a group locks queues: it consumes in order.
    pub(crate) fn locks(&self, group: &str, until: Duration) {
        if let Some(held) = self.write().get_mut(group) {
            held.locked_until = held.locked_until.max(until);
        }
    }

    /// True while a group consumes in order.
    pub(crate) fn is_locking(&self, group: &str, now: Duration) -> bool {
        self.read().get(group).is_some_and(|held| held.locked_until > now)
    }

    /// The topics a group has subscribed to.
    pub(crate) fn topics(&self, group: &str) -> Vec<Name> {
        self.read().get(group).map_or_else(Vec::new, |held| held.topics.keys().cloned().collect())
    }

    pub(crate) fn leave(&self, session: SessionId, group: &Name, member: &Name) {
        let mut groups = self.write();
        if let Some(held) = groups.get_mut(group) {
            held.members.remove(&(session, member.clone()));
            if held.members.is_empty() {
                groups.remove(group);
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Name, Group>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Name, Group>> {
        self.groups.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::body::heartbeat::parse;

    fn consumer(subscriptions: &[(&str, &str, i64)]) -> Consumer {
        let list: Vec<String> = subscriptions
            .iter()
            .map(|(topic, expression, version)| {
                format!(r#"{{"topic":"{topic}","subString":"{expression}","subVersion":{version}}}"#)
            })
            .collect();
        let body = format!(
            r#"{{"clientID":"c","consumerDataSet":[{{"groupName":"g","subscriptionDataSet":[{}]}}]}}"#,
            list.join(",")
        );
        parse(body.as_bytes()).unwrap().consumers.remove(0)
    }

    #[test]
    fn the_newest_heartbeat_replaces_the_set_but_not_newer_versions() {
        let registry = Registry::default();
        let (g, a, b) = (Name::from("g"), Name::from("a"), Name::from("b"));
        registry.update(SessionId(1), &g, &a, &consumer(&[("T", "x", 5), ("U", "*", 5)]));
        registry.update(SessionId(2), &g, &b, &consumer(&[("T", "y", 4)]));
        assert_eq!(registry.subscription("g", "T").unwrap().version, 5);
        assert_eq!(registry.subscription("g", "U"), Err(Absent::Topic));
        registry.update(SessionId(2), &g, &b, &consumer(&[("T", "*", 6)]));
        assert_eq!(registry.subscription("g", "T").unwrap().filter, Ok(Filter::all()));
        assert_eq!(registry.topics("g"), [Name::from("T")]);
        assert_eq!(registry.subscription("h", "T"), Err(Absent::Group));
    }

    #[test]
    fn a_group_consumes_in_order_as_long_as_its_locks_are_renewed() {
        let registry = Registry::default();
        let at = Duration::from_secs;
        registry.locks("g", at(60));
        assert!(!registry.is_locking("g", at(1)), "nobody is in it");
        registry.update(SessionId(1), &Name::from("g"), &Name::from("a"), &consumer(&[("T", "*", 1)]));
        registry.locks("g", at(60));
        assert!(registry.is_locking("g", at(59)) && !registry.is_locking("g", at(60)));
    }

    #[test]
    fn a_group_is_forgotten_with_its_last_member() {
        let registry = Registry::default();
        let (g, a) = (Name::from("g"), Name::from("a"));
        assert!(!registry.renew(SessionId(1), "g", &a));
        registry.update(SessionId(1), &g, &a, &consumer(&[("T", "*", 1)]));
        assert!(registry.renew(SessionId(2), "g", &a));
        registry.leave(SessionId(1), &g, &a);
        assert!(registry.subscription("g", "T").is_ok());
        registry.leave(SessionId(2), &g, &a);
        assert_eq!(registry.subscription("g", "T"), Err(Absent::Group));
    }
}
