//! Turning index entries into messages: at once from memory, or on a small pool of threads that may block.

mod fetch;
mod pool;

use std::sync::Arc;

use bytes::Bytes;
use mailrail_commitlog::{LogReader, ReadError, record};
use mailrail_message::StoredMessage;

use crate::access::{Action, Identity, Resource};
use crate::damage::Damage;
use crate::directory::Directory;
use crate::error::Error;
use crate::ids::QueueId;
use crate::limits::*;
use crate::lookup::Lookup;
use crate::queue::{Blocks, Entry, Queue};
use crate::read::{ReadBatch, ReadEntry, ReadRequest};

pub(crate) use self::fetch::{Fetched, deliveries_in_memory};
pub(crate) use self::pool::{Job, Pool};

/// What readers need.
pub(crate) struct ReadContext {
    pub log: LogReader,
    pub blocks: Arc<Blocks>,
    pub directory: Arc<Directory>,
    pub lookup: Arc<Lookup>,
    pub damage: Damage,
}

/// Answers a read from memory; `None` when its first message must come from disk.
/// What is overdue at the time given is passed over.
pub(crate) fn read_in_memory(log: &LogReader, request: &ReadRequest, now_ms: u64) -> Option<ReadBatch> {
    let queue = &request.queue;
    let end = queue.end_offset();
    let entries = queue.in_memory(request.offset, look_at(request))?;
    let mut batch = empty_batch(request, &entries, end);
    let mut taken = Taken::default();
    for entry in entries {
        if wanted(request, &entry, now_ms) {
            if !taken.has_room_for(request, &entry) {
                break;
            }
            let Some(message) = in_memory(log, &entry) else {
                if batch.entries.is_empty() {
                    return None;
                }
                break;
            };
            taken.look_at(&entry);
            if request.filter.passes(&message) {
                taken.take(&entry);
                batch.entries.push(ReadEntry { offset: entry.offset, store_ms: entry.store_ms, message });
            }
        }
        batch.next_offset = entry.offset + 1;
    }
    Some(batch)
}

/// What a read has taken, and what it has looked at to find that.
#[derive(Clone, Copy, Default)]
struct Taken {
    entries: usize,
    bytes: usize,
    looked_at_bytes: usize,
}

impl Taken {
    /// One message fits, however long it is.
    fn has_room_for(&self, request: &ReadRequest, entry: &Entry) -> bool {
        let bytes = to_usize(entry.bytes);
        self.entries < max_entries(request)
            && (self.entries == 0 || self.bytes + bytes <= request.max_bytes.min(READ_BYTES_MAX))
            && (self.looked_at_bytes == 0 || self.looked_at_bytes + bytes <= READ_BYTES_MAX)
    }

    fn look_at(&mut self, entry: &Entry) {
        self.looked_at_bytes += to_usize(entry.bytes);
    }

    fn take(&mut self, entry: &Entry) {
        self.entries += 1;
        self.bytes += to_usize(entry.bytes);
    }
}

fn in_memory(log: &LogReader, entry: &Entry) -> Option<Bytes> {
    log.cached(message_position(entry), to_usize(entry.bytes)).filter(|_| entry.is_there())
}

fn message_position(entry: &Entry) -> u64 {
    behind_header(entry.position)
}

/// `end` is where the queue ended before its entries were looked for.
fn empty_batch(request: &ReadRequest, entries: &[Entry], end: u64) -> ReadBatch {
    let (min_offset, end_offset) = (request.queue.min_offset(), request.queue.end_offset());
    // A gap in the offsets is nothing to wait in: go on behind it, also where nothing follows it yet.
    let start = match entries.first() {
        Some(first) => first.offset,
        None if request.max_entries > 0 => request.offset.max(end),
        None => request.offset,
    };
    ReadBatch { entries: Vec::new(), next_offset: start, min_offset, end_offset }
}

/// How many entries are looked at: where none is passed over, what is asked for.
fn look_at(request: &ReadRequest) -> usize {
    if request.filter.is_all() && !request.queue.may_expire() {
        max_entries(request)
    } else {
        FILTERED_ENTRIES_MAX
    }
}

