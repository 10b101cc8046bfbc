//! One client's line to the broker: commands in, events out. Dropping it ends everything the client owned: leases go
//! back, locks and exclusive topics are released.

mod mailbox;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use crate::access::{Action, Identity, Resource};
use crate::broker::Broker;
use crate::command::{Command, Outcome, Receipt};
use crate::error::Error;
use crate::event::{Delivery, Event, Recipient};
use crate::ids::*;
use crate::limits::CONNECTION_FREE_BYTES;
use crate::lookup::FindRequest;
use crate::queue::Queue;
use crate::read::{ReadBatch, ReadRequest};
use crate::share::Held;
use crate::statistics::Client;

pub(crate) use self::mailbox::{Grant, Letter, Mailbox};

/// A client's session. Not shared: one task owns it.
#[derive(Debug)]
pub struct Session {
    broker: Broker,
    mailbox: Arc<Mailbox>,
    /// The reader pool has grants of this session; letters that must not overtake them wait.
    is_fetching: bool,
    deferred: VecDeque<Letter>,
    /// Messages that were read for it and are not written yet.
    held: Held,
    /// Its place among those who wait until fewer publishes are in flight.
    publishes: Held,
    /// Reads that wait until fewer such messages are there.
    reads: VecDeque<(Token, Wanted)>,
    /// Who it acts for.
    identity: Arc<Identity>,
    /// The shard has been told.
    is_known: bool,
    /// The connection that it belongs to, if somebody entered that.
    client: Option<Arc<Client>>,
}

/// What a read asks for.
#[derive(Debug)]
enum Wanted {
    Entries(ReadRequest),
    Position(u64),
    Found(FindRequest),
}

impl Session {
    pub(crate) fn new(broker: Broker, mailbox: Arc<Mailbox>) -> Self {
        let held = Held::new(broker.deliveries().clone(), 0);
        let publishes = Held::new(broker.in_flight().clone(), 0);
        let (deferred, reads) = (VecDeque::new(), VecDeque::new());
        let identity = mailbox.identity().clone();
        Session {
            broker,
            mailbox,
            is_fetching: false,
            deferred,
            held,
            publishes,
            reads,
            identity,
            is_known: true,
            client: None,
        }
    }

    /// Who the session acts for.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// From here on the session acts for somebody else: what was submitted before is still the former's.
    pub fn identify(&mut self, identity: Arc<Identity>) {
        if !Arc::ptr_eq(&self.identity, &identity) {
            self.identity = identity;
            self.is_known = false;
            self.name_user();
        }
    }

    /// What it sends and gets is counted for a client from now on.
    pub fn count_for(&mut self, client: Option<Arc<Client>>) {
        self.mailbox.belong_to(client.clone());
        self.client = client;
        self.name_user();
    }

    /// The client that its messages are counted for.
    pub fn client(&self) -> Option<&Arc<Client>> {
        self.client.as_ref()
    }

    fn name_user(&self) {
        if let Some(client) = &self.client {
            client.set_user(self.identity.name());
        }
    }

    /// Counts what a client publishes with these commands.
    fn count_received(&self, commands: &[Command]) {
        let Some(client) = &self.client else { return };
        let (messages, bytes) = commands
            .iter()
            .filter_map(Command::batch)
            .fold((0, 0), |(messages, bytes), batch| (messages + batch.len(), bytes + batch.bytes()));
        if messages > 0 {
            client.received(self.broker.now().mono, wide(messages), wide(bytes));
        }
    }

    /// Counts the messages that come with events.
    fn count_sent(&self, events: &[Event]) {
        let messages = events.iter().map(Event::messages).sum();
        let bytes = || events.iter().map(Event::message_bytes).sum();
        self.count_sent_messages(messages, bytes);
    }

    fn count_sent_messages(&self, messages: usize, bytes: impl FnOnce() -> usize) {
        if let Some(client) = self.client.as_ref().filter(|_| messages > 0) {
            client.sent(self.broker.now().mono, wide(messages), wide(bytes()));
        }
    }

    /// Checks a user's password; the answer is [`crate::Reply::LoggedIn`], to be given to [`Session::identify`], or
    /// [`Error::Login`]. It takes a tenth of a second where nobody has said the same before.
    pub fn log_in(&mut self, token: Token, name: &str, password: &str, from: IpAddr) {
        self.broker.log_in(&self.mailbox, token, name, password, from);
    }

    /// Whether it may do something that the broker is not asked for, such as showing a topic.
    pub fn check(&self, action: Action, resource: Resource<'_>) -> Result<(), Error> {
        self.broker.directory().check(&self.identity, action, resource, None).map_err(Error::Denied)
    }

