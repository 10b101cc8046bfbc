//! Random, truncated, oversized and slow bytes, connections that say nothing, and readers that do not read: they cost their own
//! connection at most, memory stays flat, and honest clients are served all the while.
//!
//! What exactly each protocol answers to which error is tested beside its codec; here that it ends the connection in its own way
//! and in time.

mod garbage;
mod peer;
pub(super) mod random;
mod wire;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::peer::Peer;
use self::random::Random;
use crate::broker::{Against, Broker};
use crate::driver::{Consume, Driver};
use crate::line::Outgoing;
use crate::sdk::{Protocol, Sdk};
use crate::world::{DELIVERY_MAX, World};
use crate::{Failure, Outcome, require};

const TOPIC: &str = "hostile";
const ROUNDS: u64 = 40;
const SILENT: usize = 200;
const FLOOD_BYTES: usize = 8 << 20;
/// The slow client: so many bytes at once, and so long a pause between.
const SLOW_BYTES: usize = 3;
const SLOW_PAUSE: Duration = Duration::from_millis(20);
const SLOW_ANSWER_MAX: Duration = Duration::from_secs(5);
/// Clients that ask and do not read, and what lies there for each.
const GREEDY: usize = 8;
const STORED_MESSAGES: usize = 32;
const STORED_BODY_BYTES: usize = 1 << 20;
const STORED_AT_ONCE: usize = 8;
const GREEDY_WATCHED: Duration = Duration::from_secs(2);
const GREEDY_READ_MAX: Duration = Duration::from_secs(5);
/// What shows that the greedy were answered at all: more than any refusal is long.
const GREEDY_BYTES_MIN: usize = 64 << 10;
/// Private memory may grow by this much while garbage comes: caches and thread stacks, not what was claimed in lengths.
const GARBAGE_GROWTH_KIB_MAX: u64 = 48 << 10;
/// And by this much for all the greedy together, who ask for more than 256 MiB: for each of them what one answer and what waits to
/// be written may take.
const GREEDY_GROWTH_KIB_MAX: u64 = GREEDY as u64 * (20 << 10);

pub fn run(world: &mut World, sdk: Sdk) -> Result<Outcome, Failure> {
    if world.against() != Against::Mailrail {
        return Ok(Outcome::Cannot("the peer's own business".into()));
    }
    let seed = seed()?;
    println!("hostile bytes on the port of {sdk}: MAILRAIL_SEED={seed}");
    scenario(world, sdk, seed).map_err(|failure| Failure::Wrong(format!("seed {seed}: {failure}")))?;
    Ok(Outcome::Pass)
}

fn scenario(world: &mut World, sdk: Sdk, seed: u64) -> Result<(), Failure> {
    // A broker of its own, since what one port made it take from the system would hide what the next does.
    let folder = world.folder().join(format!("hostile-{sdk}"));
    std::fs::create_dir_all(&folder).map_err(Failure::io(format!("creating {}", folder.display())))?;
    let mut broker = Broker::start(Against::Mailrail, &folder)?;
    let target = Target::new(&broker, sdk, seed)?;
    let mut client = honest_client(world, &broker, sdk)?;

    let before = target.memory_kib()?;
    let silent = silent(&target)?;
    let silent_from = Instant::now();
    garbage::run(&target.address, target.protocol, seed, ROUNDS)?;
    flood(&target)?;
    slow(&target)?;
    // With the silent ones still open, the client goes on as if nothing had been.
    client.send(TOPIC, "sync", &[to_queue("meanwhile")])?;
    let after = target.memory_kib()?;
    println!("  memory: {before} KiB, after the garbage {after} KiB");
    require!(after < before + GARBAGE_GROWTH_KIB_MAX, "memory grew from {before} to {after} KiB");

    let grown = greedy(&mut client, &target)?;
    client.send(TOPIC, "sync", &[to_queue("after")])?;
    world.done(client);
    serves_a_fresh_client(world, &broker, sdk)?;
    if target.protocol == Protocol::Amqp {
        all_closed(silent, silent_from + AMQP_SILENCE_MAX)?;
    }
    broker.stop()?;
    // Last, so that it hides nothing of what came after.
    require!(
        grown < GREEDY_GROWTH_KIB_MAX,
        "memory grew by {grown} KiB for {GREEDY} clients that do not read, at most {GREEDY_GROWTH_KIB_MAX}"
    );
    Ok(())
}

