//! The open end of a queue's index: entries that are appended once, published by a length, and read without a lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One entry of a queue's index: where its message lies, and what filters and searches need to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub offset: u64,
    /// Log position of the message's record.
    pub position: u64,
    /// Bytes of the stored message, without record header and padding; 0 where it is no more.
    pub bytes: u32,
    pub tag_hash: i32,
    /// Milliseconds of the Unix epoch; never decreases within a queue.
    pub store_ms: u64,
    /// Milliseconds of the Unix epoch from which on it is not handed out, by what the message itself says; 0 = never.
    pub expires_ms: u64,
    /// Of the ordering key; 0 = none.
    pub key_hash: u32,
    /// At most what the queue's topic allows; 0 = none.
    pub priority: u8,
}

impl Entry {
    /// False for the place of a message that is no more.
    pub fn is_there(&self) -> bool {
        self.bytes > 0
    }

    /// What decides its turn among others, in one number; 0 for most.
    pub(super) fn turn(&self) -> u64 {
        u64::from(self.key_hash) << 8 | u64::from(self.priority)
    }

    /// The entry with what [`Entry::turn`] gave; without bits that it never has.
    pub(super) fn with_turn(self, turn: u64) -> Self {
        let [priority, a, b, c, d, ..] = turn.to_le_bytes();
        Entry { key_hash: u32::from_le_bytes([a, b, c, d]), priority, ..self }
    }

    /// When it expires: by its own time, or by a time to live that all entries have; `u64::MAX` = never.
    pub fn deadline_ms(&self, ttl_ms: u64) -> u64 {
        let own = if self.expires_ms == 0 { u64::MAX } else { self.expires_ms };
        own.min(self.store_ms.saturating_add(ttl_ms))
    }
}

const ENTRY_WORDS: usize = 5;

/// A fixed run of entries with contiguous offsets. One thread appends; any thread reads what is below the length.
#[derive(Debug)]
pub(super) struct Chunk {
    pub first_offset: u64,
    words: Box<[AtomicU64]>,
    len: AtomicUsize,
}

impl Chunk {
    pub fn new(first_offset: u64, capacity: usize) -> Self {
        let words = (0..capacity * ENTRY_WORDS).map(|_| AtomicU64::new(0)).collect();
        Chunk { first_offset, words, len: AtomicUsize::new(0) }
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub fn end_offset(&self) -> u64 {
        self.first_offset + wide(self.len())
    }

    /// Appends an entry; false when the chunk is full or the offset is not the next one. Only the shard calls it.
    pub fn push(&self, entry: &Entry) -> bool {
        let len = self.len.load(Ordering::Relaxed);
        let at = len * ENTRY_WORDS;
        let words = self.words.get(at..at + ENTRY_WORDS);
        let Some([position, packed, store_ms, expires_ms, turn]) = words else { return false };
        if entry.offset != self.first_offset + wide(len) {
            return false;
        }
        position.store(entry.position, Ordering::Relaxed);
        packed.store(pack(entry.bytes, entry.tag_hash), Ordering::Relaxed);
        store_ms.store(entry.store_ms, Ordering::Relaxed);
        expires_ms.store(entry.expires_ms, Ordering::Relaxed);
        turn.store(entry.turn(), Ordering::Relaxed);
        self.len.store(len + 1, Ordering::Release);
        true
    }

    /// The entry at an offset, if it is in this chunk.
    pub fn get(&self, offset: u64) -> Option<Entry> {
        let index = usize::try_from(offset.checked_sub(self.first_offset)?).ok()?;
        if index >= self.len() {
            return None;
        }
        let at = index * ENTRY_WORDS;
        let words = self.words.get(at..at + ENTRY_WORDS);
        let Some([position, packed, store_ms, expires_ms, turn]) = words else { return None };
        let (bytes, tag_hash) = unpack(packed.load(Ordering::Relaxed));
        let (position, store_ms) = (position.load(Ordering::Relaxed), store_ms.load(Ordering::Relaxed));
        let expires_ms = expires_ms.load(Ordering::Relaxed);
        let entry =
            Entry { offset, position, bytes, tag_hash, store_ms, expires_ms, key_hash: 0, priority: 0 };
        Some(entry.with_turn(turn.load(Ordering::Relaxed)))
    }
}

fn pack(bytes: u32, tag_hash: i32) -> u64 {
    u64::from(bytes) << 32 | u64::from(tag_hash.cast_unsigned())
}

fn unpack(packed: u64) -> (u32, i32) {
    let [a, b, c, d, e, f, g, h] = packed.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h]))
}

/// A length as an offset; `usize` never exceeds 64 bits.
pub(super) fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_appended_and_nothing_else() {
        let chunk = Chunk::new(10, 2);
        let entry = |offset| Entry {
            offset,
            position: 1 << 40,
            bytes: u32::MAX,
            tag_hash: -7,
            store_ms: 99,
            expires_ms: 5,
            key_hash: u32::MAX,
            priority: 255,
        };
        assert!(!chunk.push(&entry(11)));
        assert!(chunk.push(&entry(10)) && chunk.push(&entry(11)) && !chunk.push(&entry(12)));
        assert_eq!(chunk.get(11), Some(entry(11)));
        assert_eq!((chunk.get(9), chunk.get(12)), (None, None));
    }
}
