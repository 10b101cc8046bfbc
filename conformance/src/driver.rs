//! One running driver: commands with a time limit, and the events that come in between. Ends its processes when dropped.
//!
//! Knows the form of the lines, not what they mean.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::Failure;
use crate::line::{Answer, Arrived, Event, Found, Line, LoadCounts, Outgoing, QueueOffsets, Receipt};
use crate::sdk::Sdk;

/// What a driver gets for one command unless the call says otherwise; a cold JVM on a busy machine needs most of it.
pub const COMMAND_MS_MAX: u64 = 30_000;
/// How much longer than the driver's own limit its answer is waited for.
const ANSWER_GRACE: Duration = Duration::from_secs(10);
/// How long a driver may take to end after its standard input was closed.
const END_MAX: Duration = Duration::from_secs(3);

/// After so much silence a driver that is pushed its messages takes a topic to be read to its end; less than a consumer of the Go
/// client needs to start on a busy machine would end it before the first.
const DRAIN_IDLE_MS: u64 = 4_000;

/// Where messages went that were published to exchanges.
#[derive(Debug, serde::Deserialize)]
pub struct Routed {
    /// By queue, in the order in which they lie there.
    pub queues: BTreeMap<String, Vec<RoutedMessage>>,
    /// Texts of those that came back.
    pub returned: Vec<String>,
    /// Texts of those that the broker did not take.
    pub nacked: Vec<String>,
    /// Queues that were looked for and are gone.
    pub missing: Vec<String>,
}

#[derive(Debug, serde::Deserialize)]
pub struct RoutedMessage {
    pub text: String,
    /// Names of its headers, sorted.
    pub headers: Vec<String>,
    pub deaths: Vec<Death>,
    pub expiration: Option<String>,
}

/// An entry of the header `x-death`.
#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Death {
    pub queue: String,
    pub reason: String,
    pub count: u64,
    pub exchange: String,
    pub keys: Vec<String>,
    pub expiration: Option<String>,
}

pub struct Driver {
    sdk: Sdk,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Result<Line, String>>,
    arrived: VecDeque<(String, Arrived)>,
    errors: Vec<String>,
    load_acked: u64,
    load_ended: bool,
    next_id: u64,
    log: PathBuf,
}

/// Fields of `consume`; the defaults are a concurrent consumer from the earliest message that acknowledges everything.
#[derive(Debug, Clone)]
pub struct Consume<'a> {
    pub consumer: &'a str,
    pub topic: &'a str,
    pub group: &'a str,
    pub orderly: bool,
    pub from: String,
    pub tag: &'a str,
    /// An expression in place of the tag.
    pub sql: Option<&'a str>,
    /// Deliveries of each message that are failed; -1 = all.
    pub fail_times: i32,
    pub max_attempts: Option<u32>,
    pub hold: bool,
    pub prefetch: u32,
    /// Of the consumer among others; only AMQP has it.
    pub priority: i32,
    pub lease_ms: u64,
    /// User properties that the scenario looks at; an SDK that cannot list a message's properties looks these up.
    pub property_names: &'a [&'a str],
}

impl<'a> Consume<'a> {
    pub fn new(consumer: &'a str, topic: &'a str, group: &'a str) -> Self {
        Self {
            consumer,
            topic,
            group,
            orderly: false,
            from: "earliest".into(),
            tag: "*",
            sql: None,
            fail_times: 0,
            max_attempts: None,
            hold: false,
            prefetch: 10,
            priority: 0,
            lease_ms: 10_000,
            property_names: &[],
        }
    }
}

/// Fields of `call`; each text is the argument of one task.
#[derive(Debug, Clone, Default)]
pub struct Call<'a> {
    pub topic: &'a str,
    pub texts: Vec<String>,
    /// Runs of each task that fail and are retried.
    pub fail_times: u32,
    /// How long a run that does not fail takes.
    pub hold_ms: u64,
    /// Not run before so much time has passed.
    pub delay_ms: u64,
    pub wait: bool,
}

