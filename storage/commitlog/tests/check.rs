//! What a check says of whole, torn and damaged logs; and that it changes none of them.
mod rig;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mailrail_commitlog::disk::FaultDisk;
use mailrail_commitlog::{Checked, OpenError, check};
use rig::*;

fn files(disk: &FaultDisk) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    disk.paths().into_iter().map(|path| (path.clone(), disk.contents(&path))).collect()
}

/// The check's result and the records it showed, of a disk that it left as it was.
fn checked(disk: &FaultDisk) -> (Result<Checked, OpenError>, Vec<Held>) {
    let (before, mut seen) = (files(disk), Seen::default());
    let result = check(disk, Path::new(DIR), &mut seen);
    assert!(files(disk) == before, "the check changed the disk");
    (result, seen.0)
}

#[test]
fn a_whole_log_is_read_to_its_end() {
    let (rig, ends) = three_groups();
    let (result, seen) = checked(&rig.disk);
    let found = result.expect("it is whole");
    assert_eq!((found.start, found.end, found.groups, found.cut), (0, ends[3] as u64, 3, None));
    assert_eq!(found.segments, 2, "the one in use and the one that is ready");
    assert_eq!(seen, rig.submitted);
}

#[test]
fn a_torn_tail_is_told_and_left_for_the_next_open() {
    let (rig, [.., last, end]) = three_groups();
    let disk = rig.disk.fork();
    disk.tamper(&segment_path(0), |bytes| bytes[end - 40..].fill(0));
    let (result, seen) = checked(&disk);
    let found = result.expect("nothing that was synced is damaged");
    assert_eq!(found.end, last as u64);
    assert_eq!(found.cut.map(|cut| cut.position), Some(last as u64));
    assert_eq!(seen, rig.submitted[..4]);
}

#[test]
fn damage_below_what_was_synced_is_told_as_an_open_tells_it() {
    let (rig, ends) = three_groups();
    let disk = rig.disk.fork();
    disk.tamper(&segment_path(0), |bytes| bytes[ends[0] + 80] ^= 1);
    let (result, _) = checked(&disk);
    let opened = open_from(&disk.fork(), None).map(|_| ());
    assert_eq!(result.map(|_| ()).map_err(|e| e.to_string()), opened.map_err(|e| e.to_string()));
    assert!(matches!(checked(&disk).0, Err(OpenError::Corrupt { position: 4096, .. })));
}

#[test]
fn what_is_no_log_is_an_error_and_none_is_made() {
    let (result, _) = checked(&FaultDisk::new(1));
    assert!(matches!(result, Err(OpenError::NoLog { .. })), "{result:?}");
}
