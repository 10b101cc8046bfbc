//! The broker and the model side by side: each act is done to both, each thing that the broker appends or sends is looked
//! up in the model at once, and whenever the broker is at rest both must stand alike.

use super::acts::{Act, GROUPS, HOUR_MS, KEYS, PRODUCERS, SESSIONS, Setup, TOPICS};
use super::broker::{Key, Model, Taker, Topic as ModelTopic};
use super::producing::Told;
use super::queue::{Name as Known, Queue as ModelQueue};
use super::subscription::Receiver;
use super::*;
use crate::command::Decision;
use crate::settings::GroupSettings;

/// A lease that a client was granted.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub key: Key,
    pub index: u32,
    pub receipt: Receipt,
}

/// A publish to a topic.
#[derive(Clone, Debug)]
pub struct Published {
    pub topic: Known,
    pub waits: bool,
    /// The messages, and whether each is taken.
    pub messages: Vec<(u64, bool)>,
}

/// A message that waits, or waited, for a time or for its producer.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    pub number: u64,
    pub topic: Known,
    pub position: u64,
}

pub struct Rig {
    pub sim: Simulation,
    pub model: Model,
    pub clients: Vec<Client>,
    setup: Setup,
    /// Every lease that was granted, in their order.
    pub granted: Vec<Held>,
    /// Of messages and consumers, so far.
    numbers: u64,
    /// What receives and gets are about, by client and token.
    pub takers: HashMap<(usize, Token), (Key, Taker)>,
    pub replies: HashMap<(usize, Token), Result<Reply, Error>>,
    pub receipts: HashMap<(usize, Token), Vec<Result<Stored, Error>>>,
    pub boots: u32,
    /// While nothing is synced: the model as it was when something was last.
    pub unsynced: Option<Box<Model>>,
    /// Leases that were granted before.
    pub granted_synced: usize,
    /// Publishes of that time that are not answered.
    pub unanswered: Vec<(Token, Published)>,
    /// Other acts of that time that are not answered.
    pub untold: Vec<(Token, Told)>,
    /// Every message that was told to wait, in their order, and how many there were when all was synced.
    pub timed: Vec<Timed>,
    pub timed_synced: usize,
}

impl Rig {
    pub fn new(setup: &Setup) -> Said<Rig> {
        let sim = Simulation::new();
        let clients = (0..SESSIONS).map(|_| sim.connect()).collect();
        let mut rig = Rig {
            sim,
            model: Model::default(),
            clients,
            setup: setup.clone(),
            granted: Vec::new(),
            numbers: 0,
            takers: HashMap::new(),
            replies: HashMap::new(),
            receipts: HashMap::new(),
            boots: 1,
            unsynced: None,
            granted_synced: 0,
            unanswered: Vec::new(),
            untold: Vec::new(),
            timed: Vec::new(),
            timed_synced: 0,
        };
        rig.set_clock(0);
        TOPICS.into_iter().for_each(|name| rig.make_topic(name));
        GROUPS.into_iter().for_each(|name| rig.make_group(name));
        rig.rest()?;
        Ok(rig)
    }

    pub fn make_topic(&mut self, name: Known) {
        let at = TOPICS.iter().position(|topic| *topic == name).unwrap();
        let rules = self.setup.topics[at].clone();
        let attributes = [
            (MESSAGE_TTL_MS, rules.ttl_ms.map(|ms| ms.to_string())),
            (PRIORITY_MAX, Some(rules.priority_max.to_string()).filter(|_| rules.priority_max > 0)),
            (LENGTH_MAX, rules.length_max.map(|max| max.to_string())),
            (OVERFLOW, rules.length_max.map(|_| rules.overflow.name().to_owned())),
            (DEAD_LETTER_TOPIC, rules.dead_letter.map(str::to_owned)),
        ];
        let attributes = attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let retention = if rules.is_owned { Retention::UntilSettled } else { Retention::TimeSize };
        let settings = TopicSettings {
            queues: rules.queues,
            retention,
            attributes: attributes.collect(),
            ..TopicSettings::default()
        };
        let made = self.sim.make_topic(&self.clients[0], name, settings);
        let new = |queue: &Arc<Queue>| ModelQueue { id: queue.id.0, ..ModelQueue::default() };
        let queues = made.queues().iter().map(new).collect();
        self.model.topics.insert(name, ModelTopic { rules, queues });
    }

