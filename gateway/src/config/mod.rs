//! Settings: flags beat the environment, which beats the file, which beats defaults. Read once into a raw form,
//! checked once into [`Settings`]; every part of the program gets only its own.

mod access;
mod flags;
mod memory;
mod tls;

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailrail_broker::{DelayLevels, DelayLevelsError, RetentionPolicy, StoreEngine};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub use self::access::{AccessSettings, password_in};
pub use self::memory::MemoryBudget;
use self::memory::{MEMORY_MIB_MAX, MEMORY_MIB_MIN, TooLittle, Wanted};
pub use self::tls::{TlsMode, TlsSettings};

pub use self::flags::{
    BackupFlags, CheckFlags, Cli, ClientFlags, Command, RepairFlags, RestoreFlags, RuleFlags, ServeFlags,
    UserFlags, UserVerb,
};

/// Checked settings of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub data: PathBuf,
    pub http_listen: SocketAddr,
    pub remoting_listen: SocketAddr,
    pub amqp_listen: SocketAddr,
    /// Address that clients are told to dial; its port is that of the listener they are told about.
    pub advertised: IpAddr,
    pub ready_file: Option<PathBuf>,
    pub access: AccessSettings,
    pub tls: Option<TlsSettings>,
    pub auto_create_topics: bool,
    pub cluster_name: String,
    pub broker_name: String,
    /// What the numbers mean that RocketMQ's producers delay messages by.
    pub delay_levels: DelayLevels,
    pub segment_bytes: u64,
    /// What topics keep that keep what was read: for how long, and how much.
    pub retention: RetentionPolicy,
    /// With less room on the disk no messages are taken.
    pub disk_free_bytes_min: u64,
    pub store_engine: StoreEngine,
    pub memory: MemoryBudget,
    /// What this process may use, if the system tells.
    pub memory_limit_bytes: Option<u64>,
    /// Topics, and groups on them, that have series of their own among the metrics.
    pub metrics_topics_max: usize,
    pub log_level: String,
    pub log_json: bool,
}

/// Why settings cannot be used: one line for whoever started the program.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("reading {}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error(
        "memory-mib is {mib}: with cache-mib {cache_mib} and connections-max {connections} at least {needed_mib} are needed"
    )]
    Memory { mib: u64, cache_mib: u64, connections: u64, needed_mib: u64 },
    #[error("{}: {error}", path.display())]
    Syntax { path: PathBuf, error: String },
    #[error("{key} is {value:?}: {why}")]
    Value { key: &'static str, value: String, why: String },
    #[error(
        "{key} is {value}, which others can reach, but there are no users; pass --admin-user and its password to make the first, listen on 127.0.0.1, or pass --insecure"
    )]
    Exposed { key: &'static str, value: SocketAddr },
}

const HTTP_LISTEN: &str = "127.0.0.1:8600";
const REMOTING_LISTEN: &str = "127.0.0.1:9876";
const AMQP_LISTEN: &str = "127.0.0.1:5672";
const DATA: &str = "./mailrail-data";
const SEGMENT_MIB: u64 = 128;
const RETENTION_HOURS: u64 = 72;
const METRICS_TOPICS: u64 = 100;
const METRICS_TOPICS_MAX: u64 = 10_000;
const DISK_FREE_MIB: u64 = 512;

impl Settings {
    /// Puts the sources together and checks the outcome.
    pub fn read(flags: ServeFlags) -> Result<Settings, SettingsError> {
        let file = match &flags.config {
            Some(path) => read_file(path)?,
            None => ServeFlags::default(),
        };
        Settings::check(flags.or(file), memory::limit_bytes(Path::new("/")))
    }

