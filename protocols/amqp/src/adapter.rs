//! One AMQP connection between the gateway's driver and the broker: bytes through the state machine, its actions to
//! commands, events back into it.
//!
//! Knows no socket and no clock. What single requests do is in `handle`.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use mailrail_broker::connection::{Connection as Driven, Output};
use mailrail_broker::{Command, Error, Event, Now, Outcome, Receipt, Reply, Session, Topic};
use mailrail_message::BODY_BYTES_MAX;

use crate::channel::{ChannelKey, Confirm, Request, RequestId, Settlement};
use crate::codec::limits::{HELD_INPUT_BYTES_MAX, OUTPUT_BYTES_MAX, OUTSTANDING_BYTES_MAX};
use crate::codec::methods::BasicPublish;
use crate::codec::{Arguments, Outgoing, ReplyCode};
use crate::config::AmqpConfig;
use crate::congestion::Congestion;
use crate::connection::{Action, Config, Connection as Machine, Login, Step};
use crate::fault::Refusal;
use crate::handle;
use crate::outstanding::{Copy, Later, Outstanding, Waiting, What};
use crate::publisher::{Envelope, Into, Publisher, Taken};
use crate::to_wire::Room;
use crate::transaction::Transactions;

/// Name and password of the user that every AMQP client tries first; whoever may, while there are no users.
const GUEST: &str = "guest";
/// Reason given in `connection.blocked`.
const BLOCKED_REASON: &str = "publishes come faster than they are stored";

impl Outgoing for Output {
    fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        Output::append(self, write);
    }

    fn push(&mut self, bytes: bytes::Bytes) {
        Output::push(self, bytes);
    }
}

/// State of one client's connection.
pub struct Connection {
    pub(crate) session: Session,
    pub(crate) config: Arc<AmqpConfig>,
    pub(crate) machine: Machine<Receipt>,
    /// Submitted in one go when all input is handled.
    pub(crate) asks: Vec<Command>,
    pub(crate) outstanding: Outstanding,
    pub(crate) room: Room,
    /// Queues that end with this connection.
    pub(crate) owned: Vec<Arc<Topic>>,
    /// Queue names made so far, and what makes them unlike others'.
    pub(crate) names: u64,
    pub(crate) seed: u64,
    peer: SocketAddr,
    user: String,
    publisher: Publisher,
    pub(crate) transactions: Transactions,
    /// Runs of leases with the same outcome, in the order in which the client ended them.
    settles: Vec<(Outcome, Vec<Receipt>)>,
    /// Deliveries that the state machine would not take.
    releases: Vec<Receipt>,
    /// Requests that wait for publishes to be stored, oldest first.
    later: VecDeque<Later>,
    /// Input that waits for an answer of the broker.
    held: BytesMut,
    is_waiting: bool,
    /// What waited to be written at the end of the last turn.
    output_bytes: usize,
    congestion: Congestion,
}

/// What an action leads to, once nothing is borrowed any more.
enum Then {
    Nothing,
    Login(Login),
    OpenVhost(String),
    Request(RequestId, Request<Receipt>),
    Unroutable(ChannelKey, Option<u64>, Option<Copy>),
    Refuse(ChannelKey, Refusal),
    Close,
}

