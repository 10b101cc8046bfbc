//! Consuming and getting: leases of the group behind a queue's name.
//!
//! Limits and tags are the state machine's; who gets what is the broker's. What a client need not acknowledge is leased
//! all the same, and settled as it is written: nothing is lost that was still on its way when a channel closed.

use mailrail_broker::connection::Output;
use mailrail_broker::{Command, ConsumerId, Delivery, Outcome};

use super::queue::Line;
use super::{Carried, answer, ask};
use crate::adapter::Connection;
use crate::channel::{Answer, ConsumerKey, Fetched, RequestId};
use crate::fault::Refusal;
use crate::outstanding::{Kind, NOBODY};
use crate::to_wire;

/// Wait before a message that could not be read is handed out again.
const UNREADABLE_RETRY_MS: u64 = 60_000;

/// What a consumer asked for.
pub(crate) struct Wanted {
    pub consumer: ConsumerKey,
    pub exclusive: bool,
    pub credit: u32,
    pub priority: i64,
}

/// The broker's number of a consumer, and back.
pub(crate) fn consumer_id(consumer: ConsumerKey) -> ConsumerId {
    ConsumerId(consumer.0)
}

pub(crate) fn consumer_key(consumer: ConsumerId) -> ConsumerKey {
    ConsumerKey(consumer.0)
}

pub(crate) fn start(
    connection: &mut Connection,
    id: RequestId,
    queue: &str,
    wanted: &Wanted,
) -> Result<Carried, Refusal> {
    let line = Line::find(connection, queue)?;
    // A group is made once it is synced, and by then the first messages are here: the client is told that the consumer
    // runs when it does. Without its group it is refused.
    if let Some(put) = line.put_group(connection) {
        connection.asks.push(put(NOBODY));
    }
    let Line { group, topic, .. } = line;
    let Wanted { consumer, exclusive, credit, priority } = *wanted;
    let consumer = consumer_id(consumer);
    Ok(ask(connection, id, Kind::Done, |token| {
        let no_ack = false;
        [Some(Command::Consume { token, consumer, group, topic, credit, no_ack, exclusive, priority })]
    }))
}

pub(crate) fn cancel(
    connection: &mut Connection,
    id: RequestId,
    consumer: ConsumerKey,
) -> Result<Carried, Refusal> {
    let consumer = consumer_id(consumer);
    Ok(ask(connection, id, Kind::Done, |token| [Some(Command::Cancel { token, consumer })]))
}

pub(crate) fn get(
    connection: &mut Connection,
    id: RequestId,
    queue: &str,
    no_ack: bool,
) -> Result<Carried, Refusal> {
    let line = Line::find(connection, queue)?;
    line.check_get(queue)?;
    let put_group = line.put_group(connection);
    let Line { group, topic, .. } = line;
    Ok(ask(connection, id, Kind::Get { no_ack }, |token| {
        let get = Command::Get { token, group: group.clone(), topic: topic.clone(), no_ack: false };
        [put_group.map(|put| put(token)), Some(get), Some(Command::GroupState { token, group, topic })]
    }))
}

/// Answers a get with what it got.
pub(super) fn got(
    connection: &mut Connection,
    id: RequestId,
    delivery: Option<Delivery>,
    no_ack: bool,
    left: u32,
    output: &mut Output,
) {
    let Some(delivery) = delivery else { return answer(connection, id, Ok(Answer::Message(None)), output) };
    let mut room = std::mem::take(&mut connection.room);
    match to_wire::message(&delivery, connection.session.broker().directory(), &mut room) {
        Ok(message) => {
            let lease = (!no_ack).then_some(delivery.receipt);
            if no_ack {
                connection.settle(Outcome::Ack, &[delivery.receipt]);
            }
            let fetched = Fetched { lease, message, left };
            answer(connection, id, Ok(Answer::Message(Some(fetched))), output);
        }
        Err(error) => {
            put_off(connection, &delivery, &error);
            answer(connection, id, Ok(Answer::Message(None)), output);
        }
    }
    connection.room = room;
}

/// Passes deliveries on; what the channel may not have now goes back.
pub(super) fn deliver(
    connection: &mut Connection,
    consumer: ConsumerId,
    deliveries: Vec<Delivery>,
    output: &mut Output,
) {
    let consumer = consumer_key(consumer);
    let mut room = std::mem::take(&mut connection.room);
    for delivery in &deliveries {
        match to_wire::message(delivery, connection.session.broker().directory(), &mut room) {
            Ok(message) => match connection.machine.deliver(consumer, delivery.receipt, message, output) {
                Ok(None) => {}
                Ok(Some(receipt)) => connection.settle(Outcome::Ack, &[receipt]),
                Err(receipt) => connection.release(receipt),
            },
            Err(error) => put_off(connection, delivery, &error),
        }
    }
    connection.room = room;
}

/// A stored message that cannot be read must not be handed out in a loop, and must not be lost.
fn put_off(connection: &mut Connection, delivery: &Delivery, error: &mailrail_message::LayoutError) {
    tracing::error!(?delivery.receipt, %error, "a stored message cannot be read");
    connection.settle(Outcome::Retry { delay_ms: Some(UNREADABLE_RETRY_MS) }, &[delivery.receipt]);
}
