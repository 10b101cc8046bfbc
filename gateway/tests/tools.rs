//! Backup, restore and repair as whoever runs a broker meets them: the built program, its files and its exit codes.
mod rig;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rig::*;
use serde_json::{Value, json};

const MESSAGE_BYTES: usize = 4096;
const REQUEST_MESSAGES: usize = 16;

fn backup(address: &str, to: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    told(mailrail().args(["backup", "--address", address, "--to"]).arg(to).args(arguments))
}

fn restore(from: &Path, data: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    told(mailrail().arg("restore").arg("--from").arg(from).arg("--data").arg(data).args(arguments))
}

fn repair(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    told(mailrail().arg("repair").arg("--data").arg(folder.join("data")).args(arguments))
}

#[track_caller]
fn succeeded((code, said, why): (Option<i32>, String, String)) -> Value {
    assert_eq!((code, why.as_str()), (Some(0), ""), "{said}");
    serde_json::from_str(&said).unwrap()
}

/// One line of why not, and exit code 1.
#[track_caller]
fn failed((code, said, why): (Option<i32>, String, String)) -> String {
    assert_eq!((code, said.as_str(), why.lines().count()), (Some(1), "", 1), "{why}");
    why
}

/// A body that can be told from all others.
fn body(number: usize) -> String {
    format!("{number:08}").repeat(MESSAGE_BYTES / 8)
}

/// Publishes one request's messages, the first of which has this number; offsets with bodies.
fn publish(running: &Running, first: usize) -> Vec<(u64, String)> {
    let bodies: Vec<String> = (first..first + REQUEST_MESSAGES).map(body).collect();
    let messages: Vec<Value> = bodies.iter().map(|body| json!({"body": body})).collect();
    let request = json!({ "messages": messages }).to_string();
    let answer = running.expect("POST /v1/topics/t/messages", &request, 201);
    let offsets = answer["messages"].as_array().unwrap().iter().map(|one| one["offset"].as_u64().unwrap());
    offsets.zip(bodies).collect()
}

/// All messages of the topic's one queue by offset.
fn messages(running: &Running) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    let mut from = "earliest".to_owned();
    loop {
        let page =
            running.expect(&format!("GET /v1/topics/t/queues/0/messages?from={from}&max=200"), "", 200);
        let messages = page["messages"].as_array().unwrap();
        if messages.is_empty() {
            return found;
        }
        for one in messages {
            found.insert(one["offset"].as_u64().unwrap(), one["body"].as_str().unwrap().to_owned());
        }
        from = format!("offset:{}", found.last_key_value().unwrap().0 + 1);
    }
}

#[test]
fn a_backup_under_load_has_all_that_was_acknowledged_before_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start_with(folder.path(), &["--segment-mib", "1", "--cache-mib", "1"]);
    running.expect("PUT /v1/topics/t", r#"{"queues": 1}"#, 201);
    running.expect("PUT /v1/topics/other", r#"{"queues": 3}"#, 201);
    let acknowledged = Mutex::new(BTreeMap::new());
    let stop = AtomicBool::new(false);
    let file = folder.path().join("backup.tar");
    let before = std::thread::scope(|scope| {
        scope.spawn(|| {
            for request in 0.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let stored = publish(&running, request * REQUEST_MESSAGES);
                acknowledged.lock().unwrap().extend(stored);
            }
        });
        let count = || acknowledged.lock().unwrap().len();
        within_patience(|| (count() * MESSAGE_BYTES > 6 << 20).then_some(()));
        running.expect("PUT /v1/topics/t/groups/g", "{}", 201);
        let received = running.expect("POST /v1/topics/t/groups/g/receive", r#"{"max": 5}"#, 200);
        let receipts: Vec<_> =
            received["messages"].as_array().unwrap().iter().map(|one| one["receipt"].clone()).collect();
        running.expect("POST /v1/topics/t/groups/g/settle", &json!({ "ack": receipts }).to_string(), 200);
        let before = acknowledged.lock().unwrap().clone();
        let told = succeeded(backup(&running.address("http"), &file, &["--json"]));
        assert_eq!(told["bytes"].as_u64().unwrap(), std::fs::metadata(&file).unwrap().len());
        // The broker went on, and goes on.
        within_patience(|| (count() > before.len() + 5 * REQUEST_MESSAGES).then_some(()));
        stop.store(true, Ordering::SeqCst);
        before
    });
    assert!(files(folder.path()).iter().filter(|path| path.extension() == Some("seg".as_ref())).count() > 6);
    assert_eq!(running.stop().0, Some(0));

    let elsewhere = tempfile::tempdir().unwrap();
    let told = succeeded(restore(&file, &elsewhere.path().join("data"), &["--json"]));
    let restored = told["messages"].as_u64().unwrap();
    assert!(restored >= before.len() as u64 && told["log"]["torn_tail"].is_null(), "{told}");
    assert_eq!(checked(elsewhere.path(), &[]).0, Some(0));
    let running = Running::start(elsewhere.path());
    let found = messages(&running);
    assert_eq!(found.len() as u64, restored);
    for (offset, body) in &before {
        assert!(found.get(offset) == Some(body), "offset {offset} is not what it was");
    }
    // All beyond was published while the backup ran.
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(found.iter().all(|(offset, body)| acknowledged.get(offset).is_none_or(|same| same == body)));
    assert_eq!(running.expect("GET /v1/topics/other", "", 200)["queues"], 3);
    let group = running.expect("GET /v1/topics/t/groups/g", "", 200);
    assert_eq!(group["queues"][0]["committed"], 5, "{group}");
    let stored = publish(&running, 0);
    assert_eq!(stored[0].0, found.last_key_value().unwrap().0 + 1);
    assert_eq!(running.stop().0, Some(0));

    let why = failed(restore(&file, &elsewhere.path().join("data"), &[]));
    assert!(why.contains("is not empty"), "{why}");
}

/// Answers one request with a head and part of a body, and closes.
fn answering(head: String, body: Vec<u8>) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = std::thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "GET /v1/backup HTTP/1.1\r\n");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        let stream = reader.get_mut();
        let _ = stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
        let _ = stream.write_all(&body);
    });
    (address, thread)
}