impl Connection {
    /// `peer` is the client's address, behind any proxy.
    pub fn new(session: Session, config: Arc<AmqpConfig>, peer: SocketAddr, now: Now) -> Connection {
        let seed = RandomState::new().build_hasher().finish();
        let body_bytes_max = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX);
        let offers = Config::new(body_bytes_max, config.cluster_name.clone(), seed);
        Connection {
            session,
            config,
            machine: Machine::new(offers, now.mono),
            asks: Vec::new(),
            outstanding: Outstanding::default(),
            room: Room::default(),
            owned: Vec::new(),
            names: 0,
            seed,
            peer,
            user: String::new(),
            publisher: Publisher::default(),
            transactions: Transactions::default(),
            settles: Vec::new(),
            releases: Vec::new(),
            later: VecDeque::new(),
            held: BytesMut::new(),
            is_waiting: false,
            output_bytes: 0,
            congestion: Congestion::default(),
        }
    }

    /// Handles all complete frames of `input`, as far as none has to wait.
    fn run(&mut self, now: Now, input: &mut BytesMut, output: &mut Output) {
        let mut used = 0;
        self.is_waiting = false;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let (bytes, then) = match self.machine.read(now.mono, rest, output) {
                Step::Incomplete => break,
                Step::Waiting => {
                    self.is_waiting = true;
                    break;
                }
                Step::Consumed { bytes, action: None } => (bytes, Then::Nothing),
                Step::Consumed { bytes, action: Some(Action::Publish(publish)) } => {
                    let envelope = Envelope {
                        directory: self.session.broker().directory(),
                        user: &self.user,
                        now,
                        peer: self.peer,
                        advertised: self.config.advertised,
                        input_bytes: rest.len(),
                    };
                    let into = match publish.in_transaction {
                        true => Into::Transaction(&mut self.transactions),
                        false => Into::Batch(&mut self.asks, &mut self.outstanding),
                    };
                    let then = match self.publisher.take(&publish, &envelope, into) {
                        Taken::Batched => Then::Nothing,
                        Taken::Unroutable => {
                            let copy = publish.mandatory.then(|| Copy::of(&publish));
                            Then::Unroutable(publish.channel, publish.sequence, copy)
                        }
                        Taken::Refused(refusal) => Then::Refuse(publish.channel, refusal),
                    };
                    (bytes, then)
                }
                Step::Consumed { bytes, action: Some(Action::Settle { leases, settlement }) } => {
                    settle(&mut self.settles, outcome(settlement), leases);
                    (bytes, Then::Nothing)
                }
                Step::Consumed { bytes, action: Some(Action::Login(login)) } => (bytes, Then::Login(login)),
                Step::Consumed { bytes, action: Some(Action::OpenVhost(vhost)) } => {
                    (bytes, Then::OpenVhost(vhost))
                }
                Step::Consumed { bytes, action: Some(Action::Request { id, request }) } => {
                    (bytes, Then::Request(id, request))
                }
                Step::Consumed { bytes, action: Some(Action::Close) } => (bytes, Then::Close),
            };
            used += bytes;
            self.go_on(then, output);
        }
        input.advance(used);
    }

    fn go_on(&mut self, then: Then, output: &mut Output) {
        match then {
            Then::Nothing => {}
            Then::Login(login) => self.login(login, output),
            Then::OpenVhost(vhost) => handle::close::open_vhost(self, &vhost, output),
            Then::Request(id, request) if request.looks_at_queues() => {
                self.after_publishes(What::Request(id, request), output);
            }
            Then::Request(id, request) => {
                self.flush_work();
                handle::carry_out(self, id, request, output);
            }
            Then::Unroutable(channel, sequence, copy) => {
                handle::publish::unroutable(self, channel, sequence, copy.as_ref(), output);
            }
            Then::Refuse(channel, refusal) => {
                self.flush_work();
                self.machine.refuse(channel, BasicPublish::ID, refusal, output);
            }
            Then::Close => self.after_publishes(What::Close, output),
        }
        handle::close::ended(self);
    }

    /// Does something once everything published before can be seen: a client that publishes and gets on one connection
    /// expects its message, confirmed or not.
    fn after_publishes(&mut self, what: What, output: &mut Output) {
        self.flush_work();
        match self.outstanding.last_batch() {
            Some(after) => self.later.push_back(Later { after, what }),
            None => self.carry_out(what, output),
        }
    }

    fn carry_out_later(&mut self, output: &mut Output) {
        while let Some(later) = self.later.front()
            && !self.outstanding.has_batch_up_to(later.after)
            && let Some(later) = self.later.pop_front()
        {
            self.carry_out(later.what, output);
        }
    }

    fn carry_out(&mut self, what: What, output: &mut Output) {
        self.flush_work();
        match what {
            What::Request(id, request) => handle::carry_out(self, id, request, output),
            What::Close => handle::close::connection(self, output),
        }
    }

    /// Has a password checked. Without users there is the one that every client tries first.
    fn login(&mut self, login: Login, output: &mut Output) {
        let Login { user, password } = login;
        let name = &self.machine.client().connection_name;
        if let Some(client) = self.session.client().filter(|_| !name.is_empty()) {
            client.set_name(name);
        }
        self.user = user;
        if self.session.broker().directory().access().is_open() {
            let is_guest = self.user == GUEST && password == GUEST.as_bytes();
            let result = if is_guest { Ok(()) } else { Err(self.login_refused()) };
            return self.machine.login(result, output);
        }
        // No user has a password that is not UTF-8.
        let Ok(password) = std::str::from_utf8(&password) else {
            let refusal = self.login_refused();
            return self.machine.login(Err(refusal), output);
        };
        let token = self.outstanding.add(Waiting::Login);
        self.session.log_in(token, &self.user, password, self.peer.ip());
    }

    fn login_refused(&self) -> Refusal {
        tracing::info!(peer = %self.peer, user = %self.user, "AMQP login refused");
        Refusal::new(ReplyCode::AccessRefused, format!("login refused for user '{}'", self.user))
    }

    /// Somebody's password was checked.
    pub(crate) fn logged_in(&mut self, result: Result<Reply, Error>, output: &mut Output) {
        let result = match result {
            Ok(Reply::LoggedIn(identity)) => {
                self.session.identify(identity);
                Ok(())
            }
            Err(error @ Error::Busy { .. }) => Err(crate::to_wire::refusal(&error)),
            Ok(_) | Err(_) => Err(self.login_refused()),
        };
        self.machine.login(result, output);
    }

    /// Puts gathered publishes and settlements in front of what is asked next.
    pub(crate) fn flush_work(&mut self) {
        self.publisher.finish(&mut self.asks, &mut self.outstanding);
        for (outcome, receipts) in self.settles.drain(..) {
            self.asks.push(Command::Settle { token: None, receipts, outcome });
        }
    }

    /// Leases of one run behind those that came before.
    pub(crate) fn settle(&mut self, outcome: Outcome, receipts: &[Receipt]) {
        settle(&mut self.settles, outcome, receipts);
    }

    /// Gives a delivery back that nobody has seen.
    pub(crate) fn release(&mut self, receipt: Receipt) {
        self.releases.push(receipt);
    }

    /// Notes the end of a publish.
    pub(crate) fn confirm(&mut self, channel: ChannelKey, sequence: Option<u64>, confirm: Confirm) {
        if let Some(sequence) = sequence {
            self.machine.confirm(channel, sequence, confirm);
        }
    }

    /// Ends a turn: everything gathered goes to the broker at once.
    fn finish_turn(&mut self, now: Now, output_before: usize, output: &mut Output) {
        handle::close::ended(self);
        if !self.releases.is_empty() {
            let releases = std::mem::take(&mut self.releases);
            self.settle(Outcome::Release, &releases);
        }
        self.flush_work();
        let asks = &mut self.asks;
        self.machine.flush(output.len(), output, |consumer, add| {
            asks.push(Command::Credit { consumer: handle::consume::consumer_id(consumer), add });
        });
        if !self.asks.is_empty() {
            self.session.submit(std::mem::take(&mut self.asks));
        }
        let is_told = self.congestion.note(now.mono, self.is_held_back());
        self.machine.set_blocked(is_told.then_some(BLOCKED_REASON), output);
        if output.len() > output_before {
            self.machine.note_sent(now.mono);
        }
        self.output_bytes = output.len();
        let reading = self.wants_input();
        self.machine.set_reading(now.mono, reading);
    }

    /// Only who publishes is held back by a broker that cannot keep up: what a consumer says makes room.
    fn is_held_back(&self) -> bool {
        self.machine.has_published() && self.session.is_congested()
    }

    /// Goes on with input that waited, if it need not wait any more.
    fn resume(&mut self, now: Now, output: &mut Output) {
        if self.is_waiting || !self.held.is_empty() {
            let mut held = std::mem::take(&mut self.held);
            self.run(now, &mut held, output);
            self.held = held;
        }
    }
}

