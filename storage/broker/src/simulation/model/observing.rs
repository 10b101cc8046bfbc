//! What the broker does is looked up in the model at once, and whenever it is at rest both must stand alike.

use mailrail_message::{AnnexKind, Deaths};

use super::acts::{KEYS, TOPICS};
use super::broker::Taker;
use super::queue::{Death, Name as Known};
use super::rig::{Held, Rig};
use super::*;
use crate::limits::FETCH_BYTES_MAX;
use crate::reader::behind_header;
use crate::session::Grant;

impl Rig {
    pub fn observe(&mut self) -> Said {
        self.observe_entries()?;
        let longer = self.observe_ends()?;
        self.observe_late()?;
        self.observe_burials()?;
        self.observe_letters()?;
        longer.into_iter().for_each(|topic| self.model.limit_length(topic));
        Ok(())
    }

    /// Every entry, before anybody may have it.
    pub fn observe_entries(&mut self) -> Said {
        let (written, _) = self.sim.shard.log_reached();
        let mut new = Vec::new();
        for (name, topic) in &self.model.topics {
            for (index, known) in (0..).zip(&topic.queues) {
                let queue = &self.sim.shard.state().queues[&QueueId(known.id)];
                if queue.next_offset > known.next {
                    let entries = queue.shared.image(u64::MAX);
                    let entries = entries.entries().filter(|entry| entry.offset >= known.next);
                    new.extend(entries.map(|entry| (entry.position, *name, index, entry)));
                }
            }
        }
        new.sort_by_key(|(position, ..)| *position);
        for (position, topic, index, entry) in new {
            if behind_header(position) + u64::from(entry.bytes) > written {
                break;
            }
            let read = self.sim.context.whole(&[(behind_header(position), entry.bytes)]).pop().unwrap();
            let message = read.map_err(|error| error.to_string())?;
            let deaths = deaths_of(&message);
            let number = number_of(&message);
            self.model.arrived(topic, index, entry.offset, entry.store_ms, (number, &deaths))?;
        }
        Ok(())
    }

    /// How far each queue can be seen. Returns topics that got longer.
    pub fn observe_ends(&mut self) -> Said<Vec<Known>> {
        let mut longer = Vec::new();
        for (name, topic) in &mut self.model.topics {
            for known in &mut topic.queues {
                let end = self.sim.shard.state().queues[&QueueId(known.id)].shared.end_offset();
                must!(
                    (known.visible..=known.next).contains(&end),
                    "{name} can be seen up to {end}, after {}, and ends at {}",
                    known.visible,
                    known.next
                );
                if end > known.visible {
                    known.visible = end;
                    longer.push(*name);
                }
            }
        }
        Ok(longer)
    }

    /// What nobody may get any more, and has gone.
    pub fn observe_late(&mut self) -> Said {
        for (key, index, offset, reason) in self.model.late() {
            let state = self.sim.shard.state();
            let group = state.directory.group(key.0).ok_or("the group is missing")?;
            let progress = state.progress(group.id, QueueId(self.model.queue(key.1, index).id));
            if progress.is_some_and(|progress| progress.is_settled(offset)) {
                self.model.give_up(key, index, offset, reason);
            }
        }
        Ok(())
    }

    /// What was given up, and has come to the dead letters: both are recorded as one.
    pub fn observe_burials(&mut self) -> Said {
        for ((group, topic, index), line) in &mut self.model.lines {
            let state = self.sim.shard.state();
            let (group, queue) = (state.directory.group(group), &self.model.topics[topic].queues);
            let progress =
                state.progress(group.ok_or("the group is missing")?.id, QueueId(queue[*index as usize].id));
            line.dying.retain(|offset| progress.is_some_and(|progress| !progress.is_settled(*offset)));
        }
        Ok(())
    }

