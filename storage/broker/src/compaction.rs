//! Compaction: of the messages of a topic that keeps the newest of each key, which ones go. Carried out on a reader's
//! thread, a step at a time; what a step finds the shard records, so a replay compares nothing.
//!
//! A pass learns the newest offset of each key among what came since the last pass, then looks through all that lies
//! before the end of that: what is older than the newest of its key goes, and so does a tombstone whose time is over. Keys
//! are known by hashes of 128 bits.

use std::sync::Arc;

use mailrail_commitlog::planted::{Bug, planted};
use mailrail_message::{StoredMessage, property};
use ring::digest;
use rustc_hash::FxHashMap;

use crate::limits::{
    COMPACTED_RUNS_MAX, COMPACTION_KEYS_MAX, COMPACTION_STEP_BYTES_MAX, DISK_READ_BYTES_MAX,
};
use crate::queue::{Entry, Queue};
use crate::reader::ReadContext;
use crate::retention::Run;

/// A pass over one queue on its way.
#[derive(Debug)]
pub(crate) struct Compaction {
    pub queue: Arc<Queue>,
    terms: Terms,
    stage: Stage,
    newest: FxHashMap<u128, u64>,
    /// Where the next step goes on.
    next: u64,
    /// What is compared ends here; messages behind it are of another pass.
    pub to: u64,
    /// There were more keys than one pass knows: the next one goes on behind it.
    pub is_cut: bool,
    /// Offsets that the last step found to go, in order.
    pub found: Vec<Run>,
    /// When the first tombstone that stays may go, in milliseconds of the Unix epoch.
    pub tombstone_due_ms: Option<u64>,
}

/// What a pass goes by, whatever time it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub now_ms: u64,
    /// What is younger is left alone.
    pub lag_ms: u64,
    /// How long a message without a body stays that is the newest of its key.
    pub tombstone_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Learning,
    Looking,
    Done,
}

/// What a message says of itself.
struct Seen {
    key: u128,
    is_tombstone: bool,
}

impl Compaction {
    /// A pass that learns from an offset on.
    pub fn new(queue: Arc<Queue>, from: u64, terms: Terms) -> Self {
        Compaction {
            queue,
            terms,
            stage: Stage::Learning,
            newest: FxHashMap::default(),
            next: from,
            to: from,
            is_cut: false,
            found: Vec::new(),
            tombstone_due_ms: None,
        }
    }

    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Goes on for a while. An error says that something could not be read: then the pass is over.
    pub fn step(mut self: Box<Self>, context: &ReadContext) -> Result<Box<Compaction>, String> {
        self.found.clear();
        let mut left = COMPACTION_STEP_BYTES_MAX;
        while left > 0 && self.stage != Stage::Done && self.found.len() < COMPACTED_RUNS_MAX {
            left = left.saturating_sub(self.look(context)?);
        }
        Ok(self)
    }

    /// Looks at some messages; returns how many bytes they had, and at least 1.
    fn look(&mut self, context: &ReadContext) -> Result<usize, String> {
        let end = if self.stage == Stage::Learning { self.queue.end_offset() } else { self.to };
        let from = self.queue.behind_removed(self.next.max(self.queue.min_offset()));
        let mut entries = if from < end { self.entries(from, end, context)? } else { Vec::new() };
        let Some(last) = entries.last().map(|entry| entry.offset) else {
            self.stage_over();
            return Ok(1);
        };
        let behind = last + 1;
        entries.retain(Entry::is_there);
        let messages = context.messages(&entries);
        let mut bytes = 1;
        for (entry, message) in entries.iter().zip(messages) {
            let seen = match message {
                Ok(message) => {
                    bytes += message.len();
                    seen(&message)
                }
                // What is damaged or gone is left alone: its key is not known.
                Err(crate::Error::Damaged(_) | crate::Error::NoMessage(_)) => None,
                Err(error) => return Err(error.to_string()),
            };
            let Some(seen) = seen else { continue };
            if self.stage != Stage::Learning {
                if self.found.len() >= COMPACTED_RUNS_MAX {
                    self.next = entry.offset;
                    return Ok(bytes);
                }
                self.compare(entry, &seen);
            } else if !self.learn(entry.offset, &seen) {
                (self.next, self.to, self.is_cut) = (entry.offset, entry.offset, true);
                self.stage_over();
                return Ok(bytes);
            }
        }
        self.next = behind;
        Ok(bytes)
    }

    /// Entries from an offset on that may be looked at, as many as are read at once; none where there are no more.
    fn entries(&self, from: u64, end: u64, context: &ReadContext) -> Result<Vec<Entry>, String> {
        let found = self.queue.entries(from, usize::MAX, &context.blocks);
        let mut entries = found.map_err(|error| error.to_string())?;
        let Terms { now_ms, lag_ms, .. } = self.terms;
        let may_go = |entry: &Entry| entry.store_ms.saturating_add(lag_ms) <= now_ms;
        let is_wanted =
            |entry: &&Entry| entry.offset < end && (self.stage != Stage::Learning || may_go(entry));
        let wanted = entries.iter().take_while(is_wanted).count();
        entries.truncate(wanted);
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let is_first = bytes == 0;
            bytes += usize::try_from(entry.bytes).unwrap_or(usize::MAX);
            is_first || bytes <= DISK_READ_BYTES_MAX
        };
        let fitting = entries.iter().take_while(fits).count();
        entries.truncate(fitting.max(1));
        Ok(entries)
    }

    /// Notes the newest of a key; false where there is no room for another one.
    fn learn(&mut self, offset: u64, seen: &Seen) -> bool {
        let has_room = self.newest.len() < COMPACTION_KEYS_MAX;
        if has_room || self.newest.contains_key(&seen.key) {
            self.newest.insert(seen.key, offset);
            return true;
        }
        false
    }

    fn compare(&mut self, entry: &Entry, seen: &Seen) {
        let newest = self.newest.get(&seen.key).copied().unwrap_or(0);
        let is_newest =
            if planted(Bug::NewestCompacted) { newest != entry.offset } else { newest <= entry.offset };
        let goes_ms = entry.store_ms.saturating_add(self.terms.tombstone_ms);
        if !is_newest || (seen.is_tombstone && goes_ms <= self.terms.now_ms) {
            match self.found.last_mut() {
                Some((_, end)) if *end == entry.offset => *end += 1,
                _ => self.found.push((entry.offset, entry.offset + 1)),
            }
        } else if seen.is_tombstone {
            self.tombstone_due_ms = Some(self.tombstone_due_ms.map_or(goes_ms, |due_ms| due_ms.min(goes_ms)));
        }
    }

    fn stage_over(&mut self) {
        self.stage = match self.stage {
            Stage::Learning => {
                self.to = self.to.max(self.next.min(self.queue.end_offset()));
                self.next = 0;
                Stage::Looking
            }
            Stage::Looking | Stage::Done => Stage::Done,
        };
    }
}

fn seen(message: &[u8]) -> Option<Seen> {
    let stored = StoredMessage::parse(message).ok()?;
    let key = stored.properties().get(property::KEYS)?;
    Some(Seen { key: hash(key), is_tombstone: stored.body().is_empty() })
}

/// A name for a key that no other key will have.
fn hash(key: &str) -> u128 {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    digest.as_ref().first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))
}
