//! What waits for the log: receipts that go out, and entries that become visible, once what they rest on is written or
//! synced. Both are in log order, so that a position tells how many are due.

use std::collections::VecDeque;
use std::sync::Arc;

use mailrail_commitlog::Position;

use crate::queue::Queue;
use crate::session::{Letter, Mailbox};

/// One thing to do when the log has got to a position.
#[derive(Debug)]
pub(crate) enum Due {
    /// A letter to a session; frees so many bytes of waiting work.
    Letter { mailbox: Arc<Mailbox>, letter: Letter, bytes: u64 },
    /// Entries of a queue below `end` may be seen.
    Visible { queue: Arc<Queue>, end: u64 },
}

/// Both waiting lines.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    written: VecDeque<(Position, Due)>,
    synced: VecDeque<(Position, Due)>,
}

impl Pending {
    pub fn when_written(&mut self, position: Position, due: Due) {
        self.written.push_back((position, due));
    }

    pub fn when_synced(&mut self, position: Position, due: Due) {
        self.synced.push_back((position, due));
    }

    /// The next thing due now that everything below `to` is written.
    pub fn next_written(&mut self, to: Position) -> Option<Due> {
        next(&mut self.written, to)
    }

    /// The next thing due now that everything below `to` is synced.
    pub fn next_synced(&mut self, to: Position) -> Option<Due> {
        next(&mut self.synced, to)
    }

    /// Takes out the letters that wait for something from a position on.
    pub fn refuse(&mut self, from: Position) -> Vec<Due> {
        let mut refused = Vec::new();
        for line in [&mut self.written, &mut self.synced] {
            for (position, due) in std::mem::take(line) {
                match due {
                    Due::Letter { .. } if position > from => refused.push(due),
                    due => line.push_back((position, due)),
                }
            }
        }
        refused
    }

    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.synced.is_empty()
    }

    /// True when something waits for a write.
    pub fn awaits_writes(&self) -> bool {
        !self.written.is_empty()
    }

    /// Everything that will never be due.
    pub fn abandon(&mut self) -> impl Iterator<Item = Due> + use<'_> {
        self.written.drain(..).chain(self.synced.drain(..)).map(|(_, due)| due)
    }
}

fn next(line: &mut VecDeque<(Position, Due)>, to: Position) -> Option<Due> {
    let is_due = line.front().is_some_and(|(position, _)| *position <= to);
    if is_due { line.pop_front().map(|(_, due)| due) } else { None }
}