fn max_entries(request: &ReadRequest) -> usize {
    request.max_entries.min(READ_ENTRIES_MAX)
}

/// Whether the message of an entry must be looked at.
fn wanted(request: &ReadRequest, entry: &Entry, now_ms: u64) -> bool {
    entry.is_there() && !request.queue.is_overdue(entry, now_ms) && request.filter.may_pass(entry.tag_hash)
}

impl ReadContext {
    /// Carries out a read by offset; what is overdue at the time given is passed over.
    pub fn read(&self, request: &ReadRequest, now_ms: u64) -> Result<ReadBatch, Error> {
        let queue = &request.queue;
        let end = queue.end_offset();
        let entries = queue
            .entries(request.offset, look_at(request), &self.blocks)
            .map_err(|error| Error::Read(error.to_string()))?;
        let mut batch = empty_batch(request, &entries, end);
        let mut taken = Taken::default();
        let mut rest = entries.into_iter().peekable();
        loop {
            let (mut chosen, mut next_offset, mut with_chosen) = (Vec::new(), batch.next_offset, taken);
            while let Some(entry) = rest
                .next_if(|entry| !wanted(request, entry, now_ms) || with_chosen.has_room_for(request, entry))
            {
                next_offset = entry.offset + 1;
                if wanted(request, &entry, now_ms) {
                    with_chosen.look_at(&entry);
                    with_chosen.take(&entry);
                    chosen.push(entry);
                }
            }
            let is_whole = self.take(request, &chosen, &mut taken, &mut batch)?;
            if !is_whole {
                return Ok(batch);
            }
            batch.next_offset = next_offset;
            if chosen.is_empty() {
                return Ok(batch);
            }
        }
    }

