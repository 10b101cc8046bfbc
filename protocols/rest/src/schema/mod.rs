//! The JSON documents of the API, one file per resource: their fields, and what the OpenAPI document says about them.
//! Translation to and from the core is in [`crate::from_wire`] and [`crate::to_wire`].

pub(crate) mod exchange;
pub(crate) mod group;
pub(crate) mod message;
pub(crate) mod publish;
pub(crate) mod statistics;
pub(crate) mod text;
pub(crate) mod topic;
pub(crate) mod trace;
pub(crate) mod transaction;
pub(crate) mod user;