#[test]
fn a_backup_that_does_not_arrive_whole_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.expect("PUT /v1/topics/t", r#"{"queues": 1}"#, 201);
    publish(&running, 0);
    let file = folder.path().join("backup.tar");
    let (code, said, _) = backup(&running.address("http"), &file, &[]);
    assert!(code == Some(0) && said.contains("log positions 0 to"), "{said}");
    // What is there is not overwritten.
    let whole = std::fs::read(&file).unwrap();
    assert!(failed(backup(&running.address("http"), &file, &[])).contains("exists already"));
    assert!(std::fs::read(&file).unwrap() == whole);
    assert_eq!(running.stop().0, Some(0));

    let kept = tempfile::tempdir().unwrap();
    let to = kept.path().join("second.tar");
    let ok = format!("200 OK\r\nContent-Length: {}", whole.len());
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let problem = br#"{"detail":"another backup is being made; try again later"}"#.to_vec();
    let cases = [
        (ok.clone(), whole[..whole.len() / 2].to_vec(), "cut the backup off"),
        ("200 OK\r\nConnection: close".to_owned(), whole[..whole.len() / 2].to_vec(), "the rest is missing"),
        (ok, flipped, "no whole backup, at byte"),
        (
            format!("503 Service Unavailable\r\nContent-Length: {}", problem.len()),
            problem,
            "answers 503: another backup is being made",
        ),
    ];
    for (head, body, expected) in cases {
        let (address, thread) = answering(head, body);
        let why = failed(backup(&address, &to, &[]));
        assert!(why.contains(expected) && why.contains(&address), "{why}");
        thread.join().unwrap();
        assert!(files(kept.path()).is_empty(), "{expected}");
    }
    let (code, _, why) = backup("nonsense", &to, &[]);
    assert_eq!((code, why.lines().count()), (Some(2), 1), "{why}");
}

#[test]
fn a_repaired_broker_serves_all_that_its_log_has() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    running.expect("PUT /v1/topics/t", r#"{"queues": 1}"#, 201);
    let expected: BTreeMap<u64, String> = publish(&running, 0).into_iter().collect();
    running.expect("PUT /v1/topics/t/groups/g", "{}", 201);
    assert!(failed(repair(folder.path(), &[])).contains("in use"));
    assert_eq!(running.stop().0, Some(0));

    let store = folder.path().join("data/store");
    for path in files(&store) {
        std::fs::write(path, "nothing that sled knows").unwrap();
    }
    let (code, said, why) = repair(folder.path(), &[]);
    assert_eq!((code, why.as_str(), said.lines().count()), (Some(0), "", 3), "{said}");
    assert!(said.contains("16 messages in 1 queues") && said.contains("store.broken-1"), "{said}");
    let told = succeeded(repair(folder.path(), &["--json"]));
    assert_eq!((&told["topics"], &told["groups"], &told["messages"]), (&1.into(), &1.into(), &16.into()));
    let aside = |name: &str| folder.path().join("data").join(name).to_str().unwrap().to_owned();
    assert_eq!(told["set_aside"], aside("store.broken-2"));
    assert_eq!(told["left_over"][0]["path"], aside("store.broken-1"), "{told}");
    let running = Running::start(folder.path());
    assert_eq!(messages(&running), expected);
    assert_eq!(running.stop().0, Some(0));

    let (segment, mut bytes) = first_segment(folder.path());
    let at = bytes.windows(8).position(|bytes| bytes == b"00000003").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let contents =
        || files(&folder.path().join("data")).into_iter().map(|path| (std::fs::read(&path).unwrap(), path));
    let before: Vec<_> = contents().filter(|(_, path)| path.file_name() != Some("lock".as_ref())).collect();
    let why = failed(repair(folder.path(), &["--json"]));
    assert!(why.contains(segment.to_str().unwrap()) && why.contains("corrupt at log position"), "{why}");
    let after: Vec<_> = contents().filter(|(_, path)| path.file_name() != Some("lock".as_ref())).collect();
    assert!(before == after, "the repair changed something");
}
