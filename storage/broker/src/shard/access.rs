//! What each command takes: the one place where a session's commands are held against what its user may do. Reads, which
//! do not come through the shard, are held against the same in [`crate::session`].

use super::*;
use crate::access::{
    Action, AuditEntry, Denial, Identity, Resource, UserChange, UserSettings, bounded, checked,
};
use crate::command::{BindTarget, Name, Outcome};
use crate::limits::{AUDIT_PAGE_ENTRIES_MAX, USERS_MAX};
use crate::lite::LITE_OF;
use crate::policy::{DeadLetter, Policy};
use crate::publish::{Destination, PublishItem};
use crate::settings::{GroupSettings, TopicSettings};

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A receive that waits: of which group on which topic, and whose.
type Waiter = ((GroupId, TopicId), Arc<Mailbox>, Token);
type Allowed = Result<(), Box<Denial>>;

/// Asks for one session.
struct Check<'a> {
    shard: &'a Shard,
    identity: &'a Identity,
}

impl Check<'_> {
    fn may(&self, action: Action, resource: Resource<'_>) -> Allowed {
        self.may_by_key(action, resource, None)
    }

    fn may_by_key(&self, action: Action, resource: Resource<'_>, key: Option<&str>) -> Allowed {
        self.shard.state.directory.check(self.identity, action, resource, key)
    }

    /// What a group consumes from a topic.
    fn consume(&self, group: &str, topic: &str) -> Allowed {
        self.may(Action::Consume, Resource::topic(topic))?;
        self.may(Action::Consume, Resource::group(group))
    }

    fn command(&self, command: &Command) -> Allowed {
        use Action::{Administer, Configure, Consume, Describe};
        match command {
            // Each message by itself.
            Command::Publish { .. } => Ok(()),
            Command::PublishTogether { batch, settlements, .. } => {
                batch.items.iter().try_for_each(|item| self.publish(item))?;
                settlements.iter().try_for_each(|(receipts, _)| self.receipts(receipts))
            }
            Command::PutTopic { name, settings, .. } => self.put_topic(name, settings),
            Command::DeleteTopic { name, .. } => self.may(Configure, Resource::topic(name)),
            Command::PutGroup { name, settings, .. } => self.put_group(name, settings.as_ref()),
            Command::DeleteGroup { group, .. } => self.may(Configure, Resource::group(group)),
            Command::PutExchange { name, settings, .. } => {
                self.may(Configure, Resource::exchange(name))?;
                let Some(alternate) = settings.alternate() else { return Ok(()) };
                self.may(Consume, Resource::exchange(name))?;
                self.may(Action::Publish, Resource::exchange(alternate))
            }
            Command::DeleteExchange { name, .. } => self.may(Configure, Resource::exchange(name)),
            Command::Bind { source, target, key, .. } | Command::Unbind { source, target, key, .. } => {
                self.bind(source, target, key)
            }
            Command::Bindings { source, .. } => self.may(Describe, self.source(source)),
            Command::Purge { group, topic, .. }
            | Command::Seek { group, topic, .. }
            | Command::Receive { group, topic, .. }
            | Command::Consume { group, topic, .. }
            | Command::Get { group, topic, .. } => self.consume(group, topic),
            Command::GroupState { group, topic, .. } => {
                self.may(Describe, Resource::topic(topic))?;
                self.may(Describe, Resource::group(group))
            }
            Command::Commit { group, commits, .. } => {
                self.queues(commits.iter().map(|(queue, _)| *queue))?;
                self.may(Consume, Resource::group(group))
            }
            Command::Committed { group, .. } | Command::Members { group, .. } => {
                self.may(Describe, Resource::group(group))
            }
            // Giving back is for who may no longer consume, above all.
            Command::Settle { outcome: Outcome::Release, .. } => Ok(()),
            Command::Settle { receipts, .. } | Command::Extend { receipts, .. } => self.receipts(receipts),
            Command::Join { group, topics, .. } => {
                topics.iter().try_for_each(|topic| self.may(Consume, Resource::topic(topic)))?;
                self.may(Consume, Resource::group(group))
            }
            Command::Leave { group, .. } | Command::Lock { group, .. } | Command::Unlock { group, .. } => {
                self.may(Consume, Resource::group(group))
            }
            Command::PutUser { .. } | Command::DeleteUser { .. } | Command::Audit { .. } => {
                self.may(Administer, Resource::CLUSTER)
            }
            // Once it is known of which topic the message is: who produces is asked about what it may publish only.
            Command::Recall { .. }
            | Command::EndHalf { .. }
            | Command::Produce { .. }
            | Command::StopProducing { .. } => Ok(()),
            Command::OpenHalves { group: Some(group), .. } => self.may(Describe, Resource::group(group)),
            Command::OpenHalves { group: None, .. } => self.may(Describe, Resource::CLUSTER),
            // About what this session has already, or about nothing.
            Command::Credit { .. }
            | Command::Cancel { .. }
            | Command::Sync { .. }
            | Command::Identify { .. } => Ok(()),
        }
    }

    /// Dead letters are messages that the topic's consumers send elsewhere.
    fn put_topic(&self, name: &str, settings: &TopicSettings) -> Allowed {
        let parent = settings.attributes.get(LITE_OF);
        if let Some(parent) = parent {
            self.may(Action::Configure, Resource::topic(parent))?;
        }
        if parent.is_none() || self.shard.state.directory.topic(name).is_some() {
            self.may(Action::Configure, Resource::topic(name))?;
        }
        // What is wrong with the settings is said later.
        let to = Policy::of(settings).ok().and_then(|policy| policy.dead_letter);
        let Some(to) = to else { return Ok(()) };
        self.may(Action::Consume, Resource::topic(name))?;
        match &to {
            DeadLetter::Topic(topic) => self.may(Action::Publish, Resource::topic(topic)),
            DeadLetter::Exchange { exchange, key: Some(key) } if exchange.is_empty() => {
                self.may(Action::Publish, Resource::topic(key))
            }
            DeadLetter::Exchange { exchange, .. } => self.may(Action::Publish, Resource::exchange(exchange)),
        }
    }

    /// Making a group with the settings that any consumer's first step gives it is part of consuming, and so is asking for
    /// one as it is.
    fn put_group(&self, name: &str, settings: Option<&GroupSettings>) -> Allowed {
        let known = self.shard.state.directory.group(name);
        let is_first_step = settings.is_none_or(|settings| match &known {
            Some(group) => *settings == *group.settings(),
            None => *settings == GroupSettings::at_once() || *settings == GroupSettings::rocketmq(name),
        });
        if is_first_step && self.may(Action::Consume, Resource::group(name)).is_ok() {
            return Ok(());
        }
        self.may(Action::Configure, Resource::group(name))?;
        match settings.filter(|_| !is_first_step).and_then(|settings| settings.dead_letter.as_deref()) {
            // Dead letters are messages that the group would get, sent elsewhere.
            Some(topic) => {
                self.may(Action::Consume, Resource::group(name))?;
                self.may(Action::Publish, Resource::topic(topic))
            }
            None => Ok(()),
        }
    }

    /// As with RabbitMQ: what comes from the source is read, and written to the target.
    fn bind(&self, source: &str, target: &BindTarget, key: &str) -> Allowed {
        let target = match target {
            BindTarget::Topic(name) => Resource::topic(name),
            BindTarget::Exchange(name) => Resource::exchange(name),
        };
        self.may(Action::Publish, target)?;
        self.may_by_key(Action::Consume, self.source(source), Some(key))
    }

    /// An exchange, or a topic in its place.
    fn source<'a>(&self, name: &'a str) -> Resource<'a> {
        let directory = &self.shard.state.directory;
        let is_topic = directory.exchange(name).is_none() && directory.topic(name).is_some();
        if is_topic { Resource::topic(name) } else { Resource::exchange(name) }
    }

    fn queues(&self, queues: impl Iterator<Item = QueueId>) -> Allowed {
        for queue in queues {
            if let Some(queue) = self.shard.state.queues.get(&queue) {
                self.may(Action::Consume, Resource::topic(&queue.shared.topic))?;
            }
        }
        Ok(())
    }

    /// Receipts may be forged, so each is of what may be consumed.
    fn receipts(&self, receipts: &[Receipt]) -> Allowed {
        for line in receipts.chunk_by(|a, b| (a.group, a.queue) == (b.group, b.queue)) {
            let Some(Receipt { group, queue, .. }) = line.first() else { continue };
            if let Some(group) = self.shard.state.groups.get(group) {
                self.may(Action::Consume, Resource::group(&group.name))?;
            }
            self.queues([*queue].into_iter())?;
        }
        Ok(())
    }

    fn publish(&self, item: &PublishItem) -> Allowed {
        let topic = |id: &TopicId| match self.shard.state.topics.get(id) {
            Some(topic) => self.may(Action::Publish, Resource::topic(&topic.shared.name)),
            None => Ok(()),
        };
        match &item.destination {
            Destination::Topic { topic: id, .. } => topic(id),
            Destination::Topics(ids) => ids.iter().try_for_each(topic),
            Destination::Routed(_) => Ok(()),
            Destination::Exchange { exchange, keys } => {
                let Some(exchange) = self.shard.state.exchanges.get(exchange) else { return Ok(()) };
                let resource = Resource::exchange(&exchange.shared.name);
                if keys.is_empty() {
                    return self.may(Action::Publish, resource);
                }
                let by = |key: &bytes::Bytes| {
                    self.may_by_key(Action::Publish, resource, Some(&String::from_utf8_lossy(key)))
                };
                keys.iter().try_for_each(by)
            }
        }
    }
}