impl Driven for Connection {
    fn handle_input(&mut self, now: Now, input: &mut BytesMut, output: &mut Output) {
        let before = output.len();
        self.machine.note_received(now.mono);
        if self.held.is_empty() {
            self.run(now, input, output);
            if self.is_waiting {
                self.held = input.split();
            }
        } else {
            // Cheap while both are parts of one buffer, as they are unless the driver took a new one.
            self.held.unsplit(input.split());
            self.resume(now, output);
        }
        self.finish_turn(now, before, output);
    }

    fn handle_events(&mut self, now: Now, events: &mut Vec<Event>, output: &mut Output) {
        let before = output.len();
        for event in events.drain(..) {
            handle::event(self, event, output);
            handle::close::ended(self);
        }
        self.carry_out_later(output);
        self.resume(now, output);
        self.finish_turn(now, before, output);
    }

    fn handle_deadline(&mut self, now: Now, output: &mut Output) {
        let before = output.len();
        let reading = self.wants_input();
        self.machine.set_reading(now.mono, reading);
        self.machine.handle_deadline(now.mono, output);
        self.finish_turn(now, before, output);
    }

    fn handle_written(&mut self, now: Now, output: &mut Output) {
        self.machine.note_sent(now.mono);
        self.finish_turn(now, output.len(), output);
    }

