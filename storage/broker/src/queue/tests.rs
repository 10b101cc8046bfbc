//! How large the pieces of a queue's open end are.

use super::*;

fn entry(offset: u64) -> Entry {
    let (position, store_ms) = (offset * 100, 0);
    Entry { offset, position, bytes: 100, tag_hash: 0, store_ms, expires_ms: 0, key_hash: 0, priority: 0 }
}

fn queue() -> Arc<Queue> {
    Arc::new(Queue::new(QueueId(1), "t".into(), 0, 0))
}

fn chunks(queue: &Queue) -> Vec<usize> {
    queue.tail.load().iter().map(|chunk| chunk.len()).collect()
}

#[test]
fn chunks_grow_with_the_open_end_between_their_least_and_their_most() {
    let (queue, mut filling) = (queue(), Filling::default());
    for offset in 0..=3 * chunk::wide(CHUNK_ENTRIES_MAX) {
        assert!(queue.append(&mut filling, &entry(offset), 0).is_none());
    }
    // Each as large as all before it.
    let growing = std::iter::successors(Some(CHUNK_ENTRIES_MIN), |entries| Some(2 * entries));
    let growing = growing.take_while(|entries| *entries < CHUNK_ENTRIES_MAX);
    let expected: Vec<usize> = [CHUNK_ENTRIES_MIN]
        .into_iter()
        .chain(growing)
        .chain([CHUNK_ENTRIES_MAX, CHUNK_ENTRIES_MAX, 1])
        .collect();
    assert_eq!(chunks(&queue), expected);
}

#[test]
fn what_is_restored_lies_in_chunks_of_their_most() {
    let most = CHUNK_ENTRIES_MAX;
    for (count, expected) in [(most, &[most][..]), (most + 1, &[most, 1])] {
        let queue = queue();
        let entries: Vec<Entry> = (0..chunk::wide(count)).map(entry).collect();
        queue.restore(0, Vec::new(), Vec::new(), &entries);
        assert_eq!(chunks(&queue), expected);
    }
}
