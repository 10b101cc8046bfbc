//! Turning index entries into messages: at once from memory, or on a small pool of threads that may block.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use mailrail_commitlog::{LogReader, ReadError, record};
use mailrail_message::StoredMessage;

use crate::access::{Action, Identity, Resource};
use crate::command::Receipt;
use crate::damage::Damage;
use crate::directory::Directory;
use crate::error::Error;
use crate::event::Delivery;
use crate::ids::QueueId;
use crate::limits::*;
use crate::lookup::Lookup;
use crate::queue::{Blocks, Entry, Queue};
use crate::read::{ReadBatch, ReadEntry, ReadRequest};
use crate::session::Grant;
use crate::shard::Input;

/// What readers need.
pub(crate) struct ReadContext {
    pub log: LogReader,
    pub blocks: Arc<Blocks>,
    pub directory: Arc<Directory>,
    pub lookup: Arc<Lookup>,
    pub damage: Damage,
}

/// What came of reading the messages of grants.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub deliveries: Vec<Delivery>,
    /// Entries whose messages could not be read.
    pub unread: Vec<Receipt>,
    /// Entries whose messages are not what was stored.
    pub damaged: Vec<Receipt>,
    /// Entries whose messages are no more.
    pub gone: Vec<Receipt>,
    /// Entries whose time was over when they were granted.
    pub overdue: Vec<Receipt>,
    /// What one read has no room for.
    pub rest: Vec<Grant>,
}

