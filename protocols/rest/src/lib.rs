//! The REST surface: JSON over HTTP, server-sent events, and the OpenAPI document of it all.
//!
//! Translates requests to the broker's commands and events, and waits for them without blocking. Binds no listener,
//! reads no configuration file, keeps no message, and serves no metrics: the gateway does the first two and the last.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions))]

mod ask;
mod body;
mod from_wire;
mod instant;
pub mod limits;
mod login;
mod problem;
mod receipt;
mod reply;
mod request;
mod resource;
mod room;
mod router;
mod schema;
mod state;
#[cfg(test)]
mod testing;
mod to_wire;

pub use router::{guarded, openapi, router};
pub use state::{RestConfig, RestState};
