//! Pulls: answered at once when there is something, held until there is, or until their time is up.
//!
//! A held pull costs a wait at its queue and no polling.

use std::sync::Arc;

use mailrail_broker::connection::Output;
use mailrail_broker::limits::READ_ENTRIES_MAX;
use mailrail_broker::{
    Action, Command as Ask, Error, Filter, Now, Queue, ReadBatch, ReadRequest, Resource, Token,
};

use crate::codec::command::PullMessage;
use crate::codec::response_code as response;
use crate::connection::Connection;
use crate::outstanding::{Asker, Pull, Waiting};
use crate::refusal::Refusal;
use crate::registry::Absent;
use crate::subscription;
use crate::to_wire::{self, Bounds};

/// Bytes of an answer when the client does not say: what RocketMQ gives.
const ANSWER_BYTES_USUAL: usize = 256 * 1024;
/// And at most, whatever it says; RocketMQ keeps to its usual ones. One message is always answered whole.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

pub(crate) fn pull(
    connection: &mut Connection,
    now: Now,
    asker: Asker,
    pull: &PullMessage<'_>,
    output: &mut Output,
) -> Result<(), Refusal> {
    // The broker knows only of which queue is read.
    connection.session.check(Action::Consume, Resource::group(pull.consumer_group))?;
    connection.session.check(Action::Consume, Resource::topic(pull.topic))?;
    let queue = readable_queue(connection, pull)?;
    let filter = wanted(connection, pull)?;
    if let Some(offset) = pull.commits() {
        let group = super::known_group(connection, pull.consumer_group)?;
        let commits = vec![(queue.id, offset.unsigned_abs())];
        connection.asks.push(Ask::Commit { token: None, group, commits });
    }
    let (min, max) = (queue.min_offset(), queue.end_offset());
    if let Some((remark, next)) = moved(pull.queue_offset, min, max) {
        let bounds = Bounds { next, min, max };
        to_wire::put_pull_empty(output, asker, response::PULL_OFFSET_MOVED, remark, bounds);
        return Ok(());
    }
    let asked = u64::try_from(pull.queue_offset).unwrap_or(0);
    let bytes_max = pull.max_message_bytes.and_then(|max| usize::try_from(max).ok()).filter(|max| *max > 0);
    let held = Pull {
        asker,
        queue,
        asked,
        at: asked,
        entries_max: usize::try_from(pull.max_messages).unwrap_or(1).clamp(1, READ_ENTRIES_MAX),
        bytes_max: bytes_max.unwrap_or(ANSWER_BYTES_USUAL).min(ANSWER_BYTES_MAX),
        filter,
        until: pull.hold().map(|hold| now.mono + hold),
    };
    let token = connection.outstanding.reserve();
    go_on(connection, now, token, Box::new(held), output);
    Ok(())
}

fn readable_queue(connection: &mut Connection, pull: &PullMessage<'_>) -> Result<Arc<Queue>, Refusal> {
    let topic = connection.topic(pull.topic).ok_or_else(|| Refusal::no_topic(pull.topic))?;
    if !topic.settings().readable {
        return Err(Error::NotReadable(pull.topic.to_owned()).into());
    }
    let queue = u32::try_from(pull.queue_id).ok().and_then(|index| topic.queue(index));
    queue.ok_or_else(|| Refusal::no_queue(pull.topic, pull.queue_id, topic.queues().len()))
}

/// The subscription: in the request, or the heartbeat's.
fn wanted(connection: &Connection, pull: &PullMessage<'_>) -> Result<Filter, Refusal> {
    let kind = pull.expression_type.unwrap_or_default();
    if pull.carries_subscription() {
        return subscription::parse(pull.subscription.unwrap_or_default(), kind)
            .map_err(|error| Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, error.to_string()));
    }
    let group = pull.consumer_group;
    match connection.config.registry.subscription(group, pull.topic) {
        Ok(held) if held.version < pull.sub_version => {
            Err(Refusal::new(response::SUBSCRIPTION_NOT_LATEST, "the consumer's subscription not latest"))
        }
        Ok(held) => {
            held.filter.map_err(|error| Refusal::new(response::FILTER_DATA_NOT_EXIST, error.to_string()))
        }
        Err(Absent::Group) => {
            Err(Refusal::new(response::SUBSCRIPTION_NOT_EXIST, "the consumer's group info not exist"))
        }
        Err(Absent::Topic) => {
            let remark = format!("the consumer's subscription not exist, group:{group}");
            Err(Refusal::new(response::SUBSCRIPTION_NOT_EXIST, remark))
        }
    }
}

