//! The end of transactions: a commit is one command, so that a crash leaves all of it or nothing.

use mailrail_broker::connection::Output;
use mailrail_broker::{Command, Error, Outcome, Receipt, Stored};

use super::publish::give_back;
use super::{Carried, REQUEUE, answer, ask};
use crate::adapter::{Connection, outcome};
use crate::channel::{Answer, RequestId, Settlement};
use crate::codec::ReplyCode;
use crate::fault::Refusal;
use crate::outstanding::{Committing, Found, Kind};
use crate::to_wire;
use crate::transaction::Mandatory;

pub(crate) fn commit(
    connection: &mut Connection,
    id: RequestId,
    settlements: Vec<(Settlement, Vec<Receipt>)>,
) -> Result<Carried, Refusal> {
    let published = connection.transactions.take(id.channel);
    let settlements: Vec<(Vec<Receipt>, Outcome)> =
        settlements.into_iter().map(|(settlement, leases)| (leases, outcome(settlement))).collect();
    let leases = settlements.iter().flat_map(|(leases, _)| leases).copied().collect();
    let committing = Box::new(Committing { mandatory: published.mandatory, leases });
    let batch = published.batch;
    Ok(ask(connection, id, Kind::Commit(committing), |token| {
        [Some(Command::PublishTogether { token, batch, settlements })]
    }))
}

/// What was settled is the channel's again.
pub(crate) fn roll_back(connection: &mut Connection, id: RequestId) -> Result<Carried, Refusal> {
    drop(connection.transactions.take(id.channel));
    Ok(Carried::Done)
}

/// A commit was stored: what had no queue comes back first, as with RabbitMQ.
pub(crate) fn committed(
    connection: &mut Connection,
    id: RequestId,
    committing: Committing,
    found: Found,
    output: &mut Output,
) {
    let went_nowhere = |stored: &Result<Stored, Error>| matches!(stored, Err(Error::Unroutable));
    for Mandatory { item, copy } in &committing.mandatory {
        if item.is_none_or(|item| found.stored.get(item).is_some_and(went_nowhere)) {
            give_back(connection, id.channel, copy, output);
        }
    }
    answer(connection, id, Ok(Answer::Done), output);
}

/// A commit was refused: nothing of it has happened, and the channel ends as it does for RabbitMQ's clients.
pub(crate) fn refused(
    connection: &mut Connection,
    id: RequestId,
    committing: &Committing,
    error: &Error,
    output: &mut Output,
) {
    if !committing.leases.is_empty() {
        connection.settle(REQUEUE, &committing.leases);
    }
    let refusal = match error {
        Error::Full { .. } | Error::NoSpace => {
            Refusal::new(ReplyCode::PreconditionFailed, format!("partial tx completion: {error}"))
        }
        error => to_wire::refusal(error),
    };
    answer(connection, id, Err(refusal), output);
}
