//! What is on the double of a disk: durable bytes and names, what readers see, and the changes in between, of which a
//! power cut keeps some. It knows no calls and no rules.
#![expect(clippy::indexing_slicing, reason = "a double for tests; a wrong index in it should fail the test")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Loss, Rule};
use crate::width::{narrow, wide};

/// Parts of a write that reach the disk independently of each other.
const PAGE_BYTES: usize = 4096;

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Debug, Default)]
pub(super) struct Content {
    pub durable: Vec<u8>,
    pub live: Vec<u8>,
    pub pending: Vec<Change>,
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub random: u64,
    pub boot: u64,
    pub next_file: u64,
    pub files: HashMap<u64, Content>,
    pub names: BTreeMap<PathBuf, u64>,
    pub durable_names: BTreeMap<PathBuf, u64>,
    pub pending_names: Vec<NameChange>,
    pub rules: Vec<Rule>,
    pub changes: u64,
    pub power_fails_at: Option<u64>,
    pub off: bool,
    pub bytes_max: Option<usize>,
    pub short_writes: bool,
    pub locks: HashSet<PathBuf>,
}

impl Change {
    pub fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(*length, 0),
            Self::Write { offset, bytes } => write_part(content, *offset, bytes, 0..bytes.len()),
        }
    }
}

fn write_part(content: &mut Vec<u8>, offset: usize, bytes: &[u8], part: Range<usize>) {
    let (from, to) = (offset + part.start, offset + part.end);
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(&bytes[part]);
}

impl NameChange {
    pub fn path(&self) -> &Path {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Rename(_, path) => path,
        }
    }

    pub fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Link(path, file) => {
                names.insert(path.clone(), *file);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
}

impl State {
    /// The next number of the SplitMix64 sequence, below `below`.
    pub fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    /// Bytes of all files that have a name.
    pub fn held_bytes(&self) -> usize {
        let named = self.files.iter().filter(|(file, _)| self.is_named(**file));
        named.map(|(_, content)| content.live.len()).sum()
    }

    pub fn is_named(&self, file: u64) -> bool {
        self.names.values().any(|&named| named == file)
    }

    pub fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    pub fn settle_names(&mut self, settles: impl Fn(&NameChange) -> bool) {
        let durable = &mut self.durable_names;
        self.pending_names.retain(|change| {
            let settled = settles(change);
            if settled {
                change.apply(durable);
            }
            !settled
        });
    }

    pub fn lose(&mut self, loss: Loss) {
        // Names change in order, as in a file system with a journal.
        let named = self.pending_names.len();
        let kept_names = match loss {
            Loss::Nothing => return,
            Loss::All => 0,
            Loss::Torn | Loss::Pages => narrow(self.draw(wide(named) + 1)),
        };
        for change in std::mem::take(&mut self.pending_names).iter().take(kept_names) {
            change.apply(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
        let mut files: Vec<u64> = self.files.keys().copied().collect();
        files.sort_unstable();
        for file in files {
            let Some(mut content) = self.files.remove(&file) else { continue };
            if self.is_named(file) {
                self.lose_content(&mut content, loss);
                self.files.insert(file, content);
            }
        }
    }

    pub fn lose_content(&mut self, content: &mut Content, loss: Loss) {
        let pending = std::mem::take(&mut content.pending);
        let durable = &mut content.durable;
        match loss {
            Loss::All | Loss::Nothing => {}
            Loss::Torn => {
                let kept = narrow(self.draw(wide(pending.len()) + 1));
                pending.iter().take(kept).for_each(|change| change.apply(durable));
                if let Some(Change::Write { offset, bytes }) = pending.get(kept) {
                    let part = 0..narrow(self.draw(wide(bytes.len()) + 1));
                    write_part(durable, *offset, bytes, part);
                }
            }
            Loss::Pages => {
                for change in &pending {
                    self.lose_pages(change, durable);
                }
            }
        }
        content.live = content.durable.clone();
    }

    pub fn lose_pages(&mut self, change: &Change, durable: &mut Vec<u8>) {
        let Change::Write { offset, bytes } = change else {
            if self.draw(2) == 0 {
                change.apply(durable);
            }
            return;
        };
        let mut from = 0;
        while from < bytes.len() {
            let to = bytes.len().min(from + PAGE_BYTES - (offset + from) % PAGE_BYTES);
            if self.draw(2) == 0 {
                write_part(durable, *offset, bytes, from..to);
            }
            from = to;
        }
    }
}
