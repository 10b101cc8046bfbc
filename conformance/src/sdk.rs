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
}

impl Sdk {
    pub const ALL: [Sdk; 4] = [Sdk::JavaRocketmq, Sdk::GoRocketmq, Sdk::Pika, Sdk::Curl];

    pub fn name(self) -> &'static str {
        match self {
            Sdk::JavaRocketmq => "java-rocketmq",
            Sdk::GoRocketmq => "go-rocketmq",
            Sdk::Pika => "pika",
            Sdk::Curl => "curl",
        }
    }

    pub fn protocol(self) -> Protocol {
        match self {
            Sdk::JavaRocketmq | Sdk::GoRocketmq => Protocol::Remoting,
            Sdk::Pika => Protocol::Amqp,
            Sdk::Curl => Protocol::Http,
        }
    }

    /// From its name.
    pub fn parse(name: &str) -> Result<Self, Failure> {
        let known = Self::ALL.into_iter().find(|sdk| sdk.name() == name);
        known.ok_or_else(|| Failure::Environment(format!("no driver is named `{name}`")))
    }

    /// Whether the SDK lets an empty body out; if not, what it says.
    pub fn empty_body(self) -> Result<(), &'static str> {
        match self {
            Sdk::JavaRocketmq => Err("the SDK refuses an empty body (code 13, before it sends)"),
            Sdk::GoRocketmq | Sdk::Pika | Sdk::Curl => Ok(()),
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
