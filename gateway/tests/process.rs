//! The program as whoever starts it meets it: exit codes, what standard error says, the ready file, and how it stops.

mod rig;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rig::*;

#[test]
fn a_wrong_setting_costs_one_line_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mailrail.toml");
    std::fs::write(&file, "htp-listen = \"127.0.0.1:0\"\n").unwrap();
    let file = file.to_str().unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["--htp-listen", "127.0.0.1:0"], "--htp-listen"),
        (&["--segment-mib", "many"], "many"),
        (&["--data"], "--data"),
        (&["--memory-mib", "100"], "memory-mib is \"100\": 224 to"),
        (&["--memory-mib", "256", "--cache-mib", "200"], "memory-mib is 256: with cache-mib 200"),
        (&["--config", file], "htp-listen"),
        (&["--config", "/nowhere/mailrail.toml"], "/nowhere/mailrail.toml"),
        (&["--log-level", "inof"], "\"inof\""),
        (&["--amqp-listen", "0.0.0.0:0"], "0.0.0.0:0"),
    ];
    for (arguments, named) in cases {
        let mut command = mailrail();
        command.current_dir(folder.path()).arg("serve").args(arguments);
        let (code, lines) = outcome(&mut command);
        assert_eq!(code, Some(2), "{arguments:?}: {lines:?}");
        assert!(lines.len() == 1 && lines[0].contains(named), "{arguments:?}: {lines:?}");
        assert!(!folder.path().join("mailrail-data").exists(), "{arguments:?}");
    }
    for arguments in [&[][..], &["sevre"]] {
        let (code, lines) = outcome(mailrail().args(arguments));
        assert_eq!((code, lines.len()), (Some(2), 1), "{arguments:?}: {lines:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"]] {
        let output = mailrail().args(arguments).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("mailrail"));
    }
}

#[test]
fn the_ready_file_tells_who_and_where_and_a_signal_ends_it_well() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    assert_eq!(running.ready["pid"], running.child.id());
    let fields: Vec<_> = running.ready.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["amqp", "http", "pid", "remoting"]);
    for listener in ["amqp", "http", "remoting"] {
        TcpStream::connect(running.address(listener)).unwrap();
    }
    assert_eq!(status(&mut running.request("GET /readyz", "")), 200);
    let (code, said, _) = running.stop();
    assert_eq!((code, said.as_str()), (Some(0), ""));
    // What was stored is there again, and the folder free.
    let (code, said, _) = Running::start(folder.path()).stop();
    assert_eq!((code, said.as_str()), (Some(0), ""));
}