    /// Reads messages and takes those that pass. False when one could not be read: the batch then ends before it, and
    /// whoever goes on from there gets the error.
    fn take(
        &self,
        request: &ReadRequest,
        chosen: &[Entry],
        taken: &mut Taken,
        batch: &mut ReadBatch,
    ) -> Result<bool, Error> {
        for (entry, message) in chosen.iter().zip(self.messages(chosen)) {
            taken.look_at(entry);
            match message {
                Ok(message) if request.filter.passes(&message) => {
                    taken.take(entry);
                    batch.entries.push(ReadEntry { offset: entry.offset, store_ms: entry.store_ms, message });
                }
                // Not wanted, or its queue's own group has settled it.
                Ok(_) | Err(Error::NoMessage(_)) => {}
                Err(error) if batch.entries.is_empty() => return Err(error),
                Err(_) => {
                    batch.next_offset = entry.offset;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The messages of entries, in their order.
    pub fn messages(&self, entries: &[Entry]) -> Vec<Result<Bytes, Error>> {
        let mut wanted: Vec<_> = entries.iter().map(|entry| (message_position(entry), entry.bytes)).collect();
        let sorted = wanted.is_sorted();
        if sorted {
            return self.whole(&wanted);
        }
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by_key(|at| wanted.get(*at).map(|(position, _)| *position));
        wanted.sort();
        let mut messages: Vec<_> = order.into_iter().zip(self.whole(&wanted)).collect();
        messages.sort_by_key(|(at, _)| *at);
        messages.into_iter().map(|(_, message)| message).collect()
    }

    /// Messages at (position, bytes), read from the files. The log was checked when it was opened, and a file can go bad
    /// later: a body that its checksum does not fit is an error. What was trimmed is [`Error::NoMessage`].
    pub fn whole(&self, wanted: &[(u64, u32)]) -> Vec<Result<Bytes, Error>> {
        let read = wanted.iter().zip(self.log.read(wanted));
        read.map(|((position, _), message)| {
            let message = message.map_err(|error| match error {
                ReadError::Trimmed { position, .. } => Error::NoMessage(position),
                error => Error::Read(error.to_string()),
            })?;
            self.damage.check(before_payload(*position), &message).map(|()| message)
        })
        .collect()
    }

    /// What a record at a position would hold; whether one is there is not known yet.
    pub fn message_at(&self, position: u64) -> Result<Bytes, Error> {
        let none = || Error::NoMessage(position);
        let read = |at, bytes| self.log.read(&[(at, bytes)]).pop().ok_or_else(none)?.map_err(|_| none());
        let (_, payload_len) = crate::record::header(&read(position, HEADER_READ_BYTES)?).ok_or_else(none)?;
        let bytes = u32::try_from(payload_len.min(STORED_MESSAGE_BYTES_MAX)).map_err(|_| none())?;
        read(behind_header(position), bytes)
    }

    #[cfg(test)]
    pub fn read_position(&self, position: u64) -> Result<ReadBatch, Error> {
        self.read_position_for(position, &Identity::broker())
    }

    /// The message at a position a client named, from a queue that the client may consume. Only what an index entry
    /// leads to is a message: a position may be forged, and bodies hold anything.
    pub fn read_position_for(&self, position: u64, identity: &Identity) -> Result<ReadBatch, Error> {
        let none = || Error::NoMessage(position);
        let mut denied = None;
        let message = self.message_at(position)?;
        let stored = StoredMessage::parse(&message).map_err(|_| none())?;
        for target in stored.targets().map_err(|_| none())? {
            let Some(queue) = self.directory.queue(QueueId(target.queue)) else { continue };
            let entry =
                queue.entries(target.offset, 1, &self.blocks).map_err(|e| Error::Read(e.to_string()))?;
            let is_it = |e: &&Entry| e.position == position && e.offset == target.offset && e.is_there();
            if let Some(entry) = entry.first().filter(is_it) {
                let topic = Resource::topic(&queue.topic);
                if let Err(denial) = self.directory.check(identity, Action::Consume, topic, None) {
                    denied = Some(Error::Denied(denial));
                    continue;
                }
                self.damage.check(position, &message)?;
                let (min_offset, end_offset) = (queue.min_offset(), queue.end_offset());
                let found = ReadEntry { offset: entry.offset, store_ms: entry.store_ms, message };
                let next_offset = entry.offset + 1;
                return Ok(ReadBatch { entries: vec![found], next_offset, min_offset, end_offset });
            }
        }
        Err(denied.unwrap_or_else(none))
    }

    /// One entry of a queue with its message; `None` when it is no more.
    pub fn entry(&self, queue: &Queue, offset: u64) -> Result<Option<Bytes>, Error> {
        let Some(entry) = self.index_entry(queue, offset)? else { return Ok(None) };
        match self.messages(&[entry]).pop() {
            Some(Err(Error::NoMessage(_))) => Ok(None),
            read => read.transpose(),
        }
    }

    /// As [`ReadContext::entry`], with the bytes as they are: of a message that is damaged.
    pub fn entry_unchecked(&self, queue: &Queue, offset: u64) -> Result<Option<Bytes>, Error> {
        let Some(entry) = self.index_entry(queue, offset)? else { return Ok(None) };
        let read = self.log.read(&[(message_position(&entry), entry.bytes)]).pop();
        read.transpose().map_err(|error| Error::Read(error.to_string()))
    }

    fn index_entry(&self, queue: &Queue, offset: u64) -> Result<Option<Entry>, Error> {
        let entries = queue.entries(offset, 1, &self.blocks).map_err(|e| Error::Read(e.to_string()))?;
        Ok(entries.into_iter().find(|entry| entry.offset == offset && entry.is_there()))
    }
}

/// Enough for the header of a record, and less than any stored message.
const HEADER_READ_BYTES: u32 = 64;

/// Where the bytes of a record begin.
pub(crate) fn behind_header(position: u64) -> u64 {
    position.saturating_add(u64::try_from(record::RECORD_HEADER_BYTES).unwrap_or(u64::MAX))
}

/// Where the record begins whose bytes lie here.
fn before_payload(position: u64) -> u64 {
    position.saturating_sub(behind_header(0))
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
