//! What requests do: one file per family, each with functions that take the connection and answer or ask the broker.
//!
//! Bytes are not touched here: requests come typed, answers go through `to_wire`.

pub(crate) mod heartbeat;
pub(crate) mod locks;
pub(crate) mod members;
pub(crate) mod offsets;
pub(crate) mod pull;
pub(crate) mod query;
pub(crate) mod recall;
pub(crate) mod route;
pub(crate) mod send;
pub(crate) mod send_back;
pub(crate) mod transaction;

use mailrail_broker::connection::Output;
use mailrail_broker::{Command as Ask, Error, Name, Now, Reply};

use crate::codec::{Command, Frame};
use crate::connection::Connection;
use crate::names;
use crate::outstanding::{Asker, Waiting};
use crate::refusal::Refusal;
use crate::to_wire;

/// Carries a request out. A refusal is answered by the caller; success is answered here, now or later.
pub(crate) fn carry_out(
    connection: &mut Connection,
    now: Now,
    asker: Asker,
    command: &Command<'_>,
    frame: &Frame,
    output: &mut Output,
) -> Result<(), Refusal> {
    match command {
        Command::Send(send) => send::send(connection, now, asker, send, frame),
        Command::Pull(pull) => pull::pull(connection, now, asker, pull, output),
        Command::QueryConsumerOffset(query) => offsets::query(connection, asker, query),
        Command::UpdateConsumerOffset(update) => offsets::update(connection, asker, update, output),
        Command::SearchOffset(search) => offsets::search(connection, asker, search),
        Command::MaxOffset(queue) => offsets::max(connection, asker, queue, output),
        Command::MinOffset(queue) => offsets::min(connection, asker, queue, output),
        Command::EarliestStoreTime(queue) => offsets::earliest(connection, asker, queue, output),
        Command::Heartbeat(heartbeat) => heartbeat::heartbeat(connection, asker, heartbeat, output),
        Command::UnregisterClient(client) => heartbeat::unregister(connection, asker, client, output),
        Command::CheckClientConfig(check) => heartbeat::check(asker, check, output),
        Command::ConsumerList(list) => members::list(connection, asker, list),
        Command::Lock(lock) => locks::lock(connection, now, asker, lock),
        Command::Unlock(lock) => locks::unlock(connection, asker, lock),
        Command::SendBack(back) => send_back::send_back(connection, asker, back),
        Command::GetRoute(route) => route::route(connection, asker, route, output),
        Command::GetCluster => route::cluster(connection, asker, &frame.header, output),
        Command::QueryMessage(query) => query::query(connection, asker, query),
        Command::ViewMessage(view) => query::view(connection, asker, view),
        Command::EndTransaction(end) => transaction::end(connection, asker, end, output),
        Command::Recall(recall) => recall::recall(connection, asker, recall),
        Command::Unsupported(code) => Err(Refusal::unsupported(*code)),
    }
}

/// Answers a request with what the broker replied to its one command.
pub(crate) fn answer(
    connection: &Connection,
    waiting: Waiting,
    result: Result<Reply, Error>,
    output: &mut Output,
) {
    match waiting {
        Waiting::Done { asker, fields } => match result {
            Ok(_) => to_wire::put_done(output, asker, fields),
            Err(error) => to_wire::put_refusal(output, asker, &error.into()),
        },
        Waiting::Members { asker, group } => members::put_members(asker, &group, result, output),
        Waiting::Committed { asker, queue, zero_if_young } => {
            offsets::put_committed(asker, &queue, zero_if_young, result, output);
        }
        Waiting::OffsetAt { asker, queue, boundary } => {
            offsets::put_offset_at(asker, &queue, boundary, result, output);
        }
        Waiting::Recalled { asker, unique } => recall::recalled(asker, &unique, result, output),
        Waiting::Locked { asker, queues } => locks::put_locked(asker, queues, result, output),
        other => {
            tracing::error!(peer = %connection.peer, ?other, "a reply that was not to be expected");
        }
    }
}

/// The group's name as the broker shares it. A group that is not known is made first: RocketMQ's consumers never
/// declare theirs.
pub(crate) fn known_group(connection: &mut Connection, group: &str) -> Result<Name, Refusal> {
    if let Some(group) = connection.session.broker().directory().group(group) {
        return Ok(group.name.clone());
    }
    names::check_new_group(group)?;
    let name = Name::from(group);
    let token = connection.outstanding.add(Waiting::Nobody);
    connection.asks.push(Ask::PutGroup { token, name: name.clone(), settings: None });
    Ok(name)
}
