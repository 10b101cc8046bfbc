//! Length limits: how much may lie ready in a topic. Only what nobody holds counts; what comes back may exceed a limit.
//!
//! Entries are counted from what the state knows. Their bytes are summed up here, for topics with a limit of bytes
//! alone: 8 bytes of memory for each entry that is not settled.

use mailrail_message::DeathReason;

use super::*;
use crate::delivery::Sequence;
use crate::policy::{Overflow, Policy};
use crate::queue::{IndexError, Queue};

/// Sums of bytes, and what is to be looked at before the turn ends.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// Queues that have got entries.
    longer: Vec<QueueId>,
    sizes: FxHashMap<QueueId, Sizes>,
    /// Topics that refused the message being taken, and want it dead-lettered.
    refused: Vec<TopicId>,
    /// What messages take that are not stored yet, while several are looked at before the first of them is.
    claims: Option<FxHashMap<TopicId, Ready>>,
    /// Room was found for all that is stored now.
    has_room: bool,
}

/// Bytes of the entries of a queue.
#[derive(Debug, Default)]
struct Sizes {
    first: u64,
    /// Bytes of all entries from the first on up to and with each.
    sums: VecDeque<u64>,
    /// Bytes before the first.
    before: u64,
}

impl Sizes {
    fn push(&mut self, offset: u64, bytes: u32) {
        if self.sums.is_empty() {
            self.first = offset;
        }
        let sum = self.sums.back().copied().unwrap_or(self.before);
        while self.end() < offset {
            self.sums.push_back(sum);
        }
        self.sums.push_back(sum + u64::from(bytes));
    }

    fn end(&self) -> u64 {
        self.first + u64::try_from(self.sums.len()).unwrap_or(u64::MAX)
    }

    /// Bytes of the entries below an offset.
    fn below(&self, offset: u64) -> u64 {
        let entries = usize::try_from(offset.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let at = entries.min(self.sums.len()).checked_sub(1);
        at.and_then(|at| self.sums.get(at)).copied().unwrap_or(self.before)
    }

    fn between(&self, first: u64, end: u64) -> u64 {
        self.below(end).saturating_sub(self.below(first))
    }

    fn trim(&mut self, min: u64) {
        while self.first < min
            && let Some(sum) = self.sums.pop_front()
        {
            (self.first, self.before) = (self.first + 1, sum);
        }
    }
}

/// What lies ready.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    entries: u64,
    bytes: u64,
}

impl Ready {
    /// The limit that it is over, if it is.
    fn over(self, policy: &Policy) -> Option<(&'static str, u64, u64)> {
        let limits = [
            ("ready entries", self.entries, policy.length_max),
            ("ready bytes", self.bytes, policy.length_bytes_max),
        ];
        limits.into_iter().find_map(|(what, value, max)| Some((what, value, max.filter(|max| value > *max)?)))
    }
}

impl Lengths {
    pub fn forget(&mut self, queue: QueueId) {
        self.sizes.remove(&queue);
    }

    /// An entry was appended.
    pub fn appended(&mut self, queue: QueueId, offset: u64, bytes: u32) {
        if let Some(sizes) = self.sizes.get_mut(&queue) {
            sizes.push(offset, bytes);
        }
    }

    /// A queue has entries more that can be seen.
    pub fn note(&mut self, queue: QueueId) {
        self.longer.push(queue);
    }

    /// From now on what finds room takes it from those that come next.
    pub fn begin_claims(&mut self) {
        self.claims = Some(FxHashMap::default());
    }

    pub fn end_claims(&mut self) {
        self.claims = None;
    }

    /// Whether from now on messages are stored for which room was found: they differ by some bytes from what was looked
    /// at, and must not be refused for that.
    pub fn set_has_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    pub fn take_refused(&mut self) -> Vec<TopicId> {
        std::mem::take(&mut self.refused)
    }
}

impl Shard {
    /// An error where a topic has no room for a message of so many bytes. To be called before each append to a topic
    /// with limits.
    pub(super) fn check_length(&mut self, topic: TopicId, bytes: Option<usize>) -> Result<(), Error> {
        let Some(state) = self.state.topics.get(&topic).filter(|topic| topic.policy.is_limited()) else {
            return Ok(());
        };
        let (policy, shared) = (state.policy.clone(), state.shared.clone());
        let Some(queue) = shared.queue(0) else { return Ok(()) };
        if policy.length_bytes_max.is_some() {
            self.know_sizes(&queue).map_err(|error| Error::Read(error.to_string()))?;
        }
        let may_refuse = policy.overflow != Overflow::DropHead && !self.lengths.has_room;
        let Some(bytes) = bytes.filter(|_| may_refuse) else { return Ok(()) };
        let next = self.state.queues.get(&queue.id).map_or(0, |queue| queue.next_offset);
        let ready = self.ready_length(&queue, next, &policy);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let claims = self.lengths.claims.as_ref();
        let claimed = claims.and_then(|claims| claims.get(&topic)).copied().unwrap_or_default();
        let own = Ready { entries: claimed.entries + 1, bytes: claimed.bytes.saturating_add(bytes) };
        let with =
            Ready { entries: ready.entries + own.entries, bytes: ready.bytes.saturating_add(own.bytes) };
        match with.over(&policy) {
            None => {
                if let Some(claims) = &mut self.lengths.claims {
                    claims.insert(topic, own);
                }
                Ok(())
            }
            Some((what, value, max)) => {
                if policy.overflow == Overflow::RejectToDeadLetter {
                    self.lengths.refused.push(topic);
                }
                Err(Error::Full { topic: shared.name.to_string(), what, value, max })
            }
        }
    }

