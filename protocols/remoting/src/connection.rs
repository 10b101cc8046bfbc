//! One remoting connection: frames in, commands to the broker, events back, answers out.
//!
//! Knows no socket and no clock; the gateway's driver moves the bytes. What single requests do is in `handle`.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use mailrail_broker::connection::{Connection as Driven, Output};
use mailrail_broker::{Command as Ask, Event, Name, Now, Reply, Session, Token, Topic};
use mailrail_message::UniqueId;

use crate::codec::{Command, Frame, decode};
use crate::config::RemotingConfig;
use crate::handle;
use crate::login;
use crate::outstanding::{Asker, Gathering, Outstanding, Parked, Sends, Waiting};
use crate::refusal::Refusal;
use crate::to_wire;

/// A connection on which nothing moved for so long, in or out, is closed. Clients send a heartbeat every 30 s.
const IDLE_SECONDS_MAX: Duration = Duration::from_secs(120);
/// Bytes of sends that wait for their topic to be made; beyond it nothing more is read.
const PARKED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of answers that the client has not read, and of reads under way for further ones; beyond it no more requests
/// are taken.
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Topics whose handles are kept.
const TOPIC_CACHE_COUNT_MAX: usize = 1_024;

/// State of one client's connection.
pub struct Connection {
    pub(crate) session: Session,
    pub(crate) config: Arc<RemotingConfig>,
    pub(crate) peer: SocketAddr,
    /// Submitted in one go when all input is handled.
    pub(crate) asks: Vec<Ask>,
    pub(crate) outstanding: Outstanding,
    /// The batch that sends are being gathered into.
    pub(crate) sends: Option<Sends>,
    /// Bytes of the input that a batch may have to hold.
    pub(crate) input_bytes: usize,
    pub(crate) parked: HashMap<Name, Vec<Parked>>,
    pub(crate) parked_bytes: usize,
    pub(crate) heartbeats: HashMap<u64, Gathering>,
    /// Groups this connection has members in, by (group, member).
    pub(crate) joined: HashSet<(Name, Name)>,
    /// Groups that this connection has producers of.
    pub(crate) produced: HashSet<Name>,
    /// Turns through the queues of a topic for batches without a queue.
    pub(crate) rotation: u32,
    topics: HashMap<Name, Arc<Topic>>,
    last_topic: Option<Arc<Topic>>,
    unique: Option<UniqueId>,
    opaque: i32,
    last_moved: Duration,
    /// Bytes that waited to be written when that was last looked at.
    output_bytes: usize,
    /// Bytes that reads under way may bring.
    promised_bytes: usize,
    closing: bool,
}

impl Connection {
    /// `peer` is the client's address, behind any proxy.
    pub fn new(session: Session, config: Arc<RemotingConfig>, peer: SocketAddr, now: Now) -> Connection {
        let outstanding = Outstanding::new(config.waits.clone());
        Connection {
            session,
            config,
            peer,
            asks: Vec::new(),
            outstanding,
            sends: None,
            input_bytes: 0,
            parked: HashMap::new(),
            parked_bytes: 0,
            heartbeats: HashMap::new(),
            joined: HashSet::new(),
            produced: HashSet::new(),
            rotation: 0,
            topics: HashMap::new(),
            last_topic: None,
            unique: None,
            opaque: 0,
            last_moved: now.mono,
            output_bytes: 0,
            promised_bytes: 0,
            closing: false,
        }
    }

    /// A topic by name; a run of requests for one topic costs one look-up.
    pub(crate) fn topic(&mut self, name: &str) -> Option<Arc<Topic>> {
        if let Some(topic) = &self.last_topic
            && &*topic.name == name
            && !topic.is_gone()
        {
            return Some(topic.clone());
        }
        let cached = self.topics.get(name).filter(|topic| !topic.is_gone()).cloned();
        let topic = match cached {
            Some(topic) => topic,
            None => {
                let topic = self.session.broker().directory().topic(name)?;
                if self.topics.len() >= TOPIC_CACHE_COUNT_MAX {
                    self.topics.clear();
                }
                self.topics.insert(topic.name.clone(), topic.clone());
                topic
            }
        };
        self.last_topic = Some(topic.clone());
        Some(topic)
    }

