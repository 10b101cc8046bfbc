//! Conformance: real SDKs drive a built broker over sockets, and scenarios say what must come of it.
//!
//! A scenario is written once and runs for every driver, or pair of drivers, that can do it, against Mailrail or against the
//! broker that Mailrail stands in for. Nothing here links a crate of ours or speaks a wire protocol: what an SDK cannot do is not
//! tested here. Speed is not judged either; time limits are only there so that a run ends.

pub mod ability;
pub mod broker;
pub mod driver;
pub mod failure;
pub mod journal;
pub mod line;
pub mod reference;
pub mod scenario;
pub mod sdk;
pub mod table;
pub mod world;

pub use failure::{Failure, Outcome};
