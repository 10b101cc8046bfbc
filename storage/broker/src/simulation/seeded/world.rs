//! A run: the broker, its clients, and how its parts take turns. What clients do is in `acts`, what must hold of it in
//! the ledger and in the lines.

use super::acts::bind;
use super::*;

/// Segments are short, so that many are begun and trimmed; a copy of a message needs 64 KiB in one.
pub(super) const SEGMENT_BYTES: u64 = 160 << 10;

/// What a command asked for, and where the log ended behind it.
struct Asked {
    what: Ask,
    end: Position,
}

pub(super) enum Ask {
    Publish(Vec<(u64, Option<TopicId>)>),
    Receive { lease_ms: u64 },
    Ack(Vec<Receipt>),
    Extend(Vec<(Receipt, Duration)>),
    Recall(Option<u64>),
    End { number: u64 },
    Together { numbers: Vec<u64>, receipts: Vec<Receipt> },
    Other,
}

pub(super) struct World {
    pub sim: Simulation,
    pub store: Arc<FaultStore>,
    pub random: Random,
    pub ledger: Ledger,
    pub lines: Lines,
    pub tally: Tally,
    /// Faults by the operation before which they happen.
    pub plan: Vec<(u64, Fault)>,
    /// Until this operation what fails goes on to fail.
    pub fails_until: Option<u64>,
    pub boots: u64,
    /// States by the log position they belong to.
    pub history: Vec<(Position, Pieces)>,
    pub client: Client,
    asked: HashMap<Token, Asked>,
    pub held: Vec<Delivery>,
    pub mortals: Option<Mortals>,
}

impl World {
    pub fn new(seed: u64, course: &Course) -> Self {
        let mut random = Random::new(seed);
        let store = Arc::new(FaultStore::default());
        let disk = FaultDisk::new(random.below(u64::MAX));
        let sim =
            Simulation::with_segments_of(SEGMENT_BYTES, disk, store.clone(), "boot-1", start()).unwrap();
        let plan = faults::plan(&mut random, course);
        let client = sim.connect();
        let mut world = World {
            sim,
            store,
            random,
            ledger: Ledger::default(),
            lines: Lines::default(),
            tally: Tally::default(),
            plan,
            fails_until: None,
            boots: 1,
            history: Vec::new(),
            client,
            asked: HashMap::new(),
            held: Vec::new(),
            mortals: None,
        };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        let (sim, client) = (&mut self.sim, &self.client);
        let two = TopicSettings { queues: 2, ..TopicSettings::default() };
        let one = TopicSettings { queues: 1, ..TopicSettings::default() };
        for (name, settings) in [("a", two), ("b", one), ("q", TopicSettings::settled_queue())] {
            sim.make_topic(client, name, settings);
        }
        for group in ["g", "h", "q", "o"] {
            let settings = GroupSettings {
                attempts_max: None,
                backoff_ms: vec![0, 100, 1_000],
                dead_letter: None,
                ..GroupSettings::at_once()
            };
            sim.make_group(client, group, settings);
        }
        let settings = ExchangeSettings {
            kind: ExchangeKind::Topic,
            lifetime: Lifetime::Durable,
            delete_when_unused: false,
            internal: false,
            attributes: BTreeMap::new(),
        };
        sim.ask(client, |token| Command::PutExchange { token, name: "x".into(), settings }).unwrap();
        for (topic, key) in [("b", "#"), ("q", "q.*"), ("a", "*.a")] {
            sim.ask(client, bind("x", topic, key)).unwrap();
        }
        sim.ask(client, |token| Command::Produce { token, group: halves::PRODUCERS.into() }).unwrap();
        self.note_state();
    }

    /// One operation, and some turns of the broker's parts in some order.
    pub fn operate(&mut self, operation: u64) {
        self.tally.operations += 1;
        self.end_failing(operation);
        while let Some((_, fault)) = self.plan.pop_if(|(at, _)| *at <= operation) {
            *self.tally.faults.entry(fault).or_default() += 1;
            self.inject(fault, operation);
        }
        match self.random.below(112) {
            // Without them nothing is drawn, so that a seed's run stays the same.
            _ if self.mortals.is_some() && self.random.percent(50) => self.act_on_mortals(),
            0..27 => self.publish(),
            27..33 => self.publish_due(),
            33..36 => self.recall(),
            36..56 => self.receive(),
            56..78 => self.settle(),
            78..80 => self.extend(),
            80..84 => self.commit(),
            84 => self.seek(),
            85..88 => self.change_topology(),
            88..90 => self.trim(),
            90..93 => self.sim.shard.begin_checkpoint(self.sim.now),
            93..98 => {
                let ms = self.random.pick(&[1, 30, 300, 1_000, 3_000]);
                self.pass_ms(ms);
            }
            98..100 => (0..40).for_each(|_| self.get_on()),
            100..103 => self.prepare(),
            103..108 => self.end_half(),
            _ => self.publish_together(),
        }
        self.turn(Part::Shard);
        (0..self.random.below(8)).for_each(|_| self.get_on());
    }