/// The port that is under attack, and the process behind it.
struct Target {
    protocol: Protocol,
    address: String,
    pid: u32,
    seed: u64,
}

impl Target {
    fn new(broker: &Broker, sdk: Sdk, seed: u64) -> Result<Self, Failure> {
        let endpoints = broker.endpoints().clone();
        let address = match sdk.protocol() {
            Protocol::Remoting => endpoints.remoting,
            Protocol::Amqp => endpoints.amqp,
            Protocol::Http => endpoints.http,
        };
        let address = address.ok_or_else(|| Failure::Environment("no such listener".into()))?;
        let pid = broker.pid().ok_or_else(|| Failure::Environment("no process id".into()))?;
        Ok(Self { protocol: sdk.protocol(), address, pid, seed })
    }

    fn connect(&self) -> Result<Peer, Failure> {
        Peer::connect(&self.address)
    }

    /// Private memory of the process.
    fn memory_kib(&self) -> Result<u64, Failure> {
        let path = format!("/proc/{}/status", self.pid);
        let text = std::fs::read_to_string(&path)
            .map_err(Failure::io(format!("the broker is gone: reading {path}")))?;
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
        kib.ok_or_else(|| Failure::Environment(format!("no RssAnon in {path}")))
    }
}

/// A client of the SDK on a new connection, and the topic.
fn honest_client(world: &mut World, broker: &Broker, sdk: Sdk) -> Result<Driver, Failure> {
    let mut client = world.unconnected(sdk)?;
    client.connect(&broker.endpoints().fields())?;
    match client.create_topic(TOPIC, 1) {
        Err(Failure::Unsupported { .. }) => {} // the first send makes it
        result => result?,
    }
    client.send(TOPIC, "sync", &[to_queue("honest")])?;
    Ok(client)
}

/// For the queue that the greedy read.
fn to_queue(text: &str) -> Outgoing {
    Outgoing { queue: Some(0), ..Outgoing::text(text) }
}

/// A broker closes an AMQP connection that is not open after 10 s; the rest is for a busy machine.
const AMQP_SILENCE_MAX: Duration = Duration::from_secs(15);
/// The same for an HTTP connection without a whole request head, after 30 s.
const HTTP_SILENCE_MAX: Duration = Duration::from_secs(35);

/// Silent HTTP connections are closed; apart from the rest, since it takes half a minute.
pub fn silent_http(world: &mut World) -> Result<Outcome, Failure> {
    if world.against() != Against::Mailrail {
        return Ok(Outcome::Cannot("the peer's own business".into()));
    }
    let target = Target::new(world.broker()?, Sdk::Curl, 0)?;
    let silent = silent(&target)?;
    all_closed(silent, Instant::now() + HTTP_SILENCE_MAX)?;
    Ok(Outcome::Pass)
}

/// `MAILRAIL_SEED`, else one of its own for each run.
fn seed() -> Result<u64, Failure> {
    let Ok(text) = std::env::var("MAILRAIL_SEED") else {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        return Ok(now.as_secs() % 1_000_000);
    };
    text.parse().map_err(|_| Failure::Environment(format!("MAILRAIL_SEED={text} is no number")))
}

