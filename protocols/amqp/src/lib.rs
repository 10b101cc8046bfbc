//! AMQP 0-9-1 (with RabbitMQ's additions) for Mailrail.
//!
//! One request can be followed through `codec` (bytes to typed frames), `connection` and `channel` (state machines:
//! bytes and `now` in, typed actions out), `adapter` (whose action it is and what is outstanding), one file of `handle`
//! (what it asks of the broker), `from_wire` and `to_wire`. `codec`, `connection` and `channel` know no socket, no clock
//! and no broker. Absent: listeners and TLS (the gateway's), everything a message means (the broker's), and
//! direct reply-to and the arguments that `channel::arguments` refuses.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]

mod adapter;
pub mod channel;
pub mod codec;
mod config;
mod congestion;
pub mod connection;
mod decompress;
mod fault;
mod from_wire;
mod handle;
mod outstanding;
mod publisher;
mod to_wire;
mod transaction;

pub use adapter::Connection;
pub use config::AmqpConfig;
pub use fault::{Fault, Refusal};
