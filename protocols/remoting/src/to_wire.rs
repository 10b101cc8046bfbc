//! Domain to wire: what the broker says, as frames.
//!
//! One-way requests are answered with nothing, here and nowhere else.

use bytes::{Bytes, BytesMut};
use mailrail_broker::connection::Output;
use mailrail_broker::{Directory, Error, Found, Name, Queue, ReadEntry, Stored, lite};
use mailrail_message::{DraftError, OffsetId, Rewrite, StoredMessage, property, rewrite_into};

use crate::codec::command::RecallHandle;
use crate::codec::response_code as response;
use crate::codec::{Envelope, FrameWriter};
use crate::config::{REGION, RemotingConfig};
use crate::outstanding::Asker;
use crate::refusal::Refusal;

/// Which code an error of the broker is to a RocketMQ client. It retries elsewhere on 1, 2, 14, 16 and 17.
impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let code = match &error {
            Error::NoTopic(topic) => return Refusal::no_topic(topic),
            Error::Busy { .. } => return Refusal::busy(),
            Error::NoQueue { .. } | Error::Name { .. } | Error::Limit { .. } | Error::Argument { .. } => {
                response::INVALID_PARAMETER
            }
            Error::NotHalf { position, .. } => {
                let remark = format!("Find prepared transaction message failed at {position}: {error}");
                return Refusal::new(response::SYSTEM_ERROR, remark);
            }
            Error::NoKey(_) => response::MESSAGE_ILLEGAL,
            Error::NoGroup { .. } => response::SUBSCRIPTION_GROUP_NOT_EXIST,
            Error::NotWritable(_) | Error::NotReadable(_) | Error::Locked(_) => response::NO_PERMISSION,
            Error::Denied(_) | Error::Login => response::NO_PERMISSION,
            Error::Full { .. } => response::SYSTEM_BUSY,
            Error::NoSpace | Error::Poisoned(_) | Error::Stopping => response::SERVICE_NOT_AVAILABLE,
            _ => response::SYSTEM_ERROR,
        };
        Refusal::new(code, error.to_string())
    }
}

impl From<DraftError> for Refusal {
    fn from(error: DraftError) -> Refusal {
        Refusal::new(response::MESSAGE_ILLEGAL, error.to_string())
    }
}

fn answer<'a>(out: &'a mut BytesMut, asker: Asker, code: i32, remark: Option<&'a str>) -> FrameWriter<'a> {
    FrameWriter::begin(out, Envelope::response(asker.serializer, asker.opaque, code, remark))
}

pub(crate) fn put_refusal(output: &mut Output, asker: Asker, refusal: &Refusal) {
    if !asker.one_way {
        output.append(|out| answer(out, asker, refusal.code, Some(&refusal.remark)).finish(0));
    }
}

/// Success without fields; `fields` makes `extFields` appear empty, as after requests with a header class.
pub(crate) fn put_done(output: &mut Output, asker: Asker, fields: bool) {
    if asker.one_way {
        return;
    }
    output.append(|out| {
        let answer = answer(out, asker, response::SUCCESS, None);
        if fields { answer.empty_fields().finish(0) } else { answer.finish(0) }
    });
}

/// Success with one text as its only field.
pub(crate) fn put_text(output: &mut Output, asker: Asker, field: &str, text: &str) {
    if !asker.one_way {
        output.append(|out| answer(out, asker, response::SUCCESS, None).text(field, text).finish(0));
    }
}

/// Success with one number as its only field.
pub(crate) fn put_number(output: &mut Output, asker: Asker, field: &str, number: i64) {
    if !asker.one_way {
        output.append(|out| answer(out, asker, response::SUCCESS, None).number(field, number).finish(0));
    }
}

pub(crate) fn put_heartbeat(output: &mut Output, asker: Asker) {
    if asker.one_way {
        return;
    }
    output.append(|out| {
        answer(out, asker, response::SUCCESS, None)
            .text("IS_SUPPORT_HEART_BEAT_V2", "true")
            .text("IS_SUB_CHANGE", "true")
            .finish(0);
    });
}

/// Success with a body. `fields` as for [`put_done`].
pub(crate) fn put_body(output: &mut Output, asker: Asker, fields: bool, body: &[u8]) {
    if asker.one_way {
        return;
    }
    output.append(|out| {
        let answer = answer(out, asker, response::SUCCESS, None);
        if fields {
            answer.empty_fields().finish(body.len())
        } else {
            answer.finish(body.len())
        }
        out.extend_from_slice(body);
    });
}

/// Where the messages of one send went; a batch lists all ids, and its first offset counts.
pub(crate) fn put_sent(
    output: &mut Output,
    asker: Asker,
    config: &RemotingConfig,
    unique: &str,
    waits: Option<&(Name, u64)>,
    stored: &[Stored],
) {
    let Some(first) = stored.first() else { return };
    if asker.one_way {
        return;
    }
    let id = |stored: &Stored| OffsetId { host: config.advertised, position: stored.position };
    output.append(|out| {
        let mut answer =
            answer(out, asker, response::SUCCESS, None).number("queueId", i64::from(first.queue_index));
        if !unique.is_empty() {
            answer = answer.text("transactionId", unique);
        }
        answer = if stored.len() == 1 {
            answer.message_id("msgId", id(first))
        } else {
            let ids: Vec<String> = stored.iter().map(|stored| id(stored).to_string()).collect();
            answer.text("msgId", &ids.join(","))
        };
        if let Some(handle) = waits.and_then(|waits| recall_handle(config, unique, waits, first)) {
            answer = answer.text("recallHandle", &handle);
        }
        // A message that waits for its time has no offset yet; clients need the field all the same.
        answer
            .text("TRACE_ON", "true")
            .text("MSG_REGION", REGION)
            .number("queueOffset", signed(first.offset.unwrap_or(0)))
            .finish(0);
    });
}

