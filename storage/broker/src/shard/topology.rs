//! Topics, groups, exchanges, bindings: made, changed and deleted by records, and answered once those are synced.

use super::publish::RESERVED_OFFSETS;
use super::*;
use crate::command::{BindTarget, Name};
use crate::directory::Topic;
use crate::event::BindingView;
use crate::limits::*;
use crate::lite::LITE_PREFIX;
use crate::policy::{Policy, TRACE_SAMPLE};
use crate::queue::Queue;
use crate::record::{Binding, RouteEnd};
use crate::route::Routes;
use crate::settings::*;
use crate::trace::{TRACE_TOPIC, trace_topic_settings};

type Answer = Result<Reply, Error>;

impl Shard {
    pub(super) fn change_topology(
        &mut self,
        now: Now,
        mailbox: &Arc<Mailbox>,
        command: Command,
    ) -> Option<(Token, Answer)> {
        let session = mailbox.session;
        Some(match command {
            Command::PutTopic { token, name, settings, adopt } => {
                let answer = self.put_topic(session, &name, &settings, adopt);
                if let Ok(Reply::Topic { topic, .. }) = &answer {
                    self.use_topic(now, topic.id);
                    self.note_compaction(now, topic.id);
                }
                (token, answer)
            }
            Command::DeleteTopic { token, name, if_unused, if_empty } => {
                self.reclaim.want();
                (token, self.delete_topic(session, &name, if_unused, if_empty).map(Reply::Count))
            }
            Command::PutGroup { token, name, settings } => (token, self.put_group(&name, settings)),
            Command::DeleteGroup { token, group, topic } => {
                (token, self.delete_group(session, &group, &topic))
            }
            Command::PutExchange { token, name, settings } => (token, self.put_exchange(&name, &settings)),
            Command::DeleteExchange { token, name, if_unused } => {
                (token, self.delete_exchange(&name, if_unused))
            }
            Command::Bind { token, source, target, key, attributes } => {
                (token, self.bind(session, &source, &target, &key, &attributes))
            }
            Command::Unbind { token, source, target, key, attributes } => {
                (token, self.unbind(session, &source, &target, &key, &attributes))
            }
            Command::PutUser { token, name, change } => (token, self.put_user(&name, *change)),
            Command::DeleteUser { token, name } => (token, self.delete_user(&name)),
            Command::Bindings { token, source, target, skip, max } => {
                let found = self.bindings(&source, target.as_ref(), skip, max);
                (token, found.map(Reply::Bindings))
            }
            other => {
                debug_assert!(false, "not a topology command: {other:?}");
                return None;
            }
        })
    }

    fn put_topic(&mut self, session: SessionId, name: &str, settings: &TopicSettings, adopt: bool) -> Answer {
        check_name("topic", name)?;
        let found = self.state.directory.topic(name);
        let own = (name == TRACE_TOPIC && found.is_none()).then(trace_topic_settings);
        let settings = own.as_ref().unwrap_or(settings);
        let lite = self.settings_of_lite(name, settings)?;
        let settings = lite.as_ref().unwrap_or(settings);
        super::consume::limit("queues of a topic", settings.queues.into(), TOPIC_QUEUES_MAX.into())?;
        if settings.queues == 0 {
            return Err(Error::Name {
                what: "topic",
                name: name.to_owned(),
                why: "it needs at least one queue",
            });
        }
        if let Some(topic) = found {
            self.check_owner(&topic, session)?;
            if !adopt {
                self.change_topic(&topic, settings)?;
            }
            return Ok(Reply::Topic { topic, created: false });
        }
        let policy = Policy::of(settings)?;
        if lite.is_none() && name.starts_with(LITE_PREFIX) {
            let why = "only light queues have names that begin with %LMQ%";
            return Err(Error::Name { what: "topic", name: name.to_owned(), why });
        }
        let id = self.create_topic(name, settings)?;
        // Somebody must own what expires or is too much, also before anybody consumes it.
        if policy != Policy::default() && settings.retention == Retention::UntilSettled {
            self.put_group_unless_there(name)?;
        }
        if settings.lifetime == Lifetime::Session {
            self.owned.insert(id, session);
        }
        let topic = self.state.directory.topic(name).ok_or_else(|| Error::NoTopic(name.to_owned()))?;
        Ok(Reply::Topic { topic, created: true })
    }

