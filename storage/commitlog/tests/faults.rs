//! Power cuts at every point, errors of the device, and a full disk.
mod rig;

use std::path::PathBuf;

use mailrail_commitlog::disk::{FaultDisk, Loss, Op};
use mailrail_commitlog::record::padded;
use mailrail_commitlog::{AppendError, LogFault, OpenError, SEGMENT_BYTES_MIN, Step};
use rig::*;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

/// A run that appends, syncs, rolls and trims. It goes on as if nothing was wrong when calls fail.
fn scripted_run(rig: &mut Rig) {
    for round in 0..14u8 {
        for part in 0..=round % 3 {
            let body = vec![round; 400 * usize::from(part) + 1500];
            if rig.add(&body).is_err() {
                return;
            }
        }
        rig.submit(round % 4 == 1);
        rig.write();
        if round % 2 == 1 {
            rig.sync();
            rig.write();
        }
        if round == 10 {
            let synced = rig.log.appender.synced_to();
            rig.log.appender.trim(synced);
        }
    }
}

fn run_with_power_failing_after(changes: u64, seed: u64, loss: Loss) {
    let disk = FaultDisk::new(seed);
    disk.write_short(seed % 2 == 1);
    disk.fail_power_after(changes);
    let mut first = match Rig::on(disk.clone()) {
        Ok(rig) => rig,
        Err(OpenError::Io { .. }) => {
            let again = disk.power_cut(loss);
            let mut second = Rig::on(again.clone()).unwrap();
            assert!(second.log.recovery.empty && second.found.is_empty());
            second.group(&[b"after an open that failed"], true);
            // Power for the write and its sync, and nothing that could make other things durable by the way.
            again.write_short(false);
            again.fail_power_after(2);
            second.write();
            second.sync();
            assert!(second.synced() > 0);
            assert_eq!(held_by(&again.power_cut(Loss::All)).unwrap().1, second.submitted, "change {changes}");
            return;
        }
        Err(other) => panic!("the open failed with {other}"),
    };
    scripted_run(&mut first);
    let again = disk.power_cut(loss);
    let mut second =
        Rig::on(again.clone()).unwrap_or_else(|error| panic!("change {changes}, seed {seed}: {error}"));
    first.assert_recovered(&second.log.recovery, &second.found);

    // The next process has its own cut, somewhere, and must find what both wrote. After a killed one it must not have
    // built upon anything that is in memory only.
    again.fail_power_after(again.random(60));
    scripted_run(&mut second);
    let (recovery, held) =
        held_by(&again.power_cut(if loss == Loss::Nothing { Loss::All } else { loss })).unwrap();
    second.assert_recovered(&recovery, &held);
}

#[test]
fn power_cut_at_every_change_loses_nothing_synced_and_leaves_whole_groups() {
    let mut whole = Rig::new();
    scripted_run(&mut whole);
    let changes = whole.disk.changes();
    assert!(whole.log.appender.start() > 0 && changes > 60, "the script rolls and trims: {changes} changes");
    for changes in 0..=changes {
        run_with_power_failing_after(changes, 1, Loss::All);
        run_with_power_failing_after(changes, 2, Loss::Nothing);
        for seed in 3..9 {
            run_with_power_failing_after(changes, seed, Loss::Torn);
            run_with_power_failing_after(changes, seed, Loss::Pages);
        }
    }
}

#[test]
fn power_cut_at_every_change_of_an_open_leaves_what_was_there() {
    let mut rig = Rig::new();
    scripted_run(&mut rig);
    // With data that is written and not synced, as a killed process leaves it.
    rig.group(&[&[1; 3000]], false);
    rig.group(&[&[2; 3000]], false);
    rig.write();
    for loss in [Loss::All, Loss::Torn, Loss::Pages, Loss::Nothing] {
        let disk = rig.disk.fork().power_cut(loss);
        let (recovery, held) = held_by(&disk).unwrap();
        for changes in 0..40 {
            for second_loss in [Loss::All, Loss::Torn, Loss::Pages] {
                let failing = disk.fork();
                failing.fail_power_after(changes);
                let opened = Rig::on(failing.clone());
                let (again, found) = held_by(&failing.power_cut(second_loss)).unwrap();
                if loss != Loss::Nothing || opened.is_ok() {
                    assert_eq!((again.end, &found), (recovery.end, &held), "change {changes}");
                }
                rig.assert_recovered(&again, &found);
            }
        }
    }
}