/// Why an offset cannot be read from, and where to go instead. The end itself can be read from: something may come.
fn moved(offset: i64, min: u64, max: u64) -> Option<(&'static str, u64)> {
    match u64::try_from(offset) {
        Ok(offset) if offset > max && max == 0 => Some(("NO_MESSAGE_IN_QUEUE", 0)),
        Ok(offset) if offset > max => Some(("OFFSET_OVERFLOW_BADLY", max)),
        Ok(offset) if offset >= min => None,
        _ => Some(("OFFSET_TOO_SMALL", min)),
    }
}

/// Reads, and answers or holds.
fn go_on(connection: &mut Connection, now: Now, token: Token, pull: Box<Pull>, output: &mut Output) {
    let request = ReadRequest {
        queue: pull.queue.clone(),
        offset: pull.at,
        max_entries: pull.entries_max,
        max_bytes: pull.bytes_max,
        filter: pull.filter.clone(),
    };
    match connection.session.read(token, request) {
        Some(result) => read(connection, now, token, pull, result, output),
        None => {
            connection.promise(pull.bytes_max);
            connection.outstanding.put(token, Waiting::Pull(pull));
        }
    }
}

/// What was found, now or by the reader pool.
pub(crate) fn read(
    connection: &mut Connection,
    now: Now,
    token: Token,
    mut pull: Box<Pull>,
    result: Result<ReadBatch, Error>,
    output: &mut Output,
) {
    let batch = match result {
        Ok(batch) => batch,
        Err(error) => return to_wire::put_refusal(output, pull.asker, &error.into()),
    };
    let bounds = Bounds { next: batch.next_offset, min: batch.min_offset, max: batch.end_offset };
    if !batch.entries.is_empty() {
        let (asker, queue) = (pull.asker, &pull.queue);
        let known = (&*connection.config, connection.session.broker().directory());
        return to_wire::put_pull_found(output, asker, known, queue, &batch.entries, bounds);
    }
    pull.at = batch.next_offset.max(pull.at);
    let more_to_look_at = pull.at < batch.end_offset;
    match pull.until {
        // With entries left that nobody looked at, the client comes back at once rather than us going on here.
        Some(until) if !more_to_look_at && until > now.mono && !connection.is_full(output) => {
            hold(connection, token, pull, until);
        }
        _ => put_nothing(&pull, bounds.min, bounds.max, output),
    }
}

fn hold(connection: &mut Connection, token: Token, pull: Box<Pull>, until: std::time::Duration) {
    let (queue, at) = (pull.queue.clone(), pull.at);
    connection.outstanding.hold(until, token);
    connection.outstanding.put(token, Waiting::Pull(pull));
    connection.session.wait(token, &queue, at);
}

/// The queue has something, or is gone.
pub(crate) fn wake(
    connection: &mut Connection,
    now: Now,
    token: Token,
    pull: Box<Pull>,
    output: &mut Output,
) {
    if let Some(until) = pull.until {
        connection.outstanding.release(until, token);
    }
    if pull.queue.is_gone() {
        return to_wire::put_refusal(output, pull.asker, &Refusal::no_topic(&pull.queue.topic));
    }
    if connection.is_full(output) {
        // Many pulls may have been held: this one's client asks again once it has read what waits.
        return put_nothing(&pull, pull.queue.min_offset(), pull.queue.end_offset(), output);
    }
    go_on(connection, now, token, pull, output);
}

/// The time is up.
pub(crate) fn end_hold(connection: &mut Connection, token: Token, pull: &Pull, output: &mut Output) {
    connection.session.stop_waiting(token, &pull.queue);
    put_nothing(pull, pull.queue.min_offset(), pull.queue.end_offset(), output);
}

/// Nothing new, or nothing that passes the filter; then the client is told where to go on.
fn put_nothing(pull: &Pull, min: u64, max: u64, output: &mut Output) {
    let bounds = Bounds { next: pull.at, min, max };
    let (code, remark) = if pull.at > pull.asked {
        (response::PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE")
    } else if max == 0 {
        (response::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE")
    } else {
        (response::PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE")
    };
    to_wire::put_pull_empty(output, pull.asker, code, remark, bounds);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_outside_the_queue_are_moved_as_with_rocketmq() {
        for (offset, min, max, expected) in [
            (0, 0, 0, None),
            (5, 0, 0, Some(("NO_MESSAGE_IN_QUEUE", 0))),
            (3, 4, 9, Some(("OFFSET_TOO_SMALL", 4))),
            (-1, 0, 9, Some(("OFFSET_TOO_SMALL", 0))),
            (4, 4, 9, None),
            (9, 4, 9, None),
            (10, 4, 9, Some(("OFFSET_OVERFLOW_BADLY", 9))),
            (9, 9, 9, None),
        ] {
            assert_eq!(moved(offset, min, max), expected, "{offset} in {min}..{max}");
        }
    }
}
