//! Looking up messages by key (12) and by offset message id (33).

use mailrail_broker::connection::Output;
use mailrail_broker::{Error, FindRequest, Found, ReadBatch};

use super::pull::ANSWER_BYTES_MAX;
use crate::codec::command::{QueryMessage, ViewMessage};
use crate::codec::response_code as response;
use crate::connection::Connection;
use crate::outstanding::{Asker, Waiting};
use crate::refusal::Refusal;
use crate::to_wire;

/// Most messages of one answer.
pub(crate) const MESSAGES_MAX: usize = 1_024;

pub(crate) fn query(
    connection: &mut Connection,
    asker: Asker,
    query: &QueryMessage<'_>,
) -> Result<(), Refusal> {
    let topic = connection.topic(query.topic).ok_or_else(|| Refusal::no_topic(query.topic))?;
    if !topic.settings().readable {
        return Err(Error::NotReadable(query.topic.to_owned()).into());
    }
    let request = FindRequest {
        topic,
        key: query.key.to_owned(),
        from_ms: u64::try_from(query.begin).unwrap_or(0),
        to_ms: u64::try_from(query.end).unwrap_or(0),
        max: usize::try_from(query.max).unwrap_or(1).clamp(1, MESSAGES_MAX),
        max_bytes: ANSWER_BYTES_MAX,
    };
    connection.promise(ANSWER_BYTES_MAX);
    let token = connection.outstanding.add(Waiting::Found { asker });
    connection.session.find(token, request);
    Ok(())
}

pub(crate) fn found(
    connection: &Connection,
    asker: Asker,
    result: Result<Vec<Found>, Error>,
    output: &mut Output,
) {
    match result {
        Ok(found) if found.is_empty() => {
            let remark = "can not find message, maybe time range not correct";
            to_wire::put_refusal(output, asker, &Refusal::new(response::QUERY_NOT_FOUND, remark));
        }
        Ok(found) => {
            let directory = connection.session.broker().directory();
            to_wire::put_found(output, asker, (&connection.config, directory), &found);
        }
        Err(error) => to_wire::put_refusal(output, asker, &error.into()),
    }
}

pub(crate) fn view(connection: &mut Connection, asker: Asker, view: &ViewMessage) -> Result<(), Refusal> {
    let Ok(position) = u64::try_from(view.position) else { return Err(no_message(view.position)) };
    connection.promise(super::send_back::ASSUMED_BYTES);
    let token = connection.outstanding.add(Waiting::Viewed { asker, position: view.position });
    connection.session.read_position(token, position);
    Ok(())
}

pub(crate) fn viewed(asker: Asker, position: i64, result: Result<ReadBatch, Error>, output: &mut Output) {
    match result.map(|batch| batch.entries.into_iter().next()) {
        Ok(Some(entry)) => to_wire::put_viewed(output, asker, &entry),
        Ok(None) | Err(Error::NoMessage(_)) => to_wire::put_refusal(output, asker, &no_message(position)),
        Err(error) => to_wire::put_refusal(output, asker, &error.into()),
    }
}

/// What RocketMQ answers, in its words.
fn no_message(position: i64) -> Refusal {
    Refusal::new(response::SYSTEM_ERROR, format!("can not find message by the offset, {position}"))
}
