//! What each request asks of the broker, and how answers come back together. One file per family.
//!
//! A request may take several commands; they are answered together, by one token.

pub(crate) mod close;
pub(crate) mod consume;
pub(crate) mod exchange;
pub(crate) mod publish;
pub(crate) mod queue;
pub(crate) mod transaction;

use mailrail_broker::connection::Output;
use mailrail_broker::{Command, Error, Event, Name, Outcome, Receipt, Recipient, Reply, Token};

use crate::adapter::Connection;
use crate::channel::{Answer, Late, Request, RequestId};
use crate::fault::Refusal;
use crate::outstanding::{Asked, Found, Kind, Waiting};
use crate::to_wire;

/// Back to its place at once, as one attempt more: that is what makes it redelivered.
pub(crate) const REQUEUE: Outcome = Outcome::Retry { delay_ms: Some(0) };

/// Carries out a request of a channel.
pub(crate) fn carry_out(
    connection: &mut Connection,
    id: RequestId,
    request: Request<Receipt>,
    output: &mut Output,
) {
    let result = match request {
        Request::DeclareExchange(declare) => exchange::declare(connection, id, declare),
        Request::DeleteExchange { exchange, if_unused } => {
            exchange::delete(connection, id, &exchange, if_unused)
        }
        Request::Bind(binding) => exchange::bind(connection, id, binding),
        Request::Unbind(binding) => exchange::unbind(connection, id, binding),
        Request::DeclareQueue(declare) => queue::declare(connection, id, declare),
        Request::DeleteQueue { queue, if_unused, if_empty } => {
            queue::delete(connection, id, &queue, if_unused, if_empty)
        }
        Request::PurgeQueue { queue } => queue::purge(connection, id, &queue),
        Request::Consume { consumer, queue, exclusive, credit, priority, no_ack: _ } => {
            let wanted = consume::Wanted { consumer, exclusive, credit, priority };
            consume::start(connection, id, &queue, &wanted)
        }
        Request::Cancel { consumer } => consume::cancel(connection, id, consumer),
        Request::Get { queue, no_ack } => consume::get(connection, id, &queue, no_ack),
        Request::Close(end) => close::channel(connection, id, end),
        Request::Commit { settlements } => transaction::commit(connection, id, settlements),
        Request::RollBack => transaction::roll_back(connection, id),
    };
    match result {
        Ok(Carried::Asked) => {}
        Ok(Carried::Done) => answer(connection, id, Ok(Answer::Done), output),
        Ok(Carried::Declared { queue, messages }) => {
            let declared = Answer::Declared { queue: &queue, messages, consumers: 0 };
            answer(connection, id, Ok(declared), output);
        }
        Ok(Carried::Count(count)) => answer(connection, id, Ok(Answer::Count(count)), output),
        Err(refusal) => answer(connection, id, Err(refusal), output),
    }
}

/// What a request came to at once.
pub(crate) enum Carried {
    /// The answer follows.
    Asked,
    Done,
    /// The counts of a queue that nobody consumes.
    Declared {
        queue: Name,
        messages: u32,
    },
    Count(u32),
}

/// Asks the broker for a request: `commands` makes them for the token they are answered by.
fn ask<const N: usize>(
    connection: &mut Connection,
    id: RequestId,
    kind: Kind,
    commands: impl FnOnce(Token) -> [Option<Command>; N],
) -> Carried {
    let token = connection.outstanding.next_token();
    let before = connection.asks.len();
    connection.asks.extend(commands(token).into_iter().flatten());
    let left = connection.asks.len() - before;
    let asked = Box::new(Asked { id, kind, left, found: Found::default() });
    connection.outstanding.put(token, Waiting::Request(asked));
    Carried::Asked
}

/// Takes one event of the broker.
pub(crate) fn event(connection: &mut Connection, event: Event, output: &mut Output) {
    match event {
        Event::Published { token, results } => {
            if let Some(Waiting::Published(sent)) = connection.outstanding.take(token) {
                publish::published(connection, sent, results, output);
            }
        }
        Event::Reply { token, result } => reply(connection, token, result, output),
        Event::Deliveries { to: Recipient::Consumer(consumer), deliveries } => {
            consume::deliver(connection, consumer, deliveries, output);
        }
        Event::Deliveries { to: Recipient::Request(token), deliveries } => {
            gather(connection, token, output, |found| found.delivery = deliveries.into_iter().next());
        }
        Event::ConsumerEnded { consumer } => {
            connection.machine.cancel_consumer(consume::consumer_key(consumer), output);
        }
        // Nothing is read by offset or searched for, members are not kept and nobody is asked, over AMQP.
        Event::Read { .. }
        | Event::Found { .. }
        | Event::Readable { .. }
        | Event::Check(_)
        | Event::MembersChanged { .. } => {}
    }
}