/// What a producer withdraws a message with that waits.
fn recall_handle(
    config: &RemotingConfig,
    unique: &str,
    (topic, due_ms): &(Name, u64),
    stored: &Stored,
) -> Option<String> {
    let (topic, broker_name, unique) = (topic.to_string(), config.broker_name.clone(), unique.to_owned());
    RecallHandle { topic, broker_name, due_ms: *due_ms, unique, position: stored.position }.encode()
}

/// Bounds that every answer to a pull carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) next: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

/// An answer to a pull without messages.
pub(crate) fn put_pull_empty(output: &mut Output, asker: Asker, code: i32, remark: &str, bounds: Bounds) {
    if !asker.one_way {
        output.append(|out| pull_answer(out, asker, code, remark, bounds, 0));
    }
}

/// An answer with messages: the stored bytes by reference, but for those that look different from this queue.
pub(crate) fn put_pull_found(
    output: &mut Output,
    asker: Asker,
    (config, directory): (&RemotingConfig, &Directory),
    queue: &Queue,
    entries: &[ReadEntry],
    bounds: Bounds,
) {
    if asker.one_way {
        return;
    }
    let records: Vec<Bytes> =
        entries.iter().filter_map(|entry| record(config, directory, queue, entry)).collect();
    let body_bytes = records.iter().map(Bytes::len).sum();
    output.append(|out| pull_answer(out, asker, response::SUCCESS, "FOUND", bounds, body_bytes));
    for record in records {
        output.push(record);
    }
}

/// Messages that were found by key, in one body.
pub(crate) fn put_found(
    output: &mut Output,
    asker: Asker,
    (config, directory): (&RemotingConfig, &Directory),
    found: &[Found],
) {
    if asker.one_way {
        return;
    }
    let records: Vec<Bytes> =
        found.iter().filter_map(|found| record(config, directory, &found.queue, &found.entry)).collect();
    let body_bytes = records.iter().map(Bytes::len).sum();
    // Clients show it as how far the index reaches; here nothing is missing from it.
    let newest = found.first().map_or(0, |found| found.entry.store_ms);
    output.append(|out| {
        answer(out, asker, response::SUCCESS, None)
            .number("indexLastUpdateTimestamp", signed(newest))
            .number("indexLastUpdatePhyoffset", 0)
            .finish(body_bytes);
    });
    for record in records {
        output.push(record);
    }
}

/// One message as it is stored.
pub(crate) fn put_viewed(output: &mut Output, asker: Asker, entry: &ReadEntry) {
    if asker.one_way {
        return;
    }
    let Ok(message) = StoredMessage::parse(&entry.message) else {
        let remark = "the stored message cannot be read";
        return put_refusal(output, asker, &Refusal::new(response::SYSTEM_ERROR, remark));
    };
    let record = entry.message.slice(..message.record().len());
    output.append(|out| answer(out, asker, response::SUCCESS, None).finish(record.len()));
    output.push(record);
}

fn pull_answer(out: &mut BytesMut, asker: Asker, code: i32, remark: &str, bounds: Bounds, body_bytes: usize) {
    answer(out, asker, code, Some(remark))
        .text("suggestWhichBrokerId", "0")
        .text("groupSysFlag", "0")
        .number("nextBeginOffset", signed(bounds.next))
        .number("maxOffset", signed(bounds.max))
        .number("minOffset", signed(bounds.min))
        .text("topicSysFlag", "0")
        .finish(body_bytes);
}

/// One message as a reader of `queue` sees it. Unreadable ones are left out, so that one does not stop the queue.
fn record(config: &RemotingConfig, directory: &Directory, queue: &Queue, entry: &ReadEntry) -> Option<Bytes> {
    let message = match StoredMessage::parse(&entry.message) {
        Ok(message) => message,
        Err(error) => {
            tracing::error!(topic = %queue.topic, queue = queue.index, offset = entry.offset, %error, "unreadable message");
            return None;
        }
    };
    let more_properties = lite_offsets(directory, &message);
    let as_stored = more_properties.is_empty()
        && message.queue_offset() == entry.offset
        && message.queue_index() == queue.index
        && message.topic() == &*queue.topic
        && message.store_host() == config.advertised;
    if as_stored {
        return Some(entry.message.slice(..message.record().len()));
    }
    let rewrite = Rewrite {
        topic: Some(&queue.topic),
        queue_index: Some(queue.index),
        queue_offset: Some(entry.offset),
        store_host: Some(config.advertised),
        more_properties: &more_properties,
        ..Rewrite::default()
    };
    let mut rewritten = Vec::with_capacity(message.record().len() + more_properties.len() + 64);
    rewrite_into(&message, &rewrite, &mut rewritten);
    Some(rewritten.into())
}

/// The property with a message's offsets in the light queues that it names, in their order; -1 for one that is no more.
/// Empty where it names none.
fn lite_offsets(directory: &Directory, message: &StoredMessage<'_>) -> Vec<u8> {
    let mut pair = Vec::new();
    if message.target_count() < 2 || message.properties().get(property::LITE_QUEUES).is_none() {
        return pair;
    }
    let targets = message.targets().unwrap_or_default();
    let offset = |name: &str| {
        let queue = directory.topic(name)?.queue(0)?.id;
        targets.iter().find(|target| target.queue == queue.0).map(|target| signed(target.offset))
    };
    let offsets = lite::names(message).map(|name| offset(name).unwrap_or(-1).to_string());
    property::push(&mut pair, property::LITE_OFFSETS, &offsets.collect::<Vec<_>>().join(","));
    pair
}

/// Offsets are signed on the wire.
pub(crate) fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
