//! The engines to choose from: what each calls its files in the data folder, and what becomes of files that it cannot
//! use. It knows no engine's insides.
use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::redb::open_redb;
use super::sled::open_sled;
use super::{Store, StoreError};

/// Set-aside names that are looked for before giving up on a free one.
pub(super) const SET_ASIDE_MAX: u32 = 1000;

/// What keeps the store. All of it can be rebuilt from the log, so that a broker may open with another engine than the
/// last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreEngine {
    /// A log-structured tree of pages in a folder, with a checksum on all that is read.
    #[default]
    Sled,
    /// A copy-on-write tree in one file, checked as a whole when it is opened.
    Redb,
}

/// What had to be done to open a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mended {
    /// Nothing.
    No,
    /// Snapshots that sled had not finished writing were removed. No data is lost.
    UnfinishedSnapshotsRemoved,
    /// All of sled's snapshots were removed; it read its data file from the start. No data is lost.
    SnapshotsRemoved,
    /// It could not be opened. It is in `to` now, and the store is empty: everything is to be rebuilt from the log.
    SetAside { to: PathBuf, why: String },
}

/// A store that is open.
pub struct OpenedStore {
    pub store: Arc<dyn Store>,
    pub mended: Mended,
}

impl StoreEngine {
    pub(crate) const ALL: [StoreEngine; 2] = [StoreEngine::Sled, StoreEngine::Redb];

    /// What the store's folder or file is called, in the data folder.
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            StoreEngine::Sled => "store",
            StoreEngine::Redb => "store.redb",
        }
    }

    /// Opens the store at `path`, making it if there is none, with `cache_bytes` of memory for what was read. One that
    /// is damaged beyond mending is set aside.
    pub(crate) fn open(self, path: &Path, cache_bytes: u64) -> Result<OpenedStore, StoreError> {
        match self {
            StoreEngine::Sled => open_sled(path, cache_bytes),
            StoreEngine::Redb => open_redb(path, cache_bytes),
        }
    }
}

/// What an engine says is wrong with its files; any other error is one of the machine and ends the open.
pub(super) fn as_damage(error: StoreError) -> Result<String, StoreError> {
    match error {
        StoreError::Damaged { what, .. } => Ok(what),
        other => Err(other),
    }
}

/// Sets aside what is at `path`, of which nothing but `why` is known, and opens an empty store in its place.
pub(super) fn open_anew<S: Store + 'static>(
    path: &Path,
    why: String,
    open: impl FnOnce() -> Result<S, StoreError>,
) -> Result<OpenedStore, StoreError> {
    let to = set_aside(path)?;
    tracing::error!(path = %path.display(), to = %to.display(), why, "the store is set aside");
    Ok(OpenedStore { store: Arc::new(open()?), mended: Mended::SetAside { to, why } })
}

/// Renames the folder or file to the first free name of the form `<path>.broken-<n>`.
pub fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = (1..SET_ASIDE_MAX).map(|number| path.with_file_name(format!("{name}.broken-{number}")));
    let Some(to) = names.into_iter().find(|to| !to.exists()) else {
        let source = io::ErrorKind::AlreadyExists.into();
        return Err(StoreError::io("finding a free name to set aside", path, source));
    };
    fs::rename(path, &to).map_err(|error| StoreError::io("setting aside", path, error))?;
    sync(path.parent().unwrap_or(path))?;
    Ok(to)
}

/// What [`set_aside`] made of this folder or file, with the bytes in each.
pub fn already_set_aside(path: &Path) -> Result<Vec<(PathBuf, u64)>, StoreError> {
    let io = |error| StoreError::io("listing", path, error);
    let prefix = format!("{}.broken-", path.file_name().unwrap_or_default().to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(path.parent().unwrap_or(path)).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.file_name().unwrap_or_default().to_string_lossy().starts_with(&prefix) {
            found.push((path.clone(), bytes_in(&path).map_err(io)?));
        }
    }
    found.sort();
    Ok(found)
}

/// Bytes of a file, or of the files in a folder.
fn bytes_in(path: &Path) -> io::Result<u64> {
    if !path.is_dir() {
        return Ok(fs::metadata(path)?.len());
    }
    fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

/// Removes a folder or file that is needed no more; false if there is none. What is left of it after a crash has another
/// name, so that nobody takes it for a store.
pub fn discard(path: &Path) -> Result<bool, StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let to = path.with_file_name(format!("{name}.discarded"));
    remove(&to)?;
    match fs::rename(path, &to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        renamed => renamed.map_err(|error| StoreError::io("discarding", path, error))?,
    }
    sync(path.parent().unwrap_or(path))?;
    remove(&to)?;
    Ok(true)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| StoreError::io("removing", path, error)),
    }
}

/// Makes a file's bytes, or a folder's names, durable.
pub(super) fn sync(path: &Path) -> Result<(), StoreError> {
    match File::open(path).and_then(|file| file.sync_all()) {
        // sled removes old files whenever it likes; what is gone needs no sync.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        synced => synced.map_err(|error| StoreError::io("syncing", path, error)),
    }
}

/// Calls into an engine; a panic there is damage, since that is how engines meet what they did not write.
pub(super) fn guarded<T, E>(
    path: &Path,
    classify: impl FnOnce(&Path, E) -> StoreError,
    call: impl FnOnce() -> Result<T, E>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(called) => called.map_err(|error| classify(path, error)),
        Err(panic) => Err(StoreError::Damaged { path: path.to_owned(), what: text_of(&*panic) }),
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("the engine panicked").to_owned()
}
