//! What one run does, as given on the command line. Nothing is read from the environment or from files.
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::stamp::STAMP_BYTES;

/// Limits that keep a mistyped number from taking the machine down.
const CONNECTIONS_MAX: usize = 20_000;
const WINDOW_REQUESTS_MAX: usize = 65_536;
const BODY_BYTES_MAX: usize = 4 << 20;
const BATCH_MESSAGES_MAX: usize = 4_096;
const THREADS_MAX: usize = 64;

/// The work that every connection does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Work {
    /// Frames to the bare pipeline (scripts/bare).
    Bare,
    /// RocketMQ sends (310), or batches (320) with --batch above 1.
    RemotingSend,
    /// RocketMQ lite pulls (361) from the first message on.
    RemotingPull,
    /// AMQP publishes to a durable queue, with confirms.
    AmqpPublish,
    /// AMQP consume, acknowledging every --ack-every messages.
    AmqpConsume,
    /// POST to /v1/topics/TOPIC/messages: a plain body, or JSON with --batch above 1.
    RestPublish,
    /// GET --path, as the limit of the HTTP stack.
    HttpGet,
}

/// How sure a message must be before it may be acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Durability {
    /// Synced to disk.
    Disk,
    /// In the page cache.
    Memory,
}

/// Lean load generator. Prints a readable line on stderr and one JSON object on stdout.
#[derive(Parser, Debug)]
#[command(name = "mailrail-load")]
pub struct Settings {
    #[arg(value_enum)]
    pub work: Work,
    /// Where the server listens.
    #[arg(long)]
    pub address: SocketAddr,
    /// Where routes are asked for; the server itself unless it is RocketMQ.
    #[arg(long)]
    pub name_server: Option<SocketAddr>,
    /// Topic or queue; with --queues above 1 AMQP appends a number.
    #[arg(long, default_value = "load")]
    pub topic: String,
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Requests in flight on each connection; for amqp-consume the prefetch.
    #[arg(long, default_value_t = 1)]
    pub window: usize,
    /// Body bytes of one message.
    #[arg(long, default_value_t = 1024)]
    pub size: usize,
    /// Messages in one request.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Queues to spread over: RocketMQ queues of the topic when it is created, AMQP queues.
    #[arg(long)]
    pub queues: Option<usize>,
    /// Measured seconds, after the warm-up.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Seconds before measuring begins.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Publishers write into each body when it was due, and consumers count latency from that: end to end. For remoting
    /// and AMQP.
    #[arg(long)]
    pub stamp: bool,
    /// Ends after so many messages instead of after a time; there is no warm-up then.
    #[arg(long)]
    pub count: Option<u64>,
    /// Open loop: messages per second over all connections, latency counted from when each was due.
    #[arg(long)]
    pub rate: Option<f64>,
    #[arg(long, value_enum, default_value_t = Durability::Disk)]
    pub durability: Durability,
    /// amqp-consume: messages per acknowledgement.
    #[arg(long, default_value_t = 1)]
    pub ack_every: u64,
    /// Declares the AMQP queue with this x-queue-type (RabbitMQ: classic, quorum).
    #[arg(long)]
    pub queue_type: Option<String>,
    /// http-get: the path.
    #[arg(long, default_value = "/healthz")]
    pub path: String,
    /// Process whose CPU time, memory and context switches are reported.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
}

impl Settings {
    /// The first setting that cannot work, in words.
    pub fn check(&self) -> Result<(), String> {
        let ranges = [
            ("--connections", self.connections, CONNECTIONS_MAX),
            ("--window", self.window, WINDOW_REQUESTS_MAX),
            ("--batch", self.batch, BATCH_MESSAGES_MAX),
            ("--threads", self.threads, THREADS_MAX),
        ];
        for (name, value, max) in ranges {
            if value == 0 || value > max {
                return Err(format!("{name} is {value}, must be 1 to {max}"));
            }
        }
        if self.size > BODY_BYTES_MAX {
            return Err(format!("--size is {}, must be at most {BODY_BYTES_MAX}", self.size));
        }
        if !self.seconds.is_finite() || !self.warm_up.is_finite() || self.seconds <= 0.0 || self.warm_up < 0.0
        {
            return Err("--seconds must be above 0 and --warm-up not below 0".to_owned());
        }
        if self.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err("--rate must be above 0".to_owned());
        }
        if self.rate.is_some() && matches!(self.work, Work::RemotingPull | Work::AmqpConsume) {
            return Err("--rate is for work that publishes".to_owned());
        }
        if self.stamp && (self.size < STAMP_BYTES || self.batch > 1) {
            return Err(format!("--stamp needs a --size of {STAMP_BYTES} or more, and no --batch"));
        }
        if self.stamp && matches!(self.work, Work::Bare | Work::RestPublish | Work::HttpGet) {
            return Err("--stamp is for remoting and AMQP".to_owned());
        }
        if self.ack_every == 0 || self.ack_every > self.window as u64 {
            return Err(format!("--ack-every is {}, must be 1 to --window", self.ack_every));
        }
        if matches!(self.work, Work::RestPublish | Work::HttpGet) && self.window != 1 {
            return Err("HTTP clients do not pipeline: use --connections instead of --window".to_owned());
        }
        Ok(())
    }

    pub fn seconds(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    pub fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }
}
