//! Sends: gathered into batches, one per durability in a row, and answered when the batch is stored.
//!
//! Request-reply is refused: it is not there yet.

use std::borrow::Cow;

use mailrail_broker::connection::Output;
use mailrail_broker::{
    Command as Ask, Destination, Durability, Error, Name, Now, PublishBatch, Reply, Stored, Topic, TopicId,
    TopicSettings,
};
use mailrail_message::{AnnexKind, Draft, DraftError, property};

use crate::codec::Frame;
use crate::codec::body::batch::{self, BatchMessage};
use crate::codec::command::SendMessage;
use crate::codec::response_code as response;
use crate::config::RemotingConfig;
use crate::connection::Connection;
use crate::from_wire::{self, Envelope, Meant};
use crate::names::{self, DEAD_LETTER_PREFIX, RETRY_PREFIX, TEMPLATE_TOPIC};
use crate::outstanding::{Asker, Parked, SendKind, SendReplies, SendReply, Sends, Waiting};
use crate::refusal::Refusal;
use crate::to_wire;

/// Room per message beyond its bytes on the wire, for what storing adds.
const STORED_EXTRA_BYTES: usize = 256;
/// Messages a new batch has room for at once.
const BATCH_MESSAGES_USUAL: usize = 64;

pub(crate) fn send(
    connection: &mut Connection,
    now: Now,
    asker: Asker,
    send: &SendMessage<'_>,
    frame: &Frame,
) -> Result<(), Refusal> {
    if send.reply {
        return Err(Refusal::unsupported(frame.header.code));
    }
    if connection.session.is_congested() {
        return Err(Refusal::busy());
    }
    let directory = connection.session.broker().directory();
    let registry = &connection.config.registry;
    let dead = from_wire::used_up(
        send,
        |group| directory.group(group).map(|group| group.settings()),
        |group| registry.is_locking(group, now.mono),
    );
    let name = dead.as_deref().unwrap_or(send.topic);
    if let Some(parked) = connection.parked.get_mut(name) {
        parked.push(Parked::Send(Box::new(frame.clone())));
        connection.parked_bytes += parked_bytes(frame);
        return Ok(());
    }
    let Some(topic) = connection.take_topic(name) else {
        let settings = settings_of_new(connection, send, name)?;
        make_topic(connection, name, settings, Parked::Send(Box::new(frame.clone())));
        connection.parked_bytes += parked_bytes(frame);
        return Ok(());
    };
    let (peer, advertised) = (connection.peer, connection.config.advertised);
    let envelope = Envelope { send, topic: &topic, now, peer, advertised };
    let gathered = names::check_sendable(name).and_then(|()| {
        let gather = if send.batch { send_batch } else { send_one };
        gather(connection, asker, &envelope, frame)
    });
    connection.keep_topic(topic);
    gathered
}

/// What a parked send weighs: its header counts too, or many empty ones would weigh nothing.
fn parked_bytes(frame: &Frame) -> usize {
    frame.body.len() + size_of::<Frame>()
}

/// Settings of a topic that does not exist, if a send may make it.
fn settings_of_new(
    connection: &Connection,
    send: &SendMessage<'_>,
    name: &str,
) -> Result<TopicSettings, Refusal> {
    names::check_sendable(name)?;
    let system = names::system_topic_queues(name, &connection.config);
    let derived = name.starts_with(RETRY_PREFIX) || name.starts_with(DEAD_LETTER_PREFIX);
    if derived {
        names::check_new_topic(name)?;
        return Ok(from_wire::topic_of(1));
    }
    if system.is_none() && !(connection.config.auto_create_topics && send.default_topic == TEMPLATE_TOPIC) {
        return Err(Refusal::no_topic(name));
    }
    names::check_new_topic(name)?;
    Ok(from_wire::new_topic(send, system))
}

/// Makes a topic and parks the first piece of work for it.
pub(crate) fn make_topic(connection: &mut Connection, name: &str, settings: TopicSettings, work: Parked) {
    let name = Name::from(name);
    connection.parked.insert(name.clone(), vec![work]);
    let token = connection.outstanding.add(Waiting::Topic(name.clone()));
    connection.asks.push(Ask::PutTopic { token, name, settings, adopt: true });
}

/// The topic is there, or cannot be: everything parked for it goes on in order.
pub(crate) fn topic_made(
    connection: &mut Connection,
    now: Now,
    name: &Name,
    result: Result<Reply, Error>,
    output: &mut Output,
) {
    let parked = connection.parked.remove(name).unwrap_or_default();
    let refusal = match result {
        Ok(Reply::Topic { topic, .. }) => {
            connection.keep_topic(topic);
            None
        }
        Ok(_) => None,
        Err(error) => Some(Refusal::from(error)),
    };
    for work in parked {
        if let Parked::Send(frame) = &work {
            connection.parked_bytes = connection.parked_bytes.saturating_sub(parked_bytes(frame));
        }
        match (&refusal, work) {
            (None, Parked::Send(frame)) => connection.handle_frame(now, &frame, output),
            (None, Parked::Returned(returned, message)) => {
                super::send_back::store(connection, now, &returned, &message, output);
            }
            (Some(refusal), Parked::Send(frame)) => {
                to_wire::put_refusal(output, Asker::of(&frame.header), refusal);
            }
            (Some(refusal), Parked::Returned(returned, _)) => {
                to_wire::put_refusal(output, returned.asker, refusal);
            }
        }
    }
}

