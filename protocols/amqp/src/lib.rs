//! AMQP 0-9-1 (with RabbitMQ's additions) for Mailrail.
//!
//! `codec` turns bytes into typed frames and back; `connection` and `channel` are its state machines: bytes and `now`
//! in, typed actions, bytes and the next deadline out. None of them knows a socket, a clock or the broker.
//! What is absent: listeners and TLS (the gateway's), and everything a message means (the broker's).
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]

pub mod channel;
pub mod codec;
pub mod connection;
mod fault;

pub use fault::{Fault, Refusal};
