//! The broker under test: Mailrail's built binary, or the real RocketMQ or RabbitMQ, each in a folder of its own and on loopback.
//!
//! Starts, kills, restarts and stops; says where the listeners are. Knows nothing of messages.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Failure;
use crate::sdk::{Protocol, scripts};

const READY_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(30);

/// Which broker a run drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    Mailrail,
    Rocketmq,
    Rabbitmq,
}

impl Against {
    /// From the words that `MAILRAIL_AGAINST` takes.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "mailrail" => Ok(Self::Mailrail),
            "rocketmq" => Ok(Self::Rocketmq),
            "rabbitmq" => Ok(Self::Rabbitmq),
            other => {
                Err(Failure::Environment(format!("against `{other}`? It is mailrail, rocketmq or rabbitmq")))
            }
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Mailrail => "mailrail",
            Self::Rocketmq => "rocketmq",
            Self::Rabbitmq => "rabbitmq",
        }
    }

    pub fn speaks(self, protocol: Protocol) -> bool {
        match self {
            Self::Mailrail => true,
            Self::Rocketmq => protocol == Protocol::Remoting,
            Self::Rabbitmq => protocol == Protocol::Amqp,
        }
    }
}

/// A file system in memory for the broker's data, which only that process sees.
#[derive(Debug, Clone, Copy)]
struct SmallDisk {
    mib: u64,
    /// With less of it free, the broker refuses publishes.
    free_mib_min: u64,
}

/// Takes room on a small disk.
const FILLER: &str = "filler";

/// Where the listeners are; the ready file of Mailrail has this form, and so have the lines of the peers' start scripts.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Endpoints {
    pub http: Option<String>,
    pub remoting: Option<String>,
    pub amqp: Option<String>,
}

impl Endpoints {
    /// The fields of the drivers' `connect`.
    pub fn fields(&self) -> Value {
        json!({"http": self.http, "remoting": self.remoting, "amqp": self.amqp})
    }
}

pub struct Broker {
    against: Against,
    folder: PathBuf,
    small_disk: Option<SmallDisk>,
    /// More arguments of its start.
    arguments: Vec<String>,
    endpoints: Endpoints,
    process: Option<Child>,
}

impl Broker {
    /// Starts the broker with its data in `folder`, and waits until it accepts.
    pub fn start(against: Against, folder: &Path) -> Result<Self, Failure> {
        let mut broker = Self {
            against,
            folder: folder.to_owned(),
            small_disk: None,
            arguments: Vec::new(),
            endpoints: Endpoints::default(),
            process: None,
        };
        match against {
            Against::Mailrail => broker.start_mailrail()?,
            Against::Rocketmq | Against::Rabbitmq => broker.start_peer()?,
        }
        Ok(broker)
    }

    /// Starts Mailrail with further settings.
    pub fn start_with(folder: &Path, arguments: &[String]) -> Result<Self, Failure> {
        let mut broker = Self {
            against: Against::Mailrail,
            folder: folder.to_owned(),
            small_disk: None,
            arguments: arguments.to_vec(),
            endpoints: Endpoints::default(),
            process: None,
        };
        broker.start_mailrail()?;
        Ok(broker)
    }

    /// Runs `mailrail user` against it.
    pub fn user(&self, arguments: &[&str]) -> Result<(), Failure> {
        let address = self.endpoints.http.clone().unwrap_or_default();
        let mut command = Command::new(mailrail()?);
        command.arg("user").args(arguments).args(["--address", &address]).stdin(Stdio::null());
        let done = command.output().map_err(Failure::io("running mailrail user"))?;
        if done.status.success() { Ok(()) } else { Err(self.failure(&String::from_utf8_lossy(&done.stderr))) }
    }

