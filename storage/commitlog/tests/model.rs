//! Random histories of appends, writes, syncs, trims, faults and cuts, compared with a list of what was submitted.
mod rig;

use mailrail_commitlog::disk::{FaultDisk, Loss, Op};
use mailrail_commitlog::{AppendError, Position, SEGMENT_BYTES_MIN};
use proptest::prelude::*;
use rig::*;

#[derive(Debug, Clone)]
enum Act {
    Add(usize),
    Submit(bool),
    Write,
    Sync,
    /// Up to this part (of 8) of what is synced.
    Trim(u64),
    Read,
    Cut(Loss),
    /// Power fails at this many changes from now.
    FailPower(u64),
    FullAtWrite,
    /// No room for more than this many segments, or any number.
    Room(Option<usize>),
    ShortWrites(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let loss = prop_oneof![Just(Loss::All), Just(Loss::Nothing), Just(Loss::Torn), Just(Loss::Pages)];
    prop_oneof![
        12 => prop_oneof![4 => 0..300usize, 2 => 1000..5000usize, 1 => 9000..12_000usize].prop_map(Act::Add),
        6 => any::<bool>().prop_map(Act::Submit),
        8 => Just(Act::Write),
        4 => Just(Act::Sync),
        1 => (0..9u64).prop_map(Act::Trim),
        2 => Just(Act::Read),
        1 => loss.prop_map(Act::Cut),
        1 => (0..12u64).prop_map(Act::FailPower),
        1 => Just(Act::FullAtWrite),
        1 => prop_oneof![Just(None), (1..5usize).prop_map(Some)].prop_map(Act::Room),
        1 => any::<bool>().prop_map(Act::ShortWrites),
    ]
}

/// One process after another on the same disk.
struct History {
    rig: Rig,
    room: Option<usize>,
}

impl History {
    fn new(seed: u64) -> Self {
        Self { rig: Rig::on(FaultDisk::new(seed)).unwrap(), room: None }
    }

    fn perform(&mut self, act: &Act) {
        let rig = &mut self.rig;
        match act {
            Act::Add(len) => self.add(*len),
            Act::Submit(sync) => {
                rig.submit(*sync);
            }
            Act::Write => {
                rig.write();
            }
            Act::Sync => {
                rig.sync();
            }
            Act::Trim(part) => {
                let before = rig.log.appender.synced_to() / 8 * part;
                let old_start = rig.log.appender.start();
                let start = rig.log.appender.trim(before);
                assert!(start >= old_start && start <= before.max(old_start));
                assert!(start.is_multiple_of(SEGMENT_BYTES_MIN));
            }
            Act::Read => self.read(),
            Act::Cut(loss) => self.cut(*loss),
            Act::FailPower(changes) => rig.disk.fail_power_after(*changes),
            Act::FullAtWrite => rig.disk.fail(Op::Write, ".seg", 0, 1, 28),
            Act::Room(segments) => {
                self.room = *segments;
                rig.disk.limit_bytes(segments.map(|count| count * SEGMENT_BYTES_MIN as usize));
            }
            Act::ShortWrites(short) => rig.disk.write_short(*short),
        }
    }

    fn add(&mut self, len: usize) {
        let rig = &mut self.rig;
        let fill = rig.submitted.len() as u8;
        let before = (rig.log.appender.position(), rig.log.appender.room());
        match rig.add(&vec![fill; len]) {
            Ok(position) => assert!(position >= before.0),
            Err(AppendError::NoSpace { .. }) => {
                let closed = rig.log.appender.position() >= before.0;
                assert!(closed && self.room.is_some(), "no space where there is room");
            }
            Err(AppendError::Poisoned(_)) => assert!(rig.disk.is_off(), "only a power cut poisons here"),
            Err(AppendError::NoSegment { .. }) => assert!(rig.disk.is_off()),
            // What was submitted waits for the next write, which finds room.
            Err(AppendError::Refused { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }

    /// Everything written and not trimmed is read as it was submitted.
    fn read(&self) {
        let rig = &self.rig;
        if rig.disk.is_off() {
            return;
        }
        let (start, written) = (rig.log.reader.start(), rig.log.appender.written_to());
        let whole = |held: &&Held| held.0 >= start && held.0 + 8 + held.1.len() as Position <= written;
        let all = rig.all();
        let expected: Vec<_> = all.iter().filter(whole).collect();
        let wanted: Vec<_> = expected.iter().map(|held| (held.0 + 8, held.1.len() as u32)).collect();
        for (read, held) in rig.log.reader.read(&wanted).iter().zip(expected) {
            assert_eq!(read.as_ref().unwrap(), &held.1, "at {}", held.0);
        }
        for held in &all {
            if let Some(cached) = rig.log.reader.cached(held.0 + 8, held.1.len()) {
                assert_eq!(cached, held.1, "in memory at {}", held.0);
            }
        }
    }

    fn cut(&mut self, loss: Loss) {
        self.room = None;
        self.rig.disk.limit_bytes(None);
        let next = self.rig.reopened(loss).unwrap();
        let recovery = &next.log.recovery;
        self.rig.assert_recovered(recovery, &next.found);
        assert!(recovery.epoch > self.rig.log.recovery.epoch);
        // An open changes nothing about what the next open finds.
        let (again, found) = held_by(&next.disk.fork().power_cut(Loss::All)).unwrap();
        assert_eq!((again.start, again.end, again.cut), (recovery.start, recovery.end, None));
        assert_eq!(found, next.found);
        self.rig = next;
    }
}

fn cases() -> u32 {
    std::env::var("MODEL_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_history_ends_as_the_model_says(seed: u64, acts in prop::collection::vec(act(), 1..120)) {
        let mut history = History::new(seed);
        for act in &acts {
            history.perform(act);
        }
        history.cut(Loss::Torn);
        history.read();
        history.rig.disk.write_short(false);
        history.rig.group(&[b"the log goes on"], true);
        history.rig.pump();
        history.cut(Loss::All);
        prop_assert_eq!(&history.rig.found.last().unwrap().1, b"the log goes on");
    }
}
