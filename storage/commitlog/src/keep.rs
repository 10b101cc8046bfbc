//! Keeps the segment files: prepares the next one, removes trimmed ones. Both can take tens of milliseconds, so that
//! neither writes nor syncs may wait for them.
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::error::{AppendError, LogFault, is_broken};
use crate::log::Log;
use crate::segment::{Segment, trimmed_file_name};

/// Most bytes of a trimmed file that are given back at once.
const REMOVED_BYTES_MAX: u64 = 8 << 20;

#[derive(Debug)]
pub(crate) struct Keeper {
    pub log: Arc<Log>,
    /// Trimmed and still to be removed, lowest first.
    removals: VecDeque<Arc<Segment>>,
}

impl Keeper {
    pub fn new(log: Arc<Log>) -> Self {
        Self { log, removals: VecDeque::new() }
    }

    /// Does all there is to do; false when that was nothing.
    pub fn step(&mut self) -> bool {
        let mut hand = self.log.hand.lock();
        let wanted = std::mem::take(&mut hand.spare_wanted);
        let removals = hand.take_removals();
        drop(hand);
        let removed = !removals.is_empty();
        if wanted {
            self.prepare();
        }
        if removed {
            self.removals.extend(removals);
            self.remove();
        }
        wanted || removed
    }

    fn prepare(&self) {
        match self.log.prepare_spare() {
            Ok(()) | Err(AppendError::Poisoned(_)) => {}
            // The appender tries again when it needs the segment, and tells its caller if that fails too.
            Err(error) => tracing::warn!(%error, "the next log segment is not ready"),
        }
    }

    /// Lowest first, each gone durably before the next, so that whatever a power cut leaves has no gap. One that can't
    /// be removed is tried again together with the next that is trimmed.
    fn remove(&mut self) {
        while let Some(segment) = self.removals.front()
            && !self.log.poisoned()
        {
            segment.close();
            if let Err(error) = self.remove_one(segment) {
                self.not_removed(segment, &error);
                return;
            }
            self.removals.pop_front();
        }
    }

    /// Under another name the file is no segment any more, and can be given back in parts: a large file that goes at
    /// once holds up the file system's journal, and with it every sync, for tens of milliseconds.
    fn remove_one(&self, segment: &Segment) -> io::Result<()> {
        let disk = &*self.log.disk;
        let trimmed = self.log.dir.join(trimmed_file_name(segment.base));
        match disk.rename(&segment.path, &trimmed) {
            // An attempt before this one got further than that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        disk.sync_dir(&self.log.dir)?;
        let file = disk.open(&trimmed)?;
        let mut left = segment.bytes();
        while left > 0 {
            left = left.saturating_sub(REMOVED_BYTES_MAX);
            file.truncate(left)?;
        }
        disk.remove(&trimmed)
    }

    fn not_removed(&self, segment: &Segment, error: &io::Error) {
        if is_broken(error) {
            self.log.poison(LogFault::io("removing", &segment.path, error));
        } else {
            tracing::warn!(file = %segment.path.display(), %error, "a trimmed segment was not removed");
        }
    }
}
