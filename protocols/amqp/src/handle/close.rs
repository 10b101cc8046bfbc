//! The vhost at the beginning, and what channels and connections leave behind at the end.
//!
//! A close is answered when everything is undone: clients open again at once and expect the names to be free.

use mailrail_broker::connection::Output;
use mailrail_broker::{Command, Name, Receipt, Token};

use super::consume::consumer_id;
use super::{Carried, REQUEUE, ask};
use crate::adapter::Connection;
use crate::channel::{ChannelEnd, RequestId};
use crate::codec::ReplyCode;
use crate::fault::Refusal;
use crate::from_wire::{USUAL_EXCHANGES, usual_exchange};
use crate::outstanding::{Kind, NOBODY, Waiting};

/// The one vhost there is.
const VHOST: &str = "/";

/// Opens the vhost, and makes the exchanges that everybody expects if nobody has before.
pub(crate) fn open_vhost(connection: &mut Connection, vhost: &str, output: &mut Output) {
    if vhost != VHOST {
        let refusal = Refusal::new(ReplyCode::NotAllowed, format!("vhost {vhost} not found"));
        return connection.machine.open(Err(refusal), output);
    }
    let directory = connection.session.broker().directory();
    let missing: Vec<_> =
        USUAL_EXCHANGES.into_iter().filter(|(name, _)| directory.exchange(name).is_none()).collect();
    if missing.is_empty() {
        return connection.machine.open(Ok(()), output);
    }
    let token = connection.outstanding.add(Waiting::Open { left: missing.len() });
    let put =
        |(name, kind)| Command::PutExchange { token, name: Name::from(name), settings: usual_exchange(kind) };
    // Not for this client: it need not be allowed to.
    connection.session.submit_as_broker(missing.into_iter().map(put).collect());
}

/// The client closes a channel.
pub(crate) fn channel(
    connection: &mut Connection,
    id: RequestId,
    end: ChannelEnd<Receipt>,
) -> Result<Carried, Refusal> {
    drop(connection.transactions.take(end.channel));
    give_back(connection, &end.leases);
    let mut consumers = end.consumers.into_iter();
    let Some(last) = consumers.next_back() else { return Ok(Carried::Done) };
    for consumer in consumers {
        connection.asks.push(Command::Cancel { token: NOBODY, consumer: consumer_id(consumer) });
    }
    // Commands are carried out in order: the last one stands for all.
    let consumer = consumer_id(last);
    Ok(ask(connection, id, Kind::Done, |token| [Some(Command::Cancel { token, consumer })]))
}

/// The client closes the connection.
pub(crate) fn connection(connection: &mut Connection, output: &mut Output) {
    let token = connection.outstanding.next_token();
    let mut left = 0;
    while let Some(end) = connection.machine.poll_ended() {
        left += undo(connection, &end, token);
    }
    for topic in std::mem::take(&mut connection.owned) {
        if !topic.is_gone() {
            let name = topic.name.clone();
            connection.asks.push(Command::DeleteTopic { token, name, if_unused: false, if_empty: false });
            left += 1;
        }
    }
    match left {
        0 => connection.machine.closed(output),
        _ => connection.outstanding.put(token, Waiting::Close { left }),
    }
}

/// Channels that have ended without being asked to.
pub(crate) fn ended(connection: &mut Connection) {
    while let Some(end) = connection.machine.poll_ended() {
        undo(connection, &end, NOBODY);
    }
}

/// Returns how many answers will carry the token.
fn undo(connection: &mut Connection, end: &ChannelEnd<Receipt>, token: Token) -> usize {
    drop(connection.transactions.take(end.channel));
    give_back(connection, &end.leases);
    for consumer in &end.consumers {
        connection.asks.push(Command::Cancel { token, consumer: consumer_id(*consumer) });
    }
    end.consumers.len()
}

/// What was handed out and not settled goes back, as redelivered. In front of the cancels, since a queue may go with
/// its last consumer.
fn give_back(connection: &mut Connection, leases: &[Receipt]) {
    if !leases.is_empty() {
        connection.settle(REQUEUE, leases);
        connection.flush_work();
    }
}
