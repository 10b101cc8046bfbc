//! One suite for every engine: what a store does, what it holds across opens, and what becomes of damaged files. Then
//! what is particular to one: sled's ladder of mending, and that redb finds every flipped bit.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

const CACHE_BYTES: u64 = 1 << 20;

/// Keys and values in order.
type Held = Vec<(Vec<u8>, Vec<u8>)>;

fn with_every_engine(suite: impl Fn(&dyn Store)) {
    suite(&MemoryStore::default());
    with_every_engine_on_disk(|engine, state| suite(&*engine.open(state, CACHE_BYTES).unwrap().store));
}

/// Hands out a path where nothing is, in a folder where nothing else is.
fn with_every_engine_on_disk(suite: impl Fn(StoreEngine, &Path)) {
    for engine in StoreEngine::ALL {
        println!("engine: {engine:?}");
        let dir = tempfile::tempdir().unwrap();
        suite(engine, &dir.path().join("state"));
    }
}

fn all(store: &dyn Store, prefix: &[u8]) -> Held {
    let mut found = Vec::new();
    store.scan(prefix, &mut |key, value| found.push((key.to_vec(), value.to_vec()))).unwrap();
    found
}

fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Change {
    (key.as_ref().to_vec(), Some(value.as_ref().to_vec()))
}

#[test]
fn the_last_change_of_a_key_counts() {
    with_every_engine(|store| {
        assert_eq!(store.get(b"a").unwrap(), None);
        store.apply(vec![put("a", "1"), put("b", "2"), put("a", "3"), (b"b".to_vec(), None)]).unwrap();
        assert_eq!((store.get(b"a").unwrap(), store.get(b"b").unwrap()), (Some(b"3".to_vec()), None));
        store.apply(vec![(b"a".to_vec(), None), put("a", "")]).unwrap();
        assert_eq!(store.get(b"a").unwrap(), Some(vec![]));
        store.apply(vec![]).unwrap();
        store.flush().unwrap();
    });
}

#[test]
fn a_scan_shows_its_prefix_in_order_and_nothing_else() {
    with_every_engine(|store| {
        let keys: [&[u8]; 7] = [&[1], &[1, 0], &[1, 0xff], &[1, 0xff, 0xff], &[2], &[0xff], &[0xff, 0xff]];
        store.apply(keys.iter().rev().map(|key| put(key, key)).collect()).unwrap();
        let keys_of = |prefix: &[u8]| all(store, prefix).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys_of(&[]), keys);
        assert_eq!(keys_of(&[1]), keys[..4]);
        assert_eq!(keys_of(&[1, 0xff]), keys[2..4]);
        assert_eq!(keys_of(&[0xff]), keys[5..]);
        assert_eq!(keys_of(&[3]), [[]; 0]);
    });
}

#[test]
fn a_removed_prefix_takes_its_keys_only() {
    with_every_engine(|store| {
        // More than are removed at once, and not a multiple of it.
        let count = u16::try_from(2 * REMOVED_KEYS_MAX + 1).unwrap();
        let numbered = |first: u8| (0..count).map(move |n| [&[first][..], &n.to_be_bytes()].concat());
        store.apply(numbered(1).chain(numbered(2)).map(|key| put(key, "v")).collect()).unwrap();
        assert_eq!(store.remove_prefix(&[1]).unwrap(), u64::from(count));
        assert_eq!(store.remove_prefix(&[1]).unwrap(), 0);
        assert_eq!(all(store, &[]).len(), usize::from(count));
        assert_eq!(store.remove_prefix(&[]).unwrap(), u64::from(count));
        assert_eq!(all(store, &[]), []);
    });
}

#[test]
fn a_value_just_below_the_limit_is_taken() {
    with_every_engine(|store| {
        let value = vec![7; VALUE_BYTES_MAX - 1];
        store.apply(vec![put("k", &value)]).unwrap();
        assert_eq!(store.get(b"k").unwrap(), Some(value));
    });
}

#[test]
fn a_value_at_the_limit_is_a_bug_of_the_caller() {
    with_every_engine(|store| {
        let changes = vec![put("small", "1"), put("large", vec![7; VALUE_BYTES_MAX])];
        let applied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.apply(changes)));
        let text = *applied.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("has 102400 bytes, the limit is 102400"), "{text}");
        assert_eq!(all(store, &[]), [], "nothing of the batch was done");
    });
}

#[test]
fn many_changes_end_as_in_a_plain_map() {
    with_every_engine(|store| {
        let mut model = BTreeMap::new();
        let mut random = 1u64;
        for _ in 0..60 {
            let mut changes = Vec::new();
            for _ in 0..40 {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let key = ((random >> 40) % 300).to_be_bytes().to_vec();
                let value = (!random.is_multiple_of(3))
                    .then(|| vec![(random >> 33) as u8; (random >> 35) as usize % 3000]);
                match &value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(&key),
                };
                changes.push((key, value));
            }
            store.apply(changes).unwrap();
        }
        assert_eq!(all(store, &[]), model.into_iter().collect::<Vec<_>>());
    });
}

