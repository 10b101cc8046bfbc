//! Sealed blocks, read from the store and unpacked; the last few stay unpacked, since whoever reads a backlog asks for
//! the same block many times.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::block::{BlockRef, unpack};
use super::chunk::Entry;
use super::{IndexError, block_key};
use crate::ids::QueueId;
use crate::store::Store;

/// Blocks that stay unpacked: about 80 KiB each.
const UNPACKED_BLOCKS_MAX: usize = 32;

/// A block of a queue, unpacked.
struct Unpacked {
    queue: QueueId,
    block: BlockRef,
    entries: Arc<[Entry]>,
}

/// Reads blocks. Shared by readers; may block on the store.
pub(crate) struct Blocks {
    store: Arc<dyn Store>,
    recent: Mutex<VecDeque<Unpacked>>,
    #[cfg(test)]
    reads: std::sync::atomic::AtomicU64,
}

impl Blocks {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Blocks {
            store,
            recent: Mutex::default(),
            #[cfg(test)]
            reads: Default::default(),
        }
    }

    /// How often a block was asked for.
    #[cfg(test)]
    pub fn reads(&self) -> u64 {
        self.reads.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The store that they are read from.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The entries of a block; `None` when the store does not have it.
    pub(super) fn unpacked(
        &self,
        queue: QueueId,
        block: &BlockRef,
    ) -> Result<Option<Arc<[Entry]>>, IndexError> {
        #[cfg(test)]
        self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = recent.iter().find(|found| found.queue == queue && found.block == *block) {
            return Ok(Some(found.entries.clone()));
        }
        drop(recent);
        let Some(packed) = self.store.get(&block_key(queue, block.first_offset))? else { return Ok(None) };
        let entries: Arc<[Entry]> = unpack(block, &packed)?.into();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_front(Unpacked { queue, block: *block, entries: entries.clone() });
        recent.truncate(UNPACKED_BLOCKS_MAX);
        Ok(Some(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::pack;
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn so_many_blocks_stay_unpacked_and_others_are_read_again() {
        let store = Arc::new(MemoryStore::default());
        let (blocks, queue) = (Blocks::new(store.clone()), QueueId(1));
        let packed: Vec<_> = (0..=u64::try_from(UNPACKED_BLOCKS_MAX).unwrap())
            .map(|offset| {
                let (position, bytes) = (offset * 100, 100);
                let entry = Entry {
                    offset,
                    position,
                    bytes,
                    tag_hash: 0,
                    store_ms: 0,
                    expires_ms: 0,
                    key_hash: 0,
                    priority: 0,
                };
                pack([entry].into_iter()).unwrap()
            })
            .collect();
        let change = |at: usize, is_there: bool| {
            let (block, bytes) = &packed[at];
            let value = is_there.then(|| bytes.clone());
            store.apply(vec![(block_key(queue, block.first_offset), value)]).unwrap();
        };
        let is_found = |at: usize| blocks.unpacked(queue, &packed[at].0).unwrap().is_some();
        for at in 0..UNPACKED_BLOCKS_MAX {
            change(at, true);
            assert!(is_found(at));
            change(at, false);
        }
        assert!((0..UNPACKED_BLOCKS_MAX).all(is_found), "without the store");
        change(UNPACKED_BLOCKS_MAX, true);
        assert!(is_found(UNPACKED_BLOCKS_MAX));
        assert!(!is_found(0) && is_found(1), "one more takes the place of the first");
        change(0, true);
        assert!(is_found(0), "which the store still has");
    }
}