impl Shard {
    /// Why a command is not carried out for whoever sends it.
    pub(super) fn check_access(&self, mailbox: &Mailbox, command: &Command) -> Result<(), Error> {
        if self.state.directory.access().is_open() {
            return Ok(());
        }
        let identity = mailbox.identity();
        Check { shard: self, identity: &identity }.command(command).map_err(denied)
    }

    /// Why a message is not taken from whoever sends it.
    pub(super) fn check_publish(&self, mailbox: &Mailbox, item: &PublishItem) -> Result<(), Error> {
        if self.state.directory.access().is_open() {
            return Ok(());
        }
        let identity = mailbox.identity();
        Check { shard: self, identity: &identity }.publish(item).map_err(denied)
    }

    /// Refuses a command, and notes it where it was about users.
    pub(super) fn deny(&mut self, now: Now, mailbox: &Arc<Mailbox>, command: Command, error: Error) {
        let asked = Administered::of(&command).filter(|asked| asked.about_users);
        if let Some(asked) = asked {
            self.audit(now, &mailbox.identity(), asked.what, Some(error.to_string()));
        }
        self.refuse(mailbox, command, error);
    }

    /// Adds to the list of administrative changes. A broker without users keeps none.
    pub(super) fn audit(&mut self, now: Now, identity: &Identity, what: String, refused: Option<String>) {
        let entry = AuditEntry {
            number: self.state.audit.next_number(),
            at_ms: now.wall_ms,
            who: bounded(identity.signature().to_owned()),
            from: identity.from().to_string(),
            what: bounded(what),
            refused: refused.map(bounded),
        };
        if let Err(error) = self.log(Change::Audited(Box::new(entry))) {
            tracing::warn!(%error, "an administrative change is missing in the list of them");
        }
    }

