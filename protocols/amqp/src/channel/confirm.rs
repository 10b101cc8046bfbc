//! Publisher confirms: sequence numbers from 1, answers in any order, and as few frames as the rules allow.
//!
//! `multiple` is used only below the oldest publish that is still open, and never across a nack.

use std::collections::VecDeque;

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// Stored as durably as was asked, or it had nowhere to go.
    Ack,
    /// Not stored; the publisher may try again.
    Nack,
}

/// One frame to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConfirmFrame {
    pub confirm: Confirm,
    pub tag: u64,
    pub multiple: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Open,
    Answered(Confirm),
    /// The client knows.
    Sent,
}

/// The publishes of a channel in confirm mode that the client does not know the end of.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// Number of the last publish.
    last: u64,
    /// Number of the first place.
    first: u64,
    places: VecDeque<Place>,
    /// Answered since the last flush.
    answered: Vec<u64>,
}

impl Confirms {
    /// Counts a publish.
    pub fn publish(&mut self) -> u64 {
        self.last += 1;
        if self.places.is_empty() {
            self.first = self.last;
        }
        self.places.push_back(Place::Open);
        self.last
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Notes an answer. A number that is not open is ignored.
    pub fn answer(&mut self, sequence: u64, confirm: Confirm) {
        if let Some(place) = self.place(sequence)
            && *place == Place::Open
        {
            *place = Place::Answered(confirm);
            self.answered.push(sequence);
        }
    }

    /// Gives every frame that the answers so far allow.
    pub fn flush(&mut self, mut send: impl FnMut(ConfirmFrame)) {
        if self.answered.is_empty() {
            return;
        }
        self.flush_front(&mut send);
        let answered = std::mem::take(&mut self.answered);
        for sequence in &answered {
            if let Some(place) = self.place(*sequence)
                && let Place::Answered(confirm) = *place
            {
                *place = Place::Sent;
                send(ConfirmFrame { confirm, tag: *sequence, multiple: false });
            }
        }
        self.answered = answered;
        self.answered.clear();
    }

    /// Takes the answered places off the front: each run of one answer is one frame.
    fn flush_front(&mut self, send: &mut impl FnMut(ConfirmFrame)) {
        let mut run: Option<ConfirmFrame> = None;
        while let Some(place) = self.places.front().copied().filter(|place| *place != Place::Open) {
            self.places.pop_front();
            let tag = self.first;
            self.first += 1;
            let Place::Answered(confirm) = place else { continue };
            match &mut run {
                Some(frame) if frame.confirm == confirm => {
                    frame.tag = tag;
                    frame.multiple = true;
                }
                _ => {
                    if let Some(frame) = run.replace(ConfirmFrame { confirm, tag, multiple: false }) {
                        send(frame);
                    }
                }
            }
        }
        if let Some(frame) = run {
            send(frame);
        }
    }

    fn place(&mut self, sequence: u64) -> Option<&mut Place> {
        let at = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.places.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn flushed(confirms: &mut Confirms) -> Vec<(Confirm, u64, bool)> {
        let mut frames = Vec::new();
        confirms.flush(|frame| frames.push((frame.confirm, frame.tag, frame.multiple)));
        frames
    }

    #[test]
    fn a_run_is_one_frame_and_a_nack_ends_it() {
        use Confirm::{Ack, Nack};
        let mut confirms = Confirms::default();
        let tags: Vec<u64> = (0..8).map(|_| confirms.publish()).collect();
        assert_eq!(tags, [1, 2, 3, 4, 5, 6, 7, 8]);
        confirms.answer(6, Ack);
        assert_eq!(flushed(&mut confirms), [(Ack, 6, false)]);
        for (tag, confirm) in [(1, Ack), (2, Ack), (3, Nack), (4, Ack)] {
            confirms.answer(tag, confirm);
        }
        assert_eq!(flushed(&mut confirms), [(Ack, 2, true), (Nack, 3, false), (Ack, 4, false)]);
        [5, 7, 8].iter().for_each(|tag| confirms.answer(*tag, Ack));
        assert_eq!(flushed(&mut confirms), [(Ack, 8, true)]);
        assert_eq!((confirms.len(), flushed(&mut confirms).len()), (0, 0));
        assert_eq!(confirms.publish(), 9);
        confirms.answer(9, Nack);
        assert_eq!(flushed(&mut confirms), [(Nack, 9, false)]);
    }

    proptest! {
        #[test]
        fn every_publish_is_answered_once_with_its_own_answer(
            order in Just((1u64..60).collect::<Vec<_>>()).prop_shuffle(), nacks: u64,
            flushes in prop::collection::vec(any::<bool>(), 60),
        ) {
            let mut confirms = Confirms::default();
            (1u64..60).for_each(|_| { confirms.publish(); });
            let mut open: BTreeMap<u64, ()> = (1..60).map(|tag| (tag, ())).collect();
            for (at, tag) in order.iter().enumerate() {
                let is_nack = |tag: u64| nacks >> (tag % 64) & 1 == 1;
                confirms.answer(*tag, if is_nack(*tag) { Confirm::Nack } else { Confirm::Ack });
                if !flushes[at] && at + 1 < order.len() {
                    continue;
                }
                for (confirm, tag, multiple) in flushed(&mut confirms) {
                    let closed: Vec<u64> = match multiple {
                        true => open.range(..=tag).map(|(tag, ())| *tag).collect(),
                        false => vec![tag],
                    };
                    for tag in closed {
                        prop_assert!(open.remove(&tag).is_some(), "{} twice", tag);
                        prop_assert_eq!(confirm == Confirm::Nack, is_nack(tag), "{}", tag);
                    }
                }
            }
            prop_assert!(open.is_empty());
            prop_assert_eq!(confirms.len(), 0);
        }
    }
}
