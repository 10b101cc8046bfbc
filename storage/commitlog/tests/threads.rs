//! The log's own threads on real files: what they tell and when, and how they end.
mod rig;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use mailrail_commitlog::disk::{DirLock, FaultDisk, LockError, Op, OsDisk};
use mailrail_commitlog::record::padded;
use mailrail_commitlog::{Appender, LogConfig, LogEvents, LogFault, Opened, Position, open, spawn};
use rig::{Held, Seen, encoded, small_segments};

/// Longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lets a test wait for what the log tells.
#[derive(Default)]
struct Waiter {
    told: Mutex<(Position, Position, Option<LogFault>)>,
    changed: Condvar,
}

impl Waiter {
    fn until(&self, reached: impl Fn(&(Position, Position, Option<LogFault>)) -> bool) {
        let told = self.told.lock().unwrap();
        let (_told, waited) = self.changed.wait_timeout_while(told, PATIENCE, |told| !reached(told)).unwrap();
        assert!(!waited.timed_out());
    }

    fn tell(&self, change: impl FnOnce(&mut (Position, Position, Option<LogFault>))) {
        change(&mut self.told.lock().unwrap());
        self.changed.notify_all();
    }
}

impl LogEvents for Waiter {
    fn written(&self, to: Position) {
        self.tell(|told| told.0 = to);
    }
    fn synced(&self, to: Position) {
        self.tell(|told| told.1 = to);
    }
    fn refused(&self, _: Position, why: &LogFault) {
        self.poisoned(why);
    }
    fn short_of_room(&self, _: bool) {}
    fn poisoned(&self, why: &LogFault) {
        self.tell(|told| told.2 = Some(why.clone()));
    }
}

fn open_in(dir: &Path, config: LogConfig) -> (Opened, Vec<Held>) {
    let mut seen = Seen::default();
    let opened = open(Arc::new(OsDisk), dir, config, None, &mut seen).unwrap();
    (opened, seen.0)
}

fn add(appender: &mut Appender, body: &[u8]) -> Held {
    if appender.room() < padded(body.len()) {
        appender.roll(padded(body.len())).unwrap();
    }
    let position = appender.position();
    appender.push(encoded(body), 1);
    (position, body.to_vec())
}

#[test]
fn everything_submitted_is_on_the_disk_after_an_orderly_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..3u8 {
        let (log, found) = open_in(dir.path(), small_segments());
        assert_eq!(found, expected);
        assert_eq!((log.recovery.epoch, log.recovery.cut), (u64::from(round) + 1, None));
        let mut appender = log.appender;
        let waiter = Arc::new(Waiter::default());
        let threads = spawn(log.writer, log.syncer, waiter.clone());
        for count in 0..200u8 {
            expected.push(add(&mut appender, &vec![count; 11 * usize::from(count) + 1]));
            if count % 7 == 0 {
                appender.submit(count % 2 == 0);
            }
        }
        let end = appender.submit(false).unwrap();
        threads.shutdown().unwrap();
        assert_eq!(waiter.told.lock().unwrap().1, end);
        assert_eq!(appender.submit(true), None, "a stopped log takes nothing");
    }
    let (log, _) = open_in(dir.path(), small_segments());
    let wanted: Vec<_> = expected.iter().map(|(position, body)| (position + 8, body.len() as u32)).collect();
    for (read, (_, body)) in log.reader.read(&wanted).iter().zip(&expected) {
        assert_eq!(read.as_ref().unwrap(), body);
    }
}

