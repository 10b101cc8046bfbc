//! Acts of consumers and administrators of groups, done to the broker and to the model.

use super::acts::{Act, KEYS, To};
use super::broker::{Key, Taker};
use super::locks::Lock;
use super::queue::Name as Known;
use super::rig::Rig;
use super::subscription::{Consumer, ConsumerKey};
use super::*;

impl Rig {
    pub fn get(&mut self, key: Key, session: usize, no_ack: bool) -> Said {
        let token = self.clients[session].token();
        let no_ack = no_ack && self.may_settle_at_once(key);
        let getter = Taker::Getter { session: self.session(session), no_ack };
        self.takers.insert((session, token), (key, getter));
        let (group, topic) = (key.0.into(), key.1.into());
        self.tell(session, Command::Get { token, group, topic, no_ack })?;
        self.expect((session, token), self.model.may_lease(key), "get")?;
        must!(!self.takers.contains_key(&(session, token)), "a get is not answered");
        Ok(())
    }

    /// What its owner settles at once is trimmed before it is read, so no protocol asks for that.
    fn may_settle_at_once(&self, key: Key) -> bool {
        self.model.topics.get(key.1).is_some_and(|topic| !topic.rules.is_owned)
    }

    /// A request that is answered otherwise is refused if it is not allowed, and only then.
    pub fn expect(&mut self, at: (usize, Token), is_allowed: bool, what: &str) -> Said {
        let reply = self.replies.remove(&at);
        match (&reply, is_allowed) {
            (None, true) => Ok(()),
            (Some(Err(_)), false) => {
                self.takers.remove(&at);
                self.model.count("refused requests", 1);
                Ok(())
            }
            _ => Err(format!("{what} is answered with {reply:?}, and allowed: {is_allowed}")),
        }
    }

    pub fn consume(&mut self, act: &Act) -> Said {
        let Act::Consume { key, session, credit, no_ack, exclusive, priority } = *act else { return Ok(()) };
        let key = KEYS[key];
        let no_ack = no_ack && self.may_settle_at_once(key);
        let number = self.next_number();
        let consumer = Consumer {
            key: (self.session(session), number),
            credit: credit.into(),
            no_ack,
            exclusive,
            priority,
        };
        let is_taken = self.model.may_lease(key) && self.model.consume(key, consumer);
        let (group, topic, consumer) = (key.0.into(), key.1.into(), ConsumerId(number));
        let reply = self.ask(session, |token| Command::Consume {
            token,
            consumer,
            group,
            topic,
            credit: credit.into(),
            no_ack,
            exclusive,
            priority,
        })?;
        self.model.count(if is_taken { "consumers" } else { "refused consumers" }, 1);
        must!(reply.is_ok() == is_taken, "a consumer is answered {reply:?}, and taken: {is_taken}");
        Ok(())
    }

    /// Locks a queue of a topic, or all; or unlocks it.
    pub fn lock(
        &mut self,
        key: Key,
        session: usize,
        member: Known,
        queue: Option<u32>,
        lease_ms: Option<u64>,
    ) -> Said {
        let Some(topic) = self.model.topics.get(key.1) else { return Ok(()) };
        let all = (0..).zip(&topic.queues).map(|(index, queue)| (index, QueueId(queue.id)));
        let is_meant =
            |(index, _): &(u32, QueueId)| queue.is_none_or(|queue| queue % topic.rules.queues == *index);
        let meant: Vec<(u32, QueueId)> = all.filter(is_meant).collect();
        let queues = meant.iter().map(|(_, id)| *id).collect();
        let Some(lease_ms) = lease_ms else {
            meant.iter().for_each(|(index, _)| self.model.unlock(key, *index, member));
            let unlock = |token| Command::Unlock {
                token: Some(token),
                group: key.0.into(),
                member: member.into(),
                queues,
            };
            return self.ask(session, unlock)?.map(drop).map_err(|error| error.to_string());
        };
        let lock = Lock { member, session: self.session(session), ends_ms: self.model.mono_ms + lease_ms };
        let (own, others): (Vec<_>, Vec<_>) =
            meant.iter().partition(|(index, _)| self.model.lock(key, *index, lock.clone()));
        self.model.count("locks", own.len());
        self.model.count("locks refused", others.len());
        let expected: Vec<QueueId> = own.into_iter().map(|(_, id)| id).collect();
        let (group, member) = (key.0.into(), member.into());
        let reply = self.ask(session, |token| Command::Lock { token, group, member, queues, lease_ms })?;
        must!(
            matches!(&reply, Ok(Reply::Locked(locked)) if *locked == expected),
            "{reply:?}, and not {expected:?}"
        );
        Ok(())
    }

