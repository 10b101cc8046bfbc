//! The state machine of one channel: frames in, requests, publishes and settlements out, answers and deliveries back.
//!
//! Channel 0, opening and the numbers of channels are the connection's matter. No socket, no clock, no broker.

mod arguments;
mod assembly;
mod basic;
mod confirm;
mod consumers;
mod request;
mod topology;
mod transaction;
mod unacked;

pub use confirm::Confirm;
pub use request::*;

use assembly::Assembly;
pub(crate) use assembly::BodyAt;
use confirm::Confirms;
use consumers::{Admission, Consumers};
use transaction::Transaction;
use unacked::Unacked;

use crate::codec::limits::{CHANNEL_UNACKED_MAX, CHANNEL_UNCONFIRMED_MAX};
use crate::codec::methods::*;
use crate::codec::{
    Arguments, Frame, FrameKind, Method, MethodError, MethodId, Outgoing, ReplyCode, ShortBytes, writer,
};
use crate::fault::{Fault, Refusal};

/// What holds for the whole connection and a channel must know.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Agreed on in tuning.
    pub frame_bytes_max: u32,
    /// Longest body of a message.
    pub body_bytes_max: u64,
    /// The client can take `basic.cancel` from the server.
    pub cancel_notify: bool,
    /// Makes consumer tags of this connection unlike those of others.
    pub tag_seed: u64,
    /// Consumers started so far, on all channels.
    pub consumers: u64,
    /// The client has published: only then it may be told that it is blocked.
    pub has_published: bool,
}

/// What a frame led to, without borrowing from it.
#[derive(Debug, PartialEq)]
pub(crate) enum Handled<L> {
    Nothing,
    Request(Request<L>),
    /// A message is complete; see [`Channel::publish`].
    Publish(BodyAt),
    /// Leases lie in [`Channel::settled`].
    Settle(Settlement),
    /// The server's own close was answered: the number is free.
    Closed,
}

#[derive(Debug, PartialEq)]
enum State {
    Open,
    /// A request is open; no frame is handled until its answer.
    Asking(Expected),
    /// The server has closed the channel and waits for close-ok; everything else is dropped.
    Closing,
}

/// Which answer a request needs.
#[derive(Debug, PartialEq)]
enum Reply {
    ExchangeDeclareOk,
    ExchangeDeleteOk,
    ExchangeBindOk,
    ExchangeUnbindOk,
    QueueDeclareOk,
    QueueBindOk,
    QueueUnbindOk,
    QueuePurgeOk,
    QueueDeleteOk,
    ConsumeOk(ConsumerKey),
    /// With the tag: the consumer may be gone before the answer comes, and the client waits all the same.
    CancelOk {
        consumer: ConsumerKey,
        tag: String,
    },
    Get,
    CloseOk,
    TxCommitOk,
    TxRollbackOk,
}

#[derive(Debug, PartialEq)]
struct Expected {
    method: MethodId,
    reply: Reply,
    no_wait: bool,
}

/// One open channel. `L` is whatever names a lease to the broker's side.
#[derive(Debug)]
pub(crate) struct Channel<L> {
    key: ChannelKey,
    state: State,
    sequence: u32,
    assembly: Assembly,
    confirms: Option<Confirms>,
    /// Number of the publish that is complete and not yet taken.
    published: Option<u64>,
    unacked: Unacked<L>,
    settled: Vec<L>,
    /// What was settled and is not committed, in transaction mode.
    transaction: Option<Transaction<L>>,
    consumers: Consumers,
    /// Name of the queue declared last; stands for empty names.
    last_queue: String,
}

impl<L> Channel<L> {
    pub fn new(key: ChannelKey) -> Self {
        Channel {
            key,
            state: State::Open,
            sequence: 0,
            assembly: Assembly::default(),
            confirms: None,
            published: None,
            unacked: Unacked::default(),
            settled: Vec::new(),
            transaction: None,
            consumers: Consumers::default(),
            last_queue: String::new(),
        }
    }

