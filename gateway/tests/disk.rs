//! The built program on a disk whose sync fails: it stops acknowledging, says so, ends with an error, and has kept its
//! word. The failure is put in by `strace`, between the program and the kernel; where that is missing or may not trace,
//! the test says so and checks nothing. Full disks are in the conformance suite, where clients meet them.
mod rig;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rig::*;

/// Each thread's sync with this number fails: of the thread that syncs the log it is one amid the publishes.
const FAILING_SYNC: usize = 20;
const PUBLISHES_MAX: usize = 200;

/// The program that traces, or why it cannot.
fn tracer() -> Result<(), String> {
    let tried =
        Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).stderr(Stdio::piped()).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("strace: {error}")),
    }
}

/// A broker one of whose syncs will fail, and the file that its syncs are written to.
fn failing(folder: &Path) -> (Running, PathBuf) {
    let trace = folder.join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-e", "trace=fdatasync,fsync"]);
    command.args(["-e", &format!("inject=fdatasync:error=EIO:when={FAILING_SYNC}"), "-o"]);
    command.arg(&trace);
    let serve = serve(folder);
    command.arg(serve.get_program()).args(serve.get_args());
    for (name, _) in serve.get_envs() {
        command.env_remove(name);
    }
    (Running::begin(folder, command), trace)
}

/// Publishes until it is refused: the bodies that were acknowledged, and what `/metrics` said right after.
fn publish_until_refused(running: &Running) -> (Vec<String>, Option<String>) {
    let mut acknowledged = Vec::new();
    for number in 0..PUBLISHES_MAX {
        let body = format!("message {number}");
        let mut answer = running.request("POST /v1/topics/t/messages", &body_of(&body));
        match status(&mut answer) {
            201 => acknowledged.push(body),
            refused => {
                assert_eq!(refused, 503, "after {number}");
                let metrics = running.try_request("GET /metrics");
                for _ in 0..20 {
                    let again = running.try_request("POST /v1/topics/t/messages");
                    assert!(again.is_none_or(|answer| !answer.starts_with("HTTP/1.1 201")), "acknowledged");
                }
                return (acknowledged, metrics);
            }
        }
    }
    panic!("none of {PUBLISHES_MAX} publishes was refused");
}

fn body_of(text: &str) -> String {
    format!(r#"{{"messages": [{{"body": "{text}"}}]}}"#)
}

/// One failed sync; what was acknowledged before it is there after the next start. What `/metrics` said, if the program
/// was not gone before.
fn fail_once(folder: &Path) -> Option<String> {
    let (mut running, trace) = failing(folder);
    running.expect("PUT /v1/topics/t", r#"{"queues": 1}"#, 201);
    let (acknowledged, metrics) = publish_until_refused(&running);
    assert!(acknowledged.len() > 3, "{acknowledged:?}");
    let (code, said) = running.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.lines().any(|line| line.contains("the log has failed")), "{said}");
    let trace = std::fs::read_to_string(trace).unwrap();
    let (_, after) = trace.split_once("(INJECTED)").expect("a sync failed");
    let again: Vec<&str> = after.lines().filter(|line| line.contains(".seg>")).collect();
    assert!(again.is_empty(), "the log was synced after the failure: {again:?}");

    let running = Running::start(folder);
    let found = running.expect("GET /v1/topics/t/queues/0/messages?from=earliest&max=500", "", 200);
    let found: Vec<&str> =
        found["messages"].as_array().unwrap().iter().filter_map(|one| one["body"].as_str()).collect();
    let expected: Vec<&str> = acknowledged.iter().map(String::as_str).collect();
    // The one that was refused may be there, as after a lost answer.
    assert!(found.starts_with(&expected) && found.len() <= expected.len() + 1, "{found:?}, {expected:?}");
    assert_eq!(running.stop().0, Some(0));
    metrics
}

#[test]
fn a_failed_sync_ends_acknowledgements_and_the_program() {
    if let Err(why) = tracer() {
        println!("skipped: a sync cannot be made to fail here: {why}");
        return;
    }
    // The program ends a fifth of a second after the failure at the latest, and may do so at once.
    let metrics = (0..5).find_map(|_| fail_once(tempfile::tempdir().unwrap().path()));
    let metrics = metrics.expect("the metrics can be read between the failure and the end");
    assert!(metrics.contains("\nmailrail_log_faults_total 1\n"), "{metrics}");
}
