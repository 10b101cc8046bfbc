//! The segment that will be used next: made ahead, so that a full disk shows before anything depends on it, of a trimmed
//! file where there is one, and else, by a log of small syncs, with zeros written ahead. Into blocks that were written
//! before, a group can be synced without the file system having to record anything but its bytes.
use std::path::PathBuf;
use std::sync::Arc;

use crate::Position;
use crate::error::{AppendError, LogFault, is_broken, is_full};
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::{Log, locked};
use crate::segment::{self, MakeError, Segment};
use crate::width::wide;

/// Bytes of zeros that are written at once: a sync waits for them.
const FILL_BYTES: u64 = 256 << 10;
/// Nothing is filled where a sync writes more than this on the average: what the file system records besides is
/// little then, and the zeros keep the disk from writing what counts.
const SMALL_SYNC_BYTES: u64 = 16 << 10;
/// Trimmed files that are kept to make segments of; together with the ready segment they are what a log holds too much.
const USED_FILES_MAX: usize = 1;

/// The next segment and what later ones can be made of.
#[derive(Debug)]
pub(crate) struct Spare {
    next_base: Position,
    ready: Option<Arc<Segment>>,
    /// How much of the ready segment's file is written, or stays as it is.
    filled: u64,
    /// Files of trimmed segments, of the right length, under names that mean nothing.
    used: Vec<PathBuf>,
}

impl Spare {
    pub fn new(next_base: Position) -> Self {
        Self { next_base, ready: None, filled: 0, used: Vec::new() }
    }

    fn keep_used(&mut self, path: PathBuf) -> bool {
        let is_wanted = self.used.len() < USED_FILES_MAX;
        if is_wanted {
            self.used.push(path);
        }
        is_wanted
    }

    /// How far the log must be written for the next part to be filled: twice as much is filled as is written of the
    /// segment before, so that a log at rest writes nothing, and a busy one is always ahead.
    fn fill_from(&self) -> Option<Position> {
        let ready = self.ready.as_ref().filter(|ready| self.filled < ready.bytes())?;
        Some(ready.base.saturating_sub(ready.bytes()) + self.filled / 2)
    }
}

impl Log {
    /// Makes the next segment unless it is ready.
    pub fn prepare_spare(&self) -> Result<(), AppendError> {
        let mut spare = locked(&self.spare);
        if spare.ready.is_none() {
            let made = self.make_segment(&mut spare)?;
            let has_written_blocks = made.recycled || !self.overwrites;
            spare.filled = if has_written_blocks { made.bytes() } else { wide(SEGMENT_HEADER_BYTES) };
            spare.ready = Some(made);
        }
        Ok(())
    }

    /// The next segment, made now if the background was not quick enough or had no space when it tried.
    pub fn take_spare(&self) -> Result<Arc<Segment>, AppendError> {
        let mut spare = locked(&self.spare);
        let taken = match spare.ready.take() {
            Some(ready) => ready,
            None => self.make_segment(&mut spare)?,
        };
        spare.next_base = taken.end;
        Ok(taken)
    }

    /// Fills a part of the next segment, or leaves it as it is, if it is time; returns how far the log must be written for
    /// another one. It holds the segment back while it writes, since nobody else may write there.
    pub fn fill_spare(&self) -> Option<Position> {
        let mut spare = locked(&self.spare);
        let (from, ready) = (spare.fill_from()?, spare.ready.clone()?);
        if self.written() < from {
            return Some(from);
        }
        let part = spare.filled..ready.bytes().min(spare.filled + FILL_BYTES);
        let is_worth_it = self.hand.lock().sync_bytes <= SMALL_SYNC_BYTES;
        let filled = if is_worth_it { self.disk.fill(&ready.path, part.clone()) } else { Ok(()) };
        spare.filled = match filled {
            Ok(()) => part.end,
            Err(error) => {
                // The segment is as good without.
                tracing::warn!(file = %ready.path.display(), %error, "the next log segment is not filled");
                ready.bytes()
            }
        };
        spare.fill_from()
    }

    /// Keeps a trimmed segment's file, which nobody else uses, to make another of; false when it is not wanted.
    pub fn keep_used(&self, segment: &Segment, path: PathBuf) -> bool {
        let is_fit = self.overwrites && segment.bytes() == self.config.segment_bytes;
        is_fit && locked(&self.spare).keep_used(path)
    }

    /// The files that were kept by [`Log::keep_used`], which now go.
    pub fn take_used(&self) -> Vec<PathBuf> {
        std::mem::take(&mut locked(&self.spare).used)
    }

    fn make_segment(&self, spare: &mut Spare) -> Result<Arc<Segment>, AppendError> {
        if let Some(fault) = self.fault.get() {
            return Err(AppendError::Poisoned(fault.clone()));
        }
        let used = spare.used.pop();
        let header = SegmentHeader {
            log_id: self.log_id,
            base: spare.next_base,
            segment_bytes: self.config.segment_bytes,
            epoch: self.epoch,
            recycled: used.is_some(),
        };
        match segment::make(&*self.disk, &self.dir, &header, used.as_deref()) {
            Ok((path, file)) => Ok(Arc::new(Segment::new(&header, path, Some(file)))),
            Err(MakeError::Before(error) | MakeError::Sync(error)) if is_full(&error) => {
                Err(AppendError::NoSpace { why: error.to_string() })
            }
            Err(MakeError::Before(error)) if !is_broken(&error) => {
                Err(AppendError::NoSegment { why: error.to_string() })
            }
            Err(MakeError::Before(error) | MakeError::Sync(error)) => {
                let fault = LogFault::io("making the next segment in", &self.dir, &error);
                self.poison(fault.clone());
                Err(AppendError::Poisoned(fault))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_one_trimmed_file_is_kept() {
        let mut spare = Spare::new(0);
        for (number, is_kept) in [(0, true), (1, false)] {
            assert_eq!(spare.keep_used(format!("{number}").into()), is_kept);
        }
        assert_eq!(spare.used.len(), USED_FILES_MAX);
    }
}
