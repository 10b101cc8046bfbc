//! What outlives its segments: found at its position after the trim, after an open, after a power cut at any change.
mod rig;

use std::ops::Range;
use std::path::PathBuf;

use mailrail_commitlog::disk::{FaultDisk, Loss};
use mailrail_commitlog::{Extent, KeepError, OpenError, Position, ReadError};
use rig::{Held, Rig, held_by};

/// A log of several segments with groups of records of very different lengths.
fn long_log() -> Rig {
    let mut rig = Rig::new();
    grow(&mut rig, 24);
    rig
}

fn grow(rig: &mut Rig, groups: usize) {
    for group in 0..groups {
        let bodies: Vec<Vec<u8>> = (1..6).map(|step| vec![group as u8; step * step * 90 + group]).collect();
        rig.group(&bodies.iter().map(Vec::as_slice).collect::<Vec<_>>(), true);
        rig.pump();
    }
}

/// Every third record, of all that lie in the range.
fn every_third(rig: &Rig, range: &Range<Position>) -> Vec<Held> {
    rig.all().into_iter().filter(|held| range.contains(&held.0)).step_by(3).collect()
}

fn positions(held: &[Held]) -> Vec<Position> {
    held.iter().map(|held| held.0).collect()
}

/// From the start of the first extent to the end of one.
fn first_extents(rig: &Rig, count: usize) -> Range<Position> {
    let extents = rig.log.reader.extents();
    extents[0].positions.start..extents[count - 1].positions.end
}

fn trim(rig: &mut Rig, before: Position) {
    assert_eq!(rig.log.appender.trim(before), before);
    rig.pump();
}

/// Reads the records' own bytes, in one call.
fn read(rig: &Rig, held: &[Held]) -> Vec<Result<Vec<u8>, ReadError>> {
    let ranges: Vec<_> = held.iter().map(|(position, body)| (position + 8, body.len() as u32)).collect();
    rig.log.reader.read(&ranges).into_iter().map(|read| read.map(|bytes| bytes.to_vec())).collect()
}

fn assert_found(rig: &Rig, held: &[Held]) {
    for (held, read) in held.iter().zip(read(rig, held)) {
        assert_eq!(read.as_ref(), Ok(&held.1), "position {}", held.0);
    }
}

/// Opens a copy of the disk as it would be after a power cut.
fn next_process(rig: &Rig) -> Rig {
    Rig::on(rig.disk.fork().power_cut(Loss::All)).unwrap()
}

fn kept_files(disk: &FaultDisk) -> Vec<PathBuf> {
    let is_kept = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "kept");
    disk.paths().into_iter().filter(is_kept).collect()
}

#[test]
fn what_is_kept_is_found_at_its_position_and_nothing_else_below_the_start() {
    let mut rig = long_log();
    let range = first_extents(&rig, 4);
    let kept = every_third(&rig, &range);
    rig.log.reader.keep(range.clone(), &positions(&kept)).unwrap();
    trim(&mut rig, range.end);

    let all = rig.all();
    for (held, read) in all.iter().zip(read(&rig, &all)) {
        if held.0 >= range.end || kept.contains(held) {
            assert_eq!(read.as_ref(), Ok(&held.1), "position {}", held.0);
        } else {
            assert_eq!(read, Err(ReadError::Trimmed { position: held.0 + 8, start: range.end }));
        }
    }
    let past_its_end = rig.log.reader.read(&[(kept[1].0 + 8, 50_000)]).pop().unwrap();
    assert!(matches!(past_its_end, Err(ReadError::Trimmed { .. })), "{past_its_end:?}");

    let expected: Vec<Held> =
        all.into_iter().filter(|held| held.0 >= range.end || kept.contains(held)).collect();
    let mut reopened = next_process(&rig);
    assert_eq!(reopened.found, expected, "an open shows what is kept, then the segments");
    assert_found(&reopened, &kept);
    grow(&mut reopened, 2);
    assert_found(&reopened, &kept);
}

