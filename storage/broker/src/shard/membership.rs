//! Members of groups that consume by offset, and the queues they lock for themselves.

use super::*;
use crate::command::Name;
use crate::delivery::{Lock, Member};
use crate::limits::*;

impl Shard {
    pub(super) fn join(
        &mut self,
        now: Now,
        mailbox: &Arc<Mailbox>,
        group: Name,
        name: Name,
        topics: Vec<Name>,
        expires_ms: u64,
    ) -> Result<(), Error> {
        super::consume::limit("milliseconds of membership", expires_ms, MEMBER_MS_MAX)?;
        if let Some(group_id) = self.state.directory.group(&group).map(|group| group.id) {
            for topic in &topics {
                let id = self.state.directory.topic(topic).map(|topic| topic.id);
                if id.is_some_and(|id| self.is_leased(group_id, id)) {
                    let (group, topic) = (group.to_string(), topic.to_string());
                    return Err(Error::Mode { group, topic, found: "lease", asked: "offset" });
                }
            }
        }
        let expires = now.mono + Duration::from_millis(expires_ms);
        let member = Member { mailbox: mailbox.clone(), topics, expires };
        if self.members.join(&group, &name, member) {
            self.tell_members(&group);
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, group: &Name, name: &str) {
        if self.members.leave(group, name) {
            self.tell_members(group);
        }
    }

    /// Locks queues for a member; those that another holds, or that the group consumes by lease, are left out.
    pub(super) fn lock(
        &mut self,
        now: Now,
        session: SessionId,
        (group, member): (&Name, Name),
        queues: &[QueueId],
        lease_ms: u64,
    ) -> Vec<QueueId> {
        let ends = now.mono + Duration::from_millis(lease_ms.min(MEMBER_MS_MAX));
        let lock = Lock { member, session, ends };
        let group_id = self.state.directory.group(group).map(|group| group.id);
        let may_be_locked = |queue: &&QueueId| {
            let topic = self.state.queues.get(queue).map(|queue| queue.topic);
            topic.is_some_and(|topic| group_id.is_none_or(|group| !self.is_leased(group, topic)))
        };
        let queues: Vec<QueueId> = queues.iter().filter(may_be_locked).copied().collect();
        queues.into_iter().filter(|queue| self.members.lock(group, *queue, &lock, now.mono)).collect()
    }

    pub(super) fn expire_members(&mut self, now: Now) {
        if self.members.deadline().is_some_and(|at| at <= now.mono) {
            for group in self.members.remove_gone(None, now.mono) {
                self.tell_members(&group);
            }
        }
    }

    pub(super) fn tell_members(&mut self, group: &Name) {
        for mailbox in self.members.mailboxes(group) {
            self.send(&mailbox, Letter::Event(Event::MembersChanged { group: group.clone() }));
        }
    }
}
