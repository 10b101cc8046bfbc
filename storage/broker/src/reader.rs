//! Turning index entries into messages: at once from memory, or on a small pool of threads that may block.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use mailrail_commitlog::{LogReader, record};
use mailrail_message::{RECORD_MESSAGE_BYTES_MAX, StoredMessage};

use crate::command::Receipt;
use crate::directory::Directory;
use crate::error::Error;
use crate::event::Delivery;
use crate::ids::QueueId;
use crate::limits::*;
use crate::queue::{Blocks, Entry, Queue};
use crate::read::{ReadBatch, ReadEntry, ReadRequest};
use crate::session::Grant;

/// What readers need.
pub(crate) struct ReadContext {
    pub log: LogReader,
    pub blocks: Arc<Blocks>,
    pub directory: Arc<Directory>,
}

type Job = Box<dyn FnOnce(&ReadContext) + Send>;

/// Threads that carry out reads which may block.
#[derive(Clone)]
pub(crate) struct Pool {
    jobs: Arc<Mutex<Option<Sender<Job>>>>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Pool {
    pub fn start(threads: usize, context: Arc<ReadContext>) -> Pool {
        let (jobs, queue): (Sender<Job>, Receiver<Job>) = crossbeam_channel::unbounded();
        let start = |number: usize| {
            let (queue, context) = (queue.clone(), context.clone());
            let work = move || {
                for job in queue {
                    job(&context);
                }
            };
            std::thread::Builder::new().name(format!("reader-{number}")).spawn(work).ok()
        };
        let threads = (0..threads.max(1)).filter_map(start).collect();
        Pool { jobs: Arc::new(Mutex::new(Some(jobs))), threads: Arc::new(Mutex::new(threads)) }
    }

    /// Queues a job; after [`Pool::stop`] it is dropped.
    pub fn run(&self, job: Job) {
        if let Some(jobs) = &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = jobs.send(job);
        }
    }

    /// Finishes what is queued and ends the threads.
    pub fn stop(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
    }
}

/// Answers a read from memory; `None` when its first message must come from disk.
pub(crate) fn read_in_memory(log: &LogReader, request: &ReadRequest) -> Option<ReadBatch> {
    let queue = &request.queue;
    let entries = queue.in_memory(request.offset, request.max_entries.min(READ_ENTRIES_MAX))?;
    let mut batch = empty_batch(request, &entries);
    let mut bytes = 0;
    for entry in entries {
        if wanted(request, &entry) {
            if is_full(request, &batch, bytes, &entry) {
                break;
            }
            let Some(message) = in_memory(log, &entry) else {
                if batch.entries.is_empty() {
                    return None;
                }
                break;
            };
            bytes += message.len();
            batch.entries.push(ReadEntry { offset: entry.offset, store_ms: entry.store_ms, message });
        }
        batch.next_offset = entry.offset + 1;
    }
    Some(batch)
}

/// Deliveries of grants whose messages are all in memory.
pub(crate) fn deliveries_in_memory(log: &LogReader, grants: &[Grant]) -> Option<Vec<Delivery>> {
    let mut deliveries = Vec::with_capacity(grants.iter().map(|grant| to_usize(grant.count)).sum());
    for grant in grants {
        let entries = grant.queue.in_memory(grant.first_offset, to_usize(grant.count))?;
        if u32::try_from(entries.len()) != Ok(grant.count) {
            return None;
        }
        for entry in entries {
            deliveries.push(delivery(grant, &entry, in_memory(log, &entry)?));
        }
    }
    Some(deliveries)
}

fn in_memory(log: &LogReader, entry: &Entry) -> Option<Bytes> {
    log.cached(message_position(entry), to_usize(entry.bytes))
}

fn message_position(entry: &Entry) -> u64 {
    behind_header(entry.position)
}

fn empty_batch(request: &ReadRequest, entries: &[Entry]) -> ReadBatch {
    let (min_offset, end_offset) = (request.queue.min_offset(), request.queue.end_offset());
    // A gap in the offsets is nothing to wait in: go on behind it.
    let start = entries.first().map_or(request.offset, |first| first.offset);
    ReadBatch { entries: Vec::new(), next_offset: start, min_offset, end_offset }
}

fn wanted(request: &ReadRequest, entry: &Entry) -> bool {
    request.tags.as_ref().is_none_or(|tags| tags.contains(&entry.tag_hash))
}

fn is_full(request: &ReadRequest, batch: &ReadBatch, bytes: usize, entry: &Entry) -> bool {
    let limit = request.max_bytes.min(READ_BYTES_MAX);
    !batch.entries.is_empty() && bytes + to_usize(entry.bytes) > limit
}

fn delivery(grant: &Grant, entry: &Entry, message: Bytes) -> Delivery {
    let step = entry.offset - grant.first_offset;
    Delivery {
        receipt: grant.receipt(step),
        queue_index: grant.queue.index,
        attempts: grant.attempts,
        message,
    }
}

