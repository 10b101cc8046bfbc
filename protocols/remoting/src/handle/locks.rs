//! Queue locks of orderly consumers (41, 42).
//!
//! Who holds which lock is the broker's; queues it does not know are never granted.

use std::time::Duration;

use bytes::BytesMut;
use mailrail_broker::connection::Output;
use mailrail_broker::{Action, Command as Ask, Error, Name, Now, QueueId, Reply, Resource};

use crate::codec::body::lock::{self, LockQueues, QueueName};
use crate::connection::Connection;
use crate::outstanding::{Asker, Waiting};
use crate::refusal::Refusal;
use crate::to_wire;

/// Clients renew every 20 s and distrust a lock after 30 s.
const LOCK_LEASE_MS: u64 = 60_000;

pub(crate) fn lock(
    connection: &mut Connection,
    now: Now,
    asker: Asker,
    lock: &LockQueues,
) -> Result<(), Refusal> {
    let named = known_queues(connection, &lock.queues);
    let group = super::known_group(connection, &lock.consumer_group)?;
    connection.session.check(Action::Consume, Resource::group(&group))?;
    let until = now.mono + Duration::from_millis(LOCK_LEASE_MS);
    connection.config.registry.locks(&group, until);
    let queues = named.iter().map(|(id, _)| *id).collect();
    let token = connection.outstanding.add(Waiting::Locked { asker, queues: named });
    let member = Name::from(lock.client_id.as_str());
    connection.asks.push(Ask::Lock { token, group, member, queues, lease_ms: LOCK_LEASE_MS });
    Ok(())
}

pub(crate) fn put_locked(
    asker: Asker,
    mut asked: Vec<(QueueId, QueueName)>,
    result: Result<Reply, Error>,
    output: &mut Output,
) {
    match result {
        Ok(Reply::Locked(held)) => {
            asked.retain(|(id, _)| held.contains(id));
            let mut body = BytesMut::new();
            lock::put_locked(&mut body, asked.iter().map(|(_, name)| name));
            to_wire::put_body(output, asker, false, &body);
        }
        Ok(_) => to_wire::put_done(output, asker, false),
        Err(error) => to_wire::put_refusal(output, asker, &error.into()),
    }
}

pub(crate) fn unlock(connection: &mut Connection, asker: Asker, lock: &LockQueues) -> Result<(), Refusal> {
    let queues = known_queues(connection, &lock.queues).into_iter().map(|(id, _)| id).collect();
    let group = super::known_group(connection, &lock.consumer_group)?;
    let member = Name::from(lock.client_id.as_str());
    let done = Waiting::Done { asker, fields: false };
    let token = (!asker.one_way).then(|| connection.outstanding.add(done));
    connection.asks.push(Ask::Unlock { token, group, member, queues });
    Ok(())
}

fn known_queues(connection: &mut Connection, names: &[QueueName]) -> Vec<(QueueId, QueueName)> {
    let mut known = Vec::with_capacity(names.len());
    for name in names {
        let index = u32::try_from(name.queue_id).ok();
        let topic = connection.topic(&name.topic);
        if let Some(queue) = topic.zip(index).and_then(|(topic, index)| topic.queue(index)) {
            known.push((queue.id, name.clone()));
        }
    }
    known
}
