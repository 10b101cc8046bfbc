//! Runs the scenarios one after the other and prints the table. `cargo test -p mailrail-conformance --test conformance`.
//!
//! Environment: `MAILRAIL_BIN` the binary; `MAILRAIL_AGAINST=rocketmq|rabbitmq` drives a real peer instead; `MAILRAIL_SDKS=all`, or
//! names as in `pika,curl`, drives other SDKs than the quick set; `MAILRAIL_CRASH_ROUNDS` kills (3); `MAILRAIL_JOURNALS` a folder
//! that keeps the crash run's journals; `MAILRAIL_SEED` repeats the random bytes of a run; `MAILRAIL_LONG=1` adds what only waits
//! for long. Decides nothing: the scenarios do.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use mailrail_conformance::broker::Against;
use mailrail_conformance::scenario::{self, Case};
use mailrail_conformance::sdk::Sdk;
use mailrail_conformance::table::{Cell, Table};
use mailrail_conformance::world::World;
use mailrail_conformance::{Failure, Outcome};

const CRASH_ROUNDS: u32 = 3;
const REASON_CHARS_MAX: usize = 300;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The scenarios share one broker, and the machine may have two cores.
    arguments.test_threads = Some(1);
    match run(&arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let against = Against::parse(&std::env::var("MAILRAIL_AGAINST").unwrap_or_else(|_| "mailrail".into()))?;
    let rounds = match std::env::var("MAILRAIL_CRASH_ROUNDS") {
        Ok(text) => text
            .parse()
            .map_err(|_| Failure::Environment(format!("MAILRAIL_CRASH_ROUNDS={text} is no number")))?,
        Err(_) => CRASH_ROUNDS,
    };
    let wanted = match std::env::var("MAILRAIL_SDKS") {
        Ok(names) => Sdk::parse_list(&names)?,
        Err(_) => Sdk::QUICK.to_vec(),
    };
    let sdks: Vec<Sdk> = wanted.into_iter().filter(|sdk| against.speaks(sdk.protocol())).collect();
    let world = Arc::new(Mutex::new(World::new(against, &sdks)?));
    let table = Arc::new(Mutex::new(Table::default()));
    let long = std::env::var_os("MAILRAIL_LONG").is_some();
    let cases = scenario::cases(&sdks, rounds, long);
    let trials = cases.into_iter().map(|case| trial(case, Arc::clone(&world), Arc::clone(&table))).collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    if !arguments.list {
        println!(
            "against {}\n{}",
            against.name(),
            table.lock().unwrap_or_else(PoisonError::into_inner).render()
        );
    }
    Ok(conclusion.exit_code())
}

fn trial(case: Case, world: Arc<Mutex<World>>, table: Arc<Mutex<Table>>) -> Trial {
    let Case { row, column, run } = case;
    let name = format!("{} / {column}", row).replace(' ', "_");
    Trial::ignorable_test(name, move || {
        let result = {
            let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
            run(&mut world)
        };
        let cell = match &result {
            Ok(Outcome::Pass) => Cell::Pass,
            Ok(Outcome::PassBut(reason)) => Cell::PassBut(reason.clone()),
            Ok(Outcome::Cannot(reason)) => Cell::Cannot(reason.clone()),
            Err(failure @ Failure::NotInstalled { .. }) => Cell::Cannot(brief(failure)),
            Err(failure) => Cell::Fail(brief(failure)),
        };
        table.lock().unwrap_or_else(PoisonError::into_inner).set(&row, &column, cell);
        match result {
            Ok(Outcome::Pass | Outcome::PassBut(_)) => Ok(Completion::Completed),
            Ok(Outcome::Cannot(reason)) => Ok(Completion::ignored_with(reason)),
            Err(failure @ Failure::NotInstalled { .. }) => Ok(Completion::ignored_with(failure.to_string())),
            Err(failure) => Err(Failed::from(failure)),
        }
    })
}

/// As much of it as a table takes.
fn brief(failure: &Failure) -> String {
    failure.to_string().chars().take(REASON_CHARS_MAX).collect()
}
