//! Judges the journals of a crash run again, offline: `check-journals FOLDER`. Exit code 1 if anything is wrong.
//!
//! The folder holds, for each topic, `TOPIC.ROUND.sent` of each round, and `TOPIC.ROUND.READER.read`, which read everything that
//! was sent up to that round.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mailrail_conformance::Failure;
use mailrail_conformance::journal::{Report, check_files};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: check-journals FOLDER");
        return ExitCode::from(2);
    };
    match check(Path::new(&folder)) {
        Ok(total) if total.received > 0 && total.is_clean() => {
            println!("all: {total}");
            ExitCode::SUCCESS
        }
        Ok(total) => {
            println!("all: {total}");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn check(folder: &Path) -> Result<Report, Failure> {
    let mut total = Report::default();
    for read in paths(folder, "read")? {
        let (topic, round) = topic_and_round(&read);
        let mut sent = paths(folder, "sent")?;
        sent.retain(|path| {
            let (of, in_round) = topic_and_round(path);
            of == topic && in_round <= round
        });
        let sent: Vec<&Path> = sent.iter().map(PathBuf::as_path).collect();
        let report = check_files(&sent, &read)?;
        println!("{}: {report}", read.file_name().unwrap_or_default().to_string_lossy());
        total.add(&report);
    }
    Ok(total)
}

fn topic_and_round(path: &Path) -> (String, u32) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut parts = name.split('.');
    let topic = parts.next().unwrap_or_default().to_owned();
    (topic, parts.next().and_then(|round| round.parse().ok()).unwrap_or(0))
}

fn paths(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder).map_err(Failure::io(format!("reading {}", folder.display())))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    Ok(paths)
}
