//! The broker as its users hold it, and the threads behind it: one shard thread, the log's two, one for the store, and
//! a few readers. Everything that decides anything about messages is in [`crate::shard`]; this file only carries
//! inputs to it and its outputs away.

mod host;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mailrail_commitlog::disk::DirLock;
use mailrail_commitlog::{LogConfig, LogReader, LogThreads, Position};
use mailrail_message::RECORD_MESSAGE_BYTES_MAX;

use self::host::{EndOfShard, Host, ToShard};
use crate::access::{Claim, Identity, Logins, SealedSecret, SecretKeyFile, check_signature};
use crate::backup::Backup;
use crate::command::{Command, Name};
use crate::damage::Damage;
use crate::directory::Directory;
use crate::error::Error;
use crate::event::{Delivery, Event, Recipient, Reply};
use crate::ids::*;
use crate::inbox::Inbox;
use crate::limits::*;
use crate::lookup::FindRequest;
use crate::queue::Queue;
use crate::read::{ReadBatch, ReadRequest};
use crate::reader::{Fetched, Job, Pool, ReadContext};
use crate::retention::RetentionPolicy;
use crate::session::{Grant, Letter, Mailbox, Session};
use crate::shard::Input;
use crate::share::{Held, Share};
use crate::stages::{ReadMeter, ShardMeter, WakeMeter};
use crate::statistics::{Client, ClientEntry};
use crate::store::StoreEngine;
use crate::store_thread::StoreThread;
use crate::time::{Clock, Now};
use crate::trace::TraceActor;
use crate::traced_read::TracedRead;

pub use crate::open::OpenError;

/// Where the key of signing secrets lies if nothing else is said: in the data folder, but neither in the log nor in a
/// backup.
const SECRET_KEY_FILE: &str = "secret.key";

/// What a broker needs to know when it opens.
#[derive(Clone)]
pub struct BrokerConfig {
    /// Folder of the log and of everything derived from it; made if missing.
    pub data: PathBuf,
    pub log: LogConfig,
    pub store_engine: StoreEngine,
    /// Memory for the store's cache of index blocks.
    pub store_cache_bytes: u64,
    /// Threads that read what is no longer in memory.
    pub reader_threads: usize,
    /// A checkpoint is made after so much log, or so much time, whichever comes first.
    pub checkpoint_log_bytes: u64,
    pub checkpoint_interval: Duration,
    pub retention: RetentionPolicy,
    /// With more bytes of publishes that wait for their answers, further ones are refused or held back.
    pub in_flight_bytes_max: u64,
    /// With more bytes of messages that were read for clients and not written to them yet, readers and consumers wait.
    pub delivery_bytes_max: u64,
    /// File of the key that seals what users sign with; made when it is needed first.
    pub secret_key: PathBuf,
    pub clock: Arc<dyn Clock>,
    /// Asked when a session submits to a shard that sleeps. True promises that [`Broker::wake`] is called soon, at best
    /// once for what many sessions submit; false has the shard woken at once.
    pub wake_later: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Changes with every start of the operating system: tells whether unsynced writes may be lost.
    pub boot: String,
}

impl BrokerConfig {
    pub fn new(data: &Path, clock: Arc<dyn Clock>, boot: String) -> Self {
        BrokerConfig {
            data: data.to_path_buf(),
            log: LogConfig::default(),
            store_engine: StoreEngine::default(),
            store_cache_bytes: 16 * 1024 * 1024,
            reader_threads: 2,
            checkpoint_log_bytes: 256 * 1024 * 1024,
            checkpoint_interval: Duration::from_secs(30),
            retention: RetentionPolicy::default(),
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            delivery_bytes_max: DELIVERY_BYTES_MAX,
            secret_key: data.join(SECRET_KEY_FILE),
            clock,
            wake_later: Arc::new(|| false),
            boot,
        }
    }
}

/// The broker. Clones share it.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    directory: Arc<Directory>,
    inbox: Arc<Inbox<Input>>,
    wake_later: Arc<dyn Fn() -> bool + Send + Sync>,
    log: LogReader,
    pool: Pool,
    clock: Arc<dyn Clock>,
    next_session: AtomicU64,
    in_flight: Arc<Share>,
    deliveries: Arc<Share>,
    wakes: WakeMeter,
    reads: ReadMeter,
    faulted: Arc<AtomicBool>,
    threads: Mutex<Option<Threads>>,
    logins: Logins,
    secret_key: SecretKeyFile,
}