    pub fn key(&self) -> ChannelKey {
        self.key
    }

    /// True while no frame of this channel may be handled.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, State::Asking(_))
            || self.confirms.as_ref().is_some_and(|confirms| confirms.len() >= CHANNEL_UNCONFIRMED_MAX)
    }

    /// The request that is open.
    pub fn request_id(&self) -> RequestId {
        RequestId { channel: self.key, sequence: self.sequence }
    }

    /// Leases of the last [`Handled::Settle`].
    pub fn settled(&self) -> &[L] {
        &self.settled
    }

    /// The message of the last [`Handled::Publish`]; `frame` is the payload it came with.
    pub fn publish<'a>(&'a self, at: BodyAt, frame: &'a [u8]) -> Publish<'a> {
        Publish {
            channel: self.key,
            sequence: self.published,
            in_transaction: self.transaction.is_some(),
            mandatory: self.assembly.mandatory,
            exchange: &self.assembly.exchange,
            routing_key: ShortBytes::new(&self.assembly.routing_key),
            properties: &self.assembly.properties,
            body: match at {
                BodyAt::Frame => frame,
                BodyAt::Buffer => &self.assembly.body,
            },
        }
    }

    /// Bytes kept of a message that is not complete.
    pub fn assembled_bytes(&self) -> usize {
        self.assembly.bytes()
    }

    /// Gives the room of a long message back that is complete and was taken.
    pub fn forget_published(&mut self) {
        if !self.assembly.is_open() {
            self.assembly.forget_body();
        }
    }

    /// Handles one frame. Must not be called while [`Channel::is_waiting`].
    pub fn handle(
        &mut self,
        frame: Frame<'_>,
        terms: &mut Terms,
        out: &mut impl Outgoing,
    ) -> Result<Handled<L>, Fault> {
        if self.state == State::Closing {
            return Ok(self.handle_closing(frame, out));
        }
        let complete = match frame.kind {
            FrameKind::Method => return self.handle_method(frame.payload, terms, out),
            FrameKind::Header => self.assembly.header(frame.payload, terms.body_bytes_max)?,
            FrameKind::Body => self.assembly.body(frame.payload)?,
            FrameKind::Heartbeat => {
                let text = format!("a heartbeat on channel {}", self.key.number);
                return Err(Fault::new(ReplyCode::UnexpectedFrame, MethodId::NONE, text));
            }
        };
        let Some(at) = complete else { return Ok(Handled::Nothing) };
        terms.has_published = true;
        self.published = self.confirms.as_mut().map(Confirms::publish);
        Ok(Handled::Publish(at))
    }

    /// Between the server's close and close-ok only these two count; even frames that cannot be read are dropped.
    fn handle_closing(&mut self, frame: Frame<'_>, out: &mut impl Outgoing) -> Handled<L> {
        if frame.kind == FrameKind::Method {
            match Method::read(frame.payload) {
                Ok(Method::ChannelCloseOk(_)) => return Handled::Closed,
                Ok(Method::ChannelClose(_)) => writer::method(out, self.key.number, &ChannelCloseOk),
                _ => {}
            }
        }
        Handled::Nothing
    }

    fn handle_method(
        &mut self,
        payload: &[u8],
        terms: &mut Terms,
        out: &mut impl Outgoing,
    ) -> Result<Handled<L>, Fault> {
        let method = Method::read(payload).map_err(unreadable)?;
        if self.assembly.is_open() {
            let text = format!("{} before the content of basic.publish was complete", method.id());
            return Err(Fault::new(ReplyCode::UnexpectedFrame, method.id(), text));
        }
        match method {
            Method::BasicPublish(method) => self.basic_publish(&method),
            Method::BasicAck(method) => self.basic_ack(&method),
            Method::BasicNack(method) => self.basic_nack(&method),
            Method::BasicReject(method) => self.basic_reject(&method),
            Method::BasicQos(method) => self.basic_qos(&method, out),
            Method::BasicConsume(method) => self.basic_consume(&method, terms),
            Method::BasicCancel(method) => Ok(self.basic_cancel(&method, out)),
            Method::BasicGet(method) => self.basic_get(&method),
            Method::BasicRecover(method) => self.basic_recover(&method, out),
            Method::BasicRecoverAsync(method) => self.basic_recover_async(&method),
            // The client's answer to the server's own cancel.
            Method::BasicCancelOk(_) => Ok(Handled::Nothing),
            Method::ConfirmSelect(method) => self.confirm_select(&method, out),
            Method::ChannelFlow(method) => Ok(self.channel_flow(&method, out)),
            Method::ChannelFlowOk(_) => Ok(Handled::Nothing),
            Method::ChannelClose(_) => Ok(self.channel_close()),
            Method::ChannelOpen(_) => Err(Fault::new(
                ReplyCode::ChannelError,
                ChannelOpen::ID,
                format!("channel {} is already open", self.key.number),
            )),
            Method::AccessRequest(_) => Ok(self.access_request(out)),
            Method::ExchangeDeclare(method) => self.exchange_declare(&method),
            Method::ExchangeDelete(method) => Ok(self.exchange_delete(&method)),
            Method::ExchangeBind(method) => Ok(self.exchange_bind(&method)),
            Method::ExchangeUnbind(method) => Ok(self.exchange_unbind(&method)),
            Method::QueueDeclare(method) => self.queue_declare(&method),
            Method::QueueBind(method) => self.queue_bind(&method),
            Method::QueueUnbind(method) => self.queue_unbind(&method),
            Method::QueuePurge(method) => self.queue_purge(&method),
            Method::QueueDelete(method) => self.queue_delete(&method),
            Method::TxSelect(_) => self.tx_select(out),
            Method::TxCommit(_) => self.tx_commit(),
            Method::TxRollback(_) => self.tx_rollback(),
            other => Err(misplaced(other.id())),
        }
    }

    fn ask(&mut self, expected: Expected, request: Request<L>) -> Handled<L> {
        self.sequence = self.sequence.wrapping_add(1);
        self.state = State::Asking(expected);
        Handled::Request(request)
    }

    /// Takes the answer to the open request and writes what the client waits for. An answer that comes too late is
    /// given back: what it holds must be undone.
    pub fn answer<'a>(
        &mut self,
        id: RequestId,
        result: Result<Answer<'a, L>, Refusal>,
        terms: &Terms,
        out: &mut impl Outgoing,
    ) -> Result<Answered, Late<'a, L>> {
        if id != self.request_id() || !matches!(self.state, State::Asking(_)) {
            return Err(Late(result));
        }
        let State::Asking(expected) = std::mem::replace(&mut self.state, State::Open) else {
            return Err(Late(result));
        };
        match result {
            // What could not be undone is no reason to leave the client waiting.
            _ if expected.reply == Reply::CloseOk => Ok(Answered::Closed),
            Err(refusal) => Ok(Answered::Fault(refusal.of(expected.method))),
            Ok(answer) => Ok(match self.reply(expected, answer, terms, out) {
                Ok(()) => Answered::Done,
                Err(fault) => Answered::Fault(fault),
            }),
        }
    }

    fn reply(
        &mut self,
        expected: Expected,
        answer: Answer<'_, L>,
        terms: &Terms,
        out: &mut impl Outgoing,
    ) -> Result<(), Fault> {
        let Expected { reply, no_wait, method } = expected;
        match (reply, answer) {
            (Reply::Get, Answer::Message(fetched)) => self.got(fetched, terms, out),
            (Reply::TxCommitOk, Answer::Done) => writer::method(out, self.key.number, &TxCommitOk),
            (Reply::TxRollbackOk, Answer::Done) => writer::method(out, self.key.number, &TxRollbackOk),
            (Reply::ConsumeOk(consumer), Answer::Done) => self.consume_reply(consumer, no_wait, out),
            (Reply::CancelOk { consumer, tag }, Answer::Done) => {
                self.cancel_reply(consumer, &tag, no_wait, out);
            }
            (reply, answer) => return self.topology_reply(reply, answer, no_wait, method, out),
        }
        Ok(())
    }

    /// Writes a message for a consumer. `Err` gives the lease back: the consumer is gone, or may not have more now.
    /// `Ok` gives it back when nobody will acknowledge it.
    pub fn deliver(
        &mut self,
        consumer: ConsumerKey,
        lease: L,
        message: Message<'_>,
        terms: &Terms,
        out: &mut impl Outgoing,
    ) -> Result<Option<L>, L> {
        if self.state == State::Closing {
            return Err(lease);
        }
        let is_full = self.unacked.len() >= CHANNEL_UNACKED_MAX;
        let bytes = message.content.body.bytes.len() + message.content.properties.len();
        if self.consumers.admit(consumer, bytes, is_full) != Admission::Send {
            return Err(lease);
        }
        let Some(consumer) = self.consumers.get(consumer) else { return Err(lease) };
        let (delivery_tag, settled) = match consumer.no_ack {
            true => (self.unacked.tag_settled(), Some(lease)),
            false => (self.unacked.tag_leased(Some(consumer.key.0), lease), None),
        };
        let deliver = BasicDeliver {
            consumer_tag: &consumer.tag,
            delivery_tag,
            redelivered: message.redelivered,
            exchange: message.exchange,
            routing_key: message.routing_key,
        };
        writer::message(out, self.key.number, terms.frame_bytes_max, &deliver, message.content);
        Ok(settled)
    }

    /// Ends a consumer because its queue is gone. A client that is cancelling it has its answer coming.
    pub fn cancel(&mut self, consumer: ConsumerKey, terms: &Terms, out: &mut impl Outgoing) {
        let Some(consumer) = self.consumers.remove(consumer) else { return };
        let is_asked = matches!(
            &self.state,
            State::Asking(Expected { reply: Reply::CancelOk { consumer: asked, .. }, .. }) if *asked == consumer.key
        );
        if terms.cancel_notify && self.state != State::Closing && !is_asked {
            writer::method(out, self.key.number, &BasicCancel { consumer_tag: &consumer.tag, no_wait: true });
        }
    }

    /// Writes a message back that found no queue.
    pub fn give_back(
        &mut self,
        code: ReplyCode,
        publish: &Message<'_>,
        terms: &Terms,
        out: &mut impl Outgoing,
    ) {
        if self.state == State::Closing {
            return;
        }
        let returned = BasicReturn {
            reply_code: code.number(),
            reply_text: code.name(),
            exchange: publish.exchange,
            routing_key: publish.routing_key,
        };
        writer::message(out, self.key.number, terms.frame_bytes_max, &returned, publish.content);
    }

    /// Notes the end of a publish; [`Channel::flush_confirms`] tells the client.
    pub fn confirm(&mut self, sequence: u64, confirm: Confirm) {
        if let Some(confirms) = &mut self.confirms {
            confirms.answer(sequence, confirm);
        }
    }

    pub fn flush_confirms(&mut self, out: &mut impl Outgoing) {
        let (Some(confirms), false) = (&mut self.confirms, self.state == State::Closing) else { return };
        let channel = self.key.number;
        confirms.flush(|frame| {
            let (delivery_tag, multiple) = (frame.tag, frame.multiple);
            match frame.confirm {
                Confirm::Ack => writer::method(out, channel, &BasicAck { delivery_tag, multiple }),
                Confirm::Nack => {
                    writer::method(out, channel, &BasicNack { delivery_tag, multiple, requeue: false });
                }
            }
        });
    }

    /// Gives consumers the credit they lack.
    pub fn refill(&mut self, each: impl FnMut(ConsumerKey, u32)) {
        if self.state != State::Closing && self.unacked.len() < CHANNEL_UNACKED_MAX {
            self.consumers.refill(each);
        }
    }

    /// Closes the channel from the server's side. What it held is returned; nothing more is sent on it. `None` when
    /// either side is closing it already: a publish may turn out to be an error at any time, and a second close would
    /// be answered a second time.
    pub fn fail(&mut self, fault: &Fault, out: &mut impl Outgoing) -> Option<ChannelEnd<L>> {
        if self.is_closing() {
            return None;
        }
        let close = ChannelClose {
            reply_code: fault.code.number(),
            reply_text: &fault.to_string(),
            class_id: fault.method.class,
            method_id: fault.method.method,
        };
        writer::method(out, self.key.number, &close);
        self.state = State::Closing;
        Some(self.end())
    }

    fn is_closing(&self) -> bool {
        match &self.state {
            State::Open => false,
            State::Asking(expected) => expected.reply == Reply::CloseOk,
            State::Closing => true,
        }
    }

    /// Takes out everything the channel holds.
    pub fn end(&mut self) -> ChannelEnd<L> {
        if let Some(transaction) = &mut self.transaction {
            self.unacked.put_back(transaction.drain());
        }
        let mut leases = Vec::with_capacity(self.unacked.len());
        self.unacked.drain(|tagged| leases.push(tagged.lease));
        let consumers = self.consumers.keys().collect();
        self.consumers = Consumers::default();
        self.assembly = Assembly::default();
        ChannelEnd { channel: self.key, consumers, leases }
    }

    fn channel_close(&mut self) -> Handled<L> {
        let expected = Expected { method: ChannelClose::ID, reply: Reply::CloseOk, no_wait: false };
        let end = self.end();
        self.ask(expected, Request::Close(end))
    }

    /// RabbitMQ refuses to pause; here deliveries really stop.
    fn channel_flow(&mut self, method: &ChannelFlow, out: &mut impl Outgoing) -> Handled<L> {
        self.consumers.set_active(method.active);
        writer::method(out, self.key.number, &ChannelFlowOk { active: method.active });
        Handled::Nothing
    }

    /// A relic of 0-8: everything is granted, rights are checked where they are used.
    fn access_request(&mut self, out: &mut impl Outgoing) -> Handled<L> {
        writer::method(out, self.key.number, &AccessRequestOk { ticket: 1 });
        Handled::Nothing
    }

    fn confirm_select(
        &mut self,
        method: &ConfirmSelect,
        out: &mut impl Outgoing,
    ) -> Result<Handled<L>, Fault> {
        if self.transaction.is_some() {
            return Err(transaction::precondition(
                ConfirmSelect::ID,
                "cannot switch from tx to confirm mode",
            ));
        }
        self.confirms.get_or_insert_default();
        if !method.no_wait {
            writer::method(out, self.key.number, &ConfirmSelectOk);
        }
        Ok(Handled::Nothing)
    }
}

/// What an answer led to.
#[derive(Debug)]
pub(crate) enum Answered {
    Done,
    /// The client's close is complete: the number is free, and close-ok is to be written.
    Closed,
    Fault(Fault),
}

/// An answer that found no request.
#[derive(Debug)]
pub struct Late<'a, L>(pub Result<Answer<'a, L>, Refusal>);

/// A method frame that cannot be read.
pub(crate) fn unreadable(error: MethodError) -> Fault {
    match error {
        MethodError::Unknown(id) => Fault::new(ReplyCode::NotImplemented, id, error.to_string()),
        MethodError::Arguments { id, .. } => Fault::new(ReplyCode::FrameError, id, error.to_string()),
    }
}

/// A method that may not come on this channel at all.
pub(crate) fn misplaced(id: MethodId) -> Fault {
    let text = match id.is_servers_alone() {
        true => format!("{id} is sent by servers only"),
        false => format!("{id} is not allowed on this channel"),
    };
    Fault::new(ReplyCode::CommandInvalid, id, text)
}
