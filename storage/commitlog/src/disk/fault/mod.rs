//! A disk in memory that fails as told, or as its seed says: it loses what was not synced, tears writes, flips bits,
//! returns errors, runs full. For tests of this crate and of those above it; it models no timing.
//!
//! A change is *pending* until the file's [`DiskFile::sync_data`] (for names: [`Disk::sync_dir`]). A power cut decides
//! for each pending change whether it happened. Handles from before a cut are dead.
#![expect(clippy::indexing_slicing, reason = "a double for tests; a wrong index in it should fail the test")]

use std::collections::HashSet;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{DirLock, Disk, DiskFile, LockError};
use crate::width::{narrow, wide};
use state::{Change, Content, NameChange, State};

mod state;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What happens to pending changes when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All are lost.
    All,
    /// None is lost: only the process was killed. They are still pending for the next one.
    Nothing,
    /// Per file, the first few happened; the last of those, if a write, up to some byte.
    Torn,
    /// Per file and page, by chance: a later page can be there and an earlier one not.
    Pages,
}

/// Calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Create,
    Open,
    Rename,
    Remove,
    SyncDir,
    Allocate,
    Write,
    Read,
    Sync,
    Truncate,
    Fill,
}

/// Calls of one kind, on paths that contain a text, that fail.
#[derive(Debug, Clone)]
struct Rule {
    op: Op,
    path_has: String,
    skip: u32,
    times: u32,
    errno: i32,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
    boot: u64,
    gate: Arc<Gate>,
}

/// Where syncs can be held up: how many wait, and for which paths they must.
#[derive(Debug, Default)]
struct Gate {
    held: Mutex<(usize, Option<String>)>,
    changed: Condvar,
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    file: u64,
}

impl FaultDisk {
    /// An empty disk. Everything left to chance follows from the seed.
    pub fn new(seed: u64) -> Self {
        let state = State { random: seed, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), boot: 0, gate: Arc::default() }
    }

    /// Cuts the power and switches it on again. Handles from before, this one included, are dead; the result is the
    /// same disk for the next process. Rules and limits are gone.
    pub fn power_cut(&self, loss: Loss) -> Self {
        let mut state = self.locked();
        state.lose(loss);
        state.boot += 1;
        state.off = false;
        state.power_fails_at = None;
        state.rules.clear();
        state.locks.clear();
        Self { state: Arc::clone(&self.state), boot: state.boot, gate: Arc::clone(&self.gate) }
    }

    /// The power fails at the change (write, sync, rename ...) number `changes` from now: it and all later calls return
    /// an error, and it is left open whether it happened.
    pub fn fail_power_after(&self, changes: u64) {
        let mut state = self.locked();
        state.power_fails_at = Some(state.changes + changes);
    }

    /// Whether the power has failed.
    pub fn is_off(&self) -> bool {
        self.locked().off
    }

    /// Number of changes so far, for runs over all of them.
    pub fn changes(&self) -> u64 {
        self.locked().changes
    }

    /// After `skip` calls that pass, `times` calls of `op` on paths that contain `path_has` fail with `errno`.
    pub fn fail(&self, op: Op, path_has: &str, skip: u32, times: u32, errno: i32) {
        self.locked().rules.push(Rule { op, path_has: path_has.to_owned(), skip, times, errno });
    }

    /// Ends all failing by [`FaultDisk::fail`].
    pub fn fail_no_more(&self) {
        self.locked().rules.clear();
    }

    /// Limits the sum of all files' lengths; `None` is no limit.
    pub fn limit_bytes(&self, bytes_max: Option<usize>) {
        self.locked().bytes_max = bytes_max;
    }

    /// Lets writes end early, by chance.
    pub fn write_short(&self, short_writes: bool) {
        self.locked().short_writes = short_writes;
    }

    /// From now on syncs of files whose paths contain `path_has` do not return until [`FaultDisk::release_syncs`].
    pub fn hold_syncs(&self, path_has: &str) {
        self.gate.locked().1 = Some(path_has.to_owned());
    }

    /// Waits until a sync is held up.
    pub fn wait_for_held_sync(&self) {
        let held = self.gate.locked();
        let waited = self.gate.changed.wait_while(held, |(waiting, _)| *waiting == 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets held syncs and all later ones go on.
    pub fn release_syncs(&self) {
        self.gate.locked().1 = None;
        self.gate.changed.notify_all();
    }

    /// A file's bytes as a reader would see them.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.locked();
        Some(state.files[state.names.get(path)?].live.clone())
    }

    /// Changes a file's bytes behind everybody's back, and makes all of them durable.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn tamper(&self, path: &Path, tamper: impl Fn(&mut Vec<u8>)) {
        let mut state = self.locked();
        let file = state.names[path];
        let Some(content) = state.files.get_mut(&file) else { return };
        tamper(&mut content.live);
        content.durable.clone_from(&content.live);
        content.pending.clear();
    }

    /// Paths of all files, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.locked().names.keys().cloned().collect()
    }

    /// A copy of everything, independent of this disk from now on.
    pub fn fork(&self) -> Self {
        let state = self.locked();
        let files = state.files.iter().map(|(&file, content)| {
            let Content { durable, live, pending } = content;
            (file, Content { durable: durable.clone(), live: live.clone(), pending: pending.clone() })
        });
        let copy = State {
            files: files.collect(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            pending_names: state.pending_names.clone(),
            rules: state.rules.clone(),
            locks: HashSet::new(),
            ..*state
        };
        Self { state: Arc::new(Mutex::new(copy)), boot: self.boot, gate: Arc::default() }
    }

    /// A number below `below`, from the disk's seed.
    pub fn random(&self, below: u64) -> u64 {
        self.locked().draw(below)
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call. A change at which the power fails goes on (`Ok(false)`), and then is an error.
    fn enter(&self, op: Op, path: &Path) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.locked();
        if state.off || state.boot != self.boot {
            return Err(power_is_off());
        }
        for rule in &mut state.rules {
            if rule.op == op && rule.times > 0 && path.to_string_lossy().contains(&rule.path_has) {
                if rule.skip > 0 {
                    rule.skip -= 1;
                    continue;
                }
                rule.times = if rule.times == u32::MAX { u32::MAX } else { rule.times - 1 };
                return Err(io::Error::from_raw_os_error(rule.errno));
            }
        }
        let mut stays_on = true;
        if !matches!(op, Op::Read | Op::Open) {
            stays_on = state.power_fails_at != Some(state.changes);
            state.changes += 1;
            state.off = !stays_on;
        }
        Ok((state, stays_on))
    }
}

