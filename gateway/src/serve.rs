//! Running the broker: bind, open, listen, and on a signal stop in the order in which nothing acknowledged is lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mailrail_broker::{Broker, BrokerConfig, Command, Event, Name, PasswordHash, Share, Token, UserChange};
use mailrail_rest::{RestConfig, RestState};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::buffers::Buffers;
use crate::clock::{SystemClock, boot_id};
use crate::config::{AccessSettings, MemoryBudget, Settings, SettingsError};
use crate::driver::Phase;
use crate::gathering::Gathering;
use crate::http::{self, Timeouts};
use crate::listeners::{self, Shared, bind};
use crate::metering::{self, MemoryMeter};
use crate::ready::Ready;
use crate::series::Series;
use crate::tls::Tls;

/// How long connections may take to end once everything is answered.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Files that are open beside connections: segments, the store, listeners.
const OTHER_FILES: u64 = 256;
/// How often a failed log is noticed.
const FAULT_CHECK: Duration = Duration::from_millis(200);

/// Runs until SIGTERM or SIGINT, or until the log fails. An error is one line for whoever started the program.
pub fn run(settings: Settings) -> Result<(), String> {
    start_logging(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(connection_threads())
        .enable_all()
        .build()
        .map_err(|error| format!("the async runtime cannot start: {error}"))?;
    let outcome = runtime.block_on(serve(settings));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Threads that run connections: half the cores, as the shard and its log keep the others busy. With more, a batch's
/// events wake one thread and its next bytes another, and on two cores that costs more than it brings.
fn connection_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

async fn serve(settings: Settings) -> Result<(), String> {
    // Whatever comes from now on is an orderly stop, also while the log is read.
    let signals = Signals::listen()?;
    let files = raise_open_files(settings.memory.connections_max);
    if let Some(path) = &settings.ready_file {
        // One of an earlier run would send clients to where nobody listens yet.
        Ready::withdraw(path).map_err(|error| format!("removing {}: {error}", path.display()))?;
    }
    // Addresses first: one that is taken must not cost a replay.
    let http_listener = bind("http-listen", settings.http_listen).map_err(|error| error.to_string())?;
    let remoting_listener =
        bind("remoting-listen", settings.remoting_listen).map_err(|error| error.to_string())?;
    let amqp_listener = bind("amqp-listen", settings.amqp_listen).map_err(|error| error.to_string())?;
    let address =
        |listener: &tokio::net::TcpListener| listener.local_addr().map_err(|error| error.to_string());
    let ready = Ready {
        pid: std::process::id(),
        http: address(&http_listener)?,
        remoting: address(&remoting_listener)?,
        amqp: address(&amqp_listener)?,
    };
    let tls = Tls::open(settings.tls.clone()).map_err(|error| error.to_string())?;
    warn(&settings, files);
    let memory = settings.memory;
    let metrics = metering::install()?;
    let broker = open_broker(&settings).await?;
    let_users_in(&broker, &settings.access).await?;
    let advertised = SocketAddr::new(settings.advertised, ready.remoting.port());
    let (phase, phases) = watch::channel(Phase::Running);
    let places = Arc::new(Semaphore::new(count(memory.connections_max)));
    let buffers = Buffers::new(memory.buffer_bytes_max);
    let shared =
        Shared { broker: broker.clone(), places, buffers: buffers.clone(), phase: phases, tls: tls.clone() };

    let mut remoting =
        mailrail_remoting::RemotingConfig::new(advertised, &settings.cluster_name, &settings.broker_name);
    remoting.auto_create_topics = settings.auto_create_topics;
    let waits = Share::new(memory.wait_bytes_max);
    remoting.waits = waits.clone();
    remoting.delay_levels.clone_from(&settings.delay_levels);
    let remoting = Arc::new(remoting);
    let remoting = listeners::accept("remoting", remoting_listener, shared.clone(), move |broker, peer| {
        mailrail_remoting::Connection::new(broker.connect(), remoting.clone(), peer, broker.now())
    });
    let amqp = Arc::new(mailrail_amqp::AmqpConfig::new(advertised));
    let amqp = listeners::accept("amqp", amqp_listener, shared.clone(), move |broker, peer| {
        mailrail_amqp::Connection::new(broker.connect(), amqp.clone(), peer, broker.now())
    });
    let mut rest = RestConfig::new(advertised);
    rest.auto_create_topics = settings.auto_create_topics;
    rest.upload_bytes_max = count(memory.upload_bytes_max);
    rest.answer_bytes_max = count(memory.answer_bytes_max);
    rest.event_streams_max = count(memory.event_streams_max);
    rest.receives_max = rest.receives_max.min(count(memory.connections_max));
    let rest = RestState::new(broker.clone(), rest);
    let meter = meter_memory(&memory, &broker, &rest, buffers, waits);
    let counted = Arc::new(Series::new(broker.clone(), settings.metrics_topics_max));
    let series = move || counted.render();
    let metrics = mailrail_rest::guarded(rest.clone(), http::metrics_routes(metrics, meter, series));
    let routes = mailrail_rest::router(rest.clone()).merge(metrics);
    let http = http::serve(http_listener, routes, shared, Timeouts::default());
    let serving = [tokio::spawn(remoting), tokio::spawn(amqp), tokio::spawn(http)];
    tracing::info!(http = %ready.http, remoting = %ready.remoting, amqp = %ready.amqp, "ready");
    if let Some(path) = &settings.ready_file {
        ready.write(path).map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    let faulted = signals.stop_or_fault(&broker, &tls).await;
    stop(broker, rest, phase, serving).await?;
    if faulted { Err("the log has failed; what was acknowledged is on disk".to_owned()) } else { Ok(()) }
}

/// Says what the system has less of than the settings ask for.
fn warn(settings: &Settings, files: Option<u64>) {
    let memory = settings.memory;
    if let Some(files) = files {
        let connections_max = memory.connections_max;
        tracing::warn!(files, connections_max, "fewer files may be open than connections");
    }
    if let Some(limit) = settings.memory_limit_bytes.filter(|limit| *limit < memory.bytes) {
        let (memory_mib, limit_mib) = (memory.bytes >> 20, limit >> 20);
        tracing::warn!(memory_mib, limit_mib, "the system allows less memory");
    }
}

/// Every share that is counted; what the store's cache holds, its engine does not say.
fn meter_memory(
    memory: &MemoryBudget,
    broker: &Broker,
    rest: &RestState,
    buffers: Arc<Buffers>,
    waits: Arc<Share>,
) -> MemoryMeter {
    let (cached, in_flight, deliveries) =
        (broker.clone(), broker.in_flight().clone(), broker.deliveries().clone());
    let (uploads, answers) = (rest.clone(), rest.clone());
    MemoryMeter::new(memory.bytes)
        .with("log_cache", memory.log_cache_bytes, move || cached.log_cache_bytes() as u64)
        .with("in_flight", memory.in_flight_bytes_max, move || in_flight.bytes())
        .with("deliveries", memory.delivery_bytes_max, move || deliveries.bytes())
        .with("http_answers", memory.answer_bytes_max, move || answers.answer_bytes() as u64)
        .with("buffers", memory.buffer_bytes_max, move || buffers.share().bytes())
        .with("http_uploads", memory.upload_bytes_max, move || uploads.uploaded_bytes() as u64)
        .with("waits", memory.wait_bytes_max, move || waits.bytes())
}

fn count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

async fn open_broker(settings: &Settings) -> Result<Broker, String> {
    let mut config = BrokerConfig::new(&settings.data, Arc::new(SystemClock::start()), boot_id());
    config.log.segment_bytes = settings.segment_bytes;
    config.log.free_bytes_min = settings.disk_free_bytes_min;
    config.retention = settings.retention;
    config.in_flight_bytes_max = settings.memory.in_flight_bytes_max;
    config.delivery_bytes_max = settings.memory.delivery_bytes_max;
    config.log.cache_bytes = count(settings.memory.log_cache_bytes);
    config.store_engine = settings.store_engine;
    if let Some(path) = &settings.access.secret_key_file {
        config.secret_key.clone_from(path);
    }
    config.store_cache_bytes = settings.memory.store_cache_bytes;
    let gathering = Arc::new(Gathering::default());
    let asked = Arc::clone(&gathering);
    config.wake_later = Arc::new(move || asked.may_wake_later());
    let opened = tokio::task::spawn_blocking(move || Broker::open(config)).await;
    let broker = opened.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    tokio::spawn(gathering.run(broker.clone()));
    Ok(broker)
}

/// Makes the first administrator where there are no users. Who has none must not be heard by others.
async fn let_users_in(broker: &Broker, settings: &AccessSettings) -> Result<(), String> {
    let is_open = || broker.directory().access().is_open();
    if let Some(admin) = settings.first_admin.clone().filter(|_| is_open()) {
        let hashing = tokio::task::spawn_blocking(move || PasswordHash::of(&admin.password));
        let password =
            hashing.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let change = UserChange { admin: Some(true), password: Some(password), ..UserChange::default() };
        let (token, name) = (Token(1), Name::from(admin.name.as_str()));
        let mut session = broker.connect_for_tidying();
        session.submit(vec![Command::PutUser { token, name, change: Box::new(change) }]);
        for event in session.next_events().await {
            if let Event::Reply { result: Err(error), .. } = event {
                return Err(format!("admin-user {:?} cannot be made: {error}", admin.name));
            }
        }
        tracing::info!(user = %admin.name, "the first administrator was made");
    }
    match settings.exposed.filter(|_| is_open()) {
        Some((key, value)) => Err(SettingsError::Exposed { key, value }.to_string()),
        None => Ok(()),
    }
}

/// The signals that the program listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Asks for the certificate to be read again.
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("signals cannot be received: {error}"));
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Returns on a signal, or with true when the log has failed.
    async fn stop_or_fault(mut self, broker: &Broker, tls: &Tls) -> bool {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return false,
                _ = self.interrupt.recv() => return false,
                _ = self.hangup.recv() => tls.reload(),
                _ = tokio::time::sleep(FAULT_CHECK) => if broker.is_faulted() {
                    return true;
                }
            }
        }
    }
}