    pub fn make_group(&mut self, name: Known) {
        let at = GROUPS.iter().position(|group| *group == name).unwrap();
        let rules = self.setup.groups[at].clone();
        let settings = GroupSettings {
            attempts_max: rules.attempts_max,
            backoff_ms: rules.backoff_ms.clone(),
            dead_letter: rules.dead_letter.map(str::to_owned),
            turns: Turns { order: rules.order, single_active: rules.single_active },
        };
        self.sim.make_group(&self.clients[0], name, settings);
        self.model.groups.insert(name, rules);
    }

    pub fn counts(&self) -> Counts {
        self.model.counts.clone()
    }

    pub fn set_clock(&mut self, ms: u64) {
        self.sim.now.wall_ms += ms;
        self.sim.now.mono += Duration::from_millis(ms);
        self.model.wall_ms = self.sim.now.wall_ms;
        self.model.mono_ms = to_ms(self.sim.now.mono);
    }

    pub fn act(&mut self, act: &Act) -> Said {
        if act.needs_syncs() {
            self.sync()?;
        }
        match act {
            Act::Publish { topic, queue, count, memory, sent } => {
                self.publish(TOPICS[*topic], *queue, *count, *memory, sent)?;
            }
            Act::Receive { key, session, max, lease_ms, wait_ms } => {
                self.receive(KEYS[*key], *session, (*max).into(), *lease_ms, *wait_ms)?;
            }
            Act::Settle { which, count, outcome } => {
                let held = self.held();
                match held.len() {
                    0 => self.receive(KEYS[which % KEYS.len()], 0, u64::from(*count) + 1, 1_500, 0)?,
                    len => {
                        let first = which % len;
                        let some = &held[first..len.min(first + usize::from(*count))];
                        self.settle(some, *outcome)?;
                    }
                }
            }
            Act::SettleAny { back, outcome } => {
                let any = self.granted.iter().rev().nth(*back).copied();
                self.settle(any.as_slice(), *outcome)?;
            }
            Act::Extend { which, lease_ms } => {
                let held = self.held();
                if let Some(held) = which.checked_rem(held.len()).map(|at| held[at]) {
                    self.extend(held, *lease_ms)?;
                }
            }
            Act::PassMs(ms) => return self.pass_ms(*ms),
            Act::Jump { ms } => self.jump(*ms),
            Act::Recall { back, names } => self.recall(*back, *names)?,
            Act::Produce { session, group, stops } => self.produce(*session, PRODUCERS[*group], *stops)?,
            Act::EndHalf { back, names, decisions } => self.end_half(*back, *names, decisions)?,
            Act::Get { key, session, no_ack } => self.get(KEYS[*key], *session, *no_ack)?,
            Act::Consume { .. } => self.consume(act)?,
            Act::Credit { which, add } => self.add_credit(*which, (*add).into())?,
            Act::Lock { key, session, member, queue, lock_ms } => {
                self.lock(KEYS[*key], *session, PRODUCERS[*member], *queue, *lock_ms)?;
            }
            Act::Cancel { which } => self.cancel(*which)?,
            Act::Disconnect { session } => self.disconnect(*session)?,
            Act::Purge { key } => self.purge(KEYS[*key])?,
            Act::Seek { key, to } => self.seek(KEYS[*key], *to)?,
            Act::Commit { key, queue, offset } => self.commit(KEYS[*key], *queue, *offset)?,
            Act::Checkpoint => self.sim.checkpoint(),
            Act::Kill { loses_store } => self.kill(*loses_store)?,
            Act::StopSyncing => self.stop_syncing()?,
            Act::PowerCut { loses_store } => self.cut_power(*loses_store)?,
        }
        self.rest()
    }