#[test]
fn the_engine_of_the_store_can_be_changed_between_two_starts() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    assert_eq!(status(&mut running.request("PUT /v1/topics/t", r#"{"queues": 1}"#)), 201);
    assert_eq!(running.stop().0, Some(0));
    let data = folder.path().join("data");
    for (engine, here, gone) in [("redb", "store.redb", "store"), ("sled", "store", "store.redb")] {
        let running = Running::start_with(folder.path(), &["--store-engine", engine]);
        assert_eq!(status(&mut running.request("GET /v1/topics/t", "")), 200);
        assert!(data.join(here).exists() && !data.join(gone).exists(), "{engine}");
        assert_eq!(running.stop().0, Some(0));
    }
}

/// Runs `mailrail user` against a broker; exit code, standard output, standard error.
fn user(running: &Running, who: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = mailrail();
    command.arg("user").args(arguments).args(["--address", &running.address("http")]);
    if let Some((name, password)) = who.split_once(':') {
        command.args(["--user", name]).env("MAILRAIL_PASSWORD", password);
    }
    told(&mut command)
}

#[test]
fn users_are_let_in_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (root, ann) = (file("root", "secret\n"), file("ann", "swordfish\n"));
    let (code, said, why) = user(&running, "", &["add", "ann", "--new-password-file", &ann]);
    assert_eq!((code, said.as_str()), (Some(1), ""), "{why}");
    assert!(why.contains("administrator"), "{why}");
    let added = user(&running, "", &["add", "root", "--admin", "--new-password-file", &root]);
    assert_eq!(added, (Some(0), "root: saved\n".into(), String::new()));
    let (code, _, why) = user(&running, "", &["list"]);
    assert!(code == Some(1) && why.contains("answers 401"), "{why}");
    let root = "root:secret";
    let (code, _, why) = user(&running, root, &["add", "ann", "--new-password-file", &ann]);
    assert_eq!(code, Some(0), "{why}");
    let rule = ["permit", "ann", "--actions", "publish,consume", "--on", "topic,group", "--prefix", "orders"];
    assert_eq!(user(&running, root, &rule).1, "ann: permitted\n");
    let all = ["permit", "ann", "--actions", "publish", "--name", "x", "--deny", "--from", "10.0.0.0/8"];
    assert_eq!(user(&running, root, &all).1, "ann: denied\n");
    let (_, listed, _) = user(&running, root, &["list"]);
    assert_eq!(listed, "ann: user, permissions 2\nroot: administrator, permissions 0\n");
    let (_, listed, _) = user(&running, root, &["list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let first = &listed["users"][0]["permissions"];
    assert_eq!((&first[0]["prefix"], &first[1]["effect"]), (&"orders".into(), &"deny".into()));
    let (code, _, why) = user(&running, "ann:swordfish", &["remove", "root"]);
    assert!(code == Some(1) && why.contains("user \"ann\" may not administer the cluster"), "{why}");
    assert_eq!(user(&running, root, &["forbid", "ann"]).1, "ann: without permissions\n");
    assert_eq!(user(&running, root, &["remove", "ann"]).1, "ann: removed\n");
    assert_eq!(running.try_request("GET /metrics").unwrap().split(' ').nth(1), Some("401"));
    assert_eq!(running.try_request("GET /readyz").unwrap().split(' ').nth(1), Some("200"));
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn a_broker_that_others_reach_starts_with_an_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let exposed = |command: &mut std::process::Command| {
        command.args(["--amqp-listen", "0.0.0.0:0"]);
    };
    // A folder from an earlier run, with no user in it.
    assert_eq!(Running::start(folder.path()).stop().0, Some(0));
    let mut command = serve_http(folder.path(), "0.0.0.0:0");
    let (code, lines) = outcome(&mut command);
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains("there are no users"), "{lines:?}");
    let mut command = mailrail();
    command.args(["serve", "--log-level", "error", "--data"]).arg(folder.path().join("data"));
    command.args(["--http-listen", "127.0.0.1:0", "--remoting-listen", "127.0.0.1:0"]);
    exposed(&mut command);
    command.env("MAILRAIL_ADMIN_USER", "root").env("MAILRAIL_ADMIN_PASSWORD", "secret");
    let running = Running::begin(folder.path(), command);
    let (_, listed, why) = user(&running, "root:secret", &["list"]);
    assert_eq!((listed.as_str(), why.as_str()), ("root: administrator, permissions 0\n", ""));
    assert_eq!(running.stop().0, Some(0));
    // From then on it has users, and the password may be another one.
    let mut command = mailrail();
    command.args(["serve", "--log-level", "error", "--data"]).arg(folder.path().join("data"));
    command.args(["--http-listen", "127.0.0.1:0", "--remoting-listen", "127.0.0.1:0"]);
    exposed(&mut command);
    let running = Running::begin(folder.path(), command);
    assert_eq!(user(&running, "root:secret", &["list"]).0, Some(0));
    assert_eq!(running.stop().0, Some(0));
}

/// What `status` says of this address: exit code, standard output, standard error.
fn asked(address: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = mailrail().args(["status", "--address", address]).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn status_tells_whether_a_broker_takes_work() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let address = running.address("http");
    assert_eq!(asked(&address, &[]), (Some(0), "ready\n".into(), String::new()));
    let every = address.replace("127.0.0.1", "0.0.0.0");
    assert_eq!(asked(&every, &["--json"]), (Some(0), "{\"status\":\"ready\"}\n".into(), String::new()));
    let of_the_listener = mailrail().arg("status").env("MAILRAIL_HTTP_LISTEN", &address).output().unwrap();
    assert!(of_the_listener.status.success(), "{of_the_listener:?}");
    // A listener of another protocol ends the connection or answers in its own words.
    let (code, said, why) = asked(&running.address("amqp"), &[]);
    assert_eq!((code, said.as_str(), why.lines().count()), (Some(1), "", 1), "{why}");
    assert_eq!(running.stop().0, Some(0));
    let (code, said, why) = asked(&address, &["--json"]);
    assert_eq!((code, said.as_str(), why.lines().count()), (Some(1), "", 1), "{why}");
    assert!(why.contains(&address), "{why}");
    let (code, said, why) = asked("nonsense", &[]);
    assert_eq!((code, said.as_str(), why.lines().count()), (Some(2), "", 1), "{why}");
}

#[test]
fn status_says_why_a_broker_takes_no_work() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let body = r#"{"detail":"the broker is stopping"}"#;
    let answering = std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut reader = BufReader::new(stream.unwrap());
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert_eq!(line, "GET /readyz HTTP/1.1\r\n");
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
            let head = format!("HTTP/1.1 503 Service Unavailable\r\nContent-Length: {}\r\n\r\n", body.len());
            reader.get_mut().write_all((head + body).as_bytes()).unwrap();
        }
    });
    let expected = format!("mailrail: {address} answers 503: the broker is stopping\n");
    assert_eq!(asked(&address, &[]), (Some(1), String::new(), expected.clone()));
    assert_eq!(asked(&address, &["--json"]), (Some(1), format!("{body}\n"), expected));
    answering.join().unwrap();
}

