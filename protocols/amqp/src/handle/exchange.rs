//! Exchanges and bindings. The default exchange is no exchange to the broker: it is the topics' own names.

use bytes::Bytes;
use mailrail_broker::{Action, BindTarget, Command, Name, Resource};

use super::queue::{Line, RESERVED_PREFIX};
use super::{Carried, ask};
use crate::adapter::Connection;
use crate::channel::{Binding, BindingTarget, DeclareExchange, RequestId};
use crate::codec::ReplyCode;
use crate::fault::Refusal;
use crate::from_wire;
use crate::outstanding::Kind;
use crate::to_wire;

pub(crate) fn declare(
    connection: &mut Connection,
    id: RequestId,
    declare: DeclareExchange,
) -> Result<Carried, Refusal> {
    let DeclareExchange { exchange: name, settings } = declare;
    check_not_default(&name)?;
    let found = connection.session.broker().directory().exchange(&name);
    match (found, settings) {
        (Some(_), None) => Ok(Carried::Done),
        (None, None) => Err(Refusal::new(ReplyCode::NotFound, to_wire::no_exchange(&name))),
        (Some(found), Some(settings)) => {
            let allowed = connection.session.check(Action::Configure, Resource::exchange(&name));
            allowed.map_err(|error| to_wire::refusal(&error))?;
            from_wire::compare_exchange(&name, &found.settings, &settings)?;
            Ok(Carried::Done)
        }
        (None, Some(_)) if name.starts_with(RESERVED_PREFIX) => {
            let text = format!("exchange name '{name}' contains reserved prefix '{RESERVED_PREFIX}*'");
            Err(Refusal::new(ReplyCode::AccessRefused, text))
        }
        (None, Some(settings)) => {
            let settings = from_wire::exchange_settings(&settings);
            let name = Name::from(name);
            Ok(ask(connection, id, Kind::Done, |token| {
                [Some(Command::PutExchange { token, name, settings })]
            }))
        }
    }
}

/// Deleting one that is not there is no error.
pub(crate) fn delete(
    connection: &mut Connection,
    id: RequestId,
    name: &str,
    if_unused: bool,
) -> Result<Carried, Refusal> {
    check_not_default(name)?;
    if name.starts_with(RESERVED_PREFIX) {
        let text = format!("operation not permitted on exchange '{name}' in vhost '/'");
        return Err(Refusal::new(ReplyCode::AccessRefused, text));
    }
    let Some(found) = connection.session.broker().directory().exchange(name) else {
        return Ok(Carried::Done);
    };
    let name = found.name.clone();
    Ok(ask(connection, id, Kind::Done, |token| [Some(Command::DeleteExchange { token, name, if_unused })]))
}

pub(crate) fn bind(connection: &mut Connection, id: RequestId, binding: Binding) -> Result<Carried, Refusal> {
    check_not_default(&binding.source)?;
    let target = target(connection, &binding.target)?;
    if !is_source(connection, &binding.source) {
        return Err(Refusal::new(ReplyCode::NotFound, to_wire::no_exchange(&binding.source)));
    }
    let (source, key) = (Name::from(binding.source), Name::from(binding.key));
    let attributes = Bytes::from(binding.arguments);
    Ok(ask(connection, id, Kind::Done, |token| {
        [Some(Command::Bind { token, source, target, key, attributes })]
    }))
}

/// A binding whose ends are gone is gone too.
pub(crate) fn unbind(
    connection: &mut Connection,
    id: RequestId,
    binding: Binding,
) -> Result<Carried, Refusal> {
    check_not_default(&binding.source)?;
    let target = match target(connection, &binding.target) {
        Ok(target) => target,
        Err(refusal) if refusal.code == ReplyCode::NotFound => return Ok(Carried::Done),
        Err(refusal) => return Err(refusal),
    };
    if !is_source(connection, &binding.source) {
        return Ok(Carried::Done);
    }
    let (source, key) = (Name::from(binding.source), Name::from(binding.key));
    let attributes = Bytes::from(binding.arguments);
    Ok(ask(connection, id, Kind::Done, |token| {
        [Some(Command::Unbind { token, source, target, key, attributes })]
    }))
}

/// A declared exchange, or a topic that acts as one.
fn is_source(connection: &Connection, name: &str) -> bool {
    let directory = connection.session.broker().directory();
    directory.exchange(name).is_some() || directory.topic(name).is_some()
}

fn target(connection: &Connection, target: &BindingTarget) -> Result<BindTarget, Refusal> {
    match target {
        BindingTarget::Queue(queue) => {
            let line = Line::find(connection, queue)?;
            if line.group == line.topic {
                return Ok(BindTarget::Topic(line.topic));
            }
            let text = format!("'{queue}' is a group of topic '{}': bind the topic instead", line.topic);
            Err(Refusal::new(ReplyCode::PreconditionFailed, text))
        }
        BindingTarget::Exchange(name) => {
            check_not_default(name)?;
            let found = connection.session.broker().directory().exchange(name);
            let found = found.ok_or_else(|| Refusal::new(ReplyCode::NotFound, to_wire::no_exchange(name)))?;
            Ok(BindTarget::Exchange(found.name.clone()))
        }
    }
}

fn check_not_default(name: &str) -> Result<(), Refusal> {
    match name {
        "" => Err(Refusal::new(ReplyCode::AccessRefused, "operation not permitted on the default exchange")),
        _ => Ok(()),
    }
}