    pub fn observe_letters(&mut self) -> Said {
        let (mut granted, mut empty, mut news) = (Vec::new(), Vec::new(), Vec::new());
        for client in 0..self.clients.len() {
            for letter in self.clients[client].mailbox.take_letters() {
                match letter {
                    Letter::Event(Event::Reply { token, result }) => {
                        self.replies.insert((client, token), result);
                    }
                    Letter::Event(Event::Published { token, results }) => {
                        self.receipts.insert((client, token), results);
                    }
                    Letter::Event(Event::Deliveries { to: Recipient::Request(token), deliveries }) => {
                        must!(deliveries.is_empty(), "deliveries come as grants");
                        empty.push((client, token));
                    }
                    Letter::Granted { to, grants } => granted.push((client, to, grants)),
                    Letter::Event(Event::MembersChanged { .. }) => {}
                    Letter::Event(Event::Check(check)) => {
                        let session = self.session(client);
                        self.model.asked(number_of(&check.message), session, check.checks)?;
                    }
                    other => return Err(format!("client {client} gets {other:?}")),
                }
            }
        }
        // In the order in which they were made.
        granted.sort_by_key(|(_, _, grants)| grants[0].first_lease);
        for (client, to, grants) in granted {
            news.extend(self.granted(client, to, grants)?);
        }
        empty.into_iter().try_for_each(|at| self.got_nothing(at))?;
        for news in news {
            if let Input::Commands { mailbox, commands, .. } = &news
                && let [Command::Credit { consumer, add }] = &commands[..]
            {
                let consumer = (mailbox.session.0, consumer.0);
                let key = self.model.key_of(consumer).ok_or("credit for no consumer")?;
                self.model.add_credit(key, consumer, i64::from(*add));
            }
            self.sim.shard.handle(self.sim.now, news);
        }
        Ok(())
    }

    /// A receive is over. It gets nothing only if its time is over and there is nothing.
    pub fn got_nothing(&mut self, at: (usize, Token)) -> Said {
        let (key, taker) = self.takers.remove(&at).ok_or("an answer to nothing")?;
        let Taker::Receiver { session, token } = taker else {
            self.model.count("gets of nothing", 1);
            return self.model.check_nothing_left(key);
        };
        let now_ms = self.model.mono_ms;
        let receivers = &mut self.model.subscriptions.get_mut(&key).ok_or("nobody receives")?.receivers;
        let at = receivers.iter().position(|receiver| (receiver.session, receiver.token) == (session, token));
        let receiver = receivers.remove(at.ok_or("an answer to nothing")?);
        must!(receiver.deadline_ms <= now_ms, "{receiver:?} gets nothing before its time");
        self.model.count("receives of nothing", 1);
        Ok(())
    }

    pub fn granted(&mut self, client: usize, to: Recipient, grants: Vec<Grant>) -> Said<Vec<Input>> {
        let session = self.session(client);
        let (key, taker) = match to {
            Recipient::Request(token) => self.takers.remove(&(client, token)).ok_or("grants for nothing")?,
            Recipient::Consumer(ConsumerId(number)) => {
                let consumer = (session, number);
                let found = self.model.key_of(consumer);
                (found.ok_or("grants for no consumer")?, Taker::Consumer(consumer))
            }
        };
        let mut fetched = self.sim.context.fetch(grants.clone(), FETCH_BYTES_MAX);
        must!(fetched.rest.is_empty() && fetched.unread.is_empty(), "{fetched:?}");
        let (batch, max) = self.model.begin_batch(key, taker)?;
        let mut count = 0;
        for grant in &grants {
            let index = grant.queue.index;
            for offset in grant.first_offset..grant.end_offset() {
                let receipt = grant.receipt(offset);
                let delivery = fetched.deliveries.iter().find(|delivery| delivery.receipt == receipt);
                must!(
                    delivery.is_some() || fetched.overdue.contains(&receipt),
                    "{offset} of {key:?} is granted and gone"
                );
                let body = delivery.map(|delivery| number_of(&delivery.message));
                let number = (receipt.epoch, receipt.lease);
                self.model.hand_out(key, (index, offset), taker, (batch, number), (grant.attempts, body))?;
                if delivery.is_some() {
                    self.granted.push(Held { key, index, receipt });
                }
                count += 1;
            }
        }
        self.model.end_batch(key, taker, (batch, count, max))?;
        let (undelivered, mut news) = (fetched.undelivered(), fetched.take_news());
        if let (Recipient::Consumer(consumer), 1..) = (to, undelivered) {
            // It still expects as many, as a session says by itself.
            let commands = vec![Command::Credit { consumer, add: undelivered }];
            let (mailbox, since) = (self.clients[client].mailbox.clone(), self.sim.now.mono);
            news.push(Input::Commands { mailbox, commands, since });
        }
        Ok(news)
    }

