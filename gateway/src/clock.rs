//! The system's clocks, and the number of its current boot.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mailrail_broker::{Clock, Now};

/// Reads both clocks of the system.
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub fn start() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { wall_ms: since_epoch.as_millis().try_into().unwrap_or(u64::MAX), mono: self.start.elapsed() }
    }
}

/// Changes with every start of the operating system. Where the system does not tell, every start of the broker counts
/// as one: then offsets may be skipped that need not be, but none is used twice.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_else(
        |_| {
            let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("unknown-{}-{}", std::process::id(), started.as_nanos())
        },
    )
}
