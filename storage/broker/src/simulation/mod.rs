//! The shard on a disk in memory, with a clock that stands still until it is moved: everything in one thread, every run
//! the same. The code under it is the code that runs in the broker; only threads and sockets are missing.

mod bounds;
mod compaction;
mod consumers;
mod consumption;
mod counts;
mod dead_letters;
mod deduplication;
mod duplicates;
mod durability;
mod expiry;
mod faults;
mod filtered;
mod filtering;
mod histories;
mod idle;
mod length;
mod lite;
mod locks;
mod lookup;
mod model;
mod order;
mod priority;
mod recovery;
mod routing;
mod schedule;
mod seeded;
mod slices;
mod space;
mod store;
mod together;
mod topology;
mod trace;
mod trace_topic;
mod transaction;
mod users;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailrail_commitlog::disk::{FaultDisk, Loss};
use mailrail_commitlog::{LogConfig, LogEvents, LogFault, LogReader, Position, Step, Syncer, Writer};
use mailrail_message::{Draft, StoredMessage, property, tag_hash};

use crate::damage::Damage;
use crate::lookup::Lookup;
use crate::queue::Blocks;
use crate::reader::{self, ReadContext};
use crate::session::{Letter, Mailbox};
use crate::shard::{CheckpointPolicy, Input, Journal, ReclaimPolicy, Shard, Work};
use crate::state::{Item, ItemKey, State};
use crate::store::{MemoryStore, Store};
use crate::store_thread::{StoreJob, StoreWriter};
use crate::*;

/// Collects what the log reports.
#[derive(Default)]
struct Reports(Mutex<Vec<Input>>);

impl Reports {
    fn take(&self) -> Vec<Input> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn are_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

impl LogEvents for Reports {
    fn written(&self, to: Position) {
        self.0.lock().unwrap().push(Input::Written { to, at: Duration::ZERO });
    }

    fn synced(&self, to: Position) {
        self.0.lock().unwrap().push(Input::Synced { to, at: Duration::ZERO });
    }

    fn refused(&self, from: Position, _why: &LogFault) {
        self.0.lock().unwrap().push(Input::Refused { from });
    }

    fn short_of_room(&self, is_short: bool) {
        self.0.lock().unwrap().push(Input::ShortOfRoom { is_short });
    }

    fn poisoned(&self, why: &LogFault) {
        self.0.lock().unwrap().push(Input::Poisoned(why.to_string()));
    }
}

/// A broker without threads.
pub(super) struct Simulation {
    pub shard: Shard,
    pub now: Now,
    pub disk: FaultDisk,
    pub store: Arc<dyn Store>,
    pub context: ReadContext,
    boot: String,
    writer: Writer,
    syncer: Syncer,
    reader: LogReader,
    reports: Reports,
    work: VecDeque<Work>,
    store_jobs: VecDeque<StoreJob>,
    store_writer: StoreWriter,
    /// What the open found: where the log ended, and the state that its replay gave.
    found: Found,
    /// While false, nothing is written, or nothing is synced: only written.
    pub writing: bool,
    pub syncing: bool,
    /// What becomes of checkpoints.
    pub checkpoints: Checkpoints,
}

/// Something that runs by itself in the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Shard,
    Writer,
    Syncer,
    Keeper,
    Reader,
    Store,
}

impl Part {
    pub const ALL: [Part; 6] =
        [Part::Shard, Part::Writer, Part::Syncer, Part::Keeper, Part::Reader, Part::Store];
}

/// A state as a replay gave it, before the start added anything.
pub(super) struct Found {
    pub end: Position,
    pub pieces: Pieces,
}

/// A state without its indexes, and without what differs with every start.
pub(super) type Pieces = HashMap<ItemKey, Item>;

fn pieces(state: &State) -> Pieces {
    let lasting = state.all_keys().into_iter().filter(|key| *key != ItemKey::Shard);
    lasting.filter_map(|key| Some((key, meaning(state, key)?))).collect()
}

/// A piece as the log adds up to it: how waiting messages are spread over memory and blocks is no part of that.
fn meaning(state: &State, key: ItemKey) -> Option<Item> {
    match key {
        ItemKey::Schedule => Some(Item::Schedule(Box::new(state.schedule().meaning()))),
        key => state.item(key),
    }
}

/// How a store takes a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checkpoints {
    Stored,
    /// It cannot, and says so.
    Refused,
    /// The process dies when so many items are in it.
    CutAfter(usize),
}

/// A client: its mailbox, and the events that were taken out of it.
pub(super) struct Client {
    pub mailbox: Arc<Mailbox>,
    next_token: AtomicU64,
}

const SEGMENT_BYTES: u64 = 1 << 20;
/// Few, so that what takes several turns does so, and much comes between them.
const TURN_PIECES: usize = 4;

