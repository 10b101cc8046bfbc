//! Makes written groups durable, and does what else may take long: preparing the next segment, removing trimmed ones.
//! A sync that failed is never repeated.
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::LogEvents;
use crate::error::{AppendError, LogFault, is_broken};
use crate::format::Mark;
use crate::log::Log;
use crate::segment::Segment;
use crate::write::Step;

/// Syncs written groups, prepares segments, removes trimmed ones.
#[derive(Debug)]
pub struct Syncer {
    pub(crate) log: Arc<Log>,
    /// Trimmed and still to be removed, lowest first.
    removals: VecDeque<Arc<Segment>>,
}

impl Syncer {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { log, removals: VecDeque::new() }
    }

    /// Syncs everything written before this call, prepares the next segment if it is not ready, and removes what was
    /// trimmed. When to call it is the caller's matter: a step syncs even if nobody asked.
    pub fn step(&mut self, events: &dyn LogEvents) -> Step {
        if self.log.tell_fault(events) {
            return Step::Poisoned;
        }
        let synced = self.sync(events);
        let prepared = self.prepare();
        let removed = self.remove();
        if self.log.tell_fault(events) {
            return Step::Poisoned;
        }
        if synced || prepared || removed { Step::Worked } else { Step::Idle }
    }

    fn sync(&self, events: &dyn LogEvents) -> bool {
        let hand = self.log.hand.lock();
        let to = hand.written;
        let Some(segment) = hand.unsynced.clone().filter(|_| to > hand.synced) else { return false };
        drop(hand);
        if let Err(error) = segment.file(&*self.log.disk).and_then(|file| file.sync_data()) {
            self.log.poison(LogFault::io("syncing", &segment.path, &error));
            return true;
        }
        self.log.synced.store(to, Ordering::Release);
        let mut hand = self.log.hand.lock();
        hand.note_synced(to);
        // The writer may have waited for this to begin a segment.
        self.log.hand.unlock_and_wake_writer(hand);
        events.synced(to);
        true
    }

    fn prepare(&self) -> bool {
        if !std::mem::take(&mut self.log.hand.lock().spare_wanted) {
            return false;
        }
        match self.log.prepare_spare() {
            Ok(()) | Err(AppendError::Poisoned(_)) => {}
            // The appender tries again when it needs the segment, and tells its caller if that fails too.
            Err(error) => tracing::warn!(%error, "the next log segment is not ready"),
        }
        true
    }

    /// Lowest first, each made durable before the next, so that whatever a power cut leaves has no gap. One that can't
    /// be removed is tried again together with the next that is trimmed.
    fn remove(&mut self) -> bool {
        let more = std::mem::take(&mut self.log.hand.lock().removals);
        if more.is_empty() {
            return false;
        }
        self.removals.extend(more);
        while let Some(segment) = self.removals.front() {
            segment.close();
            let disk = &*self.log.disk;
            if let Err(error) = disk.remove(&segment.path).and_then(|()| disk.sync_dir(&self.log.dir)) {
                self.not_removed(segment, &error);
                break;
            }
            self.removals.pop_front();
        }
        true
    }

    fn not_removed(&self, segment: &Segment, error: &io::Error) {
        if is_broken(error) {
            self.log.poison(LogFault::io("removing", &segment.path, error));
        } else {
            tracing::warn!(file = %segment.path.display(), %error, "a trimmed segment was not removed");
        }
    }

    /// Notes in the log that all of it is synced, so that damage found later is told from a torn tail.
    pub(crate) fn close(&self) {
        let segments = self.log.segments.load();
        let mark = Mark { synced_to: self.log.synced(), epoch: self.log.epoch };
        if let Some(last) = segments.iter().rfind(|segment| segment.base < mark.synced_to)
            && !self.log.poisoned()
            && let Err(error) = last.write_mark(&*self.log.disk, self.log.log_id, mark)
        {
            self.log.poison(LogFault::io("marking the end in", &last.path, &error));
        }
    }
}