#[test]
fn metrics_count_connections_and_bytes_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let mut kept = running.request("GET /healthz", "");
    assert_eq!(status(&mut kept), 200);
    let mut answer = running.last_request("GET /metrics");
    assert_eq!(status(&mut answer), 200);
    let mut text = String::new();
    answer.read_to_string(&mut text).unwrap();
    let number = |name: &str| -> f64 {
        let start = format!("{name}{{protocol=\"http\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    };
    assert_eq!(number("mailrail_connections"), 2.0);
    assert!(text.contains("\nmailrail_memory_share_bytes{share=\"deliveries\"} 0\n"), "{text}");
    assert!(text.contains("\nmailrail_memory_share_bytes_max{share=\"log_cache\"} "), "{text}");
    assert_eq!(number("mailrail_connections_total"), 2.0);
    assert!(number("mailrail_received_bytes_total") > 100.0 && number("mailrail_sent_bytes_total") > 100.0);
}

#[test]
fn topics_and_groups_have_series_of_their_own_as_far_as_the_setting_goes() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start_with(folder.path(), &["--metrics-topics-max", "1"]);
    for (topic, messages) in [("first", 1), ("second", 2), ("third", 3)] {
        running.expect(&format!("PUT /v1/topics/{topic}"), r#"{"queues": 1}"#, 201);
        for _ in 0..messages {
            running.expect(&format!("POST /v1/topics/{topic}/messages"), r#"{"messages": [{}]}"#, 201);
        }
        running.expect(&format!("POST /v1/topics/{topic}/groups/g/receive"), "{}", 200);
    }
    let mut answer = running.last_request("GET /metrics");
    assert_eq!(status(&mut answer), 200);
    let mut text = String::new();
    answer.read_to_string(&mut text).unwrap();
    let with = |start: &str| text.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
    let name = "mailrail_topic_received_messages_total";
    let expected = [format!("{name}{{topic=\"first\"}} 1"), format!("{name}{{topic=\"\"}} 5")];
    assert_eq!(with(&format!("{name}{{")), expected);
    let name = "mailrail_group_handed_out_messages_total";
    let expected =
        [format!("{name}{{group=\"g\",topic=\"first\"}} 1"), format!("{name}{{group=\"\",topic=\"\"}} 5")];
    assert_eq!(with(&format!("{name}{{")), expected);
    assert_eq!(with(&format!("# TYPE {name} ")), [format!("# TYPE {name} counter")]);
}

/// The values of series whose name and labels begin so, in their order.
fn series(running: &Running, start: &str) -> Vec<u64> {
    let mut answer = running.last_request("GET /metrics");
    assert_eq!(status(&mut answer), 200);
    let mut text = String::new();
    answer.read_to_string(&mut text).unwrap();
    let value = |line: &str| line.strip_prefix(start)?.rsplit_once(' ')?.1.parse().ok();
    text.lines().filter_map(value).collect()
}

#[test]
fn series_do_not_fall_and_keep_their_places_when_topics_go() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start_with(folder.path(), &["--metrics-topics-max", "1"]);
    let (topics, groups) =
        ("mailrail_topic_received_messages_total{", "mailrail_group_handed_out_messages_total{");
    for (topic, messages) in [("first", 1), ("second", 2), ("third", 4)] {
        running.expect(&format!("PUT /v1/topics/{topic}"), r#"{"queues": 1}"#, 201);
        for _ in 0..messages {
            running.expect(&format!("POST /v1/topics/{topic}/messages"), r#"{"messages": [{}]}"#, 201);
        }
        running.expect(&format!("POST /v1/topics/{topic}/groups/g/receive"), "{}", 200);
    }
    for name in [topics, groups] {
        assert_eq!(series(&running, name), [1, 6]);
    }
    // One of the others goes, then the one that has its own; its place is not that of one which was among the others.
    for (topic, values) in [("third", &[1, 6][..]), ("first", &[7])] {
        running.expect(&format!("DELETE /v1/topics/{topic}"), "", 200);
        for name in [topics, groups] {
            assert_eq!(series(&running, name), values, "{name} without {topic}");
        }
    }
}

#[test]
fn a_connection_more_than_there_may_be_is_closed_and_costs_the_others_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start_with(folder.path(), &["--connections-max", "3"]);
    // All listeners share the places.
    let amqp = TcpStream::connect(running.address("amqp")).unwrap();
    let remoting = TcpStream::connect(running.address("remoting")).unwrap();
    let mut http = running.request("GET /healthz", "");
    assert_eq!(status(&mut http), 200);
    for listener in ["http", "amqp", "remoting"] {
        let mut refused = TcpStream::connect(running.address(listener)).unwrap();
        refused.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(refused.read(&mut [0; 1]).unwrap_or(0), 0, "{listener}");
    }
    drop(amqp);
    let answer = within_patience(|| running.try_request("GET /healthz"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(remoting);
}

#[test]
fn streams_and_waits_do_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    assert_eq!(status(&mut running.request("PUT /v1/topics/t", "{}")), 201);
    let mut stream = running.request("GET /v1/topics/t/events", "");
    assert_eq!(status(&mut stream), 200);
    let mut receive = running.request("POST /v1/topics/t/groups/g/receive", r#"{"wait_ms": 60000}"#);
    let mut read = running.request("GET /v1/topics/t/queues/0/messages?wait_ms=60000", "");
    // Once its group is there, the receive has been taken up.
    within_patience(|| (status(&mut running.request("GET /v1/topics/t/groups/g", "")) == 200).then_some(()));
    let (code, said, took) = running.stop();
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(took < Duration::from_secs(3), "it took {took:?}");
    assert_eq!(status(&mut receive), 200);
    // Nothing shows whether this one was taken up before the signal came.
    assert!(matches!(status(&mut read), 200 | 503));
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream was cut off: {rest:?}");
}

#[test]
fn what_is_taken_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, lines) = outcome(&mut serve_http(folder.path(), &address));
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains("http-listen") && lines[0].contains(&address), "{lines:?}");
    assert!(!folder.path().join("data").exists());
    let running = Running::start(folder.path());
    let (code, lines) = outcome(&mut serve(folder.path()));
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains(folder.path().join("data").to_str().unwrap()), "{lines:?}");
    assert_eq!(running.stop().0, Some(0));
}