impl Fetched {
    /// How many were granted and will not be delivered.
    pub fn undelivered(&self) -> u32 {
        let undelivered = [&self.unread, &self.damaged, &self.gone, &self.overdue];
        u32::try_from(undelivered.iter().map(|receipts| receipts.len()).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// What the shard must hear of.
    pub fn take_news(&mut self) -> Vec<Input> {
        let take = |receipts: &mut Vec<Receipt>, news: fn(Vec<Receipt>) -> Input| {
            (!receipts.is_empty()).then(|| news(std::mem::take(receipts)))
        };
        let gone = take(&mut self.gone, |receipts| Input::Gone { receipts });
        let damaged = take(&mut self.damaged, |receipts| Input::Damaged { receipts });
        let unread = take(&mut self.unread, |receipts| Input::Unread { receipts });
        let overdue = take(&mut self.overdue, |receipts| Input::Overdue { receipts });
        gone.into_iter().chain(damaged).chain(unread).chain(overdue).collect()
    }
}

pub(crate) type Job = Box<dyn FnOnce(&ReadContext) + Send>;

/// Threads that carry out reads which may block. What goes through much of the log has a thread of its own, or whoever
/// looks for a key would have those wait who read a few messages.
#[derive(Clone)]
pub(crate) struct Pool {
    reads: Lane,
    sweeps: Lane,
}

impl Pool {
    pub fn start(threads: usize, context: Arc<ReadContext>) -> Pool {
        Pool {
            reads: Lane::start("reader", threads.max(1), &context),
            sweeps: Lane::start("sweeper", 1, &context),
        }
    }

    /// Queues a job that reads no more than one client gets at once; after [`Pool::stop`] it is dropped.
    pub fn run(&self, job: Job) {
        self.reads.run(job);
    }

    /// Queues a job that may take long.
    pub fn run_long(&self, job: Job) {
        self.sweeps.run(job);
    }

    /// Finishes what is queued and ends the threads.
    pub fn stop(&self) {
        self.reads.stop();
        self.sweeps.stop();
    }
}

/// Some threads that share a line of jobs.
#[derive(Clone)]
struct Lane {
    jobs: Arc<Mutex<Option<Sender<Job>>>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Lane {
    fn start(name: &str, threads: usize, context: &Arc<ReadContext>) -> Lane {
        let (jobs, queue): (Sender<Job>, Receiver<Job>) = crossbeam_channel::unbounded();
        let start = |number: usize| {
            let (queue, context) = (queue.clone(), context.clone());
            let work = move || {
                for job in queue {
                    job(&context);
                }
            };
            std::thread::Builder::new().name(format!("{name}-{number}")).spawn(work).ok()
        };
        let threads = (0..threads).filter_map(start).collect();
        Lane { jobs: Arc::new(Mutex::new(Some(jobs))), threads: Arc::new(Mutex::new(threads)) }
    }

    fn run(&self, job: Job) {
        if let Some(jobs) = &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = jobs.send(job);
        }
    }

    fn stop(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }
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

/// Deliveries of grants whose messages are all in memory.
pub(crate) fn deliveries_in_memory(log: &LogReader, grants: &[Grant]) -> Option<Vec<Delivery>> {
    let mut deliveries = Vec::with_capacity(grants.iter().map(|grant| to_usize(grant.count)).sum());
    for grant in grants {
        let entries = grant.queue.in_memory(grant.first_offset, to_usize(grant.count))?;
        // An index that was trimmed in the meantime begins later.
        if !entries.iter().map(|entry| entry.offset).eq(grant.first_offset..grant.end_offset()) {
            return None;
        }
        for entry in entries {
            if grant.queue.is_overdue(&entry, grant.granted_ms) {
                return None;
            }
            deliveries.push(delivery(grant, &entry, in_memory(log, &entry)?));
        }
    }
    Some(deliveries)
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

fn delivery(grant: &Grant, entry: &Entry, message: Bytes) -> Delivery {
    Delivery {
        receipt: grant.receipt(entry.offset),
        queue_index: grant.queue.index,
        attempts: grant.attempts,
        message,
    }
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

    /// Reads the messages of grants, in their order, as far as so many bytes go; one message is always read.
    pub fn fetch(&self, grants: Vec<Grant>, bytes_max: usize) -> Fetched {
        let mut fetched = Fetched::default();
        let mut room = Room { left: bytes_max, is_whole: true };
        let mut grants = grants.into_iter();
        for grant in grants.by_ref() {
            let next = self.fetch_grant(&grant, &mut room, &mut fetched);
            if next < grant.end_offset() {
                fetched.rest.push(grant.from(next));
                break;
            }
        }
        fetched.rest.extend(grants);
        fetched
    }

    /// Reads as much of a grant as there is room for; returns the offset to go on at.
    fn fetch_grant(&self, grant: &Grant, room: &mut Room, fetched: &mut Fetched) -> u64 {
        let (mut next, end) = (grant.first_offset, grant.end_offset());
        while next < end {
            let max = usize::try_from(end - next).unwrap_or(usize::MAX);
            let mut entries = match grant.queue.entries(next, max, &self.blocks) {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::error!(queue = grant.queue.id.0, offset = next, %error, "reading the index failed");
                    fetched.unread.extend((next..end).map(|offset| grant.receipt(offset)));
                    return end;
                }
            };
            entries.retain(|entry| entry.offset < end);
            let Some(last) = entries.last() else {
                fetched.gone.extend((next..end).map(|offset| grant.receipt(offset)));
                return end;
            };
            let behind = last.offset + 1;
            let fitting = fitting(&entries, room);
            let stop = entries.get(fitting).map_or(behind, |entry| entry.offset);
            entries.truncate(fitting);
            self.fetch_entries(grant, next..stop, &entries, fetched);
            next = stop;
            if stop < behind {
                break;
            }
        }
        next
    }

    /// Reads the entries of a run of offsets; what is missing among them is gone.
    fn fetch_entries(&self, grant: &Grant, run: Range<u64>, entries: &[Entry], fetched: &mut Fetched) {
        let mut next = run.start;
        for (entry, message) in entries.iter().zip(self.messages(entries)) {
            fetched.gone.extend((next..entry.offset).map(|offset| grant.receipt(offset)));
            next = entry.offset + 1;
            match message {
                _ if grant.queue.is_overdue(entry, grant.granted_ms) => {
                    fetched.overdue.push(grant.receipt(entry.offset));
                }
                _ if !entry.is_there() => fetched.gone.push(grant.receipt(entry.offset)),
                Ok(message) => fetched.deliveries.push(delivery(grant, entry, message)),
                Err(Error::NoMessage(_)) => fetched.gone.push(grant.receipt(entry.offset)),
                Err(Error::Damaged(_)) => fetched.damaged.push(grant.receipt(entry.offset)),
                Err(error) => {
                    let (queue, offset) = (grant.queue.id.0, entry.offset);
                    tracing::error!(queue, offset, %error, "reading a message failed");
                    fetched.unread.push(grant.receipt(offset));
                }
            }
        }
        fetched.gone.extend((next..run.end).map(|offset| grant.receipt(offset)));
    }
}

/// Enough for the header of a record, and less than any stored message.
const HEADER_READ_BYTES: u32 = 64;

/// What a fetch may still bring; a whole one takes one message whatever its length.
struct Room {
    left: usize,
    is_whole: bool,
}

/// How many entries there is room for.
fn fitting(entries: &[Entry], room: &mut Room) -> usize {
    let fits = |entry: &&Entry| {
        let bytes = to_usize(entry.bytes);
        let fits = bytes <= room.left || room.is_whole;
        let left = if fits { room.left.saturating_sub(bytes) } else { 0 };
        *room = Room { left, is_whole: false };
        fits
    };
    entries.iter().take_while(fits).count()
}

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