    /// Starts Mailrail with short segments on a disk of its own, of which it is to keep so much free.
    pub fn start_on_small_disk(folder: &Path, mib: u64, free_mib_min: u64) -> Result<Self, Failure> {
        let mut broker = Self {
            against: Against::Mailrail,
            folder: folder.to_owned(),
            small_disk: Some(SmallDisk { mib, free_mib_min }),
            arguments: Vec::new(),
            endpoints: Endpoints::default(),
            process: None,
        };
        let data = broker.data();
        std::fs::create_dir_all(&data).map_err(Failure::io(format!("creating {}", data.display())))?;
        broker.start_mailrail()?;
        Ok(broker)
    }

    /// Whether this machine lets a process have a disk of its own; if not, why.
    pub fn can_have_small_disk() -> Result<(), String> {
        let mut tried = own_mounts();
        tried.args(["sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]);
        match tried.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("unshare: {error}")),
        }
    }

    /// Leaves so much of the small disk free.
    pub fn fill_small_disk(&self, leave_mib: u64) -> Result<(), Failure> {
        let (data, filler) = (self.data_as_seen()?, self.data_as_seen()?.join(FILLER));
        let context = || format!("filling {}", filler.display());
        let found =
            rustix::fs::statvfs(&data).map_err(std::io::Error::from).map_err(Failure::io(context()))?;
        let bytes = (found.f_bavail * found.f_frsize).saturating_sub(leave_mib << 20);
        let file = File::create(&filler).map_err(Failure::io(context()))?;
        let taken = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
        taken.map_err(std::io::Error::from).map_err(Failure::io(context()))
    }

