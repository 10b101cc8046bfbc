//! The model of who consumes a topic for a group.

/// Session and number.
pub type ConsumerKey = (u64, u64);

#[derive(Clone, Debug)]
pub struct Consumer {
    pub key: ConsumerKey,
    pub credit: u64,
    pub no_ack: bool,
    pub exclusive: bool,
    pub priority: i64,
}

/// A receive that is not answered.
#[derive(Clone, Debug)]
pub struct Receiver {
    pub session: u64,
    pub token: u64,
    pub max: u64,
    pub lease_ms: u64,
    pub deadline_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Subscription {
    /// In the order in which they came.
    pub consumers: Vec<Consumer>,
    pub receivers: Vec<Receiver>,
    /// The one that gets all, where only one may.
    pub active: Option<ConsumerKey>,
    /// The active one was cancelled: the next waits for what it holds.
    pub hands_over: bool,
}

impl Subscription {
    pub fn consumer(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.consumers.iter_mut().find(|consumer| consumer.key == key)
    }

    /// Where only one may be active: the highest priority, and of those the longest there.
    pub fn choose_active(&mut self) {
        let is_wanted =
            !self.receivers.is_empty() || self.consumers.iter().any(|consumer| consumer.credit > 0);
        if self.active.is_none() && is_wanted && !self.hands_over {
            let best = self.consumers.iter().map(|consumer| consumer.priority).max();
            self.active = self.consumers.iter().find(|c| Some(c.priority) == best).map(|c| c.key);
        }
    }

    /// Whether a consumer may be handed something now: it has credit, and it is the active one, or nobody of a higher
    /// priority has credit. Equals take turns in any way.
    pub fn may_get(&self, key: ConsumerKey, single_active: bool) -> bool {
        let has_credit = || self.consumers.iter().filter(|consumer| consumer.credit > 0);
        let best = has_credit().map(|consumer| consumer.priority).max();
        has_credit().any(|consumer| {
            let is_best =
                if single_active { self.active == Some(key) } else { Some(consumer.priority) == best };
            consumer.key == key && is_best
        })
    }
}
