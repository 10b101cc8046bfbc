//! What a queue's state remembers of offsets that no message has.

use super::queues::{GAPS_MAX, MISSING_ENTRIES_MAX};
use super::*;
use crate::queue::Blocks;
use crate::store::MemoryStore;

const QUEUE: QueueId = QueueId(2);

fn state() -> State {
    let mut state = State::default();
    let (name, settings) = ("t".to_owned(), TopicSettings { queues: 1, ..TopicSettings::default() });
    state.apply(0, &Change::TopicPut { id: TopicId(1), name, settings, queues: vec![QUEUE] });
    state
}

fn entry(offset: u64) -> Entry {
    let (position, store_ms) = (1_000 + offset, 0);
    Entry { offset, position, bytes: 100, tag_hash: 0, store_ms, expires_ms: 0, key_hash: 0, priority: 0 }
}

#[test]
fn so_many_gaps_are_remembered_and_the_oldest_is_forgotten_first() {
    let mut state = state();
    let limit = u64::try_from(GAPS_MAX).unwrap();
    for number in 0..=limit {
        state.append(QUEUE, &entry(2 * number)).unwrap();
        state.apply(2_000 + number, &Change::OffsetGap { queue: QUEUE, next: 2 * number + 2 });
        let queue = &state.queues[&QUEUE];
        let oldest = if number < limit { 1 } else { 3 };
        assert_eq!(queue.gaps.len(), GAPS_MAX.min(usize::try_from(number).unwrap() + 1));
        assert_eq!(queue.gaps.first(), Some(&(oldest, oldest + 1)), "after {number}");
    }
    let queue = &state.queues[&QUEUE];
    assert_eq!(queue.next_offset, 2 * limit + 2);
    assert_eq!(state.entries_between(queue, 2, queue.next_offset), limit);
}

#[test]
fn an_index_stays_one_row_over_so_many_missing_entries() {
    let blocks = Blocks::new(Arc::new(MemoryStore::default()));
    for (missing, placeholders) in [(MISSING_ENTRIES_MAX, true), (MISSING_ENTRIES_MAX + 1, false)] {
        let mut state = state();
        let last = missing + 1;
        state.apply(0, &Change::OffsetGap { queue: QUEUE, next: last + 1 });
        state.append_retained(QUEUE, &entry(0));
        state.append_retained(QUEUE, &entry(last));
        let queue = &state.queues[&QUEUE].shared;
        queue.publish(last + 1);
        let found = queue.entries(1, 1, &blocks).unwrap();
        assert_eq!(found[0].offset, if placeholders { 1 } else { last }, "{missing} missing");
        assert_eq!(found[0].is_there(), !placeholders);
        assert!(queue.entries(last, 1, &blocks).unwrap()[0].is_there());
    }
}
