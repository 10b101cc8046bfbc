//! What goes wrong in a run, and the start after it: what the log and the store must have kept.

use mailrail_commitlog::disk::Op;

use super::*;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// Operations for which a fault that lasts may last.
const LASTS_OPERATIONS_MAX: u64 = 25;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::simulation) enum Fault {
    /// The process is killed.
    Kill,
    /// The process is killed when a segment is full and the next one not begun.
    KillAtSegmentEnd,
    /// The machine loses power, and all, the last, or any of what was not synced.
    PowerCutAll,
    PowerCutTorn,
    PowerCutPages,
    /// Power fails amid the changes of the disk that come next.
    PowerFailsLater,
    /// Power fails again while the broker starts.
    PowerFailsInOpen,
    /// A kill or a power cut, and the store is gone.
    StoreLost,
    /// The same amid a trim.
    StoreLostInTrim,
    StoreFails,
    WriteError,
    SyncError,
    /// A write finds the disk full, and for a while there is no room.
    WriteFull,
    /// For a while there is no room for a further segment.
    SegmentFull,
    ShortWrites,
    /// A bit flips in what was not synced, or in what was.
    FlipUnsynced,
    FlipSynced,
    ClockForward,
    ClockBack,
    /// The process stands still for five minutes.
    Pause,
}

impl Fault {
    pub const ALL: [Fault; 20] = [
        Fault::Kill,
        Fault::KillAtSegmentEnd,
        Fault::PowerCutAll,
        Fault::PowerCutTorn,
        Fault::PowerCutPages,
        Fault::PowerFailsLater,
        Fault::PowerFailsInOpen,
        Fault::StoreLost,
        Fault::StoreLostInTrim,
        Fault::StoreFails,
        Fault::WriteError,
        Fault::SyncError,
        Fault::WriteFull,
        Fault::SegmentFull,
        Fault::ShortWrites,
        Fault::FlipUnsynced,
        Fault::FlipSynced,
        Fault::ClockForward,
        Fault::ClockBack,
        Fault::Pause,
    ];
}

/// Each fault a few times, at any operation, the last first.
pub(super) fn plan(random: &mut Random, course: &Course) -> Vec<(u64, Fault)> {
    let mut plan = Vec::new();
    for fault in course.faults {
        plan.extend((0..course.times).map(|_| (random.below(course.operations), *fault)));
    }
    plan.sort_unstable();
    plan.reverse();
    plan
}

/// What a start finds.
#[derive(Clone, Copy, Default)]
struct Crash {
    /// What becomes of pending changes; `None` is a kill.
    loss: Option<Loss>,
    loses_store: bool,
    flips_unsynced: bool,
    fails_in_open: bool,
}

impl World {
    pub fn inject(&mut self, fault: Fault, operation: u64) {
        let lasts = 1 + self.random.below(LASTS_OPERATIONS_MAX);
        let disk = self.sim.disk.clone();
        let power_cut = |loss| Crash { loss: Some(loss), ..Crash::default() };
        let any_loss = self.random.pick(&[Loss::All, Loss::Torn, Loss::Pages]);
        match fault {
            Fault::Kill => self.restart(Crash::default()),
            Fault::KillAtSegmentEnd => {
                self.fill_segment();
                self.restart(Crash::default());
            }
            Fault::PowerCutAll => self.restart(power_cut(Loss::All)),
            Fault::PowerCutTorn => self.restart(power_cut(Loss::Torn)),
            Fault::PowerCutPages => self.restart(power_cut(Loss::Pages)),
            Fault::FlipUnsynced => self.restart(Crash { flips_unsynced: true, ..power_cut(any_loss) }),
            Fault::PowerFailsInOpen => {
                let loss = self.random.pick(&[None, Some(any_loss)]);
                self.restart(Crash { loss, fails_in_open: true, ..Crash::default() });
            }
            Fault::StoreLost => {
                let loss = self.random.pick(&[None, Some(any_loss)]);
                self.restart(Crash { loss, loses_store: true, ..Crash::default() });
            }
            Fault::StoreLostInTrim => {
                self.begin_trim();
                self.restart(Crash { loses_store: true, ..power_cut(any_loss) });
            }
            Fault::PowerFailsLater => disk.fail_power_after(self.random.below(12)),
            Fault::WriteError => disk.fail(Op::Write, ".seg", 0, 1, EIO),
            Fault::SyncError => disk.fail(Op::Sync, ".seg", 0, 1, EIO),
            Fault::WriteFull => {
                disk.fail(Op::Write, ".seg", 0, 1, ENOSPC);
                disk.fail(Op::Allocate, ".seg", 0, u32::MAX, ENOSPC);
            }
            Fault::SegmentFull => disk.limit_bytes(Some(1)),
            Fault::ShortWrites => disk.write_short(true),
            Fault::StoreFails => self.store.fail(true),
            Fault::FlipSynced => self.flip_synced(),
            Fault::ClockForward => self.sim.now.wall_ms += 3_600_000,
            Fault::ClockBack => self.sim.now.wall_ms -= 3_600_000,
            Fault::Pause => self.pass_ms(300_000),
        }
        if self.fails_until.is_none() {
            self.fails_until = Some(operation + lasts);
        }
    }