fn reply(connection: &mut Connection, token: Token, result: Result<Reply, Error>, output: &mut Output) {
    if let Some(waiting) = connection.outstanding.take(token) {
        if matches!(waiting, Waiting::Login) {
            return connection.logged_in(result, output);
        }
        connection.outstanding.put(token, waiting);
    }
    if let Ok(Reply::Topic { topic, created: true }) = &result {
        queue::note_created(connection, topic);
    }
    gather(connection, token, output, |found| match result {
        Ok(Reply::Count(count)) => found.count = count,
        Ok(Reply::Group(view)) => found.view = Some(view),
        Ok(Reply::Together(stored)) => found.stored = stored,
        Ok(_) => {}
        Err(error) => {
            found.error.get_or_insert(error);
        }
    });
}

/// Notes an answer; the last one completes what it belongs to.
fn gather(connection: &mut Connection, token: Token, output: &mut Output, note: impl FnOnce(&mut Found)) {
    match connection.outstanding.take(token) {
        Some(Waiting::Request(mut asked)) => {
            note(&mut asked.found);
            asked.left = asked.left.saturating_sub(1);
            match asked.left {
                0 => complete(connection, *asked, output),
                _ => connection.outstanding.put(token, Waiting::Request(asked)),
            }
        }
        Some(Waiting::Open { left: 0 | 1 }) => connection.machine.open(Ok(()), output),
        Some(Waiting::Open { left }) => {
            connection.outstanding.put(token, Waiting::Open { left: left - 1 });
        }
        Some(Waiting::Close { left: 0 | 1 }) => connection.machine.closed(output),
        Some(Waiting::Close { left }) => {
            connection.outstanding.put(token, Waiting::Close { left: left - 1 });
        }
        Some(waiting @ (Waiting::Published(_) | Waiting::Login)) => {
            connection.outstanding.put(token, waiting)
        }
        None => {}
    }
}

fn complete(connection: &mut Connection, asked: Asked, output: &mut Output) {
    let Asked { id, kind, found, .. } = asked;
    if let Some(error) = &found.error {
        if let Kind::Commit(committing) = &kind {
            return transaction::refused(connection, id, committing, error, output);
        }
        if let Some(delivery) = &found.delivery {
            connection.release(delivery.receipt);
        }
        return answer(connection, id, Err(to_wire::refusal(error)), output);
    }
    let ready = found.view.as_ref().map_or(0, |view| view.ready);
    match kind {
        Kind::Done => answer(connection, id, Ok(Answer::Done), output),
        Kind::Commit(committing) => transaction::committed(connection, id, *committing, found, output),
        Kind::Count => answer(connection, id, Ok(Answer::Count(to_u32(found.count))), output),
        Kind::Forgotten { count } => answer(connection, id, Ok(Answer::Count(to_u32(count))), output),
        Kind::Declare { queue } => {
            let consumers = found.view.as_ref().map_or(0, |view| view.consumers);
            let declared = Answer::Declared { queue: &queue, messages: to_u32(ready), consumers };
            answer(connection, id, Ok(declared), output);
        }
        Kind::Get { no_ack } => consume::got(connection, id, found.delivery, no_ack, to_u32(ready), output),
        Kind::Forget { group, topic, if_unused, if_empty } => {
            let unused = found.view.as_ref().is_none_or(|view| view.consumers == 0);
            let refused = match (if_unused && !unused, if_empty && ready > 0) {
                (true, _) => Some(Error::InUse(group.to_string())),
                (_, true) => Some(Error::NotEmpty(group.to_string())),
                _ => None,
            };
            match refused {
                Some(error) => answer(connection, id, Err(to_wire::refusal(&error)), output),
                None => queue::forget(connection, id, group, topic, ready),
            }
        }
    }
}

/// Answers a request; what an answer holds that comes too late goes back.
fn answer(
    connection: &mut Connection,
    id: RequestId,
    result: Result<Answer<'_, Receipt>, Refusal>,
    output: &mut Output,
) {
    if let Err(Late(Ok(Answer::Message(Some(fetched))))) = connection.machine.answer(id, result, output)
        && let Some(receipt) = fetched.lease
    {
        connection.release(receipt);
    }
}

fn to_u32(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
