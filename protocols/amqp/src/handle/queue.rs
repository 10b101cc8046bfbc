//! Queues: declared, deleted, purged. A queue is a topic of one queue with a group of its own name; a topic of another
//! protocol can be used as a queue too, and any group on a topic `t` as `t::group`.

use std::sync::Arc;

use mailrail_broker::{Action, Command, EXPIRES_MS, Lifetime, Name, Resource, Token, Topic};

use super::{Carried, ask, to_u32};
use crate::adapter::Connection;
use crate::channel::{DeclareQueue, QueueSettings, RequestId};
use crate::codec::ReplyCode;
use crate::fault::Refusal;
use crate::from_wire::{self, GROUP_SEPARATOR};
use crate::outstanding::Kind;
use crate::to_wire;

/// Names that only the server makes.
pub(super) const RESERVED_PREFIX: &str = "amq.";
/// The queue of direct replies, which are not there yet.
const DIRECT_REPLY_QUEUE: &str = "amq.rabbitmq.reply-to";

/// What a queue's name leads to.
#[derive(Debug)]
pub(super) struct Line {
    pub group: Name,
    pub topic: Name,
    found: Arc<Topic>,
}

impl Line {
    /// Looks a queue up; one that belongs to another connection is locked.
    pub fn find(connection: &Connection, queue: &str) -> Result<Line, Refusal> {
        if queue == DIRECT_REPLY_QUEUE {
            let text = format!("direct reply-to ('{queue}') is not implemented");
            return Err(Refusal::new(ReplyCode::NotImplemented, text));
        }
        let line = Line::of(connection, queue);
        let line = line.ok_or_else(|| Refusal::new(ReplyCode::NotFound, to_wire::no_queue(queue)))?;
        line.check_owner(connection)?;
        Ok(line)
    }

    fn of(connection: &Connection, queue: &str) -> Option<Line> {
        let directory = connection.session.broker().directory();
        if let Some(found) = directory.topic(queue) {
            return Some(Line { group: found.name.clone(), topic: found.name.clone(), found });
        }
        let (topic, group) = queue.split_once(GROUP_SEPARATOR)?;
        let found = directory.topic(topic).filter(|_| !group.is_empty())?;
        Some(Line { group: Name::from(group), topic: found.name.clone(), found })
    }

    fn check_owner(&self, connection: &Connection) -> Result<(), Refusal> {
        let is_exclusive = self.found.settings().lifetime == Lifetime::Session;
        if is_exclusive && !connection.owned.iter().any(|topic| topic.id == self.found.id) {
            return Err(Refusal::new(ReplyCode::ResourceLocked, to_wire::locked(&self.topic)));
        }
        Ok(())
    }

    /// As with RabbitMQ, only a consumer gets anything from a quorum queue of which one consumer is active.
    pub fn check_get(&self, queue: &str) -> Result<(), Refusal> {
        if !from_wire::is_quorum_with_single_active(&self.found.settings()) {
            return Ok(());
        }
        let text = format!(
            "cannot obtain access to locked queue '{queue}' in vhost '/'. basic.get operations are not supported by \
             quorum queues with single active consumer"
        );
        Err(Refusal::new(ReplyCode::ResourceLocked, text))
    }

    /// Declaring what is there takes what making it takes.
    fn check_configure(&self, connection: &Connection) -> Result<(), Refusal> {
        let is_topic = self.group == self.topic;
        let resource = if is_topic { Resource::topic(&self.topic) } else { Resource::group(&self.group) };
        let allowed = connection.session.check(Action::Configure, resource);
        allowed.map_err(|error| to_wire::refusal(&error))
    }

    /// True when the queue was declared: then it goes as a whole.
    fn is_declared(&self) -> bool {
        self.group == self.topic && from_wire::is_declared(&self.found.settings())
    }

    /// The command that makes the group, unless it is there. The default group of a topic puts back at once and for
    /// ever, as a queue does; any other gets the broker's defaults.
    pub fn put_group(&self, connection: &Connection) -> Option<impl FnOnce(Token) -> Command + use<>> {
        let is_default = self.group == self.topic;
        let is_there = connection.session.broker().directory().group(&self.group).is_some();
        let name = self.group.clone();
        (!is_there).then_some(move |token| {
            let settings = is_default.then(mailrail_broker::GroupSettings::at_once);
            Command::PutGroup { token, name, settings }
        })
    }
}

pub(crate) fn declare(
    connection: &mut Connection,
    id: RequestId,
    declare: DeclareQueue,
) -> Result<Carried, Refusal> {
    let DeclareQueue { queue, settings } = declare;
    let Some(settings) = settings else {
        let line = Line::find(connection, &queue)?;
        return look(connection, id, &queue, line);
    };
    if queue.is_empty() {
        let name = made_name(connection);
        return Ok(create(connection, id, name, &settings));
    }
    let Some(line) = Line::of(connection, &queue) else {
        if queue.starts_with(RESERVED_PREFIX) {
            let text = format!("queue name '{queue}' contains reserved prefix '{RESERVED_PREFIX}*'");
            return Err(Refusal::new(ReplyCode::AccessRefused, text));
        }
        return Ok(create(connection, id, Name::from(queue), &settings));
    };
    line.check_owner(connection)?;
    line.check_configure(connection)?;
    let found = line.found.settings();
    if from_wire::is_declared(&found) && settings.exclusive != (found.lifetime == Lifetime::Session) {
        return Err(Refusal::new(ReplyCode::ResourceLocked, to_wire::locked(&queue)));
    }
    from_wire::compare_queue(&queue, &found, &settings)?;
    Ok(view(connection, id, &queue, line))
}

