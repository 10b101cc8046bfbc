//! Copies of a log that is being written: what they hold, and that trimming waits for them.
mod rig;

use std::path::Path;
use std::sync::Arc;

use mailrail_commitlog::disk::{Disk, FaultDisk};
use mailrail_commitlog::{LogCopy, Position, SEGMENT_BYTES_MIN, is_copied_file, open};
use rig::*;

/// Bytes that the tests read at once: more than a header, less than a segment.
const CHUNK_BYTES: usize = 5000;

/// Another disk with the files of a copy, less the last `missing` bytes of the last one.
fn restored(copy: &LogCopy, missing: u64) -> FaultDisk {
    let disk = FaultDisk::new(2);
    disk.create_dir(&Path::new(DIR).join("log")).unwrap();
    let files: Vec<_> = copy.files().collect();
    for (number, file) in files.iter().enumerate() {
        assert!(is_copied_file(file), "{file:?}");
        let left_out = if number + 1 == files.len() { missing } else { 0 };
        let made = disk.create(&Path::new(DIR).join(&file.name)).unwrap();
        let bytes = file.bytes - left_out;
        for offset in (0..bytes).step_by(CHUNK_BYTES) {
            let piece = copy.read(number, offset, CHUNK_BYTES.min((bytes - offset) as usize)).unwrap();
            assert_eq!(made.write_at(&[std::io::IoSlice::new(&piece)], offset).unwrap(), piece.len());
        }
    }
    disk
}

/// A log with several segments, synced; and one record more that is written and not synced.
fn several_segments() -> (Rig, Vec<Held>, Position) {
    let mut rig = Rig::new();
    for number in 0..12 {
        rig.group(&[&[number; 5000]], true);
        rig.pump();
    }
    let (held, synced) = (rig.all(), rig.synced());
    rig.group(&[b"not synced"], false);
    rig.write();
    (rig, held, synced)
}

