//! Storing together: messages and the ends of leases in one write group, so that a crash leaves all of it or nothing.
//! Everything that could be refused is looked at before anything changes, and room for all is reserved first.

use super::*;
use crate::command::Outcome;
use crate::limits::{TOGETHER_BYTES_MAX, TOGETHER_MESSAGES_MAX, TOGETHER_RECEIPTS_MAX};

/// Bytes that the record of an ended lease takes at most: numbers of group, queue and run, with its header.
const SETTLED_BYTES_MAX: usize = 72;
/// What a message gets longer by beside its targets: the header of their annex, and padding.
const PLACED_BYTES_MAX: usize = 32;

impl Shard {
    pub(in crate::shard) fn publish_together(
        &mut self,
        now: Now,
        mailbox: &Arc<Mailbox>,
        token: Token,
        mut batch: PublishBatch,
        settlements: Vec<(Vec<Receipt>, Outcome)>,
    ) {
        // Nothing of it is told before it is on the disk.
        batch.items.iter_mut().for_each(|item| item.durability = Durability::Disk);
        let bytes = to_u64(batch.bytes());
        let result = match self.check_together(now, &batch, &settlements) {
            Ok(room) => self.make_lites_of(now, &batch).and_then(|()| self.journal.reserve(room)),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.free(bytes);
            batch.items.iter().for_each(|item| self.counts.refused(item));
            return self.reply(mailbox, token, Err(error));
        }
        self.lengths.set_has_room(true);
        let results = self.store_together(now, batch, settlements);
        self.lengths.set_has_room(false);
        let letter = Letter::Event(Event::Reply { token, result: Ok(Reply::Together(results)) });
        self.journal.want_sync();
        let due = Due::Letter { mailbox: mailbox.clone(), letter, bytes };
        match self.journal.end() {
            end if end <= self.synced_to => self.carry_out(due),
            end => self.pending.when_synced(end, due),
        }
    }

    /// Whether all can be stored; returns the most bytes that it takes.
    fn check_together(
        &mut self,
        now: Now,
        batch: &PublishBatch,
        settlements: &[(Vec<Receipt>, Outcome)],
    ) -> Result<usize, Error> {
        if self.is_short_of_room && !batch.is_empty() {
            return Err(Error::NoSpace);
        }
        limit("messages stored together", to_u64(batch.len()), to_u64(TOGETHER_MESSAGES_MAX))?;
        let receipts: usize = settlements.iter().map(|(receipts, _)| receipts.len()).sum();
        limit("leases ended together", to_u64(receipts), to_u64(TOGETHER_RECEIPTS_MAX))?;
        for (receipts, outcome) in settlements {
            for receipt in receipts.iter().filter(|receipt| self.is_there(receipt)) {
                self.check_receipt(receipt, *outcome)?;
            }
        }
        // What one takes of a topic's room the next one does not find.
        self.lengths.begin_claims();
        let checked = self.check_messages(now, batch);
        self.lengths.end_claims();
        let bytes = checked?;
        limit("bytes stored together", to_u64(bytes), to_u64(TOGETHER_BYTES_MAX))?;
        Ok(bytes + receipts * SETTLED_BYTES_MAX)
    }

    fn is_there(&self, receipt: &Receipt) -> bool {
        self.state.progress(receipt.group, receipt.queue).is_some()
    }

