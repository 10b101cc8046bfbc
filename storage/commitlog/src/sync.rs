//! Makes written groups durable. A sync that failed is never repeated.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::LogEvents;
use crate::error::LogFault;
use crate::format::Mark;
use crate::keep::Keeper;
use crate::log::Log;
use crate::planted::{Bug, planted};
use crate::write::Step;

/// Syncs written groups, prepares segments, removes trimmed ones.
#[derive(Debug)]
pub struct Syncer {
    pub(crate) log: Arc<Log>,
    pub(crate) keeper: Keeper,
}

impl Syncer {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self { keeper: Keeper::new(Arc::clone(&log)), log }
    }

    /// Syncs everything written before this call, prepares the next segment if it is not ready, and removes what was
    /// trimmed. When to call it is the caller's matter: a step syncs even if nobody asked.
    pub fn step(&mut self, events: &dyn LogEvents) -> Step {
        let synced = self.sync(events);
        if synced == Step::Poisoned {
            return synced;
        }
        match self.keep(events) {
            Step::Idle => synced,
            kept => kept,
        }
    }

    /// The first half of [`Syncer::step`].
    pub fn sync(&mut self, events: &dyn LogEvents) -> Step {
        sync(&self.log, events)
    }

    /// The second half of [`Syncer::step`]: what is done to segments as a whole.
    pub fn keep(&mut self, events: &dyn LogEvents) -> Step {
        let kept = self.keeper.step(events);
        if self.log.tell_fault(events) {
            return Step::Poisoned;
        }
        if kept { Step::Worked } else { Step::Idle }
    }
}

/// Syncs everything written before this call and tells it.
pub(crate) fn sync(log: &Log, events: &dyn LogEvents) -> Step {
    if log.tell_fault(events) {
        return Step::Poisoned;
    }
    let hand = log.hand.lock();
    let to = hand.written;
    let Some(segment) = hand.unsynced.clone().filter(|_| to > hand.synced) else { return Step::Idle };
    drop(hand);
    let synced = segment
        .file(&*log.disk)
        .and_then(|file| if planted(Bug::SkippedSync) { Ok(()) } else { file.sync_data() });
    if let Err(error) =
        synced.or_else(|error| if planted(Bug::FailedSyncCounts) { Ok(()) } else { Err(error) })
    {
        log.poison(LogFault::io("syncing", &segment.path, &error));
        log.tell_fault(events);
        return Step::Poisoned;
    }
    log.synced.store(to, Ordering::Release);
    log.hand.lock().note_synced(to);
    events.synced(to);
    Step::Worked
}

/// Notes in the log that all of it is synced, so that damage found later is told from a torn tail.
pub(crate) fn close(log: &Log, events: &dyn LogEvents) {
    let segments = log.segments.load();
    let mark = Mark { synced_to: log.synced(), epoch: log.epoch };
    if let Some(last) = segments.iter().rfind(|segment| segment.base < mark.synced_to)
        && !log.poisoned()
        && let Err(error) = last.write_mark(&*log.disk, log.log_id, mark)
    {
        log.poison(LogFault::io("marking the end in", &last.path, &error));
    }
    log.tell_fault(events);
}
