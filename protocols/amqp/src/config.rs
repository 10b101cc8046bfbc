//! What the gateway tells this protocol.
//!
//! Read once; no defaults from the environment.

use std::net::SocketAddr;

/// Settings shared by all AMQP connections.
#[derive(Clone)]
pub struct AmqpConfig {
    /// Address that RocketMQ clients may dial for a message: stored with it, since they are told it.
    pub advertised: SocketAddr,
    /// Name shown to clients.
    pub cluster_name: String,
}

impl AmqpConfig {
    pub fn new(advertised: SocketAddr) -> Self {
        AmqpConfig { advertised, cluster_name: "mailrail".to_owned() }
    }
}

impl std::fmt::Debug for AmqpConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AmqpConfig").field("advertised", &self.advertised).finish_non_exhaustive()
    }
}
