//! What the gateway tells this protocol.
//!
//! Read once; no defaults from the environment.

use std::net::SocketAddr;
use std::sync::Arc;

/// Says whether a user may log in with a password.
pub type CheckLogin = Arc<dyn Fn(&str, &[u8]) -> bool + Send + Sync>;

/// Settings shared by all AMQP connections.
#[derive(Clone)]
pub struct AmqpConfig {
    /// Address that RocketMQ clients may dial for a message: stored with it, since they are told it.
    pub advertised: SocketAddr,
    /// Name shown to clients.
    pub cluster_name: String,
    pub login: CheckLogin,
}

impl AmqpConfig {
    /// With the one user that every AMQP client tries first: `guest`, password `guest`. Fit for loopback alone; whoever
    /// listens elsewhere sets `login`.
    pub fn new(advertised: SocketAddr) -> Self {
        AmqpConfig { advertised, cluster_name: "mailrail".to_owned(), login: Arc::new(is_guest) }
    }
}

fn is_guest(user: &str, password: &[u8]) -> bool {
    user == "guest" && password == b"guest"
}

impl std::fmt::Debug for AmqpConfig {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AmqpConfig").field("advertised", &self.advertised).finish_non_exhaustive()
    }
}
