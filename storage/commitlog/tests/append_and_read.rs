//! Appending, reading back, rolling and trimming while nothing goes wrong.
mod rig;

use mailrail_commitlog::disk::Loss;
use mailrail_commitlog::{AppendError, GROUP_HEADER_BYTES, OpenError, ReadError, SEGMENT_BYTES_MIN, Step};
use rig::*;

#[test]
fn an_empty_log_opens_empty_and_each_open_has_a_new_epoch() {
    let rig = Rig::new();
    let recovery = &rig.log.recovery;
    assert!(recovery.empty && recovery.cut.is_none());
    assert_eq!((recovery.start, recovery.end, recovery.epoch), (0, 4096, 1));
    let mut again = rig.reopened(Loss::All).unwrap();
    assert!(again.log.recovery.empty);
    assert_eq!(again.log.recovery.epoch, 2, "the segment made by the first open is remembered");
    again.group(&[b"one"], true);
    again.pump();
    let third = again.reopened(Loss::All).unwrap();
    assert_eq!((third.log.recovery.epoch, third.log.recovery.empty), (3, false));
    assert_eq!(third.found, again.submitted);
}

#[test]
fn records_are_found_where_the_appender_said() {
    let mut rig = Rig::new();
    assert_eq!(rig.log.appender.position(), 4096 + 64);
    rig.group(&[b"a", b"", b"a longer one"], true);
    rig.group(&[&[9; 3000]], false);
    rig.pump();
    let positions: Vec<_> = rig.submitted.iter().map(|held| held.0).collect();
    assert_eq!(positions, [4160, 4176, 4184, 4160 + 48 + 64]);
    assert_eq!(rig.reopened(Loss::All).unwrap().found, rig.submitted);
}

#[test]
fn a_full_segment_is_sealed_and_positions_go_on_in_the_next() {
    let mut rig = Rig::new();
    for round in 0..40u8 {
        rig.group(&[&[round; 1000], &[round; 10]], round % 3 == 0);
        rig.pump();
    }
    let segments = rig.disk.paths().into_iter().filter(|path| path.extension().is_some()).count();
    assert!(segments >= 4, "{segments} segments");
    let crossing = rig
        .submitted
        .windows(2)
        .filter(|pair| pair[0].0 / SEGMENT_BYTES_MIN != pair[1].0 / SEGMENT_BYTES_MIN);
    assert!(crossing.count() >= 3);
    let again = rig.reopened(Loss::All).unwrap();
    assert_eq!(again.found, rig.submitted);
    assert_eq!(again.log.appender.position(), rig.log.appender.position());
}

#[test]
fn an_open_from_a_position_shows_what_lies_there_and_after() {
    let mut rig = Rig::new();
    for round in 0..30u8 {
        rig.group(&[&[round; 700], &[round; 700]], true);
        rig.pump();
    }
    let end = rig.log.appender.position() - GROUP_HEADER_BYTES as u64;
    let disk = rig.disk.power_cut(Loss::All);
    for from in rig.submitted.iter().map(|held| held.0).chain([end, 0, 5000]) {
        let fork = disk.fork();
        let (mut log, found) = open_from(&fork, Some(from)).unwrap();
        let expected: Vec<_> = rig.submitted.iter().filter(|held| held.0 >= from).cloned().collect();
        assert_eq!(found, expected, "from {from}");
        // What is appended after such an open continues the chain.
        log.appender.roll(16).unwrap();
        log.appender.push(encoded(b"next"), 1);
        log.appender.submit(true);
        let told = Journal::default();
        while [log.writer.step(&told), log.syncer.step(&told)].contains(&Step::Worked) {}
        let all = held_by(&fork.power_cut(Loss::All)).unwrap().1;
        assert_eq!(all.len(), rig.submitted.len() + 1, "from {from}");
        assert_eq!(all.last().unwrap().1, b"next");
    }
    let beyond = open_from(&disk.fork(), Some(end + 1)).unwrap_err();
    assert!(
        matches!(beyond, OpenError::FromBeyond { from, end: found } if from == end + 1 && found == end),
        "{beyond}"
    );
}

