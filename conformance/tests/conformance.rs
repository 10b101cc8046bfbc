//! Runs the scenarios one after the other and prints the table. `cargo test -p mailrail-conformance --test conformance`.
//!
//! Environment: `MAILRAIL_BIN` the binary; `MAILRAIL_AGAINST=rocketmq|rabbitmq` drives a real peer instead; `MAILRAIL_SDKS=all`, or
//! names as in `pika,curl`, drives other SDKs than the quick set; `MAILRAIL_CRASH_ROUNDS` kills (3); `MAILRAIL_JOURNALS` a folder
//! that keeps the crash run's journals; `MAILRAIL_SEED` repeats the random bytes of a run; `MAILRAIL_LONG=1` adds what only waits
//! for long; `MAILRAIL_RECORD=1` takes the results into the committed table. Decides nothing: the scenarios do.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use mailrail_conformance::broker::Against;
use mailrail_conformance::reference::{self, Judgements};
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
    if arguments.list {
        return Ok(conclusion.exit_code());
    }
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    println!("against {}\n{}", against.name(), table.render());
    let holds = match against {
        Against::Mailrail => keeps_the_record(&table)? && !conclusion.has_failed(),
        // Where a peer fails a scenario, that is a difference like others.
        peer => differs_as_judged(peer, &table)?,
    };
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lists where a peer's outcomes are not ours; of each, `REFERENCE.md` must say what was made of it.
fn differs_as_judged(peer: Against, table: &Table) -> Result<bool, Failure> {
    let recorded = Table::parse(&read("RESULTS.md")?);
    let judgements = Judgements::parse(&read("REFERENCE.md")?);
    let mut all_judged = true;
    for difference in reference::differences(table, &recorded) {
        let judgement = judgements.of(peer.name(), &difference);
        all_judged &= judgement.is_some();
        println!("{difference}\n    {}", judgement.unwrap_or("NOT JUDGED in REFERENCE.md"));
    }
    Ok(all_judged)
}

fn read(name: &str) -> Result<String, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).map_err(Failure::io(format!("reading {}", path.display())))
}

/// Compares a run with the committed results: what passed then must pass now. `MAILRAIL_RECORD=1` takes the run's cells into them.
fn keeps_the_record(table: &Table) -> Result<bool, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md");
    let text = read("RESULTS.md")?;
    let recorded = Table::parse(&text);
    let lost = table.lost(&recorded);
    if !lost.is_empty() {
        println!("passed when {} was made, and did not now: {}", path.display(), lost.join(", "));
        return Ok(false);
    }
    if std::env::var_os("MAILRAIL_RECORD").is_some() {
        let mut next = Table::parse(&text);
        next.take(table);
        let head = text.split("```").next().unwrap_or_default();
        std::fs::write(&path, format!("{head}```\n{}```\n", next.render()))
            .map_err(Failure::io(format!("writing {}", path.display())))?;
        println!("{}: {} passes, {} before", path.display(), next.passes(), recorded.passes());
    }
    Ok(true)
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

/// As much of it as a line of a table takes.
fn brief(failure: &Failure) -> String {
    failure.to_string().replace('\n', " ").chars().take(REASON_CHARS_MAX).collect()
}
