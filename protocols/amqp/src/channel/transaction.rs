//! Class tx: from select on, publishes and settlements count only once they are committed, all of them or none.
//!
//! Publishes of a transaction are kept on the broker's side; settlements here, since a rollback makes their messages
//! unacknowledged again. Deliveries, and all that is declared, are no part of it.

use super::unacked::Tagged;
use super::*;
use crate::codec::limits::TRANSACTION_SETTLED_MAX;

/// What was settled in the transaction that is open, in order.
#[derive(Debug)]
pub(super) struct Transaction<L> {
    settled: Vec<(Settlement, Vec<Tagged<L>>)>,
    count: usize,
}

impl<L> Default for Transaction<L> {
    fn default() -> Self {
        Transaction { settled: Vec::new(), count: 0 }
    }
}

impl<L> Transaction<L> {
    /// Everything that was settled, oldest tag first.
    pub fn drain(&mut self) -> impl Iterator<Item = Tagged<L>> + use<L> {
        self.count = 0;
        let mut all: Vec<Tagged<L>> =
            std::mem::take(&mut self.settled).into_iter().flat_map(|(_, tagged)| tagged).collect();
        all.sort_by_key(|tagged| tagged.tag);
        all.into_iter()
    }

    /// Takes settled messages in; they count with the commit.
    pub fn settle(&mut self, settlement: Settlement, tagged: Vec<Tagged<L>>) -> Result<(), Refusal> {
        self.count += tagged.len();
        let is_over = self.count > TRANSACTION_SETTLED_MAX;
        match self.settled.last_mut() {
            Some((last, gathered)) if *last == settlement => gathered.extend(tagged),
            _ => self.settled.push((settlement, tagged)),
        }
        if is_over {
            let text =
                format!("a transaction settles {} messages; at most {TRANSACTION_SETTLED_MAX}", self.count);
            return Err(Refusal::new(ReplyCode::PreconditionFailed, text));
        }
        Ok(())
    }
}

impl<L> Channel<L> {
    pub(super) fn tx_select(&mut self, out: &mut impl Outgoing) -> Result<Handled<L>, Fault> {
        if self.confirms.is_some() {
            return Err(precondition(TxSelect::ID, "cannot switch from confirm to tx mode"));
        }
        self.transaction.get_or_insert_default();
        writer::method(out, self.key.number, &TxSelectOk);
        Ok(Handled::Nothing)
    }

    pub(super) fn tx_commit(&mut self) -> Result<Handled<L>, Fault> {
        let transaction = self.transaction.as_mut().ok_or_else(|| not_transactional(TxCommit::ID))?;
        let mut settlements = Vec::with_capacity(transaction.settled.len());
        transaction.count = 0;
        for (settlement, tagged) in std::mem::take(&mut transaction.settled) {
            let mut leases = Vec::with_capacity(tagged.len());
            for Tagged { consumer, lease, .. } in tagged {
                consumer.into_iter().for_each(|consumer| self.consumers.settled(consumer));
                leases.push(lease);
            }
            settlements.push((settlement, leases));
        }
        let expected = Expected { method: TxCommit::ID, reply: Reply::TxCommitOk, no_wait: false };
        Ok(self.ask(expected, Request::Commit { settlements }))
    }

    pub(super) fn tx_rollback(&mut self) -> Result<Handled<L>, Fault> {
        let transaction = self.transaction.as_mut().ok_or_else(|| not_transactional(TxRollback::ID))?;
        self.unacked.put_back(transaction.drain());
        let expected = Expected { method: TxRollback::ID, reply: Reply::TxRollbackOk, no_wait: false };
        Ok(self.ask(expected, Request::RollBack))
    }
}

fn not_transactional(method: MethodId) -> Fault {
    precondition(method, "channel is not transactional")
}

pub(super) fn precondition(method: MethodId, text: &str) -> Fault {
    Fault::new(ReplyCode::PreconditionFailed, method, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_settled_and_not_one_more() {
        let tagged = |tag| Tagged { tag, consumer: None, lease: tag };
        let mut transaction = Transaction::default();
        let most = TRANSACTION_SETTLED_MAX as u64;
        assert!(transaction.settle(Settlement::Ack, (0..most).map(tagged).collect()).is_ok());
        let refusal = transaction.settle(Settlement::Reject, vec![tagged(most)]).unwrap_err();
        assert!(refusal.text.contains(&format!("{} messages", most + 1)), "{}", refusal.text);
        assert!(transaction.drain().map(|tagged| tagged.tag).eq(0..=most));
        assert!(transaction.settle(Settlement::Ack, vec![tagged(1)]).is_ok());
    }
}
