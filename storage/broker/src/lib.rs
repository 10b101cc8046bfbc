//! What messages mean: topology, routing, queues, delivery. One log, one materialised state, many protocols.
//!
//! Synchronous and clock-free: time is an argument, and everything that must survive is a record in the log. Knows no
//! protocol, no socket and no async runtime; sessions are woken through `std::task::Waker`.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]

mod access;
mod backup;
mod broker;
mod check;
mod command;
mod compaction;
pub mod connection;
mod damage;
mod deduplication;
mod delivery;
mod directory;
mod error;
mod event;
mod filter;
mod ids;
mod inbox;
pub mod limits;
pub mod lite;
mod lookup;
mod open;
mod policy;
mod publish;
mod queue;
mod read;
mod reader;
mod record;
mod repair;
mod retention;
mod route;
mod schedule;
mod session;
mod settings;
mod shard;
mod share;
#[cfg(test)]
mod simulation;
mod stages;
mod state;
mod statistics;
mod store;
mod store_thread;
mod time;
mod trace;
mod traced_read;
mod transaction;

pub use access::{
    Access, Action, AuditEntry, Denial, Effect, Identity, PasswordHash, Pattern, Resource, ResourceKind,
    Rule, SealedSecret, SecretKeyFile, User, UserChange, UserSettings,
};
pub use backup::{ArchiveError, Backup, Contents, Piece, RestoreError, Restored, Unpacker, restore};
pub use broker::{Broker, BrokerConfig, OpenError};
pub use check::{CheckReport, Checked, check};
pub use command::{BindTarget, Command, Decision, Name, Outcome, Receipt, SeekTo};
pub use deduplication::DeduplicationKey;
pub use directory::{Directory, Exchange, Group, Topic};
pub use error::Error;
pub use event::{
    BindingView, Check, Delivery, Event, GroupQueueView, GroupView, HalfView, Recipient, Reply, Stored,
};
pub use filter::{Dialect, Filter, FilterError, Misuse};
pub use ids::{ConsumerId, ExchangeId, GroupId, QueueId, SessionId, Token, TopicId, UserId};
pub use lookup::{FindRequest, Found};
pub use policy::*;
pub use publish::{Destination, HalfTerms, PublishBatch, RoutingKeys};
pub use queue::Queue;
pub use read::{ReadBatch, ReadEntry, ReadRequest};
pub use repair::{RepairError, RepairReport, repair};
pub use retention::RetentionPolicy;
pub use schedule::{DelayLevels, DelayLevelsError};
pub use session::Session;
pub use settings::*;
pub use share::{Held, Share};
pub use statistics::{
    BrokerStatistics, Client, ClientEntry, Count, GroupStatistics, GroupTotals, QueueStatistics, Rates,
    TopicStatistics, TopicTotals, Totals, Traffic,
};
pub use store::StoreEngine;
pub use time::{Clock, Now};
pub use trace::{TRACE_TOPIC, TraceActor, TraceRecord, TraceStage, trace_key};