#[test]
fn a_sync_comes_when_asked_and_otherwise_within_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let interval = Duration::from_millis(200);
    let (log, _) = open_in(dir.path(), LogConfig { sync_interval: interval, ..LogConfig::default() });
    let mut appender = log.appender;
    let waiter = Arc::new(Waiter::default());
    let threads = spawn(log.writer, log.syncer, waiter.clone());

    add(&mut appender, b"asked");
    let end = appender.submit(true).unwrap();
    waiter.until(|told| told.1 >= end);

    let started = Instant::now();
    add(&mut appender, b"not asked");
    let end = appender.submit(false).unwrap();
    waiter.until(|told| told.0 >= end);
    waiter.until(|told| told.1 >= end);
    assert!(started.elapsed() >= interval, "nobody asked for a sync after {:?}", started.elapsed());

    add(&mut appender, b"asked for later");
    let end = appender.submit(false).unwrap();
    assert_eq!(
        appender.submit(true),
        None,
        "there is nothing more, but what was submitted is wanted on the disk"
    );
    waiter.until(|told| told.1 >= end);
    threads.shutdown().unwrap();
}

#[test]
fn what_is_written_during_a_sync_is_told_at_once_and_not_taken_for_synced() {
    let disk = FaultDisk::new(1);
    let config = LogConfig { sync_interval: PATIENCE, ..small_segments() };
    let log = open(Arc::new(disk.clone()), Path::new("/data"), config, None, &mut Seen::default()).unwrap();
    let mut appender = log.appender;
    let waiter = Arc::new(Waiter::default());
    let threads = spawn(log.writer, log.syncer, waiter.clone());
    appender.roll(64).unwrap();
    disk.hold_syncs(".seg");
    add(&mut appender, b"before the sync");
    let first = appender.submit(true).unwrap();
    disk.wait_for_held_sync();
    add(&mut appender, b"during the sync");
    let second = appender.submit(false).unwrap();
    waiter.until(|told| told.0 >= second);
    assert_eq!(waiter.told.lock().unwrap().1, 0);
    disk.release_syncs();
    waiter.until(|told| told.1 >= first);
    assert_eq!(waiter.told.lock().unwrap().1, first, "the sync began before the second write");
    assert_eq!(appender.synced_to(), first);
    threads.shutdown().unwrap();
    assert_eq!(waiter.told.lock().unwrap().1, second);
}

