//! What this process has cost between two moments, and what it holds, as /proc tells.
use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::allocations;

/// proc(5): USER_HZ.
const TICKS_PER_S: f64 = 100.0;

/// Totals at one moment.
pub struct Moment {
    at: Instant,
    cpu_s: f64,
    voluntary_switches: u64,
    allocations: u64,
}

impl Moment {
    pub fn now() -> Moment {
        Moment {
            at: Instant::now(),
            cpu_s: cpu_s(),
            voluntary_switches: voluntary_switches(),
            allocations: allocations::count(),
        }
    }

    pub fn seconds(&self) -> f64 {
        self.at.elapsed().as_secs_f64()
    }

    /// What so many messages have cost since then.
    pub fn report(&self, messages: u64) -> Value {
        let end = Moment::now();
        let seconds = end.at.duration_since(self.at).as_secs_f64();
        let each = messages.max(1) as f64;
        json!({
            "messages": messages,
            "seconds": seconds,
            "rate": messages as f64 / seconds,
            "cpu_us": (end.cpu_s - self.cpu_s) * 1e6 / each,
            "switches": (end.voluntary_switches - self.voluntary_switches) as f64 / each,
            "allocations": (end.allocations - self.allocations) as f64 / each,
            "high_mib": status_kib("VmHWM") as f64 / 1024.0,
        })
    }
}

/// A line of this process's status, in KiB.
pub fn status_kib(name: &str) -> u64 {
    field(&fs::read_to_string("/proc/self/status").unwrap_or_default(), name)
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_S
}

fn voluntary_switches() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    statuses.map(|status| field(&status, "voluntary_ctxt_switches")).sum()
}
