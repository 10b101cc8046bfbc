//! The broker and the model side by side: each act is done to both, each thing that the broker appends or sends is looked
//! up in the model at once, and whenever the broker is at rest both must stand alike.

use mailrail_message::{AnnexKind, Deaths};

use super::acts::{Act, GROUPS, KEYS, SESSIONS, Sent, Setup, TOPICS};
use super::broker::{Key, Model, Taker, Topic as ModelTopic};
use super::queue::{Death, Message, Name as Known, Queue as ModelQueue};
use super::subscription::Receiver;
use super::*;
use crate::limits::FETCH_BYTES_MAX;
use crate::reader::behind_header;
use crate::session::Grant;
use crate::settings::GroupSettings;

/// A lease that a client was granted.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    key: Key,
    index: u32,
    receipt: Receipt,
}

/// A publish to a topic: its messages, and whether each is taken.
type Unanswered = (Token, Known, Vec<(u64, bool)>);

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
    pub unanswered: Vec<Unanswered>,
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
        };
        rig.set_clock(0);
        TOPICS.into_iter().for_each(|name| rig.make_topic(name));
        GROUPS.into_iter().for_each(|name| rig.make_group(name));
        rig.rest()?;
        Ok(rig)
    }

    fn make_topic(&mut self, name: Known) {
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

    fn make_group(&mut self, name: Known) {
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

    fn set_clock(&mut self, ms: u64) {
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
            Act::Get { key, session, no_ack } => self.get(KEYS[*key], *session, *no_ack)?,
            Act::Consume { .. } => self.consume(act)?,
            Act::Credit { which, add } => self.add_credit(*which, (*add).into())?,
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
    fn held(&mut self) -> Vec<Held> {
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

    fn publish(&mut self, topic: Known, queue: Option<u32>, count: u8, memory: bool, sent: &Sent) -> Said {
        let Some(known) = self.model.topics.get(topic) else { return Ok(()) };
        let queue = queue.map(|queue| queue % known.rules.queues);
        let ttl_ms = sent.ttl_ms.filter(|_| known.rules.length_max.is_none());
        let id = self.sim.topic(topic).id;
        let durability =
            if memory || self.unsynced.is_some() { Durability::Memory } else { Durability::Disk };
        let (mut batch, mut expected) = (PublishBatch::default(), Vec::new());
        for step in 0..count {
            let message = self.new_message(&Sent { ttl_ms, key: (sent.key + step) % 4, ..sent.clone() });
            let (body, properties) = (message.number.to_string(), properties_of(&message));
            let draft = Draft { properties: &properties, ..draft(topic, &body) };
            let destination = Destination::Topic { topic: id, queue_index: queue };
            batch.push(&draft, destination, 0, durability).unwrap();
            expected.push((message.number, self.model.publish(topic, queue, &message)));
        }
        let token = self.clients[0].token();
        self.tell(0, Command::Publish { token, batch })?;
        match self.receipts.remove(&(0, token)) {
            Some(results) => self.check_receipts(topic, expected, results),
            // Its offsets may have to wait for a sync: that of how far offsets may run.
            None if self.unsynced.is_some() => {
                self.unanswered.push((token, topic, expected));
                Ok(())
            }
            None => Err("a publish was not answered".to_owned()),
        }
    }

    /// Where messages are said to be, they are.
    pub fn check_receipts(
        &mut self,
        topic: Known,
        expected: Vec<(u64, bool)>,
        results: Vec<Result<Stored, Error>>,
    ) -> Said {
        must!(results.len() == expected.len(), "{} results for {} messages", results.len(), expected.len());
        for ((number, is_taken), result) in expected.into_iter().zip(results) {
            match result {
                Ok(stored) => {
                    let offset = stored.offset.ok_or("a message that does not wait has no offset")?;
                    let entry = self.model.queue(topic, stored.queue_index).entries.get(&offset);
                    let is_it = entry.is_some_and(|entry| entry.message.number == number);
                    must!(is_taken && is_it, "message {number} is told to be at {stored:?}");
                }
                Err(Error::Full { .. }) if !is_taken => {}
                Err(error) => return Err(format!("message {number} is refused: {error}")),
            }
        }
        Ok(())
    }

    fn new_message(&mut self, sent: &Sent) -> Message {
        let number = self.next_number();
        let Sent { ttl_ms, key, priority } = sent.clone();
        Message { number, ttl_ms, key, priority, deaths: Vec::new() }
    }

    pub fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn receive(&mut self, key: Key, session: usize, max: u64, lease_ms: u64, wait_ms: u64) -> Said {
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
        if self.model.is_there(key) {
            self.model.subscriptions.entry(key).or_default().receivers.push(receiver);
            // It gets nothing where a consumer is active, and makes one active where none is.
            self.model.choose_active(key);
        }
        let max = u32::try_from(max).unwrap();
        self.tell(session, Command::Receive { token, group, topic, max, wait_ms, lease_ms, filter: None })?;
        self.expect((session, token), self.model.is_there(key), "a receive")
    }

    fn settle(&mut self, held: &[Held], outcome: Outcome) -> Said {
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

    fn extend(&mut self, held: Held, lease_ms: u64) -> Said {
        let expected = self.model.extend(held.key, held.index, held.receipt.offset, lease_ms);
        self.model.count("leases extended", expected.into());
        let receipts = vec![held.receipt];
        let reply = self.ask(0, |token| Command::Extend { token, receipts, lease_ms })?;
        let Ok(Reply::Settled(results)) = reply else { return Err(format!("{reply:?}")) };
        must!(results[0].is_ok() == expected, "{held:?} is extended: {results:?}, not {expected}");
        Ok(())
    }

    /// Time passes from one moment at which something happens to the next.
    fn pass_ms(&mut self, ms: u64) -> Said {
        let end = self.model.mono_ms + ms;
        while self.model.mono_ms < end {
            let broker = self.sim.shard.deadline(self.sim.now).map(to_ms);
            let model = self.model.next_time_ms();
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
        for key in KEYS {
            // Leases end, then backoffs.
            for round in 0.. {
                self.pass_ms(21_000)?;
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

    fn observe(&mut self) -> Said {
        self.observe_entries()?;
        let longer = self.observe_ends()?;
        self.observe_late()?;
        self.observe_letters()?;
        longer.into_iter().for_each(|topic| self.model.limit_length(topic));
        Ok(())
    }

    /// Every entry, before anybody may have it.
    fn observe_entries(&mut self) -> Said {
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
    fn observe_ends(&mut self) -> Said<Vec<Known>> {
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
    fn observe_late(&mut self) -> Said {
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

    fn observe_letters(&mut self) -> Said {
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
    fn got_nothing(&mut self, at: (usize, Token)) -> Said {
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

    fn granted(&mut self, client: usize, to: Recipient, grants: Vec<Grant>) -> Said<Vec<Input>> {
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
        self.check_views()
    }

    /// What the broker tells of each group is what the model knows.
    fn check_views(&mut self) -> Said {
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

fn to_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

fn properties_of(message: &Message) -> Vec<u8> {
    let mut properties = Vec::new();
    if let Some(ttl_ms) = message.ttl_ms {
        property::push(&mut properties, property::TTL, &ttl_ms.to_string());
    }
    if message.key > 0 {
        property::push(&mut properties, property::ORDERING_KEY, &message.key.to_string());
    }
    property::push(&mut properties, property::PRIORITY, &message.priority.to_string());
    properties
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
