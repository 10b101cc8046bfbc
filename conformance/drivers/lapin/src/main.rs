//! Drives lapin by JSON lines; ../../README.md says which. Reads commands and writes answers here; knows nothing of messages.

mod consuming;
#[path = "../../rust-lines/journal.rs"]
mod journal;
mod load;
mod producing;

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use consuming::Consumers;
use load::Load;
use producing::Producer;

const LIMIT_MS_DEFAULT: u64 = 30_000;
const VERSION: &str = "4.12.3";

/// Why a command is not carried out.
pub enum Refusal {
    /// The SDK cannot do it; the reason goes into the table of results.
    Unsupported(String),
    Error(String),
}

impl<E: fmt::Display> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Error(error.to_string())
    }
}

pub type Answer = Result<Value, Refusal>;

/// One line on standard output; `println!` writes it whole.
pub fn emit(line: &Value) {
    println!("{line}");
}

/// A field of a command as text; empty if there is none.
pub fn text<'a>(command: &'a Value, name: &str) -> &'a str {
    command[name].as_str().unwrap_or_default()
}

pub fn no_offsets() -> Refusal {
    Refusal::Unsupported("an AMQP queue has no offsets".into())
}

/// Owns what the commands made.
#[derive(Default)]
struct Driver {
    address: String,
    producer: Option<Producer>,
    consumers: Consumers,
    load: Option<Load>,
}

impl Driver {
    async fn run(&mut self, command: &Value) -> Answer {
        match text(command, "cmd") {
            "hello" => Ok(json!({"sdk": "lapin", "version": VERSION})),
            "connect" => {
                self.address = format!("amqp://guest:guest@{}/%2f", text(command, "amqp"));
                Ok(json!({}))
            }
            "create_topic" => self.producer().await?.declare(command).await,
            "send" => self.producer().await?.send(command).await,
            "consume" => self.consumers.start(&self.address, command).await,
            "settle" => self.consumers.settle(command).await,
            "stop" => self.consumers.stop(text(command, "consumer")).await,
            "drain" => consuming::drain(&self.address, command).await,
            "load" => {
                self.load = Some(Load::start(&self.address, command).await?);
                Ok(json!({}))
            }
            "stop_load" => self.load.take().ok_or("no load is running")?.end().await,
            "reset" => self.reset().await,
            "offsets" | "seek_time" => Err(no_offsets()),
            other => Err(Refusal::Unsupported(format!("no command {other}"))),
        }
    }

    /// A producer whose channel is open: the broker closes a channel for an error.
    async fn producer(&mut self) -> Result<&Producer, Refusal> {
        if self.producer.as_ref().is_some_and(|producer| !producer.is_usable()) {
            self.producer = None;
        }
        if self.producer.is_none() {
            self.producer = Some(Producer::open(&self.address).await?);
        }
        self.producer.as_ref().ok_or_else(|| "no producer".into())
    }

    async fn reset(&mut self) -> Answer {
        self.consumers.stop_all().await?;
        if let Some(producer) = self.producer.take() {
            producer.close().await;
        }
        Ok(json!({}))
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut driver = Driver::default();
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = input.next_line().await {
        let command: Value = serde_json::from_str(&line).expect("a command is a line of JSON");
        let mut answer = answer(&mut driver, &command).await;
        answer["id"] = command["id"].clone();
        emit(&answer);
    }
    // Neither a slow goodbye nor the client's threads may keep the process.
    let _ = tokio::time::timeout(Duration::from_secs(2), driver.reset()).await;
    std::process::exit(0);
}

async fn answer(driver: &mut Driver, command: &Value) -> Value {
    let limit_ms = command["limit_ms"].as_u64().unwrap_or(LIMIT_MS_DEFAULT);
    match tokio::time::timeout(Duration::from_millis(limit_ms), driver.run(command)).await {
        Ok(Ok(ok)) => json!({"ok": ok}),
        Ok(Err(Refusal::Unsupported(reason))) => json!({"unsupported": reason}),
        Ok(Err(Refusal::Error(text))) => json!({"error": text}),
        Err(_) => json!({"error": format!("not done within {limit_ms} ms")}),
    }
}
