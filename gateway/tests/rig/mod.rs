//! The built program, run and asked as whoever starts it does. It asserts nothing by itself but that answers come in time.
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest that anything here may take; none comes near it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn mailrail() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailrail"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MAILRAIL_")) {
        command.env_remove(name);
    }
    command
}

/// `serve` on free ports, with its data in this folder and with errors only on standard error.
pub fn serve(folder: &Path) -> Command {
    serve_http(folder, "127.0.0.1:0")
}

pub fn serve_http(folder: &Path, http: &str) -> Command {
    let mut command = mailrail();
    command.args(["serve", "--log-level", "error", "--data"]).arg(folder.join("data"));
    command.args(["--http-listen", http]);
    command.args(["--remoting-listen", "127.0.0.1:0", "--amqp-listen", "127.0.0.1:0"]);
    command
}

/// A broker that runs, and is killed where a test fails.
pub struct Running {
    pub child: Child,
    pub ready: serde_json::Value,
}

impl Running {
    pub fn start(folder: &Path) -> Running {
        Running::start_with(folder, &[])
    }

    pub fn start_with(folder: &Path, arguments: &[&str]) -> Running {
        let mut command = serve(folder);
        command.args(arguments);
        Running::begin(folder, command)
    }

    /// Runs a command that ends with the arguments of `serve`.
    pub fn begin(folder: &Path, mut command: Command) -> Running {
        let file = folder.join("ready.json");
        let _ = std::fs::remove_file(&file);
        command.arg("--ready-file").arg(&file).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let mut running = Running { child, ready: serde_json::Value::Null };
        let text = within_patience(|| std::fs::read_to_string(&file).ok());
        running.ready = serde_json::from_str(&text).unwrap();
        running
    }

    pub fn address(&self, listener: &str) -> String {
        self.ready[listener].as_str().unwrap().to_owned()
    }

    /// Sends a request over a connection of its own, which stays open.
    pub fn request(&self, line: &str, body: &str) -> BufReader<TcpStream> {
        self.send(format!(
            "{line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Sends a request whose answer ends with its connection.
    pub fn last_request(&self, line: &str) -> BufReader<TcpStream> {
        self.send(format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    /// The whole answer to a request that may find nobody, or be cut off.
    pub fn try_request(&self, line: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address("http")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok().filter(|bytes| *bytes > 0)?;
        Some(answer)
    }

    fn send(&self, request: String) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address("http")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// Asks over a connection of its own; the document of an answer with this status.
    #[track_caller]
    pub fn expect(&self, line: &str, body: &str, expected: u16) -> serde_json::Value {
        let mut answer = self.send(format!(
            "{line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        ));
        let status = status(&mut answer);
        let mut text = String::new();
        answer.read_to_string(&mut text).unwrap();
        assert_eq!(status, expected, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Ends it with SIGTERM: its exit code, what it had to say, and how long it took.
    pub fn stop(mut self) -> (Option<i32>, String, Duration) {
        let asked = Instant::now();
        let told = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(told.success());
        let (code, said) = self.end();
        (code, said, asked.elapsed())
    }

    /// Waits for its end: its exit code, and what it had to say.
    pub fn end(&mut self) -> (Option<i32>, String) {
        let status = within_patience(|| self.child.try_wait().unwrap());
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Where it runs under another program, that one's end is not its own.
        let pid = self.ready["pid"].as_u64().filter(|pid| *pid != u64::from(self.child.id()));
        if let Some(pid) = pid.filter(|_| matches!(self.child.try_wait(), Ok(None))) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn within_patience<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The status of an answer whose head is read to its end.
pub fn status(answer: &mut impl BufRead) -> u16 {
    let mut line = String::new();
    answer.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status in {line:?}"));
    while line.trim_end() != "" {
        line.clear();
        answer.read_line(&mut line).unwrap();
    }
    status
}

pub fn outcome(command: &mut Command) -> (Option<i32>, Vec<String>) {
    let Output { status, stderr, .. } = command.stdin(Stdio::null()).output().unwrap();
    let lines = String::from_utf8(stderr).unwrap().lines().map(str::to_owned).collect();
    (status.code(), lines)
}

/// Exit code, standard output and standard error.
pub fn told(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// What `check` says of the data below this folder: exit code, standard output and standard error.
pub fn checked(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let data = folder.join("data");
    told(mailrail().arg("check").arg("--data").arg(data).args(arguments))
}

/// The log segment at the lowest position, with its bytes.
pub fn first_segment(folder: &Path) -> (PathBuf, Vec<u8>) {
    let mut found = files(&folder.join("data"));
    found.sort();
    let mut segments = found.into_iter().map(|file| (file.clone(), std::fs::read(&file).unwrap()));
    segments.find(|(_, bytes)| bytes.starts_with(b"MRSEG")).expect("there is a segment")
}

/// All files in a folder and below.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