    /// Notes what was changed since the log ended at a position, and what of users was not.
    pub(super) fn audit_change(
        &mut self,
        now: Now,
        mailbox: &Mailbox,
        asked: Option<Administered>,
        (before, refused): (Position, Option<&Error>),
    ) {
        let Some(asked) = asked.filter(|_| !self.state.directory.access().is_open()) else { return };
        if self.journal.end() != before || (asked.about_users && refused.is_some()) {
            self.audit(now, &mailbox.identity(), asked.what, refused.map(ToString::to_string));
        }
    }

    /// The newest entries before a number.
    pub(super) fn audit_entries(&self, before: Option<u64>, max: usize) -> Result<Reply, Error> {
        super::consume::limit("entries of one page", to_u64(max), to_u64(AUDIT_PAGE_ENTRIES_MAX))?;
        let is_before = |entry: &&AuditEntry| before.is_none_or(|before| entry.number < before);
        Ok(Reply::Audit(self.state.audit.entries().rev().filter(is_before).take(max).cloned().collect()))
    }

    pub(super) fn put_user(&mut self, name: &Name, change: UserChange) -> Result<Reply, Error> {
        super::topology::check_name("user", name)?;
        let known = self.state.directory.access().user(name);
        let mut settings = known.as_ref().map_or_else(UserSettings::default, |user| user.settings.clone());
        change.carry_out(&mut settings);
        checked(&settings)?;
        if known.as_ref().is_some_and(|user| user.settings == settings) {
            return Ok(Reply::Done);
        }
        if known.is_none() {
            super::consume::limit("users", to_u64(self.state.users.len()) + 1, to_u64(USERS_MAX))?;
        }
        let what = if known.is_none() { "the first user is none" } else { "the user is the last one" };
        self.keep_an_administrator(name, Some(&settings), what)?;
        let id = known.map_or_else(|| UserId(self.state.take_id()), |user| user.id);
        self.log(Change::UserPut { id, name: name.to_string(), settings: Box::new(settings) })?;
        self.end_what_is_denied();
        Ok(Reply::Done)
    }

