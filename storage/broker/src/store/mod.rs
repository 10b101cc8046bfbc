//! Where the state's checkpoints are kept: ordered keys and small values, behind a trait so that the engine can be
//! exchanged. All of it can be rebuilt from the log, and no acknowledgement depends on it. It knows no key's meaning.
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

mod engine;
#[cfg(test)]
mod memory;
mod redb;
mod sled;

pub use self::engine::{Mended, StoreEngine, already_set_aside, discard, set_aside};
#[cfg(test)]
pub use self::memory::MemoryStore;

/// Every value is shorter: the sled engine puts longer ones into files of their own, which it leaks.
pub const VALUE_BYTES_MAX: usize = 100 << 10;
/// Keys that are removed at once by [`Store::remove_prefix`].
const REMOVED_KEYS_MAX: usize = 1024;

/// A change of one key: `None` removes it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// Why the store did not do what was asked. What it holds may be set aside and rebuilt from the log.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the store in {} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("the store in {} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
}

impl StoreError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// Ordered keys and values. All calls block.
pub trait Store: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Makes all changes, in order. After a crash any part of them may be there, so each value says by itself up to
    /// which log position it is right.
    ///
    /// # Panics
    /// When a value has [`VALUE_BYTES_MAX`] bytes or more.
    fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Shows the keys that begin with `prefix`, and their values, in the order of the keys.
    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError>;

    /// Removes the keys that begin with `prefix`; returns how many there were.
    fn remove_prefix(&self, prefix: &[u8]) -> Result<u64, StoreError>;

    /// Returns when everything that was changed before the call is on the disk.
    fn flush(&self) -> Result<(), StoreError>;
}

fn assert_values_are_small(changes: &[Change]) {
    for (key, value) in changes {
        let bytes = value.as_ref().map_or(0, Vec::len);
        assert!(
            bytes < VALUE_BYTES_MAX,
            "the value of key {key:02x?} has {bytes} bytes, the limit is {VALUE_BYTES_MAX}"
        );
    }
}

#[cfg(test)]
mod tests;
