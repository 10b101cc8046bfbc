//! A set of offsets, kept as runs.

use std::collections::BTreeMap;

/// Disjoint, non-adjacent runs: first offset to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    runs: BTreeMap<u64, u64>,
    /// Offsets in all runs.
    len: u64,
}

impl Ranges {
    pub fn insert(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let (mut first, mut end) = (first, end);
        if let Some((before, before_end)) = self.runs.range(..=first).next_back().map(|(f, e)| (*f, *e))
            && before_end >= first
        {
            (first, end) = (before, end.max(before_end));
            self.take(before);
        }
        while let Some((next, next_end)) = self.runs.range(first..=end).next().map(|(f, e)| (*f, *e)) {
            end = end.max(next_end);
            self.take(next);
        }
        self.put(first, end);
    }

    fn put(&mut self, first: u64, end: u64) {
        self.runs.insert(first, end);
        self.len += end - first;
    }

    fn take(&mut self, first: u64) {
        if let Some(end) = self.runs.remove(&first) {
            self.len -= end - first;
        }
    }

    pub fn remove(&mut self, first: u64, end: u64) {
        if self.runs.is_empty() || first >= end {
            return;
        }
        let before = self.runs.range(..first).next_back().map(|(f, e)| (*f, *e));
        if let Some((before, before_end)) = before.filter(|(_, before_end)| *before_end > first) {
            self.take(before);
            self.put(before, first);
            if before_end > end {
                self.put(end, before_end);
            }
        }
        while let Some((next, next_end)) = self.runs.range(first..end).next().map(|(f, e)| (*f, *e)) {
            self.take(next);
            if next_end > end {
                self.put(end, next_end);
            }
        }
    }

    pub fn contains(&self, offset: u64) -> bool {
        self.run_of(offset).is_some()
    }

    /// End of the run that holds an offset.
    pub fn run_of(&self, offset: u64) -> Option<u64> {
        self.runs.range(..=offset).next_back().map(|(_, end)| *end).filter(|end| *end > offset)
    }

    /// First run that starts behind an offset.
    pub fn next_start(&self, offset: u64) -> Option<u64> {
        self.runs.range(offset..).next().map(|(first, _)| *first)
    }

    /// Takes out the run that starts at or below an offset and reaches it; returns its end.
    pub fn take_from(&mut self, offset: u64) -> Option<u64> {
        let (first, end) = self.runs.first_key_value().map(|(f, e)| (*f, *e))?;
        (first <= offset).then(|| {
            self.take(first);
            end
        })
    }

    /// Offsets in the set below an end, beyond which few runs reach.
    pub fn len_below(&self, end: u64) -> u64 {
        let beyond = self.runs.iter().rev().take_while(|(_, run_end)| **run_end > end);
        self.len - beyond.map(|(first, run_end)| run_end - end.max(*first)).sum::<u64>()
    }

    /// Offsets in the set.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().map(|(first, end)| (*first, *end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(changes in proptest::collection::vec((0u64..60, 0u64..12, 0u8..4), 0..40)) {
            let (mut ranges, mut plain) = (Ranges::default(), BTreeSet::new());
            for (first, len, how) in changes {
                if how == 0 {
                    ranges.remove(first, first + len);
                    plain.retain(|offset| !(first..first + len).contains(offset));
                } else {
                    ranges.insert(first, first + len);
                    plain.extend(first..first + len);
                }
                prop_assert_eq!(ranges.len(), plain.len() as u64);
                prop_assert!((0..80).all(|offset| ranges.contains(offset) == plain.contains(&offset)));
                let runs: Vec<_> = ranges.iter().collect();
                prop_assert!(runs.windows(2).all(|pair| pair[0].1 < pair[1].0), "runs touch: {:?}", runs);
            }
        }
    }
}
