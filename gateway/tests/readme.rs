//! The calls of README's section on HTTP, as they stand there: every one of them does what it is there for.

mod rig;

use std::path::Path;
use std::process::Command;

use rig::*;

const DEFAULT_ADDRESS: &str = "127.0.0.1:8600";
/// Enough for a stream of events to say what it has.
const STREAM_SECONDS: &str = "2";

/// Commands of the section, lines that belong together joined.
fn commands() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let section = readme.split("### HTTP\n").nth(1).and_then(|rest| rest.split("\n### ").next()).unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let lines = blocks.map(|block| block.replace("\\\n", " "));
    lines.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The text of the last field of a name in an answer.
fn last_field(answer: &str, name: &str) -> Option<String> {
    let (_, rest) = answer.rsplit_once(&format!("\"{name}\":\""))?;
    Some(rest.split('"').next()?.to_owned())
}

/// What a reader puts in the place of `ID` and `RECEIPT`: what the calls before have answered.
#[derive(Default)]
struct Noted {
    id: String,
    receipt: String,
}

impl Noted {
    fn fill_in(&self, command: &str) -> String {
        command.replace("/ID", &format!("/{}", self.id)).replace("RECEIPT", &self.receipt)
    }

    fn note(&mut self, command: &str, answer: &str) {
        let is_sent = command.contains(" -d ");
        if let Some(id) = last_field(answer, "id").filter(|_| is_sent) {
            self.id = id;
        }
        if let Some(receipt) = last_field(answer, "receipt") {
            self.receipt = receipt;
        }
    }
}

#[test]
fn every_call_of_the_readme_works() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let (mut noted, mut variables) = (Noted::default(), String::new());
    let mut calls = 0;
    for command in commands() {
        if !command.contains("curl") {
            // A variable for what follows, or a pause.
            variables.push_str(if command.starts_with("sleep") { "" } else { &command });
            variables.push('\n');
            Command::new("bash").args(["-c", &command]).status().unwrap();
            continue;
        }
        calls += 1;
        let command = noted.fill_in(&command).replace(DEFAULT_ADDRESS, &running.address("http").to_string());
        let is_stream = command.starts_with("curl -N");
        let command = match is_stream {
            true => command.replacen("curl -N", &format!("curl -N --max-time {STREAM_SECONDS}"), 1),
            false => command.replacen("curl", "curl --fail-with-body", 1),
        };
        let output = Command::new("bash").args(["-c", &format!("{variables}{command}")]).output().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        // 28: the time is over.
        let is_good = output.status.success() || is_stream && output.status.code() == Some(28);
        assert!(is_good, "{command}\n{answer}\n{}", String::from_utf8_lossy(&output.stderr));
        noted.note(&command, &answer);
    }
    assert!(calls > 25, "{calls} calls");
    assert_eq!(running.stop().0, Some(0));
}
