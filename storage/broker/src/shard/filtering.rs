//! What a group wants of a topic that it consumes by lease: what does not pass its filter is settled for it, unseen, as
//! RocketMQ does it. So the filter is the group's, not a member's: two members that want different things would settle
//! what the other one wants. One filter is in force at a time, and another is refused as long as somebody may still count
//! on it.
//!
//! Whether a message passes may take its bytes. So entries are looked at by a reader, some at a time, before any of them
//! is handed out; what it found is carried out if an entry is still unsettled and nobody holds it. Volatile: a restart
//! knows no filter, and what was settled stays so.

use super::settle::runs;
use super::*;
use crate::delivery::Run;
use crate::directory::Topic;
use crate::filter::Filter;
use crate::limits::{DISK_READ_BYTES_MAX, FILTER_HELD_MS, FILTERED_ENTRIES_MAX};
use crate::queue::{Entry, IndexError, Queue};
use crate::reader::ReadContext;
use crate::statistics::group as counted;

/// Wait before entries are looked at again that could not be read.
const LOOK_AGAIN_MS: u64 = 1_000;
/// Filters from which on those are forgotten that nobody counts on.
const FORGOTTEN_FROM: usize = 64;

/// What one group wants of one topic.
#[derive(Debug)]
struct Wish {
    filter: Filter,
    /// Differs from that of every filter before.
    number: u64,
    /// Monotonic time at which somebody last asked by it.
    used: Duration,
}

/// What groups want.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    wishes: FxHashMap<(GroupId, TopicId), Wish>,
    last_number: u64,
    forgotten_from: usize,
}

/// Entries of a line that are to be looked at.
#[derive(Debug)]
pub(crate) struct Look {
    line: Line,
    topic: TopicId,
    number: u64,
    /// Of the filter.
    by: u64,
    queue: Arc<Queue>,
    filter: Filter,
    from: u64,
    found: Option<Result<Found, IndexError>>,
}

/// What a look has found.
#[derive(Debug)]
struct Found {
    /// Behind the last entry that was looked at.
    to: u64,
    /// Offsets of those that do not pass.
    unwanted: Vec<u64>,
}

impl Look {
    /// Looks at as many entries as one look may; on a reader's thread.
    pub fn carry_out(mut self, context: &ReadContext) -> Look {
        let entries = self.queue.entries(self.from, FILTERED_ENTRIES_MAX, &context.blocks);
        self.found = Some(entries.map(|entries| self.find(context, entries)));
        self
    }

    fn find(&self, context: &ReadContext, mut entries: Vec<Entry>) -> Found {
        // What is gone, or cannot be read, passes: whoever is handed it finds out.
        let may_pass = |entry: &Entry| !entry.is_there() || self.filter.may_pass(entry.tag_hash);
        let (mut bytes, mut count) = (0, 0);
        for entry in &entries {
            let own = usize::try_from(entry.bytes).unwrap_or(usize::MAX);
            let own = if may_pass(entry) { own } else { 0 };
            if bytes > 0 && own > 0 && bytes + own > DISK_READ_BYTES_MAX {
                break;
            }
            (bytes, count) = (bytes + own, count + 1);
        }
        entries.truncate(count);
        let to = entries.last().map_or(self.from + 1, |last| last.offset + 1);
        let (candidates, unfit): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(may_pass);
        let mut unwanted: Vec<u64> = unfit.iter().map(|entry| entry.offset).collect();
        let there: Vec<Entry> = candidates.into_iter().filter(Entry::is_there).collect();
        for (entry, message) in there.iter().zip(context.messages(&there)) {
            if message.is_ok_and(|message| !self.filter.passes(&message)) {
                unwanted.push(entry.offset);
            }
        }
        unwanted.sort_unstable();
        Found { to, unwanted }
    }
}

impl Shard {
    /// Somebody asks for what passes a filter, for a group.
    pub(super) fn subscribe(
        &mut self,
        now: Now,
        group: GroupId,
        topic: &Topic,
        filter: Filter,
    ) -> Result<(), Error> {
        let key = (group, topic.id);
        let name = self.state.groups.get(&group).map(|group| group.name.clone()).unwrap_or_default();
        let owns =
            topic.queue(0).and_then(|queue| self.owner_of(queue.id)).is_some_and(|(own, _)| own == group);
        if owns && !filter.is_all() {
            let allowed =
                "none for the group that owns a topic's messages: what did not pass would be lost to all";
            return Err(Error::Argument { name: "filter", value: filter.to_string(), allowed });
        }
        let is_used = self.is_leased(group, topic.id);
        let found = self.wishes.wishes.get_mut(&key);
        let current = found.as_ref().map(|wish| wish.filter.clone());
        if let Some(wish) = found.filter(|wish| wish.filter == filter) {
            wish.used = now.mono;
            return Ok(());
        }
        let is_held = self.wishes.is_held(key, now);
        if is_held || (is_used && (current.is_some() || !filter.is_all())) {
            let found = current.unwrap_or_else(Filter::all).to_string();
            let (what, field, asked) = ("group", "filter on the topic in use", filter.to_string());
            return Err(Error::Differs { what, name: name.to_string(), field, found, asked });
        }
        self.forget_wishes(now);
        self.wishes.last_number += 1;
        let number = self.wishes.last_number;
        self.wishes.wishes.insert(key, Wish { filter, number, used: now.mono });
        Ok(())
    }