    fn check_messages(&mut self, now: Now, batch: &PublishBatch) -> Result<usize, Error> {
        let (mut bytes, mut at, mut late) = (0, 0, to_u64(self.state.schedule().stuck()));
        let mut sequences = FxHashMap::default();
        for item in &batch.items {
            let record = batch.buffer.get(at..at + item.record_len).unwrap_or(&[]);
            at += item.record_len;
            if item.half.is_some() {
                let (name, value) = ("a message stored with others", "a half message".to_owned());
                return Err(Error::Argument { name, value, allowed: "any other" });
            }
            if let Some(due_ms) = item.due_ms {
                check_due(now, due_ms, late)?;
                late += 1;
            }
            check_sequence(&mut sequences, item)?;
            if item.lites.is_some() {
                let named = self.check_lites(item, record)?;
                bytes += named.len() * TargetSlot::BYTES;
            }
            let chosen = self.choose(now, item, record);
            // Whoever refuses it refuses the others with it, so that nothing of them is a dead letter.
            drop(self.lengths.take_refused());
            match chosen {
                Ok(Chosen { full: Some(full), .. }) => return Err(full),
                Ok(Chosen { places, .. }) => {
                    bytes += item.record_len + PLACED_BYTES_MAX + places.len() * TargetSlot::BYTES;
                }
                Err(Error::Unroutable | Error::Forgotten { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    /// Stores what was found to be fit, for which there is room.
    fn store_together(
        &mut self,
        now: Now,
        batch: PublishBatch,
        settlements: Vec<(Vec<Receipt>, Outcome)>,
    ) -> Vec<Result<Stored, Error>> {
        let PublishBatch { mut buffer, items } = batch;
        let (mut seen, mut run, mut refused) = (FxHashMap::default(), Run::default(), Vec::new());
        let mut results = Vec::with_capacity(items.len());
        for item in &items {
            let placed = self.take_message(now, &mut buffer, &mut run, item, (&mut seen, &mut refused));
            debug_assert!(
                matches!(placed, Ok(_) | Err(Error::Unroutable | Error::Forgotten { .. })),
                "it was found to be fit: {items:?}"
            );
            if matches!(placed, Err(Error::Unroutable)) {
                self.counts.refused(item);
            }
            let is_new = placed.as_ref().is_ok_and(|placed| !placed.stored.duplicate);
            self.outputs.published += u64::from(is_new);
            results.push(placed.map(|placed| placed.stored));
            if planted(Bug::AtomicGroupParted) {
                self.push_run(&mut buffer, &mut run);
                self.journal.submit();
            }
        }
        self.push_run(&mut buffer, &mut run);
        // Acknowledgements are records like the messages; what else ends leases may take others with it.
        let is_ack = |(_, outcome): &(Vec<Receipt>, Outcome)| *outcome == Outcome::Ack;
        let (acks, others): (Vec<_>, Vec<_>) = settlements.into_iter().partition(is_ack);
        for (receipts, outcome) in acks.into_iter().chain(others) {
            let receipts = receipts.into_iter().filter(|receipt| self.is_there(receipt)).collect();
            self.settle(now, receipts, outcome);
        }
        let position = self.journal.end();
        for (_, seen) in seen {
            self.show(now, seen, position);
        }
        results
    }
}

/// A producer's numbers increase among messages that are stored together; the same one again is a duplicate. What is not
/// above those before it would be found too late to be refused.
fn check_sequence(highest: &mut FxHashMap<DeduplicationKey, u64>, item: &PublishItem) -> Result<(), Error> {
    let Some(DeduplicationKey::Sequence { producer, sequence }) = item.key else { return Ok(()) };
    let before = highest.entry(DeduplicationKey::Key(producer)).or_insert(sequence);
    if sequence < *before {
        return Err(Error::OutOfSequence { sequence, highest: *before });
    }
    *before = sequence;
    Ok(())
}

#[cfg(test)]
mod tests {
    use mailrail_commitlog::record::padded;

    use super::*;

    #[test]
    fn what_is_reserved_is_enough() {
        let settled = Change::Settled {
            group: GroupId(u64::MAX),
            queue: QueueId(u64::MAX),
            runs: vec![(u64::MAX, u64::MAX)],
        };
        assert!(settled.encode(&mut BytesMut::new()) <= SETTLED_BYTES_MAX);
        let (near, far) = (Target { queue: 1, offset: 1 }, Target { queue: 1 << 63, offset: u64::MAX });
        for targets in
            [2, 3, 1_000].into_iter().flat_map(|count| [vec![near; count], [near, far].repeat(count)])
        {
            let longer = targets_annex(&targets).len().saturating_sub(TargetSlot::BYTES);
            // Padding of one record may be less than that of another by at most that of none.
            assert!(padded(longer) <= PLACED_BYTES_MAX + targets.len() * TargetSlot::BYTES);
        }
    }
}
