//! A whole broker in a folder, asked through sessions that wait for their answers. It asserts nothing by itself but that
//! answers come and are no errors.
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use mailrail_broker::*;
use mailrail_message::{Draft, StoredMessage};

/// Longest wait for an event that must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct TestClock {
    start: Instant,
    wall_ms: AtomicU64,
}

impl TestClock {
    pub fn at(wall_ms: u64) -> Arc<TestClock> {
        Arc::new(TestClock { start: Instant::now(), wall_ms: wall_ms.into() })
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        Now { wall_ms: self.wall_ms.load(Ordering::SeqCst), mono: self.start.elapsed() }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A broker on a folder with the smallest segments, and one session.
pub struct Rig {
    pub broker: Broker,
    pub session: Session,
}

pub fn config(data: &Path, wall_ms: u64) -> BrokerConfig {
    let mut config = BrokerConfig::new(data, TestClock::at(wall_ms), "boot".into());
    config.log.segment_bytes = 16 << 10;
    config
}

impl Rig {
    pub fn open(data: &Path) -> Rig {
        Rig::at(data, 1_700_000_000_000)
    }

    pub fn at(data: &Path, wall_ms: u64) -> Rig {
        Rig::with(config(data, wall_ms))
    }

    pub fn with(config: BrokerConfig) -> Rig {
        let broker = Broker::open(config).unwrap();
        Rig { session: broker.connect(), broker }
    }

    fn find<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = events(&mut self.session).into_iter().find_map(&wanted) {
                return found;
            }
        }
    }

    pub fn ask(&mut self, command: impl FnOnce(Token) -> Command) -> Reply {
        self.session.submit(vec![command(Token(1))]);
        self.reply()
    }

    pub fn reply(&mut self) -> Reply {
        self.find(|event| match event {
            Event::Reply { result, .. } => Some(result.unwrap()),
            _ => None,
        })
    }

    pub fn put_topic(&mut self, name: &str, settings: TopicSettings) -> Arc<Topic> {
        match self.ask(|token| Command::PutTopic { token, name: name.into(), settings, adopt: false }) {
            Reply::Topic { topic, .. } => topic,
            other => panic!("{other:?}"),
        }
    }

    /// Publishes to the first queue of a topic.
    pub fn publish(&mut self, topic: &Topic, body: &[u8]) -> Stored {
        let destination = Destination::Topic { topic: topic.id, queue_index: Some(0) };
        self.publish_to(destination, &topic.name, body)
    }

    pub fn publish_to(&mut self, destination: Destination, topic: &str, body: &[u8]) -> Stored {
        let mut batch = PublishBatch::default();
        batch.push(&draft(topic, body), destination, 0, Durability::Disk).unwrap();
        self.publish_batch(batch).unwrap()
    }

    /// As [`Rig::publish`], with a key to find it by.
    pub fn publish_keyed(&mut self, topic: &Topic, body: &[u8], key: &str) -> Stored {
        let mut batch = PublishBatch::default();
        let properties = format!("KEYS\u{1}{key}\u{2}");
        let draft = Draft { properties: properties.as_bytes(), ..draft(&topic.name, body) };
        let destination = Destination::Topic { topic: topic.id, queue_index: Some(0) };
        batch.push(&draft, destination, 0, Durability::Disk).unwrap();
        self.publish_batch(batch).unwrap()
    }

    /// Publishes without waiting for a sync.
    pub fn publish_memory(&mut self, destination: Destination, topic: &str, body: &[u8]) -> Stored {
        let mut batch = PublishBatch::default();
        batch.push(&draft(topic, body), destination, 0, Durability::Memory).unwrap();
        self.publish_batch(batch).unwrap()
    }

    /// Publishes; how many queues that reached.
    pub fn queues_reached(&mut self, destination: Destination) -> u32 {
        let mut batch = PublishBatch::default();
        batch.push(&draft("routed", b"routed"), destination, 0, Durability::Disk).unwrap();
        match self.publish_batch(batch) {
            Ok(stored) => stored.queues,
            Err(Error::Unroutable) => 0,
            Err(error) => panic!("{error}"),
        }
    }

    /// Publishes to the first queue of a topic, to be seen at a later time.
    pub fn publish_due(&mut self, topic: &Topic, body: &[u8], due_ms: u64) -> Stored {
        let mut batch = PublishBatch::default();
        batch.push_due(&draft(&topic.name, body), topic.id, Some(0), 0, Durability::Disk, due_ms).unwrap();
        self.publish_batch(batch).unwrap()
    }

