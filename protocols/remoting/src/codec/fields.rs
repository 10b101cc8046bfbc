//! Extension fields of a header: key and value as byte ranges of the header they were read from.
//!
//! Holds no text of its own and knows no field names; [`super::header::Header`] resolves the ranges.

use super::limits::EXT_FIELDS_COUNT_MAX;

/// As many entries as the widest common request has (a signed send of the C++ client: 17), without an allocation.
const INLINE_COUNT: usize = 20;

/// Bytes `start..end` of the header. Headers are far below 4 GiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// None when the range does not fit 32 bits, which a checked header length rules out.
    pub(super) fn new(start: usize, end: usize) -> Option<Span> {
        Some(Span { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
    }

    /// The bytes it names; empty when `source` is not the header it was made for.
    pub(super) fn of(self, source: &[u8]) -> &[u8] {
        self.range().and_then(|range| source.get(range)).unwrap_or_default()
    }

    pub(super) fn range(self) -> Option<std::ops::Range<usize>> {
        Some(usize::try_from(self.start).ok()?..usize::try_from(self.end).ok()?)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Span,
    pub(super) value: Span,
}

/// The fields in wire order. Duplicates are kept; the last one wins on look-up, as in a Java map.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    inline: [Entry; INLINE_COUNT],
    inline_used: usize,
    more: Vec<Entry>,
}

impl Default for Entries {
    fn default() -> Entries {
        Entries { inline: [Entry::default(); INLINE_COUNT], inline_used: 0, more: Vec::new() }
    }
}

impl Entries {
    /// False when the header already has [`EXT_FIELDS_COUNT_MAX`] fields.
    pub(super) fn push(&mut self, key: Span, value: Span) -> bool {
        let entry = Entry { key, value };
        if let Some(slot) = self.inline.get_mut(self.inline_used) {
            *slot = entry;
            self.inline_used += 1;
            return true;
        }
        if INLINE_COUNT + self.more.len() >= EXT_FIELDS_COUNT_MAX {
            return false;
        }
        self.more.push(entry);
        true
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.inline.get(..self.inline_used).unwrap_or_default().iter().chain(self.more.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_spill_past_the_inline_ones_and_stop_at_the_limit() {
        let mut entries = Entries::default();
        for n in 0..EXT_FIELDS_COUNT_MAX {
            let span = Span::new(n, n + 1).unwrap();
            assert!(entries.push(span, span), "field {n}");
        }
        let span = Span::new(0, 1).unwrap();
        assert!(!entries.push(span, span));
        let starts: Vec<u32> = entries.iter().map(|entry| entry.key.start).collect();
        assert_eq!(starts, (0..512).collect::<Vec<u32>>());
    }

    #[test]
    fn a_span_of_another_source_is_empty_and_not_a_panic() {
        let span = Span::new(3, 9).unwrap();
        assert_eq!(span.of(b"0123456789"), b"345678");
        assert_eq!(span.of(b"012"), b"");
    }
}
