//! Reads by offset of messages that are traced, on their way to the shard, which writes all traces. Readers do not wait for
//! it: what is too much is lost and counted.

use std::sync::{Arc, Mutex, PoisonError};

use mailrail_message::StoredMessage;

use crate::limits::TRACE_STEPS_WAITING_MAX;
use crate::queue::Queue;
use crate::read::ReadBatch;
use crate::trace::TraceActor;

/// Entries that somebody has read.
#[derive(Debug)]
pub(crate) struct TracedRead {
    pub by: TraceActor,
    pub queue: Arc<Queue>,
    /// Offset, and log position of the message.
    pub entries: Vec<(u64, u64)>,
}

impl TracedRead {
    /// The traced ones among what was read. Costs nothing while nothing of the queue is.
    pub fn of(queue: &Arc<Queue>, batch: &ReadBatch, by: impl FnOnce() -> TraceActor) -> Option<TracedRead> {
        if !queue.may_trace() {
            return None;
        }
        let place = |entry: &crate::read::ReadEntry| {
            let position = StoredMessage::parse(&entry.message).ok()?.position();
            queue.traces(position).then_some((entry.offset, position))
        };
        let entries: Vec<_> = batch.entries.iter().filter_map(place).collect();
        (!entries.is_empty()).then(|| TracedRead { by: by(), queue: queue.clone(), entries })
    }
}

/// Reads that the shard has not looked at.
#[derive(Debug, Default)]
pub(crate) struct TracedReads(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    reads: Vec<TracedRead>,
    entries: usize,
    lost: u64,
}

impl TracedReads {
    /// Leaves a read. True when the shard has to be told that there is something.
    #[must_use]
    pub fn put(&self, read: TracedRead) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.entries + read.entries.len() > TRACE_STEPS_WAITING_MAX {
            waiting.lost += u64::try_from(read.entries.len()).unwrap_or(u64::MAX);
            return false;
        }
        waiting.entries += read.entries.len();
        waiting.reads.push(read);
        waiting.reads.len() == 1
    }

    /// All that is there, and how many entries are lost.
    pub fn take(&self) -> (Vec<TracedRead>, u64) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (waiting.reads, waiting.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::QueueId;

    fn read(entries: usize) -> TracedRead {
        TracedRead {
            by: TraceActor::default(),
            queue: Arc::new(Queue::new(QueueId(1), "t".into(), 0, 0)),
            entries: vec![(0, 0); entries],
        }
    }

    #[test]
    fn the_shard_is_told_once_and_gets_as_much_as_may_wait() {
        let reads = TracedReads::default();
        assert!(reads.put(read(1)), "the first has to tell it");
        assert!(!reads.put(read(TRACE_STEPS_WAITING_MAX - 1)));
        assert!(!reads.put(read(2)), "there is no room for it");
        let (taken, lost) = reads.take();
        assert_eq!((taken.len(), lost), (2, 2));
        assert!(reads.put(read(1)), "it has to be told again");
        assert_eq!(reads.take().1, 0);
    }
}