#[test]
fn what_is_kept_of_kept_files_and_segments_becomes_one_file() {
    let mut rig = long_log();
    let range = first_extents(&rig, 2);
    let first = every_third(&rig, &range);
    rig.log.reader.keep(range.clone(), &positions(&first)).unwrap();
    trim(&mut rig, range.end);

    let bytes = rig.log.reader.extents()[0].bytes;
    let extent = Extent { positions: range.clone(), bytes, is_kept: true, reaches_on: false };
    assert_eq!(rig.log.reader.extents()[0], extent);
    assert!(bytes < 2 * 16_384, "{bytes} bytes");
    let both = first_extents(&rig, 3);
    let mut live: Vec<Held> = first.iter().step_by(2).cloned().collect();
    live.extend(every_third(&rig, &(range.end..both.end)));
    rig.log.reader.keep(both.clone(), &positions(&live)).unwrap();
    trim(&mut rig, both.end);
    assert_eq!(kept_files(&rig.disk).len(), 1);
    assert_found(&rig, &live);
    assert_found(&next_process(&rig), &live);

    rig.log.reader.keep(both.clone(), &[]).unwrap();
    assert_eq!(kept_files(&rig.disk).len(), 0, "what holds nothing takes no file");
    assert_eq!(rig.log.reader.extents()[0].positions.start, both.end);
}

#[test]
fn what_was_kept_for_a_trim_that_did_not_come_about_changes_nothing() {
    let mut rig = long_log();
    let range = first_extents(&rig, 2);
    let first = every_third(&rig, &range);
    rig.log.reader.keep(range.clone(), &positions(&first)).unwrap();
    trim(&mut rig, range.end);
    // The kept file now also stands for segments that are still there.
    let longer = first_extents(&rig, 4);
    let live: Vec<Held> = first.iter().cloned().chain(every_third(&rig, &(range.end..longer.end))).collect();
    rig.log.reader.keep(longer.clone(), &positions(&live)).unwrap();
    let extents = rig.log.reader.extents();
    assert_eq!((&extents[0].positions, extents[0].is_kept, extents[0].reaches_on), (&range, true, true));
    assert_eq!((extents[1].positions.start, extents[1].is_kept), (range.end, false));
    let all: Vec<Held> =
        rig.all().into_iter().filter(|held| held.0 >= range.end || first.contains(held)).collect();
    assert_found(&rig, &all);
    let mut rig = next_process(&rig);
    assert_eq!(rig.found, all);
    // Without it, what follows cannot be kept: the file would be replaced, and what only it holds be lost.
    let error = rig.log.reader.keep(range.end..longer.end, &[]).unwrap_err();
    assert!(matches!(error, KeepError::CutsKeptFile { .. }), "{error}");
    // A later trim that goes less far takes what is there.
    let shorter = first_extents(&rig, 2);
    let live: Vec<Held> = all.iter().filter(|held| held.0 < shorter.end).step_by(2).cloned().collect();
    rig.log.reader.keep(shorter.clone(), &positions(&live)).unwrap();
    trim(&mut rig, shorter.end);
    let all: Vec<Held> =
        all.into_iter().filter(|held| held.0 >= shorter.end || live.contains(held)).collect();
    assert_found(&rig, &all);
    assert_eq!(next_process(&rig).found, all);
}

#[test]
fn a_read_of_a_log_without_segments_ends() {
    let rig = Rig::new();
    let read = rig.log.reader.read(&[(0, 8), (100, 8)]);
    assert!(matches!(read[..], [Err(ReadError::Trimmed { .. }), Err(ReadError::Trimmed { .. })]), "{read:?}");
}

#[test]
fn only_whole_extents_and_records_that_are_there_can_be_kept() {
    let mut rig = long_log();
    let range = first_extents(&rig, 2);
    let kept = every_third(&rig, &range);
    let wrong = [kept[0].0, kept[1].0 + 8, kept[2].0];
    let error = rig.log.reader.keep(range.clone(), &wrong).unwrap_err();
    assert!(matches!(error, KeepError::Missing { position } if position == kept[1].0 + 8), "{error}");
    assert_eq!(rig.log.reader.extents().iter().filter(|extent| extent.is_kept).count(), 0);
    let reopened = next_process(&rig);
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "seg");
    assert!(reopened.disk.paths().iter().all(is_segment), "nothing is left of the attempt");

    rig.log.reader.keep(range.clone(), &positions(&kept)).unwrap();
    trim(&mut rig, range.end);
    let cut = range.start + 16_384..range.end + 16_384;
    let error = rig.log.reader.keep(cut, &[]).unwrap_err();
    assert!(matches!(error, KeepError::CutsKeptFile { .. }), "{error}");
    assert_found(&rig, &kept);
}

