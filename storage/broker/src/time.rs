//! Time comes in as an argument. Nothing in this crate reads a clock but through a [`Clock`] that the caller supplies.

use std::time::Duration;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of the Unix epoch; may jump. Store times and due times use it.
    pub wall_ms: u64,
    /// Since some fixed instant of this process; never goes back. Leases and waits use it.
    pub mono: Duration,
}

/// Where the broker's threads take the time from.
pub trait Clock: Send + Sync {
    fn now(&self) -> Now;
}
