//! The harness itself: a driver answers, says what it cannot do, keeps to its time limit, and leaves no process behind.
//!
//! Uses the driver of curl, which needs no broker to start. Nothing about a broker is tested here.

use std::time::{Duration, Instant};

use mailrail_conformance::Failure;
use mailrail_conformance::driver::Driver;
use mailrail_conformance::sdk::Sdk;
use serde_json::json;

fn driver() -> (Driver, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = Sdk::Curl.program().expect("scripts/install makes the driver");
    (Driver::start(Sdk::Curl, &program, folder.path().join("log")).expect("the driver starts"), folder)
}

#[test]
fn a_driver_says_what_it_is_and_what_it_cannot_do() {
    let (mut driver, _folder) = driver();
    let hello = driver.command("hello", json!({}), 5_000).expect("an answer");
    assert_eq!(hello["sdk"], "curl");
    assert!(hello["version"].as_str().is_some_and(|version| version.contains('.')), "{hello}");
    let refused = driver.command("levitate", json!({}), 5_000);
    assert!(
        matches!(&refused, Err(Failure::Unsupported { reason, .. }) if reason.contains("levitate")),
        "{refused:?}"
    );
}

#[test]
fn an_error_of_the_sdk_is_a_refusal_with_its_text() {
    let (mut driver, _folder) = driver();
    // A port that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    driver.connect(&json!({ "http": port.to_string() })).expect("connecting is lazy");
    let refused = driver.create_topic("t", 1);
    assert!(
        matches!(&refused, Err(Failure::Refused { text, .. }) if text.contains("curl ended with 7")),
        "{refused:?}"
    );
}

#[test]
fn a_command_ends_at_its_time_limit() {
    let (mut driver, _folder) = driver();
    // A listener that accepts and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("an address");
    driver.connect(&json!({ "http": address.to_string() })).expect("connecting is lazy");
    let begin = Instant::now();
    let late = driver.command("create_topic", json!({"topic": "t", "queues": 1}), 300);
    assert!(
        matches!(&late, Err(Failure::Refused { text, .. }) if text.contains("not done within 300 ms")),
        "{late:?}"
    );
    assert!(begin.elapsed() < Duration::from_secs(5), "took {:?}", begin.elapsed());
}

#[test]
fn a_driver_that_is_dropped_or_killed_leaves_no_process() {
    for kill in [false, true] {
        let (mut driver, folder) = driver();
        driver.command("hello", json!({}), 5_000).expect("an answer");
        let mark = folder.path().join("log");
        assert!(holders(&mark) > 0, "the driver writes to its log");
        if kill {
            driver.kill();
        }
        drop(driver);
        assert_eq!(holders(&mark), 0, "a process of the driver is still there");
    }
}

/// Processes, other than this one, that have the file open.
fn holders(file: &std::path::Path) -> usize {
    let this = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").expect("/proc is there");
    let others = processes.filter_map(Result::ok).filter(|entry| entry.file_name().to_string_lossy() != this);
    let open = others.filter(|entry| {
        let descriptors = std::fs::read_dir(entry.path().join("fd"));
        descriptors.is_ok_and(|all| {
            all.filter_map(Result::ok)
                .any(|one| std::fs::read_link(one.path()).is_ok_and(|target| target == file))
        })
    });
    open.count()
}