impl Driver {
    /// Starts the driver's program; `log` gets what it writes to standard error.
    pub fn start(sdk: Sdk, program: &Path, log: PathBuf) -> Result<Self, Failure> {
        let errors = File::create(&log).map_err(Failure::io(format!("creating {}", log.display())))?;
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            // A group of its own, so that what the driver starts ends with it.
            .process_group(0)
            .spawn()
            .map_err(Failure::io(format!("starting {}", program.display())))?;
        let input = child.stdin.take();
        let output = child.stdout.take();
        let (sender, lines) = channel();
        if let Some(output) = output {
            thread::spawn(move || {
                for text in BufReader::new(output).lines() {
                    let line = text.map_err(|e| e.to_string()).and_then(|text| {
                        serde_json::from_str(&text)
                            .map_err(|e| format!("not a line of the protocol ({e}): {text:.300}"))
                    });
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self {
            sdk,
            child,
            input,
            lines,
            arrived: VecDeque::new(),
            errors: Vec::new(),
            load_acked: 0,
            load_ended: false,
            next_id: 1,
            log,
        })
    }

    pub fn sdk(&self) -> Sdk {
        self.sdk
    }

    /// Sends a command and waits for its answer; events that come before it are kept.
    pub fn command(&mut self, name: &str, mut fields: Value, limit_ms: u64) -> Result<Value, Failure> {
        let id = self.next_id;
        self.next_id += 1;
        fields["id"] = json!(id);
        fields["cmd"] = json!(name);
        fields["limit_ms"] = json!(limit_ms);
        let text = format!("{fields}\n");
        let written =
            self.input.as_mut().map(|input| input.write_all(text.as_bytes()).and_then(|()| input.flush()));
        if !matches!(written, Some(Ok(()))) {
            return Err(self.program_failure(&format!("does not read `{name}` any more")));
        }
        let deadline = Instant::now() + Duration::from_millis(limit_ms) + ANSWER_GRACE;
        loop {
            match self.next_line(deadline)? {
                Some(Line::Event(event)) => self.keep(event),
                Some(Line::Answer(answer)) if answer.id == id => return self.judge(name, answer),
                Some(Line::Answer(_)) => {} // an answer that came after its time
                None => {
                    return Err(self.program_failure(&format!("no answer to `{name}` within {limit_ms} ms")));
                }
            }
        }
    }

    fn judge(&self, command: &str, answer: Answer) -> Result<Value, Failure> {
        let (driver, command) = (self.sdk.to_string(), command.to_owned());
        match (answer.ok, answer.unsupported, answer.error) {
            (Some(ok), ..) => Ok(ok),
            (None, Some(reason), _) => Err(Failure::Unsupported { driver, command, reason }),
            (None, None, error) => Err(Failure::Refused {
                driver,
                command,
                text: error.unwrap_or_else(|| "no reason given".into()),
            }),
        }
    }

    /// The next line, or `None` when the deadline has passed.
    fn next_line(&mut self, deadline: Instant) -> Result<Option<Line>, Failure> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(line)) => Ok(Some(line)),
            Ok(Err(text)) => Err(self.program_failure(&text)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.program_failure("ended")),
        }
    }

    fn keep(&mut self, event: Event) {
        match event {
            Event::Message { consumer, message } => self.arrived.push_back((consumer, message)),
            Event::ConsumerError { consumer, error } => self.errors.push(format!("{consumer}: {error}")),
            Event::LoadProgress { acked } => self.load_acked = acked,
            Event::LoadEnd { .. } => self.load_ended = true,
        }
    }

    fn program_failure(&self, text: &str) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n  ");
        Failure::Program {
            program: format!("driver {}", self.sdk),
            text: format!("{text}; its standard error ends:\n  {tail}"),
        }
    }

    /// Reads events until `patience` has passed or one came. True if one came.
    pub fn poll(&mut self, patience: Duration) -> Result<bool, Failure> {
        match self.next_line(Instant::now() + patience)? {
            Some(Line::Event(event)) => {
                self.keep(event);
                Ok(true)
            }
            Some(Line::Answer(_)) => Ok(true),
            None => Ok(false),
        }
    }

    /// Takes what has arrived for a consumer so far.
    pub fn take_arrived(&mut self, consumer: &str) -> Vec<Arrived> {
        let (mine, rest) =
            std::mem::take(&mut self.arrived).into_iter().partition(|(name, _)| name == consumer);
        self.arrived = rest;
        let mine: VecDeque<(String, Arrived)> = mine;
        mine.into_iter().map(|(_, message)| message).collect()
    }

    /// Waits until `count` deliveries came to a consumer, and takes all that came.
    pub fn receive(
        &mut self,
        consumer: &str,
        count: usize,
        limit: Duration,
    ) -> Result<Vec<Arrived>, Failure> {
        let deadline = Instant::now() + limit;
        let mut got = self.take_arrived(consumer);
        while got.len() < count {
            let Some(line) = self.next_line(deadline)? else {
                let errors = if self.errors.is_empty() {
                    String::new()
                } else {
                    format!("; errors: {:?}", self.errors)
                };
                let bodies: Vec<String> = got.iter().map(|m| m.text().chars().take(40).collect()).collect();
                return Err(Failure::Wrong(format!(
                    "{} `{consumer}` received {} of {count} deliveries within {limit:?}: {bodies:?}{errors}",
                    self.sdk,
                    got.len()
                )));
            };
            if let Line::Event(event) = line {
                self.keep(event);
            }
            got.append(&mut self.take_arrived(consumer));
        }
        Ok(got)
    }

    pub fn load_acked(&self) -> u64 {
        self.load_acked
    }

    pub fn load_ended(&self) -> bool {
        self.load_ended
    }

    /// Ends the driver and all that it started at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // The group may be gone already, which is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
        self.input = None;
    }
}

