//! What scenarios share: the broker, drivers that are ready for use, and names that nobody used before.
//!
//! A driver is reused by the next scenario after a reset, since starting one costs most of a second; one that a scenario killed or
//! that failed is not. Decides nothing about messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::broker::{Against, Broker};
use crate::driver::Driver;
use crate::sdk::{Protocol, Sdk};
use crate::{Failure, line::Outgoing};

/// How long a delivery may take before a scenario calls it missing. A push consumer of RocketMQ that must wait for its
/// periodic rebalance needs 20 s. One whose rebalance gave its subscription a new version while another heartbeat was on its
/// way tells the broker of it only with the next, 30 s later; its pulls are refused with code 25 until then, as RocketMQ does.
pub const DELIVERY_MAX: Duration = Duration::from_secs(45);
/// The same for what comes by way of a retry or dead-letter topic, which the Go client looks for every 30 s and takes up with its
/// next rebalance, 20 s later.
pub const RETRY_MAX: Duration = Duration::from_secs(75);

pub struct World {
    against: Against,
    sdks: Vec<Sdk>,
    /// What installing gave, so that an SDK which cannot be installed is tried once.
    programs: BTreeMap<Sdk, Result<PathBuf, String>>,
    // Fields are dropped in this order: drivers, then the broker, then the folder that both use.
    idle: Vec<Driver>,
    broker: Option<Broker>,
    folder: TempDir,
    names: u32,
    logs: u32,
}

impl World {
    /// A world in which these SDKs may be used.
    pub fn new(against: Against, sdks: &[Sdk]) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("mailrail-conformance-").tempdir();
        let folder = folder.map_err(Failure::io("creating a temporary folder"))?;
        Ok(Self {
            against,
            sdks: sdks.to_vec(),
            programs: BTreeMap::new(),
            idle: Vec::new(),
            broker: None,
            folder,
            names: 0,
            logs: 0,
        })
    }

    pub fn against(&self) -> Against {
        self.against
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The shared broker, started on first use.
    pub fn broker(&mut self) -> Result<&mut Broker, Failure> {
        if self.broker.is_none() {
            self.broker = Some(Broker::start(self.against, self.folder.path())?);
        }
        self.broker.as_mut().ok_or_else(|| Failure::Environment("no broker".into()))
    }

    /// A driver that is connected to the shared broker.
    pub fn driver(&mut self, sdk: Sdk) -> Result<Driver, Failure> {
        let mut driver = self.unconnected(sdk)?;
        let endpoints = self.broker()?.endpoints().fields();
        driver.connect(&endpoints)?;
        Ok(driver)
    }

    /// A driver that is connected to nothing yet.
    pub fn unconnected(&mut self, sdk: Sdk) -> Result<Driver, Failure> {
        match self.idle.iter().position(|driver| driver.sdk() == sdk) {
            Some(at) => Ok(self.idle.swap_remove(at)),
            None => Driver::start(sdk, &self.program(sdk)?, self.log(sdk)),
        }
    }

    /// Of the quick set each must be there; what keeps another from being installed is told as it is.
    fn program(&mut self, sdk: Sdk) -> Result<PathBuf, Failure> {
        if sdk.is_quick() {
            return sdk.program();
        }
        let found = self.programs.entry(sdk).or_insert_with(|| sdk.program().map_err(|e| e.to_string()));
        found.clone().map_err(|reason| Failure::NotInstalled { driver: sdk.to_string(), reason })
    }

    fn log(&mut self, sdk: Sdk) -> PathBuf {
        self.logs += 1;
        self.folder.path().join(format!("{sdk}-{}.log", self.logs))
    }

    /// Gives a driver back for the next scenario; one that cannot be reset is ended.
    pub fn done(&mut self, mut driver: Driver) {
        if driver.reset().is_ok() {
            self.idle.push(driver);
        }
    }

    /// A name for a topic or group, made of letters that every protocol allows.
    pub fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}-{}-{}", std::process::id(), self.names)
    }

    /// Makes a topic in the way that the SDKs concerned would: as a queue if one of them speaks AMQP, by REST where there is
    /// REST, else by the first send, which makes four queues on RocketMQ. Gives the number of queues.
    pub fn make_topic(&mut self, topic: &str, queues: u32, users: &[Sdk]) -> Result<u32, Failure> {
        let Some(maker) = self.maker(users) else {
            self.make_topic_by_sending(topic)?;
            return Ok(4);
        };
        let queues = if maker.protocol() == Protocol::Amqp { 1 } else { queues };
        let mut driver = self.driver(maker)?;
        driver.create_topic(topic, queues)?;
        self.done(driver);
        Ok(queues)
    }

    /// Who makes a topic for these users; none where only a send can.
    pub fn maker(&self, users: &[Sdk]) -> Option<Sdk> {
        if let Some(amqp) = users.iter().find(|sdk| sdk.protocol() == Protocol::Amqp) {
            return Some(*amqp);
        }
        self.sdks.contains(&Sdk::Curl).then_some(Sdk::Curl)
    }

    fn make_topic_by_sending(&mut self, topic: &str) -> Result<(), Failure> {
        let mut driver = self.driver(Sdk::GoRocketmq)?;
        let opening = Outgoing { tag: Some(OPENING_TAG.into()), ..Outgoing::text(OPENING_BODY) };
        driver.send(topic, "sync", &[opening])?;
        self.done(driver);
        Ok(())
    }
}

/// The message that makes a topic on a broker without REST; scenarios leave it out of account.
pub const OPENING_BODY: &str = "the message that made this topic";
const OPENING_TAG: &str = "opening";