impl Simulation {
    pub fn new() -> Self {
        Self::on(FaultDisk::new(7), Arc::new(MemoryStore::default()), "boot-1", start())
    }

    /// Opens what a disk and a store hold.
    pub fn on(disk: FaultDisk, store: Arc<dyn Store>, boot: &str, now: Now) -> Self {
        Self::try_on(disk, store, boot, now).unwrap()
    }

    pub fn try_on(disk: FaultDisk, store: Arc<dyn Store>, boot: &str, now: Now) -> Result<Self, OpenError> {
        Self::with_segments_of(SEGMENT_BYTES, disk, store, boot, now)
    }

    pub fn with_segments_of(
        segment_bytes: u64,
        disk: FaultDisk,
        store: Arc<dyn Store>,
        boot: &str,
        now: Now,
    ) -> Result<Self, OpenError> {
        let mut simulation = Self::before_first_turn(segment_bytes, disk, store, boot, now)?;
        simulation.run();
        Ok(simulation)
    }

    /// A broker that has opened what there is, and has done nothing yet.
    pub fn before_first_turn(
        segment_bytes: u64,
        disk: FaultDisk,
        store: Arc<dyn Store>,
        boot: &str,
        now: Now,
    ) -> Result<Self, OpenError> {
        let config = LogConfig { segment_bytes, free_bytes_min: 2 * segment_bytes, ..LogConfig::default() };
        let data = PathBuf::from("/data");
        let (mut state, log) = crate::open::bring_up(Arc::new(disk.clone()), &data, &config, &store)?;
        let interval = Duration::from_secs(1 << 40);
        let policy = CheckpointPolicy { log_bytes: u64::MAX, interval, turn_pieces: TURN_PIECES };
        let retention = RetentionPolicy { age: None, bytes: None };
        let reclaim = ReclaimPolicy { retention, segment_bytes };
        state.find_timers(&*store);
        let found = Found { end: log.recovery.end, pieces: pieces(&state) };
        let directory = state.directory.clone();
        let blocks = Arc::new(Blocks::new(store.clone()));
        let store_for_writer = store.clone();
        let mut shard = Shard::new(state, Journal::new(log.appender), blocks.clone(), policy, reclaim, now);
        shard.begin(now, boot).map_err(OpenError::Begin)?;
        let lookup = Lookup::open(Arc::new(disk.clone()), data.join("keys"));
        let lookup = Arc::new(lookup.map_err(|error| OpenError::Folder { path: data, error })?);
        let context =
            ReadContext { log: log.reader.clone(), blocks, directory, lookup, damage: Damage::default() };
        let (writer, syncer, reader) = (log.writer, log.syncer, log.reader);
        let (reports, boot) = (Reports::default(), boot.to_owned());
        Ok(Simulation {
            shard,
            now,
            disk,
            store,
            context,
            boot,
            writer,
            syncer,
            reader,
            reports,
            work: VecDeque::new(),
            store_jobs: VecDeque::new(),
            store_writer: StoreWriter::new(store_for_writer),
            found,
            writing: true,
            syncing: true,
            checkpoints: Checkpoints::Stored,
        })
    }

    /// The process is killed, or the machine loses power, and the broker starts again.
    pub fn crash(self, loss: Loss) -> Self {
        let boot = if loss == Loss::Nothing { self.boot.clone() } else { format!("{}+", self.boot) };
        let (disk, store, now) = (self.disk.power_cut(loss), self.store.clone(), self.now);
        drop(self);
        Self::on(disk, store, &boot, now)
    }

    pub fn connect(&self) -> Client {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let session = SessionId(NEXT.fetch_add(1, Ordering::Relaxed));
        Client { mailbox: Arc::new(Mailbox::new(session, None)), next_token: AtomicU64::new(1) }
    }

    pub fn disconnect(&mut self, client: Client) {
        self.input(Input::Disconnected { mailbox: client.mailbox });
    }

    pub fn input(&mut self, input: Input) {
        self.shard.handle(self.now, input);
        self.run();
    }

    /// Runs until nothing moves any more at this instant.
    pub fn run(&mut self) {
        for _ in 0..10_000 {
            // Each part gets its turn, whether or not another one moved.
            let moved = Part::ALL.map(|part| self.step(part));
            if !moved.contains(&true) && self.reports.are_empty() {
                return;
            }
        }
        panic!("the simulation does not come to rest");
    }