/// Lets the process have as many files open as the system allows. Returns that number where it is too small for all
/// connections, segments and whatever else.
fn raise_open_files(connections_max: u64) -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    let now = setrlimit(Resource::Nofile, raised).map_or(limit.current, |()| limit.maximum);
    now.filter(|files| *files < connections_max + OTHER_FILES)
}

/// Takes no new requests and ends waits, stops reading, lets the broker finish what it has taken, sends the last answers,
/// closes.
async fn stop(
    broker: Broker,
    rest: RestState,
    phase: watch::Sender<Phase>,
    serving: [tokio::task::JoinHandle<()>; 3],
) -> Result<(), String> {
    tracing::info!("stopping");
    // An event stream and a long poll go on as long as they are let, and load balancers must look elsewhere now.
    rest.stop();
    phase.send_replace(Phase::Draining);
    let stopped =
        tokio::task::spawn_blocking(move || broker.stop()).await.map_err(|error| error.to_string())?;
    phase.send_replace(Phase::Closing);
    let ended = async {
        for task in serving {
            let _ = task.await;
        }
    };
    if tokio::time::timeout(CLOSE_TIMEOUT, ended).await.is_err() {
        tracing::warn!("connections were cut off that did not end in time");
    }
    stopped
}

fn start_logging(settings: &Settings) -> Result<(), String> {
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log_level)
        .map_err(|error| format!("log-level {:?}: {error}", settings.log_level))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if settings.log_json {
        log.json().init()
    } else {
        log.with_ansi(false).init()
    }
    Ok(())
}
