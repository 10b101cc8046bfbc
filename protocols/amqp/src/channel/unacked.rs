//! Delivery tags and the leases behind them. Tags of a channel count up from 1, shared by consumers and get.
//!
//! Does not know what a lease is, nor what settling means to the broker.

use std::collections::VecDeque;

/// Holes are swept out when there are this many more of them than live entries.
const HOLES_SPARED: usize = 64;

/// The tag is not outstanding: never given, settled already, or given by another channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownTag(pub u64);

/// A delivery that was handed out.
#[derive(Debug)]
pub(crate) struct Tagged<L> {
    pub tag: u64,
    /// Number of the consumer it was delivered to; `None` for get.
    pub consumer: Option<u64>,
    pub lease: L,
}

#[derive(Debug)]
struct Entry<L> {
    tag: u64,
    /// Number of the consumer it was delivered to; `None` for get.
    consumer: Option<u64>,
    /// `None` once settled out of order.
    lease: Option<L>,
}

/// What was handed out and waits for the client's word. Entries are in tag order, the first one is never a hole.
#[derive(Debug)]
pub(crate) struct Unacked<L> {
    entries: VecDeque<Entry<L>>,
    live: usize,
    last_tag: u64,
}

impl<L> Entry<L> {
    fn tagged(self) -> Option<Tagged<L>> {
        let Entry { tag, consumer, lease } = self;
        lease.map(|lease| Tagged { tag, consumer, lease })
    }
}

impl<L> Default for Unacked<L> {
    fn default() -> Self {
        Unacked { entries: VecDeque::new(), live: 0, last_tag: 0 }
    }
}

impl<L> Unacked<L> {
    pub fn len(&self) -> usize {
        self.live
    }

    /// A tag for a delivery that nobody will acknowledge.
    pub fn tag_settled(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// A tag for a delivery that holds a lease.
    pub fn tag_leased(&mut self, consumer: Option<u64>, lease: L) -> u64 {
        let tag = self.tag_settled();
        self.entries.push_back(Entry { tag, consumer, lease: Some(lease) });
        self.live += 1;
        tag
    }

    /// Takes out one tag, or with `multiple` all up to it (0 = all there are).
    pub fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        mut each: impl FnMut(Tagged<L>),
    ) -> Result<(), UnknownTag> {
        if tag == 0 && multiple {
            self.drain(each);
            return Ok(());
        }
        let at = self.find(tag).ok_or(UnknownTag(tag))?;
        if multiple {
            for tagged in self.entries.drain(..=at).filter_map(Entry::tagged) {
                self.live -= 1;
                each(tagged);
            }
        } else if let Some(entry) = self.entries.get_mut(at)
            && let Some(lease) = entry.lease.take()
        {
            self.live -= 1;
            each(Tagged { tag, consumer: entry.consumer, lease });
        }
        self.sweep();
        Ok(())
    }

    /// Takes out everything, oldest first.
    pub fn drain(&mut self, each: impl FnMut(Tagged<L>)) {
        self.live = 0;
        self.entries.drain(..).filter_map(Entry::tagged).for_each(each);
    }

    /// Puts back what was taken out, each to its tag.
    pub fn put_back(&mut self, taken: impl Iterator<Item = Tagged<L>>) {
        let before = self.live;
        for Tagged { tag, consumer, lease } in taken {
            self.entries.push_back(Entry { tag, consumer, lease: Some(lease) });
            self.live += 1;
        }
        if self.live > before {
            self.entries.retain(|entry| entry.lease.is_some());
            self.entries.make_contiguous().sort_by_key(|entry| entry.tag);
        }
    }

    /// Where a live tag stands. Without holes that is its distance from the first.
    fn find(&self, tag: u64) -> Option<usize> {
        let first = self.entries.front()?.tag;
        let guess = usize::try_from(tag.checked_sub(first)?).ok()?;
        let at = match self.entries.get(guess) {
            Some(entry) if entry.tag == tag => guess,
            _ => self.entries.binary_search_by_key(&tag, |entry| entry.tag).ok()?,
        };
        self.entries.get(at).filter(|entry| entry.lease.is_some()).map(|_| at)
    }

    /// Keeps the queue as long as what lives in it: one message that is never settled must not hold the places of all
    /// later ones.
    fn sweep(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.lease.is_none()) {
            self.entries.pop_front();
        }
        if self.entries.len() > 2 * self.live + HOLES_SPARED {
            self.entries.retain(|entry| entry.lease.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn settled(unacked: &mut Unacked<u64>, tag: u64, multiple: bool) -> Result<Vec<u64>, UnknownTag> {
        let mut leases = Vec::new();
        unacked.settle(tag, multiple, |tagged| leases.push(tagged.lease)).map(|()| leases)
    }

    #[test]
    fn a_tag_is_settled_once() {
        let mut unacked = Unacked::default();
        let tags: Vec<u64> = (0..4).map(|lease| unacked.tag_leased(Some(7), lease)).collect();
        assert_eq!(tags, [1, 2, 3, 4]);
        assert_eq!(settled(&mut unacked, 2, false), Ok(vec![1]));
        assert_eq!(settled(&mut unacked, 2, false), Err(UnknownTag(2)));
        assert_eq!(settled(&mut unacked, 2, true), Err(UnknownTag(2)));
        assert_eq!(settled(&mut unacked, 3, true), Ok(vec![0, 2]));
        assert_eq!(settled(&mut unacked, 0, true), Ok(vec![3]));
        assert_eq!(settled(&mut unacked, 0, true), Ok(vec![]));
        assert_eq!(settled(&mut unacked, 0, false), Err(UnknownTag(0)));
        assert_eq!(unacked.tag_settled(), 5);
        assert_eq!(settled(&mut unacked, 5, false), Err(UnknownTag(5)));
    }

    #[test]
    fn one_unsettled_message_does_not_hold_the_places_of_later_ones() {
        let mut unacked = Unacked::default();
        unacked.tag_leased(None, 0);
        for lease in 1..10_000 {
            let tag = unacked.tag_leased(None, lease);
            assert_eq!(settled(&mut unacked, tag, false), Ok(vec![lease]));
        }
        assert!(unacked.entries.len() <= 2 + HOLES_SPARED);
        assert_eq!(settled(&mut unacked, 1, false), Ok(vec![0]));
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_of_tags(steps in prop::collection::vec((0u8..4, 0u64..40), 0..200)) {
            let mut unacked = Unacked::default();
            let mut model = BTreeMap::new();
            for (kind, argument) in steps {
                match kind {
                    0 => { unacked.tag_settled(); }
                    1 => { model.insert(unacked.tag_leased(None, argument), argument); }
                    2 => {
                        let expected = model.remove(&argument).map(|lease| vec![lease]);
                        prop_assert_eq!(settled(&mut unacked, argument, false).ok(), expected);
                    }
                    _ if argument == 0 || model.contains_key(&argument) => {
                        let last = if argument == 0 { u64::MAX } else { argument };
                        let expected: Vec<u64> = model.range(..=last).map(|(_, lease)| *lease).collect();
                        model.retain(|tag, _| *tag > last);
                        prop_assert_eq!(settled(&mut unacked, argument, true), Ok(expected));
                    }
                    _ => prop_assert_eq!(settled(&mut unacked, argument, true), Err(UnknownTag(argument))),
                }
                prop_assert_eq!(unacked.len(), model.len());
            }
        }
    }
}
