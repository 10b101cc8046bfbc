//! AMQP connections joined to a real broker in a temporary folder, spoken to in frames as clients send them.
//!
//! Waiting is for events, with a limit; nothing sleeps for luck.

mod access;
mod client;
mod consume;
mod deduplication;
mod expiry;
mod lite;
mod messages;
mod order;
mod pressure;
mod publish;
mod routing;
mod topology;
mod transaction;