/// The case in which the segment of the position holds no group yet.
#[test]
fn a_log_opened_at_an_empty_segment_goes_on_from_the_sealed_one() {
    let mut rig = Rig::new();
    rig.group(&[&[1; 12_000]], true);
    rig.pump();
    // This seals the first segment; the group in the second is lost.
    rig.group(&[&[2; 12_000]], true);
    assert_eq!([rig.write(), rig.write()], [Step::Worked, Step::Blocked]);
    assert_eq!([rig.sync(), rig.write()], [Step::Worked, Step::Worked]);
    let disk = rig.disk.power_cut(Loss::All);
    let (log, found) = open_from(&disk, Some(SEGMENT_BYTES_MIN + 4096)).unwrap();
    assert_eq!((found, log.recovery.end), (vec![], SEGMENT_BYTES_MIN + 4096));
    let mut next =
        Rig { disk, log, told: Default::default(), submitted: vec![], found: vec![], whole: vec![] };
    next.group(&[b"after"], true);
    next.pump();
    let found = next.reopened(Loss::All).unwrap().found;
    assert_eq!(found, [rig.submitted[0].clone(), next.submitted[0].clone()]);
}

#[test]
fn trim_drops_whole_segments_and_what_is_left_keeps_its_positions() {
    let mut rig = Rig::new();
    for round in 0..60u8 {
        rig.group(&[&[round; 1000]], true);
        rig.pump();
    }
    assert_eq!(rig.log.appender.trim(SEGMENT_BYTES_MIN - 1), 0, "no whole segment lies below");
    let before = 3 * SEGMENT_BYTES_MIN + 100;
    assert_eq!(rig.log.appender.trim(before), 3 * SEGMENT_BYTES_MIN);
    assert_eq!(rig.log.reader.start(), 3 * SEGMENT_BYTES_MIN, "readers see it before the files are gone");
    let gone = rig.log.reader.read(&[(5000, 8)]);
    assert_eq!(gone, [Err(ReadError::Trimmed { position: 5000, start: 3 * SEGMENT_BYTES_MIN })]);
    rig.pump();
    assert!(!rig.disk.paths().contains(&segment_path(0)));
    let kept: Vec<_> = rig.submitted.iter().filter(|held| held.0 >= 3 * SEGMENT_BYTES_MIN).cloned().collect();
    let again = rig.reopened(Loss::All).unwrap();
    assert_eq!(again.found, kept);
    assert_eq!(again.log.recovery.start, 3 * SEGMENT_BYTES_MIN);
    for (position, body) in &kept {
        let read = again.log.reader.read(&[(*position + 8, body.len() as u32)]);
        assert_eq!(read[0].as_ref().unwrap(), body);
    }
    let below = open_from(&again.disk.fork(), Some(5000)).unwrap_err();
    assert!(matches!(below, OpenError::FromTrimmed { from: 5000, .. }), "{below}");
}

#[test]
fn trim_never_drops_what_is_not_synced_nor_the_newest_segment() {
    let mut rig = Rig::new();
    rig.group(&[&[1; 12_000]], false);
    rig.write();
    assert_eq!(rig.log.appender.trim(u64::MAX), 0);
    rig.group(&[&[2; 12_000]], false);
    assert_eq!(rig.log.appender.trim(u64::MAX), 0, "nothing of the first segment is synced");
    rig.group(&[&[3; 12_000]], false);
    rig.pump();
    assert_eq!(rig.log.appender.trim(u64::MAX), 2 * SEGMENT_BYTES_MIN);
    rig.pump();
    let again = rig.reopened(Loss::All).unwrap();
    assert_eq!(again.found, rig.submitted[2..]);
}

#[test]
fn every_range_is_read_alone_and_together_with_others() {
    let mut rig = Rig::new();
    let bodies: Vec<Vec<u8>> = (0..80u8).map(|n| vec![n; 37 * usize::from(n) % 900 + 1]).collect();
    for body in &bodies {
        rig.add(body).unwrap();
        rig.submit(false);
    }
    rig.pump();
    let wanted: Vec<_> =
        rig.submitted.iter().map(|(position, body)| (position + 8, body.len() as u32)).collect();
    let together = rig.log.reader.read(&wanted);
    for ((read, body), range) in together.iter().zip(&bodies).zip(&wanted) {
        assert_eq!(read.as_ref().unwrap(), body);
        assert_eq!(rig.log.reader.read(&[*range])[0].as_ref().unwrap(), body);
        assert_eq!(rig.log.reader.cached(range.0, body.len()).unwrap(), body);
    }
    let backwards: Vec<_> = wanted.iter().rev().copied().collect();
    let read: Vec<_> = rig.log.reader.read(&backwards).into_iter().map(Result::unwrap).collect();
    assert!(
        read.iter().zip(bodies.iter().rev()).all(|(read, body)| read == body),
        "unsorted ranges are only slower"
    );
}

