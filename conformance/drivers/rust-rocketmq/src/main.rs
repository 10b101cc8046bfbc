//! Drives the RocketMQ Rust client by JSON lines; the README one folder up says which. Reads commands and writes answers; knows
//! nothing of messages.

mod command;
mod consuming;
#[path = "../../rust-lines/journal.rs"]
mod journal;
mod load;
mod producing;

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use rocketmq_client_rust::{ClientConfig, ClientRuntime, ClientRuntimeConfig};
use rocketmq_observability::TelemetryRuntimeGuard;
use rocketmq_runtime::RuntimeOwner;
use serde_json::{Value, json};

use command::Command;

const LIMIT_MS_DEFAULT: u64 = 30_000;
/// Topics made by another client are seen after this time, not after the SDK's 30 s; the SDK allows no less.
const ROUTE_POLL_MS: u32 = 10_000;
const OFFSET_PERSIST_MS: u32 = 1_000;
/// A busy machine must not fail what the broker does well.
const API_TIMEOUT_MS: u64 = 10_000;
/// The version that Cargo.toml pins; the crate does not tell it.
const SDK_VERSION: &str = "1.0.0";

/// Why a command was not carried out.
pub enum Refusal {
    /// This SDK cannot; the reason goes into the table of results.
    Unsupported(&'static str),
    Error(String),
}

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Error(error.to_string())
    }
}

pub type Answer = Result<Value, Refusal>;

/// Where the broker is, and what every client object is made with.
pub struct Endpoint {
    pub runtime: Arc<ClientRuntime>,
    pub address: String,
    instances: u32,
}

impl Endpoint {
    /// Each object is a client of its own.
    pub fn config(&mut self) -> ClientConfig {
        self.instances += 1;
        let mut config = ClientConfig::new();
        config.set_namesrv_addr(self.address.clone().into());
        config.set_instance_name(format!("{}-{}", std::process::id(), self.instances).into());
        config.set_poll_name_server_interval(ROUTE_POLL_MS);
        config.set_persist_consumer_offset_interval(OFFSET_PERSIST_MS);
        config.set_mq_client_api_timeout(API_TIMEOUT_MS);
        config
    }
}

struct Driver {
    endpoint: Endpoint,
    producing: producing::Producing,
    consuming: consuming::Consuming,
}

impl Driver {
    async fn run(&mut self, command: Command) -> Answer {
        let Self { endpoint, producing, consuming } = self;
        match command.cmd.as_str() {
            "hello" => Ok(json!({"sdk": "rocketmq-client-rust", "version": SDK_VERSION})),
            "connect" => {
                endpoint.address = command.remoting;
                Ok(json!({}))
            }
            "send" => producing.send(endpoint, command).await,
            "load" => producing.start_load(endpoint, command).await,
            "stop_load" => producing.stop_load().await,
            "consume" => consuming.start(endpoint, command).await,
            "drain" => consuming.drain(endpoint, command).await,
            "stop" => consuming.stop(&command.consumer).await,
            "reset" => {
                consuming.close().await;
                producing.close().await;
                Ok(json!({}))
            }
            "create_topic" => Err(Refusal::Unsupported("the SDK makes a topic by sending to it")),
            "settle" => Err(Refusal::Unsupported("a push consumer settles by what its listener returns")),
            _ => Err(Refusal::Unsupported("the client has no such call outside its admin features")),
        }
    }

    async fn answer(&mut self, command: Command) -> Value {
        let (id, limit_ms) = (command.id, command.limit_ms.unwrap_or(LIMIT_MS_DEFAULT));
        match tokio::time::timeout(Duration::from_millis(limit_ms), self.run(command)).await {
            Ok(Ok(ok)) => json!({"id": id, "ok": ok}),
            Ok(Err(Refusal::Unsupported(reason))) => json!({"id": id, "unsupported": reason}),
            Ok(Err(Refusal::Error(text))) => json!({"id": id, "error": text}),
            Err(_) => json!({"id": id, "error": format!("not done within {limit_ms} ms")}),
        }
    }
}

pub fn emit(line: &Value) {
    let mut out = std::io::stdout().lock();
    // Whoever started the driver may be gone; then its end is near anyway.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let owner = RuntimeOwner::new()?;
    let telemetry = TelemetryRuntimeGuard::noop();
    let context = owner.root_context().component("driver");
    let runtime = ClientRuntime::try_new(context, ClientRuntimeConfig::default(), telemetry.handle())?;
    let endpoint = Endpoint { runtime, address: String::new(), instances: 0 };
    let mut driver = Driver { endpoint, producing: Default::default(), consuming: Default::default() };
    for line in std::io::stdin().lock().lines() {
        let command: Command = serde_json::from_str(&line?)?;
        emit(&owner.block_on(driver.answer(command)));
    }
    // What the client still has to do in the background nobody waits for.
    std::process::exit(0)
}
