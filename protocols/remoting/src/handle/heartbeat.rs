//! Heartbeats: groups, retry topics and members come into being, producers are known; clients leave; subscriptions are
//! checked.

use mailrail_broker::connection::Output;
use mailrail_broker::{Action, Command as Ask, Error, Name, Resource};

use crate::codec::body::heartbeat::{Consumer, MessageModel};
use crate::codec::command::{CheckClientConfig, Heartbeat, UnregisterClient};
use crate::codec::response_code as response;
use crate::connection::Connection;
use crate::from_wire;
use crate::handle::transaction;
use crate::names;
use crate::outstanding::{Asker, Gathering, Waiting};
use crate::refusal::Refusal;
use crate::subscription;
use crate::to_wire;

/// A member that stays silent for so long is dropped from its group.
const MEMBER_EXPIRES_MS: u64 = 120_000;

/// Answered when everything it needs is done: clients ask for the route of the retry topic right after.
pub(crate) fn heartbeat(
    connection: &mut Connection,
    asker: Asker,
    heartbeat: &Heartbeat,
    output: &mut Output,
) -> Result<(), Refusal> {
    for consumer in &heartbeat.consumers {
        // Before the group's subscriptions are changed, which others rely on.
        connection.session.check(Action::Consume, Resource::group(&consumer.group))?;
        if connection.session.broker().directory().group(&consumer.group).is_none() {
            names::check_new_group(&consumer.group)?;
        }
    }
    connection.forget_gone_topics();
    if let Some(client) = connection.session.client() {
        client.set_name(&heartbeat.client_id);
    }
    let member = Name::from(heartbeat.client_id.as_str());
    heartbeat.producers.iter().for_each(|producer| transaction::produce(connection, &producer.group));
    let gathering = connection.outstanding.reserve().0;
    let before = connection.asks.len();
    for consumer in &heartbeat.consumers {
        join(connection, gathering, &member, consumer, heartbeat.without_subscriptions);
    }
    let commands = connection.asks.len() - before;
    if commands == 0 {
        to_wire::put_heartbeat(output, asker);
    } else {
        connection.heartbeats.insert(gathering, Gathering { asker, commands, failed: None });
    }
    Ok(())
}

fn join(connection: &mut Connection, gathering: u64, member: &Name, consumer: &Consumer, bare: bool) {
    let directory = connection.session.broker().directory();
    let known = directory.group(&consumer.group).map(|group| group.name.clone());
    let group = known.clone().unwrap_or_else(|| Name::from(consumer.group.as_str()));
    if known.is_none() {
        let token = connection.outstanding.add(Waiting::Heartbeat { of: gathering });
        connection.asks.push(Ask::PutGroup { token, name: group.clone(), settings: None });
    }
    let retry = names::retry_topic(&consumer.group);
    if consumer.message_model == MessageModel::Clustering && connection.topic(&retry).is_none() {
        let token = connection.outstanding.add(Waiting::Heartbeat { of: gathering });
        let (name, settings) = (Name::from(retry), from_wire::topic_of(1));
        connection.asks.push(Ask::PutTopic { token, name, settings, adopt: true });
    }
    let session = connection.session.id();
    let registry = &connection.config.registry;
    if !bare || !registry.renew(session, &group, member) {
        registry.update(session, &group, member, consumer);
    }
    let topics = registry.topics(&group);
    connection.joined.insert((group.clone(), member.clone()));
    let token = connection.outstanding.add(Waiting::Heartbeat { of: gathering });
    let member = member.clone();
    connection.asks.push(Ask::Join { token, group, member, topics, expires_ms: MEMBER_EXPIRES_MS });
}

/// One of the commands of a heartbeat is done.
pub(crate) fn went_on(
    connection: &mut Connection,
    gathering: u64,
    failed: Option<Error>,
    output: &mut Output,
) {
    let Some(held) = connection.heartbeats.get_mut(&gathering) else { return };
    held.commands = held.commands.saturating_sub(1);
    if held.failed.is_none() {
        held.failed = failed;
    }
    if held.commands > 0 {
        return;
    }
    if let Some(done) = connection.heartbeats.remove(&gathering) {
        match done.failed {
            None => to_wire::put_heartbeat(output, done.asker),
            Some(error) => to_wire::put_refusal(output, done.asker, &error.into()),
        }
    }
}

pub(crate) fn unregister(
    connection: &mut Connection,
    asker: Asker,
    client: &UnregisterClient<'_>,
    output: &mut Output,
) -> Result<(), Refusal> {
    if let Some(group) = client.producer_group {
        transaction::stop_producing(connection, group);
    }
    if let Some(group) = client.consumer_group {
        let (group, member) = (Name::from(group), Name::from(client.client_id));
        connection.config.registry.leave(connection.session.id(), &group, &member);
        connection.joined.remove(&(group.clone(), member.clone()));
        connection.asks.push(Ask::Leave { group, member });
    }
    to_wire::put_done(output, asker, true);
    Ok(())
}

/// Asked before the first heartbeat of a consumer with an SQL expression.
pub(crate) fn check(asker: Asker, check: &CheckClientConfig, output: &mut Output) -> Result<(), Refusal> {
    if let Some(asked) = &check.subscription_data {
        subscription::parse(&asked.expression, &asked.expression_type)
            .map_err(|error| Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, error.to_string()))?;
    }
    to_wire::put_done(output, asker, false);
    Ok(())
}