    /// What lasts ends; a broker that has failed for good, or has no power, is started again.
    pub fn end_failing(&mut self, operation: u64) {
        if self.fails_until.take_if(|until| *until <= operation).is_some() {
            self.stop_failing();
            if self.sim.disk.is_off() || self.sim.shard.is_poisoned() {
                self.recover();
            }
        }
    }

    fn stop_failing(&mut self) {
        self.sim.disk.fail_no_more();
        self.sim.disk.limit_bytes(None);
        self.sim.disk.write_short(false);
        self.store.fail(false);
    }

    /// A start by an operator who had the machine restarted too: after an error of the device nothing else is safe.
    pub fn recover(&mut self) {
        let loss = self.random.pick(&[Loss::All, Loss::Torn, Loss::Pages]);
        self.restart(Crash { loss: Some(loss), ..Crash::default() });
    }

    fn restart(&mut self, crash: Crash) {
        self.stop_failing();
        let mut crash = crash;
        if self.sim.disk.is_off() || self.sim.shard.is_poisoned() {
            crash.loss = crash.loss.or(Some(Loss::All));
        }
        let (written, synced) = self.sim.shard.log_reached();
        self.leave_store(crash.loses_store);
        let disk = self.sim.disk.power_cut(crash.loss.unwrap_or(Loss::Nothing));
        if crash.flips_unsynced {
            self.flip_behind(&disk, synced);
        }
        self.boots += u64::from(crash.loss.is_some());
        let disk = if crash.fails_in_open { self.fail_in_open(disk) } else { disk };
        let lost_power = crash.loss.is_some() || crash.fails_in_open;
        self.sim = self.open(disk).unwrap_or_else(|error| panic!("it does not open: {error}"));
        self.tally.starts += 1;

        let kept = if lost_power { synced } else { written };
        let end = self.sim.found.end;
        assert!(end >= kept, "the log ends at {end}, and was durable up to {kept}");
        // A start that was cut off may have added records of its own.
        if !crash.fails_in_open {
            self.compare_state();
        }
        self.ledger.crashed(synced, lost_power);
        self.lines.crashed(synced, lost_power);
        self.start_over();
        self.ledger.check_all(&self.sim);
        self.check_trims();
    }

    /// The store as the next process finds it: some of what it was about to write is there.
    fn leave_store(&mut self, is_lost: bool) {
        if self.random.percent(50) {
            for job in std::mem::take(&mut self.sim.store_jobs) {
                let _ = self.sim.store_writer.run(job);
            }
        }
        let kept = self.random.index(self.store.unflushed() + 1);
        self.store = Arc::new(if is_lost { FaultStore::default() } else { self.store.after_crash(kept) });
    }

    fn open(&self, disk: FaultDisk) -> Result<Simulation, OpenError> {
        let boot = format!("boot-{}", self.boots);
        Simulation::with_segments_of(world::SEGMENT_BYTES, disk, self.store.clone(), &boot, self.sim.now)
    }

    /// The power fails while the broker starts.
    fn fail_in_open(&mut self, disk: FaultDisk) -> FaultDisk {
        disk.fail_power_after(self.random.below(30));
        drop(self.open(disk.clone()));
        self.boots += 1;
        let loss = self.random.pick(&[Loss::All, Loss::Torn, Loss::Pages]);
        disk.power_cut(loss)
    }

