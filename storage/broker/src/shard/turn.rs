//! In which sequence a group gets what, and what has to be known of entries for that. It is read from the index alone: from
//! memory, or from a block of the store for each couple of thousand entries.

use super::*;
use crate::delivery::{Ask, Next, Run, Sequence};
use crate::queue::{IndexError, Queue};
use crate::settings::{GroupSettings, Order, Turns};

/// Entries of a priority that are looked for together.
const FOUND_ENTRIES: usize = 256;
/// Wait before an index that could not be read is asked again.
const LOOK_AGAIN_MS: u64 = 1_000;

impl Shard {
    /// The sequence in which a group gets entries of a queue.
    pub(super) fn sequence_of(&self, (group, queue): Line) -> Sequence {
        let order = self.state.groups.get(&group).map(|group| group.settings().turns.order);
        match order.unwrap_or_default() {
            Order::Queue => Sequence::Fifo { by_key: false },
            Order::Key => Sequence::Fifo { by_key: true },
            Order::Any => {
                let queue = self.state.queues.get(&queue);
                let has_priorities = queue.is_some_and(|queue| queue.shared.priority_max() > 0);
                if has_priorities { Sequence::Priority } else { Sequence::Arrival }
            }
        }
    }

    /// True where one consumer of a group gets all deliveries.
    pub(super) fn is_single_active(&self, group: GroupId) -> bool {
        self.state.groups.get(&group).is_some_and(|group| group.settings().turns.single_active)
    }

    /// A group goes by other settings.
    pub(super) fn turns_changed(&mut self, group: GroupId) {
        let lines: Vec<Line> = self.flows.keys().filter(|(id, _)| *id == group).copied().collect();
        for line in lines {
            let sequence = self.sequence_of(line);
            let progress = self.state.progress(line.0, line.1);
            let flow = self.flows.get_mut(&line).filter(|flow| flow.sequence() != sequence);
            if let (Some(flow), Some(progress)) = (flow, progress) {
                flow.change_sequence(progress, sequence);
            }
            self.look_at(line);
        }
    }

    /// The next entries of a line, expired or not.
    pub(super) fn next_in_turn(&mut self, now: Now, line: Line, max: u64, batch: u64) -> Option<Run> {
        let queue = self.state.queues.get(&line.1)?.shared.clone();
        let priorities = queue.priorities_in_use();
        let ask = Ask { end: queue.end_offset(), max: max.min(u32::MAX.into()), batch, priorities };
        loop {
            let progress = self.state.progress(line.0, line.1)?;
            let next = self.flows.get_mut(&line)?.next_run(progress, &ask, now);
            let told = match next {
                Next::Run(run) => return Some(run),
                Next::Nothing => return None,
                asked => self.tell_flow(line, &queue, ask.end, asked),
            };
            if let Err(error) = told {
                let (group, queue) = (line.0.0, line.1.0);
                tracing::error!(group, queue, %error, "it cannot be told what comes next; trying again");
                let from = now.mono + Duration::from_millis(LOOK_AGAIN_MS);
                self.flows.get_mut(&line)?.look_again(from);
                return None;
            }
        }
    }

    /// Answers what a flow has to know.
    fn tell_flow(&mut self, line: Line, queue: &Queue, end: u64, asked: Next) -> Result<(), IndexError> {
        let progress = self.state.progress(line.0, line.1);
        let (Some(progress), Some(flow)) = (progress, self.flows.get_mut(&line)) else { return Ok(()) };
        match asked {
            Next::Entries(wanted) => {
                let max = usize::try_from(wanted.end - wanted.start).unwrap_or(usize::MAX);
                let entries = queue.entries(wanted.start, max, &self.blocks)?;
                // What a block ends with may lie before the end of what is wanted.
                let is_whole = entries.len() == max;
                let last = entries.last().map_or(wanted.end, |last| last.offset + 1);
                let known = if is_whole { wanted.end } else { last.clamp(wanted.start + 1, wanted.end) };
                flow.learn(progress, wanted.start..known, &entries);
            }
            Next::OfPriority(priority, from) => {
                let (found, to) = queue.of_priority(priority, (from, end), FOUND_ENTRIES, &self.blocks)?;
                flow.found(progress, priority, &found, to);
            }
            Next::Run(_) | Next::Nothing => {}
        }
        Ok(())
    }

    /// The record that changes a group's settings.
    pub(super) fn group_put(id: GroupId, name: &str, settings: GroupSettings) -> Change {
        let (name, turns) = (name.to_owned(), settings.turns);
        if turns == Turns::default() {
            return Change::GroupPut { id, name, settings };
        }
        Change::GroupPutInTurns { id, name, settings, turns }
    }
}