    /// Filters that nobody counts on are forgotten from time to time.
    fn forget_wishes(&mut self, now: Now) {
        if self.wishes.wishes.len() < self.wishes.forgotten_from.max(FORGOTTEN_FROM) {
            return;
        }
        let keys: Vec<_> = self.wishes.wishes.keys().copied().collect();
        for key in keys {
            self.forget_wish(now, key);
        }
        self.wishes.forgotten_from = 2 * self.wishes.wishes.len();
    }

    /// Forgets a filter that nobody counts on any more.
    pub(super) fn forget_wish(&mut self, now: Now, (group, topic): (GroupId, TopicId)) {
        if !self.wishes.is_held((group, topic), now) && !self.is_leased(group, topic) {
            self.wishes.wishes.remove(&(group, topic));
        }
    }

    /// The first part of a run that passes the group's filter. `None` while that has to be looked up first.
    pub(super) fn without_unwanted(&mut self, line: Line, run: Run) -> Option<Run> {
        if self.wishes.wishes.is_empty() {
            return Some(run);
        }
        let may_look = self.refusal().is_none();
        let queue = self.state.queues.get(&line.1)?;
        let (topic, queue) = (queue.topic, queue.shared.clone());
        let wish = self.wishes.wishes.get(&(line.0, topic)).filter(|wish| !wish.filter.is_all());
        let Some(wish) = wish else { return Some(run) };
        let flow = self.flows.get_mut(&line)?;
        if let Some(to) = flow.passes_to(wish.number, run.first) {
            return Some(Run { count: run.count.min(to - run.first), ..run });
        }
        self.wishes.last_number += 1;
        let number = self.wishes.last_number;
        if may_look && !flow.is_waiting() && flow.begin_look(wish.number, number) {
            let (filter, from) = (wish.filter.clone(), run.first);
            let look = Look { line, topic, number, by: wish.number, queue, filter, from, found: None };
            self.outputs.work.push(Work::Look(look));
        }
        None
    }

    /// True while it is not known yet whether somebody gets something.
    pub(super) fn is_looking(&self, (group, topic): (GroupId, TopicId)) -> bool {
        let queues = self.state.topics.get(&topic).map_or(&[][..], |topic| &topic.queues);
        !self.wishes.wishes.is_empty()
            && queues.iter().any(|queue| self.flows.get(&(group, *queue)).is_some_and(Flow::is_looking))
    }

    /// Entries were looked at.
    pub(super) fn looked(&mut self, now: Now, look: Look) {
        let Look { line, topic, number, by, from, found, .. } = look;
        let is_in_force = self.wishes.wishes.get(&(line.0, topic)).is_some_and(|wish| wish.number == by);
        let is_current = self.flows.get_mut(&line).is_some_and(|flow| flow.end_look(number)) && is_in_force;
        if is_current && self.refusal().is_none() {
            let done = match found {
                Some(Ok(found)) => self.settle_unwanted(line, from, found),
                Some(Err(error)) => Err(Error::Read(error.to_string())),
                None => Ok(()),
            };
            if let (Err(error), Some(flow)) = (done, self.flows.get_mut(&line)) {
                let (group, queue) = (line.0.0, line.1.0);
                tracing::error!(group, queue, %error, "it cannot be told what passes a filter; trying again");
                flow.look_again(now.mono + Duration::from_millis(LOOK_AGAIN_MS));
                self.reschedule(line);
            }
        }
        self.serve(now, (line.0, topic));
        // They have waited for this look, and for no other.
        self.end_receives(now, (line.0, topic));
    }

    fn settle_unwanted(&mut self, line: Line, from: u64, found: Found) -> Result<(), Error> {
        let Found { to, mut unwanted } = found;
        let (group, queue) = line;
        let (Some(progress), Some(flow)) = (self.state.progress(group, queue), self.flows.get(&line)) else {
            return Ok(());
        };
        unwanted.retain(|offset| !progress.is_settled(*offset));
        // Who holds it may settle it; what comes back is looked at once more.
        let (leased, unwanted): (Vec<u64>, Vec<u64>) =
            unwanted.into_iter().partition(|offset| flow.lease(*offset).is_some());
        if !unwanted.is_empty() {
            self.trace_settled(line, &unwanted, "filtered");
            self.settle_now(group, queue, runs(&unwanted))?;
            let settled = u64::try_from(unwanted.len()).unwrap_or(u64::MAX);
            self.counts.add(line, counted::SETTLED, settled);
        }
        if let Some(flow) = self.flows.get_mut(&line) {
            flow.looked_at(from..to, &leased);
        }
        Ok(())
    }
}

impl Wishes {
    /// True while somebody may still count on a filter that asked by it and is gone in between.
    fn is_held(&self, key: (GroupId, TopicId), now: Now) -> bool {
        let held = Duration::from_millis(FILTER_HELD_MS);
        self.wishes.get(&key).is_some_and(|wish| now.mono < wish.used + held)
    }
}