fn send_one(
    connection: &mut Connection,
    asker: Asker,
    envelope: &Envelope<'_>,
    frame: &Frame,
) -> Result<(), Refusal> {
    let send = envelope.send;
    let properties = send.properties.as_bytes();
    let meant = Meant::by(properties);
    // What goes to the dead letter has done its waiting.
    let is_dead = envelope.topic.name.starts_with(DEAD_LETTER_PREFIX);
    // A consumer that sends a message again leaves its properties as they are.
    let is_resent = is_dead || envelope.topic.name.starts_with(RETRY_PREFIX);
    let half = (meant.is_half && !is_resent)
        .then(|| super::transaction::half_of(&meant, send.producer_group, envelope.now));
    // A half message is not delayed, whatever it asks for.
    let is_at_once = is_dead || half.is_some();
    let due_ms =
        if is_at_once { None } else { meant.due_ms(envelope.now, &connection.config.delay_levels)? };
    let queue_index = envelope.queue_index()?;
    let made = meant.unique.is_none().then(|| connection.next_unique(envelope.now));
    let durability = meant.durability();
    let (sends, config) = connection.sends(durability);
    let mut stamp = Cow::Borrowed(&config.stamp);
    if let Some(made) = &made {
        property::push(stamp.to_mut(), property::UNIQUE_ID, made);
    }
    if let Some(half) = half.as_ref().filter(|_| meant.producer_group.is_none()) {
        property::push(stamp.to_mut(), property::PRODUCER_GROUP, &half.group);
    }
    let stored = if is_resent { meant.stored_again(properties) } else { meant.stored(properties) };
    let known_by = if is_resent { None } else { envelope.known_by(&meant)? };
    let annexes = known_by.as_ref().map(|key| (AnnexKind::Deduplication, key.as_slice()));
    let draft = envelope.draft(send.flag, &frame.body, &stored, &stamp);
    let draft = Draft { annexes: annexes.as_slice(), ..draft };
    let place = (envelope.topic.id, queue_index);
    let kind = match half {
        Some(half) => {
            let (topic, durability) = (envelope.topic.id, sends.durability);
            sends.batch.push_half(&draft, topic, queue_index, meant.tag_hash, durability, half)?;
            SendKind::Half
        }
        None => {
            sends.push(&draft, place, meant.tag_hash, due_ms)?;
            SendKind::Send
        }
    };
    sends.replies.add(asker, kind, 1, meant.unique.or(made.as_deref()).unwrap_or_default());
    if let (Some(due_ms), Some(reply)) = (due_ms, sends.replies.replies.last_mut()) {
        reply.waits = Some((envelope.topic.name.clone(), due_ms));
    }
    Ok(())
}

/// All messages of a batch go to one queue, or none is stored.
fn send_batch(
    connection: &mut Connection,
    asker: Asker,
    envelope: &Envelope<'_>,
    frame: &Frame,
) -> Result<(), Refusal> {
    let send = envelope.send;
    if envelope.topic.name.starts_with(RETRY_PREFIX) {
        return Err(Refusal::new(response::MESSAGE_ILLEGAL, "batch request does not support retry group"));
    }
    let mut messages = Vec::new();
    batch::split(&frame.body, &mut messages)?;
    let queue_index = match envelope.queue_index()? {
        Some(index) => index,
        None => next_queue(connection, envelope.topic),
    };
    let header = Meant::by(send.properties.as_bytes());
    let meant: Vec<Meant<'_>> = messages.iter().map(|message| Meant::by(&message.properties)).collect();
    let known_by = meant.iter().map(|meant| envelope.known_by(meant)).collect::<Result<Vec<_>, _>>()?;
    for ((message, meant), key) in messages.iter().zip(&meant).zip(&known_by) {
        if meant.is_half {
            let remark = "transaction messages are not allowed in a batch";
            return Err(Refusal::new(response::MESSAGE_ILLEGAL, remark));
        }
        meant.due_ms(envelope.now, &connection.config.delay_levels)?;
        let annexes = key.as_ref().map(|key| (AnnexKind::Deduplication, key.as_slice()));
        let stored = meant.stored(&message.properties);
        Draft { annexes: annexes.as_slice(), ..draft_of(envelope, message, &stored) }.check()?;
    }
    let (sends, config) = connection.sends(header.durability());
    for ((message, meant), key) in messages.iter().zip(&meant).zip(&known_by) {
        let stored = meant.stored(&message.properties);
        let annexes = key.as_ref().map(|key| (AnnexKind::Deduplication, key.as_slice()));
        let draft = Draft { annexes: annexes.as_slice(), ..draft_of(envelope, message, &stored) };
        let due_ms = meant.due_ms(envelope.now, &config.delay_levels)?;
        sends.push(&draft, (envelope.topic.id, Some(queue_index)), meant.tag_hash, due_ms)?;
    }
    sends.replies.add(asker, SendKind::Send, messages.len(), header.unique.unwrap_or_default());
    Ok(())
}