    /// Gives up the first ready entries of queues that have become too long.
    pub(super) fn limit_lengths(&mut self, now: Now) {
        let mut longer = std::mem::take(&mut self.lengths.longer);
        longer.sort_unstable();
        longer.dedup();
        for queue in longer {
            if let Err(error) = self.limit_length(now, queue) {
                tracing::warn!(queue = queue.0, %error, "a queue stays longer than it may be");
            }
        }
    }

    fn limit_length(&mut self, now: Now, id: QueueId) -> Result<(), Error> {
        let Some(line) = self.owner_of(id) else { return Ok(()) };
        let Some(queue) = self.state.queues.get(&id) else { return Ok(()) };
        let (topic, shared) = (queue.topic, queue.shared.clone());
        let Some(policy) = self.state.topics.get(&topic).map(|topic| topic.policy.clone()) else {
            return Ok(());
        };
        if policy.overflow != Overflow::DropHead || planted(Bug::LengthNotLimited) {
            return Ok(());
        }
        let end = shared.end_offset();
        let mut ready = self.ready_length(&shared, end, &policy);
        if ready.over(&policy).is_none() {
            return Ok(());
        }
        self.open_flow(now, line)?;
        // As with RabbitMQ, the head of a queue is what would be handed out next.
        while self.sequence_of(line) == Sequence::Priority
            && ready.over(&policy).is_some()
            && let Some(next) = self.next_in_turn(now, line, 1, self.next_lease)
        {
            self.end_all(line, &[next.first], DeathReason::LengthLimit)?;
            ready = self.ready_length(&shared, end, &policy);
        }
        let (Some(progress), Some(flow)) = (self.state.progress(line.0, id), self.flows.get(&line)) else {
            return Ok(());
        };
        let sizes = self.lengths.sizes.get(&id);
        let mut dropped = Vec::new();
        let mut oldest = flow.oldest_ready(progress, end);
        while ready.over(&policy).is_some()
            && let Some(offset) = oldest.next()
        {
            ready.entries = ready.entries.saturating_sub(1);
            let bytes = sizes.map_or(0, |sizes| sizes.between(offset, offset + 1));
            ready.bytes = ready.bytes.saturating_sub(bytes);
            dropped.push(offset);
        }
        drop(oldest);
        self.end_all(line, &dropped, DeathReason::LengthLimit)?;
        self.look_at(line);
        Ok(())
    }

    /// Entries below an end that nobody holds, and their bytes where those have a limit.
    fn ready_length(&mut self, queue: &Queue, end: u64, policy: &Policy) -> Ready {
        let Some(line) = self.owner_of(queue.id) else { return Ready { entries: 0, bytes: 0 } };
        let flow = self.flows.get(&line);
        let leases = flow.map_or(0, |flow| u64::try_from(flow.leases()).unwrap_or(u64::MAX));
        let entries = self.lag(line, end).saturating_sub(leases);
        let Some(sizes) = self.lengths.sizes.get_mut(&queue.id) else { return Ready { entries, bytes: 0 } };
        let progress = self.state.progress(line.0, line.1);
        let floor = progress.map_or(queue.min_offset(), |progress| progress.floor);
        sizes.trim(floor);
        let all = sizes.between(floor, end);
        if policy.length_bytes_max.is_none_or(|max| all <= max) {
            // Below the limit as a whole: no need to look at what is held.
            return Ready { entries, bytes: all };
        }
        let runs = progress.map_or_else(|| vec![(floor, end)], |progress| progress.unsettled_runs(end));
        let unsettled: u64 = runs.iter().map(|(first, end)| sizes.between(*first, *end)).sum();
        let leased = flow.into_iter().flat_map(|flow| flow.leased_below(end));
        let held: u64 = leased.map(|offset| sizes.between(offset, offset + 1)).sum();
        Ready { entries, bytes: unsettled.saturating_sub(held) }
    }

    /// Reads the sizes of a queue's entries once: nothing is appended to it unseen from then on.
    fn know_sizes(&mut self, queue: &Arc<Queue>) -> Result<(), IndexError> {
        if self.lengths.sizes.contains_key(&queue.id) {
            return Ok(());
        }
        let mut sizes = Sizes { first: queue.min_offset(), ..Sizes::default() };
        let mut next = queue.min_offset();
        while next < queue.end_offset() {
            let entries = queue.entries(next, usize::MAX, &self.blocks)?;
            let Some(last) = entries.last() else { break };
            next = last.offset + 1;
            entries.iter().for_each(|entry| sizes.push(entry.offset, entry.bytes));
        }
        self.lengths.sizes.insert(queue.id, sizes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_hold_over_gaps_and_trims() {
        let mut sizes = Sizes { first: 3, ..Sizes::default() };
        [(3, 10), (4, 20), (7, 40)].into_iter().for_each(|(offset, bytes)| sizes.push(offset, bytes));
        assert_eq!((sizes.between(0, 99), sizes.between(4, 5), sizes.between(5, 7)), (70, 20, 0));
        sizes.trim(4);
        assert_eq!((sizes.between(0, 99), sizes.between(7, 8)), (60, 40));
        sizes.trim(8);
        sizes.push(8, 5);
        assert_eq!(sizes.between(8, 9), 5);
    }
}
