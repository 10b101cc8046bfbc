//! What the parts of one log share: the segments, how far it is written and synced, whether it is poisoned. The
//! hand-over between the threads is in `hand`, the segment that is held ready in `spare`.
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use crate::cache::Cache;
use crate::disk::Disk;
use crate::error::LogFault;
use crate::hand::HandOver;
use crate::kept::KeptFiles;
use crate::segment::Segment;
use crate::spare::Spare;
use crate::{LogConfig, LogEvents, Position};

/// Shared by appender, writer, syncer and readers of one log.
pub(crate) struct Log {
    pub disk: Arc<dyn Disk>,
    /// The folder with the segment files.
    pub dir: PathBuf,
    pub config: LogConfig,
    pub log_id: u64,
    pub epoch: u64,
    /// In order, without gaps. Only the appender changes it.
    pub segments: ArcSwap<Vec<Arc<Segment>>>,
    /// What is left of positions below the start, in order.
    pub kept: ArcSwap<KeptFiles>,
    /// Held while a kept file is made.
    pub keeping: Mutex<()>,
    pub cache: Cache,
    pub hand: HandOver,
    /// Lowest position that is still held.
    pub start: AtomicU64,
    /// End of what is in the page cache: a reader may read below it.
    pub written: AtomicU64,
    /// End of what is on the disk.
    pub synced: AtomicU64,
    /// Nothing is taken at present: poisoned, or refused and not resumed.
    pub halted: AtomicBool,
    pub fault: OnceLock<LogFault>,
    pub fault_told: AtomicBool,
    pub spare: Mutex<Spare>,
    /// Files are overwritten where they lie: it pays to fill segments ahead and to use files again.
    pub overwrites: bool,
}

impl Log {
    pub fn written(&self) -> Position {
        self.written.load(Ordering::Acquire)
    }

    pub fn synced(&self) -> Position {
        self.synced.load(Ordering::Acquire)
    }

    pub fn poisoned(&self) -> bool {
        self.fault.get().is_some()
    }

    /// Ends all writing. The first fault stays; a log thread tells it at its next step.
    pub fn poison(&self, fault: LogFault) {
        tracing::error!(%fault, "the log is read-only from now on");
        let _ = self.fault.set(fault);
        self.halted.store(true, Ordering::Release);
        self.hand.wake_all();
    }

    /// Reports the fault, if there is one, the first time that this is called after it.
    pub fn tell_fault(&self, events: &dyn LogEvents) -> bool {
        let Some(fault) = self.fault.get() else { return false };
        if !self.fault_told.swap(true, Ordering::Relaxed) {
            events.poisoned(fault);
        }
        true
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (written, synced) = (self.written(), self.synced());
        write!(f, "Log({}, epoch {}, written {written}, synced {synced})", self.dir.display(), self.epoch)
    }
}

/// Locks, also after another holder panicked: what the log's locks guard is whole between any two statements, and a
/// thread that panics poisons the log in its own way.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