    /// Undoes [`Broker::fill_small_disk`].
    pub fn empty_small_disk(&self) -> Result<(), Failure> {
        let filler = self.data_as_seen()?.join(FILLER);
        std::fs::remove_file(&filler).map_err(Failure::io(format!("removing {}", filler.display())))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The data folder as the running process sees it.
    fn data_as_seen(&self) -> Result<PathBuf, Failure> {
        let pid = self.pid().ok_or_else(|| self.failure("does not run"))?;
        let data = std::fs::canonicalize(self.data()).map_err(Failure::io("finding the data folder"))?;
        let below_root = data.strip_prefix("/").unwrap_or(&data);
        Ok(Path::new("/proc").join(pid.to_string()).join("root").join(below_root))
    }

    /// The start of the command that runs this program.
    fn command(&self, program: &Path) -> Command {
        let Some(disk) = self.small_disk else { return Command::new(program) };
        let mut command = own_mounts();
        // Each program takes the place of the one before it, so that the process is the broker.
        command.args(["sh", "-c", "mount -t tmpfs -o size=$0m tmpfs \"$1\" && shift && exec \"$@\""]);
        command.arg(disk.mib.to_string()).arg(self.data()).arg(program);
        command
    }

    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Process id of Mailrail; none for a peer or a broker that does not run.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    fn start_mailrail(&mut self) -> Result<(), Failure> {
        let program = mailrail()?;
        let ready = self.folder.join("ready.json");
        let _ = std::fs::remove_file(&ready); // of an earlier start
        let log = self.log();
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(Failure::io("opening the broker's log"))?;
        let errors = output.try_clone().map_err(Failure::io("opening the broker's log"))?;
        // A restart takes the addresses of the start before, as a supervised broker does, so that SDKs find it again.
        let address = |known: &Option<String>| known.clone().unwrap_or_else(|| "127.0.0.1:0".into());
        let mut command = self.command(&program);
        command.arg("serve").arg("--data").arg(self.data());
        if let Some(disk) = self.small_disk {
            command.args(["--segment-mib", "1", "--disk-free-mib-min", &disk.free_mib_min.to_string()]);
        }
        let child = command
            .args(["--http-listen", &address(&self.endpoints.http)])
            .args(["--remoting-listen", &address(&self.endpoints.remoting)])
            .args(["--amqp-listen", &address(&self.endpoints.amqp)])
            .args(&self.arguments)
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(Failure::io(format!("starting {}", program.display())))?;
        self.process = Some(child);
        self.await_ready(&ready)
    }

    fn await_ready(&mut self, ready: &Path) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_MAX;
        while Instant::now() < deadline {
            if let Ok(text) = std::fs::read(ready) {
                self.endpoints =
                    serde_json::from_slice(&text).map_err(|e| self.failure(&format!("ready file: {e}")))?;
                return Ok(());
            }
            if let Some(Ok(Some(status))) = self.process.as_mut().map(Child::try_wait) {
                self.process = None;
                return Err(self.failure(&format!("ended at its start with {status}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(self.failure("not ready in time"))
    }

    fn start_peer(&mut self) -> Result<(), Failure> {
        let script = scripts().join("peers").join(self.against.name()).join("start");
        let done = Command::new(&script)
            .arg(self.folder.join("peer"))
            .output()
            .map_err(Failure::io(format!("starting {}", script.display())))?;
        if !done.status.success() {
            return Err(Failure::Environment(String::from_utf8_lossy(&done.stderr).into_owned()));
        }
        let text = String::from_utf8_lossy(&done.stdout);
        let last = text.lines().last().unwrap_or_default();
        self.endpoints =
            serde_json::from_str(last).map_err(|e| Failure::Environment(format!("{e}: {text}")))?;
        Ok(())
    }

    /// SIGKILL, as a power cut would be for the process. Mailrail only.
    pub fn kill(&mut self) -> Result<(), Failure> {
        let mut child = self.process.take().ok_or_else(|| self.failure("does not run"))?;
        child.kill().map_err(Failure::io("killing the broker"))?;
        child.wait().map_err(Failure::io("waiting for the killed broker"))?;
        Ok(())
    }

    /// Starts again on the same data and addresses after [`Broker::kill`] or [`Broker::stop`].
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.start_mailrail()
    }

    /// SIGTERM, and a clean end with exit code 0.
    pub fn stop(&mut self) -> Result<(), Failure> {
        let Some(mut child) = self.process.take() else {
            return self.stop_peer();
        };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself; its exit code tells below.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().map_err(Failure::io("waiting for the broker"))? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(self.failure(&format!("stopped with {status}")))
                };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(self.failure("did not stop on SIGTERM in time"))
    }

    fn stop_peer(&mut self) -> Result<(), Failure> {
        if self.against == Against::Mailrail {
            return Ok(());
        }
        let script = scripts().join("peers").join(self.against.name()).join("stop");
        // The folder goes with the run, so there is nothing that a clean end would save.
        let mut command = Command::new(&script);
        command.arg(self.folder.join("peer"));
        if self.against == Against::Rocketmq {
            command.arg("--kill");
        }
        let done = command.output().map_err(Failure::io(format!("starting {}", script.display())))?;
        if done.status.success() { Ok(()) } else { Err(self.failure(&String::from_utf8_lossy(&done.stderr))) }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("broker.log")
    }

    fn failure(&self, text: &str) -> Failure {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n  ");
        Failure::Program {
            program: self.against.name().into(),
            text: format!("{text}; its log ends:\n  {tail}"),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match self.process.take() {
            Some(mut child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            None => {
                if let Err(e) = self.stop_peer() {
                    eprintln!("{e}");
                }
            }
        }
    }
}

/// The start of a command that has mounts of its own.
fn own_mounts() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount"]);
    command
}

/// The binary: `MAILRAIL_BIN`, else what was built beside this test, release before debug.
fn mailrail() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("MAILRAIL_BIN") {
        return Ok(path.into());
    }
    let this = std::env::current_exe().map_err(Failure::io("finding this program"))?;
    let candidates =
        this.ancestors().flat_map(|folder| [folder.join("release/mailrail"), folder.join("debug/mailrail")]);
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Failure::Environment(
            "no mailrail binary: set MAILRAIL_BIN, or build it (cargo build --release)".into(),
        )
    })
}
