//! Making a data folder of an archive. All of it is checked before it gets the name that a broker opens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use mailrail_commitlog::disk::{DirLock, LockError};
use thiserror::Error;

use super::format::ArchiveError;
use super::unpack::{Contents, Piece, Unpacker};
use crate::check::{CheckReport, inspect};
use crate::limits::BACKUP_CHUNK_BYTES_MAX;

/// Folder in the data folder that an archive is unpacked into.
const UNPACKED_DIR: &str = "restoring";
/// Files that may be in the data folder: the lock, and what an interrupted restore left.
const ALLOWED: [&str; 2] = ["lock", UNPACKED_DIR];
const LOG_DIR: &str = "log";

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub archive: Contents,
    pub found: CheckReport,
}

/// Why nothing was restored. Each is one line; the data folder is as it was before.
#[derive(Debug, Error)]
pub enum RestoreError {
    #[error("{action} {}: {error}", path.display())]
    Io { action: &'static str, path: PathBuf, error: io::Error },
    #[error("{} is not empty, it holds {name}: restore into a new folder", data.display())]
    NotEmpty { data: PathBuf, name: String },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{} is no whole backup, {error}", archive.display())]
    Archive { archive: PathBuf, error: ArchiveError },
    /// The archive is as it was made, but what it holds was damaged before.
    #[error("what {} holds is damaged: {what}", archive.display())]
    Damaged { archive: PathBuf, what: String },
    #[error("{} holds the log to position {found} and says to {said}", archive.display())]
    Short { archive: PathBuf, found: u64, said: u64 },
}

impl RestoreError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
        move |error| RestoreError::Io { action, path: path.to_owned(), error }
    }
}

/// Makes the data folder `data`, which must be missing or empty, of an archive, durably, and checks everything in it.
pub fn restore(archive: &Path, data: &Path) -> Result<Restored, RestoreError> {
    let file = File::open(archive).map_err(RestoreError::io("opening", archive))?;
    let is_new = !data.exists();
    if !is_new {
        check_empty(data)?;
    }
    fs::create_dir_all(data).map_err(RestoreError::io("making", data))?;
    let _lock = DirLock::acquire(data)?;
    let unpacked = data.join(UNPACKED_DIR);
    let restored = remove(&unpacked).and_then(|()| unpack_and_check(archive, file, &unpacked));
    let restored = restored.and_then(|restored| give_name(&unpacked, data).map(|()| restored));
    if restored.is_err() {
        // What cannot be removed is removed by the next attempt.
        let _ = remove(&unpacked);
        if is_new {
            let _ = fs::remove_dir_all(data);
        }
    }
    restored
}

fn check_empty(data: &Path) -> Result<(), RestoreError> {
    for entry in fs::read_dir(data).map_err(RestoreError::io("listing", data))? {
        let name = entry.map_err(RestoreError::io("listing", data))?.file_name();
        if !ALLOWED.iter().any(|allowed| name == *allowed) {
            return Err(RestoreError::NotEmpty {
                data: data.to_owned(),
                name: name.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), RestoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(RestoreError::io("removing", folder)),
    }
}

fn unpack_and_check(archive: &Path, file: File, unpacked: &Path) -> Result<Restored, RestoreError> {
    let log = unpacked.join(LOG_DIR);
    fs::create_dir_all(&log).map_err(RestoreError::io("making", &log))?;
    let contents = unpack(archive, file, unpacked)?;
    sync(&log)?;
    sync(unpacked)?;
    let found = inspect(unpacked)
        .map_err(|error| RestoreError::Damaged { archive: archive.to_owned(), what: error.to_string() })?;
    if found.log.end != contents.end || found.log.start != contents.start || found.log.cut.is_some() {
        let archive = archive.to_owned();
        return Err(RestoreError::Short { archive, found: found.log.end, said: contents.end });
    }
    Ok(Restored { archive: contents, found })
}

/// Writes the archive's files below a folder. Their names were checked to be those of segments, so that none leads
/// elsewhere.
fn unpack(archive: &Path, mut file: File, folder: &Path) -> Result<Contents, RestoreError> {
    let no_archive = |error| RestoreError::Archive { archive: archive.to_owned(), error };
    let mut unpacker = Unpacker::default();
    let mut buffer = vec![0; BACKUP_CHUNK_BYTES_MAX];
    let mut current: Option<(PathBuf, File)> = None;
    loop {
        let read = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(RestoreError::io("reading", archive))?,
        };
        let mut input = buffer.get(..read).unwrap_or_default();
        if input.is_empty() {
            break;
        }
        while let Some(piece) = unpacker.next(&mut input).map_err(no_archive)? {
            match piece {
                Piece::File(next) => {
                    close(current.take())?;
                    let path = folder.join(next.name);
                    let made = OpenOptions::new().write(true).create_new(true).open(&path);
                    current = Some((path.clone(), made.map_err(RestoreError::io("making", &path))?));
                }
                Piece::Bytes(bytes) => {
                    if let Some((path, file)) = &mut current {
                        file.write_all(bytes).map_err(RestoreError::io("writing", path))?;
                    }
                }
            }
        }
    }
    close(current)?;
    unpacker.finish().map_err(no_archive)
}

fn close(file: Option<(PathBuf, File)>) -> Result<(), RestoreError> {
    file.map_or(Ok(()), |(path, file)| file.sync_all().map_err(RestoreError::io("syncing", &path)))
}

/// From here on a broker finds the log, all of it.
fn give_name(unpacked: &Path, data: &Path) -> Result<(), RestoreError> {
    let log = data.join(LOG_DIR);
    fs::rename(unpacked.join(LOG_DIR), &log).map_err(RestoreError::io("naming", &log))?;
    sync(data)?;
    if let Some(above) = data.parent().filter(|above| !above.as_os_str().is_empty()) {
        sync(above)?;
    }
    // It is empty, and means nothing to a broker.
    let _ = fs::remove_dir(unpacked);
    Ok(())
}

fn sync(folder: &Path) -> Result<(), RestoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(RestoreError::io("syncing", folder))
}
