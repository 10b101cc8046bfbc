//! The store on sled 0.34.7, with what is known about it taken into account: `flush` there does not fsync, an abrupt
//! stop can leave a snapshot that keeps it from opening, and damage shows as a panic as often as an error. No type of
//! sled leaves this file.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ::sled::{Batch, Config, Db};

use super::engine::{Mended, OpenedStore, as_damage, guarded, open_anew, sync};
use super::{Change, REMOVED_KEYS_MAX, Store, StoreError, assert_values_are_small};

/// Files that sled makes in its folder. Snapshots are called `snap.` and a number.
const SNAPSHOT_PREFIX: &str = "snap.";
const UNFINISHED_SUFFIX: &str = ".generating";

/// How long a folder may still be locked by this process's earlier use of it, and how often that is looked at.
const IN_USE_WAIT_MAX: Duration = Duration::from_secs(2);
const IN_USE_RETRY: Duration = Duration::from_millis(5);

/// sled's cache counts a page, and drops others for it, only once 64 accesses to its 256th of all pages have come
/// together, so up to 16,384 pages stay beyond what the cache may hold. One with a large value is therefore accessed so
/// many times more than it is needed.
const LARGE_ACCESSES: usize = 8;
const LARGE_BYTES: usize = 2 * 1024;

/// Keys and values in a sled folder.
#[derive(Debug)]
pub struct SledStore {
    db: Db,
    dir: PathBuf,
}

/// Opens the store in `dir`, making it if there is none, with `cache_bytes` of memory for what was read. If sled will not
/// open it, what can be done without it is done, and if nothing helps the folder is set aside.
pub fn open_sled(dir: &Path, cache_bytes: u64) -> Result<OpenedStore, StoreError> {
    let mut mended = Mended::No;
    let mut damage = match attempt(dir, cache_bytes) {
        Ok(store) => return Ok(OpenedStore { store: Arc::new(store), mended }),
        Err(error) => as_damage(error)?,
    };
    let ladder = [(UNFINISHED_SUFFIX, Mended::UnfinishedSnapshotsRemoved), ("", Mended::SnapshotsRemoved)];
    for (suffix, step) in ladder {
        if remove_snapshots(dir, suffix)? == 0 {
            continue;
        }
        mended = step;
        damage = match attempt(dir, cache_bytes) {
            Ok(store) => {
                tracing::warn!(dir = %dir.display(), ?mended, why = damage, "the store needed mending");
                return Ok(OpenedStore { store: Arc::new(store), mended });
            }
            Err(error) => as_damage(error)?,
        };
    }
    open_anew(dir, damage, || attempt(dir, cache_bytes))
}

fn attempt(dir: &Path, cache_bytes: u64) -> Result<SledStore, StoreError> {
    let config = Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(None);
    let started = Instant::now();
    let db = patiently(|| started.elapsed(), || guarded(dir, classify, || config.open()))?;
    let store = SledStore { db, dir: dir.to_owned() };
    // What is damaged at its ends or root would only show later, when setting it aside is not possible any more.
    store.guarded(|db| db.first().and_then(|_| db.last()))?;
    Ok(store)
}

/// Opens again while the folder is in use, and `waited` was not too long: sled's threads let go of it a little after its
/// handle was dropped or its open failed.
fn patiently<T>(
    mut waited: impl FnMut() -> Duration,
    mut open: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    loop {
        match open() {
            Err(StoreError::InUse { .. }) if waited() < IN_USE_WAIT_MAX => thread::sleep(IN_USE_RETRY),
            opened => return opened,
        }
    }
}

fn remove_snapshots(dir: &Path, suffix: &str) -> Result<usize, StoreError> {
    let mut removed = 0;
    for path in files_of(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(SNAPSHOT_PREFIX) && name.ends_with(suffix) {
            fs::remove_file(&path).map_err(|error| StoreError::io("removing", &path, error))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let io = |error| StoreError::io("listing", dir, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_type().map_err(io)?.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

fn classify(dir: &Path, error: ::sled::Error) -> StoreError {
    let path = dir.to_owned();
    match error {
        ::sled::Error::Io(source) if source.to_string().starts_with("could not acquire lock") => {
            StoreError::InUse { path }
        }
        // The kernel refused something: that is no damage, and setting the folder aside would not help.
        ::sled::Error::Io(source) if source.raw_os_error().is_some() => {
            StoreError::Io { action: "using the store in", path, source }
        }
        other => StoreError::Damaged { path, what: other.to_string() },
    }
}

fn account(db: &Db, key: &[u8]) -> ::sled::Result<()> {
    (0..LARGE_ACCESSES).try_for_each(|_| db.get(key).map(drop))
}

impl SledStore {
    fn guarded<T>(&self, call: impl FnOnce(&Db) -> ::sled::Result<T>) -> Result<T, StoreError> {
        guarded(&self.dir, classify, || call(&self.db))
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.guarded(|db| {
            let value = db.get(key)?;
            if value.as_ref().is_some_and(|value| value.len() >= LARGE_BYTES) {
                account(db, key)?;
            }
            Ok(value)
        })?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        assert_values_are_small(&changes);
        let mut batch = Batch::default();
        let mut large = Vec::new();
        for (key, value) in changes {
            match value {
                Some(value) => {
                    if value.len() >= LARGE_BYTES {
                        large.push(key.clone());
                    }
                    batch.insert(key, value);
                }
                None => batch.remove(key),
            }
        }
        self.guarded(|db| {
            db.apply_batch(batch)?;
            large.iter().try_for_each(|key| account(db, key))
        })
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let mut found = self.guarded(|db| Ok(db.scan_prefix(prefix)))?;
        while let Some((key, value)) = self.guarded(|_| found.next().transpose())? {
            visit(&key, &value);
        }
        Ok(())
    }

    fn remove_prefix(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let mut batch = Batch::default();
            let mut count = 0;
            self.guarded(|db| {
                for entry in db.scan_prefix(prefix).keys().take(REMOVED_KEYS_MAX) {
                    batch.remove(entry?);
                    count += 1;
                }
                db.apply_batch(batch)
            })?;
            removed += count;
            if count == 0 {
                return Ok(removed);
            }
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.guarded(|db| db.flush())?;
        // sled's own flush starts write-back of its data file and waits for it, but asks neither for the drive's cache
        // nor for the file's length and extents.
        let blobs = self.dir.join("blobs");
        files_of(&self.dir)?.iter().try_for_each(|path| sync(path))?;
        files_of(&blobs)?.iter().try_for_each(|path| sync(path))?;
        sync(&blobs)?;
        sync(&self.dir)?;
        sync(self.dir.parent().unwrap_or(&self.dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_tried_again_for_so_long() {
        let opened_when_free_after = |tries: u32| {
            let mut opens = 0;
            let before = IN_USE_WAIT_MAX - Duration::from_millis(1);
            let mut waited = [Duration::ZERO, before, IN_USE_WAIT_MAX].into_iter();
            let open = || {
                opens += 1;
                if opens > tries { Ok(()) } else { Err(StoreError::InUse { path: "folder".into() }) }
            };
            let opened = patiently(|| waited.next().unwrap(), open).is_ok();
            (opened, opens)
        };
        assert_eq!(opened_when_free_after(0), (true, 1));
        assert_eq!(opened_when_free_after(2), (true, 3));
        assert_eq!(opened_when_free_after(3), (false, 3));
    }
}