    /// Of a topic that exists only how many messages are traced may change; what does not say is no change.
    fn change_topic(&mut self, topic: &Topic, asked: &TopicSettings) -> Result<(), Error> {
        let found = topic.settings();
        let mut expected = (*found).clone();
        let sample = asked.attributes.get(TRACE_SAMPLE).or(found.attributes.get(TRACE_SAMPLE));
        let mut asked = asked.clone();
        if let Some(sample) = sample.cloned() {
            expected.attributes.insert(TRACE_SAMPLE.to_owned(), sample.clone());
            asked.attributes.insert(TRACE_SAMPLE.to_owned(), sample);
        }
        same_topic(&topic.name, &expected, &asked)?;
        if expected == *found {
            return Ok(());
        }
        Policy::of(&expected)?;
        let queues = topic.queues().iter().map(|queue| queue.id).collect();
        self.log(Change::TopicPut { id: topic.id, name: topic.name.to_string(), settings: expected, queues })
    }

    /// Makes a topic that does not exist.
    pub(super) fn create_topic(&mut self, name: &str, settings: &TopicSettings) -> Result<TopicId, Error> {
        let id = TopicId(self.state.take_id());
        let queues: Vec<QueueId> = (0..settings.queues).map(|_| QueueId(self.state.take_id())).collect();
        let put = Change::TopicPut {
            id,
            name: name.to_owned(),
            settings: settings.clone(),
            queues: queues.clone(),
        };
        self.log(put)?;
        let lasts = settings.lifetime == Lifetime::Durable;
        if lasts && settings.retention == Retention::UntilSettled {
            // Whoever makes such a queue may publish to it unsynced at once, and expects to find what was published.
            for queue in queues {
                self.reserve_to(queue, RESERVED_OFFSETS)?;
            }
        }
        Ok(id)
    }