    /// Publishes the one message of a batch.
    pub fn publish_batch(&mut self, batch: PublishBatch) -> Result<Stored, Error> {
        self.session.submit(vec![Command::Publish { token: Token(2), batch }]);
        self.find(|event| match event {
            Event::Published { mut results, .. } => Some(results.remove(0)),
            _ => None,
        })
    }

    /// Reads from an offset on.
    pub fn read(&mut self, queue: &Arc<Queue>, offset: u64) -> ReadBatch {
        self.try_read(queue, offset).unwrap()
    }

    pub fn try_read(&mut self, queue: &Arc<Queue>, offset: u64) -> Result<ReadBatch, Error> {
        self.try_read_filtered(queue, offset, Filter::all())
    }

    /// As [`Rig::try_read`], of what passes a filter.
    pub fn try_read_filtered(
        &mut self,
        queue: &Arc<Queue>,
        offset: u64,
        filter: Filter,
    ) -> Result<ReadBatch, Error> {
        let (max_entries, max_bytes) = (100, 1 << 20);
        let request = ReadRequest { queue: queue.clone(), offset, max_entries, max_bytes, filter };
        match self.session.read(Token(3), request) {
            Some(result) => result,
            None => self.find(|event| match event {
                Event::Read { result, .. } => Some(result),
                _ => None,
            }),
        }
    }

    /// Messages of a topic with this key.
    pub fn find_by_key(&mut self, topic: &str, key: &str) -> Result<Vec<Found>, Error> {
        let topic = self.broker.directory().topic(topic).unwrap();
        let (key, max, max_bytes) = (key.to_owned(), 1_000, 1 << 20);
        self.session.find(Token(5), FindRequest { topic, key, from_ms: 0, to_ms: u64::MAX, max, max_bytes });
        self.find(|event| match event {
            Event::Found { result, .. } => Some(result),
            _ => None,
        })
    }

    /// All that a queue has: offsets and bodies.
    pub fn messages(&mut self, queue: &Arc<Queue>) -> Vec<(u64, Vec<u8>)> {
        let mut found = Vec::new();
        let mut offset = queue.min_offset();
        while offset < queue.end_offset() {
            let batch = self.read(queue, offset);
            assert!(batch.next_offset > offset);
            offset = batch.next_offset;
            found.extend(
                batch.entries.iter().map(|entry| {
                    (entry.offset, StoredMessage::parse(&entry.message).unwrap().body().to_vec())
                }),
            );
        }
        found
    }

    /// Receives at most so many messages under a lease that outlasts the test.
    pub fn receive(&mut self, group: &str, topic: &str, max: u32) -> Vec<Delivery> {
        let (group, topic) = (group.into(), topic.into());
        let (token, wait_ms, lease_ms) = (Token(4), 0, 60_000);
        self.session.submit(vec![Command::Receive {
            token,
            group,
            topic,
            max,
            wait_ms,
            lease_ms,
            filter: None,
        }]);
        self.find(|event| match event {
            Event::Deliveries { deliveries, .. } => Some(deliveries),
            _ => None,
        })
    }

    pub fn settle(&mut self, receipts: Vec<Receipt>, outcome: Outcome) {
        self.ask(|token| Command::Settle { token: Some(token), receipts, outcome });
    }

    pub fn stop(self) {
        self.broker.stop().unwrap();
    }
}

/// Waits for the session's next events.
pub fn events(session: &mut Session) -> Vec<Event> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut events, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while session.poll_events(&mut Context::from_waker(&waker), &mut events).is_pending() {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no event came");
        std::thread::park_timeout(left);
    }
    events
}

pub fn draft<'a>(topic: &'a str, body: &'a [u8]) -> Draft<'a> {
    Draft {
        topic,
        flag: 0,
        sys_flags: 0,
        born_ms: 0,
        born_host: "127.0.0.1:1".parse().unwrap(),
        store_host: "127.0.0.1:2".parse().unwrap(),
        reconsume_times: 0,
        body,
        properties: &[],
        more_properties: &[],
        annexes: &[],
    }
}

/// All files below a folder with their bytes, but for the lock.
pub fn files(folder: &Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Copies a folder with everything in it, but for the lock.
pub fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
