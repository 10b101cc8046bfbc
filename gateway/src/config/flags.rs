//! The raw form of the settings: what was typed, exported or written into the file, not checked yet.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Deserialize;

/// Message broker for RocketMQ, AMQP 0-9-1 and HTTP clients.
#[derive(Debug, Parser)]
#[command(name = "mailrail", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker until SIGTERM or SIGINT.
    Serve(Box<ServeFlags>),
    /// Ask a running broker whether it takes work; exits 0 if it does, else 1.
    Status(ClientFlags),
    /// Verify the data of a broker that does not run; exits 0 if nothing that was synced is damaged, else 1.
    Check(CheckFlags),
    /// Rebuild everything but the log of a broker that does not run; what was there is set aside.
    Repair(RepairFlags),
    /// Copy a running broker into a file, from which `restore` makes a data folder.
    Backup(BackupFlags),
    /// Make a data folder of a backup, and verify it.
    Restore(RestoreFlags),
    /// Let users in and say what they may do, on a running broker.
    User(UserFlags),
}

/// Which broker a command asks, and as whom.
#[derive(Debug, Args)]
pub struct ClientFlags {
    /// Address of the broker's HTTP listener; one that stands for every address is asked over loopback.
    #[arg(long, env = "MAILRAIL_HTTP_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:8600")]
    pub address: String,
    /// User to log in as.
    #[arg(long, env = "MAILRAIL_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// File with that user's password [default: the variable MAILRAIL_PASSWORD].
    #[arg(long, env = "MAILRAIL_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Only from the environment: what stands on a command line, others can read.
    #[arg(long, hide = true, env = "MAILRAIL_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// Print the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `user` does, and which broker it asks.
#[derive(Debug, Args)]
pub struct UserFlags {
    #[command(subcommand)]
    pub verb: UserVerb,
}

#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Make a user, or change one. The first must be an administrator.
    Add {
        name: String,
        /// File with its password; `-` is standard input.
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
        /// File with the secret that RocketMQ clients sign with, who give its name as their access key.
        #[arg(long, value_name = "FILE")]
        signing_secret_file: Option<PathBuf>,
        /// Whether it may do everything.
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        admin: Option<bool>,
        /// Whether it may log in.
        #[arg(long, value_name = "BOOL")]
        enabled: Option<bool>,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Delete a user.
    Remove {
        name: String,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Show all users.
    List {
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Add a rule to those of a user.
    Permit {
        name: String,
        #[command(flatten)]
        rule: RuleFlags,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Take all rules from a user.
    Forbid {
        name: String,
        #[command(flatten)]
        client: ClientFlags,
    },
}

/// A rule. Without `--name`, `--prefix` or `--pattern` it is about all names.
#[derive(Debug, Args)]
pub struct RuleFlags {
    /// What is allowed, separated by commas: publish, consume, configure, describe, administer.
    #[arg(long, value_name = "ACTIONS", value_delimiter = ',', required = true)]
    pub actions: Vec<String>,
    /// On what, separated by commas: topic, group, exchange, cluster.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', default_value = "topic,group,exchange")]
    pub on: Vec<String>,
    /// Of this name.
    #[arg(long = "name", value_name = "NAME", group = "names")]
    pub name_is: Option<String>,
    /// Whose names begin so.
    #[arg(long, value_name = "TEXT", group = "names")]
    pub prefix: Option<String>,
    /// In whose names this regular expression is found.
    #[arg(long, value_name = "REGEX", group = "names")]
    pub pattern: Option<String>,
    /// Only from these addresses or networks.
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',')]
    pub from: Vec<String>,
    /// Deny instead of allowing; a rule that denies beats all that allow.
    #[arg(long)]
    pub deny: bool,
}

/// What `repair` rebuilds, and how it answers.
#[derive(Debug, Args)]
pub struct RepairFlags {
    /// Folder of everything that is stored.
    #[arg(long, env = "MAILRAIL_DATA", value_name = "DIR", default_value = "./mailrail-data")]
    pub data: PathBuf,
    /// Print what was found and done as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `backup` asks, and where it writes.
#[derive(Debug, Args)]
pub struct BackupFlags {
    /// File that gets the backup once it is whole; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    #[command(flatten)]
    pub client: ClientFlags,
}

/// What `restore` reads and makes, and how it answers.
#[derive(Debug, Args)]
pub struct RestoreFlags {
    /// File that `backup` wrote.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Folder of everything that is stored; it must be missing or empty.
    #[arg(long, env = "MAILRAIL_DATA", value_name = "DIR", default_value = "./mailrail-data")]
    pub data: PathBuf,
    /// Print what was restored as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `check` reads, and how it answers.
#[derive(Debug, Args)]
pub struct CheckFlags {
    /// Folder of everything that is stored.
    #[arg(long, env = "MAILRAIL_DATA", value_name = "DIR", default_value = "./mailrail-data")]
    pub data: PathBuf,
    /// Print what was found as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Every flag is also a key of the file and an environment variable.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServeFlags {
    /// TOML file with any of these settings.
    #[arg(long, env = "MAILRAIL_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Folder of everything that is stored; made if missing [default: ./mailrail-data].
    #[arg(long, env = "MAILRAIL_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for HTTP [default: 127.0.0.1:8600]; port 0 takes a free one.
    #[arg(long, env = "MAILRAIL_HTTP_LISTEN", value_name = "HOST:PORT")]
    pub http_listen: Option<String>,
    /// Address for RocketMQ remoting, name server and broker in one [default: 127.0.0.1:9876].
    #[arg(long, env = "MAILRAIL_REMOTING_LISTEN", value_name = "HOST:PORT")]
    pub remoting_listen: Option<String>,
    /// Address for AMQP 0-9-1 [default: 127.0.0.1:5672].
    #[arg(long, env = "MAILRAIL_AMQP_LISTEN", value_name = "HOST:PORT")]
    pub amqp_listen: Option<String>,
    /// Host that clients are told to dial [default: the host of remoting-listen].
    #[arg(long, env = "MAILRAIL_ADVERTISED_ADDRESS", value_name = "HOST")]
    pub advertised_address: Option<String>,
    /// File that gets one line of JSON with the process id and the addresses, once all of them accept.
    #[arg(long, env = "MAILRAIL_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Listen beyond this machine without users [default: false].
    #[arg(long, env = "MAILRAIL_INSECURE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub insecure: Option<bool>,
    /// Administrator that is made at the first start, while there are no users.
    #[arg(long, env = "MAILRAIL_ADMIN_USER", value_name = "NAME")]
    pub admin_user: Option<String>,
    /// File with that administrator's password.
    #[arg(long, env = "MAILRAIL_ADMIN_PASSWORD_FILE", value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// That password itself, for the environment: what stands on a command line, others can read.
    #[arg(long, env = "MAILRAIL_ADMIN_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub admin_password: Option<String>,
    /// File of the key that seals what RocketMQ clients sign with; made when it is needed [default: secret.key in data].
    #[arg(long, env = "MAILRAIL_SECRET_KEY_FILE", value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// Whether TLS is spoken: disabled, permissive (both, on the same ports) or enforcing [default: permissive with a
    /// certificate].
    #[arg(long, env = "MAILRAIL_TLS_MODE", value_name = "MODE")]
    pub tls_mode: Option<String>,
    /// PEM file with the certificate, and those that lead to its root; read again on SIGHUP.
    #[arg(long, env = "MAILRAIL_TLS_CERTIFICATE_FILE", value_name = "FILE")]
    pub tls_certificate_file: Option<PathBuf>,
    /// PEM file with the certificate's key.
    #[arg(long, env = "MAILRAIL_TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,
    /// PEM file with certificates, one of which must have signed that of every TLS client [default: clients need none].
    #[arg(long, env = "MAILRAIL_TLS_CLIENT_CA_FILE", value_name = "FILE")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// Make topics that producers name and that do not exist [default: true].
    #[arg(long, env = "MAILRAIL_AUTO_CREATE_TOPICS", value_name = "BOOL")]
    pub auto_create_topics: Option<bool>,
    /// Name of the cluster for RocketMQ clients [default: DefaultCluster].
    #[arg(long, env = "MAILRAIL_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Name of this broker for RocketMQ clients [default: mailrail].
    #[arg(long, env = "MAILRAIL_BROKER_NAME", value_name = "NAME")]
    pub broker_name: Option<String>,
    /// What the delay levels of RocketMQ's producers mean, from level 1 on [default: 1s 5s 10s 30s 1m ... 10m 20m 30m 1h 2h].
    #[arg(long, env = "MAILRAIL_DELAY_LEVELS", value_name = "DELAYS")]
    pub delay_levels: Option<String>,
    /// Size of a log segment in MiB [default: 128].
    #[arg(long, env = "MAILRAIL_SEGMENT_MIB", value_name = "MIB")]
    pub segment_mib: Option<u64>,
    /// Age in hours at which messages of topics that keep what was read go; 0 = none [default: 72].
    #[arg(long, env = "MAILRAIL_RETENTION_HOURS", value_name = "HOURS")]
    pub retention_hours: Option<u64>,
    /// Size of the log in MiB beyond which the oldest of those messages go; 0 = none [default: 0].
    #[arg(long, env = "MAILRAIL_RETENTION_MIB", value_name = "MIB")]
    pub retention_mib: Option<u64>,
    /// Free room on the disk in MiB below which messages are refused; 0 = refuse when it is full [default: 512].
    #[arg(long, env = "MAILRAIL_DISK_FREE_MIB_MIN", value_name = "MIB")]
    pub disk_free_mib_min: Option<u64>,
    /// Memory in MiB that all caches, buffers, publishes and deliveries share [default: 7/8 of the machine's, or of its
    /// control group's limit; at least 224].
    #[arg(long, env = "MAILRAIL_MEMORY_MIB", value_name = "MIB")]
    pub memory_mib: Option<u64>,
    /// Of that, for the newest messages, in MiB [default: a 16th, at most 16].
    #[arg(long, env = "MAILRAIL_CACHE_MIB", value_name = "MIB")]
    pub cache_mib: Option<u64>,
    /// What keeps the checkpoints of the state, sled or redb; after a change they are rebuilt from the log [default: sled].
    #[arg(long, env = "MAILRAIL_STORE_ENGINE", value_name = "ENGINE")]
    pub store_engine: Option<String>,
    /// Most connections at once, all protocols together [default: 10000, or what 3/16 of memory-mib have room for].
    #[arg(long, env = "MAILRAIL_CONNECTIONS_MAX", value_name = "COUNT")]
    pub connections_max: Option<u64>,
    /// Topics that `/metrics` has series of their own for, and pairs of a group and a topic; all others are one more series
    /// [default: 100].
    #[arg(long, env = "MAILRAIL_METRICS_TOPICS_MAX", value_name = "COUNT")]
    pub metrics_topics_max: Option<u64>,
    /// What to log: error, warn, info, debug, or a filter like `mailrail_amqp=debug` [default: info].
    #[arg(long, env = "MAILRAIL_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Log JSON lines [default: false].
    #[arg(long, env = "MAILRAIL_LOG_JSON", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub log_json: Option<bool>,
}

impl ServeFlags {
    /// These settings, and where they say nothing, those of `other`.
    pub fn or(self, other: ServeFlags) -> ServeFlags {
        ServeFlags {
            config: self.config.or(other.config),
            data: self.data.or(other.data),
            http_listen: self.http_listen.or(other.http_listen),
            remoting_listen: self.remoting_listen.or(other.remoting_listen),
            amqp_listen: self.amqp_listen.or(other.amqp_listen),
            advertised_address: self.advertised_address.or(other.advertised_address),
            ready_file: self.ready_file.or(other.ready_file),
            insecure: self.insecure.or(other.insecure),
            admin_user: self.admin_user.or(other.admin_user),
            admin_password_file: self.admin_password_file.or(other.admin_password_file),
            admin_password: self.admin_password.or(other.admin_password),
            secret_key_file: self.secret_key_file.or(other.secret_key_file),
            tls_mode: self.tls_mode.or(other.tls_mode),
            tls_certificate_file: self.tls_certificate_file.or(other.tls_certificate_file),
            tls_key_file: self.tls_key_file.or(other.tls_key_file),
            tls_client_ca_file: self.tls_client_ca_file.or(other.tls_client_ca_file),
            auto_create_topics: self.auto_create_topics.or(other.auto_create_topics),
            cluster_name: self.cluster_name.or(other.cluster_name),
            broker_name: self.broker_name.or(other.broker_name),
            delay_levels: self.delay_levels.or(other.delay_levels),
            segment_mib: self.segment_mib.or(other.segment_mib),
            retention_hours: self.retention_hours.or(other.retention_hours),
            retention_mib: self.retention_mib.or(other.retention_mib),
            disk_free_mib_min: self.disk_free_mib_min.or(other.disk_free_mib_min),
            memory_mib: self.memory_mib.or(other.memory_mib),
            cache_mib: self.cache_mib.or(other.cache_mib),
            store_engine: self.store_engine.or(other.store_engine),
            connections_max: self.connections_max.or(other.connections_max),
            metrics_topics_max: self.metrics_topics_max.or(other.metrics_topics_max),
            log_level: self.log_level.or(other.log_level),
            log_json: self.log_json.or(other.log_json),
        }
    }
}
