//! Giving space back: what retention lets go, what is left of the log's oldest parts, and the copying of that into kept
//! files. Runs on a reader's thread, from a picture of the state that is durable; the shard decides when, and trims.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use mailrail_commitlog::planted::{Bug, planted};
use mailrail_commitlog::{Extent, Position, Visitor, record};
use mailrail_message::{StoredMessage, Target};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::ids::QueueId;
use crate::queue::{IndexError, Queue};
use crate::reader::ReadContext;
use crate::record::{Change, kind};
use crate::schedule::{Region, Timer, TimerKey};
use crate::settings::Retention;

/// How long and how much is retained of topics that keep messages whoever has read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Messages older than this go; `None` = no age is too old.
    pub age: Option<Duration>,
    /// The oldest messages go while the log without its newest segment takes more bytes of the disk; `None` = it may
    /// take what there is.
    pub bytes: Option<u64>,
}

/// Offsets from one to another, the latter not included.
pub(crate) type Run = (u64, u64);

/// What no longer has to be kept of topics that retain by time and size.
#[derive(Debug)]
pub(crate) struct Expiry {
    /// Store times below go.
    pub before_ms: Option<u64>,
    /// So do log positions below this.
    pub before: Position,
    /// And the oldest parts of the log beyond so many bytes.
    pub bytes_max: Option<u64>,
}

/// Queues and their new first offsets.
pub(crate) type Expired = Result<Vec<(QueueId, u64)>, String>;

impl Default for RetentionPolicy {
    /// Three days, as RocketMQ.
    fn default() -> Self {
        RetentionPolicy { age: Some(Duration::from_secs(72 * 60 * 60)), bytes: None }
    }
}

impl Expiry {
    pub fn find(&self, context: &ReadContext) -> Expired {
        let before = self.before.max(self.bytes_max.map_or(0, |max| oversize(&context.log.extents(), max)));
        let mut expired = Vec::new();
        for topic in context.directory.topics_and_lites() {
            if topic.settings().retention != Retention::TimeSize {
                continue;
            }
            for queue in topic.queues().iter() {
                let first = self.first_retained(queue, before, context).map_err(|error| error.to_string())?;
                if first > queue.min_offset() {
                    expired.push((queue.id, first));
                }
            }
        }
        Ok(expired)
    }

    fn first_retained(
        &self,
        queue: &Queue,
        before: Position,
        context: &ReadContext,
    ) -> Result<u64, IndexError> {
        let min = queue.min_offset();
        let young = match self.before_ms {
            Some(time) if queue.store_ms_about(min) < time => queue.offset_at(time, &context.blocks)?,
            _ => min,
        };
        let behind = if before > 0 { queue.offset_at_position(before, &context.blocks)? } else { min };
        Ok(young.max(behind))
    }
}

/// Where the oldest parts end that must go for the log to have at most `bytes_max`.
fn oversize(extents: &[Extent], bytes_max: u64) -> Position {
    let mut left: u64 = extents.iter().map(|extent| extent.bytes).sum();
    let mut to = 0;
    for extent in extents {
        if left <= bytes_max {
            break;
        }
        left -= extent.bytes;
        to = extent.positions.end;
    }
    to
}

/// A queue with the offsets that must still be found.
#[derive(Debug)]
pub(crate) struct LiveQueue {
    pub queue: Arc<Queue>,
    pub runs: Vec<Run>,
}

/// What is live, as the synced log has it.
#[derive(Debug)]
pub(crate) struct Survey {
    pub queues: Vec<LiveQueue>,
    pub waits: LiveWaits,
    /// Positions of open half messages, in order, with their bytes.
    pub halves: Vec<(Position, u32)>,
    /// All that lies below is synced and can be seen in its queue. What lies behind may be live and not be seen yet.
    pub seen_to: Position,
    /// An administrator asked for the log to start here, whatever has to be copied for it.
    pub wanted_start: Position,
    /// Dead bytes for which it is worth to begin.
    pub dead_bytes_min: u64,
    /// Live bytes that go into one kept file.
    pub kept_file_bytes: u64,
}

/// Where the log may start now: everything live before is in kept files. `None` when it is best left as it is.
pub(crate) type Surveyed = Result<Option<Position>, String>;

/// A part of the log and the live bytes in it, by estimate.
#[derive(Debug, Clone)]
struct Part {
    extent: Extent,
    live: u64,
}

impl Part {
    fn dead(&self) -> u64 {
        self.extent.bytes.saturating_sub(self.live)
    }
}

