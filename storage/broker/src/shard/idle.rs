//! Topics that are deleted when nobody has used them for long enough: no consumer or waiting receive, no get, no
//! declaration; of a light queue also no message. Volatile: after a start the time begins anew. Nothing of such a topic is dead-lettered.

use super::*;

/// When topics were last used, and when each is looked at.
#[derive(Debug, Default)]
pub(super) struct Idle {
    used: FxHashMap<TopicId, Duration>,
    due: BTreeSet<(Duration, TopicId)>,
    /// Topics that a consumer or a receive has left in this turn.
    left: Vec<TopicId>,
}

impl Idle {
    pub fn new(state: &State, now: Now) -> Self {
        let mut idle = Idle::default();
        for (id, topic) in &state.topics {
            idle.use_of(*id, topic.policy.expires_ms, now);
        }
        idle
    }

    /// A topic that expires after so long is used now.
    fn use_of(&mut self, topic: TopicId, expires_ms: Option<u64>, now: Now) {
        let Some(expires_ms) = expires_ms else { return };
        if self.used.insert(topic, now.mono).is_none() {
            self.due.insert((now.mono + Duration::from_millis(expires_ms), topic));
        }
    }

    pub fn leave(&mut self, topic: TopicId) {
        self.left.push(topic);
    }

    pub fn deadline(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Shard {
    /// Somebody uses a topic: its time begins anew.
    pub(super) fn use_topic(&mut self, now: Now, topic: TopicId) {
        let expires_ms = self.state.topics.get(&topic).and_then(|topic| topic.policy.expires_ms);
        self.idle.use_of(topic, expires_ms, now);
    }

    pub(super) fn delete_idle(&mut self, now: Now) {
        for topic in std::mem::take(&mut self.idle.left) {
            self.use_topic(now, topic);
        }
        while let Some((at, topic)) = self.idle.due.first().copied().filter(|(at, _)| *at <= now.mono)
            && self.refusal().is_none()
        {
            self.idle.due.remove(&(at, topic));
            let state = self.state.topics.get(&topic);
            let known = state.and_then(|state| Some((state.shared.clone(), state.policy.expires_ms?)));
            let Some((shared, expires_ms)) = known else {
                self.idle.used.remove(&topic);
                continue;
            };
            let wait = Duration::from_millis(expires_ms);
            let used = self.idle.used.get(&topic).copied().unwrap_or(at);
            let used = used.max(self.lite_used(now, &shared));
            if self.served.contains_key(&topic) {
                self.idle.due.insert((now.mono + wait, topic));
            } else if used + wait > now.mono {
                self.idle.due.insert((used + wait, topic));
            } else {
                self.idle.used.remove(&topic);
                tracing::info!(topic = %shared.name, expires_ms, "a topic that nobody has used is deleted");
                self.remove_topic_loosely(&shared);
                if self.state.topics.contains_key(&topic) {
                    self.idle.due.insert((now.mono + wait, topic));
                }
            }
        }
    }
}