#[test]
fn data_of_a_newer_format_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Running::start(folder.path()).stop().0, Some(0));
    let (segment, mut bytes) = first_segment(folder.path());
    bytes[8..12].copy_from_slice(&7u32.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..48]);
    bytes[48..52].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&segment, &bytes).unwrap();
    let (code, lines) = outcome(&mut serve(folder.path()));
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains(segment.to_str().unwrap()) && lines[0].contains("format 7"), "{lines:?}");
    assert!(std::fs::read(&segment).unwrap() == bytes, "the segment was written to");
}

#[test]
fn check_tells_what_a_stopped_broker_holds_and_where_it_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, said) = checked(folder.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("data") && !folder.path().join("data").exists(), "{said}");

    let running = Running::start(folder.path());
    assert_eq!(status(&mut running.request("PUT /v1/topics/t", r#"{"queues": 1}"#)), 201);
    for _ in 0..3 {
        let sent = r#"{"messages": [{"body": "one"}, {"body": "two"}]}"#;
        assert_eq!(status(&mut running.request("POST /v1/topics/t/messages", sent)), 201);
    }
    let (code, _, said) = checked(folder.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("in use"), "{said}");
    assert_eq!(running.stop().0, Some(0));

    let (code, found, said) = checked(folder.path(), &["--json"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["messages"], &found["queues"]), (&6.into(), &1.into()), "{found}");
    assert!(found["log"]["torn_tail"].is_null() && found["log"]["groups"].as_u64() >= Some(4), "{found}");
    let (code, found, _) = checked(folder.path(), &[]);
    assert_eq!((code, found.lines().count()), (Some(0), 2));
    assert!(found.contains("6 messages in 1 queues"), "{found}");

    let (segment, mut bytes) = first_segment(folder.path());
    let body = bytes.windows(3).position(|bytes| bytes == b"one").unwrap();
    bytes[body] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let (code, found, said) = checked(folder.path(), &[]);
    assert_eq!((code, found.as_str(), said.lines().count()), (Some(1), "", 1), "{said}");
    assert!(said.contains(segment.to_str().unwrap()) && said.contains("corrupt at log position"), "{said}");
    assert!(std::fs::read(&segment).unwrap() == bytes, "the segment was written to");
}