    fn check(raw: ServeFlags, memory_limit_bytes: Option<u64>) -> Result<Settings, SettingsError> {
        let insecure = raw.insecure.unwrap_or(false);
        let memory = memory_budget(&raw, memory_limit_bytes)?;
        let data = raw.data.unwrap_or_else(|| PathBuf::from(DATA));
        let mut access = AccessSettings::check(
            raw.admin_user,
            raw.admin_password_file,
            raw.admin_password,
            raw.secret_key_file,
        )?;
        let mut listen = |key, value: Option<String>, default: &str| -> Result<SocketAddr, SettingsError> {
            let address = resolve(key, &value.unwrap_or_else(|| default.to_owned()))?;
            if !address.ip().is_loopback() && !insecure {
                access.needs_users(key, address, &data)?;
            }
            Ok(address)
        };
        let http_listen = listen("http-listen", raw.http_listen, HTTP_LISTEN)?;
        let remoting_listen = listen("remoting-listen", raw.remoting_listen, REMOTING_LISTEN)?;
        let amqp_listen = listen("amqp-listen", raw.amqp_listen, AMQP_LISTEN)?;
        let advertised = match raw.advertised_address {
            Some(host) => resolve_host(&host, remoting_listen.ip())?,
            None if remoting_listen.ip().is_unspecified() => {
                return Err(SettingsError::Value {
                    key: "advertised-address",
                    value: String::new(),
                    why: "it is needed when listening on every address, since clients are told to dial it; \
                          pass --advertised-address or set MAILRAIL_ADVERTISED_ADDRESS"
                        .to_owned(),
                });
            }
            None => remoting_listen.ip(),
        };
        Ok(Settings {
            data,
            http_listen,
            remoting_listen,
            amqp_listen,
            advertised,
            ready_file: raw.ready_file,
            access,
            tls: TlsSettings::check(
                raw.tls_mode,
                raw.tls_certificate_file,
                raw.tls_key_file,
                raw.tls_client_ca_file,
            )?,
            auto_create_topics: raw.auto_create_topics.unwrap_or(true),
            cluster_name: raw.cluster_name.unwrap_or_else(|| "DefaultCluster".to_owned()),
            broker_name: raw.broker_name.unwrap_or_else(|| "mailrail".to_owned()),
            delay_levels: delay_levels(raw.delay_levels)?,
            segment_bytes: mebibytes("segment-mib", raw.segment_mib.unwrap_or(SEGMENT_MIB), 1, 2_048)?,
            retention: retention(raw.retention_hours, raw.retention_mib)?,
            disk_free_bytes_min: mebibytes(
                "disk-free-mib-min",
                raw.disk_free_mib_min.unwrap_or(DISK_FREE_MIB),
                0,
                1 << 30,
            )?,
            store_engine: store_engine(raw.store_engine)?,
            memory,
            memory_limit_bytes,
            metrics_topics_max: metrics_topics(raw.metrics_topics_max)?,
            log_level: log_filter(raw.log_level.unwrap_or_else(|| "info".to_owned()))?,
            log_json: raw.log_json.unwrap_or(false),
        })
    }
}

fn metrics_topics(count: Option<u64>) -> Result<usize, SettingsError> {
    between("metrics-topics-max", count.unwrap_or(METRICS_TOPICS), 0, METRICS_TOPICS_MAX)
}

fn read_file(path: &Path) -> Result<ServeFlags, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::File { path: path.to_path_buf(), error })?;
    toml::from_str(&text).map_err(|error| {
        let line = error
            .to_string()
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        SettingsError::Syntax { path: path.to_path_buf(), error: line }
    })
}

/// The address of a HOST:PORT; `key` is the setting it comes from.
pub fn resolve(key: &'static str, value: &str) -> Result<SocketAddr, SettingsError> {
    let wrong = |why: String| SettingsError::Value { key, value: value.to_owned(), why };
    let found: Vec<SocketAddr> =
        value.to_socket_addrs().map_err(|error| wrong(format!("it is no HOST:PORT ({error})")))?.collect();
    // A name such as localhost may have addresses of both families; clients try the older one most.
    let older = found.iter().find(|address| address.is_ipv4());
    older.or(found.first()).copied().ok_or_else(|| wrong("the host has no address".to_owned()))
}

/// The address of a host that clients are told to dial: of the family that is listened on.
fn resolve_host(host: &str, listens: IpAddr) -> Result<IpAddr, SettingsError> {
    let wrong = |why: String| SettingsError::Value { key: "advertised-address", value: host.to_owned(), why };
    let found: Vec<IpAddr> = (host, 0)
        .to_socket_addrs()
        .map_err(|error| wrong(format!("it is no host ({error})")))?
        .map(|address| address.ip())
        .collect();
    let is_reached = |address: &&IpAddr| match listens {
        // Listening on every address of the newer family takes the older one too.
        IpAddr::V6(listens) if listens.is_unspecified() => true,
        listens => address.is_ipv4() == listens.is_ipv4(),
    };
    let unreached = || format!("it has no address of the family of remoting-listen, which is {listens}");
    let address = found.iter().find(is_reached).copied().ok_or_else(|| wrong(unreached()))?;
    if address.is_unspecified() {
        return Err(wrong("clients cannot dial it".to_owned()));
    }
    Ok(address)
}