struct Threads {
    shard: JoinHandle<()>,
    log: LogThreads,
    store: StoreThread,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Broker {
    /// Opens the data folder, brings the state up to the end of the log and starts the threads.
    pub fn open(config: BrokerConfig) -> Result<Broker, OpenError> {
        let lock = crate::open::lock(&config.data)?;
        Broker::open_locked(config, lock)
    }

    /// As [`Broker::open`], of a folder that is this process's own.
    pub(crate) fn open_locked(config: BrokerConfig, lock: DirLock) -> Result<Broker, OpenError> {
        let opened = crate::open::open(&config, lock)?;
        let inbox = Arc::new(Inbox::default());
        let faulted = Arc::new(AtomicBool::new(false));
        let in_flight = Share::new(config.in_flight_bytes_max);
        let (directory, reader, store) = (opened.shard.directory(), opened.reader, opened.store);
        directory.statistics().start(config.clock.now());
        let context = Arc::new(ReadContext {
            log: reader.clone(),
            blocks: opened.blocks,
            directory: directory.clone(),
            lookup: opened.lookup,
            damage: Damage::default(),
        });
        let pool = Pool::start(config.reader_threads, context);
        let writes_awaited = opened.shard.writes_awaited();
        let to_shard = ToShard {
            inbox: inbox.clone(),
            faulted: faulted.clone(),
            writes_awaited,
            clock: config.clock.clone(),
        };
        let log = mailrail_commitlog::spawn(opened.writer, opened.syncer, Arc::new(to_shard));
        let store_thread = StoreThread::start(store.clone(), inbox.clone());
        let host = Host {
            shard: opened.shard,
            inbox: inbox.clone(),
            pool: pool.clone(),
            store: store_thread.handle(),
            clock: config.clock.clone(),
            in_flight: in_flight.clone(),
            meter: ShardMeter::new(),
            _end: EndOfShard { inbox: inbox.clone(), faulted: faulted.clone() },
            _lock: opened.lock,
        };
        let shard = std::thread::Builder::new()
            .name("shard".into())
            .spawn(move || host.run())
            .map_err(|error| OpenError::Thread(error.to_string()))?;
        let wakes = WakeMeter::new(config.clock.clone());
        let inner = Inner {
            directory,
            inbox,
            wake_later: config.wake_later,
            log: reader,
            pool,
            clock: config.clock,
            next_session: AtomicU64::new(1),
            in_flight,
            deliveries: Share::new(config.delivery_bytes_max),
            wakes,
            reads: ReadMeter::new(),
            faulted,
            threads: Mutex::new(Some(Threads { shard, log, store: store_thread })),
            logins: Logins::start().map_err(OpenError::Thread)?,
            secret_key: SecretKeyFile::at(config.secret_key),
        };
        Ok(Broker { inner: Arc::new(inner) })
    }

    /// A new session. What it owns ends when it is dropped.
    pub fn connect(&self) -> Session {
        let id = SessionId(self.inner.next_session.fetch_add(1, Ordering::Relaxed));
        Session::new(self.clone(), Arc::new(Mailbox::new(id, Some(self.inner.wakes.clone()))))
    }

    /// A session for what the broker tidies up by itself, whatever users there are.
    pub fn connect_for_tidying(&self) -> Session {
        let mut session = self.connect();
        session.identify(Arc::new(Identity::broker()));
        session
    }

    /// Seals a secret that a user signs with.
    pub fn seal(&self, user: &str, secret: &str) -> Result<SealedSecret, Error> {
        self.inner.secret_key.seal(user, secret)
    }

    /// Checks what somebody signed: `signature` must be the HMAC-SHA-1 of all `parts`, one after the other, under the
    /// secret of the user.
    pub fn sign_in<'a>(
        &self,
        name: &str,
        parts: impl Iterator<Item = &'a [u8]>,
        signature: &[u8],
        from: IpAddr,
    ) -> Result<Identity, Error> {
        let user = self.directory().access().user(name);
        check_signature(user.as_deref(), &self.inner.secret_key, parts, signature)?;
        Ok(Identity::user(Name::from(name), from))
    }

    /// The names this broker knows.
    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// Enters a connection among the clients that are shown; [`Session::count_for`] says which sessions are its.
    pub fn enter_client(&self, protocol: &'static str, address: SocketAddr) -> ClientEntry {
        ClientEntry::new(self.inner.directory.clone(), protocol, address, self.now())
    }

    /// The time as the broker sees it.
    pub fn now(&self) -> Now {
        self.inner.clock.now()
    }

    /// Wakes the shard as promised, see [`BrokerConfig::wake_later`]; says for how many submits that was.
    pub fn wake(&self) -> usize {
        self.inner.inbox.wake()
    }

