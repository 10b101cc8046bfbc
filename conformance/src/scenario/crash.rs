//! The broker is killed under load over three protocols, again and again; nothing that it acknowledged may be missing.
//!
//! Judged by the offline checker from the drivers' journals: each topic is read back over other protocols than it was written
//! over, by a broker that was started anew on the same data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::broker::{Against, Broker};
use crate::driver::Driver;
use crate::journal::{InFlight, check_files, in_flight_at};
use crate::sdk::Sdk;
use crate::world::World;
use crate::{Failure, Outcome, require};

/// Acknowledged messages before each kill, over all protocols.
const ACKED_MIN: u64 = 10_000;
/// And of each protocol, so that none idles.
const ACKED_EACH_MIN: u64 = 1_000;
const BODY_BYTES: u32 = 300;
const LOAD_MAX: Duration = Duration::from_secs(120);
/// Longest start after a kill. What a kill leaves unsynced is far below the gibibyte that may take so long.
const REOPEN_MAX: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(5);
const DRAIN_MS_MAX: u64 = 120_000;

/// So many rounds share their topics, so that numbering goes on over several crashes; more would make reading back slow.
const ROUNDS_PER_TOPIC: u32 = 5;

/// Who writes, with how many sends in flight (for curl, requests of 50 messages), and who reads it back afterwards.
const WRITERS: [(Sdk, u32, &[Sdk]); 3] = [
    (Sdk::JavaRocketmq, 64, &[Sdk::Curl, Sdk::JavaRocketmq, Sdk::GoRocketmq]),
    (Sdk::Pika, 100, &[Sdk::Curl, Sdk::JavaRocketmq, Sdk::Pika]),
    (Sdk::Curl, 4, &[Sdk::JavaRocketmq, Sdk::Curl]),
];

pub fn run(world: &mut World, rounds: u32, sdks: &[Sdk]) -> Result<Outcome, Failure> {
    if world.against() != Against::Mailrail {
        return Ok(Outcome::Cannot("a peer's default does not promise durability at the reply".into()));
    }
    let folder = world.folder().join("crash");
    let journals =
        std::env::var_os("MAILRAIL_JOURNALS").map_or_else(|| folder.join("journals"), PathBuf::from);
    for path in [&folder, &journals] {
        std::fs::create_dir_all(path).map_err(Failure::io(format!("creating {}", path.display())))?;
    }
    let broker = Broker::start(Against::Mailrail, &folder)?;
    let mut run = Run {
        broker,
        writers: writers(sdks),
        journals,
        rounds,
        acked: 0,
        cut_off: 0,
        amid: BTreeMap::new(),
        longest_start: Duration::ZERO,
    };
    for round in 1..=rounds {
        run.round(world, round)?;
    }
    for (sdk, ..) in &run.writers {
        // A window is answered as a whole, so now and then a kill comes when all is answered and the next not sent; that
        // one proves nothing about this protocol.
        let amid = run.amid.get(sdk).copied().unwrap_or_default();
        require!(2 * amid > rounds, "only {amid} of {rounds} kills came amid sends of {sdk}");
    }
    run.broker.stop()?;
    println!(
        "{rounds} kills: {} acknowledged, {} cut off by the kills, 0 lost, longest start {:?}",
        run.acked, run.cut_off, run.longest_start
    );
    Ok(Outcome::Pass)
}

/// An AMQP reader takes what it reads away, so it reads when no other will. The Go client reads by a push consumer, which knows
/// that it is done only after some seconds of silence, so it does not read each round either.
fn reads_at_last_only(reader: Sdk) -> bool {
    matches!(reader, Sdk::Pika | Sdk::GoRocketmq)
}

/// Who reads a topic back after a round: each of them when nothing more will be written to it, and before that one in turn, since
/// reading takes longer than everything else in a round.
fn readers_of(round: u32, is_last: bool, readers: &[Sdk]) -> Vec<Sdk> {
    if is_last {
        return readers.to_vec();
    }
    let mut in_turn: Vec<Sdk> =
        readers.iter().copied().filter(|reader| !reads_at_last_only(*reader)).collect();
    let turn = usize::try_from(round).unwrap_or(0) % in_turn.len().max(1);
    in_turn.drain(..).skip(turn).take(1).collect()
}

/// A writer, its window, and who reads back what it wrote.
type Writer = (Sdk, u32, Vec<Sdk>);

/// The writers and readers among the SDKs of this run.
fn writers(sdks: &[Sdk]) -> Vec<Writer> {
    let among = |readers: &[Sdk]| readers.iter().copied().filter(|reader| sdks.contains(reader)).collect();
    WRITERS
        .into_iter()
        .filter(|(sdk, ..)| sdks.contains(sdk))
        .map(|(sdk, window, readers)| (sdk, window, among(readers)))
        .collect()
}

struct Run {
    broker: Broker,
    writers: Vec<Writer>,
    journals: PathBuf,
    rounds: u32,
    /// Over all rounds.
    acked: u64,
    cut_off: u64,
    /// In how many rounds a writer had sends in flight at the kill.
    amid: BTreeMap<Sdk, u32>,
    longest_start: Duration,
}

impl Run {
    fn topic(round: u32, writer: Sdk) -> String {
        format!("crash-{writer}-{}", (round - 1) / ROUNDS_PER_TOPIC)
    }

    fn sent(&self, round: u32, writer: Sdk) -> PathBuf {
        self.journals.join(format!("{}.{round}.sent", Self::topic(round, writer)))
    }

