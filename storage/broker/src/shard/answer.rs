//! Answers: at once, or when what they tell of is written or synced.

use super::*;

impl Shard {
    pub(super) fn refusal(&self) -> Option<Error> {
        match &self.poisoned {
            Some(why) => Some(Error::Poisoned(why.clone())),
            None if self.stopping => Some(Error::Stopping),
            None => None,
        }
    }

    /// Answers a command that is not carried out.
    pub(super) fn refuse(&mut self, mailbox: &Arc<Mailbox>, command: Command, error: Error) {
        let items = command.batch().into_iter().flat_map(|batch| &batch.items);
        items.for_each(|item| self.counts.refused(item));
        match command {
            Command::Publish { token, batch } => {
                self.free(u64::try_from(batch.bytes()).unwrap_or(u64::MAX));
                let results = batch.items.iter().map(|_| Err(error.clone())).collect();
                self.send(mailbox, Letter::Event(Event::Published { token, results }));
            }
            command => {
                self.free(command.weight());
                if let Some(token) = command.token() {
                    self.reply(mailbox, token, Err(error));
                }
            }
        }
    }

    /// Answers with an error what would have been answered with success.
    pub(super) fn answer_with_error(&mut self, due: Due, error: &Error) {
        let Due::Letter { mailbox, letter: Letter::Event(event), bytes } = due else { return };
        self.free(bytes);
        let event = match event {
            Event::Published { token, results } => {
                let failed = |_| Err(error.clone());
                Event::Published { token, results: results.into_iter().map(failed).collect() }
            }
            Event::Reply { token, .. } => Event::Reply { token, result: Err(error.clone()) },
            event => event,
        };
        self.send(&mailbox, Letter::Event(event));
    }

    pub(super) fn reply(&mut self, mailbox: &Arc<Mailbox>, token: Token, result: Result<Reply, Error>) {
        self.send(mailbox, Letter::Event(Event::Reply { token, result }));
    }

    /// Answers once everything appended so far is written, so that a killed process takes nothing back.
    pub(super) fn reply_when_written(
        &mut self,
        mailbox: &Arc<Mailbox>,
        token: Token,
        result: Result<Reply, Error>,
    ) {
        let end = self.journal.end();
        if end <= self.written_to || planted(Bug::AckBeforeWrite) {
            return self.reply(mailbox, token, result);
        }
        let letter = Letter::Event(Event::Reply { token, result });
        self.pending.when_written(end, Due::Letter { mailbox: mailbox.clone(), letter, bytes: 0 });
    }

    /// Answers once everything below a position is on the disk.
    pub(super) fn reply_when_synced(
        &mut self,
        mailbox: &Arc<Mailbox>,
        token: Token,
        end: Position,
        result: Result<Reply, Error>,
    ) {
        if end <= self.synced_to {
            return self.reply(mailbox, token, result);
        }
        let letter = Letter::Event(Event::Reply { token, result });
        self.pending.when_synced(end, Due::Letter { mailbox: mailbox.clone(), letter, bytes: 0 });
    }

    /// Collects letters by session, so that each is woken once a turn.
    pub(super) fn send(&mut self, mailbox: &Arc<Mailbox>, letter: Letter) {
        let letters = &mut self.outputs.letters;
        let slot = *self.letter_slots.entry(mailbox.session).or_insert_with(|| {
            letters.push((mailbox.clone(), Vec::new()));
            letters.len() - 1
        });
        if let Some((_, letters)) = letters.get_mut(slot) {
            letters.push(letter);
        }
    }

    pub(super) fn free(&mut self, bytes: u64) {
        self.outputs.freed_bytes += bytes;
    }
}
