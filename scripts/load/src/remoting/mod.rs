//! RocketMQ remoting as the Java SDK speaks it: JSON headers, requests encoded once and patched.
//! Sends and lite pulls only; no heartbeats, no groups, no rebalancing.
pub mod frame;
pub mod pull;
pub mod route;
pub mod send;
