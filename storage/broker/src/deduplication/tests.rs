//! Windows by themselves: what is known, what is forgotten, and how they are put back.

use std::collections::HashSet;

use super::*;
use crate::limits::DEDUPLICATION_KEY_BYTES_MAX;

const TOPIC: TopicId = TopicId(1);
const WINDOW_MS: u64 = 1_000;

fn at(position: u64, store_ms: u64) -> Remembered {
    Remembered { position, queue_index: 0, offset: Some(position), store_ms }
}

/// As the state does it.
fn remember(windows: &mut Windows, topic: TopicId, key: DeduplicationKey, remembered: Remembered) {
    for (topic, position) in windows.in_the_way(topic, &key, (WINDOW_MS, remembered.store_ms)) {
        windows.forget(topic, position);
    }
    windows.add(topic, key, remembered);
}

fn of_key(key: &[u8]) -> DeduplicationKey {
    DeduplicationKey::of_key(key).unwrap()
}

fn numbered(sequence: u64) -> DeduplicationKey {
    DeduplicationKey::of_sequence(b"p", sequence).unwrap()
}

#[test]
fn a_key_is_known_to_the_last_millisecond_of_its_window() {
    let mut windows = Windows::default();
    let key = of_key(b"k");
    remember(&mut windows, TOPIC, key, at(8, 500));
    for (now_ms, known) in [(0, true), (500, true), (1_499, true), (1_500, false)] {
        let first = windows.first(TOPIC, &key, (WINDOW_MS, now_ms)).unwrap();
        assert_eq!(first.is_some(), known, "at {now_ms}");
    }
    let others = [(TOPIC, of_key(b"l")), (TopicId(2), key)];
    for (topic, key) in others {
        assert_eq!(windows.first(topic, &key, (WINDOW_MS, 500)), Ok(None));
    }
}

#[test]
fn keys_of_different_kinds_are_never_the_same() {
    let keys = [
        DeduplicationKey::of_key(b"a"),
        DeduplicationKey::of_key(b"b"),
        DeduplicationKey::of_part(b"a", 0),
        DeduplicationKey::of_part(b"a", 1),
        DeduplicationKey::of_part(b"b", 0),
        DeduplicationKey::of_sequence(b"a", 0),
        DeduplicationKey::of_sequence(b"a", 1),
        DeduplicationKey::of_sequence(b"b", 0),
    ]
    .map(Result::unwrap);
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    for key in keys {
        assert_eq!(DeduplicationKey::read(&key.annex()), Some(key));
        assert_eq!(DeduplicationKey::read(&key.annex()[..16]), None);
    }
    assert_eq!(DeduplicationKey::read(&[9; 17]), None, "a form of a later version");
}

#[test]
fn keys_and_ids_have_from_one_byte_to_the_limit() {
    type Make = fn(&[u8]) -> Result<DeduplicationKey, Error>;
    let all: [Make; 3] = [
        DeduplicationKey::of_key,
        |key| DeduplicationKey::of_part(key, 0),
        |id| DeduplicationKey::of_sequence(id, 0),
    ];
    for make in all {
        assert!(matches!(make(b""), Err(Error::Argument { .. })));
        assert!(make(&[b'k'; DEDUPLICATION_KEY_BYTES_MAX]).is_ok());
        let max = u64::try_from(DEDUPLICATION_KEY_BYTES_MAX).unwrap();
        let refused = make(&[b'k'; DEDUPLICATION_KEY_BYTES_MAX + 1]);
        assert!(
            matches!(refused, Err(Error::Limit { value, max: named, .. }) if (value, named) == (max + 1, max))
        );
    }
}

#[test]
fn of_a_producer_the_highest_number_stands_for_what_is_no_longer_remembered() {
    let mut windows = Windows::default();
    let count = u64::try_from(DEDUPLICATION_PRODUCER_RECEIPTS_MAX).unwrap();
    // Every second number, from 10 on.
    let sequence = |index: u64| 10 + 2 * index;
    for index in 0..count {
        remember(&mut windows, TOPIC, numbered(sequence(index)), at(8 * index, 0));
    }
    let first = |windows: &Windows, sequence| windows.first(TOPIC, &numbered(sequence), (WINDOW_MS, 0));
    assert_eq!(first(&windows, 10), Ok(Some(at(0, 0))), "exactly as many as there may be");
    remember(&mut windows, TOPIC, numbered(sequence(count)), at(8 * count, 0));
    let highest = sequence(count);
    assert_eq!(windows.len(), DEDUPLICATION_PRODUCER_RECEIPTS_MAX);
    assert_eq!(first(&windows, 10), Err(Error::Forgotten { sequence: 10, highest }));
    assert_eq!(first(&windows, 12), Ok(Some(at(8, 0))));
    assert_eq!(first(&windows, 13), Err(Error::OutOfSequence { sequence: 13, highest }));
    assert_eq!(first(&windows, highest), Ok(Some(at(8 * count, 0))));
    assert_eq!(first(&windows, highest + 1), Ok(None));
    assert_eq!(
        windows.first(TOPIC, &DeduplicationKey::of_sequence(b"q", 1).unwrap(), (WINDOW_MS, 0)),
        Ok(None)
    );
}

