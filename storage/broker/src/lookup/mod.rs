//! Finding messages by key: a key file for each whole part of the log, made in the background when the part is
//! complete. What has none yet is read through. Answers rest on the messages themselves; a hash only says where to look.
mod file;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use mailrail_commitlog::disk::Disk;
use mailrail_commitlog::{LogReader, Position, Visitor};
use mailrail_message::{StoredMessage, property};

use self::file::{KeyAt, KeyFile, KeyWriter, range_of};
use crate::directory::Topic;
use crate::error::Error;
use crate::limits::READ_BYTES_MAX;
use crate::queue::Queue;
use crate::read::ReadEntry;
use crate::reader::ReadContext;
use crate::record::kind;

/// Bytes of the log for whose keys there is room in memory: of messages of 100 bytes with one key each, 30 MiB.
const PASS_BYTES: u64 = 256 << 20;

/// Which messages to find.
#[derive(Clone, Debug)]
pub struct FindRequest {
    pub topic: Arc<Topic>,
    /// One of the message's keys, or the id that its producer gave it.
    pub key: String,
    /// Store times in milliseconds of the Unix epoch: from the first, up to and with the second.
    pub from_ms: u64,
    pub to_ms: u64,
    pub max: usize,
    /// Ends the answer too; one message is always returned, however long.
    pub max_bytes: usize,
}

/// A message that was found, as it lies in a queue of the topic.
#[derive(Clone, Debug)]
pub struct Found {
    pub queue: Arc<Queue>,
    pub entry: ReadEntry,
}

/// The key files.
pub(crate) struct Lookup {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Sorted by position.
    files: ArcSwap<Vec<Arc<KeyFile>>>,
    /// Held while a file is made.
    making: Mutex<()>,
}

impl Lookup {
    /// Opens the key files in a folder. What is damaged or half made goes: all of it can be made again.
    pub fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> io::Result<Lookup> {
        disk.create_dir(&dir)?;
        let mut files = Vec::new();
        for name in disk.list(&dir)? {
            let path = dir.join(&name);
            let Some(range) = range_of(&name) else {
                if name == file::UNFINISHED_FILE {
                    disk.remove(&path)?;
                }
                continue;
            };
            match KeyFile::open(&*disk, path.clone(), range) {
                Ok(file) => files.push(Arc::new(file)),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a key file is made again");
                    disk.remove(&path)?;
                }
            }
        }
        files.sort_by_key(|file| file.range.start);
        Ok(Lookup { disk, dir, files: ArcSwap::from_pointee(files), making: Mutex::default() })
    }

    /// Makes the key file of one part of the log that has none, and removes those of parts that are no more. True when
    /// there may be more to make.
    pub fn make_one(&self, log: &LogReader) -> io::Result<bool> {
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<Range<Position>> = log.extents().into_iter().map(|extent| extent.positions).collect();
        let files = self.files.load_full();
        let (current, stale): (Vec<_>, Vec<_>) =
            files.iter().cloned().partition(|file| parts.contains(&file.range));
        let missing = parts.into_iter().find(|part| !current.iter().any(|file| file.range == *part));
        let made = missing.map(|part| self.make(log, part)).transpose()?;
        let has_made = made.is_some();
        if has_made || !stale.is_empty() {
            let mut now: Vec<_> = current.into_iter().chain(made.map(Arc::new)).collect();
            now.sort_by_key(|file| file.range.start);
            self.files.store(Arc::new(now));
        }
        stale.iter().try_for_each(|file| self.disk.remove(&file.path))?;
        Ok(has_made)
    }

    fn make(&self, log: &LogReader, range: Range<Position>) -> io::Result<KeyFile> {
        let passes = (range.end - range.start).div_ceil(PASS_BYTES).max(1);
        let step = u64::MAX / passes;
        let mut writer = KeyWriter::create(&*self.disk, &self.dir, range.clone())?;
        for pass in 0..passes {
            let last = if pass + 1 == passes { u64::MAX } else { (pass + 1) * step - 1 };
            let mut collector = Collector { hashes: pass * step..=last, keys: Vec::new() };
            log.walk(range.clone(), &mut collector).map_err(io::Error::other)?;
            writer.add(&mut collector.keys)?;
        }
        writer.finish()
    }

    /// Positions in the whole log of messages that may have the key, lowest first.
    fn candidates(&self, log: &LogReader, key: &str) -> Result<BTreeSet<Position>, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Read(error.to_string());
        let hash = hash(key);
        let mut found = BTreeSet::new();
        let files = self.files.load_full();
        let parts: Vec<Range<Position>> = log.extents().into_iter().map(|extent| extent.positions).collect();
        let rest = parts.last().map_or(0, |part| part.end)..Position::MAX;
        for part in parts.into_iter().chain([rest]) {
            let of_part = files.iter().find(|file| file.range == part);
            match of_part.map(|file| file.find(&*self.disk, hash)) {
                Some(Ok(positions)) => found.extend(positions),
                missing => {
                    if let Some(Err(error)) = missing {
                        tracing::warn!(%error, "a key file cannot be read: the log is read instead");
                    }
                    let mut collector = Collector { hashes: hash..=hash, keys: Vec::new() };
                    log.walk(part, &mut collector).map_err(|error| failed(&error))?;
                    found.extend(collector.keys.into_iter().map(|(_, position)| position));
                }
            }
        }
        Ok(found)
    }
}

