//! The broker is killed under load over three protocols, again and again; nothing that it acknowledged may be missing.
//!
//! Judged by the offline checker from the drivers' journals: each topic is read back over other protocols than it was written
//! over, by a broker that was started anew on the same data.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::broker::{Against, Broker};
use crate::driver::Driver;
use crate::journal::{Report, check_files};
use crate::line::LoadCounts;
use crate::sdk::Sdk;
use crate::world::World;
use crate::{Failure, Outcome, require};

/// Acknowledged messages before each kill, over all protocols.
const ACKED_MIN: u64 = 10_000;
/// And of each protocol, so that none idles.
const ACKED_EACH_MIN: u64 = 1_000;
const BODY_BYTES: u32 = 300;
const LOAD_MAX: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(5);
const DRAIN_MS_MAX: u64 = 120_000;

/// Who writes, with how many sends in flight (for curl, requests of 50 messages), and who reads it back afterwards. An AMQP reader
/// takes what it reads away, so it is the last.
const WRITERS: [(Sdk, u32, &[Sdk]); 3] = [
    (Sdk::JavaRocketmq, 64, &[Sdk::Curl, Sdk::JavaRocketmq]),
    (Sdk::Pika, 100, &[Sdk::Curl, Sdk::JavaRocketmq, Sdk::Pika]),
    (Sdk::Curl, 4, &[Sdk::JavaRocketmq, Sdk::Curl]),
];

pub fn run(world: &mut World, rounds: u32) -> Result<Outcome, Failure> {
    if world.against() != Against::Mailrail {
        return Ok(Outcome::Cannot("a peer's default does not promise durability at the reply".into()));
    }
    let folder = world.folder().join("crash");
    let journals =
        std::env::var_os("MAILRAIL_JOURNALS").map_or_else(|| folder.join("journals"), PathBuf::from);
    for path in [&folder, &journals] {
        std::fs::create_dir_all(path).map_err(Failure::io(format!("creating {}", path.display())))?;
    }
    let mut broker = Broker::start(Against::Mailrail, &folder)?;
    let mut total = Report::default();
    for round in 1..=rounds {
        let report = one_round(world, &mut broker, round, &journals)?;
        println!("round {round}: {report}");
        total.add(&report);
    }
    broker.stop()?;
    require!(total.is_clean(), "after {rounds} kills: {total}");
    // A kill that hits nothing in flight proves nothing.
    require!(total.in_flight > 0, "no kill hit a send in flight");
    Ok(Outcome::Pass)
}

fn one_round(world: &mut World, broker: &mut Broker, round: u32, journals: &Path) -> Result<Report, Failure> {
    let topic = |sdk: Sdk| format!("crash-{sdk}-{round}");
    let sent = |sdk: Sdk| journals.join(format!("{round}-{sdk}.sent"));
    let mut drivers = Vec::new();
    for (sdk, ..) in WRITERS {
        let mut driver = world.unconnected(sdk)?;
        driver.connect(&broker.endpoints().fields())?;
        drivers.push(driver);
    }
    make_topics(&mut drivers, topic)?;
    for (driver, (sdk, window, _)) in drivers.iter_mut().zip(WRITERS) {
        driver.load(&topic(sdk), &format!("r{round}-{sdk}"), BODY_BYTES, window, &sent(sdk))?;
    }
    await_acked(&mut drivers)?;
    broker.kill()?;
    for driver in &mut drivers {
        let counts: LoadCounts = driver.stop_load()?;
        require!(counts.acked > 0, "{} got no acknowledgement", driver.sdk());
    }
    broker.restart()?;

    let mut total = Report::default();
    for (sdk, _, readers) in WRITERS {
        for &reader in readers {
            let read = journals.join(format!("{round}-{sdk}.{reader}.read"));
            let driver = drivers.iter_mut().find(|driver| driver.sdk() == reader);
            let driver = driver.ok_or_else(|| Failure::Environment(format!("no driver for {reader}")))?;
            driver.drain(&topic(sdk), &world.name("crash-reader"), &read, DRAIN_MS_MAX)?;
            let report = check_files(&[&sent(sdk)], &read)?;
            require!(report.is_clean(), "round {round}, written by {sdk}, read by {reader}: {report}");
            total.add(&report);
        }
    }
    for driver in drivers {
        world.done(driver);
    }
    Ok(total)
}

/// The AMQP topic by declaring a queue, the others by REST.
fn make_topics(drivers: &mut [Driver], topic: impl Fn(Sdk) -> String) -> Result<(), Failure> {
    for driver in drivers {
        match driver.sdk() {
            Sdk::Pika => driver.create_topic(&topic(Sdk::Pika), 1)?,
            Sdk::Curl => {
                driver.create_topic(&topic(Sdk::Curl), 4)?;
                driver.create_topic(&topic(Sdk::JavaRocketmq), 4)?;
            }
            Sdk::JavaRocketmq | Sdk::GoRocketmq => {}
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