    /// As [`Connection::topic`], moved out rather than counted: sends give it back with [`Connection::keep_topic`].
    pub(crate) fn take_topic(&mut self, name: &str) -> Option<Arc<Topic>> {
        match self.last_topic.take() {
            Some(topic) if &*topic.name == name && !topic.is_gone() => Some(topic),
            _ => {
                let topic = self.topic(name);
                self.last_topic = None;
                topic
            }
        }
    }

    /// Lets go of deleted topics, whose handles hold their index in memory.
    pub(crate) fn forget_gone_topics(&mut self) {
        self.topics.retain(|_, topic| !topic.is_gone());
        self.last_topic.take_if(|topic| topic.is_gone());
    }

    /// Makes the next look-up of this topic cheap.
    pub(crate) fn keep_topic(&mut self, topic: Arc<Topic>) {
        self.last_topic = Some(topic);
    }

    /// A unique id for a message whose producer gave none.
    pub(crate) fn next_unique(&mut self, now: Now) -> String {
        let maker = self.unique.get_or_insert_with(|| {
            let node = match self.peer.ip() {
                std::net::IpAddr::V4(ip) => u32::from(ip),
                std::net::IpAddr::V6(ip) => u32::try_from(u128::from(ip) & 0xFFFF_FFFF).unwrap_or(0),
            };
            let session = u32::try_from(self.session.id().0 & 0xFFFF_FFFF).unwrap_or(0);
            UniqueId::new(node, session, now.wall_ms)
        });
        maker.next_id()
    }

    /// Our own request numbers on this connection.
    pub(crate) fn next_opaque(&mut self) -> i32 {
        self.opaque = self.opaque.wrapping_add(1);
        self.opaque
    }

    /// True while so much waits to be written, or to be read for an answer, that no more should be added.
    pub(crate) fn is_full(&self, output: &Output) -> bool {
        output.len() + self.promised_bytes >= OUTPUT_BYTES_MAX
    }

    /// A read is under way that may bring so many bytes.
    pub(crate) fn promise(&mut self, bytes: usize) {
        self.promised_bytes += bytes;
    }

    /// It is over.
    fn end_promise(&mut self, bytes: usize) {
        self.promised_bytes = self.promised_bytes.saturating_sub(bytes);
    }

    /// Answers one request, or asks the broker about it.
    pub(crate) fn handle_frame(&mut self, now: Now, frame: &Frame, output: &mut Output) {
        if frame.header.is_response() {
            // Our pushes are one-way; nothing is owed to us.
            return;
        }
        let asker = Asker::of(&frame.header);
        let carried_out = if self.outstanding.is_full() {
            Err(Refusal::busy())
        } else {
            login::check(self, frame)
                .and_then(|()| Command::parse(frame).map_err(Refusal::from))
                .and_then(|command| handle::carry_out(self, now, asker, &command, frame, output))
        };
        if let Err(refusal) = carried_out {
            to_wire::put_refusal(output, asker, &refusal);
        }
    }

    /// Hands everything gathered to the broker.
    fn submit(&mut self, output: &Output) {
        self.close_batch();
        if !self.asks.is_empty() {
            self.session.submit(std::mem::take(&mut self.asks));
        }
        self.outstanding.count();
        self.output_bytes = output.len();
    }

    fn handle_reply(
        &mut self,
        now: Now,
        token: Token,
        result: Result<Reply, mailrail_broker::Error>,
        output: &mut Output,
    ) {
        match self.outstanding.take(token) {
            None | Some(Waiting::Nobody) => {}
            Some(Waiting::Topic(name)) => handle::send::topic_made(self, now, &name, result, output),
            Some(Waiting::Heartbeat { of }) => handle::heartbeat::went_on(self, of, result.err(), output),
            Some(Waiting::Published(replies)) => {
                if let Err(error) = result {
                    handle::send::refuse_all(&replies, error, output);
                }
            }
            Some(waiting) => handle::answer(self, waiting, result, output),
        }
    }

