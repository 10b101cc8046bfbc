//! Judges the journals of a crash run again, offline: `check-journals FOLDER`. Exit code 1 if anything is wrong.
//!
//! The folder holds, for each topic, `TOPIC.ROUND.sent` of each round, and `TOPIC.ROUND.READER.read`, which read everything that
//! was sent up to that round. What was sent and never read back is not judged, and so is wrong too.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mailrail_conformance::journal::{Report, check_files};
use mailrail_conformance::{Failure, require};

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
    let mut unread = paths(folder, "sent")?;
    for read in paths(folder, "read")? {
        let mut sent = paths(folder, "sent")?;
        sent.retain(|path| is_read_by(path, &read));
        unread.retain(|path| !is_read_by(path, &read));
        let sent: Vec<&Path> = sent.iter().map(PathBuf::as_path).collect();
        let report = check_files(&sent, &read)?;
        println!("{}: {report}", read.file_name().unwrap_or_default().to_string_lossy());
        total.add(&report);
    }
    require!(unread.is_empty(), "sent and never read back: {unread:?}");
    Ok(total)
}

/// Whether the reading covers what was sent in that round.
fn is_read_by(sent: &Path, read: &Path) -> bool {
    let ((sent_topic, sent_round), (topic, round)) = (topic_and_round(sent), topic_and_round(read));
    sent_topic == topic && sent_round <= round
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

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(files: &[(&str, &str)]) -> Result<Report, Failure> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a temporary folder takes a file");
        }
        check(folder.path())
    }

    #[test]
    fn what_nobody_read_back_is_wrong() {
        let first = ("t.1.sent", "S a-1 11111111 5\nA a-1 disk 7 0 0\n");
        let second = ("t.2.sent", "S a-2 22222222 8\nA a-2 disk 9 0 1\n");
        let read = "R 0 0 a-1 11111111 1 20\n";
        let both = format!("{read}R 0 1 a-2 22222222 1 21\n");
        assert!(judged(&[first, ("t.1.x.read", read)]).is_ok_and(|report| report.is_clean()));
        assert!(judged(&[first, second, ("t.2.x.read", &both)]).is_ok_and(|report| report.is_clean()));
        for unread in [&[first][..], &[first, second, ("t.1.x.read", read)], &[first, ("u.1.x.read", read)]] {
            let failure = judged(unread).expect_err("something was not read back").to_string();
            assert!(failure.contains("never read back"), "{failure}");
        }
    }
}
