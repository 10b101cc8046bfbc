//! Positions of groups (14, 15) and bounds of queues (29 to 32).
//!
//! Resetting positions by administrators is not here.

use std::sync::Arc;

use mailrail_broker::connection::Output;
use mailrail_broker::{
    Action, Command as Ask, Error, Filter, Name, Queue, ReadBatch, ReadRequest, Reply, Resource,
};

use crate::codec::command::{Boundary, QueryConsumerOffset, QueueOf, SearchOffset, UpdateConsumerOffset};
use crate::codec::response_code as response;
use crate::connection::Connection;
use crate::outstanding::{Asker, Waiting};
use crate::refusal::Refusal;
use crate::to_wire;

/// A group without a position begins at 0 in a queue that still has its first message and no more than this many.
/// RocketMQ asks whether that message is still in memory (40 % of the machine's); a count is the same on every
/// machine. Clients that start at the end rely on it: what was sent just before they joined is not missed.
const YOUNG_QUEUE_ENTRIES_MAX: u64 = 100_000;

pub(crate) fn query(
    connection: &mut Connection,
    asker: Asker,
    query: &QueryConsumerOffset<'_>,
) -> Result<(), Refusal> {
    let Some(queue) = queue_of(connection, &query.queue) else { return Err(not_found()) };
    let zero_if_young = query.set_zero_if_not_found.unwrap_or(true);
    let (group, queues) = (Name::from(query.consumer_group), vec![queue.id]);
    let token = connection.outstanding.add(Waiting::Committed { asker, queue, zero_if_young });
    connection.asks.push(Ask::Committed { token, group, queues });
    Ok(())
}

pub(crate) fn put_committed(
    asker: Asker,
    queue: &Queue,
    zero_if_young: bool,
    result: Result<Reply, Error>,
    output: &mut Output,
) {
    let committed = match result {
        Ok(Reply::Offsets(offsets)) => offsets.first().copied().flatten(),
        Ok(_) | Err(Error::NoGroup { .. }) => None,
        Err(error) => return to_wire::put_refusal(output, asker, &error.into()),
    };
    match committed {
        Some(offset) => to_wire::put_number(output, asker, "offset", to_wire::signed(offset)),
        None if zero_if_young && is_young(queue.min_offset(), queue.end_offset()) => {
            to_wire::put_number(output, asker, "offset", 0)
        }
        None => to_wire::put_refusal(output, asker, &not_found()),
    }
}

fn is_young(min: u64, end: u64) -> bool {
    min == 0 && end > 0 && end <= YOUNG_QUEUE_ENTRIES_MAX
}

/// A negative position is no position: ali-ons writes -1 for a queue of which it has consumed nothing. RocketMQ takes it as
/// well, and forgets what it knew; here the group keeps its position.
pub(crate) fn update(
    connection: &mut Connection,
    asker: Asker,
    update: &UpdateConsumerOffset<'_>,
    output: &mut Output,
) -> Result<(), Refusal> {
    let Some(queue) = queue_of(connection, &update.queue) else {
        return Err(Refusal::no_topic(update.queue.topic));
    };
    let group = super::known_group(connection, update.consumer_group)?;
    let Ok(offset) = u64::try_from(update.commit_offset) else {
        to_wire::put_done(output, asker, true);
        return Ok(());
    };
    let done = Waiting::Done { asker, fields: true };
    let token = (!asker.one_way).then(|| connection.outstanding.add(done));
    connection.asks.push(Ask::Commit { token, group, commits: vec![(queue.id, offset)] });
    Ok(())
}

pub(crate) fn search(
    connection: &mut Connection,
    asker: Asker,
    search: &SearchOffset<'_>,
) -> Result<(), Refusal> {
    let Some(queue) = queue_of(connection, &search.queue) else {
        return Err(Refusal::no_topic(search.queue.topic));
    };
    let time = u64::try_from(search.timestamp).unwrap_or(0);
    // The last one at or before a time lies just below the first one after it.
    let time = if search.boundary == Boundary::Upper { time.saturating_add(1) } else { time };
    let waiting = Waiting::OffsetAt { asker, queue: queue.clone(), boundary: search.boundary };
    let token = connection.outstanding.add(waiting);
    connection.session.offset_at(token, &queue, time);
    Ok(())
}

