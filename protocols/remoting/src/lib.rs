//! RocketMQ remoting (4.x and 5.x clients) for Mailrail: name server and broker answered on one port.
//!
//! One request can be followed through `codec` (bytes to typed frames), `connection` (whose frame it is and what is
//! outstanding), one file of `handle` (what it asks of the broker), `from_wire` and `to_wire`. Absent: listeners and
//! TLS (the gateway's), everything a message means (the broker's), and request-reply, POP and administration,
//! which are answered with "not supported".
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]

pub mod codec;
mod config;
mod connection;
mod from_wire;
mod handle;
mod login;
mod names;
mod outstanding;
mod refusal;
mod registry;
mod subscription;
mod to_wire;

pub use config::RemotingConfig;
pub use connection::Connection;