    pub fn id(&self) -> SessionId {
        self.mailbox.session
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Hands commands to the shard, all in one go. Answers come as events.
    pub fn submit(&mut self, mut commands: Vec<Command>) {
        if !commands.is_empty() {
            self.count_received(&commands);
            if !std::mem::replace(&mut self.is_known, true) {
                commands.insert(0, Command::Identify { identity: self.identity.clone() });
            }
            self.broker.submit(&self.mailbox, commands);
        }
    }

    /// As [`Session::submit`], for what a protocol itself needs, whoever the client is: never for what a client names.
    pub fn submit_as_broker(&mut self, mut commands: Vec<Command>) {
        commands.insert(0, Command::Identify { identity: Arc::new(Identity::broker()) });
        commands.push(Command::Identify { identity: self.identity.clone() });
        self.is_known = true;
        self.broker.submit(&self.mailbox, commands);
    }

    /// Moves all events that are there to `events`; pending when there is none.
    pub fn poll_events(&mut self, context: &mut Context<'_>, events: &mut Vec<Event>) -> Poll<()> {
        let before = events.len();
        // Letters may all be deferred; only an empty mailbox has taken the waker.
        loop {
            self.go_on_waiting(context, events);
            if !events.is_empty() {
                self.count_sent(events.get(before..).unwrap_or_default());
                return Poll::Ready(());
            }
            let letters = self.mailbox.take(Some(context));
            if letters.is_empty() {
                return Poll::Pending;
            }
            self.sort(letters, events);
        }
    }

    /// Carries out what had to wait until fewer messages are there, as far as it may now; else it is woken then.
    fn go_on_waiting(&mut self, context: &mut Context<'_>, events: &mut Vec<Event>) {
        while self.is_waiting() && self.held.poll_eased(context).is_ready() {
            match self.reads.pop_front() {
                Some((token, wanted)) => {
                    let at_once = self.carry_out(token, wanted);
                    events.extend(at_once.map(|result| Event::Read { token, result }));
                }
                None => self.drain_deferred(events),
            }
        }
    }

    /// True while something waits for the share of deliveries alone.
    fn is_waiting(&self) -> bool {
        !self.reads.is_empty() || (!self.deferred.is_empty() && !self.is_fetching)
    }

    /// Waits until there is at least one event.
    pub async fn next_events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        std::future::poll_fn(|context| self.poll_events(context, &mut events)).await;
        events
    }

    /// Moves the events that are there to `events` without waiting.
    pub fn take_events(&mut self, events: &mut Vec<Event>) {
        let (letters, before) = (self.mailbox.take(None), events.len());
        self.sort(letters, events);
        self.count_sent(events.get(before..).unwrap_or_default());
    }

    /// Reads entries. What lies in memory is returned at once; else `None`, and [`Event::Read`] follows. It waits while
    /// too many messages are on their way to clients, and brings no more than is good for the others.
    pub fn read(&mut self, token: Token, mut request: ReadRequest) -> Option<Result<ReadBatch, Error>> {
        request.max_bytes = request.max_bytes.min(self.broker.delivery_step_bytes_max());
        let read = self.carry_out_in_turn(token, Wanted::Entries(request));
        if let Some(Ok(batch)) = &read {
            self.count_sent_messages(batch.entries.len(), || batch.message_bytes());
        }
        read
    }

    /// Reads the message at a log position, if it is one; the answer is [`Event::Read`] with one entry.
    pub fn read_position(&mut self, token: Token, position: u64) {
        self.carry_out_in_turn(token, Wanted::Position(position));
    }

    /// Finds messages by key, the newest first; the answer is [`Event::Found`].
    pub fn find(&mut self, token: Token, mut request: FindRequest) {
        request.max_bytes = request.max_bytes.min(self.broker.delivery_step_bytes_max());
        self.carry_out_in_turn(token, Wanted::Found(request));
    }

    fn carry_out_in_turn(&mut self, token: Token, wanted: Wanted) -> Option<Result<ReadBatch, Error>> {
        let denied = match &wanted {
            Wanted::Entries(request) => {
                self.check(Action::Consume, Resource::topic(&request.queue.topic)).err()
            }
            Wanted::Found(request) => self.check(Action::Consume, Resource::topic(&request.topic.name)).err(),
            // Of which topic it is shows when it is read.
            Wanted::Position(_) => None,
        };
        match (denied, &wanted) {
            (Some(denied), Wanted::Found(_)) => {
                let event = Event::Found { token, result: Err(denied) };
                self.mailbox.put([Letter::Event(event)]);
                return None;
            }
            (Some(denied), _) => return Some(Err(denied)),
            (None, _) => {}
        }
        if !self.reads.is_empty() || self.held.share().is_used_up() {
            self.reads.push_back((token, wanted));
            return None;
        }
        self.carry_out(token, wanted)
    }

    fn carry_out(&mut self, token: Token, wanted: Wanted) -> Option<Result<ReadBatch, Error>> {
        match wanted {
            Wanted::Entries(request) => {
                // The mailbox knows whom the last commands were for, which a read is none of.
                let by = (self.identity.clone(), self.client.clone());
                let result = self.broker.read(&self.mailbox, token, request, by);
                if let Some(Ok(batch)) = &result {
                    self.hold_more(batch.message_bytes());
                }
                return result;
            }
            Wanted::Position(position) => {
                self.broker.read_position(&self.mailbox, token, position, self.identity.clone());
            }
            Wanted::Found(request) => self.broker.find(&self.mailbox, token, request),
        }
        None
    }