    fn get_on(&mut self) {
        let part = self.random.pick(&Part::ALL);
        self.turn(part);
    }

    /// Lets one part do something, and looks at what came of it.
    fn turn(&mut self, part: Part) {
        self.sim.step(part);
        self.ledger.look(&self.sim);
        if part == Part::Shard {
            self.note_state();
            self.take_letters();
        }
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.sim.now.wall_ms += ms;
        self.sim.now.mono += Duration::from_millis(ms);
        self.turn(Part::Shard);
    }

    /// Keeps the state of every position a crash may go back to.
    fn note_state(&mut self) {
        let (end, (_, synced)) = (self.sim.shard.log_end(), self.sim.shard.log_reached());
        if self.history.last().is_none_or(|(last, _)| *last < end) {
            let needed = self.history.iter().rposition(|(at, _)| *at <= synced).unwrap_or(0);
            self.history.drain(..needed);
            self.history.push((end, pieces(self.sim.shard.state())));
        }
    }

    pub fn tell(&mut self, what: Ask, command: impl FnOnce(Token) -> Command) {
        let token = self.client.token();
        let (mailbox, commands) = (self.client.mailbox.clone(), vec![command(token)]);
        self.sim.shard.handle(self.sim.now, Input::Commands { mailbox, commands, since: self.sim.now.mono });
        let end = self.sim.shard.log_end();
        match &what {
            Ask::Publish(numbers) => {
                numbers.iter().for_each(|(number, _)| self.ledger.message(*number).end = end);
            }
            Ask::Together { numbers, .. } => {
                numbers.iter().for_each(|number| self.ledger.message(*number).end = end);
            }
            _ => {}
        }
        self.asked.insert(token, Asked { what, end });
    }

    fn take_letters(&mut self) {
        for letter in self.client.mailbox.take_letters() {
            match letter {
                Letter::Event(Event::Published { token, results }) => self.published(token, results),
                Letter::Event(Event::Reply { token, result }) => self.replied(token, result),
                Letter::Granted { to: Recipient::Request(token), grants } => self.granted(token, grants),
                Letter::Event(Event::Deliveries { deliveries, .. }) => assert!(deliveries.is_empty()),
                Letter::Event(Event::MembersChanged { .. }) => {}
                Letter::Event(Event::Check(check)) => self.asked(&check),
                other => panic!("{other:?}"),
            }
        }
    }

    fn published(&mut self, token: Token, results: Vec<Result<Stored, Error>>) {
        let Some(Asked { what: Ask::Publish(numbers), .. }) = self.asked.remove(&token) else { return };
        let (written, synced) = self.sim.shard.log_reached();
        for ((number, topic), result) in numbers.into_iter().zip(results) {
            let Ok(stored) = result else { continue };
            let reached = match self.ledger.message(number).durability {
                Durability::Disk => synced,
                Durability::Memory => written,
            };
            assert!(stored.position < reached, "message {number} is acknowledged before it is durable");
            self.tally.acknowledged += 1;
            let is_half = self.ledger.message(number).half.is_some();
            self.tally.timers += u64::from(stored.offset.is_none() && !is_half);
            // Of a message through an exchange the receipt names no topic; where it went is seen there.
            let queue = topic.and_then(|topic| {
                self.sim.shard.state().topics.get(&topic)?.queues.get(stored.queue_index as usize).copied()
            });
            match queue {
                Some(queue) => self.ledger.acknowledged(queue, number, &stored),
                None => self.ledger.message(number).queues = stored.queues,
            }
        }
    }

    fn replied(&mut self, token: Token, result: Result<Reply, Error>) {
        let Some(Asked { what, end }) = self.asked.remove(&token) else { return };
        match (what, result) {
            (Ask::Ack(receipts), Ok(Reply::Settled(results))) => {
                for (receipt, _) in receipts.iter().zip(results).filter(|(_, result)| result.is_ok()) {
                    self.tally.settled += 1;
                    self.lines.settled(receipt, end);
                }
            }
            (Ask::Extend(receipts), Ok(Reply::Settled(results))) => {
                for ((receipt, until), _) in receipts.iter().zip(results).filter(|(_, result)| result.is_ok())
                {
                    self.lines.extended(receipt, *until);
                }
            }
            (Ask::Recall(Some(number)), Ok(_)) => {
                self.tally.recalled += 1;
                self.ledger.recalled(number);
            }
            (Ask::End { number }, result) => self.ended(number, result),
            (Ask::Together { numbers, receipts }, result) => {
                self.stored_together(&numbers, &receipts, end, result);
            }
            (Ask::Recall(None), Ok(_)) => panic!("a message was recalled that never was there"),
            (Ask::Recall(Some(number)), Err(Error::NotWaiting { .. })) => {
                self.ledger.recall_refused(number);
            }
            _ => {}
        }
    }