impl Gate {
    fn locked(&self) -> MutexGuard<'_, (usize, Option<String>)> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, path: &Path) {
        let mut held = self.locked();
        if held.1.as_ref().is_some_and(|path_has| path.to_string_lossy().contains(path_has)) {
            held.0 += 1;
            self.changed.notify_all();
            held = self
                .changed
                .wait_while(held, |(_, paths)| paths.is_some())
                .unwrap_or_else(PoisonError::into_inner);
            held.0 -= 1;
        }
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

fn done<T>(value: T, stays_on: bool) -> io::Result<T> {
    if stays_on { Ok(value) } else { Err(power_is_off()) }
}

impl Disk for FaultDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        // A folder is there as soon as a file in it is: nothing is kept of it.
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let (state, _) = self.enter(Op::Open, dir)?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let (mut state, stays_on) = self.enter(Op::Create, path)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, Content::default());
        state.change_name(NameChange::Link(path.to_owned(), file));
        done(Arc::new(FaultFile { disk: self.clone(), file }), stays_on)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let (state, _) = self.enter(Op::Open, path)?;
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, stays_on) = self.enter(Op::Rename, from)?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        done((), stays_on)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut state, stays_on) = self.enter(Op::Remove, path)?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Unlink(path.to_owned()));
        done((), stays_on)
    }

    fn overwrites(&self, _dir: &Path) -> io::Result<bool> {
        Ok(true)
    }

    fn fill(&self, path: &Path, part: Range<u64>) -> io::Result<()> {
        let (mut state, stays_on) = self.enter(Op::Fill, path)?;
        let file = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let change =
            Change::Write { offset: narrow(part.start), bytes: vec![0; narrow(part.end - part.start)] };
        if let Some(content) = state.files.get_mut(&file) {
            assert!(wide(content.live.len()) >= part.end, "a part is filled that is not reserved");
            change.apply(&mut content.live);
            content.pending.push(change);
        }
        done((), stays_on)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut state, stays_on) = self.enter(Op::SyncDir, dir)?;
        if stays_on {
            state.settle_names(|change| change.path().parent() == Some(dir));
        }
        done((), stays_on)
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.locked();
        Ok(state.bytes_max.map_or(u64::MAX, |max| wide(max.saturating_sub(state.held_bytes()))))
    }

    fn lock(&self, dir: &Path) -> Result<DirLock, LockError> {
        let mut state = self.locked();
        if state.boot != self.boot || !state.locks.insert(dir.to_owned()) {
            return Err(LockError::InUse { dir: dir.to_owned(), pid: None });
        }
        Ok(DirLock::holding(HeldLock { disk: self.clone(), dir: dir.to_owned() }))
    }

    fn nonce(&self) -> u64 {
        self.locked().draw(u64::MAX)
    }
}

