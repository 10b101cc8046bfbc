//! A broker in this process and one session with it that waits for its answers on this thread.
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mailrail_broker::*;
use mailrail_message::Draft;

/// Why a run ended without a figure.
pub type Failure = Box<dyn std::error::Error>;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX), mono: self.0.elapsed() }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub struct Client {
    pub session: Session,
    waker: Waker,
    events: Vec<Event>,
}

/// Opens the broker as `mailrail serve` does by default.
pub fn open(data: &Path) -> Result<Broker, Failure> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let config = BrokerConfig::new(data, Arc::new(SystemClock(Instant::now())), boot.trim().to_owned());
    Ok(Broker::open(config)?)
}

impl Client {
    pub fn new(broker: &Broker) -> Client {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        Client { session: broker.connect(), waker, events: Vec::new() }
    }

    /// All events that are there, at least one.
    pub fn events(&mut self) -> Result<std::vec::Drain<'_, Event>, Failure> {
        let deadline = Instant::now() + PATIENCE;
        while self.session.poll_events(&mut Context::from_waker(&self.waker), &mut self.events).is_pending() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("the broker does not answer".into());
            }
            thread::park_timeout(left);
        }
        Ok(self.events.drain(..))
    }

    /// The topic, made if it is not there.
    pub fn topic(&mut self, name: &str, queues: u32) -> Result<Arc<Topic>, Failure> {
        self.topic_with(name, TopicSettings { queues, ..TopicSettings::default() })
    }

    pub fn topic_with(&mut self, name: &str, settings: TopicSettings) -> Result<Arc<Topic>, Failure> {
        let (name, token) = (name.into(), Token(1));
        self.session.submit(vec![Command::PutTopic { token, name, settings, adopt: true }]);
        match self.reply()? {
            Reply::Topic { topic, .. } => Ok(topic),
            other => Err(format!("a topic was not made: {other:?}").into()),
        }
    }

    pub fn bind(&mut self, source: &str, topic: &str, key: &str) -> Result<(), Failure> {
        let (source, target, key) = (source.into(), BindTarget::Topic(topic.into()), key.into());
        let (token, attributes) = (Token(1), Default::default());
        self.session.submit(vec![Command::Bind { token, source, target, key, attributes }]);
        self.reply().map(drop)
    }

    pub fn group(&mut self, name: &str, settings: GroupSettings) -> Result<(), Failure> {
        let put = Command::PutGroup { token: Token(1), name: name.into(), settings: Some(settings) };
        self.session.submit(vec![put]);
        self.reply().map(drop)
    }

    /// Waits for the answer to the one command that gets any.
    pub fn reply(&mut self) -> Result<Reply, Failure> {
        loop {
            for event in self.events()? {
                if let Event::Reply { result, .. } = event {
                    return Ok(result?);
                }
            }
        }
    }

    /// Publishes; the answer comes as an event with the token 2.
    pub fn publish(&mut self, batch: PublishBatch) {
        self.session.submit(vec![Command::Publish { token: Token(2), batch }]);
    }

    /// Waits for answers to publishes: how many messages they said are stored.
    pub fn published(&mut self) -> Result<(usize, u64), Failure> {
        let (mut batches, mut messages) = (0, 0);
        for event in self.events()? {
            if let Event::Published { results, .. } = event {
                batches += 1;
                messages += results.len() as u64;
                if let Some(Err(error)) = results.into_iter().find(Result::is_err) {
                    return Err(error.into());
                }
            }
        }
        Ok((batches, messages))
    }

    /// One read by offset.
    pub fn read(
        &mut self,
        queue: &Arc<Queue>,
        offset: u64,
        max_entries: usize,
    ) -> Result<ReadBatch, Failure> {
        self.read_filtered(queue, offset, max_entries, &Filter::all())
    }

    /// One read by offset through a filter.
    pub fn read_filtered(
        &mut self,
        queue: &Arc<Queue>,
        offset: u64,
        max_entries: usize,
        filter: &Filter,
    ) -> Result<ReadBatch, Failure> {
        // Whoever reads has done with what it got before.
        self.session.keep_held(0);
        let (queue, max_bytes, filter) = (queue.clone(), 1 << 20, filter.clone());
        let request = ReadRequest { queue, offset, max_entries, max_bytes, filter };
        if let Some(result) = self.session.read(Token(3), request) {
            return Ok(result?);
        }
        loop {
            for event in self.events()? {
                if let Event::Read { result, .. } = event {
                    return Ok(result?);
                }
            }
        }
    }
}

/// A message with this body, and nothing else that is worth a byte.
pub fn draft<'a>(topic: &'a Topic, body: &'a [u8]) -> Draft<'a> {
    Draft {
        topic: &topic.name,
        flag: 0,
        sys_flags: 0,
        born_ms: 0,
        born_host: ([127, 0, 0, 1], 1).into(),
        store_host: ([127, 0, 0, 1], 2).into(),
        reconsume_times: 0,
        body,
        properties: b"",
        more_properties: b"",
        annexes: &[],
    }
}

/// A batch of messages with this body, in turn to the topic's queues from `first` on.
pub fn batch(
    topic: &Topic,
    body: &[u8],
    messages: usize,
    durability: Durability,
    first: u32,
) -> PublishBatch {
    let draft = draft(topic, body);
    let queues = topic.settings().queues;
    let mut batch = PublishBatch::with_capacity(messages * (body.len() + 200), messages);
    for number in 0..messages {
        let queue_index = Some((first.wrapping_add(number as u32)) % queues);
        let destination = Destination::Topic { topic: topic.id, queue_index };
        // The length is what a command line gave, and far below every limit.
        batch.push(&draft, destination, 0, durability).expect("a message of the load is well formed");
    }
    batch
}

impl From<crate::Durability> for Durability {
    fn from(durability: crate::Durability) -> Durability {
        match durability {
            crate::Durability::Disk => Durability::Disk,
            crate::Durability::Memory => Durability::Memory,
        }
    }
}