    /// Leases that are valid, as far as the model knows.
    pub fn held(&mut self) -> Vec<Held> {
        let (model, granted) = (&mut self.model, &self.granted);
        let is_valid = |held: &&Held| {
            let number = (held.receipt.epoch, held.receipt.lease);
            model.is_there(held.key) && {
                let lease = model.line(held.key, held.index).0.leases.get(&held.receipt.offset);
                lease.is_some_and(|lease| lease.number == number)
            }
        };
        granted.iter().filter(is_valid).copied().collect()
    }

    // Acts.
    pub fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn receive(&mut self, key: Key, session: usize, max: u64, lease_ms: u64, wait_ms: u64) -> Said {
        let token = self.clients[session].token();
        let (group, topic) = (key.0.into(), key.1.into());
        let receiver = Receiver {
            session: self.session(session),
            token: token.0,
            max,
            lease_ms,
            deadline_ms: self.model.mono_ms + wait_ms,
        };
        let session_id = receiver.session;
        self.takers.insert((session, token), (key, Taker::Receiver { session: session_id, token: token.0 }));
        let may_lease = self.model.may_lease(key);
        if may_lease {
            self.model.subscriptions.entry(key).or_default().receivers.push(receiver);
            // It gets nothing where a consumer is active, and makes one active where none is.
            self.model.choose_active(key);
        }
        let max = u32::try_from(max).unwrap();
        self.tell(session, Command::Receive { token, group, topic, max, wait_ms, lease_ms, filter: None })?;
        self.expect((session, token), may_lease, "a receive")
    }

    pub fn settle(&mut self, held: &[Held], outcome: Outcome) -> Said {
        let mut expected = Vec::new();
        for Held { key, index, receipt } in held {
            let (number, is_ack) = ((receipt.epoch, receipt.lease), outcome == Outcome::Ack);
            expected.push(self.model.is_valid(*key, *index, receipt.queue.0, receipt.offset, number, is_ack));
        }
        let mut valid: Vec<Held> =
            held.iter().zip(&expected).filter(|(_, valid)| **valid).map(|(held, _)| *held).collect();
        valid.sort_by_key(|held| (held.key, held.index, held.receipt.offset));
        for Held { key, index, receipt } in valid {
            self.model.end_lease(key, index, receipt.offset, outcome);
        }
        let settled = match outcome {
            Outcome::Ack => "acks",
            Outcome::Retry { .. } => "retries",
            Outcome::Release => "releases",
            Outcome::Reject => "rejects",
        };
        self.model.count(settled, expected.iter().filter(|valid| **valid).count());
        self.model.count("refused receipts", expected.iter().filter(|valid| !**valid).count());
        let receipts = held.iter().map(|held| held.receipt).collect();
        let reply = self.ask(0, |token| Command::Settle { token: Some(token), receipts, outcome })?;
        let Ok(Reply::Settled(results)) = reply else { return Err(format!("{reply:?}")) };
        let found: Vec<bool> = results.iter().map(Result::is_ok).collect();
        must!(found == expected, "{held:?} end with {results:?}, not {expected:?}");
        Ok(())
    }

    pub fn extend(&mut self, held: Held, lease_ms: u64) -> Said {
        let expected = self.model.extend(held.key, held.index, held.receipt.offset, lease_ms);
        self.model.count("leases extended", expected.into());
        let receipts = vec![held.receipt];
        let reply = self.ask(0, |token| Command::Extend { token, receipts, lease_ms })?;
        let Ok(Reply::Settled(results)) = reply else { return Err(format!("{reply:?}")) };
        must!(results[0].is_ok() == expected, "{held:?} is extended: {results:?}, not {expected}");
        Ok(())
    }

    fn jump(&mut self, ms: i64) {
        self.sim.now.wall_ms = self.sim.now.wall_ms.saturating_add_signed(ms);
        self.model.wall_ms = self.sim.now.wall_ms;
        self.model.count("clock jumps", 1);
        let (wall_ms, mono_ms) = (self.model.wall_ms, self.model.mono_ms);
        for (group, topic, index) in self.untouched() {
            self.model.line((group, topic), index).0.wait_by_wall(wall_ms, mono_ms);
        }
    }

