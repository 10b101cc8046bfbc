//! The state machine of one connection: handshake, channels, heartbeats, and close in both directions.
//!
//! Bytes and `now` go in; actions, bytes and the next deadline come out. It owns no socket, reads no clock and knows no
//! broker: [`Action`] says what is wanted, and the methods that take answers say what became of it.

mod handshake;
mod heartbeat;
mod login;
mod peer;
mod table;
mod time;

use std::collections::VecDeque;
use std::time::Duration;

pub use login::Login;
pub use peer::{Capabilities, Client};

use crate::channel::{
    Answer, Answered, ChannelEnd, ChannelKey, Confirm, ConsumerKey, Handled, Late, Message, Publish, Request,
    RequestId, Settlement, Terms, misplaced, unreadable,
};
use crate::codec::frame::{self, Frame, FrameKind, FrameLimits};
use crate::codec::limits::*;
use crate::codec::methods::*;
use crate::codec::{Arguments, Method, MethodId, Outgoing, ReplyCode, Scope, writer};
use crate::fault::{Fault, Refusal};
use heartbeat::Heartbeat;
use table::Channels;

/// What the server offers a client.
#[derive(Clone, Debug)]
pub struct Config {
    pub channel_count_max: u16,
    pub frame_bytes_max: u32,
    pub heartbeat_seconds: u16,
    /// Longest body of a message, whatever its frames.
    pub body_bytes_max: u64,
    pub cluster_name: String,
    /// Unlike that of every other connection; part of consumer tags that the server makes.
    pub tag_seed: u64,
}

impl Config {
    /// The usual offers.
    pub fn new(body_bytes_max: u64, cluster_name: impl Into<String>, tag_seed: u64) -> Self {
        Config {
            channel_count_max: CHANNEL_COUNT_MAX,
            frame_bytes_max: FRAME_BYTES_MAX,
            heartbeat_seconds: HEARTBEAT_SECONDS,
            body_bytes_max,
            cluster_name: cluster_name.into(),
            tag_seed,
        }
    }
}

/// What one call of [`Connection::read`] did.
#[derive(Debug, PartialEq)]
pub enum Step<'a, L> {
    /// There is only half a frame.
    Incomplete,
    /// The next frame may not be handled before an answer comes that was asked for.
    Waiting,
    /// So many bytes are done with.
    Consumed { bytes: usize, action: Option<Action<'a, L>> },
}

/// What the client wants.
#[derive(Debug, PartialEq)]
pub enum Action<'a, L> {
    /// Answered with [`Connection::login`].
    Login(Login),
    /// Answered with [`Connection::open`].
    OpenVhost(String),
    /// Answered with [`Connection::answer`].
    Request { id: RequestId, request: Request<L> },
    /// Answered with [`Connection::confirm`] if it has a sequence, and with [`Connection::refuse`] if it is an error.
    Publish(Publish<'a>),
    /// Needs no answer.
    Settle { leases: &'a [L], settlement: Settlement },
    /// Everything the client owns is to be undone, then [`Connection::closed`] called. Its channels have ended.
    Close,
}

/// Where the connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for the protocol header.
    Header,
    /// Waits for connection.start-ok.
    Start,
    /// Login is asked for.
    LoggingIn,
    /// Waits for connection.tune-ok.
    Tune,
    /// Waits for connection.open.
    Open,
    /// The vhost is asked for.
    Opening,
    Running,
    /// A login was refused; the socket is dropped a little later, without a word.
    Refused,
    /// The client has closed; what it owned is being undone.
    Finishing,
    /// The server has closed and waits for close-ok; only that and the client's own close count.
    Closing,
    /// The server has closed, and what comes is no frames any more: it is swallowed, so that the client reads the close
    /// instead of a reset.
    Deaf,
    /// Nothing is read or written any more.
    Closed,
}

/// One connection. `L` is whatever names a lease to the broker's side.
#[derive(Debug)]
pub struct Connection<L> {
    state: State,
    config: Config,
    terms: Terms,
    limits: FrameLimits,
    client: Client,
    channels: Channels<L>,
    channel_count_max: u16,
    heartbeat: Heartbeat,
    /// End of the handshake, of the wait for close-ok, or of a refused login.
    until: Option<Duration>,
    now: Duration,
    ended: VecDeque<ChannelEnd<L>>,
    is_blocked: bool,
    /// What the connection died of, for logs.
    fault: Option<Fault>,
}

