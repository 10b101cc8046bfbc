//! The store on redb: one file, one table. What is changed between two flushes is in memory or in unused parts of the
//! file, and a crash leaves what was flushed last. redb checks no checksum when it reads, so the whole file is checked
//! when it is opened. No type of redb leaves this file.
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::{
    Database, Durability, Error, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};

use super::engine::{Mended, OpenedStore, as_damage, guarded, open_anew, sync};
use super::{Change, REMOVED_KEYS_MAX, Store, StoreError, assert_values_are_small};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("store");

/// Keys and values in a redb file.
#[derive(Debug)]
pub struct RedbStore {
    db: Database,
    path: PathBuf,
}

/// Opens the store in the file `path`, making it if there is none, with `cache_bytes` of memory for what was read and
/// what is not written yet. If redb will not open it, the file is set aside.
pub fn open_redb(path: &Path, cache_bytes: u64) -> Result<OpenedStore, StoreError> {
    match attempt(path, cache_bytes) {
        Ok(store) => Ok(OpenedStore { store: Arc::new(store), mended: Mended::No }),
        Err(error) => open_anew(path, as_damage(error)?, || attempt(path, cache_bytes)),
    }
}

fn attempt(path: &Path, cache_bytes: u64) -> Result<RedbStore, StoreError> {
    let cache_bytes = usize::try_from(cache_bytes).unwrap_or(usize::MAX);
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes).set_check_integrity_on_open(true);
    let db = guarded(path, classify, || Ok(builder.create(path)?))?;
    let store = RedbStore { db, path: path.to_owned() };
    // Readers ask for a table that is there.
    store.write(Durability::Immediate, |write| Ok(write.open_table(TABLE).map(drop)?))?;
    sync(path.parent().unwrap_or(path))?;
    Ok(store)
}

fn classify(path: &Path, error: Error) -> StoreError {
    let path = path.to_owned();
    match error {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => StoreError::InUse { path },
        // The kernel refused something: that is no damage, and setting the file aside would not help.
        Error::Io(source) if source.raw_os_error().is_some() => {
            StoreError::Io { action: "using the store in", path, source }
        }
        Error::PreviousIo => {
            StoreError::Io { action: "using the store in", path, source: io::Error::other(error) }
        }
        other => StoreError::Damaged { path, what: other.to_string() },
    }
}

impl RedbStore {
    fn guarded<T>(&self, call: impl FnOnce() -> Result<T, Error>) -> Result<T, StoreError> {
        guarded(&self.path, classify, call)
    }

    fn table(&self) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>, Error> {
        Ok(self.db.begin_read()?.open_table(TABLE)?)
    }

    /// All that `change` does becomes visible at once, and with [`Durability::Immediate`] durable, together with all
    /// that was done before.
    fn write<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        self.guarded(|| {
            let mut write = self.db.begin_write()?;
            write.set_durability(durability)?;
            let changed = change(&write)?;
            write.commit()?;
            Ok(changed)
        })
    }
}

impl Store for RedbStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.guarded(|| Ok(self.table()?.get(key)?.map(|value| value.value().to_vec())))
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        assert_values_are_small(&changes);
        self.write(Durability::None, |write| {
            let mut table = write.open_table(TABLE)?;
            for (key, value) in changes {
                match value {
                    Some(value) => drop(table.insert(&*key, &*value)?),
                    None => drop(table.remove(&*key)?),
                }
            }
            Ok(())
        })
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let mut found = self.guarded(|| Ok(self.table()?.range::<&[u8]>(from(prefix))?))?;
        while let Some((key, value)) = self.guarded(|| Ok(found.next().transpose()?))? {
            if !key.value().starts_with(prefix) {
                break;
            }
            visit(key.value(), value.value());
        }
        Ok(())
    }

    fn remove_prefix(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let count = self.write(Durability::None, |write| {
                let mut table = write.open_table(TABLE)?;
                let mut keys = Vec::new();
                for entry in table.range::<&[u8]>(from(prefix))?.take(REMOVED_KEYS_MAX) {
                    let (key, _) = entry?;
                    if !key.value().starts_with(prefix) {
                        break;
                    }
                    keys.push(key.value().to_vec());
                }
                for key in &keys {
                    table.remove(&**key)?;
                }
                Ok(keys.len())
            })?;
            removed += u64::try_from(count).unwrap_or(u64::MAX);
            if count == 0 {
                return Ok(removed);
            }
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.write(Durability::Immediate, |_| Ok(()))
    }
}

/// The keys that begin with `prefix` come first here.
fn from(prefix: &[u8]) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (Bound::Included(prefix), Bound::Unbounded)
}