    /// Bytes of publishes that wait for their answers.
    pub fn in_flight(&self) -> &Arc<Share> {
        &self.inner.in_flight
    }

    /// Bytes of messages that were read for clients and are not written to them yet.
    pub fn deliveries(&self) -> &Arc<Share> {
        &self.inner.deliveries
    }

    /// Bytes of the newest messages that are in memory, up to the last part of the log's cache that was begun.
    pub fn log_cache_bytes(&self) -> usize {
        self.inner.log.cached_bytes()
    }

    /// Bytes that one client should be handed at once, so that a few do not take everything.
    pub fn delivery_step_bytes_max(&self) -> usize {
        let part = self.inner.deliveries.bytes_max() / DELIVERY_STEPS;
        usize::try_from(part).unwrap_or(usize::MAX).clamp(DELIVERY_STEP_BYTES_MIN, READ_BYTES_MAX)
    }

    /// True once the log has failed: it is read-only, and the process should exit with an error.
    pub fn is_faulted(&self) -> bool {
        self.inner.faulted.load(Ordering::Acquire)
    }

    /// Drops the log below a position, as far as whole segments allow. Of topics that retain by time and size, messages
    /// there are lost; what else is still needed is kept. The answer is [`Reply::Count`]: the log's new start.
    pub fn trim_log(&self, session: &Session, token: Token, before: Position) {
        self.inner.inbox.put(Input::Trim { mailbox: session.mailbox().clone(), token, before });
    }

    /// A backup of everything that is on the disk now; all that went before a command [`Command::Sync`] is, once that
    /// is answered.
    pub fn backup(&self) -> Result<Backup, Error> {
        let copy = self.inner.log.copy().map_err(|error| Error::Read(error.to_string()))?;
        Ok(Backup::new(copy, self.now().wall_ms))
    }

    /// Takes what was submitted to the end, syncs it and ends all threads. Later submits are refused. An error means
    /// that the log had failed.
    pub fn stop(&self) -> Result<(), String> {
        let Some(threads) = self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        self.inner.inbox.put(Input::Stop);
        let panicked = threads.shard.join().is_err();
        let log = threads.log.shutdown().map_err(|fault| fault.to_string());
        threads.store.stop();
        self.inner.pool.stop();
        if panicked { Err("the shard thread panicked".into()) } else { log }
    }

    // What sessions call.

    pub(crate) fn submit(&self, mailbox: &Arc<Mailbox>, commands: Vec<Command>) {
        let bytes = commands.iter().map(Command::weight).sum();
        self.inner.in_flight.add(bytes);
        let since = self.inner.clock.now().mono;
        let input = Input::Commands { mailbox: mailbox.clone(), commands, since };
        if self.inner.inbox.put_promising(input) && !(self.inner.wake_later)() {
            self.inner.inbox.wake();
        }
    }

    pub(crate) fn log_in(
        &self,
        mailbox: &Arc<Mailbox>,
        token: Token,
        name: &str,
        password: &str,
        from: IpAddr,
    ) {
        let mailbox = mailbox.clone();
        let claim = Claim { name: Name::from(name), password: password.to_owned(), from };
        self.inner.logins.check(self.directory().access(), claim, move |outcome| {
            let result = outcome.map(|identity| Reply::LoggedIn(Arc::new(identity)));
            mailbox.put([Letter::Event(Event::Reply { token, result })]);
        });
    }

    pub(crate) fn disconnect(&self, mailbox: &Arc<Mailbox>) {
        self.inner.inbox.put(Input::Disconnected { mailbox: mailbox.clone() });
    }

    /// Answers a read from memory, or has the pool read; what the pool may bring is counted from now on.
    pub(crate) fn read(
        &self,
        mailbox: &Arc<Mailbox>,
        token: Token,
        mut request: ReadRequest,
        (identity, client): (Arc<Identity>, Option<Arc<Client>>),
    ) -> Option<Result<ReadBatch, Error>> {
        let now = self.now();
        let (now_ms, clock) = (now.wall_ms, self.inner.clock.clone());
        if let Some(batch) = crate::reader::read_in_memory(&self.inner.log, &request, now_ms) {
            self.inner.reads.read(batch.entries.len());
            self.inner.directory.count_read(now, &request.queue, &batch);
            let by = || TraceActor::of(&identity, client.as_deref());
            note_read(&self.inner.directory, &self.inner.inbox, &request.queue, &batch, by);
            return Some(Ok(batch));
        }
        let (count, inbox) = (self.inner.reads.clone(), self.inner.inbox.clone());
        request.max_bytes = request.max_bytes.min(DISK_READ_BYTES_MAX);
        let job = self.bringing(mailbox, RECORD_MESSAGE_BYTES_MAX, move |context| {
            let result = context.read(&request, now_ms);
            count.read(result.as_ref().map_or(0, |batch| batch.entries.len()));
            if let Ok(batch) = &result {
                context.directory.count_read(clock.now(), &request.queue, batch);
                let by = || TraceActor::of(&identity, client.as_deref());
                note_read(&context.directory, &inbox, &request.queue, batch, by);
            }
            Event::Read { token, result }
        });
        self.inner.pool.run(job);
        None
    }