    fn handle_event(&mut self, now: Now, event: Event, output: &mut Output) {
        match event {
            Event::Published { token, results } => {
                if let Some(Waiting::Published(replies)) = self.outstanding.take(token) {
                    handle::send::published(self, &replies, results, output);
                }
            }
            Event::Reply { token, result } => self.handle_reply(now, token, result, output),
            Event::Read { token, result } => match self.outstanding.take(token) {
                Some(Waiting::Pull(pull)) => {
                    self.end_promise(pull.bytes_max);
                    handle::pull::read(self, now, token, pull, result, output);
                }
                Some(Waiting::Returned(returned)) => {
                    self.end_promise(handle::send_back::ASSUMED_BYTES);
                    handle::send_back::read(self, now, returned, result, output);
                }
                Some(Waiting::Viewed { asker, position }) => {
                    self.end_promise(handle::send_back::ASSUMED_BYTES);
                    handle::query::viewed(asker, position, result, output);
                }
                Some(Waiting::StoreTime { asker }) => handle::offsets::put_store_time(asker, result, output),
                _ => {}
            },
            Event::Found { token, result } => {
                if let Some(Waiting::Found { asker }) = self.outstanding.take(token) {
                    self.end_promise(handle::pull::ANSWER_BYTES_MAX);
                    handle::query::found(self, asker, result, output);
                }
            }
            Event::Readable { token } => {
                if let Some(Waiting::Pull(pull)) = self.outstanding.take(token) {
                    handle::pull::wake(self, now, token, pull, output);
                }
            }
            Event::Check(check) => handle::transaction::check(self, &check, output),
            Event::MembersChanged { group } => handle::members::notify(self, &group, output),
            // Leases are not handed out over remoting.
            Event::Deliveries { .. } | Event::ConsumerEnded { .. } => {}
        }
    }
}

impl Driven for Connection {
    fn handle_input(&mut self, now: Now, input: &mut BytesMut, output: &mut Output) {
        if !input.is_empty() {
            self.last_moved = now.mono;
        }
        self.input_bytes = input.len();
        while !self.closing && !self.is_full(output) {
            match decode(input) {
                Ok(Some(frame)) => self.handle_frame(now, &frame, output),
                Ok(None) => break,
                Err(error) => {
                    tracing::info!(peer = %self.peer, %error, "remoting connection closed: malformed frame");
                    input.clear();
                    self.closing = true;
                }
            }
        }
        self.submit(output);
    }

    fn handle_events(&mut self, now: Now, events: &mut Vec<Event>, output: &mut Output) {
        self.input_bytes = 0;
        for event in events.drain(..) {
            self.handle_event(now, event, output);
        }
        self.submit(output);
    }

    fn handle_deadline(&mut self, now: Now, output: &mut Output) {
        while let Some((token, waiting)) = self.outstanding.take_due(now.mono) {
            if let Waiting::Pull(pull) = waiting {
                handle::pull::end_hold(self, token, &pull, output);
            }
        }
        if now.mono >= self.last_moved + IDLE_SECONDS_MAX {
            tracing::debug!(peer = %self.peer, "remoting connection closed: idle");
            self.closing = true;
        }
        self.submit(output);
    }

    fn handle_written(&mut self, now: Now, output: &mut Output) {
        self.last_moved = now.mono;
        self.output_bytes = output.len();
    }

    fn deadline(&self) -> Option<Duration> {
        let idle = self.last_moved + IDLE_SECONDS_MAX;
        Some(self.outstanding.next_hold().map_or(idle, |hold| hold.min(idle)))
    }

    fn wants_input(&self) -> bool {
        !self.closing
            && self.parked_bytes < PARKED_BYTES_MAX
            && self.output_bytes + self.promised_bytes < OUTPUT_BYTES_MAX
    }

    fn handle_held_back(&mut self, now: Now) {
        self.last_moved = now.mono;
    }

    fn kept_bytes(&self) -> usize {
        self.parked_bytes
    }

    fn is_closing(&self) -> bool {
        self.closing
    }

    fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for (group, member) in &self.joined {
            self.config.registry.leave(self.session.id(), group, member);
        }
    }
}

#[cfg(test)]
mod tests;