    pub(super) fn delete_user(&mut self, name: &str) -> Result<Reply, Error> {
        let user = self.state.directory.access().user(name).ok_or_else(|| Error::NoUser(name.to_owned()))?;
        self.keep_an_administrator(name, None, "the user is the last one")?;
        self.log(Change::UserDeleted { id: user.id })?;
        self.end_what_is_denied();
        Ok(Reply::Done)
    }

    /// Once there are users, somebody must be able to change them; and there must be some, or everybody could do
    /// everything again.
    fn keep_an_administrator(
        &self,
        name: &str,
        settings: Option<&UserSettings>,
        otherwise: &'static str,
    ) -> Result<(), Error> {
        let can = |settings: &UserSettings| settings.enabled && settings.admin && settings.password.is_some();
        let others = || self.state.users.values().any(|user| *user.name != *name && can(&user.settings));
        if settings.is_some_and(can) || others() { Ok(()) } else { Err(Error::LastAdministrator(otherwise)) }
    }

    /// Consumers and waiting receives of those who may not consume any more.
    fn end_what_is_denied(&mut self) {
        let mut ended: Vec<(Arc<Mailbox>, ConsumerId)> = Vec::new();
        let mut refused: Vec<(Waiter, Error)> = Vec::new();
        for (key, subscription) in &self.subscriptions {
            let (Some(group), Some(topic)) = (self.state.groups.get(&key.0), self.state.topics.get(&key.1))
            else {
                continue;
            };
            let check = |mailbox: &Mailbox| {
                let identity = mailbox.identity();
                Check { shard: self, identity: &identity }.consume(&group.name, &topic.shared.name)
            };
            for consumer in
                subscription.consumers().iter().filter(|consumer| check(&consumer.mailbox).is_err())
            {
                ended.push((consumer.mailbox.clone(), consumer.id));
            }
            for receiver in &subscription.receivers {
                if let Err(denial) = check(&receiver.mailbox) {
                    refused.push(((*key, receiver.mailbox.clone(), receiver.token), denied(denial)));
                }
            }
        }
        for (mailbox, consumer) in ended {
            self.cancel(mailbox.session, consumer);
            self.send(&mailbox, Letter::Event(Event::ConsumerEnded { consumer }));
        }
        for ((key, mailbox, token), error) in refused {
            let is_it = |session, asked| session == mailbox.session && asked == token;
            if let Some(subscription) = self.subscriptions.get_mut(&key) {
                subscription.receivers.retain(|receiver| !is_it(receiver.mailbox.session, receiver.token));
            }
            self.reply(&mailbox, token, Err(error));
        }
    }
}

fn denied(denial: Box<Denial>) -> Error {
    metrics::counter!("mailrail_access_denied_total", "action" => denial.action.name()).increment(1);
    Error::Denied(denial)
}

/// An administrative command, in words.
pub(super) struct Administered {
    pub what: String,
    pub about_users: bool,
}

impl Administered {
    /// `None` for commands that are no administration.
    pub fn of(command: &Command) -> Option<Administered> {
        let what = match command {
            Command::PutUser { name, change, .. } => format!("put user {name:?}: {}", change.describe()),
            Command::DeleteUser { name, .. } => format!("delete user {name:?}"),
            Command::PutTopic { name, .. } => format!("put topic {name:?}"),
            Command::DeleteTopic { name, .. } => format!("delete topic {name:?}"),
            Command::PutGroup { name, .. } => format!("put group {name:?}"),
            Command::DeleteGroup { group, topic, .. } => format!("delete group {group:?} of topic {topic:?}"),
            Command::PutExchange { name, .. } => format!("put exchange {name:?}"),
            Command::DeleteExchange { name, .. } => format!("delete exchange {name:?}"),
            Command::Bind { source, target, .. } => format!("bind {target:?} to {source:?}"),
            Command::Unbind { source, target, .. } => format!("unbind {target:?} from {source:?}"),
            _ => return None,
        };
        let about_users = matches!(command, Command::PutUser { .. } | Command::DeleteUser { .. });
        Some(Administered { what, about_users })
    }
}
