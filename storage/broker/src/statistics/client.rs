//! The clients that are connected now, with what they send and get. Whoever accepts connections enters them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Meter, Traffic};
use crate::command::Name;
use crate::directory::Directory;
use crate::limits::CLIENT_NAME_BYTES_MAX;
use crate::time::Now;

/// A connection of a client.
#[derive(Debug)]
pub struct Client {
    /// Never given twice while the broker runs; later ones are higher.
    pub number: u64,
    pub protocol: &'static str,
    pub address: SocketAddr,
    /// In milliseconds of the Unix epoch.
    pub connected_ms: u64,
    /// The same by the monotonic clock.
    connected: Duration,
    called: Mutex<Called>,
    /// Messages and bytes received of it, and sent to it.
    meter: Meter<4>,
}

#[derive(Debug, Default)]
struct Called {
    user: Option<Name>,
    name: Option<String>,
}

impl Client {
    /// The user it acts for, once it has logged in.
    pub fn user(&self) -> Option<Name> {
        self.called().user.clone()
    }

    /// What it calls itself: an AMQP connection name, a RocketMQ client id.
    pub fn name(&self) -> Option<String> {
        self.called().name.clone()
    }

    /// Takes the first bytes of what a client calls itself.
    pub fn set_name(&self, name: &str) {
        let end = name.floor_char_boundary(CLIENT_NAME_BYTES_MAX);
        let name = name.get(..end).unwrap_or_default();
        let mut called = self.called();
        if called.name.as_deref() != Some(name) {
            called.name = Some(name.to_owned());
        }
    }

    pub(crate) fn set_user(&self, user: Option<&str>) {
        let mut called = self.called();
        if called.user.as_deref() != user {
            called.user = user.map(Name::from);
        }
    }

    fn called(&self) -> std::sync::MutexGuard<'_, Called> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn received(&self, now: Duration, messages: u64, bytes: u64) {
        self.meter.add(now, &[messages, bytes, 0, 0]);
    }

    pub(crate) fn sent(&self, now: Duration, messages: u64, bytes: u64) {
        self.meter.add(now, &[0, 0, messages, bytes]);
    }

    /// What was received of it, and sent to it.
    pub(crate) fn traffic(&self, now: Duration) -> (Traffic, Traffic) {
        let [received, received_bytes, sent, sent_bytes] = self.meter.read(now, self.connected);
        (Traffic { messages: received, bytes: received_bytes }, Traffic { messages: sent, bytes: sent_bytes })
    }
}

/// A client's place among those that are connected; it ends when this is dropped.
#[derive(Debug)]
pub struct ClientEntry {
    directory: Arc<Directory>,
    client: Arc<Client>,
}

impl ClientEntry {
    pub(crate) fn new(
        directory: Arc<Directory>,
        protocol: &'static str,
        address: SocketAddr,
        now: Now,
    ) -> ClientEntry {
        let client = directory.statistics().enter(|number| Client {
            number,
            protocol,
            address,
            connected_ms: now.wall_ms,
            connected: now.mono,
            called: Mutex::default(),
            meter: Meter::default(),
        });
        ClientEntry { directory, client }
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for ClientEntry {
    fn drop(&mut self) {
        self.directory.statistics().leave(self.client.number);
    }
}