    /// The state after a replay is the state before at the position where the log ends.
    fn compare_state(&mut self) {
        let found = &self.sim.found;
        // A crash amid what one turn wrote leaves a part that was no state of its own.
        let Some((_, before)) = self.history.iter().find(|(end, _)| *end == found.end) else { return };
        self.tally.compared += 1;
        let differs = |key: &&ItemKey| found.pieces.get(key) != before.get(key);
        let keys = before.keys().chain(found.pieces.keys()).filter(differs);
        if let Some(key) = keys.min_by_key(|key| (key.rank(), format!("{key:?}"))) {
            let (found_piece, before) = (found.pieces.get(key), before.get(key));
            panic!("{key:?} at {} was {before:?} and is {found_piece:?}", found.end);
        }
    }

    /// What is gone from a queue was settled, or lies where a trim was asked for.
    fn check_trims(&self) {
        let state = self.sim.shard.state();
        let default_group = state.directory.group("q").map(|group| group.id);
        for queue in state.queues.values() {
            let (id, min) = (queue.shared.id, queue.shared.min_offset());
            let settled = |offset| {
                let group = self.mortals.as_ref().map(|mortals| mortals.group());
                let may_miss = |group| self.lines.may_miss((group, id), offset);
                if &*queue.shared.topic == "mortal" {
                    return self.is_buried(id, offset) || group.is_some_and(may_miss);
                }
                &*queue.shared.topic == "q"
                    && default_group.is_some_and(|group| self.lines.may_miss((group, id), offset))
            };
            self.ledger.check_trimmed(id, min, settled);
        }
    }
}

/// Bits that flip.
impl World {
    /// A segment file that holds a position, and the position's place in it.
    fn file_of(position: Position) -> (PathBuf, usize) {
        let base = position / world::SEGMENT_BYTES * world::SEGMENT_BYTES;
        (PathBuf::from(format!("/data/log/{base:020}.seg")), (position - base) as usize)
    }

    fn flip_behind(&mut self, disk: &FaultDisk, synced: Position) {
        let (path, at) = Self::file_of(synced + self.random.below(2_000));
        let bit = self.random.below(8);
        if disk.contents(&path).is_some_and(|bytes| at < bytes.len() && at >= 4_096) {
            disk.tamper(&path, |bytes| bytes[at] ^= 1 << bit);
        }
    }

    /// Damage to what was synced is found by the start, or by whoever reads it; on a copy, since no broker goes on from
    /// there.
    fn flip_synced(&mut self) {
        let disk = self.sim.disk.fork().power_cut(Loss::All);
        let (_, synced) = self.sim.shard.log_reached();
        // Of what was there at the last start the log itself says that it is synced; a torn end looks like damage to
        // the newest groups.
        let position = self.random.below(self.sim.found.end);
        let (path, at) = Self::file_of(position);
        if at < 4_096 || disk.contents(&path).is_none_or(|bytes| at >= bytes.len()) {
            return;
        }
        let bit = self.random.below(8);
        disk.tamper(&path, |bytes| bytes[at] ^= 1 << bit);
        let store: Arc<dyn Store> = Arc::new(self.store.after_crash(self.store.unflushed()));
        let opened =
            Simulation::with_segments_of(world::SEGMENT_BYTES, disk, store, "boot-flip", self.sim.now);
        let sim = match opened {
            Ok(sim) => sim,
            Err(OpenError::Log(mailrail_commitlog::OpenError::Corrupt { .. })) => return,
            Err(error) => panic!("a flipped bit at {position} gives {error}"),
        };
        assert!(
            sim.found.end >= synced,
            "a flipped bit at {position} cuts off what was synced up to {synced}"
        );
        for ((queue, offset), place) in &self.ledger.places {
            let Some(queue) = sim.shard.state().queues.get(queue) else { continue };
            if let Ok(Some(message)) = sim.context.entry(&queue.shared, *offset) {
                let whole = StoredMessage::parse(&message).is_ok_and(|stored| stored.has_whole_body());
                assert!(whole, "a flipped bit at {position} is read in offset {offset}");
                assert_eq!(number_of(&message), Some(place.number), "offset {offset}");
            }
        }
    }
}