    fn delete_topic(
        &mut self,
        session: SessionId,
        name: &str,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<u64, Error> {
        let topic = self.state.directory.topic(name).ok_or_else(|| Error::NoTopic(name.to_owned()))?;
        self.check_owner(&topic, session)?;
        let consumed = |key: &(GroupId, TopicId)| key.1 == topic.id;
        if if_unused && self.subscriptions.iter().any(|(key, s)| consumed(key) && !s.consumers().is_empty()) {
            return Err(Error::InUse(name.to_owned()));
        }
        let group = self.state.directory.group(name);
        let ready = match &group {
            Some(group) => self.ready_in(group.id, &topic),
            None => topic.queues().iter().map(|queue| queue.messages()).sum(),
        };
        if if_empty && ready > 0 {
            return Err(Error::NotEmpty(name.to_owned()));
        }
        self.remove_topic(&topic)?;
        Ok(ready)
    }

    pub(super) fn remove_topic(&mut self, topic: &Topic) -> Result<(), Error> {
        let sources = self.state.sources_of(RouteEnd::Topic(topic.id));
        let on = |queue: &Arc<Queue>| {
            let queue = queue.id;
            let groups = self.state.groups_on(queue);
            groups.into_iter().map(move |group| (group, queue))
        };
        let lines: Vec<Line> = topic.queues().iter().flat_map(on).collect();
        self.log(Change::TopicDeleted { id: topic.id })?;
        self.orphans.note(&self.state, &topic.name);
        self.end_consumption(topic, lines);
        self.remove_unused_exchanges(sources);
        Ok(())
    }

    /// For topics that go by themselves: nobody is there to hear of a failure.
    pub(super) fn remove_topic_loosely(&mut self, topic: &Topic) {
        if let Err(error) = self.remove_topic(topic) {
            tracing::warn!(topic = %topic.name, %error, "a topic that is no longer used could not be deleted");
        }
    }

    /// Tells everybody who consumes a deleted topic, and forgets them.
    fn end_consumption(&mut self, topic: &Topic, lines: Vec<Line>) {
        self.owned.remove(&topic.id);
        self.counts.forget(None, topic.id);
        self.handing_over.retain(|(_, id)| *id != topic.id);
        let groups = self.served.get(&topic.id).cloned().unwrap_or_default();
        for group in groups {
            self.end_subscription((group, topic.id), &Error::NoTopic(topic.name.to_string()));
        }
        for queue in topic.queues().iter() {
            self.unsynced.remove(&queue.id);
            self.sweeps.forget(queue.id);
            self.compactions.forget(queue.id);
            self.lengths.forget(queue.id);
            self.members.forget_queue(queue.id);
        }
        // A flow is of a group that has a position.
        for line in lines {
            self.flows.remove(&line);
            self.reschedule(line);
        }
    }

    /// Tells whoever consumes a topic for a group that it is over, and why.
    fn end_subscription(&mut self, key: (GroupId, TopicId), why: &Error) {
        let Some(subscription) = self.subscriptions.remove(&key) else { return };
        for consumer in subscription.consumers() {
            self.consumers.remove(&(consumer.mailbox.session, consumer.id));
            self.send(&consumer.mailbox, Letter::Event(Event::ConsumerEnded { consumer: consumer.id }));
        }
        for receiver in subscription.receivers {
            self.receive_times.remove(&(receiver.deadline, key.0, key.1));
            self.reply(&receiver.mailbox, receiver.token, Err(why.clone()));
        }
        self.no_longer_served(key);
    }

    fn put_group(&mut self, name: &str, settings: Option<GroupSettings>) -> Answer {
        check_name("group", name)?;
        let known = self.state.directory.group(name);
        let unchanged =
            known.as_ref().is_some_and(|group| settings.as_ref().is_none_or(|new| *new == *group.settings()));
        if !unchanged {
            let id = known.map_or_else(|| GroupId(self.state.take_id()), |group| group.id);
            let settings = settings.unwrap_or_else(|| GroupSettings::rocketmq(name));
            settings.dead_letter.as_ref().map_or(Ok(()), |topic| check_name("dead letter topic", topic))?;
            self.log(Self::group_put(id, name, settings))?;
            self.turns_changed(id);
        }
        Ok(Reply::Done)
    }

    /// Makes the group that owns a topic's entries, which puts them back at once and for ever unless it is told more.
    pub(super) fn put_group_unless_there(&mut self, name: &str) -> Result<(), Error> {
        if self.state.directory.group(name).is_none() {
            let id = GroupId(self.state.take_id());
            self.log(Change::GroupPut { id, name: name.to_owned(), settings: GroupSettings::at_once() })?;
        }
        Ok(())
    }

    fn delete_group(&mut self, session: SessionId, name: &str, topic: &str) -> Answer {
        let (group, topic) = self.line_of(name, topic)?;
        self.check_owner(&topic, session)?;
        self.log(Change::GroupForgotten { group, topic: topic.id })?;
        self.counts.forget(Some(group), topic.id);
        let gone = Error::NoGroup { group: name.to_owned(), topic: topic.name.to_string() };
        self.end_subscription((group, topic.id), &gone);
        for queue in topic.queues().iter() {
            self.flows.remove(&(group, queue.id));
            self.reschedule((group, queue.id));
        }
        Ok(Reply::Done)
    }

    fn put_exchange(&mut self, name: &str, settings: &ExchangeSettings) -> Answer {
        check_name("exchange", name)?;
        settings.alternate().map_or(Ok(()), |alternate| check_name("alternate exchange", alternate))?;
        match self.state.directory.exchange(name) {
            Some(exchange) => same_exchange(name, &exchange.settings, settings)?,
            None => {
                let id = ExchangeId(self.state.take_id());
                self.log(Change::ExchangePut { id, name: name.to_owned(), settings: settings.clone() })?;
            }
        }
        Ok(Reply::Done)
    }

    fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Answer {
        let exchange =
            self.state.directory.exchange(name).ok_or_else(|| Error::NoExchange(name.to_owned()))?;
        // As with RabbitMQ, being the target of a binding is no use.
        let is_source =
            self.state.routes(RouteEnd::Exchange(exchange.id)).is_some_and(|routes| !routes.is_empty());
        if if_unused && is_source {
            return Err(Error::InUse(name.to_owned()));
        }
        let sources = self.state.sources_of(RouteEnd::Exchange(exchange.id));
        self.log(Change::ExchangeDeleted { id: exchange.id })?;
        self.remove_unused_exchanges(sources);
        Ok(Reply::Done)
    }

    fn bind(
        &mut self,
        session: SessionId,
        source: &str,
        target: &BindTarget,
        key: &str,
        attributes: &[u8],
    ) -> Answer {
        if *target == BindTarget::Topic(TRACE_TOPIC.into()) {
            return Err(Error::NotWritable(TRACE_TOPIC.to_owned()));
        }
        let (source, binding) = self.binding(session, source, target, key, attributes)?;
        let kind = match source {
            RouteEnd::Exchange(id) => self.state.exchanges.get(&id).map(|found| found.shared.settings.kind),
            RouteEnd::Topic(_) => None,
        };
        Routes::check(kind.unwrap_or(ExchangeKind::Topic), &binding.attributes)?;
        let routes = self.state.routes(source);
        if routes.is_some_and(|routes| routes.contains(&binding)) {
            return Ok(Reply::Done);
        }
        let bindings = routes.map_or(0, |routes| routes.bindings().len()) + 1;
        super::consume::limit("bindings of an exchange", to_u64(bindings), to_u64(EXCHANGE_BINDINGS_MAX))?;
        self.log(Change::Bound { source, binding })?;
        Ok(Reply::Done)
    }

    fn unbind(
        &mut self,
        session: SessionId,
        source: &str,
        target: &BindTarget,
        key: &str,
        attributes: &[u8],
    ) -> Answer {
        let (source, binding) = self.binding(session, source, target, key, attributes)?;
        if self.state.routes(source).is_some_and(|routes| routes.contains(&binding)) {
            self.log(Change::Unbound { source, binding })?;
            self.remove_unused_exchanges(vec![source]);
        }
        Ok(Reply::Done)
    }

    fn binding(
        &self,
        session: SessionId,
        source: &str,
        target: &BindTarget,
        key: &str,
        attributes: &[u8],
    ) -> Result<(RouteEnd, Binding), Error> {
        let (source, target) = (self.source(source)?, self.target(target)?);
        if let RouteEnd::Topic(id) = target
            && let Some(topic) = self.state.topics.get(&id)
        {
            self.check_owner(&topic.shared, session)?;
        }
        super::consume::limit("bytes of a binding key", to_u64(key.len()), to_u64(NAME_BYTES_MAX))?;
        Ok((source, Binding { key: key.to_owned(), target, attributes: attributes.to_vec() }))
    }

    /// An exchange, or a topic that acts as one.
    fn source(&self, name: &str) -> Result<RouteEnd, Error> {
        let directory = &self.state.directory;
        match (directory.exchange(name), directory.topic(name)) {
            (Some(exchange), _) => Ok(RouteEnd::Exchange(exchange.id)),
            (None, Some(topic)) => Ok(RouteEnd::Topic(topic.id)),
            (None, None) => Err(Error::NoExchange(name.to_owned())),
        }
    }

    fn target(&self, target: &BindTarget) -> Result<RouteEnd, Error> {
        let directory = &self.state.directory;
        match target {
            BindTarget::Topic(name) => {
                let topic = directory.topic(name).ok_or_else(|| Error::NoTopic(name.to_string()))?;
                Ok(RouteEnd::Topic(topic.id))
            }
            BindTarget::Exchange(name) => {
                let exchange = directory.exchange(name).ok_or_else(|| Error::NoExchange(name.to_string()))?;
                Ok(RouteEnd::Exchange(exchange.id))
            }
        }
    }

    fn bindings(
        &self,
        source: &str,
        target: Option<&BindTarget>,
        skip: usize,
        max: usize,
    ) -> Result<Vec<BindingView>, Error> {
        let source = self.source(source)?;
        let target = target.map(|target| self.target(target)).transpose()?;
        let Some(routes) = self.state.routes(source) else { return Ok(Vec::new()) };
        let view = |binding: &Binding| {
            let target = match binding.target {
                RouteEnd::Topic(id) => BindTarget::Topic(self.state.topics.get(&id)?.shared.name.clone()),
                RouteEnd::Exchange(id) => {
                    BindTarget::Exchange(self.state.exchanges.get(&id)?.shared.name.clone())
                }
            };
            let (key, attributes) = (binding.key.clone(), binding.attributes.clone());
            Some(BindingView { target, key, attributes })
        };
        Ok(routes.bindings_to(target).skip(skip).take(max).filter_map(view).collect())
    }

    /// Exchanges that were to go with their last binding, and those that only led to them.
    fn remove_unused_exchanges(&mut self, mut sources: Vec<RouteEnd>) {
        while let Some(source) = sources.pop() {
            let RouteEnd::Exchange(id) = source else { continue };
            let Some(exchange) = self.state.exchanges.get(&id) else { continue };
            if exchange.shared.settings.delete_when_unused && exchange.routes.is_empty() {
                let above = self.state.sources_of(source);
                if self.log_loosely(Change::ExchangeDeleted { id }) {
                    sources.extend(above);
                }
            }
        }
    }
}

pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    let why = match name.len() {
        0 => "it is empty",
        len if len > NAME_BYTES_MAX => "it is longer than 255 bytes",
        _ => return Ok(()),
    };
    Err(Error::Name { what, name: Name::from(name).to_string(), why })
}

