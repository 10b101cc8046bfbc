//! One process per folder. The kernel's lock decides, so a process that died leaves nothing stale; the pid in the file
//! is only for the message.
use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// Name of the file that is locked.
const LOCK_FILE: &str = "lock";

/// A folder that no other process can take until this is dropped.
pub struct DirLock {
    _held: Box<dyn Any + Send + Sync>,
}

/// Why a folder was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    #[error("the data folder {} is in use by {}", dir.display(), owner_text(*pid))]
    InUse { dir: PathBuf, pid: Option<u32> },
    #[error("locking the data folder {}: {source}", dir.display())]
    Io { dir: PathBuf, source: io::Error },
}

fn owner_text(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl DirLock {
    /// Takes `dir`, which must exist, for this process.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { dir: dir.to_owned(), source };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options.open(dir.join(LOCK_FILE)).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::InUse { dir: dir.to_owned(), pid: owner(&mut file) });
            }
            Err(errno) => return Err(io(errno.into())),
        }
        file.set_len(0).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self::holding(file))
    }

    /// A lock that lasts as long as `held` does.
    pub(crate) fn holding(held: impl Any + Send + Sync) -> Self {
        Self { _held: Box::new(held) }
    }
}

impl std::fmt::Debug for DirLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DirLock")
    }
}

fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_owner_is_refused_by_name_and_pid_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirLock::acquire(dir.path()).unwrap();
        let refusal = DirLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(refusal.contains(&dir.path().display().to_string()), "{refusal}");
        assert!(refusal.contains(&std::process::id().to_string()), "{refusal}");
        drop(held);
        assert!(DirLock::acquire(dir.path()).is_ok());
    }

    #[test]
    fn what_a_dead_process_left_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LOCK_FILE), "999999 and more text than a pid has").unwrap();
        let held = DirLock::acquire(dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join(LOCK_FILE)).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(held);
    }
}
