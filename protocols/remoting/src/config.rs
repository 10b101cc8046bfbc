//! What remoting connections share: names and address told to clients, limits, and the registry of subscriptions.
//!
//! Reads no file and no environment; the gateway fills it in.

use std::net::SocketAddr;
use std::sync::Arc;

use mailrail_broker::DelayLevels;
use mailrail_broker::Share;
use mailrail_message::property;

use crate::registry::Registry;

/// Queues of the topic that new topics are modelled on (`TBW102`), so the most a new topic gets.
pub const DEFAULT_TOPIC_QUEUES: u32 = 8;

/// Bytes of requests that wait, where the gateway sets no other.
pub(crate) const WAITS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Shared by all remoting connections of one shard.
#[derive(Debug)]
pub struct RemotingConfig {
    /// Where clients reach this listener; part of routes and of message ids.
    pub advertised: SocketAddr,
    pub cluster_name: String,
    pub broker_name: String,
    /// A send to an unknown topic makes it.
    pub auto_create_topics: bool,
    /// Memory for requests that wait, held pulls above all, over all connections; beyond it they are refused as busy.
    pub waits: Arc<Share>,
    /// What the numbers of delay levels mean.
    pub delay_levels: DelayLevels,
    pub(crate) registry: Registry,
    /// Properties that every stored message gets, in stored form.
    pub(crate) stamp: Vec<u8>,
}

/// Told to clients as theirs; they only echo it in traces.
pub(crate) const REGION: &str = "DefaultRegion";

impl RemotingConfig {
    pub fn new(advertised: SocketAddr, cluster_name: &str, broker_name: &str) -> RemotingConfig {
        let mut stamp = Vec::new();
        property::push(&mut stamp, property::REGION, REGION);
        property::push(&mut stamp, property::TRACE_ON, "true");
        property::push(&mut stamp, property::CLUSTER, cluster_name);
        RemotingConfig {
            advertised,
            cluster_name: cluster_name.to_owned(),
            broker_name: broker_name.to_owned(),
            auto_create_topics: true,
            waits: Share::new(WAITS_BYTES_MAX),
            delay_levels: DelayLevels::default(),
            registry: Registry::default(),
            stamp,
        }
    }
}