    /// Lets one part of the broker do its next piece of work; false when it has none.
    pub fn step(&mut self, part: Part) -> bool {
        match part {
            Part::Shard => self.take_turn(),
            Part::Writer => self.writing && self.writer.step(&self.reports) == Step::Worked,
            Part::Syncer => self.writing && self.syncing && self.syncer.sync(&self.reports) == Step::Worked,
            Part::Keeper => self.writing && self.syncing && self.syncer.keep(&self.reports) == Step::Worked,
            Part::Reader => {
                let done = self.work.pop_front().map(|work| work.carry_out(&self.context));
                done.map(|done| self.shard.handle(self.now, done)).is_some()
            }
            Part::Store => self.store_jobs.pop_front().map(|job| self.carry_out(job)).is_some(),
        }
    }

    fn take_turn(&mut self) -> bool {
        let reports = self.reports.take();
        let mut moved = !reports.is_empty() || self.shard.is_amid_work();
        for input in reports {
            self.shard.handle(self.now, input);
        }
        self.shard.finish_turn(self.now);
        let outputs = self.shard.take_outputs();
        moved |= self.shard.is_amid_work();
        moved |= !(outputs.letters.is_empty() && outputs.work.is_empty() && outputs.store_jobs.is_empty());
        for (mailbox, letters) in outputs.letters {
            mailbox.put(letters);
        }
        self.work.extend(outputs.work);
        self.store_jobs.extend(outputs.store_jobs);
        moved
    }

    fn carry_out(&mut self, job: StoreJob) {
        match (job, self.checkpoints) {
            (StoreJob::Checkpoint(image), Checkpoints::Refused) => {
                let number = image.number;
                self.shard.handle(self.now, Input::CheckpointStored { number, stored: false });
            }
            (StoreJob::Checkpoint(image), Checkpoints::CutAfter(kept)) => {
                let mut left = kept;
                let cut = &mut |changes: Vec<_>| {
                    let changes: Vec<_> = changes.into_iter().take(left).collect();
                    left -= changes.len();
                    self.store.apply(changes)
                };
                image.store(&*self.store, cut).unwrap();
            }
            (job, _) => {
                if let Some(news) = self.store_writer.run(job) {
                    self.shard.handle(self.now, news);
                }
            }
        }
    }

    /// Lets time pass.
    pub fn pass_ms(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.mono += Duration::from_millis(ms);
        self.run();
    }

    /// Sends a command and returns what came back for it.
    pub fn ask(&mut self, client: &Client, command: impl FnOnce(Token) -> Command) -> Result<Reply, Error> {
        let token = client.token();
        let command = command(token);
        self.tell(client, command);
        let mut found = None;
        for event in self.events(client) {
            match event {
                Event::Reply { token: answered, result } if answered == token => found = Some(result),
                Event::MembersChanged { .. } | Event::Check(_) => {}
                other => panic!("not an answer: {other:?}"),
            }
        }
        found.expect("the command was answered")
    }

    pub fn tell(&mut self, client: &Client, command: Command) {
        self.input(Input::Commands {
            mailbox: client.mailbox.clone(),
            commands: vec![command],
            since: self.now.mono,
        });
    }

    /// Everything in a client's mailbox, with messages read.
    pub fn events(&self, client: &Client) -> Vec<Event> {
        let open = |letter| match letter {
            Letter::Event(event) | Letter::Brought { event, .. } => event,
            Letter::Fetched { to, deliveries, .. } => Event::Deliveries { to, deliveries },
            Letter::Granted { to, grants } => {
                let hot = reader::deliveries_in_memory(&self.reader, &grants);
                let deliveries = hot.unwrap_or_else(|| {
                    let fetched = self.context.fetch(grants, crate::limits::FETCH_BYTES_MAX);
                    assert!(
                        fetched.unread.is_empty() && fetched.gone.is_empty() && fetched.rest.is_empty(),
                        "{fetched:?}"
                    );
                    fetched.deliveries
                });
                Event::Deliveries { to, deliveries }
            }
        };
        client.mailbox.take_letters().into_iter().map(open).collect()
    }

    pub fn topic(&self, name: &str) -> Arc<Topic> {
        self.shard.directory().topic(name).unwrap()
    }

    pub fn make_topic(&mut self, client: &Client, name: &str, settings: TopicSettings) -> Arc<Topic> {
        let name: Name = name.into();
        let asked = |token| Command::PutTopic { token, name, settings, adopt: false };
        match self.ask(client, asked).unwrap() {
            Reply::Topic { topic, .. } => topic,
            other => panic!("{other:?}"),
        }
    }

    pub fn make_group(&mut self, client: &Client, name: &str, settings: GroupSettings) {
        let name: Name = name.into();
        self.ask(client, |token| Command::PutGroup { token, name, settings: Some(settings) }).unwrap();
    }

    /// Publishes bodies to a topic in one batch; returns what came back, if it did.
    pub fn publish(&mut self, client: &Client, topic: &Topic, bodies: &[&str]) -> Vec<Result<Stored, Error>> {
        self.publish_at(client, topic, Durability::Disk, bodies)
    }