fn same_topic(name: &str, found: &TopicSettings, asked: &TopicSettings) -> Result<(), Error> {
    let fields = [
        ("lifetime", format!("{:?}", found.lifetime), format!("{:?}", asked.lifetime)),
        ("delete_when_unused", found.delete_when_unused.to_string(), asked.delete_when_unused.to_string()),
        ("queues", found.queues.to_string(), asked.queues.to_string()),
        ("retention", format!("{:?}", found.retention), format!("{:?}", asked.retention)),
        ("durability", format!("{:?}", found.durability), format!("{:?}", asked.durability)),
        ("readable", found.readable.to_string(), asked.readable.to_string()),
        ("writable", found.writable.to_string(), asked.writable.to_string()),
        ("attributes", format!("{:?}", found.attributes), format!("{:?}", asked.attributes)),
    ];
    first_difference("topic", name, fields)
}

fn same_exchange(name: &str, found: &ExchangeSettings, asked: &ExchangeSettings) -> Result<(), Error> {
    let fields = [
        ("kind", format!("{:?}", found.kind), format!("{:?}", asked.kind)),
        ("lifetime", format!("{:?}", found.lifetime), format!("{:?}", asked.lifetime)),
        ("delete_when_unused", found.delete_when_unused.to_string(), asked.delete_when_unused.to_string()),
        ("internal", found.internal.to_string(), asked.internal.to_string()),
        ("attributes", format!("{:?}", found.attributes), format!("{:?}", asked.attributes)),
    ];
    first_difference("exchange", name, fields)
}

fn first_difference<const N: usize>(
    what: &'static str,
    name: &str,
    fields: [(&'static str, String, String); N],
) -> Result<(), Error> {
    match fields.into_iter().find(|(_, found, asked)| found != asked) {
        Some((field, found, asked)) => {
            Err(Error::Differs { what, name: name.to_owned(), field, found, asked })
        }
        None => Ok(()),
    }
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
