//! The segment that is held ready: filled ahead with zeros, or made of a trimmed one's file, whose old bytes must never
//! be taken for anything.
mod rig;

use mailrail_commitlog::disk::{FaultDisk, Loss, Op};
use mailrail_commitlog::record::{RECORD_HEADER_BYTES, padded};
use mailrail_commitlog::{GROUP_HEADER_BYTES, LogConfig, SEGMENT_BYTES_MIN};
use rig::{Rig, held_by, open_from, segment_path, small_segments};

/// Bodies that never repeat, so that old bytes differ from new ones.
fn fill(rig: &mut Rig, groups: u32) {
    for _ in 0..groups {
        let count = rig.submitted.len() + rig.found.len();
        let body: Vec<u8> = (0..1700usize).map(|byte| (byte * 7 + count * 13) as u8 | 1).collect();
        rig.group(&[&body, &body[..33]], true);
        rig.pump();
    }
}

/// Forgets what is no longer held, and trims it.
fn trim_all_but(rig: &mut Rig, segments: u64) {
    let before = rig.log.appender.position().saturating_sub(segments * SEGMENT_BYTES_MIN);
    let start = rig.log.appender.trim(before);
    rig.found.retain(|held| held.0 >= start);
    let gone = rig.submitted.iter().filter(|held| held.0 < start).count();
    rig.submitted.drain(..gone);
    rig.whole = rig.whole.iter().filter_map(|whole| whole.checked_sub(gone)).collect();
    rig.pump();
}

/// A log whose present segment, and the ready one, were made of trimmed files.
fn recycling(disk: FaultDisk) -> Rig {
    let mut rig = Rig::on(disk).unwrap();
    for _ in 0..5 {
        fill(&mut rig, 8);
        trim_all_but(&mut rig, 2);
    }
    rig
}

fn segments_made(rig: &Rig) -> u64 {
    rig.log.appender.position() / SEGMENT_BYTES_MIN + 1
}

#[test]
fn files_of_trimmed_segments_are_used_again() {
    let mut rig = Rig::new();
    fill(&mut rig, 8);
    rig.disk.fail(Op::Create, "next.tmp", 3, u32::MAX, 28);
    for _ in 0..20 {
        fill(&mut rig, 4);
        trim_all_but(&mut rig, 1);
    }
    assert!(segments_made(&rig) > 10, "with five new files at most");
    assert!(rig.disk.paths().len() <= 6, "{:?}", rig.disk.paths());
    let again = rig.reopened(Loss::All).unwrap();
    assert_eq!(again.found, rig.submitted);
    assert_eq!(again.log.recovery.cut, None, "what an earlier segment left is no torn write");
}

#[test]
fn a_kept_file_is_only_one_that_nobody_reads() {
    let mut rig = Rig::new();
    fill(&mut rig, 60);
    let first = rig.submitted[0].clone();
    let wanted = [(first.0, padded(first.1.len()) as u32)];
    assert!(rig.log.reader.read(&wanted)[0].is_ok());
    trim_all_but(&mut rig, 2);
    let names = rig.disk.paths();
    let kept: Vec<_> = names.iter().filter(|path| path.extension().is_some_and(|is| is == "tmp")).collect();
    assert_eq!(kept.len(), 1);
    let of_first = segment_path(0).with_extension("tmp");
    assert!(!kept.contains(&&of_first), "its reader may still have it open");
}

#[test]
fn the_power_may_go_at_any_change_while_files_are_used_again() {
    let (mut cuts, mut runs) = (0, 0);
    for seed in 0..4 {
        let whole = recycling(FaultDisk::new(seed)).disk.changes();
        for changes in (0..whole).step_by(7) {
            let disk = FaultDisk::new(seed);
            disk.fail_power_after(changes);
            let Some(rig) = until_the_power_goes(&disk) else { continue };
            for loss in [Loss::All, Loss::Torn, Loss::Pages] {
                let disk = disk.fork();
                let (recovery, held) = held_by(&disk.power_cut(loss)).unwrap();
                rig.assert_recovered(&recovery, &held);
                cuts += u32::from(recovery.cut.is_some());
                runs += 1;
            }
        }
    }
    assert!(runs > 200 && cuts > 10, "{cuts} cuts in {runs} runs");
}