impl ReadContext {
    /// Makes a key file; true when there may be more to make.
    pub fn make_keys(&self) -> bool {
        self.lookup.make_one(&self.log).unwrap_or_else(|error| {
            tracing::warn!(%error, "a key file was not made: searches by key read the log instead");
            false
        })
    }

    /// Finds messages by key, the newest first. Blocks for as long as the disk takes.
    pub fn find(&self, request: &FindRequest) -> Result<Vec<Found>, Error> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let bytes_max = request.max_bytes.min(READ_BYTES_MAX);
        if request.key.is_empty() {
            return Ok(found);
        }
        for position in self.lookup.candidates(&self.log, &request.key)?.into_iter().rev() {
            let Ok(message) = self.message_at(position) else { continue };
            let Ok(stored) = StoredMessage::parse(&message) else { continue };
            let in_time = (request.from_ms..=request.to_ms).contains(&stored.store_ms());
            if !in_time || !keys(&stored).any(|key| key == request.key) {
                continue;
            }
            if let Some((queue, offset)) = self.place_in(&request.topic, position, &stored)? {
                let entry = ReadEntry { offset, store_ms: stored.store_ms(), message: message.clone() };
                bytes += entry.message.len();
                if !found.is_empty() && bytes > bytes_max {
                    break;
                }
                found.push(Found { queue, entry });
            }
            if found.len() >= request.max || bytes >= bytes_max {
                break;
            }
        }
        Ok(found)
    }

    /// The queue of a topic in which a message still lies, and its offset there.
    fn place_in(
        &self,
        topic: &Topic,
        position: Position,
        stored: &StoredMessage<'_>,
    ) -> Result<Option<(Arc<Queue>, u64)>, Error> {
        let targets = stored.targets().map_err(|error| Error::Read(error.to_string()))?;
        for target in targets {
            let queues = topic.queues();
            let Some(queue) = queues.iter().find(|queue| queue.id.0 == target.queue) else { continue };
            let entries = queue.entries(target.offset, 1, &self.blocks);
            let entries = entries.map_err(|error| Error::Read(error.to_string()))?;
            if entries
                .first()
                .is_some_and(|e| e.position == position && e.offset == target.offset && e.is_there())
            {
                return Ok(Some((queue.clone(), target.offset)));
            }
        }
        Ok(None)
    }
}

/// The keys that a message can be found by: what the producer set, and the id that its client gave it.
fn keys<'a>(stored: &StoredMessage<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let properties = stored.properties();
    let keys = properties.get(property::KEYS).unwrap_or_default().split(' ');
    keys.filter(|key| !key.is_empty()).chain(properties.get(property::UNIQUE_ID))
}

/// FNV-1a, which is part of the stored format.
fn hash(key: &str) -> u64 {
    key.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Collects the keys of messages whose hashes are in a range.
struct Collector {
    hashes: std::ops::RangeInclusive<u64>,
    keys: Vec<KeyAt>,
}

impl Visitor for Collector {
    fn record(&mut self, position: Position, record_kind: u8, payload: &[u8]) -> Result<(), String> {
        if record_kind == kind::MESSAGE {
            let stored = StoredMessage::parse(payload).map_err(|error| error.to_string())?;
            let hashes = keys(&stored).map(hash).filter(|hash| self.hashes.contains(hash));
            self.keys.extend(hashes.map(|hash| (hash, position)));
        }
        Ok(())
    }
}
