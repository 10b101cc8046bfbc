//! Every kind of file in a data folder, damaged in every way: an open neither panics nor hangs. What can be made again
//! from the log is, and the broker shows what it did before; where it is the log itself that is damaged, that is said,
//! with the file, the log position and what to do, by the open or by whoever reads the message and by `check`. Nothing
//! is passed over, and a damaged log is not written to.
mod rig;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use mailrail_broker::*;
use rig::*;

const WALL_MS: u64 = 1_700_000_000_000;
/// An open that takes longer hangs.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// Places in each file at which a bit is flipped, and the file cut.
const FLIPS: usize = 40;
const CUTS: usize = 6;

fn opened(data: &Path, engine: StoreEngine) -> Result<Rig, String> {
    let mut config = config(data, WALL_MS);
    config.store_engine = engine;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let _ = sender.send(Broker::open(config).map_err(|error| error.to_string()));
    });
    let broker = receiver.recv_timeout(OPEN_MAX).expect("an open panicked or hangs")?;
    Ok(Rig { session: broker.connect(), broker })
}

/// A stopped broker with everything in its folder: segments, what was kept of trimmed ones, key files and a store.
fn furnished(engine: StoreEngine) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = opened(folder.path(), engine).unwrap();
    let passing = rig.put_topic("t", TopicSettings { queues: 1, ..TopicSettings::default() });
    let lasting = rig.put_topic("q", TopicSettings::settled_queue());
    let mut middle = 0;
    for number in 0..120u8 {
        let stored = rig.publish_keyed(&passing, &[number; 900], "a-key");
        if number == 60 {
            middle = stored.position;
        }
        if number % 10 == 0 {
            rig.publish_keyed(&lasting, &[number; 100], "a-key");
        }
    }
    rig.ask(|token| Command::PutGroup { token, name: "g".into(), settings: Some(GroupSettings::at_once()) });
    let receipts = rig.receive("g", "t", 3).iter().map(|delivery| delivery.receipt).collect();
    rig.settle(receipts, Outcome::Ack);
    rig.broker.trim_log(&rig.session, Token(1), middle);
    let Reply::Count(start) = rig.reply() else { panic!("the log was to be trimmed") };
    assert!(start > 0);
    rig.stop();
    // Key files are made in the background.
    for _ in 0..20 {
        let rig = opened(folder.path(), engine).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        rig.stop();
        let kinds: BTreeSet<Kind> = files(folder.path()).keys().map(|path| kind(path)).collect();
        if kinds.contains(&Kind::Keys) && kinds.contains(&Kind::Kept) {
            return folder;
        }
    }
    panic!("{:?}", files(folder.path()).keys());
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Segment,
    Kept,
    Keys,
    Store,
}

fn kind(path: &Path) -> Kind {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("seg") => Kind::Segment,
        Some("kept") => Kind::Kept,
        Some("keys") => Kind::Keys,
        _ => Kind::Store,
    }
}

/// What a broker shows: messages by topic and offset, or why one cannot be read; how many are found by key; positions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    messages: BTreeMap<(&'static str, u64), Result<Vec<u8>, Error>>,
    found: Result<usize, Error>,
    committed: Vec<u64>,
}

fn shown(rig: &mut Rig) -> Shown {
    let mut messages = BTreeMap::new();
    for name in ["t", "q"] {
        let queue = rig.broker.directory().topic(name).unwrap().queue(0).unwrap();
        let mut offset = queue.min_offset();
        while offset < queue.end_offset() {
            let batch = rig.try_read(&queue, offset);
            match batch {
                Ok(batch) => {
                    assert!(batch.next_offset > offset);
                    offset = batch.next_offset;
                    messages
                        .extend(batch.entries.iter().map(|entry| ((name, entry.offset), Ok(body(entry)))));
                }
                Err(error) => {
                    messages.insert((name, offset), Err(error));
                    offset += 1;
                }
            }
        }
    }
    let found = rig.find_by_key("t", "a-key").map(|found| found.len());
    let reply = rig.ask(|token| Command::GroupState { token, group: "g".into(), topic: "t".into() });
    let Reply::Group(group) = reply else { panic!("{reply:?}") };
    Shown { messages, found, committed: group.queues.iter().map(|queue| queue.committed).collect() }
}

fn body(entry: &ReadEntry) -> Vec<u8> {
    mailrail_message::StoredMessage::parse(&entry.message).unwrap().body().to_vec()
}

/// Ways to damage a file, by name.
fn damages(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut damages = vec![
        ("empty".to_owned(), Vec::new()),
        ("zeros".to_owned(), vec![0; bytes.len()]),
        ("foreign".to_owned(), b"\x89PNG\r\n\x1a\n and what else a picture has ".repeat(200)),
    ];
    // Almost all of a segment is zeros; what is written counts.
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for step in 0..FLIPS {
        // The first bytes, where the headers are, and then evenly.
        let at = if step < FLIPS / 4 { step * 3 } else { written * step / FLIPS };
        if let Some(byte) = bytes.get(at).filter(|_| at < written) {
            let mut flipped = bytes.to_vec();
            flipped[at] = byte ^ 1 << (step % 8);
            damages.push((format!("bit {} of byte {at} flipped", step % 8), flipped));
        }
    }
    damages.extend((0..CUTS).map(|step| {
        let length = written * step / CUTS + step;
        (format!("cut to {length} bytes"), bytes.get(..length).unwrap_or(bytes).to_vec())
    }));
    damages
}