/// The commands, typed.
impl Driver {
    pub fn connect(&mut self, endpoints: &Value) -> Result<(), Failure> {
        self.command("connect", endpoints.clone(), COMMAND_MS_MAX).map(drop)
    }

    pub fn create_topic(&mut self, topic: &str, queues: u32) -> Result<(), Failure> {
        self.command("create_topic", json!({"topic": topic, "queues": queues}), COMMAND_MS_MAX).map(drop)
    }

    /// A topic that knows what is sent again for so long; only over REST.
    pub fn create_deduplicating_topic(
        &mut self,
        topic: &str,
        queues: u32,
        window_ms: u64,
    ) -> Result<(), Failure> {
        let fields = json!({"topic": topic, "queues": queues, "deduplication_window_ms": window_ms});
        self.command("create_topic", fields, COMMAND_MS_MAX).map(drop)
    }

    pub fn send(&mut self, topic: &str, mode: &str, messages: &[Outgoing]) -> Result<Vec<Receipt>, Failure> {
        let ok = self.command(
            "send",
            json!({"topic": topic, "mode": mode, "messages": messages}),
            COMMAND_MS_MAX,
        )?;
        self.decode("send", ok["receipts"].clone())
    }

    pub fn consume(&mut self, wanted: &Consume<'_>) -> Result<(), Failure> {
        let mut fields = json!({
            "consumer": wanted.consumer, "topic": wanted.topic, "group": wanted.group,
            "mode": if wanted.orderly { "orderly" } else { "concurrent" }, "from": wanted.from, "tag": wanted.tag,
            "fail_times": wanted.fail_times, "hold": wanted.hold, "prefetch": wanted.prefetch, "lease_ms": wanted.lease_ms,
            "priority": wanted.priority, "property_names": wanted.property_names,
        });
        if let Some(attempts) = wanted.max_attempts {
            fields["max_attempts"] = json!(attempts);
        }
        if let Some(sql) = wanted.sql {
            fields["sql"] = json!(sql);
        }
        self.command("consume", fields, COMMAND_MS_MAX).map(drop)
    }

    pub fn settle(&mut self, consumer: &str, messages: &[Arrived], outcome: &str) -> Result<(), Failure> {
        let receipts: Vec<&str> = messages.iter().filter_map(|m| m.receipt.as_deref()).collect();
        self.command(
            "settle",
            json!({"consumer": consumer, "receipts": receipts, "outcome": outcome}),
            COMMAND_MS_MAX,
        )
        .map(drop)
    }

    /// Sends a half message of a group of producers. `local` is what its producer says of it at once: `commit`, `rollback`,
    /// `unknown`, or `wait` for [`Driver::decide`]; `check` what it says when it is asked.
    pub fn prepare(
        &mut self,
        topic: &str,
        group: &str,
        text: &str,
        local: &str,
        check: &str,
    ) -> Result<(), Failure> {
        let message = json!(Outgoing::text(text));
        let fields =
            json!({"topic": topic, "group": group, "body": message["body"], "local": local, "check": check});
        self.command("prepare", fields, COMMAND_MS_MAX).map(drop)
    }

    /// Carries out steps on a channel, and gives what came of each; see the README of the drivers.
    pub fn transact(&mut self, queue: &str, steps: &[&str]) -> Result<Vec<String>, Failure> {
        let ok = self.command("transact", json!({"topic": queue, "steps": steps}), COMMAND_MS_MAX)?;
        self.decode("transact", ok["seen"].clone())
    }

    /// Starts a producer of a group, which says this when it is asked.
    pub fn produce(&mut self, group: &str, check: &str) -> Result<(), Failure> {
        self.command("produce", json!({"group": group, "check": check}), COMMAND_MS_MAX).map(drop)
    }

    /// What is said of the half message that waits for it.
    pub fn decide(&mut self, group: &str, outcome: &str) -> Result<(), Failure> {
        self.command("decide", json!({"group": group, "outcome": outcome}), COMMAND_MS_MAX).map(drop)
    }