/// Properties of messages in a batch are stored as they are: their producer has numbered them itself.
fn draft_of<'d>(envelope: &'d Envelope<'_>, message: &'d BatchMessage, properties: &'d [u8]) -> Draft<'d> {
    envelope.draft(message.flag, &message.body, properties, &[])
}

fn next_queue(connection: &mut Connection, topic: &Topic) -> u32 {
    connection.rotation = connection.rotation.wrapping_add(1);
    let queues = u32::try_from(topic.queues().len()).unwrap_or(u32::MAX);
    connection.rotation.checked_rem(queues).unwrap_or(0)
}

impl Connection {
    /// The batch for messages of this durability. Another durability closes the batch before, so that the messages
    /// of a connection stay in the order they were sent in.
    pub(crate) fn sends(&mut self, durability: Durability) -> (&mut Sends, &RemotingConfig) {
        if self.sends.as_ref().is_some_and(|sends| sends.durability != durability) {
            self.close_batch();
        }
        let input_bytes = self.input_bytes;
        let sends = self.sends.get_or_insert_with(|| {
            let bytes = input_bytes + input_bytes / 8 + STORED_EXTRA_BYTES;
            let batch = PublishBatch::with_capacity(bytes, BATCH_MESSAGES_USUAL);
            Sends { batch, durability, replies: SendReplies::default() }
        });
        (sends, &self.config)
    }

    pub(crate) fn close_batch(&mut self) {
        if let Some(sends) = self.sends.take()
            && !sends.batch.is_empty()
        {
            let token = self.outstanding.add(Waiting::Published(sends.replies));
            self.asks.push(Ask::Publish { token, batch: sends.batch });
        }
    }
}

impl Sends {
    /// Adds a message for one topic, and its queue unless the broker is to choose.
    pub(crate) fn push(
        &mut self,
        draft: &Draft<'_>,
        (topic, queue_index): (TopicId, Option<u32>),
        tag_hash: i32,
        due_ms: Option<u64>,
    ) -> Result<(), DraftError> {
        match due_ms {
            Some(due_ms) => self.batch.push_due(draft, topic, queue_index, tag_hash, self.durability, due_ms),
            None => {
                let destination = Destination::Topic { topic, queue_index };
                self.batch.push(draft, destination, tag_hash, self.durability)
            }
        }
    }
}

impl SendReplies {
    pub(crate) fn add(&mut self, asker: Asker, kind: SendKind, items: usize, unique: &str) {
        let start = self.ids.len();
        self.ids.push_str(unique);
        self.replies.push(SendReply { asker, kind, items, unique: start..self.ids.len(), waits: None });
    }
}

/// A batch is stored: every request in it is answered, with the first error among its messages if there is one.
pub(crate) fn published(
    connection: &Connection,
    replies: &SendReplies,
    results: Vec<Result<Stored, Error>>,
    output: &mut Output,
) {
    let mut results = results.into_iter();
    let mut stored = Vec::new();
    for reply in &replies.replies {
        stored.clear();
        let mut failed = None;
        for result in results.by_ref().take(reply.items) {
            match result {
                Ok(place) => stored.push(place),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match (failed, reply.kind) {
            (Some(error), _) => to_wire::put_refusal(output, reply.asker, &error.into()),
            (None, SendKind::Back) => to_wire::put_done(output, reply.asker, false),
            (None, kind @ (SendKind::Send | SendKind::Half)) => {
                if kind == SendKind::Half {
                    // What names it when it ends.
                    stored.iter_mut().for_each(|stored| stored.offset = Some(stored.position));
                }
                let unique = replies.ids.get(reply.unique.clone()).unwrap_or_default();
                let config = &connection.config;
                to_wire::put_sent(output, reply.asker, config, unique, reply.waits.as_ref(), &stored);
            }
        }
    }
}

/// The batch was refused as a whole.
pub(crate) fn refuse_all(replies: &SendReplies, error: Error, output: &mut Output) {
    let refusal = Refusal::from(error);
    for reply in &replies.replies {
        to_wire::put_refusal(output, reply.asker, &refusal);
    }
}
