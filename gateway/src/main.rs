//! The `mailrail` program: reads its settings, opens the broker, listens, and stops in order. It decides nothing about
//! messages.

mod clock;
mod config;
mod driver;
mod http;
mod listeners;
mod metering;
mod ready;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use crate::config::{Cli, Command, Settings};

/// Exit code for settings that cannot be used; nothing was opened.
const EXIT_SETTINGS: u8 = 2;
/// Exit code for everything that fails later.
const EXIT_FAILURE: u8 = 1;

fn main() -> ExitCode {
    let Cli { command: Command::Serve(flags) } = Cli::parse();
    let settings = match Settings::read(flags) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("mailrail: {error}");
            return ExitCode::from(EXIT_SETTINGS);
        }
    };
    match serve::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mailrail: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}