#[test]
fn a_power_cut_at_any_change_leaves_every_live_record_and_at_most_one_copy() {
    // Two rounds, the second of which replaces what the first kept.
    let script = |rig: &mut Rig| -> Result<Vec<Held>, KeepError> {
        let (mut live, mut kept_to) = (Vec::new(), 0);
        for _ in 0..2 {
            let range = first_extents(rig, 3);
            let known: Vec<Held> = live.iter().step_by(2).cloned().collect();
            let newer = every_third(rig, &(kept_to..range.end));
            kept_to = range.end;
            live = known.into_iter().chain(newer).collect();
            rig.log.reader.keep(range.clone(), &positions(&live))?;
            rig.log.appender.trim(range.end);
            rig.pump();
        }
        Ok(live)
    };
    let mut whole = long_log();
    let before = whole.disk.changes();
    let live = script(&mut whole).unwrap();
    let changes = whole.disk.changes() - before;
    assert!(changes > 20, "{changes} changes");
    for changes in 0..=changes {
        for loss in [Loss::All, Loss::Nothing, Loss::Torn, Loss::Pages] {
            let mut rig = long_log();
            rig.disk.fail_power_after(changes);
            let _ = script(&mut rig);
            let (recovery, held) = held_by(&rig.disk.power_cut(loss)).unwrap();
            assert!(held.is_sorted_by(|one, next| one.0 < next.0), "change {changes}: shown once, in order");
            for wanted in live.iter().chain(rig.all().iter().filter(|held| held.0 >= recovery.start)) {
                assert!(held.contains(wanted), "change {changes}, {loss:?}: {} is lost", wanted.0);
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_kept_file_is_noticed_and_no_wrong_byte_is_read() {
    let mut rig = long_log();
    let range = first_extents(&rig, 2);
    let kept: Vec<Held> = every_third(&rig, &range).into_iter().take(4).collect();
    rig.log.reader.keep(range.clone(), &positions(&kept)).unwrap();
    trim(&mut rig, range.end);
    let path = kept_files(&rig.disk).pop().unwrap();
    let bytes = rig.disk.contents(&path).unwrap().len();
    let (mut at_open, mut at_read) = (0, 0);
    for byte in 0..bytes {
        let disk = rig.disk.fork().power_cut(Loss::All);
        disk.tamper(&path, |bytes| bytes[byte] ^= 1 << (byte % 8));
        match Rig::on(disk.fork()) {
            Err(OpenError::Corrupt { file, .. }) => {
                assert_eq!(file, path);
                at_open += 1;
            }
            Err(other) => panic!("byte {byte}: {other}"),
            // Only the header's and the block header's spare bytes carry nothing.
            Ok(opened) => {
                assert_eq!(opened.found[..4], kept, "byte {byte}");
                at_read += 1;
            }
        }
    }
    assert!(at_read <= 16, "{at_read} of {bytes} bytes were not noticed");
    assert!(at_open > 2000, "{at_open}");

    // Damage that comes while the file is in use costs the reads of that block.
    rig.disk.tamper(&path, |bytes| bytes[64 + 40 + 40] ^= 1);
    for read in read(&rig, &kept) {
        assert!(matches!(read, Err(ReadError::Io { .. })), "{read:?}");
    }
    for length in 0..bytes {
        let disk = rig.disk.fork().power_cut(Loss::All);
        disk.tamper(&path, |bytes| bytes.truncate(length));
        assert!(matches!(Rig::on(disk), Err(OpenError::Corrupt { .. })), "cut to {length} bytes");
    }
}

#[test]
fn damage_in_a_segment_is_not_copied() {
    let rig = long_log();
    let range = first_extents(&rig, 2);
    let kept = every_third(&rig, &range);
    rig.disk.tamper(&rig::segment_path(0), |bytes| bytes[kept[3].0 as usize + 20] ^= 1);
    let error = rig.log.reader.keep(range, &positions(&kept)).unwrap_err();
    assert!(matches!(error, KeepError::Source(OpenError::Corrupt { .. })), "{error}");
    assert!(kept_files(&rig.disk).is_empty());
}