    pub fn publish_at(
        &mut self,
        client: &Client,
        topic: &Topic,
        durability: Durability,
        bodies: &[&str],
    ) -> Vec<Result<Stored, Error>> {
        let mut batch = PublishBatch::default();
        for body in bodies {
            let destination = Destination::Topic { topic: topic.id, queue_index: None };
            batch.push(&draft(&topic.name, body), destination, tag_hash("t"), durability).unwrap();
        }
        self.send(client, batch)
    }

    pub fn send(&mut self, client: &Client, batch: PublishBatch) -> Vec<Result<Stored, Error>> {
        let token = client.token();
        self.tell(client, Command::Publish { token, batch });
        match self.events(client).pop() {
            Some(Event::Published { results, .. }) => results,
            None => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    /// Receives at once whatever there is.
    pub fn receive(
        &mut self,
        client: &Client,
        group: &str,
        topic: &str,
        max: u32,
        lease_ms: u64,
    ) -> Vec<Delivery> {
        let token = client.token();
        let (group, topic) = (group.into(), topic.into());
        self.tell(client, Command::Receive { token, group, topic, max, wait_ms: 0, lease_ms, filter: None });
        match self.events(client).pop() {
            Some(Event::Deliveries { deliveries, .. }) => deliveries,
            other => panic!("{other:?}"),
        }
    }

    pub fn settle(
        &mut self,
        client: &Client,
        deliveries: &[Delivery],
        outcome: Outcome,
    ) -> Vec<Result<(), Error>> {
        let receipts = deliveries.iter().map(|delivery| delivery.receipt).collect();
        match self.ask(client, |token| Command::Settle { token: Some(token), receipts, outcome }).unwrap() {
            Reply::Settled(results) => results,
            other => panic!("{other:?}"),
        }
    }

    /// Bodies of a queue from an offset on, by reading.
    pub fn read(&self, topic: &str, index: u32, from: u64) -> Vec<(u64, String)> {
        let queue = self.topic(topic).queue(index).unwrap();
        let mut found = Vec::new();
        let mut offset = from;
        loop {
            let request = ReadRequest {
                queue: queue.clone(),
                offset,
                max_entries: 100,
                max_bytes: 1 << 20,
                filter: Filter::all(),
            };
            let batch = self.context.read(&request, self.now.wall_ms).unwrap();
            if batch.entries.is_empty() {
                return found;
            }
            found.extend(batch.entries.iter().map(|entry| (entry.offset, body(&entry.message))));
            offset = batch.next_offset;
        }
    }

    /// Takes a checkpoint now.
    pub fn checkpoint(&mut self) {
        self.shard.begin_checkpoint(self.now);
        self.run();
    }

    /// The whole state in a form that can be compared, indexes included.
    pub fn fingerprint(&self) -> BTreeMap<String, Vec<Item>> {
        fingerprint(self.shard.state())
    }
}

impl Client {
    pub fn token(&self) -> Token {
        Token(self.next_token.fetch_add(1, Ordering::Relaxed))
    }
}

pub(super) fn start() -> Now {
    Now { wall_ms: 1_700_000_000_000, mono: Duration::from_secs(10) }
}

fn fingerprint(state: &State) -> BTreeMap<String, Vec<Item>> {
    let mut all = BTreeMap::new();
    for key in state.all_keys() {
        let mut items: Vec<Item> = match key {
            // The epoch and the number of the checkpoint differ with every start.
            ItemKey::Shard => continue,
            key => meaning(state, key).into_iter().collect(),
        };
        if let ItemKey::Queue(queue) = key {
            // Where an index is cut into blocks is no part of its meaning.
            items.extend(state.whole_index(queue));
        }
        all.insert(format!("{key:?}"), items);
    }
    all
}

pub(super) fn draft<'a>(topic: &'a str, body: &'a str) -> Draft<'a> {
    Draft {
        topic,
        flag: 0,
        sys_flags: 0,
        born_ms: 1_700_000_000_000,
        born_host: "127.0.0.1:1".parse().unwrap(),
        store_host: "127.0.0.1:9876".parse().unwrap(),
        reconsume_times: 0,
        body: body.as_bytes(),
        properties: b"TAGS\x01t\x02",
        more_properties: &[],
        annexes: &[],
    }
}

pub(super) fn body(message: &[u8]) -> String {
    String::from_utf8(StoredMessage::parse(message).unwrap().body().to_vec()).unwrap()
}

pub(super) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|delivery| body(&delivery.message)).collect()
}

pub(super) fn property_of(message: &[u8], key: &str) -> Option<String> {
    let stored = StoredMessage::parse(message).unwrap();
    property::Properties::new(stored.properties().as_bytes()).get(key).map(str::to_owned)
}
