//! Brings submitted groups into the page cache: checksums, headers, one vectored write for as many groups as are there.
//! It decides nothing about their content and never syncs, except to make a cut final.
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use crc32c::crc32c_append;

use crate::config::{WRITE_BYTES_MAX, WRITE_PIECES_MAX};
use crate::disk::write_full;
use crate::error::{LogFault, is_full};
use crate::format::{GROUP_HEADER_BYTES, GroupHeader};
use crate::hand::{Batch, Group};
use crate::log::Log;
use crate::planted::{Bug, planted};
use crate::width::{narrow, wide};
use crate::{LogEvents, Position};

/// Zeros behind the last group, up to the end of its page.
static PAGE: [u8; 4096] = [0; 4096];

/// What one step of a log thread did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There was nothing to do.
    Idle,
    /// Something was done; there may be more.
    Worked,
    /// There is work that must wait for a sync.
    Blocked,
    /// There is work that must wait for room on the disk; the same step may succeed later.
    Full,
    /// The log is poisoned; no step will ever do anything.
    Poisoned,
}

/// Writes submitted groups.
#[derive(Debug)]
pub struct Writer {
    pub(crate) log: Arc<Log>,
    batch: Batch,
    /// How many of the batch's groups and pieces are written.
    groups_done: usize,
    pieces_done: usize,
    /// The disk was full at the last write; the space given up then has to be reserved again.
    is_refused: bool,
    /// Kept only for its memory.
    headers: Vec<[u8; GROUP_HEADER_BYTES]>,
}

/// Groups of one segment that one call writes.
struct Run<'a> {
    groups: &'a [Group],
    pieces: &'a [Bytes],
    /// The first of the groups.
    first: &'a Group,
    end: Position,
    sync: bool,
}

impl Writer {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Self {
            log,
            batch: Batch::default(),
            groups_done: 0,
            pieces_done: 0,
            is_refused: false,
            headers: Vec::new(),
        }
    }

    /// Writes some of what was submitted and reports how far it got.
    pub fn step(&mut self, events: &dyn LogEvents) -> Step {
        if self.log.tell_fault(events) {
            return Step::Poisoned;
        }
        if !self.holds_groups() && !self.take_batch() {
            return Step::Idle;
        }
        let Some(run) = next_run(&self.batch, self.groups_done, self.pieces_done) else { return Step::Idle };
        // A segment is whole and synced before the next one gets its first byte.
        let begins = run.first.position == run.first.segment.first_group();
        if begins && self.log.synced() < self.log.written() && !planted(Bug::SegmentBegunEarly) {
            return Step::Blocked;
        }
        let reserved = if self.is_refused { reserve(&self.log, &run) } else { Ok(()) };
        match reserved
            .map_err(|error| (0, error))
            .and_then(|()| write_run(&self.log, &mut self.headers, &run))
        {
            Ok(()) => {
                note_written(&self.log, &run, run.end, run.sync, events);
                self.groups_done += run.groups.len();
                self.pieces_done += run.pieces.len();
                if std::mem::take(&mut self.is_refused) {
                    resume(&self.log);
                }
            }
            Err((written, error)) if is_full(&error) => {
                let whole = refuse(&self.log, &run, written, &error, (self.is_refused, events));
                self.groups_done += whole.len();
                self.pieces_done += whole.iter().map(|group| group.pieces).sum::<usize>();
                self.is_refused = true;
                if !self.log.poisoned() {
                    return Step::Full;
                }
            }
            Err((_, error)) => {
                self.log.poison(LogFault::io("writing to", &run.first.segment.path, &error));
            }
        }
        if self.log.tell_fault(events) { Step::Poisoned } else { Step::Worked }
    }

    /// True while there are groups that it took and has not written.
    pub(crate) fn holds_groups(&self) -> bool {
        self.groups_done < self.batch.groups.len()
    }

    /// Ends all writing because what is left cannot be written for want of room.
    pub(crate) fn give_up(&self) {
        if let Some(run) = next_run(&self.batch, self.groups_done, self.pieces_done) {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            self.log.poison(LogFault::io("writing to", &run.first.segment.path, &full));
        }
    }

    /// Takes all that is queued. The queue keeps the memory of what was written before.
    fn take_batch(&mut self) -> bool {
        self.forget_batch();
        std::mem::swap(&mut self.batch, &mut self.log.hand.lock().queue);
        !self.batch.groups.is_empty()
    }

    fn forget_batch(&mut self) {
        self.batch.clear();
        (self.groups_done, self.pieces_done) = (0, 0);
    }
}

fn next_run(batch: &Batch, groups_done: usize, pieces_done: usize) -> Option<Run<'_>> {
    let groups = batch.groups.get(groups_done..)?;
    let first = groups.first()?;
    let (mut bytes, mut slices, mut count, mut pieces) = (0, 0, 0, 0);
    let (mut end, mut sync) = (first.position, false);
    for group in groups.iter().take_while(|group| Arc::ptr_eq(&group.segment, &first.segment)) {
        let (more_bytes, more_slices) = (group.bytes(), group.pieces + 1);
        if count > 0 && (bytes + more_bytes > WRITE_BYTES_MAX || slices + more_slices > WRITE_PIECES_MAX) {
            break;
        }
        bytes += more_bytes;
        slices += more_slices;
        count += 1;
        pieces += group.pieces;
        end = group.end();
        sync |= group.sync;
    }
    let pieces = batch.pieces.get(pieces_done..pieces_done + pieces)?;
    Some(Run { groups: groups.get(..count)?, pieces, first, end, sync })
}