/// Answers with the counts of a queue, and makes nothing. A group that nobody has made yet would begin at the earliest
/// message retained, so that is what it is counted from.
fn look(connection: &mut Connection, id: RequestId, queue: &str, line: Line) -> Result<Carried, Refusal> {
    if connection.session.broker().directory().group(&line.group).is_some() {
        return Ok(view(connection, id, queue, line));
    }
    for resource in [Resource::topic(&line.topic), Resource::group(&line.group)] {
        connection.session.check(Action::Describe, resource).map_err(|error| to_wire::refusal(&error))?;
    }
    let queues = line.found.queues();
    let messages = queues.iter().map(|queue| queue.end_offset().saturating_sub(queue.min_offset())).sum();
    Ok(Carried::Declared { queue: Name::from(queue), messages: to_u32(messages) })
}

/// Answers with the counts of a queue that is there; its group is made if it is missing.
fn view(connection: &mut Connection, id: RequestId, queue: &str, line: Line) -> Carried {
    let put_group = line.put_group(connection);
    let Line { group, topic, found } = line;
    // Declaring a queue again is use of it; only one that goes when it is not used needs to be told.
    let settings = (*found.settings()).clone();
    let is_use = settings.attributes.contains_key(EXPIRES_MS);
    ask(connection, id, Kind::Declare { queue: Name::from(queue) }, |token| {
        let name = topic.clone();
        let again = is_use.then_some(Command::PutTopic { token, name, settings, adopt: true });
        [again, put_group.map(|put| put(token)), Some(Command::GroupState { token, group, topic })]
    })
}

/// Makes a queue. A group of its name keeps its settings if another protocol made it.
fn create(connection: &mut Connection, id: RequestId, name: Name, settings: &QueueSettings) -> Carried {
    let topic_settings = from_wire::topic_settings(settings);
    let group_settings = from_wire::group_settings(settings);
    let group = connection.session.broker().directory().group(&name);
    let is_ours = group.is_none_or(|group| from_wire::is_declared_group(&group.settings()));
    ask(connection, id, Kind::Declare { queue: name.clone() }, |token| {
        let put_group = Command::PutGroup { token, name: name.clone(), settings: Some(group_settings) };
        [
            Some(Command::PutTopic { token, name: name.clone(), settings: topic_settings, adopt: false }),
            is_ours.then_some(put_group),
            Some(Command::GroupState { token, group: name.clone(), topic: name }),
        ]
    })
}

/// Notes that a queue was made: an exclusive one goes before the connection is closed.
pub(super) fn note_created(connection: &mut Connection, topic: &Arc<Topic>) {
    if topic.settings().lifetime == Lifetime::Session {
        connection.owned.retain(|owned| !owned.is_gone());
        connection.owned.push(topic.clone());
    }
}

/// A name that no queue has.
fn made_name(connection: &mut Connection) -> Name {
    loop {
        connection.names += 1;
        let name = format!("amq.gen-{:016x}{:x}", connection.seed, connection.names);
        if connection.session.broker().directory().topic(&name).is_none() {
            return Name::from(name);
        }
    }
}

pub(crate) fn purge(connection: &mut Connection, id: RequestId, queue: &str) -> Result<Carried, Refusal> {
    let line = Line::find(connection, queue)?;
    let put_group = line.put_group(connection);
    let Line { group, topic, .. } = line;
    Ok(ask(connection, id, Kind::Count, |token| {
        [put_group.map(|put| put(token)), Some(Command::Purge { token, group, topic })]
    }))
}

/// Deletes a declared queue as a whole; of anything else only the group, so that no AMQP client takes away another
/// protocol's topic.
pub(crate) fn delete(
    connection: &mut Connection,
    id: RequestId,
    queue: &str,
    if_unused: bool,
    if_empty: bool,
) -> Result<Carried, Refusal> {
    let Some(line) = Line::of(connection, queue) else { return Ok(Carried::Count(0)) };
    line.check_owner(connection)?;
    let is_declared = line.is_declared();
    let is_there = connection.session.broker().directory().group(&line.group).is_some();
    let Line { group, topic, .. } = line;
    if is_declared {
        return Ok(ask(connection, id, Kind::Count, |token| {
            [Some(Command::DeleteTopic { token, name: topic, if_unused, if_empty })]
        }));
    }
    if !is_there {
        return Ok(Carried::Count(0));
    }
    let kind = Kind::Forget { group: group.clone(), topic: topic.clone(), if_unused, if_empty };
    Ok(ask(connection, id, kind, |token| [Some(Command::GroupState { token, group, topic })]))
}

/// The second half of deleting a group that is used as a queue.
pub(super) fn forget(connection: &mut Connection, id: RequestId, group: Name, topic: Name, count: u64) {
    ask(connection, id, Kind::Forgotten { count }, |token| {
        [Some(Command::DeleteGroup { token, group, topic })]
    });
}