#[test]
fn a_producer_that_was_silent_for_a_window_may_begin_again() {
    let mut windows = Windows::default();
    for sequence in [7, 8, 9] {
        remember(&mut windows, TOPIC, numbered(sequence), at(sequence, 0));
    }
    assert_eq!(windows.first(TOPIC, &numbered(8), (WINDOW_MS, WINDOW_MS)), Ok(None));
    remember(&mut windows, TOPIC, numbered(8), at(16, WINDOW_MS));
    let first = windows.first(TOPIC, &numbered(8), (WINDOW_MS, WINDOW_MS));
    assert_eq!(first, Ok(Some(at(16, WINDOW_MS))));
    assert_eq!(windows.first(TOPIC, &numbered(9), (WINDOW_MS, WINDOW_MS)), Ok(None), "9 is outdated");
}

#[test]
fn the_oldest_go_where_there_are_more_than_there_may_be() {
    let mut windows = Windows::default();
    let key = |number: usize| of_key(&number.to_le_bytes());
    let position = |number: usize| u64::try_from(number).unwrap();
    let known = |windows: &Windows, topic, number| {
        windows.first(topic, &key(number), (WINDOW_MS, 0)).unwrap().is_some()
    };
    for number in 0..DEDUPLICATION_TOPIC_ENTRIES_MAX {
        remember(&mut windows, TOPIC, key(number), at(position(number), 0));
    }
    assert!(known(&windows, TOPIC, 0));
    let more = DEDUPLICATION_TOPIC_ENTRIES_MAX;
    remember(&mut windows, TOPIC, key(more), at(position(more), 0));
    assert_eq!(windows.len(), DEDUPLICATION_TOPIC_ENTRIES_MAX);
    assert!(!known(&windows, TOPIC, 0) && known(&windows, TOPIC, 1) && known(&windows, TOPIC, more));
    // Another topic takes what is left, and then from the larger one.
    let other = TopicId(2);
    let left = DEDUPLICATION_ENTRIES_MAX - DEDUPLICATION_TOPIC_ENTRIES_MAX;
    for number in 0..=left {
        let all = windows.len();
        assert_eq!(known(&windows, TOPIC, 1), number <= left, "{number}");
        remember(&mut windows, other, key(number), at(position(1_000 + number), 0));
        assert_eq!(windows.len(), DEDUPLICATION_ENTRIES_MAX.min(all + 1));
    }
    assert!(!known(&windows, TOPIC, 1) && known(&windows, other, 0));
    windows.forget_topic(TOPIC);
    assert_eq!(windows.len(), left + 1);
    assert!(windows.sizes.iter().eq([&(left + 1, other)]));
}

#[test]
fn what_is_outdated_goes_with_what_comes() {
    let mut windows = Windows::default();
    let key = |number: u64| of_key(&number.to_le_bytes());
    for number in 0..100 {
        remember(&mut windows, TOPIC, key(number), at(number, number));
    }
    assert_eq!(windows.len(), 100);
    for number in 100..150 {
        remember(&mut windows, TOPIC, key(number), at(number, WINDOW_MS + 1_000));
    }
    assert_eq!(windows.len(), 50);
}

#[test]
fn a_piece_is_put_back_as_it_was() {
    let mut windows = Windows::default();
    let (first, next) = (1 << REGION_BITS, 2 << REGION_BITS);
    for position in [first, next - 8, next] {
        windows.add(TOPIC, numbered(position), at(position, 7));
    }
    assert_eq!(windows.pieces(), [(TOPIC, 1), (TOPIC, 2)]);
    let image = windows.image(TOPIC, 1).unwrap();
    let mut again = Windows::default();
    again.restore(500, TOPIC, 1, image.clone());
    assert_eq!((again.image(TOPIC, 1), again.image(TOPIC, 2)), (Some(image.clone()), None));
    assert_eq!(again.len(), 2);
    let position = first + 499 - first;
    assert!(!again.is_known(TOPIC, position), "of another region");
    // A key of which two checkpoints know something is where it was stored last, in whichever order they are read.
    let key = numbered(first);
    for newest_first in [false, true] {
        let mut older = Windows::default();
        older.add(TOPIC, key, at(first, 7));
        let mut newer = Windows::default();
        newer.add(TOPIC, key, at(next, 8));
        let mut pieces = vec![(1, older.image(TOPIC, 1).unwrap()), (2, newer.image(TOPIC, 2).unwrap())];
        if newest_first {
            pieces.reverse();
        }
        let mut both = Windows::default();
        pieces.into_iter().for_each(|(region, image)| both.restore(500, TOPIC, region, image));
        assert_eq!((both.len(), both.first(TOPIC, &key, (WINDOW_MS, 8))), (1, Ok(Some(at(next, 8)))));
        assert_eq!(both.pieces(), [(TOPIC, 2)]);
    }
}