/// A store with some data that was closed in order; sled's has a snapshot then.
fn fill(engine: StoreEngine, state: &Path) -> Held {
    let mut held = Vec::new();
    for round in 0..3u32 {
        let opened = engine.open(state, CACHE_BYTES).unwrap();
        assert_eq!(opened.mended, Mended::No);
        let changes: Vec<_> =
            (0..50u32).map(|n| put((round * 50 + n).to_be_bytes(), vec![round as u8; 2000])).collect();
        opened.store.apply(changes).unwrap();
        opened.store.flush().unwrap();
        held = all(&*opened.store, &[]);
    }
    assert_eq!(held.len(), 150);
    held
}

fn filled_sled() -> (tempfile::TempDir, PathBuf, Held) {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let held = fill(StoreEngine::Sled, &state);
    (dir, state, held)
}

fn snapshots(state: &Path) -> Vec<PathBuf> {
    let files = files_named(state);
    files
        .into_iter()
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap."))
        .collect()
}

fn files_named(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    files_named(from).iter().for_each(|path| copy(path, &to.join(path.file_name().unwrap())));
}

/// The file whose content the engine looks at first.
fn first_file(engine: StoreEngine, state: &Path) -> PathBuf {
    match engine {
        StoreEngine::Sled => state.join("conf"),
        StoreEngine::Redb => state.to_owned(),
    }
}

#[test]
fn what_was_flushed_is_held_across_opens() {
    with_every_engine_on_disk(|engine, state| {
        let held = fill(engine, state);
        let opened = engine.open(state, CACHE_BYTES).unwrap();
        assert_eq!((opened.mended, all(&*opened.store, &[])), (Mended::No, held));
    });
}

#[test]
fn what_was_flushed_outlives_a_process_that_is_killed() {
    with_every_engine_on_disk(|engine, state| {
        let killed = state.with_file_name("killed");
        let opened = engine.open(state, CACHE_BYTES).unwrap();
        opened.store.apply((0..200u8).map(|n| put([n], vec![n; 9_000])).collect()).unwrap();
        opened.store.flush().unwrap();
        let flushed = all(&*opened.store, &[]);
        opened.store.apply((200..250u8).map(|n| put([n], vec![n; 9_000])).collect()).unwrap();
        copy(state, &killed);
        let found = engine.open(&killed, CACHE_BYTES).unwrap();
        assert_eq!(found.mended, Mended::No);
        let found = all(&*found.store, &[]);
        assert!(found.len() >= 200, "{} values are left", found.len());
        assert_eq!(found[..200], flushed);
    });
}

#[test]
fn what_cannot_be_opened_is_set_aside_and_an_empty_store_takes_its_place() {
    with_every_engine_on_disk(|engine, state| {
        fill(engine, state);
        for round in 1..=2 {
            fs::write(first_file(engine, state), [0xff; 40]).unwrap();
            let opened = engine.open(state, CACHE_BYTES).unwrap();
            let to = state.with_file_name(format!("state.broken-{round}"));
            assert!(
                matches!(&opened.mended, Mended::SetAside { to: found, why } if *found == to && !why.is_empty())
            );
            let broken = fs::read(first_file(engine, &to)).unwrap();
            assert_eq!(broken, [0xff; 40], "the broken one is kept as it was");
            assert_eq!(all(&*opened.store, &[]), []);
            opened.store.apply(vec![put("a", "b")]).unwrap();
            opened.store.flush().unwrap();
        }
    });
}

#[test]
fn so_many_stores_are_set_aside_and_no_more_and_none_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let max = engine::SET_ASIDE_MAX - 1;
    for number in 1..max {
        fs::write(dir.path().join(format!("state.broken-{number}")), b"earlier").unwrap();
    }
    fs::write(&state, b"broken").unwrap();
    assert_eq!(set_aside(&state).unwrap(), dir.path().join(format!("state.broken-{max}")));
    fs::write(&state, b"one more").unwrap();
    let error = set_aside(&state).unwrap_err().to_string();
    assert!(error.contains("free name"), "{error}");
    assert_eq!(fs::read(&state).unwrap(), b"one more", "it is left where it is");
}

#[test]
fn a_store_in_use_is_not_set_aside() {
    with_every_engine_on_disk(|engine, state| {
        let _held = engine.open(state, CACHE_BYTES).unwrap();
        let error = engine.open(state, CACHE_BYTES).err().unwrap();
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        assert_eq!(files_named(state.parent().unwrap()), [state]);
    });
}

#[test]
fn an_error_of_the_machine_is_not_taken_for_damage() {
    with_every_engine_on_disk(|engine, state| {
        // A file where the folder should be, or the other way round.
        match engine {
            StoreEngine::Sled => fs::write(state, b"").unwrap(),
            StoreEngine::Redb => fs::create_dir(state).unwrap(),
        }
        let error = engine.open(state, CACHE_BYTES).err().unwrap();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
        assert_eq!(files_named(state.parent().unwrap()), [state]);
    });
}

