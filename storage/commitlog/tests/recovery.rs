//! What an open makes of damaged files: a torn tail is cut, damage below what was synced is reported.
mod rig;

use std::path::Path;
use std::sync::Arc;

use mailrail_commitlog::disk::{FaultDisk, Loss};
use mailrail_commitlog::{OpenError, Position, SEGMENT_BYTES_MIN, spawn};
use rig::*;

fn found_in(disk: &FaultDisk) -> Vec<Held> {
    held_by(disk).unwrap().1
}

fn corrupt_at(disk: &FaultDisk) -> Position {
    match held_by(disk) {
        Err(OpenError::Corrupt { file, position, what, hint }) => {
            assert!(file.starts_with(DIR) && !what.is_empty() && !hint.is_empty());
            position
        }
        other => panic!("expected corruption, found {other:?}"),
    }
}

fn tampered(disk: &FaultDisk, base: Position, tamper: impl Fn(&mut Vec<u8>)) -> FaultDisk {
    let fork = disk.fork();
    fork.tamper(&segment_path(base), tamper);
    fork
}

#[test]
fn a_last_group_torn_at_any_byte_is_cut_and_never_seen_again() {
    let (rig, [.., last, end]) = three_groups();
    let disk = rig.disk.power_cut(Loss::All);
    for torn_at in last..end {
        let torn = tampered(&disk, 0, |bytes| bytes[torn_at..].fill(0));
        let whole = torn.contents(&segment_path(0)) == disk.contents(&segment_path(0));
        assert!(!whole || torn_at >= end - 8, "only padding can be torn without loss");
        let mut next = Rig::on(torn).unwrap();
        let expected = if whole { 6 } else { 4 };
        assert_eq!(next.found, rig.submitted[..expected], "torn at {torn_at}");
        let cut = next.log.recovery.cut.clone();
        assert_eq!(cut.is_some(), !whole && torn_at > last, "torn at {torn_at}: {cut:?}");
        // A shorter group takes the place; what was behind it must be gone.
        next.group(&[b"short"], true);
        next.pump();
        let again = next.reopened(Loss::All).unwrap();
        assert_eq!(again.found, next.all(), "torn at {torn_at}");
        assert_eq!(again.log.recovery.cut, None);
    }
}

#[test]
fn a_lost_page_before_a_kept_one_cuts_all_of_the_group() {
    let mut rig = Rig::new();
    rig.group(&[b"kept"], true);
    rig.pump();
    let end = rig.group(&[&[8; 5000], &[9; 5000]], false) as usize;
    rig.group(&[b"behind it"], false);
    rig.write();
    let disk = rig.disk.power_cut(Loss::Nothing);
    for page in (4096..end).step_by(4096) {
        let from = page.max(4096 + 64 + 16);
        let torn = tampered(&disk, 0, |bytes| bytes[from..page + 4096].fill(0));
        let (recovery, held) = held_by(&torn).unwrap();
        assert_eq!(held, rig.submitted[..1], "page at {page}");
        assert_eq!(recovery.cut.map(|cut| cut.position), Some(4096 + 64 + 16));
    }
}

