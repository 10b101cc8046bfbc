//! Measures the storage in process, without a wire, beside the least that any storage must do: programs that write the
//! same bytes with the same checksum and the same syncs, or read them with large plain reads. One run does one thing and
//! prints one JSON object; `scripts/bench storage` runs them side by side and makes the table.
mod allocations;
mod backlog;
mod bare;
mod churn;
mod client;
mod cold;
mod filters;
mod idle;
mod lite;
mod observe;
mod ordered;
mod publish;
mod routes;
mod timers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// How sure a message must be before it may be acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Durability {
    /// Synced to disk.
    Disk,
    /// In the page cache.
    Memory,
}

/// What is published, and how. All of it holds for the bare program too, but for the number of queues.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Load {
    #[arg(long, value_enum, default_value = "disk")]
    pub durability: Durability,
    /// Bytes of one body.
    #[arg(long, default_value_t = 1024)]
    pub size: usize,
    /// Messages of one publish.
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// Publishes that wait for their answers at the same time.
    #[arg(long, default_value_t = 8)]
    pub window: usize,
    #[arg(long, default_value_t = 1)]
    pub queues: u32,
    /// Seconds that are measured, after one of warm-up.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
}

/// Messages that wait for their time.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct TimerLoad {
    #[arg(long, default_value_t = 5_000_000)]
    pub messages: u64,
    /// Bytes of one body.
    #[arg(long, default_value_t = 100)]
    pub size: usize,
    /// Timers that are looked at for how late they come.
    #[arg(long, default_value_t = 1_000)]
    pub punctual: u64,
}

#[derive(Subcommand, Debug)]
enum Work {
    /// Publishes as fast as answers come.
    Publish(Load),
    /// Writes the same bytes, with the same checksum, batches and syncs, and does nothing else.
    Bare(Load),
    /// Publishes so many messages to one queue, then reads them all; rates at the beginning and at the end.
    Backlog {
        #[arg(long, default_value_t = 10_000_000)]
        messages: u64,
        #[arg(long, default_value_t = 100)]
        size: usize,
        /// Ends as a killed process does, without reading, when all are acknowledged.
        #[arg(long)]
        die: bool,
    },
    /// Opens the folder and publishes one message: the time to its answer.
    Open,
    /// Reads the queue of a backlog from its first message on, with nothing of it in the page cache.
    ColdRead,
    /// Reads the log's files with large plain reads, with nothing of them in the page cache.
    PlainRead,
    /// Latency of readers of the newest messages and of old ones, alone and beside one slow reader of cold data.
    SlowReader,
    /// Rates of a backlog that is read by offset, and consumed in each sequence that a group may have.
    Ordered {
        #[arg(long, default_value_t = 1_000_000)]
        messages: u64,
        #[arg(long, default_value_t = 100)]
        size: usize,
    },
    /// Publishes and consumes so much through one queue, while messages stay in another.
    Churn {
        #[arg(long, default_value_t = 20)]
        gb: u64,
        /// Messages that stay.
        #[arg(long, default_value_t = 200_000)]
        stays: u64,
        #[arg(long, default_value_t = 1024)]
        size: usize,
    },
    /// Makes light queues by messages to one topic, then publishes to all of them.
    Lite {
        #[arg(long, default_value_t = 100_000)]
        queues: u64,
        #[arg(long, default_value_t = 1024)]
        size: usize,
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// What filters by tag and by an expression of three terms add to a read from memory.
    Filters,
    /// Publishes through exchanges: to one queue and to a hundred, past one pattern and past very many.
    Routes {
        #[arg(long, default_value_t = 1_000_000)]
        messages: u64,
        #[arg(long, default_value_t = 10_000)]
        patterns: usize,
    },
    /// Makes queues with a time to live and limits, and does nothing.
    Idle {
        #[arg(long, default_value_t = 10_000)]
        queues: u32,
        #[arg(long, default_value_t = 20.0)]
        seconds: f64,
    },
    /// Publishes messages that are due within a year, and a few that are due soon; rates beside plain messages.
    Timers(TimerLoad),
    /// Starts with messages that have become due since the stop, and publishes meanwhile.
    DueAtOnce(TimerLoad),
}

#[derive(Parser, Debug)]
#[command(name = "mailrail-storage-load")]
struct Settings {
    /// Folder of the data, on the disk that is measured.
    #[arg(long)]
    data: PathBuf,
    #[command(subcommand)]
    work: Work,
}

fn main() -> ExitCode {
    let Settings { data, work } = Settings::parse();
    let report = match work {
        Work::Publish(load) => publish::run(&data, &load),
        Work::Bare(load) => bare::run(&data, &load),
        Work::Backlog { messages, size, die } => backlog::run(&data, messages, size, die),
        Work::Open => backlog::open(&data),
        Work::ColdRead => cold::read(&data),
        Work::PlainRead => cold::plain(&data),
        Work::Churn { gb, stays, size } => churn::run(&data, gb, stays, size),
        Work::Lite { queues, size, seconds } => lite::run(&data, queues, size, seconds),
        Work::Filters => filters::run(&data),
        Work::Ordered { messages, size } => ordered::run(&data, messages, size),
        Work::Routes { messages, patterns } => routes::run(&data, messages, patterns),
        Work::Idle { queues, seconds } => idle::run(&data, queues, seconds),
        Work::Timers(load) => timers::run(&data, &load),
        Work::DueAtOnce(load) => timers::due_at_once(&data, &load),
        Work::SlowReader => cold::beside_a_slow_reader(&data),
    };
    match report {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("mailrail-storage-load: {failure}");
            ExitCode::FAILURE
        }
    }
}
