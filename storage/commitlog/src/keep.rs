//! Keeps the segment files: prepares the next one, removes trimmed ones, and watches the room on the disk. That can take
//! tens of milliseconds, so that neither writes nor syncs may wait for it.
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::LogEvents;
use crate::disk::Disk;
use crate::error::{AppendError, LogFault, is_broken};
use crate::log::Log;
use crate::planted::{Bug, planted};
use crate::segment::{Segment, trimmed_file_name};

/// Most bytes of a trimmed file that are given back at once.
const REMOVED_BYTES_MAX: u64 = 8 << 20;

#[derive(Debug)]
pub(crate) struct Keeper {
    pub log: Arc<Log>,
    /// Trimmed and still to be removed, lowest first.
    removals: VecDeque<Arc<Segment>>,
    is_short: bool,
}

impl Keeper {
    pub fn new(log: Arc<Log>) -> Self {
        Self { log, removals: VecDeque::new(), is_short: false }
    }

    /// Does all there is to do; false when that was nothing.
    pub fn step(&mut self, events: &dyn LogEvents) -> bool {
        let mut hand = self.log.hand.lock();
        let wanted = std::mem::take(&mut hand.spare_wanted);
        let fills = wanted || hand.fills();
        let removals = hand.take_removals();
        drop(hand);
        let removed = !removals.is_empty();
        if wanted {
            self.prepare();
        }
        if fills {
            let next = self.log.fill_spare();
            self.log.hand.lock().fill_from = next;
        }
        if removed {
            self.removals.extend(removals);
            self.remove();
        }
        let looked = self.look_for_room(wanted || removed, events);
        fills || removed || looked
    }

    /// True while there is too little room, which comes back without anything being done here.
    pub fn is_short(&self) -> bool {
        self.is_short
    }

    /// Looks how much room there is, if that may have changed; true when something was told.
    fn look_for_room(&mut self, has_changed: bool, events: &dyn LogEvents) -> bool {
        let min = self.log.config.free_bytes_min;
        if min == 0 || !(has_changed || self.is_short) {
            return false;
        }
        let free = match self.log.disk.free_bytes(&self.log.dir) {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(%error, "how much of the disk is free is not known");
                return false;
            }
        };
        // A little more than the least ends it, so that it does not begin again at once.
        let is_short = free < if self.is_short { min + min / 8 } else { min };
        if is_short == self.is_short {
            return false;
        }
        self.is_short = is_short;
        if is_short {
            self.remove_used();
            tracing::warn!(free, min, "the disk is nearly full");
        } else {
            tracing::info!(free, min, "the disk has room again");
        }
        events.short_of_room(is_short);
        true
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
        while let Some(segment) = self.removals.front_mut()
            && !self.log.poisoned()
        {
            segment.close();
            let is_free = Arc::get_mut(segment).is_some_and(Segment::close_for_good);
            if let Err(error) = remove_one(&self.log, segment, is_free && !self.is_short) {
                not_removed(&self.log, &segment.path, &error);
                return;
            }
            self.removals.pop_front();
        }
    }

    /// Gives back the files that were kept to be used again.
    fn remove_used(&self) {
        for path in self.log.take_used() {
            // The next open removes what stays.
            let _ = give_back(&*self.log.disk, &path, self.log.config.segment_bytes);
        }
    }
}

/// Under another name the file is no segment any more, and can be used again, or given back.
fn remove_one(log: &Log, segment: &Segment, is_free: bool) -> io::Result<()> {
    let trimmed = log.dir.join(trimmed_file_name(segment.base));
    match log.disk.rename(&segment.path, &trimmed) {
        // An attempt before this one got further than that.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    if !planted(Bug::OldNameNotSynced) {
        log.disk.sync_dir(&log.dir)?;
    }
    if is_free && log.keep_used(segment, trimmed.clone()) {
        return Ok(());
    }
    give_back(&*log.disk, &trimmed, segment.bytes())
}

/// In parts: a large file that goes at once holds up the file system's journal, and with it every sync, for tens of
/// milliseconds.
fn give_back(disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<()> {
    let file = disk.open(path)?;
    let mut left = bytes;
    while left > 0 {
        left = left.saturating_sub(REMOVED_BYTES_MAX);
        file.truncate(left)?;
    }
    disk.remove(path)
}

fn not_removed(log: &Log, path: &Path, error: &io::Error) {
    if is_broken(error) {
        log.poison(LogFault::io("removing", path, error));
    } else {
        tracing::warn!(file = %path.display(), %error, "a trimmed segment was not removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FaultDisk;

    #[test]
    fn a_file_goes_in_parts_of_so_many_bytes() {
        let disk = FaultDisk::new(1);
        let path = Path::new("/file");
        for (bytes, parts) in [(REMOVED_BYTES_MAX, 1), (REMOVED_BYTES_MAX + 1, 2), (3 * REMOVED_BYTES_MAX, 3)]
        {
            disk.create(path).unwrap().allocate(bytes).unwrap();
            let before = disk.changes();
            give_back(&disk, path, bytes).unwrap();
            assert_eq!(disk.changes() - before, parts + 1, "the parts of {bytes} bytes, and the name");
            assert_eq!(disk.paths(), [""; 0].map(Path::new));
        }
    }
}