impl Survey {
    /// Copies what is live of the oldest parts, if they are mostly dead.
    pub fn carry_out(&self, context: &ReadContext) -> Surveyed {
        let parts = self.parts(context.log.extents());
        let start = parts.iter().find(|part| !part.extent.is_kept).map(|part| part.extent.positions.start);
        let Some(to) = self.new_start(&parts) else { return Ok(None) };
        let chunks = chunks(&parts, to, self.kept_file_bytes);
        let mut waits = WaitFilter::new(&self.waits);
        for range in &chunks {
            waits.find_recalls(range, &parts, context)?;
        }
        for range in chunks {
            let live = self.live_positions(&range, &parts, &mut waits, context)?;
            tracing::debug!(from = range.start, to = range.end, records = live.len(), "keeping what is left");
            context.log.keep(range, &live).map_err(|error| error.to_string())?;
        }
        Ok(Some(to).filter(|to| start.is_some_and(|start| *to > start)))
    }

    /// The parts with their live bytes. A message in several queues counts for each, up to the size of its part.
    fn parts(&self, extents: Vec<Extent>) -> Vec<Part> {
        let seen = extents.into_iter().filter(|extent| extent.positions.end <= self.seen_to);
        let mut parts: Vec<Part> = seen.map(|extent| Part { extent, live: 0 }).collect();
        for LiveQueue { queue, runs } in &self.queues {
            queue.spread(runs, &mut |positions, bytes| add_live(&mut parts, &positions, bytes));
        }
        for (positions, bytes) in &self.waits.regions {
            add_live(&mut parts, positions, *bytes);
        }
        for (position, bytes) in &self.halves {
            add_live(&mut parts, &(*position..*position + 1), stored_bytes(*bytes));
        }
        for part in &mut parts {
            part.live = part.live.min(part.extent.bytes);
        }
        parts
    }

    /// The furthest end of a part before which at least half is dead.
    fn new_start(&self, parts: &[Part]) -> Option<Position> {
        let (mut live, mut dead, mut found) = (0, 0, None);
        for part in parts {
            live += part.live;
            dead += part.dead();
            let end = part.extent.positions.end;
            if (dead >= live && dead >= self.dead_bytes_min) || end <= self.wanted_start {
                found = Some(end);
            }
        }
        found
    }

    /// Positions in a range of all that is live, in order, each once.
    fn live_positions(
        &self,
        range: &Range<Position>,
        parts: &[Part],
        waits: &mut WaitFilter<'_>,
        context: &ReadContext,
    ) -> Result<Vec<Position>, String> {
        let mut found = waits.find_live(range, parts, context)?;
        let first_half = self.halves.partition_point(|(position, _)| *position < range.start);
        let halves = self.halves.iter().skip(first_half).map(|(position, _)| *position);
        found.extend(halves.take_while(|half| *half < range.end && !planted(Bug::TrimPassesHalf)));
        let inside = |part: &&Part| part.extent.is_kept && range.contains(&part.extent.positions.start);
        let mut from = range.start;
        for part in parts.iter().filter(inside) {
            from = part.extent.positions.end;
            self.kept_positions(&part.extent.positions, context, &mut found)?;
        }
        // What is settled from now on goes from the index. A segment goes only behind a snapshot that knows of it.
        for LiveQueue { queue, runs } in &self.queues {
            let segments = from..range.end;
            queue
                .positions(runs, &segments, &context.blocks, &mut found)
                .map_err(|error| error.to_string())?;
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Positions of the messages in a kept file that are live, by what they say of themselves: a kept file is replaced
    /// at once, and what was settled since the survey may yet be lost with the machine.
    fn kept_positions(
        &self,
        positions: &Range<Position>,
        context: &ReadContext,
        found: &mut Vec<Position>,
    ) -> Result<(), String> {
        let queues = self.queues.iter().map(|live| (live.queue.id, live.runs.as_slice())).collect();
        let mut filter = LiveFilter { queues, found };
        context.log.walk(positions.clone(), &mut filter).map_err(|error| error.to_string())
    }
}

/// Finds the messages that runs of offsets lead to.
struct LiveFilter<'a> {
    queues: FxHashMap<QueueId, &'a [Run]>,
    found: &'a mut Vec<Position>,
}

impl Visitor for LiveFilter<'_> {
    fn record(&mut self, position: Position, record_kind: u8, payload: &[u8]) -> Result<(), String> {
        if record_kind != kind::MESSAGE {
            return Ok(());
        }
        let stored = StoredMessage::parse(payload).map_err(|error| error.to_string())?;
        let targets = stored.targets().map_err(|error| error.to_string())?;
        let is_live = |target: &Target| {
            let runs = self.queues.get(&QueueId(target.queue)).copied().unwrap_or_default();
            let at = runs.partition_point(|(_, end)| *end <= target.offset);
            runs.get(at).is_some_and(|(first, _)| *first <= target.offset)
        };
        if targets.iter().any(is_live) {
            self.found.push(position);
        }
        Ok(())
    }
}