    // At rest.

    /// Lets the broker come to rest, and compares.
    pub fn rest(&mut self) -> Said {
        self.come_to_rest()?;
        self.model.check_rest()?;
        self.check_halves()?;
        self.check_views()
    }

    /// As many half messages are open, and as often asked for.
    fn check_halves(&self) -> Said {
        let found = self.sim.shard.state().halves().from(0);
        let found: Vec<_> =
            found.map(|(_, half)| (half.group.to_string(), half.checks, half.next_check_ms)).collect();
        let known = self.model.halves.values();
        let known: Vec<_> =
            known.map(|half| (half.producers.to_owned(), half.checks, half.next_check_ms)).collect();
        must!(found == known, "half messages are {found:?}, not {known:?}");
        Ok(())
    }

    /// What the broker tells of each group is what the model knows.
    pub fn check_views(&mut self) -> Said {
        for key in KEYS.into_iter().filter(|key| self.model.is_there(*key)).collect::<Vec<_>>() {
            let token = self.clients[0].token();
            let command = Command::GroupState { token, group: key.0.into(), topic: key.1.into() };
            let (mailbox, since) = (self.clients[0].mailbox.clone(), self.sim.now.mono);
            self.sim.shard.handle(self.sim.now, Input::Commands { mailbox, commands: vec![command], since });
            self.sim.step(Part::Shard);
            self.observe_letters()?;
            let Some(Ok(Reply::Group(view))) = self.replies.remove(&(0, token)) else {
                return Err(format!("no view of {key:?}"));
            };
            let consumers = self.model.subscriptions.get(&key).map_or(0, |s| s.consumers.len());
            let expected = (self.model.ready(key), self.model.leases_on(key), consumers);
            let found = (view.ready, view.leased as usize, view.consumers as usize);
            must!(found == expected, "{key:?} has (ready, leased, consumers) {found:?}, not {expected:?}");
            for queue in view.queues {
                let (line, known) = self.model.line(key, queue.queue_index);
                let lag = line.unsettled(known).count() as u64;
                let (found, expected) = ((queue.lag, queue.end), (lag, known.visible));
                must!(found == expected, "{key:?} has (lag, end) {found:?}, not {expected:?}");
                let committed = known.end_of_gap(queue.committed).unwrap_or(queue.committed);
                must!(committed == line.floor, "{key:?} is at {committed}, not at {}", line.floor);
            }
        }
        Ok(())
    }
}
fn number_of(message: &[u8]) -> u64 {
    body(message).parse().unwrap()
}

fn deaths_of(message: &[u8]) -> Vec<Death> {
    let stored = StoredMessage::parse(message).unwrap();
    let deaths = stored.annex(AnnexKind::Deaths).and_then(Deaths::read).unwrap_or_default();
    let known = |name: &str| TOPICS.into_iter().find(|topic| *topic == name).unwrap();
    let death = |death: &mailrail_message::Death| Death {
        topic: known(&death.queue),
        reason: death.reason,
        count: death.count,
    };
    deaths.all().iter().map(death).collect()
}
