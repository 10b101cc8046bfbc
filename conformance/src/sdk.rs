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
    /// The newest 4.x of the same client.
    JavaRocketmq4,
    RocketmqSpring,
    GoRocketmq,
    RustRocketmq,
    /// The C++ client 1.x by way of a Python package.
    PythonRocketmq,
    AliOns,
    /// The C++ client 2.x by way of a Node package.
    RocketmqNodejs,
    Pika,
    AioPika,
    Celery,
    Amqplib,
    Amqp091Go,
    RabbitmqJava,
    SpringAmqp,
    Lapin,
    AmqpTools,
    Curl,
}

impl Sdk {
    pub const ALL: [Sdk; 18] = [
        Sdk::JavaRocketmq,
        Sdk::JavaRocketmq4,
        Sdk::RocketmqSpring,
        Sdk::GoRocketmq,
        Sdk::RustRocketmq,
        Sdk::PythonRocketmq,
        Sdk::AliOns,
        Sdk::RocketmqNodejs,
        Sdk::Pika,
        Sdk::AioPika,
        Sdk::Celery,
        Sdk::Amqplib,
        Sdk::Amqp091Go,
        Sdk::RabbitmqJava,
        Sdk::SpringAmqp,
        Sdk::Lapin,
        Sdk::AmqpTools,
        Sdk::Curl,
    ];
    /// What runs unless more is asked for: a few SDKs that between them use every protocol, and install fast. The run fails if one
    /// of these cannot be installed.
    pub const QUICK: [Sdk; 4] = [Sdk::JavaRocketmq, Sdk::GoRocketmq, Sdk::Pika, Sdk::Curl];
    /// One SDK of each protocol; what is not in the quick set is paired with these and not with everything.
    pub const PARTNERS: [Sdk; 3] = [Sdk::JavaRocketmq, Sdk::Pika, Sdk::Curl];

    pub fn name(self) -> &'static str {
        match self {
            Sdk::JavaRocketmq => "java-rocketmq",
            Sdk::JavaRocketmq4 => "java-rocketmq-4",
            Sdk::RocketmqSpring => "rocketmq-spring",
            Sdk::GoRocketmq => "go-rocketmq",
            Sdk::RustRocketmq => "rust-rocketmq",
            Sdk::PythonRocketmq => "python-rocketmq",
            Sdk::AliOns => "ali-ons",
            Sdk::RocketmqNodejs => "rocketmq-nodejs",
            Sdk::Pika => "pika",
            Sdk::AioPika => "aio-pika",
            Sdk::Celery => "celery",
            Sdk::Amqplib => "amqplib",
            Sdk::Amqp091Go => "amqp091-go",
            Sdk::RabbitmqJava => "rabbitmq-java",
            Sdk::SpringAmqp => "spring-amqp",
            Sdk::Lapin => "lapin",
            Sdk::AmqpTools => "amqp-tools",
            Sdk::Curl => "curl",
        }
    }

    pub fn protocol(self) -> Protocol {
        match self {
            Sdk::Pika
            | Sdk::AioPika
            | Sdk::Celery
            | Sdk::Amqplib
            | Sdk::Amqp091Go
            | Sdk::RabbitmqJava
            | Sdk::SpringAmqp
            | Sdk::Lapin
            | Sdk::AmqpTools => Protocol::Amqp,
            Sdk::Curl => Protocol::Http,
            _ => Protocol::Remoting,
        }
    }

    pub fn is_quick(self) -> bool {
        Self::QUICK.contains(&self)
    }

    /// From its name.
    pub fn parse(name: &str) -> Result<Self, Failure> {
        let known = Self::ALL.into_iter().find(|sdk| sdk.name() == name);
        known.ok_or_else(|| Failure::Environment(format!("no driver is named `{name}`")))
    }

    /// From `all`, or names with commas between them.
    pub fn parse_list(names: &str) -> Result<Vec<Self>, Failure> {
        if names == "all" {
            return Ok(Self::ALL.to_vec());
        }
        names.split(',').map(Self::parse).collect()
    }

    /// Whether a send to a topic that nobody made is enough to make it.
    pub fn makes_topics(self) -> bool {
        match self {
            // Its first route query fails where the others ask for the default topic's.
            Sdk::AliOns => false,
            _ => self.protocol() == Protocol::Remoting,
        }
    }

    /// The driver's program, installed into the cache if it is not there yet.
    pub fn program(self) -> Result<PathBuf, Failure> {
        install(self.name()).map(PathBuf::from)
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
