//! What all REST requests share: the broker, the configuration, sessions kept for the next request, and the limits that
//! count over requests. Reads no file and no environment.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use mailrail_broker::{Action, Broker, Client, Error, Identity, Resource, Session};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::timeout;

use crate::ask::Line;
use crate::limits::*;
use crate::problem::{Kind, Refusal};

/// What the gateway decides about the REST listener.
#[derive(Clone, Debug)]
pub struct RestConfig {
    /// Where clients reach the remoting listener: part of every message id, and stored with what REST publishes.
    pub advertised: SocketAddr,
    /// A publish to an unknown topic makes it.
    pub auto_create_topics: bool,
    /// Queues of a topic that is made without saying how many.
    pub topic_queues: u32,
    /// Milliseconds that the broker may take to answer, beyond what a request asked it to wait.
    pub answer_ms_max: u64,
    /// Milliseconds that a request body may take to arrive.
    pub upload_ms_max: u64,
    /// Bytes of request bodies that may be in memory at once.
    pub upload_bytes_max: usize,
    /// Bytes of answers with messages that may be in memory at once.
    pub answer_bytes_max: usize,
    /// Reads by offset or id under way at once.
    pub reads_max: usize,
    /// Receives that wait in the broker at once.
    pub receives_max: usize,
    /// Event streams open at once.
    pub event_streams_max: usize,
    /// Milliseconds of silence after which an event stream sends a comment.
    pub event_silence_ms_max: u64,
}

impl RestConfig {
    pub fn new(advertised: SocketAddr) -> Self {
        RestConfig {
            advertised,
            auto_create_topics: true,
            topic_queues: 4,
            answer_ms_max: ANSWER_MS_MAX,
            upload_ms_max: UPLOAD_MS_MAX,
            upload_bytes_max: UPLOAD_BYTES_MAX,
            answer_bytes_max: ANSWER_BYTES_MAX,
            reads_max: READS_MAX,
            receives_max: RECEIVES_MAX,
            event_streams_max: EVENT_STREAMS_MAX,
            event_silence_ms_max: EVENT_SILENCE_MS_MAX,
        }
    }
}

/// Shared by all requests; clones are cheap. Within a request it knows who asks.
#[derive(Clone, Debug)]
pub struct RestState {
    inner: Arc<Inner>,
    identity: Arc<Identity>,
    /// The connection that the request came over, if the server says.
    client: Option<Arc<Client>>,
}

/// What a handler is given: the state, on behalf of whoever has logged in.
pub(crate) struct Caller(pub RestState);

impl FromRequestParts<RestState> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &RestState) -> Result<Self, Infallible> {
        let identity = parts.extensions.get::<Arc<Identity>>();
        let client = parts.extensions.get::<Arc<Client>>().cloned();
        let state = state.on_behalf_of(identity.unwrap_or(&state.identity).clone());
        Ok(Caller(RestState { client, ..state }))
    }
}