fn write_run(
    log: &Log,
    headers: &mut Vec<[u8; GROUP_HEADER_BYTES]>,
    run: &Run<'_>,
) -> Result<(), (usize, io::Error)> {
    let synced_to = if planted(Bug::SyncedToTooHigh) { run.end } else { log.synced() };
    headers.clear();
    let mut pieces = run.pieces.iter();
    for group in run.groups {
        let payload_crc = pieces.by_ref().take(group.pieces).fold(0, |sum, piece| crc32c_append(sum, piece));
        let header = GroupHeader {
            seals: group.seals,
            payload_bytes: group.payload_bytes,
            records: group.records,
            epoch: log.epoch,
            position: group.position,
            synced_to,
            prev_group: group.prev_group,
            payload_crc,
        };
        headers.push(header.encode(log.log_id));
    }
    let mut slices = Vec::with_capacity(run.groups.len() + run.pieces.len() + 1);
    let mut pieces = run.pieces.iter();
    for (group, header) in run.groups.iter().zip(headers.iter()) {
        slices.push(IoSlice::new(header));
        slices.extend(pieces.by_ref().take(group.pieces).map(|piece| IoSlice::new(piece)));
    }
    // Whole pages need not be read first where the file holds something already.
    let pad = run.end.next_multiple_of(wide(PAGE.len())) - run.end;
    slices.push(IoSlice::new(PAGE.get(..narrow(pad)).unwrap_or_default()));
    let segment = &run.first.segment;
    let file = segment.file(&*log.disk).map_err(|error| (0, error))?;
    match write_full(&*file, &mut slices, run.first.position - segment.base) {
        // What is missing is only for speed.
        Err((written, error)) if is_full(&error) && wide(written) >= run.end - run.first.position => Ok(()),
        result => result,
    }
}

fn note_written(log: &Log, run: &Run<'_>, to: Position, sync: bool, events: &dyn LogEvents) {
    log.written.store(to, Ordering::Release);
    let mut hand = log.hand.lock();
    hand.note_written(&run.first.segment, to, sync);
    if hand.has_files_to_keep() {
        log.hand.unlock_and_wake_keeper(hand);
    } else {
        drop(hand);
    }
    events.written(to);
}

/// The disk is full although the space was reserved, as copy-on-write file systems can have it. The groups that got
/// through whole stay; the rest is cut off, durably, so that no old byte can later be taken for a group, and is written
/// again, at the same positions, once there is room. Until then the log takes nothing more. Returns the whole groups.
fn refuse<'a>(
    log: &Log,
    run: &Run<'a>,
    written: usize,
    error: &io::Error,
    (is_told, events): (bool, &dyn LogEvents),
) -> &'a [Group] {
    let segment = &run.first.segment;
    let reached = run.first.position + wide(written);
    let count = run.groups.iter().take_while(|group| group.end() <= reached).count();
    let whole = run.groups.get(..count).unwrap_or_default();
    let from = whole.last().map_or(run.first.position, Group::end);
    if is_told && whole.is_empty() && written == 0 {
        return whole;
    }
    let cut = segment.file(&*log.disk).and_then(|file| {
        file.truncate(from - segment.base)?;
        file.sync_data()
    });
    if let Err(error) = cut {
        log.poison(LogFault::io("cutting back", &segment.path, &error));
        return whole;
    }
    log.hand.lock().refused_from = Some(from);
    log.halted.store(true, Ordering::Release);
    if from > run.first.position {
        note_written(log, run, from, true, events);
    }
    if !is_told {
        let fault = LogFault::io("writing to", &segment.path, error);
        tracing::warn!(from, %fault, "the disk is full: nothing is taken until there is room");
        events.refused(from, &fault);
    }
    whole
}

/// Reserves again what was given up when the disk was full.
fn reserve(log: &Log, run: &Run<'_>) -> io::Result<()> {
    let segment = &run.first.segment;
    segment.file(&*log.disk)?.allocate(segment.bytes())
}

/// There is room again: the log takes records as before.
fn resume(log: &Log) {
    tracing::info!("the disk has room again");
    log.hand.lock().refused_from = None;
    log.halted.store(log.poisoned(), Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::SegmentHeader;
    use crate::segment::Segment;

    /// How many groups one write takes of these, which are told by their bytes and pieces.
    fn taken(groups: &[(usize, usize)]) -> usize {
        let header = SegmentHeader { log_id: 1, base: 0, segment_bytes: 1 << 30, epoch: 1, recycled: false };
        let segment = Arc::new(Segment::new(&header, "a".into(), None));
        let mut batch = Batch::default();
        for &(bytes, pieces) in groups {
            batch.groups.push(Group {
                segment: segment.clone(),
                position: 0,
                prev_group: 0,
                payload_bytes: (bytes - GROUP_HEADER_BYTES).try_into().unwrap(),
                records: 1,
                pieces,
                seals: false,
                sync: false,
            });
            batch.pieces.extend((0..pieces).map(|_| Bytes::new()));
        }
        next_run(&batch, 0, 0).unwrap().groups.len()
    }

    #[test]
    fn one_write_takes_so_many_bytes_and_one_group_always() {
        let half = WRITE_BYTES_MAX / 2;
        assert_eq!(taken(&[(half, 1), (half, 1)]), 2);
        assert_eq!(taken(&[(half, 1), (half + 1, 1)]), 1);
        assert_eq!(taken(&[(WRITE_BYTES_MAX + 1, 1), (half, 1)]), 1);
    }

    #[test]
    fn one_write_takes_so_many_pieces_with_the_headers() {
        let headers = 2;
        assert_eq!(taken(&[(1_000, 500), (1_000, WRITE_PIECES_MAX - 500 - headers)]), 2);
        assert_eq!(taken(&[(1_000, 500), (1_000, WRITE_PIECES_MAX - 500 - headers + 1)]), 1);
        assert_eq!(taken(&[(1_000, WRITE_PIECES_MAX), (1_000, 1)]), 1);
    }
}