#[test]
fn readers_see_whole_records_while_the_log_grows_and_is_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open_in(dir.path(), small_segments());
    let mut appender = log.appender;
    let reader = log.reader;
    let waiter = Arc::new(Waiter::default());
    let threads = spawn(log.writer, log.syncer, waiter.clone());
    let written: Mutex<Vec<Held>> = Mutex::default();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let known = written.lock().unwrap().clone();
                    let wanted: Vec<_> =
                        known.iter().map(|(at, body)| (*at, padded(body.len()) as u32)).collect();
                    for (read, (position, body)) in reader.read(&wanted).into_iter().zip(&known) {
                        match read {
                            Ok(bytes) => assert_eq!(bytes, encoded(body), "at {position}"),
                            Err(error) => assert!(*position < reader.start(), "{error}"),
                        }
                    }
                    if let Some((position, body)) = known.last() {
                        let cached = reader.cached(*position, padded(body.len()));
                        assert!(cached.is_none_or(|bytes| bytes == encoded(body)));
                    }
                }
            });
        }
        for round in 0..400u32 {
            let held = add(&mut appender, &vec![round as u8; 900]);
            let end = appender.submit(round % 10 == 0).unwrap();
            waiter.until(|told| told.0 >= end);
            let mut written = written.lock().unwrap();
            written.push(held);
            if round % 50 == 49 {
                appender.trim(written[written.len() - 40].0);
                written.drain(..10);
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(reader.start() > 0);
    threads.shutdown().unwrap();
}

#[test]
fn a_fault_is_told_and_comes_back_from_the_stop() {
    let disk = FaultDisk::new(1);
    let log = open(Arc::new(disk.clone()), Path::new("/data"), small_segments(), None, &mut Seen::default())
        .unwrap();
    let mut appender = log.appender;
    let waiter = Arc::new(Waiter::default());
    let threads = spawn(log.writer, log.syncer, waiter.clone());
    disk.fail(Op::Sync, "00000000000000000000.seg", 0, u32::MAX, 5);
    add(&mut appender, b"x");
    appender.submit(true).unwrap();
    waiter.until(|told| told.2.is_some());
    let fault = threads.shutdown().unwrap_err();
    assert_eq!(Some(&fault), waiter.told.lock().unwrap().2.as_ref());
    assert!(matches!(fault, LogFault::Io { errno: Some(5), .. }));
    assert_eq!(waiter.told.lock().unwrap().1, 0);
}

#[test]
fn a_full_disk_is_waited_for_while_the_log_runs_and_ends_a_stop_with_an_error() {
    for has_room_again in [true, false] {
        let disk = FaultDisk::new(1);
        let mut seen = Seen::default();
        let log =
            open(Arc::new(disk.clone()), Path::new(rig::DIR), small_segments(), None, &mut seen).unwrap();
        let mut appender = log.appender;
        let waiter = Arc::new(Waiter::default());
        let threads = spawn(log.writer, log.syncer, waiter.clone());
        disk.fail(Op::Write, ".seg", 0, u32::MAX, 28);
        add(&mut appender, b"x");
        let end = appender.submit(true).unwrap();
        waiter.until(|told| told.2.is_some());
        if has_room_again {
            disk.fail_no_more();
            waiter.until(|told| told.1 >= end);
            threads.shutdown().unwrap();
        } else {
            let fault = threads.shutdown().unwrap_err();
            assert!(matches!(fault, LogFault::Io { .. }), "{fault}");
            assert_eq!(waiter.told.lock().unwrap().1, 0);
        }
    }
}

#[test]
fn a_panic_in_what_is_told_poisons_instead_of_hanging() {
    struct Panics;
    impl LogEvents for Panics {
        fn written(&self, _: Position) {
            panic!("as the test wants");
        }
        fn synced(&self, _: Position) {}
        fn refused(&self, _: Position, _: &LogFault) {}
        fn short_of_room(&self, _: bool) {}
        fn poisoned(&self, _: &LogFault) {}
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open_in(dir.path(), small_segments());
    let threads = spawn(log.writer, log.syncer, Arc::new(Panics));
    add(&mut log.appender, b"x");
    log.appender.submit(true);
    assert_eq!(threads.shutdown(), Err(LogFault::Panicked { thread: "worker" }));
    assert!(log.appender.poisoned());
}

/// The real file system behaves as the double: reserved space, holes, cuts.
#[test]
fn a_torn_tail_on_real_files_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open_in(dir.path(), LogConfig::default());
    let mut appender = log.appender;
    let waiter = Arc::new(Waiter::default());
    let threads = spawn(log.writer, log.syncer, waiter.clone());
    let first = add(&mut appender, &[1; 5000]);
    let end = appender.submit(true).unwrap();
    waiter.until(|told| told.1 >= end);
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("log")).unwrap();
    add(&mut appender, &[2; 9000]);
    let torn_end = appender.submit(false).unwrap();
    waiter.until(|told| told.0 >= torn_end);
    // What a power cut could leave: the last page of the second group is missing.
    let name = format!("log/{:020}.seg", 0);
    let mut bytes = std::fs::read(dir.path().join(&name)).unwrap();
    assert_eq!(bytes.len(), 128 << 20, "space is reserved ahead");
    bytes.truncate(torn_end as usize - 4096);
    std::fs::write(copy.path().join(&name), &bytes).unwrap();
    threads.shutdown().unwrap();

    let (log, found) = open_in(copy.path(), LogConfig::default());
    assert_eq!(found, [first]);
    let cut = log.recovery.cut.unwrap();
    assert_eq!((cut.position, cut.bytes), (end, torn_end - 4096 - end));
    assert_eq!(std::fs::metadata(copy.path().join(&name)).unwrap().len(), 128 << 20);
}

#[test]
fn a_data_folder_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let _held = DirLock::acquire(dir.path()).unwrap();
    let refused = DirLock::acquire(dir.path()).unwrap_err();
    assert!(matches!(refused, LockError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
}
