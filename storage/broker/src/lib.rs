//! What messages mean: topology, routing, queues, delivery. One log, one materialised state, many protocols.
//!
//! Synchronous and clock-free: time is an argument, and everything that must survive is a record in the log. Knows no
//! protocol, no socket and no async runtime; sessions are woken through `std::task::Waker`.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]

mod broker;
mod check;
mod command;
pub mod connection;
mod delivery;
mod directory;
mod error;
mod event;
mod ids;
mod inbox;
pub mod limits;
mod open;
mod publish;
mod queue;
mod read;
mod reader;
mod record;
mod route;
mod session;
mod settings;
mod shard;
#[cfg(test)]
mod simulation;
mod stages;
mod state;
mod store;
mod store_thread;
mod time;

pub use broker::{Broker, BrokerConfig, OpenError};
pub use check::{CheckReport, check};
pub use command::{BindTarget, Command, Name, Outcome, Receipt, SeekTo};
pub use directory::{Directory, Exchange, Group, Topic};
pub use error::Error;
pub use event::{Delivery, Event, GroupQueueView, GroupView, Recipient, Reply, Stored};
pub use ids::{ConsumerId, ExchangeId, GroupId, QueueId, SessionId, Token, TopicId};
pub use publish::{Destination, PublishBatch};
pub use queue::Queue;
pub use read::{ReadBatch, ReadEntry, ReadRequest};
pub use session::Session;
pub use settings::*;
pub use store::StoreEngine;
pub use time::{Clock, Now};
