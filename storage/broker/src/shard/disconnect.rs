//! A session has gone, or the broker is to stop.

use super::*;

impl Shard {
    /// Everything the session owned ends: consumers, leases, membership, locks, topics of its own.
    pub(super) fn disconnected(&mut self, now: Now, mailbox: &Arc<Mailbox>) {
        let session = mailbox.session;
        let mut affected = Vec::new();
        let first = (session, ConsumerId(0));
        while let Some((id, key)) = self.consumers.range(first..).next().map(|(id, key)| (*id, *key))
            && id.0 == session
        {
            self.consumers.remove(&id);
            affected.push(key);
        }
        affected.extend(self.receive_times.iter().map(|(_, group, topic)| (*group, *topic)));
        for key in &affected {
            if let Some(subscription) = self.subscriptions.get_mut(key) {
                subscription.remove(session, None);
                subscription.receivers.retain(|receiver| receiver.mailbox.session != session);
            }
        }
        self.return_leases(now, session);
        self.forget_producer(session);
        for group in self.members.remove_gone(Some(session), now.mono) {
            self.tell_members(&group);
        }
        for key in affected {
            self.hungry.insert(key);
            self.left(key);
        }
        let owned: Vec<TopicId> =
            self.owned.iter().filter(|(_, owner)| **owner == session).map(|(id, _)| *id).collect();
        for topic in owned {
            if let Some(shared) = self.state.topics.get(&topic).map(|topic| topic.shared.clone()) {
                self.remove_topic_loosely(&shared);
            }
            self.owned.remove(&topic);
        }
    }

    /// Takes no further commands, and ends with a checkpoint and the record of a clean stop.
    pub(super) fn stop(&mut self, now: Now) {
        self.stopping = true;
        // The last checkpoint lets the log start later behind a snapshot, and waits for nothing else.
        if !self.reclaim.awaits_checkpoint() {
            self.abandon_reclaim();
        }
        let sessions: Vec<SessionId> = self.leased.keys().copied().collect();
        for session in sessions {
            self.return_leases(now, session);
        }
        self.write_all_traces(now);
        self.forget_unused_grants();
        self.begin_checkpoint(now);
    }

    /// Groups that hold no lease have nothing that may have been handed out.
    fn forget_unused_grants(&mut self) {
        let open: Vec<Line> = self
            .state
            .all_progress()
            .filter(|(group, queue, progress)| {
                let idle = self.flows.get(&(*group, *queue)).is_none_or(|flow| flow.leases() == 0);
                idle && progress.has_grants()
            })
            .map(|(group, queue, _)| (group, queue))
            .collect();
        for (group, queue) in open {
            let floor = self.state.progress(group, queue).map_or(0, |progress| progress.floor);
            self.log_loosely(Change::Granted { group, queue, to: floor });
        }
    }
}
