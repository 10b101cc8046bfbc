//! Which half messages there are: stored, and not dispatched until their producer says what becomes of them. It decides
//! nothing about messages, reads no clock and no file; the shard ends them and asks their producers.
//!
//! **What survives.** The record of a half message says its producers' group and when they are first asked, and is
//! retained as long as the message is open. What ends it is a record too: the message that is stored in its place
//! (which names it in its annex [`mailrail_message::AnnexKind::CommitOf`]), or
//! [`crate::record::Change::HalfRolledBack`]. So a half message is ended once, whatever fails: the record that ends it
//! is there or it is not. How often producers were asked is a record as well.
//!
//! **What is where.** All are in memory, some 70 bytes each, so there are at most
//! [`crate::limits::HALF_MESSAGES_MAX`]. A checkpoint
//! has those of one region of the log as one piece, and writes the regions in which something changed.

mod image;

use std::collections::{BTreeMap, BTreeSet};

use mailrail_commitlog::planted::{Bug, planted};
use mailrail_message::{AnnexKind, StoredMessage};
use rustc_hash::FxHashMap;

pub(crate) use self::image::HalfImage;
use crate::command::Name;
use crate::publish::time_of;

/// Topic for half messages that are given up, as RocketMQ names it.
pub(crate) const UNDECIDED_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Half messages whose records lie in one part of 2 to this many bytes of the log are one piece of the state.
const REGION_BITS: u32 = 16;

/// A half message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Half {
    /// Of the stored message.
    pub bytes: u32,
    /// Of the producers that may end it.
    pub group: Name,
    /// Producers are asked no earlier, in milliseconds of the Unix epoch.
    pub next_check_ms: u64,
    /// How often they were.
    pub checks: u32,
}

/// A time and the position of a half message: the order in which producers are asked.
pub(crate) type CheckKey = (u64, u64);

/// All half messages.
#[derive(Debug, Default)]
pub(crate) struct Halves {
    /// By the positions of their records.
    halves: BTreeMap<u64, Half>,
    /// Those of each group by their next check.
    checks: BTreeMap<Name, BTreeSet<CheckKey>>,
    /// Regions that come from a checkpoint, with the log position up to which it holds them.
    as_of: FxHashMap<u64, u64>,
}

impl Half {
    /// What the record of a half message says.
    pub fn of_record(message: &[u8]) -> Result<Half, String> {
        let stored = StoredMessage::parse(message).map_err(|error| error.to_string())?;
        let annex = stored.annex(AnnexKind::Half).ok_or("a half message has no group")?;
        let next_check_ms = time_of(annex).ok_or("a half message says no time")?;
        let group = annex.get(12..).map(std::str::from_utf8);
        let group = group.and_then(Result::ok).ok_or("the group of a half message is no text")?;
        let bytes = u32::try_from(message.len()).map_err(|error| error.to_string())?;
        Ok(Half { bytes, group: group.into(), next_check_ms, checks: 0 })
    }
}

/// The region in which a record lies.
pub(crate) fn region_of(position: u64) -> u64 {
    position >> REGION_BITS
}

impl Halves {
    pub fn len(&self) -> usize {
        self.halves.len()
    }

    pub fn get(&self, position: u64) -> Option<&Half> {
        self.halves.get(&position)
    }

    /// Those from a position on, in the order in which they were stored.
    pub fn from(&self, position: u64) -> impl Iterator<Item = (u64, &Half)> {
        self.halves.range(position..).map(|(position, half)| (*position, half))
    }

    /// Those of a group from a check on, in the order in which its producers are asked.
    pub fn of_group<'a>(&'a self, group: &str, from: CheckKey) -> impl Iterator<Item = CheckKey> + use<'a> {
        self.checks.get(group).into_iter().flat_map(move |checks| checks.range(from..)).copied()
    }

    /// True where a checkpoint already holds what a record at a position did to a half message.
    pub fn is_known(&self, half: u64, record: u64) -> bool {
        self.as_of.get(&region_of(half)).is_some_and(|as_of| record < *as_of)
    }

    /// A half message was stored at a position.
    pub fn add(&mut self, position: u64, mut half: Half) {
        // One text for all of a group.
        if let Some((group, _)) = self.checks.get_key_value(&half.group) {
            half.group = group.clone();
        }
        self.checks.entry(half.group.clone()).or_default().insert((half.next_check_ms, position));
        self.halves.insert(position, half);
    }

    /// A half message was committed, rolled back or given up; `None` where there is none at that position.
    pub fn end(&mut self, position: u64) -> Option<Half> {
        let half = self.halves.remove(&position)?;
        if let Some(checks) = self.checks.get_mut(&half.group) {
            checks.remove(&(half.next_check_ms, position));
            if checks.is_empty() {
                self.checks.remove(&half.group);
            }
        }
        Some(half)
    }

    /// The producers of a half message were asked.
    pub fn checked(&mut self, position: u64, next_check_ms: u64) {
        let Some(half) = self.halves.get_mut(&position) else { return };
        half.checks = half.checks.saturating_add(u32::from(!planted(Bug::ChecksNotCounted)));
        let before = std::mem::replace(&mut half.next_check_ms, next_check_ms);
        if let Some(checks) = self.checks.get_mut(&half.group) {
            checks.remove(&(before, position));
            checks.insert((next_check_ms, position));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(group: &str, next_check_ms: u64) -> Half {
        Half { bytes: 100, group: group.into(), next_check_ms, checks: 0 }
    }

    #[test]
    fn groups_are_asked_in_the_order_of_their_times_and_forgotten_with_their_last() {
        let mut halves = Halves::default();
        for (position, group, next_check_ms) in [(8, "g", 30), (16, "h", 5), (24, "g", 10), (32, "g", 20)] {
            halves.add(position, half(group, next_check_ms));
        }
        let of = |halves: &Halves, group| halves.of_group(group, (0, 0)).collect::<Vec<_>>();
        assert_eq!(of(&halves, "g"), [(10, 24), (20, 32), (30, 8)]);
        halves.checked(24, 40);
        assert_eq!(of(&halves, "g"), [(20, 32), (30, 8), (40, 24)]);
        assert_eq!(halves.get(24).unwrap().checks, 1);
        assert_eq!(halves.end(16).unwrap().group, "h".into());
        assert_eq!((halves.end(16), halves.checks.len(), halves.len()), (None, 1, 3));
    }

    #[test]
    fn a_region_is_put_back_as_it_was() {
        let mut halves = Halves::default();
        let (first, next) = (1 << REGION_BITS, 2 << REGION_BITS);
        for position in [first, next - 8, next] {
            halves.add(position, half("g", position));
        }
        halves.checked(first, 7);
        assert_eq!(halves.regions(), [1, 2]);
        let image = halves.image(1).unwrap();
        let mut again = Halves::default();
        again.restore(500, 1, image.clone());
        assert_eq!(again.image(1), Some(image));
        assert_eq!((again.len(), again.get(first).unwrap().checks), (2, 1));
        assert!(again.is_known(first, 499) && !again.is_known(first, 500) && !again.is_known(next, 499));
        assert_eq!(again.image(2), None);
    }
}