/// Checks a log filter. A bare word must be a level: taken for a part of the program, as the filter would, a misspelt
/// level turns the log off instead of being refused.
fn log_filter(value: String) -> Result<String, SettingsError> {
    let wrong = |why: String| SettingsError::Value { key: "log-level", value: value.clone(), why };
    for part in value.split(',') {
        if part.is_empty() || (!part.contains('=') && part.parse::<LevelFilter>().is_err()) {
            let why = "error, warn, info, debug, trace, off, and PART=LEVEL are allowed, separated by commas";
            return Err(wrong(why.to_owned()));
        }
    }
    EnvFilter::try_new(&value).map_err(|error| wrong(error.to_string()))?;
    Ok(value)
}

/// What is kept by age in hours and by size in MiB; 0 means without end.
fn retention(hours: Option<u64>, mib: Option<u64>) -> Result<RetentionPolicy, SettingsError> {
    let hours = between("retention-hours", hours.unwrap_or(RETENTION_HOURS), 0, 1_000_000)?;
    let seconds = u64::try_from(hours).unwrap_or(u64::MAX).saturating_mul(3_600);
    let bytes = mebibytes("retention-mib", mib.unwrap_or(0), 0, 1 << 30)?;
    Ok(RetentionPolicy {
        age: (seconds > 0).then(|| Duration::from_secs(seconds)),
        bytes: (bytes > 0).then_some(bytes),
    })
}

fn memory_budget(raw: &ServeFlags, limit_bytes: Option<u64>) -> Result<MemoryBudget, SettingsError> {
    let cache = raw.cache_mib.map(|mib| mebibytes("cache-mib", mib, 1, 65_536)).transpose()?;
    if let Some(count) = raw.connections_max {
        between("connections-max", count, 1, 1_000_000)?;
    }
    let bytes = match raw.memory_mib {
        Some(mib) => mebibytes("memory-mib", mib, MEMORY_MIB_MIN, MEMORY_MIB_MAX)?,
        None => MemoryBudget::default_bytes(limit_bytes),
    };
    let wanted = Wanted { log_cache_bytes: cache, connections_max: raw.connections_max };
    MemoryBudget::split(bytes, limit_bytes, wanted).map_err(|TooLittle { needed_bytes }| {
        let default = MemoryBudget::split(bytes, limit_bytes, Wanted::default()).ok();
        SettingsError::Memory {
            mib: bytes >> 20,
            cache_mib: cache.or(default.map(|budget| budget.log_cache_bytes)).unwrap_or(0) >> 20,
            connections: wanted.connections_max.or(default.map(|budget| budget.connections_max)).unwrap_or(0),
            needed_mib: (needed_bytes >> 20) + 1,
        }
    })
}

fn delay_levels(value: Option<String>) -> Result<DelayLevels, SettingsError> {
    let Some(value) = value else { return Ok(DelayLevels::default()) };
    value.parse().map_err(|error: DelayLevelsError| {
        let (key, why) = ("delay-levels", error.to_string());
        SettingsError::Value { key, value, why }
    })
}

fn store_engine(value: Option<String>) -> Result<StoreEngine, SettingsError> {
    match value {
        None => Ok(StoreEngine::default()),
        Some(name) if name == "sled" => Ok(StoreEngine::Sled),
        Some(name) if name == "redb" => Ok(StoreEngine::Redb),
        Some(value) => {
            let why = "sled and redb are allowed".to_owned();
            Err(SettingsError::Value { key: "store-engine", value, why })
        }
    }
}

fn between(key: &'static str, value: u64, min: u64, max: u64) -> Result<usize, SettingsError> {
    if (min..=max).contains(&value) {
        return Ok(usize::try_from(value).unwrap_or(usize::MAX));
    }
    Err(SettingsError::Value { key, value: value.to_string(), why: format!("{min} to {max} is allowed") })
}