    /// A driver that is connected to this run's broker.
    fn connected(&self, world: &mut World, sdk: Sdk) -> Result<Driver, Failure> {
        let mut driver = world.unconnected(sdk)?;
        driver.connect(&self.broker.endpoints().fields())?;
        Ok(driver)
    }

    fn round(&mut self, world: &mut World, round: u32) -> Result<(), Failure> {
        let mut drivers = Vec::new();
        for &(sdk, ..) in &self.writers {
            drivers.push(self.connected(world, sdk)?);
        }
        if (round - 1).is_multiple_of(ROUNDS_PER_TOPIC) {
            make_topics(&mut drivers, round)?;
        }
        for (driver, (sdk, window, _)) in drivers.iter_mut().zip(&self.writers) {
            driver.load(
                &Self::topic(round, *sdk),
                &format!("r{round}-{sdk}"),
                BODY_BYTES,
                *window,
                &self.sent(round, *sdk),
            )?;
        }
        await_acked(&mut drivers)?;
        let killed_ms = now_ms();
        self.broker.kill()?;
        self.judge_load(&mut drivers, round, killed_ms)?;
        let since = Instant::now();
        self.broker.restart()?;
        let took = since.elapsed();
        self.longest_start = self.longest_start.max(took);
        require!(took < REOPEN_MAX, "round {round}: the start after the kill took {took:?}");
        self.read_back(world, &mut drivers, round)?;
        drivers.into_iter().for_each(|driver| world.done(driver));
        Ok(())
    }

    /// Whether the kill came amid enough work: acknowledged before it, and on the way.
    fn judge_load(&mut self, drivers: &mut [Driver], round: u32, killed_ms: u64) -> Result<(), Failure> {
        let mut acked = 0;
        for driver in drivers {
            acked += driver.stop_load()?.acked;
        }
        require!(acked >= ACKED_MIN, "round {round}: only {acked} acknowledged");
        self.acked += acked;
        let mut parts = Vec::new();
        let mut cut_off = 0;
        for &(sdk, ..) in &self.writers {
            let InFlight { open, cut_off: cut } = in_flight_at(&self.sent(round, sdk), killed_ms)?;
            *self.amid.entry(sdk).or_default() += u32::from(open > 0);
            cut_off += cut;
            parts.push(format!("{sdk} {open} ({cut} cut off)"));
        }
        println!("round {round}: {acked} acknowledged, in flight at the kill: {}", parts.join(", "));
        require!(cut_off > 0, "round {round}: the kill cut off no send at all");
        self.cut_off += cut_off;
        Ok(())
    }

    fn read_back(&self, world: &mut World, drivers: &mut Vec<Driver>, round: u32) -> Result<(), Failure> {
        let first = round - (round - 1) % ROUNDS_PER_TOPIC;
        let is_last = round == self.rounds || round.is_multiple_of(ROUNDS_PER_TOPIC);
        for (writer, _, readers) in &self.writers {
            let topic = Self::topic(round, *writer);
            let sent: Vec<PathBuf> = (first..=round).map(|round| self.sent(round, *writer)).collect();
            let sent: Vec<&Path> = sent.iter().map(PathBuf::as_path).collect();
            for reader in readers_of(round, is_last, readers) {
                let read = self.journals.join(format!("{topic}.{round}.{reader}.read"));
                if !drivers.iter().any(|driver| driver.sdk() == reader) {
                    drivers.push(self.connected(world, reader)?);
                }
                let driver = drivers.iter_mut().find(|driver| driver.sdk() == reader);
                let driver = driver.ok_or_else(|| Failure::Environment(format!("no driver for {reader}")))?;
                driver.drain(&topic, &world.name("crash-reader"), &read, DRAIN_MS_MAX)?;
                let report = check_files(&sent, &read)?;
                println!("  {topic} by {reader}: {report}");
                require!(report.is_clean(), "round {round}, written by {writer}, read by {reader}: {report}");
            }
        }
        Ok(())
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The AMQP topic by declaring a queue, the others by REST.
fn make_topics(drivers: &mut [Driver], round: u32) -> Result<(), Failure> {
    let topic = |writer| Run::topic(round, writer);
    for driver in drivers {
        match driver.sdk() {
            Sdk::Pika => driver.create_topic(&topic(Sdk::Pika), 1)?,
            Sdk::Curl => {
                driver.create_topic(&topic(Sdk::Curl), 4)?;
                driver.create_topic(&topic(Sdk::JavaRocketmq), 4)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn await_acked(drivers: &mut [Driver]) -> Result<(), Failure> {
    let deadline = Instant::now() + LOAD_MAX;
    loop {
        let acked: Vec<u64> = drivers.iter().map(Driver::load_acked).collect();
        if acked.iter().sum::<u64>() >= ACKED_MIN && acked.iter().all(|n| *n >= ACKED_EACH_MIN) {
            return Ok(());
        }
        require!(Instant::now() < deadline, "acknowledged within {LOAD_MAX:?}: only {acked:?}");
        for driver in drivers.iter_mut() {
            require!(!driver.load_ended(), "the load of {} ended by itself", driver.sdk());
            driver.poll(STEP)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_reads_what_is_done_and_one_in_turn_what_is_not() {
        let readers = [Sdk::Curl, Sdk::JavaRocketmq, Sdk::Pika];
        assert_eq!(readers_of(5, true, &readers), readers);
        assert_eq!(readers_of(1, false, &readers), [Sdk::JavaRocketmq]);
        assert_eq!(readers_of(2, false, &readers), [Sdk::Curl]);
        assert_eq!(readers_of(3, false, &[Sdk::Pika]), [Sdk::Pika; 0]);
    }
}