/// What tells of the record of a waiting message whether it still waits.
#[derive(Debug, Default)]
pub(crate) struct LiveWaits {
    /// Parts of the log in which something waits.
    pub regions: Vec<Region>,
    /// And those in which something may be recalled.
    pub recalls: Vec<Range<Position>>,
    /// From here on all wait that were not recalled, below only those in `late`.
    pub floor: TimerKey,
    pub late: FxHashSet<Position>,
}

impl LiveWaits {
    fn nothing_ever_waited(&self) -> bool {
        self.floor == TimerKey::default() && self.regions.is_empty() && self.recalls.is_empty()
    }

    /// False for a part of the log in which no message waits and none was recalled.
    fn may_be_in(&self, positions: &Range<Position>) -> bool {
        let meets = |other: &Range<Position>| other.start < positions.end && positions.start < other.end;
        self.regions.iter().any(|(region, _)| meets(region)) || self.recalls.iter().any(meets)
    }
}

/// Finds waiting messages in what is to be rewritten, and the records that recall others.
///
/// A recall stands for as long as the message may be found that it is of, if that is not due yet: without it a rebuild
/// would take the message for one that waits. So it goes only with that message.
struct WaitFilter<'a> {
    waits: &'a LiveWaits,
    /// Positions of messages that are recalled by records in what is to be rewritten.
    recalled: FxHashSet<Position>,
    /// What is rewritten, as far as it is done: recalled messages in there are gone.
    rewritten: Vec<Range<Position>>,
    seeks_recalls: bool,
    found: Vec<Position>,
}

impl<'a> WaitFilter<'a> {
    fn new(waits: &'a LiveWaits) -> Self {
        let (recalled, rewritten, found) = (FxHashSet::default(), Vec::new(), Vec::new());
        WaitFilter { waits, recalled, rewritten, seeks_recalls: false, found }
    }

    fn find_recalls(
        &mut self,
        range: &Range<Position>,
        parts: &[Part],
        context: &ReadContext,
    ) -> Result<(), String> {
        self.seeks_recalls = true;
        self.walk(range, parts, context)
    }

    /// Positions in a range of what must be kept.
    fn find_live(
        &mut self,
        range: &Range<Position>,
        parts: &[Part],
        context: &ReadContext,
    ) -> Result<Vec<Position>, String> {
        self.seeks_recalls = false;
        self.rewritten.push(range.clone());
        self.walk(range, parts, context)?;
        Ok(std::mem::take(&mut self.found))
    }