#[test]
fn a_copy_has_what_is_kept_of_trimmed_segments_also_when_that_is_replaced_while_it_is_read() {
    let (mut rig, held, _) = several_segments();
    rig.sync();
    let range = 0..rig.log.reader.extents()[1].positions.end;
    let live: Vec<Position> =
        held.iter().map(|held| held.0).filter(|at| range.contains(at)).step_by(2).collect();
    rig.log.reader.keep(range.clone(), &live).unwrap();
    rig.log.appender.trim(range.end);
    let copy = rig.log.reader.copy().unwrap();
    assert_eq!(copy.start(), range.end);
    rig.log.reader.keep(range.clone(), &[]).unwrap();
    let (_, found) = open_from(&restored(&copy, 0), None).unwrap();
    let expected: Vec<Held> =
        rig.all().into_iter().filter(|h| live.contains(&h.0) || h.0 >= range.end).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_copy_holds_what_was_synced_and_nothing_else() {
    let (mut rig, held, synced) = several_segments();
    let copy = rig.log.reader.copy().unwrap();
    assert_eq!((copy.start(), copy.end()), (0, synced));
    // What happens from now on is not part of it.
    rig.group(&[&[9; 9000]], true);
    rig.pump();
    let disk = restored(&copy, 0);
    let (opened, found) = open_from(&disk, None).unwrap();
    assert_eq!((opened.recovery.end, opened.recovery.cut), (synced, None));
    assert_eq!(opened.recovery.epoch, 2);
    assert_eq!(found, held);
    // It can be written on.
    let mut rig = Rig::on(disk).unwrap();
    rig.group(&[b"more"], true);
    rig.pump();
    assert_eq!(held_by(&rig.disk).unwrap().1.len(), held.len() + 1);
}

#[test]
fn a_copy_of_an_opened_copy_is_whole_too() {
    let (rig, held, _) = several_segments();
    let mut rig = Rig::on(restored(&rig.log.reader.copy().unwrap(), 0)).unwrap();
    rig.group(&[b"more"], true);
    rig.pump();
    let (recovery, found) = held_by(&restored(&rig.log.reader.copy().unwrap(), 0)).unwrap();
    assert_eq!((recovery.end, recovery.epoch), (rig.synced(), 3));
    assert_eq!(found.len(), held.len() + 1);
}

#[test]
fn a_copy_that_was_cut_short_is_no_torn_tail() {
    let (rig, _, _) = several_segments();
    let copy = rig.log.reader.copy().unwrap();
    let last = copy.files().last().unwrap().bytes;
    for missing in [1, 64, 5000, last - 4096] {
        let error = open_from(&restored(&copy, missing), None).unwrap_err().to_string();
        assert!(error.contains("is corrupt"), "{missing} bytes missing: {error}");
    }
}

#[test]
fn a_header_claims_no_more_than_is_copied() {
    let (rig, held, synced) = several_segments();
    let copy = rig.log.reader.copy().unwrap();
    let Rig { mut log, told, .. } = rig;
    let threads = mailrail_commitlog::spawn(log.writer, log.syncer, told);
    log.appender.push(encoded(b"more"), 1);
    let end = log.appender.submit(true).unwrap();
    // This notes in the header that everything is synced.
    threads.shutdown().unwrap();
    assert!(end > synced);
    let found = held_by(&restored(&copy, 0)).unwrap();
    assert_eq!((found.0.end, found.1), (synced, held));
}

#[test]
fn what_is_trimmed_stays_until_the_copy_is_dropped() {
    let (mut rig, held, _) = several_segments();
    let [first, second] = [rig.log.reader.copy().unwrap(), rig.log.reader.copy().unwrap()];
    let start = rig.log.appender.trim(3 * SEGMENT_BYTES_MIN);
    assert_eq!(start, 3 * SEGMENT_BYTES_MIN);
    rig.pump();
    assert!(rig.disk.contents(&segment_path(0)).is_some());
    drop(first);
    rig.pump();
    assert_eq!(held_by(&restored(&second, 0)).unwrap().1, held);
    // One that begins now does not see what was trimmed.
    assert_eq!(rig.log.reader.copy().unwrap().start(), start);
    drop(second);
    rig.pump();
    assert!(rig.disk.contents(&segment_path(0)).is_none());
    assert!(rig.disk.contents(&segment_path(2 * SEGMENT_BYTES_MIN)).is_none());
    assert!(rig.disk.contents(&segment_path(start)).is_some());
}

#[test]
fn the_keepers_thread_waits_for_a_copy_and_goes_on_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(mailrail_commitlog::disk::OsDisk);
    let mut log = open(disk, folder.path(), small_segments(), None, &mut Seen::default()).unwrap();
    let told = Arc::new(Journal::default());
    let threads = mailrail_commitlog::spawn(log.writer, log.syncer, told.clone());
    let wait_until = |done: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        while !done() {
            assert!(start.elapsed().as_secs() < 20, "it takes too long");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    };
    for _ in 0..8 {
        log.appender.roll(8008).unwrap();
        log.appender.push(encoded(&[1; 8000]), 1);
        let end = log.appender.submit(true).unwrap();
        wait_until(&|| told.0.lock().unwrap().synced >= end);
    }
    let first = folder.path().join("log").join(format!("{:020}.seg", 0));
    let copy = log.reader.copy().unwrap();
    assert!(log.appender.trim(2 * SEGMENT_BYTES_MIN) > 0);
    assert_eq!(copy.read(0, 0, CHUNK_BYTES).unwrap()[..5], *b"MRSEG");
    assert!(first.exists());
    drop(copy);
    wait_until(&|| !first.exists());
    threads.shutdown().unwrap();
}

#[test]
fn only_segments_are_files_of_a_copy() {
    let file = |name: &str, bytes| mailrail_commitlog::CopiedFile { name: name.to_owned(), bytes };
    assert!(is_copied_file(&file("log/00000000000000016384.seg", 4096)));
    for name in ["00000000000000016384.seg", "log/../x", "log/1.seg", "/log/00000000000000016384.seg", "log"]
    {
        assert!(!is_copied_file(&file(name, 4096)), "{name}");
    }
    assert!(!is_copied_file(&file("log/00000000000000016384.seg", 4095)));
    assert!(!is_copied_file(&file("log/00000000000000016384.seg", (2 << 30) + 1)));
}