#[test]
fn a_read_past_what_is_written_fails_alone() {
    let mut rig = Rig::new();
    let end = rig.group(&[b"written"], false);
    rig.write();
    let position = rig.submitted[0].0 + 8;
    rig.group(&[b"not yet"], false);
    let wanted = [(position, 7), (end - 4, 5), (end, 0), (end + 64, 8), (u64::MAX, u32::MAX)];
    let read = rig.log.reader.read(&wanted);
    assert_eq!(read[0].as_ref().unwrap(), &b"written"[..]);
    assert_eq!(read[1], Err(ReadError::Beyond { position: end - 4, bytes: 5, end }));
    assert!(
        matches!(read[3], Err(ReadError::Beyond { .. })) && matches!(read[4], Err(ReadError::Beyond { .. }))
    );
    rig.write();
    assert!(rig.log.reader.read(&wanted)[3].is_ok());
}

#[test]
fn submitted_bytes_are_in_memory_without_a_copy() {
    let mut rig = Rig::new();
    let piece = encoded(&[5; 500]);
    assert_eq!(rig.log.appender.room(), 0, "an empty log has no segment before the first roll");
    let position = rig.log.appender.roll(piece.len()).unwrap();
    rig.log.appender.push(piece.clone(), 1);
    rig.submit(false);
    let cached = rig.log.reader.cached(position + 8, 500).unwrap();
    assert_eq!(cached.as_ptr(), piece[8..].as_ptr());
}

#[test]
fn a_unit_larger_than_a_group_can_be_is_refused_with_the_limit() {
    let mut rig = Rig::new();
    let max = rig.log.appender.group_bytes_max();
    assert_eq!(max, 16_384 - 4096 - 128);
    assert_eq!(rig.log.appender.roll(max + 1), Err(AppendError::TooLarge { bytes: max + 1, max }));
    rig.log.appender.roll(max).unwrap();
    assert_eq!(rig.log.appender.room(), max);
    let body = vec![1; max - 8];
    rig.add(&body).unwrap();
    assert_eq!(rig.log.appender.room(), 0);
    rig.submit(true);
    rig.group(&[b"in the next segment"], true);
    rig.pump();
    assert_eq!(rig.reopened(Loss::All).unwrap().found, rig.submitted);
}

#[test]
#[should_panic(expected = "is not padded")]
fn a_piece_that_is_not_padded_is_a_bug_of_the_caller() {
    Rig::new().log.appender.push(vec![0; 12].into(), 1);
}

#[test]
#[should_panic(expected = "fit")]
fn a_piece_larger_than_the_room_is_a_bug_of_the_caller() {
    let mut rig = Rig::new();
    let room = rig.log.appender.room();
    rig.log.appender.push(vec![0; room + 8].into(), 1);
}

#[test]
fn a_visitor_can_stop_the_open() {
    struct Stops;
    impl mailrail_commitlog::Visitor for Stops {
        fn record(&mut self, _: u64, _: u8, payload: &[u8]) -> Result<(), String> {
            if payload == b"two" { Err("no such kind".to_owned()) } else { Ok(()) }
        }
    }
    let mut rig = Rig::new();
    rig.group(&[b"one", b"two"], true);
    rig.pump();
    let disk = std::sync::Arc::new(rig.disk.power_cut(Loss::All));
    let dir = std::path::Path::new(DIR);
    let stopped = mailrail_commitlog::open(disk, dir, small_segments(), None, &mut Stops).unwrap_err();
    let position = rig.submitted[1].0;
    assert_eq!(
        stopped.to_string(),
        format!("the record at log position {position} was not accepted: no such kind")
    );
}

#[test]
fn a_write_is_told_before_a_sync_and_one_sync_serves_all_before_it() {
    let mut rig = Rig::new();
    let ends: Vec<_> = (0..5).map(|_| rig.group(&[b"x"], true)).collect();
    assert_eq!(rig.write(), Step::Worked);
    assert_eq!((rig.written(), rig.synced()), (ends[4], 0), "one write took all five");
    rig.sync();
    assert_eq!(rig.synced(), ends[4]);
    assert_eq!(rig.log.appender.synced_to(), ends[4]);
    assert_eq!(rig.write(), Step::Idle);
}

#[test]
fn nothing_is_written_to_a_segment_before_the_one_before_is_synced() {
    let mut rig = Rig::new();
    rig.group(&[&[1; 12_000]], false);
    let second = rig.group(&[&[2; 12_000]], false);
    assert_eq!([rig.write(), rig.write(), rig.write()], [Step::Worked, Step::Blocked, Step::Blocked]);
    rig.sync();
    assert_eq!([rig.write(), rig.write()], [Step::Worked, Step::Idle]);
    assert_eq!(rig.written(), second);
}
