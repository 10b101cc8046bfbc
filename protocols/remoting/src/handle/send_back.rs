//! Send back (36): a consumer could not handle a message; it comes again later from the group's retry topic, or ends
//! in its dead letter.
//!
//! Retries of leased messages happen in place, in the broker; this is RocketMQ's explicit way only.

use bytes::Bytes;
use mailrail_broker::connection::Output;
use mailrail_broker::{Durability, Error, GroupSettings, Now, ReadBatch};
use mailrail_message::{AnnexKind, Draft, OffsetId, StoredMessage, property, tag_hash};

use crate::codec::command::SendMessageBack;
use crate::codec::response_code as response;
use crate::connection::Connection;
use crate::from_wire::{self, Fate};
use crate::names;
use crate::outstanding::{Asker, Parked, Returned, SendKind, Waiting};
use crate::refusal::Refusal;
use crate::to_wire;

/// Bytes that a message which is sent back is taken to have until it is read.
pub(crate) const ASSUMED_BYTES: usize = 256 * 1024;

pub(crate) fn send_back(
    connection: &mut Connection,
    asker: Asker,
    back: &SendMessageBack<'_>,
) -> Result<(), Refusal> {
    if connection.session.is_congested() {
        return Err(Refusal::busy());
    }
    let Ok(position) = u64::try_from(back.position) else { return Err(no_message(back.position)) };
    let returned = Returned {
        asker,
        group: super::known_group(connection, back.group)?,
        position,
        delay_level: back.delay_level,
        attempts_max: back.max_reconsume_times.and_then(|max| u32::try_from(max).ok()),
    };
    let token = connection.outstanding.add(Waiting::Returned(Box::new(returned)));
    connection.promise(ASSUMED_BYTES);
    connection.session.read_position(token, position);
    Ok(())
}

/// The message was read, or is no more.
pub(crate) fn read(
    connection: &mut Connection,
    now: Now,
    returned: Box<Returned>,
    result: Result<ReadBatch, Error>,
    output: &mut Output,
) {
    match result.map(|batch| batch.entries.into_iter().next()) {
        Ok(Some(entry)) => store(connection, now, &returned, &entry.message, output),
        Ok(None) | Err(Error::NoMessage(_)) => {
            let refusal = no_message(to_wire::signed(returned.position));
            to_wire::put_refusal(output, returned.asker, &refusal);
        }
        Err(error) => to_wire::put_refusal(output, returned.asker, &error.into()),
    }
}

/// Stores the message again, in the retry or the dead letter topic, which is made first if need be.
pub(crate) fn store(
    connection: &mut Connection,
    now: Now,
    returned: &Returned,
    bytes: &Bytes,
    output: &mut Output,
) {
    if let Err(refusal) = try_store(connection, now, returned, bytes) {
        to_wire::put_refusal(output, returned.asker, &refusal);
    }
}

fn try_store(
    connection: &mut Connection,
    now: Now,
    returned: &Returned,
    bytes: &Bytes,
) -> Result<(), Refusal> {
    let message = StoredMessage::parse(bytes).map_err(|error| {
        Refusal::new(response::SYSTEM_ERROR, format!("the message is unreadable: {error}"))
    })?;
    let settings = match connection.session.broker().directory().group(&returned.group) {
        Some(group) => (*group.settings()).clone(),
        None => GroupSettings::rocketmq(&returned.group),
    };
    let times = message.reconsume_times();
    let fate = from_wire::fate(returned, times, &settings, &connection.config.delay_levels);
    let (name, due_ms) = match fate {
        Fate::RetryAfterMs(delay) => (names::retry_topic(&returned.group), Some(now.wall_ms + delay)),
        Fate::DeadLetter => (names::dead_letter_topic(&returned.group), None),
    };
    let Some(topic) = connection.topic(&name) else {
        let work = Parked::Returned(Box::new(returned.clone()), bytes.clone());
        match connection.parked.get_mut(name.as_str()) {
            Some(parked) => parked.push(work),
            None => super::send::make_topic(connection, &name, from_wire::topic_of(1), work),
        }
        return Ok(());
    };
    let advertised = connection.config.advertised;
    let id = OffsetId { host: advertised, position: returned.position }.to_string();
    let properties = from_wire::returned_properties(&message, &id, fate);
    // What other protocols know about it must survive; its targets are new.
    let kept = [AnnexKind::Amqp, AnnexKind::Properties];
    let annexes: Vec<_> = kept.into_iter().filter_map(|kind| Some((kind, message.annex(kind)?))).collect();
    let draft = Draft {
        topic: &name,
        flag: message.flag(),
        sys_flags: message.sys_flags(),
        born_ms: message.born_ms(),
        born_host: message.born_host(),
        store_host: advertised,
        reconsume_times: times.saturating_add(1),
        body: message.body(),
        properties: &properties,
        more_properties: &[],
        annexes: &annexes,
    };
    let tag = message.properties().get(property::TAGS).map_or(0, tag_hash);
    let (sends, _) = connection.sends(Durability::Disk);
    sends.push(&draft, (topic.id, Some(0)), tag, due_ms)?;
    sends.replies.add(returned.asker, SendKind::Back, 1, "");
    Ok(())
}

fn no_message(position: i64) -> Refusal {
    Refusal::new(response::SYSTEM_ERROR, format!("look message by offset failed, {position}"))
}