/// Connections of which every other has said nothing at all, and the rest half of what they wanted to say.
fn silent(target: &Target) -> Result<Vec<Peer>, Failure> {
    let request = wire::request(target.protocol);
    let connected = (0..SILENT).map(|number| {
        let mut peer = target.connect()?;
        if number % 2 == 1 {
            require!(peer.send(&request[..request.len() / 2]), "not even half a request is taken");
        }
        Ok(peer)
    });
    connected.collect()
}

fn all_closed(silent: Vec<Peer>, deadline: Instant) -> Result<(), Failure> {
    for (number, mut peer) in silent.into_iter().enumerate() {
        require!(peer.is_closed_by(deadline)?, "silent connection {number} is not closed in time");
    }
    Ok(())
}

/// Megabytes of zeros, as fast as they are taken.
fn flood(target: &Target) -> Result<(), Failure> {
    let mut peer = target.connect()?;
    let zeros = vec![0_u8; 64 << 10];
    for _ in 0..FLOOD_BYTES / zeros.len() {
        if !peer.send(&zeros) {
            return Ok(()); // closed, as it should be
        }
    }
    let closed = peer.is_closed_by(Instant::now() + SLOW_ANSWER_MAX)?;
    require!(closed, "{FLOOD_BYTES} zeros were taken and the connection is open still");
    Ok(())
}

/// An honest client on a bad line is served like any other.
fn slow(target: &Target) -> Result<(), Failure> {
    let mut peer = target.connect()?;
    for part in wire::request(target.protocol).chunks(SLOW_BYTES) {
        require!(peer.send(part), "a slow request is cut off: {}", peer.said());
        std::thread::sleep(SLOW_PAUSE);
    }
    let is_answer = |bytes: &[u8]| wire::is_answer(target.protocol, bytes);
    let answered = peer.read_until(Instant::now() + SLOW_ANSWER_MAX, is_answer)?;
    require!(answered, "a slow request is not answered: {}", peer.said());
    Ok(())
}

/// Clients that ask for much and read nothing, while others are served. Gives by how many KiB the broker grew for them.
fn greedy(client: &mut Driver, target: &Target) -> Result<u64, Failure> {
    let mut random = Random::new(target.seed, u64::MAX);
    for _ in 0..STORED_MESSAGES / STORED_AT_ONCE {
        let body = || Outgoing { body: random.bytes(STORED_BODY_BYTES), ..to_queue("") };
        let messages: Vec<Outgoing> = std::iter::repeat_with(body).take(STORED_AT_ONCE).collect();
        client.send(TOPIC, "sync", &messages)?;
    }
    let before = target.memory_kib()?;
    let mut peers = Vec::new();
    for turn in 0..GREEDY {
        let mut peer = target.connect()?;
        require!(peer.send(&wire::greedy(target.protocol, TOPIC, turn)), "a request is not taken");
        peers.push(peer);
    }
    let mut most = before;
    let end = Instant::now() + GREEDY_WATCHED;
    while Instant::now() < end {
        client.send(TOPIC, "sync", &[to_queue("beside the greedy")])?;
        most = most.max(target.memory_kib()?);
        std::thread::sleep(SLOW_PAUSE);
    }
    println!("  memory: {before} KiB, with {GREEDY} that do not read {most} KiB");
    for mut peer in peers {
        let is_data = |bytes: &[u8]| bytes.len() > GREEDY_BYTES_MIN;
        let answered = peer.read_until(Instant::now() + GREEDY_READ_MAX, is_data)?;
        require!(answered, "what was asked for is not there: {}", peer.said());
    }
    Ok(most.saturating_sub(before))
}

fn serves_a_fresh_client(world: &mut World, broker: &Broker, sdk: Sdk) -> Result<(), Failure> {
    let mut client = honest_client(world, broker, sdk)?;
    client.consume(&Consume::new("c", TOPIC, TOPIC))?;
    // Which message comes first is not said: a concurrent consumer takes up several at once.
    client.receive("c", 1, DELIVERY_MAX)?;
    world.done(client);
    Ok(())
}