/// What a frame led to, without borrowing from it.
enum Todo<L> {
    Nothing,
    Login(Login),
    OpenVhost(String),
    Channel(u16, Handled<L>),
    Close,
}

impl<L> Connection<L> {
    pub fn new(config: Config, now: Duration) -> Self {
        let terms = Terms {
            frame_bytes_max: config.frame_bytes_max,
            body_bytes_max: config.body_bytes_max,
            cancel_notify: false,
            tag_seed: config.tag_seed,
            consumers: 0,
            has_published: false,
        };
        Connection {
            state: State::Header,
            channel_count_max: config.channel_count_max,
            config,
            terms,
            limits: FrameLimits::HANDSHAKE,
            client: Client::default(),
            channels: Channels::default(),
            heartbeat: Heartbeat::off(),
            until: Some(now + Duration::from_secs(HANDSHAKE_SECONDS_MAX)),
            now,
            ended: VecDeque::new(),
            is_blocked: false,
            fault: None,
        }
    }

    /// Handles the first frame of `input`, if it is complete and its turn has come.
    pub fn read<'a>(&'a mut self, now: Duration, input: &'a [u8], out: &mut impl Outgoing) -> Step<'a, L> {
        self.now = now;
        let (bytes, todo) = match self.state {
            State::Closed | State::Refused | State::Deaf => (input.len(), Todo::Nothing),
            State::LoggingIn | State::Opening | State::Finishing => return Step::Waiting,
            State::Header => match self.read_header(input, out) {
                Some(bytes) => (bytes, Todo::Nothing),
                None => return Step::Incomplete,
            },
            _ => match frame::decode(input, &self.limits) {
                Ok(None) => return Step::Incomplete,
                Ok(Some(frame)) if self.channels.is_waiting(frame.channel) => return Step::Waiting,
                Ok(Some(frame)) => (frame.bytes(), self.handle(frame, out)),
                Err(error) => {
                    let fault = Fault::new(ReplyCode::FrameError, MethodId::NONE, error.to_string());
                    self.die_of_bytes(fault, out);
                    (input.len(), Todo::Nothing)
                }
            },
        };
        if bytes == 0 {
            return Step::Incomplete;
        }
        Step::Consumed { bytes, action: self.action(todo, input.get(..bytes).unwrap_or_default()) }
    }

    /// The answer to [`Action::Login`].
    pub fn login(&mut self, result: Result<(), Refusal>, out: &mut impl Outgoing) {
        if self.state == State::LoggingIn {
            self.finish_login(result, out);
        }
    }

    /// The answer to [`Action::OpenVhost`].
    pub fn open(&mut self, result: Result<(), Refusal>, out: &mut impl Outgoing) {
        if self.state == State::Opening {
            self.finish_open(result, out);
        }
    }