    fn walk(&mut self, range: &Range<Position>, parts: &[Part], context: &ReadContext) -> Result<(), String> {
        if self.waits.nothing_ever_waited() {
            return Ok(());
        }
        let inside = parts.iter().filter(|part| range.contains(&part.extent.positions.start));
        for Part { extent, .. } in inside {
            // Of kept files it is not known what recalls are in them.
            if extent.is_kept || self.waits.may_be_in(&extent.positions) {
                context.log.walk(extent.positions.clone(), self).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn waits(&self, timer: &Timer) -> bool {
        if timer.key() < self.waits.floor {
            return self.waits.late.contains(&timer.position);
        }
        !self.recalled.contains(&timer.position)
    }
}

impl Visitor for WaitFilter<'_> {
    fn record(&mut self, position: Position, record_kind: u8, payload: &[u8]) -> Result<(), String> {
        match record_kind {
            kind::WAITING_MESSAGE if !self.seeks_recalls && !planted(Bug::TrimPassesWaiting) => {
                let timer = Timer::of_record(position, payload)?;
                self.found.extend(self.waits(&timer).then_some(position));
            }
            kind::CHANGE => {
                let change = Change::decode(payload).map_err(|error| error.to_string())?;
                let Change::WaitingRecalled { timer } = change else { return Ok(()) };
                if self.seeks_recalls {
                    self.recalled.insert(timer.position);
                } else if timer.key() >= self.waits.floor
                    && !self.rewritten.iter().any(|range| range.contains(&timer.position))
                    && !planted(Bug::TrimPassesRecall)
                {
                    self.found.push(position);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Adds live bytes, spread evenly over a range of positions, to the parts that they are in.
fn add_live(parts: &mut [Part], positions: &Range<Position>, bytes: u64) {
    let length = (positions.end - positions.start).max(1);
    let first = parts.partition_point(|part| part.extent.positions.end <= positions.start);
    for part in parts.iter_mut().skip(first) {
        let shared = positions.end.min(part.extent.positions.end);
        let shared = shared.saturating_sub(positions.start.max(part.extent.positions.start));
        if shared == 0 {
            return;
        }
        let share = u128::from(bytes) * u128::from(shared) / u128::from(length);
        part.live += u64::try_from(share).unwrap_or(u64::MAX);
    }
}

/// Ranges of parts below `to` that become one kept file each. A kept file that is mostly live stays as it is, unless it
/// is small: those are taken together with what follows.
fn chunks(parts: &[Part], to: Position, file_bytes: u64) -> Vec<Range<Position>> {
    let mut chunks: Vec<Range<Position>> = Vec::new();
    let mut open: Option<(Range<Position>, u64)> = None;
    for part in parts.iter().take_while(|part| part.extent.positions.end <= to) {
        let Extent { positions, bytes, is_kept, reaches_on } = &part.extent;
        if *is_kept && !reaches_on && part.live >= part.dead() && *bytes >= file_bytes / 4 {
            chunks.extend(open.take().map(|(range, _)| range));
            continue;
        }
        open = match open {
            Some((range, live)) if live + part.live <= file_bytes => {
                Some((range.start..positions.end, live + part.live))
            }
            full => {
                chunks.extend(full.map(|(range, _)| range));
                Some((positions.clone(), part.live))
            }
        };
    }
    chunks.extend(open.map(|(range, _)| range));
    chunks
}

/// Bytes that a stored message takes in the log.
pub(crate) fn stored_bytes(message_bytes: u32) -> u64 {
    let padded = usize::try_from(message_bytes).map_or(usize::MAX, record::padded);
    u64::try_from(padded).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: Position, bytes: u64, is_kept: bool, live: u64) -> Part {
        let extent = Extent { positions: start..start + 1000, bytes, is_kept, reaches_on: false };
        Part { extent, live }
    }

    fn survey(wanted_start: Position) -> Survey {
        Survey {
            queues: Vec::new(),
            halves: Vec::new(),
            waits: LiveWaits::default(),
            seen_to: Position::MAX,
            wanted_start,
            dead_bytes_min: 500,
            kept_file_bytes: 1000,
        }
    }

    #[test]
    fn the_log_starts_behind_the_longest_part_that_is_half_dead() {
        let parts = [part(0, 1000, false, 1000), part(1000, 1000, false, 0), part(2000, 1000, false, 900)];
        assert_eq!(survey(0).new_start(&parts), Some(2000));
        assert_eq!(survey(0).new_start(&parts[..1]), None, "nothing is dead");
        assert_eq!(survey(1000).new_start(&parts[..1]), Some(1000), "it was asked for");
        assert_eq!(survey(0).new_start(&[part(0, 499, true, 0)]), None, "too little to be worth it");
    }

    #[test]
    fn live_bytes_fall_to_the_parts_that_they_lie_in() {
        let mut parts = [part(0, 1000, false, 0), part(1000, 1000, false, 0), part(5000, 1000, false, 0)];
        add_live(&mut parts, &(500..1100), 60);
        add_live(&mut parts, &(5999..6005), 6);
        add_live(&mut parts, &(1999..2000), 7);
        add_live(&mut parts, &(7000..7000), 7);
        assert_eq!(parts.map(|part| part.live), [50, 17, 1]);
    }

    #[test]
    fn kept_files_that_are_mostly_live_stay_and_small_ones_are_joined() {
        let parts = [
            part(0, 800, true, 500),
            part(1000, 100, true, 100),
            part(2000, 1000, false, 300),
            part(3000, 1000, false, 700),
            part(4000, 1000, false, 0),
        ];
        assert_eq!(chunks(&parts, 4000, 1000), [1000..3000, 3000..4000]);
        assert_eq!(chunks(&parts, 5000, 1000), [1000..3000, 3000..5000]);
        assert_eq!(chunks(&parts[..1], 1000, 1000), []);
        let mut reaching = parts[..1].to_vec();
        reaching[0].extent.reaches_on = true;
        // What is made of what follows is made of it too.
        assert_eq!(chunks(&reaching, 1000, 1000).first(), Some(&(0..1000)));
        assert_eq!(oversize(&parts.map(|part| part.extent), 2000), 3000);
    }
}