pub(crate) fn put_offset_at(
    asker: Asker,
    queue: &Queue,
    boundary: Boundary,
    result: Result<Reply, Error>,
    output: &mut Output,
) {
    let found = match result {
        Ok(Reply::Offsets(offsets)) => offsets.first().copied().flatten().unwrap_or(queue.end_offset()),
        Ok(_) => queue.end_offset(),
        Err(error) => return to_wire::put_refusal(output, asker, &error.into()),
    };
    let offset = match boundary {
        Boundary::Lower => found,
        Boundary::Upper => found.saturating_sub(1).max(queue.min_offset()),
    };
    to_wire::put_number(output, asker, "offset", to_wire::signed(offset));
}

/// The next offset to be written. A queue that is not there ends at 0, as with RocketMQ.
pub(crate) fn max(
    connection: &mut Connection,
    asker: Asker,
    queue: &QueueOf<'_>,
    output: &mut Output,
) -> Result<(), Refusal> {
    connection.session.check(Action::Describe, Resource::topic(queue.topic))?;
    let offset = queue_of(connection, queue).map_or(0, |queue| queue.end_offset());
    to_wire::put_number(output, asker, "offset", to_wire::signed(offset));
    Ok(())
}

pub(crate) fn min(
    connection: &mut Connection,
    asker: Asker,
    queue: &QueueOf<'_>,
    output: &mut Output,
) -> Result<(), Refusal> {
    connection.session.check(Action::Describe, Resource::topic(queue.topic))?;
    let offset = queue_of(connection, queue).map_or(0, |queue| queue.min_offset());
    to_wire::put_number(output, asker, "offset", to_wire::signed(offset));
    Ok(())
}

/// Store time of the first message, -1 when there is none.
pub(crate) fn earliest(
    connection: &mut Connection,
    asker: Asker,
    queue: &QueueOf<'_>,
    output: &mut Output,
) -> Result<(), Refusal> {
    let Some(queue) = queue_of(connection, queue) else {
        to_wire::put_number(output, asker, "timestamp", -1);
        return Ok(());
    };
    let token = connection.outstanding.reserve();
    let offset = queue.min_offset();
    let request = ReadRequest { queue, offset, max_entries: 1, max_bytes: 1, filter: Filter::all() };
    match connection.session.read(token, request) {
        Some(result) => put_store_time(asker, result, output),
        None => connection.outstanding.put(token, Waiting::StoreTime { asker }),
    }
    Ok(())
}

pub(crate) fn put_store_time(asker: Asker, result: Result<ReadBatch, Error>, output: &mut Output) {
    match result {
        Ok(batch) => {
            let time = batch.entries.first().map_or(-1, |entry| to_wire::signed(entry.store_ms));
            to_wire::put_number(output, asker, "timestamp", time);
        }
        Err(error) => to_wire::put_refusal(output, asker, &error.into()),
    }
}

fn queue_of(connection: &mut Connection, queue: &QueueOf<'_>) -> Option<Arc<Queue>> {
    let index = u32::try_from(queue.queue_id).ok()?;
    connection.topic(queue.topic)?.queue(index)
}

fn not_found() -> Refusal {
    let remark = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first";
    Refusal::new(response::QUERY_NOT_FOUND, remark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_young_with_its_first_message_and_no_more_than_the_limit() {
        for (min, end, expected) in [
            (0, 0, false),
            (0, 1, true),
            (0, YOUNG_QUEUE_ENTRIES_MAX, true),
            (0, YOUNG_QUEUE_ENTRIES_MAX + 1, false),
            (1, 2, false),
        ] {
            assert_eq!(is_young(min, end), expected, "{min}..{end}");
        }
    }
}