/// A kept file or segment of a later format version, with a checksum that is right.
fn of_a_newer_version(kind: Kind, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut newer = bytes.to_vec();
    newer[8..12].copy_from_slice(&9u32.to_le_bytes());
    match kind {
        Kind::Segment | Kind::Kept => {
            let sum = crc32c::crc32c(&newer[..48]);
            newer[48..52].copy_from_slice(&sum.to_le_bytes());
            Some(newer)
        }
        Kind::Keys => Some(newer),
        Kind::Store => None,
    }
}

/// What came of one damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Became {
    /// Everything is shown as before.
    Whole,
    /// The open says why not.
    Refused,
    /// The reader of one message, or of some, is told.
    Told,
}

struct Case<'a> {
    folder: &'a Path,
    engine: StoreEngine,
    expected: &'a Shown,
    file: &'a Path,
}

impl Case<'_> {
    fn check(&self, what: &str, damaged: &[u8]) -> Became {
        let copied = tempfile::tempdir().unwrap();
        copy(self.folder, copied.path());
        let path = copied.path().join(self.file.strip_prefix(self.folder).unwrap());
        std::fs::write(&path, damaged).unwrap();
        let (kind, what) = (kind(&path), format!("{} {what}", path.display()));
        let mut rig = match opened(copied.path(), self.engine) {
            Ok(rig) => rig,
            Err(error) => {
                assert!(matches!(kind, Kind::Segment | Kind::Kept), "{what}: {error}");
                check_told(&path, &error, &what);
                assert!(std::fs::read(&path).unwrap() == damaged, "{what}: it was written to");
                return Became::Refused;
            }
        };
        let shown = shown(&mut rig);
        assert!(!rig.broker.is_faulted(), "{what}");
        rig.stop();
        if shown == *self.expected {
            return Became::Whole;
        }
        assert!(matches!(kind, Kind::Segment | Kind::Kept), "{what}: {shown:?}");
        self.check_shown(&shown, &what);
        // Who asks the folder as a whole is told the file.
        let error = check(copied.path()).expect_err(&what).to_string();
        check_told(&path, &error, &what);
        Became::Told
    }

    /// No message is missing or another; those that cannot be read are errors.
    fn check_shown(&self, shown: &Shown, what: &str) {
        assert_eq!(shown.committed, self.expected.committed, "{what}");
        assert!(shown.messages.keys().eq(self.expected.messages.keys()), "{what}: some are passed over");
        for (place, message) in &shown.messages {
            let is_error = matches!(message, Err(Error::Damaged(_) | Error::Read(_)));
            assert!(
                is_error || *message == self.expected.messages[place],
                "{what}: {place:?} is {message:?}"
            );
        }
    }
}

/// Names the file, and says what to do.
fn check_told(path: &Path, error: &str, what: &str) {
    assert!(error.contains(path.to_str().unwrap()), "{what}: {error}");
    let says_what_to_do = ["restore", "use a later release"].iter().any(|advice| error.contains(advice));
    assert!(says_what_to_do, "{what}: {error}");
    assert_eq!(error.lines().count(), 1, "{what}: {error}");
}

/// The files to damage: of each kind some, and all of the store's.
fn chosen(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let all = files(folder);
    let is_written = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
    let of = |wanted: Kind| all.iter().filter(move |(path, bytes)| kind(path) == wanted && is_written(bytes));
    let segments: Vec<_> = of(Kind::Segment).collect();
    let ends = [segments.first(), segments.last()].into_iter().flatten().copied();
    let derived = of(Kind::Kept).take(1).chain(of(Kind::Keys).take(1)).chain(of(Kind::Store));
    ends.chain(derived).map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
}

fn damage_everything(engine: StoreEngine) {
    let folder = furnished(engine);
    let mut rig = opened(folder.path(), engine).unwrap();
    let expected = shown(&mut rig);
    rig.stop();
    assert!(expected.messages.len() > 60 && expected.messages.values().all(Result::is_ok));
    let mut outcomes: BTreeMap<(Kind, Became), usize> = BTreeMap::new();
    for (file, bytes) in chosen(folder.path()) {
        let case = Case { folder: folder.path(), engine, expected: &expected, file: &file };
        let newer =
            of_a_newer_version(kind(&file), &bytes).map(|bytes| ("a newer version".to_owned(), bytes));
        for (what, damaged) in damages(&bytes).into_iter().chain(newer) {
            let became = case.check(&what, &damaged);
            *outcomes.entry((kind(&file), became)).or_default() += 1;
        }
    }
    println!("{engine:?}: {outcomes:?}");
    for kind in [Kind::Segment, Kind::Kept] {
        assert!(outcomes.get(&(kind, Became::Refused)).is_some_and(|count| *count > 10), "{outcomes:?}");
    }
    for kind in [Kind::Keys, Kind::Store] {
        assert!(outcomes.get(&(kind, Became::Whole)).is_some_and(|count| *count > 40), "{outcomes:?}");
    }
}

#[test]
fn every_file_of_a_folder_with_sled_may_be_damaged_anyhow() {
    damage_everything(StoreEngine::Sled);
}

#[test]
fn every_file_of_a_folder_with_redb_may_be_damaged_anyhow() {
    damage_everything(StoreEngine::Redb);
}
