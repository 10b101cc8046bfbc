//! Ends of publishes: returns, confirms, and errors that close a channel.
//!
//! Taking them is in `publisher`.

use bytes::Bytes;
use mailrail_broker::connection::Output;
use mailrail_broker::{Error, Stored};

use crate::adapter::Connection;
use crate::channel::{ChannelKey, Confirm, Message};
use crate::codec::methods::BasicPublish;
use crate::codec::writer::{Body, Content};
use crate::codec::{Arguments, ShortBytes};
use crate::outstanding::{Copy, Sent};
use crate::to_wire;

/// A message that no queue is there for: returned if it was mandatory, and confirmed, since it is where it should be.
pub(crate) fn unroutable(
    connection: &mut Connection,
    channel: ChannelKey,
    sequence: Option<u64>,
    copy: Option<&Copy>,
    output: &mut Output,
) {
    if let Some(copy) = copy {
        give_back(connection, channel, copy, output);
    }
    connection.confirm(channel, sequence, Confirm::Ack);
}

/// The broker has dealt with a batch.
pub(crate) fn published(
    connection: &mut Connection,
    sent: Vec<Sent>,
    results: Vec<Result<Stored, Error>>,
    output: &mut Output,
) {
    for (Sent { channel, sequence, destination, copy }, result) in sent.into_iter().zip(results) {
        match result {
            // What was stored before is where it should be.
            Ok(_) | Err(Error::Forgotten { .. }) => connection.confirm(channel, sequence, Confirm::Ack),
            // A queue that was deleted in the meantime took its messages with it.
            Err(Error::Unroutable | Error::NoTopic(_)) => {
                unroutable(connection, channel, sequence, copy.as_deref(), output);
            }
            // As with RabbitMQ: who does not ask for confirms is not told.
            Err(Error::Full { .. }) => connection.confirm(channel, sequence, Confirm::Nack),
            // The broker has a number for it, which tells the client nothing.
            Err(Error::NoExchange(_)) => {
                let error = Error::NoExchange(destination.name().to_string());
                failed(connection, channel, sequence, &error, output);
            }
            Err(error) => failed(connection, channel, sequence, &error, output),
        }
    }
}

/// Trouble of the broker's own is told by a nack where there are confirms; all else closes the channel.
fn failed(
    connection: &mut Connection,
    channel: ChannelKey,
    sequence: Option<u64>,
    error: &Error,
    output: &mut Output,
) {
    let is_own = matches!(error, Error::NoSpace | Error::Busy { .. } | Error::Poisoned(_) | Error::Stopping);
    if is_own && sequence.is_some() {
        return connection.confirm(channel, sequence, Confirm::Nack);
    }
    connection.machine.refuse(channel, BasicPublish::ID, to_wire::refusal(error), output);
}

/// Writes a message back that no queue was there for.
pub(crate) fn give_back(connection: &mut Connection, channel: ChannelKey, copy: &Copy, output: &mut Output) {
    let body: &Bytes = &copy.body;
    let content = Content { properties: &copy.properties, body: Body { bytes: body, owner: body } };
    let (exchange, routing_key) = (copy.exchange.as_str(), ShortBytes::new(&copy.routing_key));
    let message = Message { exchange, routing_key, redelivered: false, content };
    connection.machine.give_back(channel, &message, output);
}