struct HeldLock {
    disk: FaultDisk,
    dir: PathBuf,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        let mut state = self.disk.locked();
        if state.boot == self.disk.boot {
            state.locks.remove(&self.dir);
        }
    }
}

impl FaultFile {
    /// The file's present name; empty when it was removed.
    fn path(&self) -> PathBuf {
        let state = self.disk.locked();
        let named = state.names.iter().find(|(_, file)| **file == self.file);
        named.map_or_else(PathBuf::new, |(path, _)| path.clone())
    }

    /// Enters a call and applies a change to what readers see.
    fn change(&self, op: Op, plan: impl FnOnce(&mut State) -> io::Result<Change>) -> io::Result<()> {
        let (mut state, stays_on) = self.disk.enter(op, &self.path())?;
        let change = plan(&mut state)?;
        if let Some(content) = state.files.get_mut(&self.file) {
            change.apply(&mut content.live);
            content.pending.push(change);
        }
        done((), stays_on)
    }

    fn grown_by(&self, state: &State, length: usize) -> io::Result<()> {
        let held = state.held_bytes();
        let growth = length.saturating_sub(state.files[&self.file].live.len());
        if state.bytes_max.is_some_and(|max| growth > 0 && held + growth > max) {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }
}

impl DiskFile for FaultFile {
    fn bytes(&self) -> io::Result<u64> {
        let (state, _) = self.disk.enter(Op::Read, &self.path())?;
        Ok(wide(state.files[&self.file].live.len()))
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.change(Op::Allocate, |state| {
            self.grown_by(state, narrow(bytes))?;
            Ok(Change::Length(narrow(bytes).max(state.files[&self.file].live.len())))
        })
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let mut wrote = 0;
        self.change(Op::Write, |state| {
            if state.short_writes && bytes.len() > 1 {
                let len = state.draw(wide(bytes.len()));
                bytes.truncate(narrow(len).max(1));
            }
            wrote = bytes.len();
            self.grown_by(state, narrow(offset) + wrote)?;
            Ok(Change::Write { offset: narrow(offset), bytes })
        })?;
        Ok(wrote)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let (state, _) = self.disk.enter(Op::Read, &self.path())?;
        let live = &state.files[&self.file].live;
        let from = narrow(offset).min(live.len());
        let len = into.len().min(live.len() - from);
        into[..len].copy_from_slice(&live[from..from + len]);
        Ok(len)
    }

    fn will_read(&self, _part: Range<u64>) {}

    fn sync_data(&self) -> io::Result<()> {
        let (mut state, stays_on) = match self.disk.enter(Op::Sync, &self.path()) {
            Ok(entered) => entered,
            Err(error) => {
                // As on Linux: after a failed sync the pages count as clean, whether or not they are on the disk.
                if error.raw_os_error() == Some(EIO) {
                    self.forget_some();
                }
                return Err(error);
            }
        };
        if stays_on && let Some(Content { durable, pending, .. }) = state.files.get_mut(&self.file) {
            pending.drain(..).for_each(|change| change.apply(durable));
        }
        drop(state);
        self.disk.gate.pass(&self.path());
        done((), stays_on)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.change(Op::Truncate, |_| Ok(Change::Length(narrow(bytes))))
    }

    fn written_parts(&self) -> io::Result<Vec<Range<u64>>> {
        let (state, _) = self.disk.enter(Op::Read, &self.path())?;
        let live = &state.files[&self.file].live;
        let first = live.iter().position(|&byte| byte != 0);
        let last = live.iter().rposition(|&byte| byte != 0);
        Ok(first.zip(last).map(|(first, last)| wide(first)..wide(last) + 1).into_iter().collect())
    }
}

impl FaultFile {
    /// Half of the pending changes get lost, though readers go on seeing them until the power is cut.
    fn forget_some(&self) {
        let mut state = self.disk.locked();
        let keep: Vec<bool> =
            (0..state.files[&self.file].pending.len()).map(|_| state.draw(2) == 0).collect();
        if let Some(Content { durable, pending, .. }) = state.files.get_mut(&self.file) {
            let kept = pending.drain(..).zip(keep).filter(|(_, keep)| *keep);
            kept.for_each(|(change, _)| change.apply(durable));
        }
    }
}