    /// The answer to [`Action::Request`]. An answer whose channel is gone is given back.
    pub fn answer<'a>(
        &mut self,
        id: RequestId,
        result: Result<Answer<'a, L>, Refusal>,
        out: &mut impl Outgoing,
    ) -> Result<(), Late<'a, L>> {
        let Some(channel) = self.channels.by_key(id.channel) else { return Err(Late(result)) };
        match channel.answer(id, result, &self.terms, out)? {
            Answered::Done => self.channels.touch(id.channel.number),
            Answered::Closed => {
                // The client uses the number again as soon as it has read close-ok.
                self.channels.remove(id.channel.number);
                writer::method(out, id.channel.number, &ChannelCloseOk);
            }
            Answered::Fault(fault) => self.fail(id.channel.number, fault, out),
        }
        Ok(())
    }

    /// Writes a message for a consumer. `Err` gives the lease back: it is to be released. `Ok` gives it back when the
    /// consumer does not acknowledge: it is to be settled.
    pub fn deliver(
        &mut self,
        consumer: ConsumerKey,
        lease: L,
        message: Message<'_>,
        out: &mut impl Outgoing,
    ) -> Result<Option<L>, L> {
        let number = consumer.channel();
        let Some(channel) = self.channels.get(number) else { return Err(lease) };
        let result = channel.deliver(consumer, lease, message, &self.terms, out);
        self.channels.touch(number);
        result
    }

    /// Ends a consumer whose queue is gone, and tells the client if it can be told.
    pub fn cancel_consumer(&mut self, consumer: ConsumerKey, out: &mut impl Outgoing) {
        if let Some(channel) = self.channels.get(consumer.channel()) {
            channel.cancel(consumer, &self.terms, out);
        }
    }

    /// Writes a mandatory message back that found no queue. To be called before its confirm.
    pub fn give_back(&mut self, channel: ChannelKey, message: &Message<'_>, out: &mut impl Outgoing) {
        if let Some(channel) = self.channels.by_key(channel) {
            channel.give_back(ReplyCode::NoRoute, message, &self.terms, out);
        }
    }

    /// Notes the end of a publish; the client hears of it at the next [`Connection::flush`].
    pub fn confirm(&mut self, channel: ChannelKey, sequence: u64, confirm: Confirm) {
        if let Some(found) = self.channels.by_key(channel) {
            found.confirm(sequence, confirm);
            self.channels.touch(channel.number);
        }
    }

    /// Closes a channel, or the connection, because of something that has no request: a publish that is an error.
    pub fn refuse(
        &mut self,
        channel: ChannelKey,
        method: MethodId,
        refusal: Refusal,
        out: &mut impl Outgoing,
    ) {
        if self.channels.by_key(channel).is_some() {
            self.fail(channel.number, refusal.of(method), out);
        }
    }

    /// Ends a batch: writes the confirms that have gathered, and gives `each` consumer the credit it lacks, unless
    /// `waiting_bytes` of output say that the client does not keep up.
    pub fn flush(
        &mut self,
        waiting_bytes: usize,
        out: &mut impl Outgoing,
        mut each: impl FnMut(ConsumerKey, u32),
    ) {
        self.channels.forget_bodies();
        let may_refill = waiting_bytes <= OUTPUT_WAITING_BYTES_MAX && self.state == State::Running;
        self.channels.visit_touched(|channel| {
            channel.flush_confirms(out);
            if may_refill {
                channel.refill(&mut each);
            }
            may_refill
        });
    }

    /// Channels that have ended without the client having asked: to be polled after every call that may close one.
    pub fn poll_ended(&mut self) -> Option<ChannelEnd<L>> {
        self.ended.pop_front()
    }

    /// The answer to [`Action::Close`].
    pub fn closed(&mut self, out: &mut impl Outgoing) {
        if self.state == State::Finishing {
            writer::method(out, 0, &ConnectionCloseOk);
            self.finish();
        }
    }

    /// Closes from the server's side, because it stops or because somebody asked for it.
    pub fn shutdown(&mut self, now: Duration, refusal: Refusal, out: &mut impl Outgoing) {
        self.now = now;
        self.die(refusal.of(MethodId::NONE), out);
    }

    /// True when nothing more will be read; what was written should still go out.
    pub fn is_closing(&self) -> bool {
        self.state == State::Closed
    }

    /// True once the handshake is over and until somebody closes.
    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Bytes kept of messages whose rest has not come.
    pub fn assembled_bytes(&self) -> usize {
        self.channels.assembled_bytes()
    }

    /// What the client said about itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What the connection died of, if it was not closed in order.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    fn action<'a>(&'a mut self, todo: Todo<L>, input: &'a [u8]) -> Option<Action<'a, L>> {
        let (number, handled) = match todo {
            Todo::Nothing => return None,
            Todo::Login(login) => return Some(Action::Login(login)),
            Todo::OpenVhost(vhost) => return Some(Action::OpenVhost(vhost)),
            Todo::Close => return Some(Action::Close),
            Todo::Channel(number, handled) => (number, handled),
        };
        if matches!(handled, Handled::Closed) {
            self.channels.remove(number);
            return None;
        }
        let channel = self.channels.get(number)?;
        match handled {
            Handled::Nothing | Handled::Closed => None,
            Handled::Request(request) => Some(Action::Request { id: channel.request_id(), request }),
            Handled::Publish(at) => {
                let payload = input.get(FRAME_OVERHEAD_BYTES - 1..input.len() - 1).unwrap_or_default();
                Some(Action::Publish(channel.publish(at, payload)))
            }
            Handled::Settle(settlement) => Some(Action::Settle { leases: channel.settled(), settlement }),
        }
    }

    fn handle(&mut self, frame: Frame<'_>, out: &mut impl Outgoing) -> Todo<L> {
        let result = match (self.state, frame.channel) {
            (State::Closing, _) => return self.handle_closing(frame, out),
            (_, 0) => self.handle_connection_frame(frame, out),
            (State::Running, _) => self.handle_channel_frame(frame, out),
            (_, channel) => {
                let text = format!("a frame on channel {channel} before connection.open");
                Err(Fault::new(ReplyCode::UnexpectedFrame, MethodId::NONE, text))
            }
        };
        result.unwrap_or_else(|fault| {
            self.fail(frame.channel, fault, out);
            Todo::Nothing
        })
    }

    /// After the server's own close everything is dropped but close and close-ok.
    fn handle_closing(&mut self, frame: Frame<'_>, out: &mut impl Outgoing) -> Todo<L> {
        if frame.channel == 0 && frame.kind == FrameKind::Method {
            match Method::read(frame.payload) {
                Ok(Method::ConnectionCloseOk(_)) => self.finish(),
                Ok(Method::ConnectionClose(_)) => writer::method(out, 0, &ConnectionCloseOk),
                _ => {}
            }
        }
        Todo::Nothing
    }

    fn handle_channel_frame(&mut self, frame: Frame<'_>, out: &mut impl Outgoing) -> Result<Todo<L>, Fault> {
        let number = frame.channel;
        let Some(channel) = self.channels.get(number) else {
            return self.open_channel(frame, out).map(|()| Todo::Nothing);
        };
        let handled = channel.handle(frame, &mut self.terms, out)?;
        if channel.assembled_bytes() > 0 {
            self.channels.note_body(number);
        }
        if frame.kind == FrameKind::Method {
            self.channels.touch(number);
        }
        Ok(Todo::Channel(number, handled))
    }

    fn open_channel(&mut self, frame: Frame<'_>, out: &mut impl Outgoing) -> Result<(), Fault> {
        let number = frame.channel;
        let method = match frame.kind {
            FrameKind::Method => Method::read(frame.payload).map_err(unreadable)?,
            _ => return Err(not_open(number, MethodId::NONE)),
        };
        if !matches!(method, Method::ChannelOpen(_)) {
            return Err(not_open(number, method.id()));
        }
        if number > self.channel_count_max {
            let max = self.channel_count_max;
            let text = format!("channel number {number} is over the agreed maximum of {max}");
            return Err(Fault::new(ReplyCode::NotAllowed, ChannelOpen::ID, text));
        }
        self.channels.open(number);
        writer::method(out, number, &ChannelOpenOk);
        Ok(())
    }

    /// Ends what a fault ends. On channel 0 that is always the connection.
    fn fail(&mut self, number: u16, fault: Fault, out: &mut impl Outgoing) {
        match (fault.scope(), self.channels.get(number)) {
            (Scope::Channel, Some(channel)) => {
                let end = channel.fail(&fault, out);
                self.ended.extend(end);
            }
            _ => self.die(fault, out),
        }
    }

    /// A stream that is no frames cannot be read on, not even for close-ok.
    fn die_of_bytes(&mut self, fault: Fault, out: &mut impl Outgoing) {
        self.die(fault, out);
        if self.state == State::Closing {
            self.state = State::Deaf;
        }
    }

    /// Sends connection.close; from now on only close and close-ok count.
    fn die(&mut self, fault: Fault, out: &mut impl Outgoing) {
        if matches!(
            self.state,
            State::Closing | State::Deaf | State::Finishing | State::Refused | State::Closed
        ) {
            return;
        }
        if self.state == State::Header {
            self.fault = Some(fault);
            return self.finish();
        }
        let close = ConnectionClose {
            reply_code: fault.code.number(),
            reply_text: &fault.to_string(),
            class_id: fault.method.class,
            method_id: fault.method.method,
        };
        writer::method(out, 0, &close);
        self.state = State::Closing;
        self.until = Some(self.now + Duration::from_secs(CLOSE_SECONDS_MAX));
        self.heartbeat = Heartbeat::off();
        self.fault = Some(fault);
        self.end_channels();
    }

    fn finish(&mut self) {
        self.state = State::Closed;
        self.until = None;
        self.heartbeat = Heartbeat::off();
        self.end_channels();
    }

    fn end_channels(&mut self) {
        self.channels.drain(|end| self.ended.push_back(end));
    }
}

fn not_open(channel: u16, method: MethodId) -> Fault {
    Fault::new(ReplyCode::ChannelError, method, format!("channel {channel} is not open"))
}
