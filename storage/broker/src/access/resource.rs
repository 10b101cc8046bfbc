//! What can be done, and to what.

use serde::{Deserialize, Serialize};

/// Something that a rule allows or denies. Numbers of variants are part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Send messages there, and bind to it as a target.
    Publish,
    /// Receive, read, settle, move positions, and bind to it as a source.
    Consume,
    /// Make, change and delete it.
    Configure,
    /// See its settings and state. Whoever may do anything else to it may do this.
    Describe,
    /// Users, rules, backups.
    Administer,
}

impl Action {
    pub const NAMES: [(&'static str, Action); 5] = [
        ("publish", Action::Publish),
        ("consume", Action::Consume),
        ("configure", Action::Configure),
        ("describe", Action::Describe),
        ("administer", Action::Administer),
    ];

    pub fn name(self) -> &'static str {
        Action::NAMES.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// What kind of thing. Numbers of variants are part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ResourceKind {
    Topic,
    Group,
    Exchange,
    /// The broker as a whole; it has no name.
    Cluster,
}

impl ResourceKind {
    pub const NAMES: [(&'static str, ResourceKind); 4] = [
        ("topic", ResourceKind::Topic),
        ("group", ResourceKind::Group),
        ("exchange", ResourceKind::Exchange),
        ("cluster", ResourceKind::Cluster),
    ];

    pub fn name(self) -> &'static str {
        ResourceKind::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// Something that is acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resource<'a> {
    pub kind: ResourceKind,
    pub name: &'a str,
}

/// Topics that are a part of a group: its retries and its dead letters, by RocketMQ's names for them.
const TOPICS_OF_GROUPS: [&str; 2] = ["%RETRY%", "%DLQ%"];

impl<'a> Resource<'a> {
    pub const CLUSTER: Resource<'static> = Resource { kind: ResourceKind::Cluster, name: "" };

    pub fn topic(name: &'a str) -> Self {
        Resource { kind: ResourceKind::Topic, name }
    }

    pub fn group(name: &'a str) -> Self {
        Resource { kind: ResourceKind::Group, name }
    }

    pub fn exchange(name: &'a str) -> Self {
        Resource { kind: ResourceKind::Exchange, name }
    }

    /// What an action on this comes down to: whatever is done to a topic that belongs to a group is consuming with that
    /// group.
    pub(super) fn meant(self, action: Action) -> (Action, Resource<'a>) {
        let group = TOPICS_OF_GROUPS.iter().find_map(|prefix| self.name.strip_prefix(prefix));
        match (self.kind, group) {
            (ResourceKind::Topic, Some(group)) if action != Action::Describe => {
                (Action::Consume, Resource::group(group))
            }
            (ResourceKind::Topic, Some(group)) => (action, Resource::group(group)),
            _ => (action, self),
        }
    }
}

impl std::fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            ResourceKind::Cluster => f.write_str("the cluster"),
            kind => write!(f, "{} {:?}", kind.name(), self.name),
        }
    }
}
