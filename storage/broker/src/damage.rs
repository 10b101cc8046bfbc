//! Stored messages that are not what was stored. Each is told of once, in the log and in a metric, however often it is
//! asked for. Nothing is mended here, and nothing decided about what becomes of such a message.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use mailrail_commitlog::Position;
use mailrail_message::{AnnexKind, StoredMessage};
use metrics::counter;

use crate::error::Error;

/// Damaged messages that are remembered, so as not to tell of them again.
const KNOWN_MESSAGES_MAX: usize = 1_024;

/// The damaged messages that readers have met.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    known: Mutex<BTreeSet<Position>>,
}

impl Damage {
    /// [`Error::Damaged`], and an alarm, when the message at a position is not what was stored there.
    pub fn check(&self, position: Position, message: &[u8]) -> Result<(), Error> {
        if is_whole(position, message) {
            return Ok(());
        }
        if self.is_news(position) {
            counter!("mailrail_damaged_messages_total").increment(1);
            tracing::error!(
                position,
                "a stored message is damaged: check the disk; `mailrail check` on the stopped broker names the file, \
                 which a backup restores"
            );
        }
        Err(Error::Damaged(position))
    }

    fn is_news(&self, position: Position) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = known.insert(position);
        if known.len() > KNOWN_MESSAGES_MAX {
            known.pop_first();
        }
        is_news
    }
}

/// All lengths fit, it says that it lies where it does, and its body is what its checksum says. The log's own checksum
/// covers the rest too, but is one over a whole write group: only a start and `mailrail check` read that much.
fn is_whole(position: Position, message: &[u8]) -> bool {
    StoredMessage::parse(message).is_ok_and(|stored| {
        // One that waits has no place in a queue yet, and its record names no position.
        let is_here = stored.position() == position || stored.annex(AnnexKind::Due).is_some();
        is_here && stored.annexes().all(|annex| annex.is_ok()) && stored.has_whole_body()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_damaged_message_is_news_once_and_few_are_remembered() {
        let damage = Damage::default();
        let max = u64::try_from(KNOWN_MESSAGES_MAX).unwrap();
        for position in 1..=max {
            assert!(damage.is_news(position * 8));
            assert!(!damage.is_news(position * 8));
        }
        assert_eq!(damage.known.lock().unwrap().len(), KNOWN_MESSAGES_MAX);
        assert!(damage.is_news((max + 1) * 8));
        assert_eq!(damage.known.lock().unwrap().len(), KNOWN_MESSAGES_MAX);
        assert!(damage.is_news(8), "the lowest was forgotten");
    }
}
