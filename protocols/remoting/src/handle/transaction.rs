//! Transactions: how a half message ends (37), and who is asked what becomes of it (39).
//!
//! When that is, how often, and which producer's turn it is are the broker's.

use mailrail_broker::connection::Output;
use mailrail_broker::{Check, Command as Ask, Decision, HalfTerms, Name, Now, limits};
use mailrail_message::{OffsetId, Rewrite, StoredMessage, property, rewrite_into};

use crate::codec::command::transaction::{CheckTransaction, EndTransaction, TransactionEnd, put_check};
use crate::codec::response_code as response;
use crate::connection::Connection;
use crate::from_wire::Meant;
use crate::outstanding::{Asker, Waiting};
use crate::refusal::Refusal;
use crate::to_wire::{self, signed};

/// Who decides on a half message, and when it is asked first; both as the message says, or as is usual.
pub(crate) fn half_of(meant: &Meant<'_>, producer_group: &str, now: Now) -> HalfTerms {
    let immunity_ms = meant.immunity_seconds.map(|seconds| seconds.saturating_mul(1_000));
    let wait_ms = immunity_ms.unwrap_or(limits::HALF_FIRST_CHECK_MS).min(limits::HALF_FIRST_CHECK_MS_MAX);
    HalfTerms {
        group: Name::from(meant.producer_group.unwrap_or(producer_group)),
        first_check_ms: now.wall_ms.saturating_add(wait_ms),
    }
}

/// The client has a producer of this group: it may be asked.
pub(crate) fn produce(connection: &mut Connection, group: &str) {
    let has_room =
        u64::try_from(connection.produced.len()).is_ok_and(|len| len < limits::SESSION_PRODUCER_GROUPS_MAX);
    if has_room && !connection.produced.contains(group) {
        let group = Name::from(group);
        connection.produced.insert(group.clone());
        let token = connection.outstanding.add(Waiting::Nobody);
        connection.asks.push(Ask::Produce { token, group });
    }
}

pub(crate) fn stop_producing(connection: &mut Connection, group: &str) {
    if let Some(group) = connection.produced.take(group) {
        connection.asks.push(Ask::StopProducing { group });
    }
}

/// Clients expect no answer; one that asks for it gets it once the end is on the disk.
pub(crate) fn end(
    connection: &mut Connection,
    asker: Asker,
    end: &EndTransaction<'_>,
    output: &mut Output,
) -> Result<(), Refusal> {
    let decision = match end.end {
        TransactionEnd::Unknown => {
            tracing::debug!(group = end.producer_group, from_check = end.from_check, "not decided yet");
            to_wire::put_done(output, asker, false);
            return Ok(());
        }
        TransactionEnd::Commit => Decision::Commit,
        TransactionEnd::RollBack => Decision::RollBack,
    };
    let position = u64::try_from(end.log_offset).ok().filter(|_| end.table_offset == end.log_offset);
    let Some(position) = position else {
        let remark =
            "The transaction state table offset wrong: it and the commit log offset are of two messages";
        return Err(Refusal::new(response::SYSTEM_ERROR, remark));
    };
    let group = Some(Name::from(end.producer_group));
    let token = connection.outstanding.add(Waiting::Done { asker, fields: false });
    connection.asks.push(Ask::EndHalf { token, position, group, decision });
    Ok(())
}

/// Asks the client what becomes of a half message; one that has much to read already is asked the next time.
pub(crate) fn check(connection: &mut Connection, check: &Check, output: &mut Output) {
    let Ok(message) = StoredMessage::parse(&check.message) else { return };
    if connection.is_full(output) {
        return;
    }
    let mut more = Vec::new();
    property::push(&mut more, property::CHECK_TIMES, &check.checks.saturating_add(1).to_string());
    if message.properties().get(property::PRODUCER_GROUP).is_none() {
        // By it the client finds its producer.
        property::push(&mut more, property::PRODUCER_GROUP, &check.group);
    }
    let rewrite = Rewrite {
        queue_offset: Some(check.position),
        store_host: Some(connection.config.advertised),
        more_properties: &more,
        ..Rewrite::default()
    };
    let mut record = Vec::with_capacity(message.record().len() + more.len());
    rewrite_into(&message, &rewrite, &mut record);
    let question = CheckTransaction {
        topic: message.topic(),
        table_offset: signed(check.position),
        id: OffsetId { host: connection.config.advertised, position: check.position },
        unique: message.properties().get(property::UNIQUE_ID).unwrap_or_default(),
        record: &record,
    };
    let opaque = connection.next_opaque();
    output.append(|out| put_check(out, opaque, &question));
}