    fn hold_more(&mut self, bytes: usize) {
        self.held.set(self.held.bytes().saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)));
    }

    /// Says how many bytes of what came with events and reads are still kept: to be called once they were looked at,
    /// since all of them count until then.
    pub fn keep_held(&mut self, bytes: usize) {
        let beyond = bytes.saturating_sub(CONNECTION_FREE_BYTES);
        self.held.set(u64::try_from(beyond).unwrap_or(u64::MAX));
    }

    /// Bytes that count as kept.
    pub fn held_bytes(&self) -> u64 {
        self.held.bytes()
    }

    /// First offset stored at or after `time_ms`; the answer is [`crate::Reply::Offsets`] with one offset (the end
    /// where there is none).
    pub fn offset_at(&mut self, token: Token, queue: &Arc<Queue>, time_ms: u64) {
        if let Err(error) = self.check(Action::Describe, Resource::topic(&queue.topic)) {
            return self.mailbox.put([Letter::Event(Event::Reply { token, result: Err(error) })]);
        }
        self.broker.offset_at(&self.mailbox, token, queue.clone(), time_ms);
    }

    /// [`Event::Readable`] follows once the queue has an entry at `offset` or beyond: at once if it has one now.
    pub fn wait(&mut self, token: Token, queue: &Arc<Queue>, offset: u64) {
        queue.wait(&self.mailbox, token, offset);
    }

    /// Takes a wait back. An event already under way may still arrive.
    pub fn stop_waiting(&mut self, token: Token, queue: &Queue) {
        queue.stop_waiting(self.mailbox.session, token);
    }

    /// True while so much work waits in the shard that publishes should be refused or held back.
    pub fn is_congested(&self) -> bool {
        self.publishes.share().is_used_up()
    }

    /// Ready when the broker takes publishes again; to be awaited by a connection that held back.
    pub fn poll_uncongested(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.publishes.poll_eased(context)
    }

    fn sort(&mut self, letters: Vec<Letter>, events: &mut Vec<Event>) {
        for letter in letters {
            match letter {
                Letter::Fetched { to, deliveries, unread, rest, held } => {
                    self.is_fetching = false;
                    self.held.absorb(held);
                    events.push(Event::Deliveries { to, deliveries });
                    if let Recipient::Consumer(consumer) = to
                        && unread > 0
                    {
                        // It still expects as many.
                        self.submit(vec![Command::Credit { consumer, add: unread }]);
                    }
                    self.go_on(to, rest);
                    self.drain_deferred(events);
                }
                Letter::Event(event @ Event::Published { .. }) => events.push(event),
                // What came before it waits.
                letter if self.is_fetching || !self.deferred.is_empty() => self.deferred.push_back(letter),
                letter => {
                    self.deferred.push_back(letter);
                    self.drain_deferred(events);
                }
            }
        }
    }

    /// Opens what was deferred, up to something that must wait.
    fn drain_deferred(&mut self, events: &mut Vec<Event>) {
        while !self.is_fetching
            && !self.must_wait()
            && let Some(letter) = self.deferred.pop_front()
        {
            self.open(letter, events);
        }
    }

    /// True where messages come next and too many are on their way already.
    fn must_wait(&self) -> bool {
        matches!(self.deferred.front(), Some(Letter::Granted { .. })) && self.held.share().is_used_up()
    }

    /// Turns a letter into an event, or has its messages read when they must come from disk.
    fn open(&mut self, letter: Letter, events: &mut Vec<Event>) {
        match letter {
            Letter::Event(event) => events.push(event),
            Letter::Brought { event, held } => {
                self.held.absorb(held);
                events.push(event);
            }
            Letter::Fetched { to, deliveries, held, .. } => {
                self.held.absorb(held);
                events.push(Event::Deliveries { to, deliveries });
            }
            Letter::Granted { to, grants } => match self.broker.deliveries_in_memory(&grants) {
                Some(deliveries) => {
                    self.hold_more(Delivery::bytes_of(&deliveries));
                    events.push(Event::Deliveries { to, deliveries });
                }
                None => self.fetch(to, grants),
            },
        }
    }

    /// What one read had no room for: a consumer gets it next, an answer ends without it.
    fn go_on(&mut self, to: Recipient, rest: Vec<Grant>) {
        match to {
            _ if rest.is_empty() => {}
            Recipient::Consumer(_) => self.deferred.push_front(Letter::Granted { to, grants: rest }),
            Recipient::Request(_) => self.release(rest.iter().flat_map(Grant::receipts).collect()),
        }
    }

    fn fetch(&mut self, to: Recipient, grants: Vec<Grant>) {
        self.broker.fetch(&self.mailbox, to, grants);
        self.is_fetching = true;
    }

    /// Gives back what was handed out and not looked at.
    pub fn release(&mut self, receipts: Vec<Receipt>) {
        self.submit(vec![Command::Settle { token: None, receipts, outcome: Outcome::Release }]);
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Drop for Session {
    fn drop(&mut self) {
        self.mailbox.closed.store(true, Ordering::Release);
        self.broker.disconnect(&self.mailbox);
    }
}