#[derive(Debug)]
struct Inner {
    broker: Broker,
    config: RestConfig,
    idle: Mutex<Vec<Line>>,
    uploads: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    reads: Semaphore,
    receives: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    backups: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl RestState {
    pub fn new(broker: Broker, config: RestConfig) -> Self {
        let inner = Inner {
            broker,
            idle: Mutex::default(),
            uploads: Arc::new(Semaphore::new(config.upload_bytes_max.min(Semaphore::MAX_PERMITS))),
            answers: Arc::new(Semaphore::new(config.answer_bytes_max.min(Semaphore::MAX_PERMITS))),
            reads: Semaphore::new(config.reads_max.min(Semaphore::MAX_PERMITS)),
            receives: Arc::new(Semaphore::new(config.receives_max.min(Semaphore::MAX_PERMITS))),
            streams: Arc::new(Semaphore::new(config.event_streams_max.min(Semaphore::MAX_PERMITS))),
            backups: Arc::new(Semaphore::new(BACKUPS_MAX)),
            stopping: watch::Sender::new(false),
            config,
        };
        RestState {
            inner: Arc::new(inner),
            identity: Arc::new(Identity::anonymous(Ipv4Addr::LOCALHOST.into())),
            client: None,
        }
    }

    pub(crate) fn on_behalf_of(&self, identity: Arc<Identity>) -> Self {
        RestState { inner: self.inner.clone(), identity, client: None }
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Whether whoever asks may do what the broker is not asked for.
    pub(crate) fn check(&self, action: Action, resource: Resource<'_>) -> Result<(), Refusal> {
        let directory = self.broker().directory();
        directory.check(&self.identity, action, resource, None).map_err(|denial| Error::Denied(denial).into())
    }

    /// Whether a list shows something to whoever asks.
    pub(crate) fn shows(&self, resource: Resource<'_>) -> bool {
        self.check(Action::Describe, resource).is_ok()
    }

    /// A session that is not given back.
    pub(crate) fn session(&self) -> Session {
        let mut session = self.broker().connect();
        self.act_for_caller(&mut session);
        session
    }

    /// Ends waits and event streams as if their time were over, and refuses new requests. To be called before the
    /// listener's graceful shutdown, and before the broker stops.
    pub fn stop(&self) {
        self.inner.stopping.send_replace(true);
    }

    /// Bytes of request bodies in memory.
    pub fn uploaded_bytes(&self) -> usize {
        self.inner.config.upload_bytes_max.saturating_sub(self.inner.uploads.available_permits())
    }

    /// Bytes of answers with messages in memory.
    pub fn answer_bytes(&self) -> usize {
        self.inner.config.answer_bytes_max.saturating_sub(self.inner.answers.available_permits())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.inner.stopping.borrow()
    }

    /// Ready once [`RestState::stop`] was called.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.inner.stopping.subscribe();
        async move {
            // The sender lives as long as the state; without it there is nothing left to serve either.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.inner.broker
    }

    pub(crate) fn config(&self) -> &RestConfig {
        &self.inner.config
    }

    pub(crate) fn uploads(&self) -> &Arc<Semaphore> {
        &self.inner.uploads
    }

    pub(crate) fn answers(&self) -> &Arc<Semaphore> {
        &self.inner.answers
    }

    /// A turn to read; to be kept until what was read is counted among the answers.
    pub(crate) async fn read_turn(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let patience = Duration::from_millis(self.inner.config.answer_ms_max);
        let full = || Refusal::new(Kind::Overloaded, "too many reads are under way; try again later");
        // The semaphore is never closed.
        timeout(patience, self.inner.reads.acquire()).await.map_err(|_| full())?.map_err(|_| full())
    }

    pub(crate) fn receives(&self) -> &Arc<Semaphore> {
        &self.inner.receives
    }

    pub(crate) fn streams(&self) -> &Arc<Semaphore> {
        &self.inner.streams
    }

    pub(crate) fn backups(&self) -> &Arc<Semaphore> {
        &self.inner.backups
    }

    /// A session for one request: a kept one, or a new one.
    pub(crate) fn line(&self) -> Line {
        let kept = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut line =
            kept.unwrap_or_else(|| Line::new(self.inner.broker.connect(), self.inner.config.answer_ms_max));
        self.act_for_caller(line.session());
        line
    }

    fn act_for_caller(&self, session: &mut Session) {
        // Whoever it acted for before is not to get another one's name.
        session.count_for(None);
        session.identify(self.identity.clone());
        session.count_for(self.client.clone());
    }

    /// Keeps a session that has nothing outstanding.
    pub(crate) fn keep(&self, line: Line) {
        let mut idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < SESSIONS_IDLE_MAX {
            idle.push(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    #[test]
    fn sessions_are_kept_up_to_their_limit() {
        let rig = Rig::new();
        let kept = || rig.state.inner.idle.lock().unwrap().len();
        let lines: Vec<Line> = (0..=SESSIONS_IDLE_MAX).map(|_| rig.state.line()).collect();
        for (number, line) in lines.into_iter().enumerate() {
            rig.state.keep(line);
            assert_eq!(kept(), (number + 1).min(SESSIONS_IDLE_MAX));
        }
        drop(rig.state.line());
        assert_eq!(kept(), SESSIONS_IDLE_MAX - 1, "the next request takes a kept one");
    }
}
