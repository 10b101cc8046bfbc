//! What a session asks for: which part of the shard carries it out.

use super::*;

impl Shard {
    /// Carries a command out, if whoever it is for may have that.
    pub(super) fn command(&mut self, now: Now, mailbox: &Arc<Mailbox>, command: Command) {
        if let Command::Identify { identity } = command {
            return mailbox.identify(identity);
        }
        if let Some(refusal) = self.refusal() {
            return self.refuse(mailbox, command, refusal);
        }
        match self.check_access(mailbox, &command) {
            Ok(()) => self.carry_out_command(now, mailbox, command),
            Err(denied) => self.deny(now, mailbox, command, denied),
        }
    }

    fn carry_out_command(&mut self, now: Now, mailbox: &Arc<Mailbox>, command: Command) {
        match command {
            Command::Publish { .. } if self.is_short_of_room => self.refuse(mailbox, command, Error::NoSpace),
            Command::Publish { token, batch } => self.publish(now, mailbox, token, batch),
            Command::Commit { token, group, commits } => {
                let result = self.commit(now, &group, &commits);
                if let Some(token) = token {
                    self.reply_when_written(mailbox, token, result.map(|()| Reply::Done));
                }
            }
            Command::Settle { token, receipts, outcome } => {
                let results = self.settle(now, receipts, outcome);
                if let Some(token) = token {
                    self.reply_when_written(mailbox, token, Ok(Reply::Settled(results)));
                }
            }
            Command::Extend { token, receipts, lease_ms } => {
                let result = self.extend(now, &receipts, lease_ms).map(Reply::Settled);
                self.reply(mailbox, token, result);
            }
            Command::Credit { consumer, add } => self.credit(mailbox.session, consumer, add),
            Command::Receive { token, group, topic, max, wait_ms, lease_ms, filter } => {
                let asked = consume::Asked { token, max, wait_ms, lease_ms, filter };
                if let Err(error) = self.receive(now, mailbox, &group, &topic, asked) {
                    self.reply(mailbox, token, Err(error));
                }
            }
            Command::Consume { token, consumer, group, topic, credit, no_ack, exclusive, priority } => {
                let asked = consume::Wanted { consumer, credit, no_ack, exclusive, priority };
                let result = self.consume(now, mailbox, &group, &topic, asked);
                self.reply(mailbox, token, result.map(|()| Reply::Done));
            }
            Command::Cancel { token, consumer } => {
                self.cancel(mailbox.session, consumer);
                self.reply(mailbox, token, Ok(Reply::Done));
            }
            Command::Get { token, group, topic, no_ack } => {
                if let Err(error) = self.get(now, mailbox, &group, &topic, token, no_ack) {
                    self.reply(mailbox, token, Err(error));
                }
            }
            Command::Committed { token, group, queues } => {
                let offsets = self.committed(&group, &queues);
                self.reply(mailbox, token, Ok(Reply::Offsets(offsets)));
            }
            Command::Seek { token, group, topic, to } => {
                let result = self.seek(now, mailbox.session, &group, &topic, to).map(Reply::Offsets);
                self.reply_when_written(mailbox, token, result);
            }
            Command::Purge { token, group, topic } => {
                let result = self.purge(now, mailbox.session, &group, &topic).map(Reply::Count);
                self.reply_when_written(mailbox, token, result);
            }
            Command::GroupState { token, group, topic } => {
                let result = self.group_state(&group, &topic).map(Reply::Group);
                self.reply(mailbox, token, result);
            }
            Command::Recall { token, position, topic } => {
                self.begin_recall(mailbox, token, position, topic);
            }
            Command::Sync { token } => {
                self.journal.want_sync();
                self.reply_when_synced(mailbox, token, self.journal.end(), Ok(Reply::Done));
            }
            command => self.transact(now, mailbox, command),
        }
    }

    /// Commands that are about half messages, or are carried out as a whole.
    fn transact(&mut self, now: Now, mailbox: &Arc<Mailbox>, command: Command) {
        match command {
            Command::Produce { token, group } => {
                let result = self.produce(mailbox, group).map(|()| Reply::Done);
                self.reply(mailbox, token, result);
            }
            Command::StopProducing { group } => self.stop_producing(mailbox.session, &group),
            Command::EndHalf { token, position, group, decision } => {
                self.end_half(mailbox, token, position, group, decision);
            }
            Command::OpenHalves { token, group, after, max } => {
                let halves = self.list_halves(group.as_ref(), after, max);
                self.reply(mailbox, token, Ok(Reply::Halves(halves)));
            }
            Command::PublishTogether { token, batch, settlements } => {
                self.publish_together(now, mailbox, token, batch, settlements);
            }
            command => self.administer(now, mailbox, command),
        }
    }

    /// Commands that change topology, users or membership; the former are answered once they are synced.
    fn administer(&mut self, now: Now, mailbox: &Arc<Mailbox>, command: Command) {
        match command {
            Command::Join { token, group, member, topics, expires_ms } => {
                let result = self.join(now, mailbox, group, member, topics, expires_ms);
                self.reply(mailbox, token, result.map(|()| Reply::Done));
            }
            Command::Leave { group, member } => self.leave(&group, &member),
            Command::Members { token, group } => {
                let names = self.members.names(&group);
                self.reply(mailbox, token, Ok(Reply::Members(names)));
            }
            Command::Lock { token, group, member, queues, lease_ms } => {
                let locked = self.lock(now, mailbox.session, (&group, member), &queues, lease_ms);
                self.reply(mailbox, token, Ok(Reply::Locked(locked)));
            }
            Command::Unlock { token, group, member, queues } => {
                queues.iter().for_each(|queue| self.members.unlock(&group, *queue, &member));
                if let Some(token) = token {
                    self.reply(mailbox, token, Ok(Reply::Done));
                }
            }
            Command::Audit { token, before, max } => {
                let entries = self.audit_entries(before, max);
                self.reply(mailbox, token, entries);
            }
            command => {
                let before = self.journal.end();
                let asked = Administered::of(&command);
                if let Some((token, result)) = self.change_topology(now, mailbox, command) {
                    self.audit_change(now, mailbox, asked, (before, result.as_ref().err()));
                    if self.journal.end() != before {
                        self.topology_end = self.journal.end();
                        self.journal.want_sync();
                    }
                    // Also an answer that changed nothing rests on the last change, which others may still wait for.
                    self.reply_when_synced(mailbox, token, self.topology_end, result);
                }
            }
        }
    }
}
