//! The messages of what was granted: at once from memory, or as much of them as one read may bring.

use std::ops::Range;

use bytes::Bytes;
use mailrail_commitlog::LogReader;

use super::{ReadContext, in_memory, to_usize};
use crate::command::Receipt;
use crate::error::Error;
use crate::event::Delivery;
use crate::queue::Entry;
use crate::session::Grant;
use crate::shard::Input;

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

fn delivery(grant: &Grant, entry: &Entry, message: Bytes) -> Delivery {
    Delivery {
        receipt: grant.receipt(entry.offset),
        queue_index: grant.queue.index,
        attempts: grant.attempts,
        message,
    }
}

impl ReadContext {
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