fn assert_poisoned(rig: &mut Rig) {
    let changes = rig.disk.changes();
    assert!(rig.log.appender.poisoned());
    assert_eq!(rig.log.appender.room(), 0);
    assert!(matches!(rig.log.appender.roll(8), Err(AppendError::Poisoned(_))));
    assert_eq!(rig.submit(true), None);
    assert_eq!([rig.write(), rig.sync(), rig.write(), rig.sync()], [Step::Poisoned; 4]);
    assert_eq!(rig.told.0.lock().unwrap().poisoned.len(), 1, "told once");
    assert_eq!(rig.disk.changes(), changes, "no write and no sync after the fault");
}

#[test]
fn a_failed_sync_ends_all_writing_and_is_never_repeated() {
    for errno in [EIO, ENOSPC, EDQUOT] {
        let mut rig = Rig::new();
        rig.group(&[b"synced"], true);
        rig.pump();
        let synced = rig.synced();
        rig.group(&[b"written"], true);
        rig.write();
        rig.disk.fail(Op::Sync, ".seg", 0, 1, errno);
        assert_eq!(rig.sync(), Step::Poisoned);
        assert_eq!(rig.synced(), synced, "no sync is told after the error");
        assert!(
            matches!(&rig.told.0.lock().unwrap().poisoned[0], LogFault::Io { errno: Some(found), .. } if *found == errno)
        );
        assert_poisoned(&mut rig);
        let (position, body) = &rig.submitted[0];
        assert_eq!(rig.log.reader.read(&[(position + 8, 6)])[0].as_ref().unwrap(), body, "reads go on");
        let (recovery, held) = held_by(&rig.disk.power_cut(Loss::All)).unwrap();
        rig.assert_recovered(&recovery, &held);
    }
}

#[test]
fn what_a_start_finds_after_a_failed_sync_is_on_the_disk_from_then_on() {
    for seed in 0..20 {
        let mut rig = Rig::on(FaultDisk::new(seed)).unwrap();
        for n in 0..6u8 {
            rig.group(&[&[n; 3_000]], true);
            rig.write();
        }
        rig.disk.fail(Op::Sync, ".seg", 0, 1, EIO);
        assert_eq!(rig.sync(), Step::Poisoned);
        // The process ends, the machine goes on; memory holds what the failed sync did not write.
        let next = rig.reopened(Loss::Nothing).unwrap();
        let (_, held) = held_by(&next.disk.power_cut(Loss::All)).unwrap();
        assert_eq!(held, next.found, "seed {seed}");
    }
}

#[test]
fn a_failed_write_ends_all_writing() {
    let mut rig = Rig::new();
    rig.group(&[b"synced"], true);
    rig.pump();
    let written = rig.written();
    rig.group(&[b"not written"], true);
    rig.disk.fail(Op::Write, ".seg", 0, 1, EIO);
    assert_eq!(rig.write(), Step::Poisoned);
    assert_eq!(rig.written(), written);
    assert_poisoned(&mut rig);
}

#[test]
fn a_device_error_while_the_next_segment_is_made_ends_all_writing() {
    let mut rig = Rig::new();
    rig.group(&[b"synced"], true);
    rig.disk.fail(Op::Sync, "next.tmp", 0, 1, EIO);
    rig.pump();
    assert_poisoned(&mut rig);
}

#[test]
fn a_disk_without_room_for_a_segment_refuses_before_anything_changes_and_goes_on_when_there_is_room() {
    let mut rig = Rig::new();
    rig.disk.limit_bytes(Some(SEGMENT_BYTES_MIN as usize));
    rig.group(&[&[1; 10_000]], true);
    rig.pump();
    let (position, room) = (rig.log.appender.position(), rig.log.appender.room());
    for _ in 0..3 {
        assert!(matches!(rig.log.appender.roll(5000), Err(AppendError::NoSpace { .. })));
        assert_eq!((rig.log.appender.position(), rig.log.appender.room()), (position, room));
    }
    rig.group(&[b"what fits is still taken"], true);
    rig.pump();
    let read = rig.log.reader.read(&[(rig.submitted[0].0 + 8, 10_000)]);
    assert_eq!(read[0].as_ref().unwrap(), &rig.submitted[0].1);
    assert_eq!(rig.disk.paths().len(), 1, "nothing half made is left");
    let (_, held) = held_by(&rig.disk.fork().power_cut(Loss::All)).unwrap();
    assert_eq!(held, rig.submitted, "a full disk can be opened and read");

    rig.disk.limit_bytes(None);
    rig.group(&[&[2; 10_000]], true);
    rig.pump();
    assert!(!rig.log.appender.poisoned());
    assert_eq!(rig.reopened(Loss::All).unwrap().found, rig.submitted);
}

