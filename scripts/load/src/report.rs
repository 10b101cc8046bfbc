//! One run in figures: a readable line for people, one JSON object for scripts.
use std::fmt;

use serde::Serialize;

use crate::drive::Measured;
use crate::settings::Settings;

const KIB_PER_MIB: f64 = 1024.0;

/// Rates are messages per second; `_us` are microseconds; CPU is user and system time.
#[derive(Debug, Serialize)]
pub struct Report {
    work: String,
    durability: String,
    connections: usize,
    window: usize,
    size: usize,
    batch: usize,
    offered_per_s: Option<f64>,
    seconds: f64,
    messages: u64,
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    server: Option<Server>,
    generator_cpu_us: f64,
    /// Cores busy with neither server nor generator: above 0.3 the run was disturbed.
    others_cores: Option<f64>,
}

/// Costs per message, memory in MiB.
#[derive(Debug, Serialize)]
struct Server {
    cpu_us: f64,
    cores: f64,
    rss_mib: f64,
    hwm_mib: f64,
    voluntary_switches: f64,
    involuntary_switches: f64,
}

impl Report {
    pub fn new(settings: &Settings, measured: &Measured) -> Self {
        let messages = measured.messages.max(1) as f64;
        let server = measured.server.map(|(begin, end)| Server {
            cpu_us: (end.cpu_us - begin.cpu_us) / messages,
            cores: (end.cpu_us - begin.cpu_us) / 1e6 / measured.seconds,
            rss_mib: end.resident_kib as f64 / KIB_PER_MIB,
            hwm_mib: end.resident_kib_high as f64 / KIB_PER_MIB,
            voluntary_switches: end.voluntary_switches.saturating_sub(begin.voluntary_switches) as f64
                / messages,
            involuntary_switches: end.involuntary_switches.saturating_sub(begin.involuntary_switches) as f64
                / messages,
        });
        let others_cores = server.as_ref().map(|server| {
            (measured.machine_busy_us - measured.generator_cpu_us) / 1e6 / measured.seconds - server.cores
        });
        Self {
            work: format!("{:?}", settings.work),
            durability: format!("{:?}", settings.durability),
            connections: settings.connections,
            window: settings.window,
            size: settings.size,
            batch: settings.batch,
            offered_per_s: settings.rate,
            seconds: measured.seconds,
            messages: measured.messages,
            rate: messages / measured.seconds,
            p50_us: measured.latencies.quantile_us(0.5),
            p99_us: measured.latencies.quantile_us(0.99),
            max_us: measured.latencies.max_us(),
            server,
            generator_cpu_us: measured.generator_cpu_us / messages,
            others_cores,
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts always serialise")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}x{} {} B x {}: {:.0} msg/s, p50 {:.0} us, p99 {:.0} us, generator {:.2} us/msg",
            self.work,
            self.connections,
            self.window,
            self.size,
            self.batch,
            self.rate,
            self.p50_us,
            self.p99_us,
            self.generator_cpu_us
        )?;
        if let Some(server) = &self.server {
            write!(
                f,
                ", server {:.2} us/msg ({:.2} cores), RSS {:.1} (high {:.1}) MiB, switches/msg {:.3} + {:.3}",
                server.cpu_us,
                server.cores,
                server.rss_mib,
                server.hwm_mib,
                server.voluntary_switches,
                server.involuntary_switches
            )?;
        }
        if let Some(cores) = self.others_cores {
            write!(f, ", others {cores:.2} cores")?;
        }
        Ok(())
    }
}
