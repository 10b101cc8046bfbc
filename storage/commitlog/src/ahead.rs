//! Reading a file in parts, and saying what will be read next: who goes through the log in order finds the next part in
//! the page cache, and nobody waits for the disk longer than a part takes.
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::Position;
use crate::config::{READ_GAP_BYTES_MAX, READ_PART_BYTES_MAX, READ_STREAMS_MAX};
use crate::disk::{DiskFile, read_full};
use crate::width::{narrow, wide};

/// Where the newest reads ended, whoever made them. Two that pass at the same time may forget one of them, which costs no
/// more than a hint.
#[derive(Debug)]
pub(crate) struct Streams {
    ends: [AtomicU64; READ_STREAMS_MAX],
    oldest: AtomicUsize,
}

impl Default for Streams {
    fn default() -> Self {
        Streams { ends: [const { AtomicU64::new(0) }; READ_STREAMS_MAX], oldest: AtomicUsize::new(0) }
    }
}

impl Streams {
    /// Notes a read; true when it goes on about where an earlier one ended.
    pub fn goes_on(&self, start: Position, end: Position) -> bool {
        let near = start.saturating_sub(READ_GAP_BYTES_MAX).max(1)..=start;
        let known = self.ends.iter().find(|known| near.contains(&known.load(Ordering::Relaxed)));
        let place =
            known.or_else(|| self.ends.get(self.oldest.fetch_add(1, Ordering::Relaxed) % READ_STREAMS_MAX));
        if let Some(place) = place {
            place.store(end, Ordering::Relaxed);
        }
        known.is_some()
    }
}

/// Where the bytes end that will be read of a file soon, by who reads up to `end` in order.
pub(crate) fn reach(end: u64) -> u64 {
    end.next_multiple_of(READ_PART_BYTES_MAX) + READ_PART_BYTES_MAX
}

/// Reads until `into` is full or the file ends; returns how many bytes were read. Before each part, the next is asked for
/// as far as it lies before `reach`: once, when its predecessor is begun.
pub(crate) fn read(file: &dyn DiskFile, into: &mut [u8], offset: u64, reach: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let start = offset + wide(done);
        let part_end = (start + 1).next_multiple_of(READ_PART_BYTES_MAX);
        let bytes = narrow(part_end - start);
        if bytes < rest.len() || start.is_multiple_of(READ_PART_BYTES_MAX) {
            file.will_read(part_end..reach.min(part_end + READ_PART_BYTES_MAX));
        }
        let wanted = bytes.min(rest.len());
        let read = read_full(file, rest.get_mut(..wanted).unwrap_or_default(), start)?;
        done += read;
        if read < wanted {
            break;
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::ops::Range;
    use std::sync::Mutex;

    use super::*;

    const PART: u64 = READ_PART_BYTES_MAX;

    /// A file of so many bytes, each the number of its part, that notes what is asked of it.
    #[derive(Debug, Default)]
    struct Noted {
        bytes: u64,
        asked: Mutex<Vec<(&'static str, Range<u64>)>>,
    }

    impl DiskFile for Noted {
        fn bytes(&self) -> io::Result<u64> {
            Ok(self.bytes)
        }
        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            let end = self.bytes.min(offset + wide(into.len())).max(offset);
            self.asked.lock().unwrap().push(("read", offset..end));
            into.iter_mut().zip(offset..end).for_each(|(byte, at)| *byte = (at / PART) as u8);
            Ok(narrow(end - offset))
        }
        fn will_read(&self, part: Range<u64>) {
            if !part.is_empty() {
                self.asked.lock().unwrap().push(("ahead", part));
            }
        }
        fn allocate(&self, _: u64) -> io::Result<()> {
            unreachable!()
        }
        fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<usize> {
            unreachable!()
        }
        fn sync_data(&self) -> io::Result<()> {
            unreachable!()
        }
        fn truncate(&self, _: u64) -> io::Result<()> {
            unreachable!()
        }
        fn written_parts(&self) -> io::Result<Vec<Range<u64>>> {
            unreachable!()
        }
    }

    fn asked(range: Range<u64>, reach: u64) -> Vec<(&'static str, Range<u64>)> {
        let file = Noted { bytes: 10 * PART, ..Noted::default() };
        let mut into = vec![0xff; narrow(range.end - range.start)];
        assert_eq!(read(&file, &mut into, range.start, reach).unwrap(), into.len());
        assert!(into.iter().zip(range).all(|(byte, at)| u64::from(*byte) == at / PART));
        file.asked.into_inner().unwrap()
    }

    #[test]
    fn a_long_read_is_done_in_parts_and_the_next_is_asked_for_before_each() {
        let whole = asked(5..PART * 2 + 7, PART * 2 + 7);
        let parts = [
            ("ahead", PART..2 * PART),
            ("read", 5..PART),
            ("ahead", 2 * PART..2 * PART + 7),
            ("read", PART..2 * PART),
            ("read", 2 * PART..2 * PART + 7),
        ];
        assert_eq!(whole, parts);
        // At the limit, and one more.
        assert_eq!(asked(0..PART, PART), [("read", 0..PART)]);
        assert_eq!(asked(0..PART + 1, PART + 1).len(), 3);
    }

    #[test]
    fn behind_a_read_in_order_one_part_more_is_asked_for_once() {
        let step = PART / 4;
        let mut hints = Vec::new();
        for number in 0..8 {
            let range = number * step..(number + 1) * step;
            let all = asked(range.clone(), reach(range.end));
            hints.extend(all.into_iter().filter(|(what, _)| *what == "ahead").map(|(_, part)| part));
        }
        assert_eq!(hints, [PART..2 * PART, 2 * PART..3 * PART]);
    }

    #[test]
    fn a_file_that_ends_early_is_read_to_its_end() {
        let file = Noted { bytes: PART + 3, ..Noted::default() };
        let mut into = vec![0; narrow(3 * PART)];
        assert_eq!(read(&file, &mut into, 0, 3 * PART).unwrap(), narrow(PART + 3));
    }

    #[test]
    fn who_reads_in_order_is_known_among_so_many_others() {
        let far = |number: usize| wide(number + 1) * PART;
        for (others, is_known) in [(READ_STREAMS_MAX - 1, true), (READ_STREAMS_MAX, false)] {
            let streams = Streams::default();
            assert!(!streams.goes_on(100, 200));
            (1..=others).for_each(|number| assert!(!streams.goes_on(far(number), far(number) + 1)));
            assert_eq!(streams.goes_on(200, 300), is_known, "among {others}");
        }
        let streams = Streams::default();
        assert!(!streams.goes_on(0, 100), "nobody has read before");
        assert!(streams.goes_on(100 + READ_GAP_BYTES_MAX, 1 << 20), "a gap that a read would have spanned");
        assert!(!streams.goes_on((1 << 20) + READ_GAP_BYTES_MAX + 1, 2 << 20));
        assert!(!streams.goes_on(50, 60), "it goes back");
    }
}