    fn handle_shutdown(&mut self, now: Now, output: &mut Output) {
        let stop = Refusal::new(
            ReplyCode::ConnectionForced,
            "broker forced connection closure with reason 'shutdown'",
        );
        self.machine.shutdown(now.mono, stop, output);
    }

    fn deadline(&self) -> Option<Duration> {
        self.machine.deadline().into_iter().chain(self.congestion.deadline()).min()
    }

    /// True while acknowledgements and heartbeats can get in without anything growing that has no end.
    fn wants_input(&self) -> bool {
        self.held.len() <= HELD_INPUT_BYTES_MAX
            && self.output_bytes <= OUTPUT_BYTES_MAX
            && self.outstanding.bytes() <= OUTSTANDING_BYTES_MAX
            && !self.is_held_back()
    }

    fn handle_held_back(&mut self, now: Now) {
        self.machine.note_received(now.mono);
    }

    fn kept_bytes(&self) -> usize {
        let kept = self.outstanding.bytes() + self.transactions.bytes();
        self.held.len() + kept + self.machine.assembled_bytes()
    }

    fn is_amid_message(&self) -> bool {
        self.machine.assembled_bytes() > 0
    }

    fn is_closing(&self) -> bool {
        self.machine.is_closing()
    }

    fn session(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(fault) = self.machine.fault() {
            let client = self.machine.client();
            let (name, product) = (&client.connection_name, &client.product);
            tracing::info!(peer = %self.peer, name, product, %fault, "AMQP connection ended");
        }
    }
}

pub(crate) fn outcome(settlement: Settlement) -> Outcome {
    match settlement {
        Settlement::Ack => Outcome::Ack,
        Settlement::Requeue => handle::REQUEUE,
        Settlement::Reject => Outcome::Reject,
    }
}

fn settle(settles: &mut Vec<(Outcome, Vec<Receipt>)>, outcome: Outcome, receipts: &[Receipt]) {
    match settles.last_mut() {
        Some((last, gathered)) if *last == outcome => gathered.extend_from_slice(receipts),
        _ => settles.push((outcome, receipts.to_vec())),
    }
}