/// Damages one file of a store after the other, at places all over it, and opens the store: it shows nothing but what was
/// stored, and can be used. sled may go back to an earlier state, or find the damage only where it reads it; redb shows
/// all or nothing.
fn check_damage(places: usize, damage: impl Fn(&mut Vec<u8>, usize)) {
    with_every_engine_on_disk(|engine, whole| {
        let held = fill(engine, whole);
        let state = whole.with_file_name("damaged");
        let names = match engine {
            StoreEngine::Sled => files_named(whole).into_iter().filter(|path| path.is_file()).collect(),
            StoreEngine::Redb => vec![whole.to_owned()],
        };
        for (file, step) in names.iter().flat_map(|file| (1..=places).map(move |step| (file, step))) {
            let mut bytes = fs::read(file).unwrap();
            let place = (bytes.len() - 1) * step / places;
            damage(&mut bytes, place);
            copy(whole, &state);
            fs::write(place_in(file, whole, &state), bytes).unwrap();
            let opened = engine.open(&state, CACHE_BYTES).unwrap();
            let what = format!("{} at {place}: {:?}", file.display(), opened.mended);
            let mut found = Vec::new();
            let scanned =
                opened.store.scan(&[], &mut |key, value| found.push((key.to_vec(), value.to_vec())));
            assert!(held.starts_with(&found), "{what}: {} values", found.len());
            match (engine, scanned) {
                (StoreEngine::Sled, Err(error)) => {
                    assert!(matches!(error, StoreError::Damaged { .. }), "{what}")
                }
                (StoreEngine::Sled, Ok(())) => check_use(&*opened.store, &what),
                (StoreEngine::Redb, scanned) => {
                    scanned.unwrap();
                    let expected = if opened.mended == Mended::No { held.len() } else { 0 };
                    assert_eq!(found.len(), expected, "{what}");
                    check_use(&*opened.store, &what);
                }
            }
            drop(opened);
            files_named(whole.parent().unwrap())
                .iter()
                .filter(|path| *path != whole)
                .for_each(|path| remove(path));
        }
    });
}

fn check_use(store: &dyn Store, what: &str) {
    store.apply(vec![put("new", "1")]).unwrap();
    store.flush().unwrap();
    assert_eq!(store.get(b"new").unwrap(), Some(b"1".to_vec()), "{what}");
}

/// What is called `file` in a copy of the store.
fn place_in(file: &Path, whole: &Path, state: &Path) -> PathBuf {
    if file == whole { state.to_owned() } else { state.join(file.file_name().unwrap()) }
}

fn remove(path: &Path) {
    if path.is_file() { fs::remove_file(path).unwrap() } else { fs::remove_dir_all(path).unwrap() }
}

#[test]
fn a_flipped_bit_shows_nothing_that_was_not_stored() {
    check_damage(60, |bytes, place| bytes[place] ^= 1 << (place % 8));
}

#[test]
fn a_file_cut_short_shows_nothing_that_was_not_stored() {
    check_damage(40, |bytes, place| bytes.truncate(place));
}

#[test]
fn a_flipped_bit_in_a_value_of_redb_has_the_file_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fill(StoreEngine::Redb, &state);
    let mut bytes = fs::read(&state).unwrap();
    let value = bytes.windows(2000).rposition(|window| window == [2; 2000]).expect("the file holds a value");
    bytes[value + 1000] ^= 1;
    fs::write(&state, bytes).unwrap();
    let opened = StoreEngine::Redb.open(&state, CACHE_BYTES).unwrap();
    assert!(matches!(opened.mended, Mended::SetAside { .. }), "{:?}", opened.mended);
}

#[test]
fn an_unfinished_snapshot_of_sled_costs_nothing_but_itself() {
    let (_dir, state, held) = filled_sled();
    fs::write(state.join("snap.FFFFFFFFFFFFFFFF.generating"), b"half of a snapshot").unwrap();
    let opened = StoreEngine::Sled.open(&state, CACHE_BYTES).unwrap();
    assert_eq!((opened.mended, all(&*opened.store, &[])), (Mended::UnfinishedSnapshotsRemoved, held));
    assert!(snapshots(&state).iter().all(|path| !path.to_string_lossy().contains("generating")));
}

#[test]
fn a_damaged_snapshot_of_sled_costs_no_data() {
    let (_dir, state, held) = filled_sled();
    let snapshot = snapshots(&state).pop().expect("sled wrote a snapshot when it was opened");
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[0] ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    let opened = StoreEngine::Sled.open(&state, CACHE_BYTES).unwrap();
    assert_eq!((opened.mended, all(&*opened.store, &[])), (Mended::SnapshotsRemoved, held));
}
