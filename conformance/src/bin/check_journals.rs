//! Judges the journals of a crash run again, offline: `check-journals FOLDER`. Exit code 1 if anything is wrong.
//!
//! The folder holds, for each round and protocol, `N-PROTOCOL.sent` and one or more `N-PROTOCOL.READER.read`.

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
    for read in readings(folder)? {
        let name = read.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = name.split('.').next().unwrap_or_default();
        let report = check_files(&[&folder.join(format!("{stem}.sent"))], &read)?;
        println!("{name}: {report}");
        total.add(&report);
    }
    Ok(total)
}

fn readings(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder).map_err(Failure::io(format!("reading {}", folder.display())))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "read"))
        .collect();
    paths.sort();
    Ok(paths)
}
