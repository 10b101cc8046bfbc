//! A store that fails: it refuses changes while told to, and a crash takes the last of those that were not flushed.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use super::*;
use crate::store::{Change, StoreError};

/// Keys and values, of which only those before the last flush are safe.
#[derive(Default)]
pub(super) struct FaultStore {
    inner: Mutex<Inner>,
}

#[derive(Clone, Default)]
struct Inner {
    flushed: BTreeMap<Vec<u8>, Vec<u8>>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    unflushed: Vec<Change>,
    fails: bool,
}

impl FaultStore {
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// From now on changes are refused, or taken again.
    pub fn fail(&self, fails: bool) {
        self.locked().fails = fails;
    }

    /// Changes that a crash may take.
    pub fn unflushed(&self) -> usize {
        self.locked().unflushed.len()
    }

    /// What the next process finds when so many unflushed changes survive.
    pub fn after_crash(&self, kept: usize) -> FaultStore {
        let Inner { mut flushed, unflushed, .. } = self.locked().clone();
        unflushed.into_iter().take(kept).for_each(|change| change_one(&mut flushed, change));
        let inner = Inner { values: flushed.clone(), flushed, ..Inner::default() };
        FaultStore { inner: Mutex::new(inner) }
    }
}

fn change_one(values: &mut BTreeMap<Vec<u8>, Vec<u8>>, (key, value): Change) {
    match value {
        Some(value) => values.insert(key, value),
        None => values.remove(&key),
    };
}

impl Inner {
    fn check(&self) -> Result<(), StoreError> {
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = StoreError::Io { action: "writing", path: PathBuf::from("/data/store"), source };
        if self.fails { Err(error) } else { Ok(()) }
    }
}

impl Store for FaultStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.locked().values.get(key).cloned())
    }

    fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut inner = self.locked();
        inner.check()?;
        changes.iter().cloned().for_each(|change| change_one(&mut inner.values, change));
        inner.unflushed.extend(changes);
        Ok(())
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let inner = self.locked();
        let found = inner.values.iter().filter(|(key, _)| key.starts_with(prefix));
        found.for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn remove_prefix(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let keys: Vec<_> =
            self.locked().values.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        self.apply(keys.iter().map(|key| (key.clone(), None)).collect())?;
        Ok(keys.len() as u64)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut inner = self.locked();
        inner.check()?;
        inner.flushed = inner.values.clone();
        inner.unflushed.clear();
        Ok(())
    }
}