    /// Starts a Celery worker for the tasks of a queue; each task that it runs is told as a delivery.
    pub fn work(&mut self, consumer: &str, topic: &str) -> Result<(), Failure> {
        self.command("work", json!({"consumer": consumer, "topic": topic}), COMMAND_MS_MAX).map(drop)
    }

    /// Has Celery tasks run, and gives their results if the call waits for them.
    pub fn call(&mut self, wanted: &Call<'_>) -> Result<Vec<String>, Failure> {
        let fields = json!({
            "topic": wanted.topic, "texts": wanted.texts, "fail_times": wanted.fail_times, "hold_ms": wanted.hold_ms,
            "delay_ms": wanted.delay_ms, "wait": wanted.wait,
        });
        let ok = self.command("call", fields, COMMAND_MS_MAX)?;
        self.decode("call", ok["results"].clone())
    }

    /// Declares exchanges, queues and bindings, publishes with confirms, and takes what is in the queues then.
    pub fn route(&mut self, fields: Value) -> Result<Routed, Failure> {
        let ok = self.command("route", fields, COMMAND_MS_MAX)?;
        self.decode("route", ok)
    }

    pub fn stop(&mut self, consumer: &str) -> Result<(), Failure> {
        self.command("stop", json!({"consumer": consumer}), COMMAND_MS_MAX).map(drop)
    }

    pub fn offsets(&mut self, topic: &str, group: &str) -> Result<Vec<QueueOffsets>, Failure> {
        let ok = self.command("offsets", json!({"topic": topic, "group": group}), COMMAND_MS_MAX)?;
        self.decode("offsets", ok["queues"].clone())
    }

    pub fn seek_time(&mut self, topic: &str, group: &str, time_ms: u64) -> Result<(), Failure> {
        self.command("seek_time", json!({"topic": topic, "group": group, "time_ms": time_ms}), COMMAND_MS_MAX)
            .map(drop)
    }

    /// Withdraws a message that waits for its time, by what its receipt says.
    pub fn recall(&mut self, topic: &str, handle: &str) -> Result<(), Failure> {
        self.command("recall", json!({"topic": topic, "recall": handle}), COMMAND_MS_MAX).map(drop)
    }

    /// Bodies of the messages with a key, the newest first.
    pub fn find(&mut self, topic: &str, key: &str, max: u32) -> Result<Vec<String>, Failure> {
        let ok = self.command("find", json!({"topic": topic, "key": key, "max": max}), COMMAND_MS_MAX)?;
        let found: Vec<Found> = self.decode("find", ok["messages"].clone())?;
        Ok(found.iter().map(|found| String::from_utf8_lossy(&found.body).into_owned()).collect())
    }

    /// The steps of each message of a topic, as curl tells them: stage, how, and over which protocol.
    pub fn traces(&mut self, topic: &str) -> Result<Vec<Vec<String>>, Failure> {
        let ok = self.command("traces", json!({"topic": topic}), COMMAND_MS_MAX)?;
        self.decode("traces", ok["traces"].clone())
    }

    /// Starts a journaled load that goes on until [`Driver::stop_load`] or until the broker is gone.
    pub fn load(
        &mut self,
        topic: &str,
        run: &str,
        bytes: u32,
        window: u32,
        journal: &Path,
    ) -> Result<(), Failure> {
        self.load_acked = 0;
        self.load_ended = false;
        let fields =
            json!({"topic": topic, "run": run, "bytes": bytes, "window": window, "journal": journal});
        self.command("load", fields, COMMAND_MS_MAX).map(drop)
    }

    pub fn stop_load(&mut self) -> Result<LoadCounts, Failure> {
        let ok = self.command("stop_load", json!({}), 2 * COMMAND_MS_MAX)?;
        self.decode("stop_load", ok)
    }

    /// Reads the whole topic into a journal; gives the number of messages.
    pub fn drain(&mut self, topic: &str, group: &str, journal: &Path, limit_ms: u64) -> Result<u64, Failure> {
        let fields = json!({"topic": topic, "group": group, "journal": journal, "idle_ms": DRAIN_IDLE_MS});
        let ok = self.command("drain", fields, limit_ms)?;
        self.decode("drain", ok["count"].clone())
    }

    /// Closes every producer and consumer, so that the driver can serve the next scenario.
    pub fn reset(&mut self) -> Result<(), Failure> {
        self.command("reset", json!({}), COMMAND_MS_MAX)?;
        self.arrived.clear();
        self.errors.clear();
        Ok(())
    }

    fn decode<T: serde::de::DeserializeOwned>(&self, command: &str, value: Value) -> Result<T, Failure> {
        serde_json::from_value(value)
            .map_err(|e| self.program_failure(&format!("answer to `{command}`: {e}")))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.input = None; // the driver ends when its standard input does
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }
}
