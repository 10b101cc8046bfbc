//! The `mailrail` program: reads its settings, opens the broker, listens, and stops in order. It decides nothing about
//! messages.

mod allocator;
mod backup;
mod buffers;
mod check;
mod client;
mod clock;
mod config;
mod driver;
mod gathering;
mod http;
mod listeners;
mod metering;
mod ready;
mod repair;
mod restore;
mod series;
mod serve;
mod status;
mod stream;
mod tls;
mod user;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::config::{Cli, Command, Settings};

/// Exit code for settings that cannot be used; nothing was opened.
const EXIT_SETTINGS: u8 = 2;
/// Exit code for everything that fails later.
const EXIT_FAILURE: u8 = 1;

fn main() -> ExitCode {
    allocator::limit_arenas();
    let outcome = match Cli::try_parse() {
        Ok(Cli { command: Command::Serve(flags) }) => Settings::read(*flags).map(serve::run),
        Ok(Cli { command: Command::Status(flags) }) => status::run(&flags),
        Ok(Cli { command: Command::Check(flags) }) => Ok(check::run(&flags)),
        Ok(Cli { command: Command::Repair(flags) }) => Ok(repair::run(&flags)),
        Ok(Cli { command: Command::Backup(flags) }) => backup::run(&flags),
        Ok(Cli { command: Command::Restore(flags) }) => Ok(restore::run(&flags)),
        Ok(Cli { command: Command::User(flags) }) => user::run(flags),
        Err(error) => return without_flags(&error),
    };
    let (line, code) = match outcome {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(line)) => (line, EXIT_FAILURE),
        Err(error) => (error.to_string(), EXIT_SETTINGS),
    };
    eprintln!("mailrail: {line}");
    ExitCode::from(code)
}

/// Help and the version are what somebody asked for; all else is a wrong flag, which gets one line like any other wrong
/// setting, so that a log shows it whole.
fn without_flags(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Whoever asked for it and closed the pipe does not miss it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let line = match error.kind() {
        // Its text is the whole help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing; --help lists them",
        _ => text.lines().next().map_or("", |line| line.trim_start_matches("error: ")),
    };
    eprintln!("mailrail: {line}");
    ExitCode::from(EXIT_SETTINGS)
}
