//! Full chunks into blocks of the store.

use super::*;
use crate::store::Store;

/// Full chunks on their way into the store: all up to an offset that no block holds yet.
#[derive(Debug)]
pub(crate) struct Sealing {
    pub queue: Arc<Queue>,
    pub(super) end: u64,
}

impl Sealing {
    /// Writes the chunks into the store and takes them out of memory. Those of an earlier sealing that failed come
    /// first: blocks lie without a hole before the chunks in memory. On the store's thread.
    pub(crate) fn store(self, store: &dyn Store) -> Result<(), StoreError> {
        self.runs().iter().try_for_each(|run| self.store_run(run, store))
    }

    /// The chunks, as one run for each block.
    fn runs(&self) -> Vec<Vec<Arc<Chunk>>> {
        let sealed = self.queue.sealed.read().unwrap_or_else(PoisonError::into_inner);
        let sealed_end = sealed.back().map_or(0, BlockRef::end_offset);
        let mut runs: Vec<Vec<Arc<Chunk>>> = Vec::new();
        let tail = self.queue.tail.load();
        let is_open =
            |chunk: &&Arc<Chunk>| chunk.first_offset >= sealed_end && chunk.end_offset() <= self.end;
        for chunk in tail.iter().filter(is_open) {
            let goes_on = |run: &&mut Vec<Arc<Chunk>>| {
                run.last().is_some_and(|last| last.end_offset() == chunk.first_offset)
                    && run.iter().map(|chunk| chunk.len()).sum::<usize>() < BLOCK_ENTRIES
            };
            match runs.last_mut().filter(goes_on) {
                Some(run) => run.push(chunk.clone()),
                None => runs.push(vec![chunk.clone()]),
            }
        }
        runs
    }

    fn store_run(&self, run: &[Arc<Chunk>], store: &dyn Store) -> Result<(), StoreError> {
        let chunk_entries = |chunk: &Arc<Chunk>| {
            let chunk = chunk.clone();
            (chunk.first_offset..chunk.end_offset()).filter_map(move |offset| chunk.get(offset))
        };
        let entries = run.iter().flat_map(chunk_entries);
        let Some((block, packed)) = block::pack(entries.clone()) else { return Ok(()) };
        let queue = &self.queue;
        if queue.is_gone() || queue.min_offset() >= block.end_offset() {
            return Ok(());
        }
        store.apply(vec![(block_key(queue.id, block.first_offset), Some(packed))])?;
        queue.note_block(&block, entries);
        queue.sealed.write().unwrap_or_else(PoisonError::into_inner).push_back(block);
        queue.tail.rcu(|tail| {
            let last = tail.len().saturating_sub(1);
            let keep =
                |(at, chunk): &(usize, &Arc<Chunk>)| *at == last || chunk.first_offset >= block.end_offset();
            tail.iter().enumerate().filter(keep).map(|(_, chunk)| chunk.clone()).collect::<Vec<_>>()
        });
        Ok(())
    }
}

/// Where a block lies in the store: sorted by queue, then offset.
pub(crate) fn block_key(queue: QueueId, first_offset: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(b'b');
    key.extend_from_slice(&queue.0.to_be_bytes());
    key.extend_from_slice(&first_offset.to_be_bytes());
    key
}
