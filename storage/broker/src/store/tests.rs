//! One suite for every engine, and what is particular to sled: durability across opens, and the ladder of mending.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

const CACHE_BYTES: u64 = 1 << 20;

/// Keys and values in order.
type Held = Vec<(Vec<u8>, Vec<u8>)>;

fn with_every_engine(suite: impl Fn(&dyn Store)) {
    suite(&MemoryStore::default());
    let dir = tempfile::tempdir().unwrap();
    suite(&*StoreEngine::Sled.open(&dir.path().join("state"), CACHE_BYTES).unwrap().store);
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
        let numbered = |first: u8| (0..2500u16).map(move |n| [&[first][..], &n.to_be_bytes()].concat());
        store.apply(numbered(1).chain(numbered(2)).map(|key| put(key, "v")).collect()).unwrap();
        assert_eq!(store.remove_prefix(&[1]).unwrap(), 2500);
        assert_eq!(store.remove_prefix(&[1]).unwrap(), 0);
        assert_eq!(all(store, &[]).len(), 2500);
        assert_eq!(store.remove_prefix(&[]).unwrap(), 2500);
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

/// A sled folder with some data that was closed in order, and so has a snapshot.
fn filled() -> (tempfile::TempDir, PathBuf, Held) {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let mut held = Vec::new();
    for round in 0..3u32 {
        let opened = StoreEngine::Sled.open(&state, CACHE_BYTES).unwrap();
        assert_eq!(opened.mended, Mended::No);
        let changes: Vec<_> =
            (0..50u32).map(|n| put((round * 50 + n).to_be_bytes(), vec![round as u8; 2000])).collect();
        opened.store.apply(changes).unwrap();
        opened.store.flush().unwrap();
        held = all(&*opened.store, &[]);
    }
    assert_eq!(held.len(), 150);
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

#[test]
fn sled_holds_what_was_flushed_across_opens() {
    let (_dir, state, held) = filled();
    let opened = StoreEngine::Sled.open(&state, CACHE_BYTES).unwrap();
    assert_eq!((opened.mended, all(&*opened.store, &[])), (Mended::No, held));
}

#[test]
fn an_unfinished_snapshot_of_sled_costs_nothing_but_itself() {
    let (_dir, state, held) = filled();
    fs::write(state.join("snap.FFFFFFFFFFFFFFFF.generating"), b"half of a snapshot").unwrap();
    let opened = StoreEngine::Sled.open(&state, CACHE_BYTES).unwrap();
    assert_eq!((opened.mended, all(&*opened.store, &[])), (Mended::UnfinishedSnapshotsRemoved, held));
    assert!(snapshots(&state).iter().all(|path| !path.to_string_lossy().contains("generating")));
}

#[test]
fn a_damaged_snapshot_of_sled_costs_no_data() {
    let (_dir, state, held) = filled();
    let snapshot = snapshots(&state).pop().expect("sled wrote a snapshot when it was opened");
    let mut bytes = fs::read(&snapshot).unwrap();
    bytes[0] ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    let opened = StoreEngine::Sled.open(&state, CACHE_BYTES).unwrap();
    assert_eq!((opened.mended, all(&*opened.store, &[])), (Mended::SnapshotsRemoved, held));
}

#[test]
fn what_sled_cannot_open_is_set_aside_and_an_empty_store_takes_its_place() {
    let (dir, state, _) = filled();
    for round in 1..=2 {
        let broken = state.join("conf");
        fs::write(&broken, [0xff; 40]).unwrap();
        let opened = StoreEngine::Sled.open(&state, CACHE_BYTES).unwrap();
        let to = dir.path().join(format!("state.broken-{round}"));
        assert!(
            matches!(&opened.mended, Mended::SetAside { to: found, why } if *found == to && !why.is_empty())
        );
        assert_eq!(fs::read(to.join("conf")).unwrap(), [0xff; 40], "the broken one is kept as it was");
        assert_eq!(all(&*opened.store, &[]), []);
        opened.store.apply(vec![put("a", "b")]).unwrap();
        opened.store.flush().unwrap();
    }
}

#[test]
fn a_store_in_use_is_not_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let _held = StoreEngine::Sled.open(&state, CACHE_BYTES).unwrap();
    let error = StoreEngine::Sled.open(&state, CACHE_BYTES).err().unwrap();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert_eq!(files_named(dir.path()), [state]);
}

#[test]
fn an_error_of_the_machine_is_not_taken_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::write(&state, b"a file where the folder should be").unwrap();
    let error = StoreEngine::Sled.open(&state, CACHE_BYTES).err().unwrap();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(fs::read(&state).unwrap(), b"a file where the folder should be");
}
