//! Positions of groups: commits, look-ups, seeks, purges, and the view an administrator gets.

use super::*;
use crate::command::SeekTo;
use crate::directory::Topic;
use crate::event::{GroupQueueView, GroupView};
use crate::queue::IndexError;
use crate::state::{Progress, QueueState};
use crate::statistics::group as counted;

impl Shard {
    /// Consumption by offset: everything below is settled.
    pub(super) fn commit(&mut self, now: Now, group: &str, commits: &[(QueueId, u64)]) -> Result<(), Error> {
        let missing = || Error::NoGroup { group: group.to_owned(), topic: String::new() };
        let group_id = self.state.directory.group(group).ok_or_else(missing)?.id;
        for (queue, offset) in commits {
            let Some(state) = self.state.queues.get(queue) else {
                return Err(Error::NoTopic(format!("of queue #{}", queue.0)));
            };
            let (topic, end) = (state.topic, state.next_offset);
            if self.is_leased(group_id, topic) {
                let topic = state.shared.topic.to_string();
                return Err(Error::Mode { group: group.to_owned(), topic, found: "lease", asked: "offset" });
            }
            let (line, offset) = ((group_id, *queue), (*offset).min(end));
            let before = self.state.progress(group_id, *queue).map(|progress| progress.floor);
            let before = before.filter(|before| *before < offset);
            if let Some(before) = before {
                self.trace_committed_to(line, before..offset);
            }
            self.move_to(now, line, offset)?;
            // Where a group begins is no consumption.
            if let Some(passed) =
                before.and_then(|before| offset.checked_sub(before)).filter(|passed| *passed > 0)
            {
                self.counts.add(line, counted::SETTLED, passed);
            }
        }
        Ok(())
    }

    pub(super) fn committed(&self, group: &str, queues: &[QueueId]) -> Vec<Option<u64>> {
        let group = self.state.directory.group(group);
        let floor = |queue: &QueueId| Some(self.state.progress(group.as_ref()?.id, *queue)?.floor);
        queues.iter().map(floor).collect()
    }

    pub(super) fn seek(
        &mut self,
        now: Now,
        session: SessionId,
        group: &str,
        topic: &str,
        to: SeekTo,
    ) -> Result<Vec<Option<u64>>, Error> {
        let (group, topic) = self.line_of(group, topic)?;
        self.check_owner(&topic, session)?;
        let mut offsets = Vec::new();
        for queue in topic.queues().iter() {
            // What is skipped after a power cut is trimmed before anything behind it can be seen.
            let min = queue.min_offset();
            let end = queue.end_offset().max(min);
            let target = match to {
                SeekTo::Earliest => Some(min),
                SeekTo::Latest => Some(end),
                SeekTo::Time(time_ms) => Some(queue.offset_at(time_ms, &self.blocks).map_err(search_failed)?),
                SeekTo::Offset { queue_index, offset } => {
                    (queue_index == queue.index).then(|| offset.clamp(min, end))
                }
            };
            if let Some(target) = target {
                self.move_to(now, (group, queue.id), target)?;
            }
            offsets.push(self.state.progress(group, queue.id).map(|progress| progress.floor));
        }
        if let SeekTo::Offset { queue_index, .. } = to
            && topic.queue(queue_index).is_none()
        {
            let queues = u32::try_from(offsets.len()).unwrap_or(u32::MAX);
            return Err(Error::NoQueue { topic: topic.name.to_string(), index: queue_index, queues });
        }
        Ok(offsets)
    }

    fn move_to(&mut self, now: Now, line: Line, offset: u64) -> Result<(), Error> {
        let (group, queue) = line;
        let progress = self.state.progress(group, queue);
        let there = |progress: &crate::state::Progress| {
            progress.floor == offset && progress.settled.len() == 0 && progress.failed.is_empty()
        };
        let idle = self.flows.get(&line).is_none_or(|flow| flow.leases() == 0);
        if progress.is_some_and(there) && idle {
            return Ok(());
        }
        self.log(Change::Positioned { group, queue, offset })?;
        if let Some(flow) = self.flows.get_mut(&line).filter(|_| !planted(Bug::SeekKeepsLeases)) {
            flow.reset(offset);
        }
        self.end_all_overdue(now, line);
        self.reschedule(line);
        self.look_at(line);
        Ok(())
    }

