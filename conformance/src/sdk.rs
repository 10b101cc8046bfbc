//! The SDKs that have a driver, what protocol each speaks, and where its program is. Does not start anything but the installer.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Remoting,
    Amqp,
    Http,
}

/// An SDK with a driver in `drivers/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sdk {
    JavaRocketmq,
    GoRocketmq,
    Pika,
    Curl,
    AioPika,
    Celery,
    Amqplib,
    Amqp091Go,
    RabbitmqJava,
    SpringAmqp,
    Lapin,
    AmqpTools,
}

impl Sdk {
    pub const ALL: [Sdk; 4] = [Sdk::JavaRocketmq, Sdk::GoRocketmq, Sdk::Pika, Sdk::Curl];
    /// The AMQP clients beside pika.
    pub const AMQP_MORE: [Sdk; 8] = [
        Sdk::AioPika,
        Sdk::Celery,
        Sdk::Amqplib,
        Sdk::Amqp091Go,
        Sdk::RabbitmqJava,
        Sdk::SpringAmqp,
        Sdk::Lapin,
        Sdk::AmqpTools,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Sdk::JavaRocketmq => "java-rocketmq",
            Sdk::GoRocketmq => "go-rocketmq",
            Sdk::Pika => "pika",
            Sdk::Curl => "curl",
            Sdk::AioPika => "aio-pika",
            Sdk::Celery => "celery",
            Sdk::Amqplib => "amqplib",
            Sdk::Amqp091Go => "amqp091-go",
            Sdk::RabbitmqJava => "rabbitmq-java",
            Sdk::SpringAmqp => "spring-amqp",
            Sdk::Lapin => "lapin",
            Sdk::AmqpTools => "amqp-tools",
        }
    }

    pub fn protocol(self) -> Protocol {
        match self {
            Sdk::JavaRocketmq | Sdk::GoRocketmq => Protocol::Remoting,
            Sdk::Curl => Protocol::Http,
            Sdk::Pika
            | Sdk::AioPika
            | Sdk::Celery
            | Sdk::Amqplib
            | Sdk::Amqp091Go
            | Sdk::RabbitmqJava
            | Sdk::SpringAmqp
            | Sdk::Lapin
            | Sdk::AmqpTools => Protocol::Amqp,
        }
    }

    /// From its name.
    pub fn parse(name: &str) -> Result<Self, Failure> {
        let known = Self::ALL.into_iter().chain(Self::AMQP_MORE).find(|sdk| sdk.name() == name);
        known.ok_or_else(|| Failure::Environment(format!("no driver is named `{name}`")))
    }

    /// Whether the SDK lets an empty body out; if not, what it says.
    pub fn empty_body(self) -> Result<(), &'static str> {
        match self {
            Sdk::JavaRocketmq => Err("the SDK refuses an empty body (code 13, before it sends)"),
            _ => Ok(()),
        }
    }

    /// Whether the SDK shows more of a message than its body; if not, why.
    pub fn properties(self) -> Result<(), &'static str> {
        match self {
            Sdk::AmqpTools => Err("the programs write out bodies and nothing else"),
            _ => Ok(()),
        }
    }

    /// Properties that the SDK gives each message without being asked; other protocols show them as the user's own.
    pub fn added_properties(self) -> &'static [&'static str] {
        match self {
            Sdk::Celery => &["content-type", "content-encoding"],
            Sdk::SpringAmqp => &["content-type"],
            _ => &[],
        }
    }

    /// Whether a consumer can leave a message unsettled and go on; if not, why.
    pub fn holding(self) -> Result<(), &'static str> {
        match self {
            Sdk::AmqpTools => Err("amqp-consume settles by the exit code of what it runs for a message"),
            _ if self.protocol() == Protocol::Remoting => {
                Err("a push consumer settles by what its listener returns")
            }
            _ => Ok(()),
        }
    }

    /// Whether the SDK connects again by itself when the connection was lost; if not, why.
    pub fn reconnecting(self) -> Result<(), &'static str> {
        match self {
            Sdk::Pika => Err("pika leaves reconnecting to the program"),
            Sdk::AmqpTools => Err("amqp-consume ends with its connection"),
            _ => Ok(()),
        }
    }

    /// The driver's program, installed into the cache if it is not there yet.
    pub fn program(self) -> Result<PathBuf, Failure> {
        let path = install(self.name())?;
        Ok(PathBuf::from(path))
    }
}

impl fmt::Display for Sdk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The repository's `scripts` folder; conformance drives a clone, so the clone is where it was compiled.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

/// Runs `scripts/install NAME` and gives the path that it prints. A missing tool is an error that names it.
pub fn install(name: &str) -> Result<String, Failure> {
    let script = scripts().join("install");
    let done = Command::new(&script)
        .arg(name)
        .output()
        .map_err(Failure::io(format!("starting {}", script.display())))?;
    if !done.status.success() {
        let text = String::from_utf8_lossy(&done.stderr);
        return Err(Failure::Environment(format!("scripts/install {name}: {}", text.trim())));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}
