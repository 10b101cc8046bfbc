//! The index of a queue as it was at some time, to be written by somebody else later. Cheap to take, however long the
//! open end is.

use std::ops::Range;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::block::{self, BlockRef};
use super::chunk::{Chunk, Entry};
use super::turn::PrioritySet;

/// An offset, and the priorities of the block that begins there.
type OffsetPriorities = (u64, PrioritySet);

/// The index of a queue as it was when the image was taken. Chunks only grow, so those that it holds still show that.
#[derive(Debug)]
pub(crate) struct IndexImage {
    pub(super) sealed: Vec<BlockRef>,
    pub(super) priorities: Vec<OffsetPriorities>,
    pub(super) tail: Arc<Vec<Arc<Chunk>>>,
    pub(super) min: u64,
    pub(super) end: u64,
}

impl IndexImage {
    /// The directory of sealed blocks.
    pub fn sealed(&self) -> &[BlockRef] {
        &self.sealed
    }

    /// The entries behind them.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + Clone {
        self.entries_in(0..u64::MAX)
    }

    fn entries_in(&self, run: Range<u64>) -> impl Iterator<Item = Entry> + Clone {
        let from = self.sealed.last().map_or(self.min, |last| last.end_offset().max(self.min)).max(run.start);
        let end = self.end.min(run.end);
        let offsets = move |chunk: &Chunk| chunk.first_offset.max(from)..chunk.end_offset().min(end);
        self.tail.iter().flat_map(move |chunk| offsets(chunk).filter_map(|offset| chunk.get(offset)))
    }

    /// Those entries, packed, in runs without a gap.
    pub fn runs(&self) -> Vec<PackedRun> {
        let ends: Vec<u64> = self
            .tail
            .windows(2)
            .filter_map(|pair| match pair {
                [chunk, next] if chunk.end_offset() != next.first_offset => Some(chunk.end_offset()),
                _ => None,
            })
            .chain([u64::MAX])
            .collect();
        let mut from = 0;
        let mut run = |end: u64| {
            let run = std::mem::replace(&mut from, end)..end;
            block::pack(self.entries_in(run)).map(|(_, packed)| PackedRun(packed))
        };
        ends.into_iter().filter_map(&mut run).collect()
    }

    /// Of those blocks, by their first offset, where the topic has priorities.
    pub fn priorities(&self) -> &[OffsetPriorities] {
        &self.priorities
    }

    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.entries().next().is_none()
    }

    pub fn blocks(&self) -> usize {
        self.sealed.len()
    }
}

/// Entries with contiguous offsets, packed as in a block. One that was decoded can be unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackedRun(Vec<u8>);

impl PackedRun {
    #[cfg(test)]
    pub fn of(entries: &[Entry]) -> Option<PackedRun> {
        block::pack(entries.iter().copied()).map(|(_, packed)| PackedRun(packed))
    }

    pub fn entries(&self) -> Vec<Entry> {
        block::unpack_any(&self.0).unwrap_or_default()
    }
}

impl Serialize for PackedRun {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for PackedRun {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = PackedRun;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("packed index entries")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<PackedRun, E> {
                let is_whole = block::unpack_any(bytes).is_some();
                is_whole.then(|| PackedRun(bytes.to_vec())).ok_or_else(|| E::custom("damaged index entries"))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