    /// Settles what is ready; what is leased stays with whoever has it. Returns how many entries went.
    pub(super) fn purge(
        &mut self,
        now: Now,
        session: SessionId,
        group: &str,
        topic: &str,
    ) -> Result<u64, Error> {
        let (group, topic) = self.line_of(group, topic)?;
        self.check_owner(&topic, session)?;
        let mut purged = 0;
        for queue in topic.queues().iter() {
            let line = (group, queue.id);
            self.open_flow(now, line)?;
            let (Some(progress), Some(flow)) = (self.state.progress(group, queue.id), self.flows.get(&line))
            else {
                continue;
            };
            let mut runs: Vec<(u64, u64)> = Vec::new();
            let mut from = progress.floor;
            for leased in flow.leased_below(queue.end_offset()).chain([queue.end_offset()]) {
                if leased > from {
                    runs.push((from, leased - from));
                }
                from = leased + 1;
            }
            purged += self.ready(line, queue.end_offset());
            self.reclaim.want();
            if !runs.is_empty() {
                self.settle_now(group, queue.id, runs)?;
            }
        }
        Ok(purged)
    }

    /// Entries that could be handed out, now or after their backoff.
    pub(super) fn ready(&self, line: Line, end: u64) -> u64 {
        let leased = self.flows.get(&line).map_or(0, |flow| flow.leased_below(end).count());
        self.lag(line, end).saturating_sub(u64::try_from(leased).unwrap_or(0))
    }

    /// Entries below an end that a group has not settled; of one that has not begun, all that are there.
    pub(super) fn lag(&self, line: Line, end: u64) -> u64 {
        match (self.state.progress(line.0, line.1), self.state.queues.get(&line.1)) {
            (Some(progress), Some(queue)) => {
                let all = progress.unsettled(end);
                if self.state.is_compacted(queue) {
                    all - removed_of(queue, progress, end).min(all)
                } else {
                    all
                }
            }
            (Some(progress), None) => progress.unsettled(end),
            (None, Some(queue)) => {
                let (shared, min) = (&queue.shared, queue.shared.min_offset());
                self.state.entries_between(queue, min, end).saturating_sub(shared.removed_in(min, end))
            }
            (None, None) => 0,
        }
    }

    /// Ready entries of a topic's group over all queues.
    pub(super) fn ready_in(&self, group: GroupId, topic: &Topic) -> u64 {
        topic.queues().iter().map(|queue| self.ready((group, queue.id), queue.end_offset())).sum()
    }

    pub(super) fn group_state(&self, group: &str, topic: &str) -> Result<GroupView, Error> {
        let (group, topic) = self.line_of(group, topic)?;
        let (mut leased, mut queues) = (0, Vec::new());
        for queue in topic.queues().iter() {
            let end = queue.end_offset();
            let progress = self.state.progress(group, queue.id);
            let committed = progress.map_or(queue.min_offset(), |progress| progress.floor);
            let lag = self.lag((group, queue.id), end);
            leased += self.flows.get(&(group, queue.id)).map_or(0, Flow::leases);
            queues.push(GroupQueueView { queue_index: queue.index, committed, end, lag });
        }
        let consumers = self.subscriptions.get(&(group, topic.id)).map_or(0, |s| s.consumers().len());
        Ok(GroupView {
            ready: self.ready_in(group, &topic),
            leased: u64::try_from(leased).unwrap_or(u64::MAX),
            consumers: u32::try_from(consumers).unwrap_or(u32::MAX),
            queues,
        })
    }
}

/// Unsettled offsets of a group whose messages are no more.
fn removed_of(queue: &QueueState, progress: &Progress, end: u64) -> u64 {
    progress.unsettled_runs(end).iter().map(|(first, end)| queue.shared.removed_in(*first, *end)).sum()
}

fn search_failed(error: IndexError) -> Error {
    Error::Read(error.to_string())
}