    /// Lines that nobody has asked for since the start.
    fn untouched(&self) -> Vec<(Known, Known, u32)> {
        let directory = self.sim.shard.directory();
        let is_untouched = |(group, topic, index): &(Known, Known, u32)| {
            let queue = QueueId(self.model.queue(topic, *index).id);
            let line = directory.group(group).map(|group| (group.id, queue));
            line.is_some_and(|line| !self.sim.shard.has_flow(line))
        };
        self.model.lines.keys().copied().filter(is_untouched).collect()
    }

    /// Time passes from one moment at which something happens to the next.
    pub fn pass_ms(&mut self, ms: u64) -> Said {
        let end = self.model.mono_ms + ms;
        while self.model.mono_ms < end {
            let broker = self.sim.shard.deadline(self.sim.now).map(to_ms);
            let model = self.model.next_time_ms(&self.untouched());
            must!(
                model.is_none_or(|model| broker.is_some_and(|broker| broker <= model)),
                "the broker sleeps until {broker:?}, and something happens at {model:?}"
            );
            let next = broker.unwrap_or(end).clamp(self.model.mono_ms + 1, end);
            self.set_clock(next - self.model.mono_ms);
            self.model.tick();
            self.rest()?;
        }
        Ok(())
    }

    /// In the end everybody gets all that is not settled, and settles it.
    pub fn finish(&mut self) -> Said {
        self.sync()?;
        for session in 0..SESSIONS {
            self.disconnect(session)?;
            self.rest()?;
        }
        // All that waits comes, however far the clock was set back.
        for round in 0.. {
            self.jump(HOUR_MS);
            self.rest()?;
            self.pass_ms(1_001)?;
            if self.model.waiting.is_empty() {
                break;
            }
            must!(round < 50, "these do not come: {:?}", self.model.waiting);
            // There must be room for it.
            for topic in self.model.put_off() {
                self.purge((topic, topic))?;
                self.rest()?;
            }
        }
        // What is still half is committed.
        for timed in self.timed.clone() {
            let topic = self.model.halves.get(&timed.number).map(|half| half.topic);
            if let Some(topic) = topic.filter(|topic| self.model.is_full(topic)) {
                self.purge((topic, topic))?;
                self.rest()?;
            }
            self.end_half_of(timed, None, &[Decision::Commit])?;
            self.rest()?;
        }
        must!(self.model.halves.is_empty(), "these cannot be ended: {:?}", self.model.halves);
        for key in KEYS {
            // Leases end, then backoffs.
            for round in 0.. {
                self.pass_ms(if round < 5 { 21_000 } else { 600_000 })?;
                self.receive(key, 0, 1_000, 60_000, 0)?;
                self.rest()?;
                let held: Vec<Held> = self.held().into_iter().filter(|held| held.key == key).collect();
                self.settle(&held, Outcome::Ack)?;
                self.rest()?;
                let left = self.model.is_there(key) && self.model.ready(key) > 0;
                if !left {
                    break;
                }
                must!(round < 1_000, "{key:?} does not get all");
            }
        }
        Ok(())
    }

    // The broker.

    pub fn session(&self, client: usize) -> u64 {
        self.clients[client].mailbox.session.0
    }

    pub fn tell(&mut self, client: usize, command: Command) -> Said {
        let (mailbox, since) = (self.clients[client].mailbox.clone(), self.sim.now.mono);
        self.sim.shard.handle(self.sim.now, Input::Commands { mailbox, commands: vec![command], since });
        self.come_to_rest()
    }

    pub fn ask(
        &mut self,
        client: usize,
        command: impl FnOnce(Token) -> Command,
    ) -> Said<Result<Reply, Error>> {
        let token = self.clients[client].token();
        self.tell(client, command(token))?;
        self.replies.remove(&(client, token)).ok_or_else(|| "a command was not answered".to_owned())
    }

    /// Lets all parts of the broker work until nothing moves, and looks at what each does.
    pub fn come_to_rest(&mut self) -> Said {
        for _ in 0..10_000 {
            let mut moved = false;
            for part in Part::ALL {
                let has_moved = self.sim.step(part);
                moved |= has_moved;
                if has_moved || part == Part::Shard {
                    self.observe()?;
                }
            }
            if !moved && self.sim.reports.are_empty() {
                return Ok(());
            }
        }
        Err("the broker does not come to rest".to_owned())
    }
}

fn to_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}