#[test]
fn a_disk_that_is_nearly_full_is_told_once_and_so_is_its_end() {
    let mut rig = Rig::new();
    let told = |rig: &Rig| rig.told.0.lock().unwrap().short.clone();
    rig.pump();
    assert_eq!(told(&rig), [] as [bool; 0]);
    // Room for what is there, the next segment, and not quite what should be left.
    rig.disk.limit_bytes(Some(3 * SEGMENT_BYTES_MIN as usize + (32 << 10) - 1));
    for _ in 0..4 {
        rig.group(&[&[1; 5000]], true);
        rig.pump();
    }
    assert_eq!(told(&rig), [true], "and the log took what it was given");
    rig.disk.limit_bytes(Some(3 * SEGMENT_BYTES_MIN as usize + (33 << 10)));
    rig.sync();
    assert_eq!(told(&rig), [true], "it is not over at the first bytes");
    rig.disk.limit_bytes(None);
    rig.sync();
    rig.sync();
    assert_eq!(told(&rig), [true, false]);
}

#[test]
fn too_many_open_files_is_no_fault_of_the_log() {
    let mut rig = Rig::new();
    rig.group(&[&[1; 10_000]], true);
    rig.disk.fail(Op::Create, "next.tmp", 0, 2, 24);
    rig.pump();
    assert!(matches!(rig.log.appender.roll(10_000), Err(AppendError::NoSegment { .. })));
    rig.group(&[&[2; 10_000]], true);
    rig.pump();
    assert_eq!(rig.reopened(Loss::All).unwrap().found, rig.submitted);
}

#[test]
fn a_disk_that_is_full_at_a_write_cuts_back_to_the_last_whole_group_and_goes_on_when_there_is_room() {
    for (errno, short) in [(ENOSPC, false), (EDQUOT, true)] {
        for skip in 0..6 {
            let mut rig = Rig::new();
            let first_end = rig.group(&[b"synced"], true);
            rig.pump();
            let ends: Vec<_> = (0..6u8).map(|n| rig.group(&[&[n; 300]], true)).collect();
            rig.disk.write_short(short);
            rig.disk.fail(Op::Write, ".seg", if short { skip } else { 0 }, 1, errno);
            let step = rig.write();
            let told = rig.told.0.lock().unwrap().refused.clone();
            if told.is_empty() {
                assert!(short && rig.written() == ends[5], "all was written in fewer writes");
                continue;
            }
            assert_eq!(step, Step::Full);
            let from = told[0].0;
            assert!(from == first_end || ends.contains(&from), "{from}");
            assert_eq!(rig.written(), from);
            assert_eq!(rig.log.appender.roll(8), Err(AppendError::Refused { from }));
            assert_eq!(rig.log.appender.room(), 0);
            // Nothing of the refused groups is on the disk.
            let (recovery, held) = held_by(&rig.disk.fork().power_cut(Loss::Nothing)).unwrap();
            assert!(held.iter().all(|held| held.0 < from));
            assert_eq!(recovery.cut, None);

            // With room they are written where they belong, and others behind them.
            rig.disk.write_short(false);
            rig.pump();
            assert_eq!(rig.written(), ends[5]);
            rig.group(&[b"after the refusal"], true);
            rig.pump();
            let again = rig.reopened(Loss::All).unwrap();
            assert_eq!(again.found, rig.submitted);
            assert_eq!(again.log.recovery.cut, None);
            assert_eq!(rig.told.0.lock().unwrap().refused.len(), 1, "told once");
        }
    }
}