#[test]
fn every_flipped_bit_above_what_was_synced_cuts_the_group() {
    let (rig, [.., last, end]) = three_groups();
    let disk = rig.disk.power_cut(Loss::All);
    for bit in last * 8..end * 8 {
        let flipped = tampered(&disk, 0, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let (recovery, held) = held_by(&flipped).unwrap();
        assert_eq!(held, rig.submitted[..4], "bit {bit}");
        assert_eq!(recovery.cut.unwrap().position, last as u64);
    }
}

#[test]
fn every_flipped_bit_below_what_was_synced_is_reported_and_nothing_is_changed() {
    let (rig, [first, second, last, _]) = three_groups();
    let disk = rig.disk.power_cut(Loss::All);
    for bit in first * 8..last * 8 {
        let flipped = tampered(&disk, 0, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let before = flipped.contents(&segment_path(0));
        let expected = if bit < second * 8 { first } else { second };
        assert_eq!(corrupt_at(&flipped), expected as u64, "bit {bit}");
        assert_eq!(flipped.contents(&segment_path(0)), before);
    }
}

#[test]
fn zeros_in_place_of_a_synced_group_are_corruption_and_not_the_end() {
    let (rig, [first, second, ..]) = three_groups();
    let disk = rig.disk.power_cut(Loss::All);
    let zeroed = tampered(&disk, 0, |bytes| bytes[first..second].fill(0));
    assert_eq!(corrupt_at(&zeroed), first as u64);
}

#[test]
fn a_synced_end_that_is_missing_is_noticed_through_the_mark_of_an_open() {
    let (rig, [first, _, last, _]) = three_groups();
    let disk = rig.reopened(Loss::All).unwrap().disk;
    let damages: [fn(&mut Vec<u8>, usize); 3] =
        [|bytes, at| bytes[at..].fill(0), |bytes, at| bytes.truncate(at), |bytes, at| bytes[at + 70] ^= 4];
    for damage in damages {
        for at in [first, last] {
            assert_eq!(corrupt_at(&tampered(&disk, 0, |bytes| damage(bytes, at))), at as u64);
        }
    }
}

#[test]
fn damage_after_an_orderly_stop_is_never_taken_for_a_torn_tail() {
    let mut rig = Rig::new();
    let start = 4096;
    rig.group(&[b"only one group"], false);
    let threads = spawn(rig.log.writer, rig.log.syncer, rig.told.clone());
    threads.shutdown().unwrap();
    let disk = rig.disk.power_cut(Loss::All);
    assert_eq!(found_in(&disk), rig.submitted);
    assert_eq!(corrupt_at(&tampered(&disk, 0, |bytes| bytes[start + 80] ^= 1)), start as u64);
}

#[test]
fn damage_in_an_older_segment_is_reported_there() {
    let mut rig = Rig::new();
    for round in 0..30u8 {
        rig.group(&[&[round; 2000]], true);
        rig.pump();
    }
    let disk = rig.disk.power_cut(Loss::All);
    let base = SEGMENT_BYTES_MIN;
    let damaged = tampered(&disk, base, |bytes| bytes[4096 + 100] ^= 1);
    assert_eq!(corrupt_at(&damaged), base + 4096);
    let seal_lost = tampered(&disk, base, |bytes| {
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
        bytes[end - 64..].fill(0);
    });
    assert!((base..2 * base).contains(&corrupt_at(&seal_lost)));
    // A start behind the damage has no need of those bytes.
    assert!(open_from(&damaged, Some(2 * base)).is_ok());
}

#[test]
fn groups_of_an_earlier_epoch_behind_the_end_are_no_records() {
    let mut rig = Rig::new();
    rig.group(&[b"first"], true);
    rig.pump();
    let tail = 4096 + 64 + 16;
    rig.group(&[b"lost 1"], false);
    rig.group(&[b"lost 2"], false);
    rig.group(&[b"lost 3"], false);
    rig.write();
    let old = rig.disk.contents(&segment_path(0)).unwrap();
    let mut next = rig.reopened(Loss::All).unwrap();
    next.group(&[b"new  1"], true);
    next.pump();
    let disk = next.disk.power_cut(Loss::All);
    let behind = tail + 64 + 16;
    let recycled =
        tampered(&disk, 0, |bytes| bytes[behind..behind + 160].copy_from_slice(&old[behind..behind + 160]));
    let (recovery, held) = held_by(&recycled).unwrap();
    assert_eq!(held, next.all());
    assert_eq!(recovery.cut.unwrap().what, "the group is older than the one before it");
}

#[test]
fn groups_of_another_position_or_log_are_no_records() {
    let (rig, [first, second, _, end]) = three_groups();
    let disk = rig.disk.power_cut(Loss::All);
    let other = Rig::on(FaultDisk::new(2)).unwrap();
    let foreign = {
        let mut other = other;
        for body in [[1; 90], [2; 90], [3; 90], [4; 90]] {
            other.group(&[&body[..40], &body[..]], true);
            other.pump();
        }
        other.disk.contents(&segment_path(0)).unwrap()
    };
    let group = second - first;
    let moved = tampered(&disk, 0, |bytes| bytes.copy_within(first..second, end));
    let strange =
        tampered(&disk, 0, |bytes| bytes[end..end + group].copy_from_slice(&foreign[end..end + group]));
    for (disk, what) in [(moved, "another position"), (strange, "checksum")] {
        let (recovery, held) = held_by(&disk).unwrap();
        assert_eq!(held, rig.submitted);
        let cut = recovery.cut.unwrap();
        assert!(cut.position == end as u64 && cut.what.contains(what), "{cut}");
    }
}

/// Two histories of one epoch, as after a refused write: what is right by itself but follows something else is no record.
#[test]
fn a_group_that_does_not_follow_the_one_before_is_no_record() {
    let mut rig = Rig::new();
    rig.group(&[&[1; 264]], false);
    let other_history = {
        let mut other = Rig::on(rig.disk.fork().power_cut(Loss::All)).unwrap();
        // The open above is of a later epoch, as is this one.
        rig = Rig::on(rig.disk.power_cut(Loss::All)).unwrap();
        assert_eq!(other.log.recovery, rig.log.recovery);
        // One group in two, of the same length together.
        other.group(&[&[2; 96]], true);
        other.group(&[&[3; 96]], true);
        other.group(&[b"follows the second"], true);
        other.pump();
        other
    };
    let end = rig.group(&[&[1; 264]], true) as usize;
    rig.pump();
    assert_eq!(other_history.submitted[2].0 as usize, end + 64);
    let foreign = other_history.disk.contents(&segment_path(0)).unwrap();
    let disk = rig.disk.power_cut(Loss::All);
    let mixed = tampered(&disk, 0, |bytes| bytes[end..end + 100].copy_from_slice(&foreign[end..end + 100]));
    let (recovery, held) = held_by(&mixed).unwrap();
    assert_eq!(held, rig.submitted);
    assert_eq!(recovery.cut.unwrap().what, "the group does not follow the one before it");
}

/// A client chooses the bytes of a body, but it does not know the log's id.
#[test]
fn a_body_that_looks_like_a_group_does_not_make_a_torn_tail_corruption() {
    let mut rig = Rig::new();
    rig.group(&[b"kept"], true);
    rig.pump();
    let mut forged = Rig::on(FaultDisk::new(99)).unwrap();
    forged.group(&[&[0; 1000]], true);
    forged.pump();
    forged.group(&[&[0; 1000]], true);
    forged.pump();
    let bytes = forged.disk.contents(&segment_path(0)).unwrap();
    let torn_at = rig.group(&[&bytes[4096..8000]], false) as usize - 8;
    rig.write();
    let torn = tampered(&rig.disk.power_cut(Loss::Nothing), 0, |bytes| bytes[torn_at] ^= 1);
    assert_eq!(found_in(&torn), rig.submitted[..1]);
}

#[test]
fn a_segment_header_that_is_damaged_in_any_bit_is_reported_with_its_file() {
    let (rig, _) = three_groups();
    let disk = rig.disk.power_cut(Loss::All);
    for bit in 0..52 * 8 {
        let flipped = tampered(&disk, 0, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let error = held_by(&flipped).unwrap_err();
        assert!(
            matches!(&error, OpenError::Corrupt { file, .. } if *file == segment_path(0)),
            "bit {bit}: {error}"
        );
    }
    let emptied = tampered(&disk, 0, |bytes| bytes.clear());
    assert_eq!(corrupt_at(&emptied), 0);
}

#[test]
fn a_later_format_is_refused_by_its_number() {
    let (rig, [first, ..]) = three_groups();
    let disk = rig.disk.power_cut(Loss::All);
    let later_segment = tampered(&disk, 0, |bytes| {
        bytes[8] = 9;
        let sum = crc32c::crc32c(&bytes[..48]);
        bytes[48..52].copy_from_slice(&sum.to_le_bytes());
    });
    let log_id: [u8; 8] = disk.contents(&segment_path(0)).unwrap()[16..24].try_into().unwrap();
    let later_group = tampered(&disk, 0, |bytes| {
        bytes[first + 4] = 9;
        let sum = crc32c::crc32c_append(crc32c::crc32c(&log_id), &bytes[first..first + 52]);
        bytes[first + 52..first + 56].copy_from_slice(&sum.to_le_bytes());
    });
    for later in [later_segment, later_group] {
        let error = held_by(&later).unwrap_err();
        assert!(matches!(&error, OpenError::NewerFormat { found: 9, supported: 1, .. }), "{error}");
        assert!(error.to_string().contains("use a later release"));
    }
}

#[test]
fn missing_and_foreign_files_are_reported() {
    use mailrail_commitlog::disk::Disk;
    let mut rig = Rig::new();
    for round in 0..30u8 {
        rig.group(&[&[round; 2000]], true);
        rig.pump();
    }
    let disk = rig.disk.power_cut(Loss::All);
    let hole = disk.fork();
    hole.remove(&segment_path(SEGMENT_BYTES_MIN)).unwrap();
    let error = held_by(&hole).unwrap_err().to_string();
    assert!(
        error.contains("one is missing") && error.contains(&format!("{:020}.seg", 2 * SEGMENT_BYTES_MIN)),
        "{error}"
    );

    let foreign = FaultDisk::new(2);
    let mut other = Rig::on(foreign).unwrap();
    other.group(&[b"x"], true);
    other.pump();
    let bytes = other.disk.contents(&segment_path(0)).unwrap();
    let mixed = tampered(&disk, 0, |content| content.clone_from(&bytes));
    let error = held_by(&mixed).unwrap_err().to_string();
    assert!(error.contains("another log"), "{error}");

    let misnamed = disk.fork();
    misnamed.create(&Path::new(DIR).join("log/17.seg")).unwrap();
    let error = held_by(&misnamed).unwrap_err().to_string();
    assert!(error.contains("17.seg") && error.contains("move the file"), "{error}");

    let with_others = disk.fork();
    with_others.create(&Path::new(DIR).join("log/00000000000000000000.keys")).unwrap();
    with_others.create(&Path::new(DIR).join("log/next.tmp")).unwrap();
    assert_eq!(found_in(&with_others), rig.submitted);
}

#[test]
fn a_file_of_zeros_after_the_end_holds_no_records() {
    let (rig, _) = three_groups();
    let disk = rig.disk.power_cut(Loss::All);
    assert!(disk.paths().contains(&segment_path(SEGMENT_BYTES_MIN)), "the next segment was made ahead");
    let next = Rig::on(disk).unwrap();
    assert_eq!(next.found, rig.submitted);
    assert_eq!(next.log.recovery.cut, None);
}

#[test]
fn a_killed_process_loses_nothing_that_was_written() {
    let mut rig = Rig::new();
    for round in 0..30u8 {
        rig.group(&[&[round; 1500]], false);
        while rig.write() == mailrail_commitlog::Step::Blocked {
            rig.sync();
        }
    }
    while rig.write() != mailrail_commitlog::Step::Idle {
        rig.sync();
    }
    let mut next = rig.reopened(Loss::Nothing).unwrap();
    assert_eq!(next.found, rig.submitted);
    // The open made it durable: a power cut right after it loses nothing either.
    next.disk = next.disk.power_cut(Loss::All);
    assert_eq!(found_in(&next.disk), rig.submitted);
}

#[test]
fn a_configuration_that_cannot_work_is_refused_before_the_disk_is_touched() {
    for segment_bytes in [0, SEGMENT_BYTES_MIN - 4096, SEGMENT_BYTES_MIN + 1, u64::MAX - 4095] {
        let disk = FaultDisk::new(1);
        let config = mailrail_commitlog::LogConfig { segment_bytes, ..small_segments() };
        let dir = Path::new(DIR);
        let error = mailrail_commitlog::open(Arc::new(disk.clone()), dir, config, None, &mut Seen::default());
        assert!(matches!(error, Err(OpenError::Config(_))));
        assert!(disk.paths().is_empty());
    }
}