    pub(crate) fn read_position(
        &self,
        mailbox: &Arc<Mailbox>,
        token: Token,
        position: u64,
        identity: Arc<Identity>,
    ) {
        let job = self.bringing(mailbox, RECORD_MESSAGE_BYTES_MAX, move |context| {
            let result = context.read_position_for(position, &identity);
            Event::Read { token, result }
        });
        self.inner.pool.run(job);
    }

    pub(crate) fn find(&self, mailbox: &Arc<Mailbox>, token: Token, request: FindRequest) {
        let bytes_max = request.max_bytes.max(RECORD_MESSAGE_BYTES_MAX);
        let job = self.bringing(mailbox, bytes_max, move |context| {
            let result = context.find(&request);
            Event::Found { token, result }
        });
        self.inner.pool.run_long(job);
    }

    /// A job that reads messages for a session. Until they are there, so many bytes count as its own.
    fn bringing(
        &self,
        mailbox: &Arc<Mailbox>,
        bytes_max: usize,
        read: impl FnOnce(&ReadContext) -> Event + Send + 'static,
    ) -> Job {
        let mailbox = mailbox.clone();
        let mut held = Held::new(self.inner.deliveries.clone(), wide(bytes_max));
        Box::new(move |context| {
            let event = read(context);
            held.set(wide(event.message_bytes()));
            mailbox.put([Letter::Brought { event, held }]);
        })
    }

    pub(crate) fn offset_at(&self, mailbox: &Arc<Mailbox>, token: Token, queue: Arc<Queue>, time_ms: u64) {
        let mailbox = mailbox.clone();
        self.inner.pool.run(Box::new(move |context| {
            let found =
                queue.offset_at(time_ms, &context.blocks).map_err(|error| Error::Read(error.to_string()));
            let result = found.map(|offset| Reply::Offsets(vec![Some(offset)]));
            mailbox.put([Letter::Event(Event::Reply { token, result })]);
        }));
    }

    pub(crate) fn deliveries_in_memory(&self, grants: &[Grant]) -> Option<Vec<Delivery>> {
        let deliveries = crate::reader::deliveries_in_memory(&self.inner.log, grants)?;
        self.inner.directory.count_leased(self.now(), &deliveries);
        Some(deliveries)
    }

    /// Reads the messages of grants on the pool. Entries that cannot be read go back to the shard.
    pub(crate) fn fetch(&self, mailbox: &Arc<Mailbox>, to: Recipient, grants: Vec<Grant>) {
        let (mailbox, inbox) = (mailbox.clone(), self.inner.inbox.clone());
        let mut held = Held::new(self.inner.deliveries.clone(), wide(RECORD_MESSAGE_BYTES_MAX));
        let bytes_max = self.delivery_step_bytes_max().min(FETCH_BYTES_MAX);
        let clock = self.inner.clock.clone();
        self.inner.pool.run(Box::new(move |context| {
            let mut fetched = context.fetch(grants, bytes_max);
            held.set(wide(Delivery::bytes_of(&fetched.deliveries)));
            context.directory.count_leased(clock.now(), &fetched.deliveries);
            let unread = fetched.undelivered();
            fetched.take_news().into_iter().for_each(|news| inbox.put(news));
            let Fetched { deliveries, rest, .. } = fetched;
            mailbox.put([Letter::Fetched { to, deliveries, unread, rest, held }]);
        }));
    }
}

/// Tells the shard of what is traced among messages that were read.
fn note_read(
    directory: &Directory,
    inbox: &Inbox<Input>,
    queue: &Arc<Queue>,
    batch: &ReadBatch,
    by: impl FnOnce() -> TraceActor,
) {
    if let Some(read) = TracedRead::of(queue, batch, by)
        && directory.traced_reads().put(read)
    {
        inbox.put(Input::TracedReads);
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