#[test]
fn a_refusal_while_later_segments_were_entered_keeps_their_groups_too() {
    let mut rig = Rig::new();
    rig.group(&[b"synced"], true);
    rig.pump();
    for n in 0..4u8 {
        rig.group(&[&[n; 12_000]], true);
    }
    rig.disk.fail(Op::Write, ".seg", 0, 1, ENOSPC);
    assert_eq!(rig.write(), Step::Full);
    rig.pump();
    for n in 0..8u8 {
        rig.group(&[&[n; 9_000]], true);
        rig.pump();
    }
    assert_eq!(rig.told.0.lock().unwrap().refused.len(), 1);
    assert_eq!(rig.reopened(Loss::All).unwrap().found, rig.submitted);
}

#[test]
fn room_that_was_reserved_stays_when_the_disk_fills_meanwhile() {
    for pushed_before in [0, 1] {
        let mut rig = Rig::new();
        rig.group(&[b"synced"], true);
        rig.pump();
        rig.group(&[b"finds the disk full"], true);
        let bodies: [&[u8]; 2] = [b"either both", b"or none"];
        rig.log.appender.reserve(bodies.iter().map(|body| padded(body.len())).sum()).unwrap();
        let (before, after) = bodies.split_at(pushed_before);
        for body in before {
            rig.add(body).unwrap();
        }
        rig.disk.fail(Op::Write, ".seg", 0, 1, ENOSPC);
        assert_eq!(rig.write(), Step::Full);
        for body in after {
            rig.add(body).unwrap();
        }
        rig.submit(true);
        assert_eq!(rig.log.appender.room(), 0, "nothing more is taken");
        rig.pump();
        assert_eq!(rig.reopened(Loss::All).unwrap().found, rig.submitted);
    }
}

#[test]
fn a_disk_that_stays_full_is_tried_again_without_harm() {
    let mut rig = Rig::new();
    rig.group(&[b"refused"], true);
    rig.disk.fail(Op::Write, ".seg", 0, 1, ENOSPC);
    assert_eq!(rig.write(), Step::Full);
    rig.disk.fail(Op::Allocate, ".seg", 0, 3, ENOSPC);
    for _ in 0..3 {
        assert_eq!(rig.write(), Step::Full);
        assert!(matches!(rig.log.appender.roll(8), Err(AppendError::Refused { .. })));
    }
    rig.pump();
    rig.group(&[b"taken"], true);
    rig.pump();
    assert_eq!(rig.told.0.lock().unwrap().refused.len(), 1, "told once");
    assert_eq!(rig.reopened(Loss::All).unwrap().found, rig.submitted);
}

#[test]
fn a_trimmed_segment_that_cannot_be_removed_leaves_no_gap_and_goes_with_the_next() {
    for (op, file) in [(Op::Rename, ".seg"), (Op::Open, ".tmp"), (Op::Truncate, ".tmp"), (Op::Remove, ".tmp")]
    {
        let mut rig = Rig::new();
        for n in 0..20u8 {
            rig.group(&[&[n; 5_000]], true);
            rig.pump();
        }
        // One is kept to be used again.
        rig.log.appender.trim(SEGMENT_BYTES_MIN);
        rig.pump();
        let kept = segment_path(0).with_extension("tmp");
        rig.disk.fail(op, file, 0, 1, 13);
        rig.log.appender.trim(3 * SEGMENT_BYTES_MIN);
        rig.pump();
        assert!(rig.disk.paths().contains(&segment_path(2 * SEGMENT_BYTES_MIN)), "{op:?}");
        assert!(held_by(&rig.disk.fork().power_cut(Loss::All)).is_ok(), "{op:?}");
        rig.log.appender.trim(4 * SEGMENT_BYTES_MIN);
        rig.pump();
        let names = rig.disk.paths();
        let is_left = |path: &PathBuf| *path == kept || *path >= segment_path(4 * SEGMENT_BYTES_MIN);
        assert!(names.contains(&kept) && names.iter().all(is_left), "{op:?} left {names:?}");
        assert_eq!(rig.reopened(Loss::All).unwrap().log.recovery.start, 4 * SEGMENT_BYTES_MIN);
    }
}

#[test]
fn a_disk_in_use_is_refused() {
    use mailrail_commitlog::disk::Disk;
    let disk = FaultDisk::new(1);
    let held = disk.lock(DIR.as_ref()).unwrap();
    assert!(disk.lock(DIR.as_ref()).is_err());
    drop(held);
    assert!(disk.lock(DIR.as_ref()).is_ok());
}