    fn granted(&mut self, token: Token, mut grants: Vec<crate::session::Grant>) {
        let Some(Asked { what: Ask::Receive { lease_ms }, .. }) = self.asked.remove(&token) else { return };
        while !grants.is_empty() {
            let mut fetched = self.sim.context.fetch(grants, crate::limits::FETCH_BYTES_MAX);
            for delivery in &fetched.deliveries {
                let Receipt { queue, offset, .. } = delivery.receipt;
                let known = self.ledger.places.get(&(queue, offset)).map(|place| place.number);
                assert_eq!(
                    known,
                    number_of(&delivery.message),
                    "{queue:?} {offset} is delivered with another body"
                );
                self.lines.delivered(&delivery.receipt, self.sim.now, lease_ms);
            }
            for news in fetched.take_news() {
                self.sim.shard.handle(self.sim.now, news);
            }
            self.hold_mortals(&mut fetched.deliveries);
            self.held.extend(fetched.deliveries);
            grants = fetched.rest;
        }
    }
}

/// Ways to a crash, and the end.
impl World {
    /// Publishes until the writer waits for a sync before it begins the next segment.
    pub fn fill_segment(&mut self) {
        for _ in 0..200 {
            self.publish();
            self.turn(Part::Shard);
            if self.sim.writer.step(&self.sim.reports) == Step::Blocked {
                return;
            }
            if self.random.percent(20) {
                self.turn(Part::Syncer);
            }
        }
    }

    /// A trim that comes while a checkpoint is being stored, up to some point of the way.
    pub fn begin_trim(&mut self) {
        self.sim.shard.begin_checkpoint(self.sim.now);
        self.turn(Part::Shard);
        self.turn(Part::Writer);
        self.trim();
        for part in [Part::Syncer, Part::Shard, Part::Store, Part::Shard, Part::Keeper] {
            self.turn(part);
            if self.random.percent(10) {
                self.get_on();
            }
        }
    }

    /// After a start: nobody knows what became of what was asked.
    pub fn start_over(&mut self) {
        self.client = self.sim.connect();
        self.asked.clear();
        self.held.clear();
        self.mortals.iter_mut().for_each(Mortals::start_over);
        self.history.clear();
        self.register_producer();
        self.note_state();
    }

    /// In the end every message that waited has come, and every group gets what it has not settled.
    pub fn finish(mut self) -> Tally {
        self.recover();
        self.tell(Ask::Other, |_| Command::StopProducing { group: halves::PRODUCERS.into() });
        for _ in 0..3 {
            self.sim.now.wall_ms = self.sim.now.wall_ms.max(self.ledger.wall_ms_max) + 5_000_000;
            self.sim.now.mono += Duration::from_secs(60);
            self.sim.run();
            self.ledger.look(&self.sim);
        }
        self.take_letters();
        // What it was asked of at last, it has answered.
        self.sim.run();
        self.take_letters();
        self.ledger.check_all(&self.sim);
        self.ledger.check_end();
        self.check_mortals();
        for (group, topics) in [("g", &["a", "b"][..]), ("h", &["a", "b"]), ("q", &["q"])] {
            topics.iter().for_each(|topic| self.drain(group, topic));
        }
        self.tally.lost_in_memory = self.ledger.lost_in_memory;
        self.tally.trimmed_bytes = self.sim.reader.start();
        self.tally
    }

    fn drain(&mut self, group: &str, topic: &str) {
        let id = self.sim.shard.directory().group(group).unwrap().id;
        let mut got = BTreeSet::new();
        loop {
            let deliveries = self.sim.receive(&self.client, group, topic, 500, 3_600_000);
            if deliveries.is_empty() {
                break;
            }
            for Delivery { receipt, .. } in deliveries {
                self.lines.delivered(&receipt, self.sim.now, 3_600_000);
                got.insert((receipt.queue, receipt.offset));
            }
        }
        for queue in self.sim.topic(topic).queues().iter() {
            let there = self.sim.read(topic, queue.index, queue.min_offset());
            let missed = there.iter().map(|(offset, _)| *offset).find(|offset| {
                !got.contains(&(queue.id, *offset)) && !self.lines.may_miss((id, queue.id), *offset)
            });
            assert_eq!(missed, None, "group {group} never gets it from {:?} of {topic}", queue.id);
        }
    }
}