fn mebibytes(key: &'static str, value: u64, min: u64, max: u64) -> Result<u64, SettingsError> {
    between(key, value, min, max).map(|_| value << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut ServeFlags)) -> Result<Settings, String> {
        let mut flags = ServeFlags::default();
        change(&mut flags);
        Settings::read(flags).map_err(|error| error.to_string())
    }

    #[test]
    fn what_somebody_sets_beats_the_table_or_does_not_fit() {
        let settings = |flags, limit_mib: u64| Settings::check(flags, Some(limit_mib << 20));
        let memory = |flags, limit_mib| settings(flags, limit_mib).unwrap().memory;
        let budget = memory(ServeFlags::default(), 1_024);
        assert_eq!((budget.bytes, budget.log_cache_bytes), (896 << 20, 16 << 20));
        let flags = ServeFlags { memory_mib: Some(512), cache_mib: Some(32), ..ServeFlags::default() };
        let budget = memory(flags, 1_024);
        assert_eq!(
            (budget.bytes, budget.log_cache_bytes, budget.store_cache_bytes),
            (512 << 20, 32 << 20, 16 << 20)
        );
        let flags = ServeFlags { memory_mib: Some(256), cache_mib: Some(200), ..ServeFlags::default() };
        let error = settings(flags, 1_024).unwrap_err().to_string();
        assert!(
            error.starts_with("memory-mib is 256: with cache-mib 200 and connections-max 1536 at"),
            "{error}"
        );
    }

    #[test]
    fn nothing_given_is_the_documented_default() {
        let settings = check(|_| {}).unwrap();
        assert_eq!(settings.http_listen, "127.0.0.1:8600".parse().unwrap());
        assert_eq!(settings.remoting_listen, "127.0.0.1:9876".parse().unwrap());
        assert_eq!(settings.amqp_listen, "127.0.0.1:5672".parse().unwrap());
        assert_eq!(settings.data, Path::new("./mailrail-data"));
        assert_eq!(settings.store_engine, StoreEngine::Sled);
        assert_eq!(settings.advertised, settings.remoting_listen.ip());
        assert_eq!(settings.retention, RetentionPolicy::default());
        assert_eq!(settings.disk_free_bytes_min, 512 << 20);
    }

    #[test]
    fn retention_without_end_is_zero() {
        let kept = |hours, mib| {
            check(|flags| (flags.retention_hours, flags.retention_mib) = (Some(hours), Some(mib)))
                .unwrap()
                .retention
        };
        assert_eq!(kept(0, 0), RetentionPolicy { age: None, bytes: None });
        let day = Duration::from_secs(24 * 60 * 60);
        assert_eq!(kept(24, 1), RetentionPolicy { age: Some(day), bytes: Some(1 << 20) });
    }

    #[test]
    fn flags_beat_the_file_and_a_wrong_key_names_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mailrail.toml");
        std::fs::write(&path, "http-listen = \"127.0.0.1:1\"\namqp-listen = \"127.0.0.1:2\"\n").unwrap();
        let settings = check(|flags| {
            flags.config = Some(path.clone());
            flags.http_listen = Some("127.0.0.1:3".into());
        })
        .unwrap();
        assert_eq!((settings.http_listen.port(), settings.amqp_listen.port()), (3, 2));
        std::fs::write(&path, "htp-listen = \"127.0.0.1:1\"\n").unwrap();
        let error = check(|flags| flags.config = Some(path.clone())).unwrap_err();
        assert!(error.contains("htp-listen") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn every_wrong_value_is_named() {
        type Change = fn(&mut ServeFlags);
        let cases: [(Change, &str); 26] = [
            (|f| f.http_listen = Some("nonsense".into()), "http-listen is \"nonsense\""),
            (
                |f| f.amqp_listen = Some("0.0.0.0:5672".into()),
                "amqp-listen is 0.0.0.0:5672, which others can reach",
            ),
            (|f| f.tls_mode = Some("perhaps".into()), "tls-mode is \"perhaps\""),
            (|f| f.tls_mode = Some("enforcing".into()), "tls-certificate-file is \"\": TLS needs"),
            (|f| f.tls_certificate_file = Some("c".into()), "tls-key-file is \"\": the certificate needs"),
            (|f| f.tls_key_file = Some("k".into()), "tls-certificate-file is \"\": the key needs"),
            (|f| f.tls_client_ca_file = Some("ca".into()), "tls-certificate-file is \"\": TLS needs"),
            (|f| f.admin_user = Some("root".into()), "admin-user is \"root\": it needs a password"),
            (|f| f.admin_password = Some("x".into()), "admin-user is \"\": a password is given"),
            (|f| f.admin_password_file = Some("/nowhere/password".into()), "reading /nowhere/password"),
            (|f| f.segment_mib = Some(0), "segment-mib is \"0\""),
            (|f| f.retention_hours = Some(1_000_001), "retention-hours is \"1000001\""),
            (|f| f.retention_mib = Some(u64::MAX), "retention-mib is \"18446744073709551615\""),
            (|f| f.store_engine = Some("rocksdb".into()), "store-engine is \"rocksdb\""),
            (|f| f.memory_mib = Some(100), "memory-mib is \"100\""),
            (
                |f| (f.memory_mib, f.connections_max) = (Some(256), Some(10_000)),
                "memory-mib is 256: with cache-mib 16 and connections-max 10000",
            ),
            (|f| f.delay_levels = Some(String::new()), "delay-levels is \"\": it has 0 levels; 1 to 64"),
            (|f| f.delay_levels = Some("1s 5".into()), "delay-levels is \"1s 5\": \"5\" is no delay"),
            (|f| f.connections_max = Some(0), "connections-max is \"0\""),
            (|f| f.log_level = Some("inof".into()), "log-level is \"inof\""),
            (|f| f.log_level = Some("info,mailrail=inof".into()), "log-level is \"info,mailrail=inof\""),
            (|f| f.log_level = Some("info,".into()), "log-level is \"info,\""),
            (|f| f.log_level = Some(String::new()), "log-level is \"\""),
            (|f| f.advertised_address = Some("0.0.0.0".into()), "advertised-address is \"0.0.0.0\""),
            (|f| f.advertised_address = Some("::1".into()), "advertised-address is \"::1\""),
            (
                |f| {
                    f.insecure = Some(true);
                    f.remoting_listen = Some("0.0.0.0:9876".into());
                },
                "advertised-address is \"\"",
            ),
        ];
        for (change, expected) in cases {
            let error = check(change).unwrap_err();
            assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn every_number_is_taken_up_to_its_limits_and_no_farther() {
        const ALL: Option<u64> = Some(MEMORY_MIB_MAX);
        type Change = fn(&mut ServeFlags, u64);
        let cases: [(&str, Change, u64, u64); 8] = [
            ("segment-mib", |f, value| f.segment_mib = Some(value), 1, 2_048),
            ("memory-mib", |f, value| f.memory_mib = Some(value), MEMORY_MIB_MIN, MEMORY_MIB_MAX),
            ("cache-mib", |f, value| (f.memory_mib, f.cache_mib) = (ALL, Some(value)), 1, 65_536),
            ("retention-hours", |f, value| f.retention_hours = Some(value), 0, 1_000_000),
            ("retention-mib", |f, value| f.retention_mib = Some(value), 0, 1 << 30),
            ("metrics-topics-max", |f, value| f.metrics_topics_max = Some(value), 0, METRICS_TOPICS_MAX),
            ("disk-free-mib-min", |f, value| f.disk_free_mib_min = Some(value), 0, 1 << 30),
            (
                "connections-max",
                |f, value| (f.memory_mib, f.connections_max) = (ALL, Some(value)),
                1,
                1_000_000,
            ),
        ];
        for (key, change, min, max) in cases {
            for value in [min, max] {
                assert!(check(|flags| change(flags, value)).is_ok(), "{key} {value}");
            }
            for value in min.checked_sub(1).into_iter().chain([max + 1]) {
                let expected = format!("{key} is \"{value}\": {min} to {max} is allowed");
                assert_eq!(check(|flags| change(flags, value)).unwrap_err(), expected);
            }
        }
        // A log takes the longest segment that can be asked for.
        let settings = check(|flags| flags.segment_mib = Some(2_048)).unwrap();
        assert_eq!(settings.segment_bytes, 2 << 30);
    }

    #[test]
    fn log_filters_are_levels_and_parts_with_levels() {
        for level in ["info", "off", "DEBUG", "mailrail_amqp=debug,info", "warn,mailrail=trace"] {
            let settings = check(|flags| flags.log_level = Some(level.to_owned()));
            assert_eq!(settings.map(|settings| settings.log_level), Ok(level.to_owned()));
        }
    }
}