/// As [`recycling`], on a disk whose power fails on the way.
fn until_the_power_goes(disk: &FaultDisk) -> Option<Rig> {
    let mut rig = Rig::on(disk.clone()).ok()?;
    for round in 0..40u32 {
        let body = vec![round as u8 | 1; 1700];
        if rig.log.appender.roll(2 * padded(body.len())).is_err() {
            break;
        }
        rig.whole.push(rig.submitted.len());
        let added = [rig.add(&body), rig.add(&body[..33])];
        if added.iter().any(Result::is_err) {
            break;
        }
        // Half of the groups are not synced when the next is written.
        rig.submit(true);
        rig.write();
        if round % 2 == 0 {
            rig.pump();
        }
        if round % 8 == 7 {
            rig.log.appender.trim(rig.log.appender.position().saturating_sub(2 * SEGMENT_BYTES_MIN));
        }
        if disk.is_off() {
            break;
        }
    }
    Some(rig)
}

#[test]
fn what_was_torn_in_a_used_file_is_cut_and_stays_cut() {
    let mut torn = 0;
    for seed in 0..40 {
        let mut rig = recycling(FaultDisk::new(seed));
        for _ in 0..3 {
            let body = [9; 3000];
            rig.group(&[&body], false);
        }
        rig.write();
        let disk = rig.disk.power_cut(if seed % 2 == 0 { Loss::Torn } else { Loss::Pages });
        let (log, held) = open_from(&disk, None).unwrap();
        rig.assert_recovered(&log.recovery, &held);
        torn += u32::from(log.recovery.cut.is_some());
        // The open made everything behind the end nothing: a second one finds the same.
        let (recovery, again) = held_by(&disk.power_cut(Loss::All)).unwrap();
        assert_eq!((recovery.cut, &again), (None, &held));
        // And what is written from there on is found.
        let mut rig = Rig::on(disk.power_cut(Loss::All)).unwrap();
        fill(&mut rig, 12);
        assert_eq!(held_by(&disk_of(&rig)).unwrap().1, rig.all());
    }
    assert!(torn > 10, "{torn}");
}

fn disk_of(rig: &Rig) -> FaultDisk {
    rig.disk.fork().power_cut(Loss::All)
}

#[test]
fn a_fill_that_fails_costs_nobody_anything() {
    for errno in [5, 28] {
        let mut rig = Rig::new();
        rig.disk.fail(Op::Fill, ".seg", 0, 1, errno);
        fill(&mut rig, 30);
        assert!(rig.told.0.lock().unwrap().poisoned.is_empty());
        assert_eq!(rig.reopened(Loss::All).unwrap().found, rig.submitted);
    }
}

#[test]
fn the_next_segment_is_filled_as_the_present_one_is_written_and_not_by_a_log_at_rest() {
    let mut rig = Rig::new();
    rig.pump();
    let changes = rig.disk.changes();
    rig.pump();
    assert_eq!(rig.disk.changes(), changes);
    // A write and a sync each; with the first comes the next segment, made in six changes and filled in one.
    let spent = [(); 4].map(|()| {
        let before = rig.disk.changes();
        fill(&mut rig, 1);
        rig.disk.changes() - before
    });
    assert_eq!(spent, [2 + 6 + 1, 2, 2, 2]);
}

/// Changes of the disk that a segment costs besides writes and syncs, where each sync has so many bytes.
fn changes_beside(sync_bytes: usize) -> u64 {
    let config = LogConfig { segment_bytes: 1 << 20, ..small_segments() };
    let mut rig = Rig::with(FaultDisk::new(1), config).unwrap();
    let body = vec![7; sync_bytes - GROUP_HEADER_BYTES - RECORD_HEADER_BYTES];
    let groups = (1 << 20) / sync_bytes as u64;
    let [_, spent] = [(); 2].map(|()| {
        let before = rig.disk.changes();
        for _ in 0..groups {
            rig.group(&[&body], true);
            rig.pump();
        }
        rig.disk.changes() - before
    });
    spent - 2 * groups
}

#[test]
fn a_segment_is_filled_in_parts_unless_syncs_are_long() {
    let (filled, left) = (changes_beside(15 << 10), changes_beside(17 << 10));
    assert_eq!(filled - left, 4, "{filled} and {left}");
}