    /// One of the consumers there are, and whose.
    fn one_consumer(&self, which: usize) -> Option<(Key, ConsumerKey, usize)> {
        let of = |(key, s): (&Key, &super::subscription::Subscription)| {
            s.consumers.iter().map(|consumer| (*key, consumer.key)).collect::<Vec<_>>()
        };
        let all: Vec<(Key, ConsumerKey)> = self.model.subscriptions.iter().flat_map(of).collect();
        let (key, consumer) = all[which.checked_rem(all.len())?];
        let client = self.clients.iter().position(|client| client.mailbox.session.0 == consumer.0)?;
        Some((key, consumer, client))
    }

    pub fn add_credit(&mut self, which: usize, add: u64) -> Said {
        let Some((key, consumer, client)) = self.one_consumer(which) else { return Ok(()) };
        self.model.subscriptions.get_mut(&key).unwrap().consumer(consumer).unwrap().credit += add;
        self.model.count("credits", 1);
        let add = u32::try_from(add).unwrap();
        self.tell(client, Command::Credit { consumer: ConsumerId(consumer.1), add })
    }

    pub fn cancel(&mut self, which: usize) -> Said {
        let Some((key, consumer, client)) = self.one_consumer(which) else { return Ok(()) };
        self.model.cancel(key, consumer);
        self.model.count("cancels", 1);
        let consumer = ConsumerId(consumer.1);
        self.ask(client, |token| Command::Cancel { token, consumer })?.map_err(|error| error.to_string())?;
        Ok(())
    }

    pub fn disconnect(&mut self, session: usize) -> Said {
        let client = std::mem::replace(&mut self.clients[session], self.sim.connect());
        self.model.disconnect(client.mailbox.session.0);
        self.takers.retain(|(client, _), _| *client != session);
        if session == 0 {
            self.unanswered.clear();
            self.untold.clear();
        }
        self.model.count("disconnects", 1);
        self.sim.shard.handle(self.sim.now, Input::Disconnected { mailbox: client.mailbox });
        self.come_to_rest()
    }

    pub fn purge(&mut self, key: Key) -> Said {
        let expected = self.model.is_there(key).then(|| self.model.purge(key));
        self.model.count("messages purged", expected.unwrap_or(0) as usize);
        let (group, topic) = (key.0.into(), key.1.into());
        match (self.ask(0, |token| Command::Purge { token, group, topic })?, expected) {
            (Ok(Reply::Count(count)), Some(expected)) if count == expected => Ok(()),
            (Err(_), None) => Ok(()),
            (reply, expected) => Err(format!("a purge is answered {reply:?}, not {expected:?}")),
        }
    }

    pub fn seek(&mut self, key: Key, to: To) -> Said {
        let queues = self.model.topics.get(key.1).map_or(0, |topic| topic.rules.queues);
        let wall_ms = self.model.wall_ms;
        for index in 0..queues {
            let min = self.model.min_offset(key.1, index);
            let queue = self.model.queue(key.1, index);
            let end = queue.visible.max(min);
            let target = match to {
                To::Earliest => Some(min),
                To::Latest => Some(end),
                To::BackMs(ms) => {
                    let is_later = |offset: &u64| queue.entries[offset].store_ms >= wall_ms - ms;
                    Some(queue.seen_from(min).find(is_later).unwrap_or(end))
                }
                To::Offset { queue: chosen, offset } => {
                    (chosen % queues == index).then_some(offset.clamp(min, end))
                }
            };
            if let Some(target) = target.filter(|_| self.model.is_there(key)) {
                self.model.move_to(key, index, target);
            }
        }
        let to = match to {
            To::Earliest => SeekTo::Earliest,
            To::Latest => SeekTo::Latest,
            To::BackMs(ms) => SeekTo::Time(wall_ms - ms),
            To::Offset { queue, offset } => SeekTo::Offset { queue_index: queue % queues.max(1), offset },
        };
        let (group, topic) = (key.0.into(), key.1.into());
        let reply = self.ask(0, |token| Command::Seek { token, group, topic, to })?;
        let is_there = self.model.is_there(key);
        self.model.count("seeks", is_there.into());
        must!(reply.is_ok() == is_there, "a seek is answered {reply:?}");
        Ok(())
    }

    pub fn commit(&mut self, key: Key, index: u32, offset: u64) -> Said {
        if !self.model.is_there(key) {
            return Ok(());
        }
        let index = index % self.model.topics[key.1].rules.queues;
        let queue = self.model.queue(key.1, index);
        let (id, offset_there) = (QueueId(queue.id), offset.min(queue.next));
        let may = !self.model.is_leased(key);
        if may {
            self.model.move_to(key, index, offset_there);
        }
        self.model.count(if may { "commits" } else { "refused commits" }, 1);
        let (group, commits) = (key.0.into(), vec![(id, offset)]);
        let reply = self.ask(0, |token| Command::Commit { token: Some(token), group, commits })?;
        must!(reply.is_ok() == may, "a commit is answered {reply:?}, and allowed: {may}");
        Ok(())
    }
}
