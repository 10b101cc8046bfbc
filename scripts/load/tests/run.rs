//! Runs the built generator against servers made here, and holds it to its promise: every acknowledged message counts
//! once, and anything but an acknowledgement ends the run without figures.
//! The real brokers it is meant for are not needed, and their speed is not looked at.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const FRAME_BYTES: usize = 4 + 100;

/// Serves every connection with `serve` until the test ends.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn load(work: &str, address: SocketAddr, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mailrail-load"))
        .args([work, "--address", &address.to_string()])
        .args(options)
        .output()
        .expect("the generator was built")
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn every_frame_is_counted_once() {
    let frames = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&frames);
    let address = server(move |mut stream| {
        let mut frame = [0; FRAME_BYTES];
        while stream.read_exact(&mut frame).is_ok() {
            assert_eq!(frame[..4], 100u32.to_be_bytes());
            seen.fetch_add(1, Ordering::SeqCst);
            if stream.write_all(&[7; 64]).is_err() {
                return;
            }
        }
    });
    let options = ["--connections", "3", "--window", "4", "--size", "100", "--count", "1000"];
    let output = load("bare", address, &options);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json(&output)["messages"], 1000);
    assert_eq!(frames.load(Ordering::SeqCst), 1000);
}

#[test]
fn a_refused_message_ends_the_run() {
    let route = r#"{"code":0,"opaque":1000000}{"brokerDatas":[{"brokerName":"a"}],"queueDatas":[{"writeQueueNums":1}]}"#;
    let refusal = r#"{"code":2,"opaque":1000000,"remark":"busy now"}"#;
    let address = server(move |mut stream| {
        let mut input = [0; 4096];
        while stream.read(&mut input).is_ok_and(|count| count > 0) {
            let is_route = memchr::memmem::find(&input, b"\"code\":105").is_some();
            let answer = if is_route { route } else { refusal };
            let header_bytes = answer.find('}').expect("it is JSON") + 1;
            let frame = [
                &u32::try_from(4 + answer.len()).expect("small").to_be_bytes()[..],
                &u32::try_from(header_bytes).expect("small").to_be_bytes()[..],
                answer.as_bytes(),
            ];
            stream.write_all(&frame.concat()).expect("the generator reads");
        }
    });
    let output = load("remoting-send", address, &["--seconds", "5"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "no figures: {output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("busy now"), "{output:?}");
}

#[test]
fn a_lost_connection_ends_the_run() {
    let address = server(|mut stream| {
        let mut frame = [0; FRAME_BYTES];
        // One answer, and then the end of the connection.
        let _ = stream.read_exact(&mut frame).and_then(|()| stream.write_all(&[7; 64]));
    });
    let output = load("bare", address, &["--size", "100", "--seconds", "5"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn an_http_error_ends_the_run_and_success_counts() {
    let status = |line: &'static str| {
        server(move |mut stream| {
            let mut input = [0; 4096];
            while stream.read(&mut input).is_ok_and(|count| count > 0) {
                let answer = format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\n{{}}");
                stream.write_all(answer.as_bytes()).expect("the generator reads");
            }
        })
    };
    let options = ["--size", "10", "--count", "50", "--connections", "2"];
    let output = load("rest-publish", status("201 Created"), &options);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json(&output)["messages"], 50);
    let output = load("rest-publish", status("503 Service Unavailable"), &options);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn a_setting_that_cannot_work_is_named_before_anything_is_opened() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    for (options, named) in [
        (&["--window", "0"][..], "--window"),
        (&["--seconds", "0"], "--seconds"),
        (&["--rate", "0"], "--rate"),
        (&["--ack-every", "2"], "--ack-every"),
        (&["--stamp"], "--stamp"),
    ] {
        let output = load("bare", nowhere, options);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(named), "{output:?}");
    }
}