impl ReadContext {
    /// Carries out a read by offset.
    pub fn read(&self, request: &ReadRequest) -> Result<ReadBatch, Error> {
        let queue = &request.queue;
        let max = request.max_entries.min(READ_ENTRIES_MAX);
        let failed = |error: &dyn std::fmt::Display| Error::Read(error.to_string());
        // Without a filter, what is asked for is all that is looked at.
        let look_at = if request.tags.is_none() { max } else { usize::MAX };
        let entries = queue.entries(request.offset, look_at, &self.blocks).map_err(|e| failed(&e))?;
        let mut batch = empty_batch(request, &entries);
        let mut chosen = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            if wanted(request, &entry) {
                let full = !chosen.is_empty()
                    && bytes + to_usize(entry.bytes) > request.max_bytes.min(READ_BYTES_MAX);
                if full || chosen.len() == max {
                    break;
                }
                bytes += to_usize(entry.bytes);
                chosen.push(entry);
            }
            batch.next_offset = entry.offset + 1;
        }
        for (entry, message) in chosen.iter().zip(self.messages(&chosen)) {
            let message = message.map_err(|error| failed(&error))?;
            batch.entries.push(ReadEntry { offset: entry.offset, store_ms: entry.store_ms, message });
        }
        Ok(batch)
    }

    /// The messages of entries, in their order.
    pub fn messages(&self, entries: &[Entry]) -> Vec<Result<Bytes, mailrail_commitlog::ReadError>> {
        let mut wanted: Vec<_> = entries.iter().map(|entry| (message_position(entry), entry.bytes)).collect();
        let sorted = wanted.is_sorted();
        if sorted {
            return self.log.read(&wanted);
        }
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by_key(|at| wanted.get(*at).map(|(position, _)| *position));
        wanted.sort();
        let mut messages: Vec<_> = order.into_iter().zip(self.log.read(&wanted)).collect();
        messages.sort_by_key(|(at, _)| *at);
        messages.into_iter().map(|(_, message)| message).collect()
    }

    /// The message at a position a client named. Only what an index entry leads to is a message: a position may be
    /// forged, and bodies hold anything.
    pub fn read_position(&self, position: u64) -> Result<ReadBatch, Error> {
        let none = || Error::NoMessage(position);
        let head = self.log.read(&[(position, 64)]).pop().ok_or_else(none)?.map_err(|_| none())?;
        let (_, payload_len) = crate::record::header(&head).ok_or_else(none)?;
        let bytes = u32::try_from(payload_len.min(RECORD_MESSAGE_BYTES_MAX)).map_err(|_| none())?;
        let at = behind_header(position);
        let message = self.log.read(&[(at, bytes)]).pop().ok_or_else(none)?.map_err(|_| none())?;
        let stored = StoredMessage::parse(&message).map_err(|_| none())?;
        for target in stored.targets().map_err(|_| none())? {
            let Some(queue) = self.directory.queue(QueueId(target.queue)) else { continue };
            let entry =
                queue.entries(target.offset, 1, &self.blocks).map_err(|e| Error::Read(e.to_string()))?;
            if let Some(entry) = entry.first().filter(|e| e.position == position && e.offset == target.offset)
            {
                let (min_offset, end_offset) = (queue.min_offset(), queue.end_offset());
                let found = ReadEntry { offset: entry.offset, store_ms: entry.store_ms, message };
                let next_offset = entry.offset + 1;
                return Ok(ReadBatch { entries: vec![found], next_offset, min_offset, end_offset });
            }
        }
        Err(none())
    }

    /// One entry of a queue with its message; `None` when it is no more.
    pub fn entry(&self, queue: &Queue, offset: u64) -> Result<Option<Bytes>, Error> {
        let entries = queue.entries(offset, 1, &self.blocks).map_err(|e| Error::Read(e.to_string()))?;
        let Some(entry) = entries.first().filter(|entry| entry.offset == offset) else { return Ok(None) };
        self.messages(std::slice::from_ref(entry))
            .pop()
            .transpose()
            .map_err(|error| Error::Read(error.to_string()))
    }

    /// Deliveries of grants, and the receipts of those whose messages could not be read.
    pub fn deliveries(&self, grants: &[Grant]) -> (Vec<Delivery>, Vec<Receipt>) {
        let (mut deliveries, mut unread) = (Vec::new(), Vec::new());
        for grant in grants {
            let end = grant.first_offset + u64::from(grant.count);
            let mut next = grant.first_offset;
            while next < end {
                let max = usize::try_from(end - next).unwrap_or(usize::MAX);
                let found = grant.queue.entries(next, max, &self.blocks).unwrap_or_else(|error| {
                    tracing::error!(queue = grant.queue.id.0, offset = next, %error, "reading the index failed");
                    Vec::new()
                });
                let entries: Vec<Entry> = found.into_iter().filter(|entry| entry.offset < end).collect();
                let Some(last) = entries.last() else { break };
                let behind = last.offset + 1;
                for (entry, message) in entries.iter().zip(self.messages(&entries)) {
                    match message {
                        Ok(message) => deliveries.push(delivery(grant, entry, message)),
                        Err(error) => {
                            let (queue, offset) = (grant.queue.id.0, entry.offset);
                            tracing::error!(queue, offset, %error, "reading a message failed");
                        }
                    }
                }
                next = behind;
            }
            let got: Vec<u64> = deliveries
                .iter()
                .filter(|d| d.receipt.queue == grant.queue.id && d.receipt.lease >= grant.first_lease)
                .map(|d| d.receipt.offset)
                .collect();
            let missing = (grant.first_offset..end).filter(|offset| got.binary_search(offset).is_err());
            unread.extend(missing.map(|offset| grant.receipt(offset - grant.first_offset)));
        }
        (deliveries, unread)
    }
}

/// Where the bytes of a record begin.
pub(crate) fn behind_header(position: u64) -> u64 {
    position.saturating_add(u64::try_from(record::RECORD_HEADER_BYTES).unwrap_or(u64::MAX))
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
