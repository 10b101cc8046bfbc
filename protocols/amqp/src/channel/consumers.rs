//! The consumers of a channel and their credit: how many messages the broker may still send each.
//!
//! A limit per consumer (`global=false`) holds for consumers to come and, as Celery needs, for those already there; a
//! limit on the channel (`global=true`) is shared by all of them. Consumers without acknowledgements obey neither.
//! Credit once given cannot be taken back, so a delivery that a limit no longer allows is refused and goes back to its
//! queue; that is also how consumers share the channel's limit without starving each other.

use crate::codec::limits::*;

use super::request::ConsumerKey;

/// Average message size assumed before any was seen.
const FIRST_AVERAGE_BYTES: u64 = 2 * 1024;
/// Share of the newest message in the average, as a power of two.
const AVERAGE_SHIFT: u32 = 3;

/// One consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub key: ConsumerKey,
    pub tag: String,
    pub no_ack: bool,
    /// Prefetch of its own; 0 = none.
    limit: u32,
    unacked: u32,
    /// Credit that the broker has and has not used.
    granted: u32,
    average_bytes: u64,
}

impl Consumer {
    /// Most messages that may be under way, by their size.
    fn window(&self) -> u32 {
        let messages = CONSUMER_WINDOW_BYTES_MAX / self.average_bytes.max(1);
        u32::try_from(messages).unwrap_or(u32::MAX).clamp(1, CONSUMER_WINDOW_MESSAGES_MAX)
    }

    fn note_size(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.average_bytes =
            self.average_bytes - (self.average_bytes >> AVERAGE_SHIFT) + (bytes >> AVERAGE_SHIFT);
    }
}

/// All consumers of a channel, in the order of their keys.
#[derive(Debug)]
pub(crate) struct Consumers {
    list: Vec<Consumer>,
    limit: u32,
    channel_limit: u32,
    /// Unacknowledged deliveries to consumers, those of cancelled ones too; get does not count.
    unacked: u32,
    /// False after `channel.flow` with active=false.
    active: bool,
}

impl Default for Consumers {
    fn default() -> Self {
        Consumers { list: Vec::new(), limit: 0, channel_limit: 0, unacked: 0, active: true }
    }
}

/// The answer to an attempted delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Send,
    /// Over a limit: the lease goes back.
    Refuse,
    /// There is no such consumer any more.
    Unknown,
}

impl Consumers {
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn has_tag(&self, tag: &str) -> bool {
        self.list.iter().any(|consumer| consumer.tag == tag)
    }

    pub fn key_of(&self, tag: &str) -> Option<ConsumerKey> {
        self.list.iter().find(|consumer| consumer.tag == tag).map(|consumer| consumer.key)
    }

    pub fn get(&self, key: ConsumerKey) -> Option<&Consumer> {
        self.list.get(self.find(key)?)
    }

    /// Adds a consumer; keys only increase. Returns the credit it starts with.
    pub fn add(&mut self, key: ConsumerKey, tag: String, no_ack: bool) -> u32 {
        let consumer = Consumer {
            key,
            tag,
            no_ack,
            limit: self.limit,
            unacked: 0,
            granted: 0,
            average_bytes: FIRST_AVERAGE_BYTES,
        };
        let credit = self.missing(&consumer);
        self.list.push(Consumer { granted: credit, ..consumer });
        credit
    }

    pub fn remove(&mut self, key: ConsumerKey) -> Option<Consumer> {
        let at = self.find(key)?;
        Some(self.list.remove(at))
    }

    pub fn keys(&self) -> impl Iterator<Item = ConsumerKey> {
        self.list.iter().map(|consumer| consumer.key)
    }

    pub fn set_limit(&mut self, limit: u16) {
        self.limit = u32::from(limit);
        self.list.iter_mut().for_each(|consumer| consumer.limit = u32::from(limit));
    }

    pub fn set_channel_limit(&mut self, limit: u16) {
        self.channel_limit = u32::from(limit);
    }

    pub fn set_active(&mut self, active: bool) {
        self.active = active;
    }

    /// Asks to deliver a message of so many bytes. Its credit is used up whatever the answer.
    pub fn admit(&mut self, key: ConsumerKey, bytes: usize, channel_is_full: bool) -> Admission {
        let (active, channel_limit, unacked) = (self.active, self.channel_limit, self.unacked);
        let Some(consumer) = self.find(key).and_then(|at| self.list.get_mut(at)) else {
            return Admission::Unknown;
        };
        consumer.granted = consumer.granted.saturating_sub(1);
        if !active {
            return Admission::Refuse;
        }
        if !consumer.no_ack {
            let own = consumer.limit == 0 || consumer.unacked < consumer.limit;
            let shared = channel_limit == 0 || unacked < channel_limit;
            if !own || !shared || channel_is_full {
                return Admission::Refuse;
            }
            consumer.unacked += 1;
            self.unacked += 1;
        }
        consumer.note_size(bytes);
        Admission::Send
    }

    /// One delivery of a consumer, which may be gone, was settled.
    pub fn settled(&mut self, number: u64) {
        self.unacked = self.unacked.saturating_sub(1);
        if let Some(consumer) = self.find(ConsumerKey(number)).and_then(|at| self.list.get_mut(at)) {
            consumer.unacked = consumer.unacked.saturating_sub(1);
        }
    }

    /// Everything was settled at once.
    pub fn settled_all(&mut self) {
        self.unacked = 0;
        self.list.iter_mut().for_each(|consumer| consumer.unacked = 0);
    }

    /// Gives `each` consumer that may have more the credit it lacks.
    pub fn refill(&mut self, mut each: impl FnMut(ConsumerKey, u32)) {
        for at in 0..self.list.len() {
            let missing = self.list.get(at).map_or(0, |consumer| self.missing(consumer));
            if let Some(consumer) = self.list.get_mut(at).filter(|_| missing > 0) {
                consumer.granted += missing;
                each(consumer.key, missing);
            }
        }
    }

    /// Credit that a consumer lacks. The window alone is refilled by halves, so that a stream of messages costs few
    /// grants; a prefetch limit is refilled at once, since it may be 1.
    fn missing(&self, consumer: &Consumer) -> u32 {
        if !self.active {
            return 0;
        }
        let window = consumer.window();
        let mut room = u32::MAX;
        if !consumer.no_ack {
            if consumer.limit > 0 {
                room = consumer.limit.saturating_sub(consumer.unacked);
            }
            if self.channel_limit > 0 {
                room = room.min(self.channel_limit.saturating_sub(self.unacked));
            }
        }
        if room <= window {
            return room.saturating_sub(consumer.granted);
        }
        if consumer.granted > window / 2 { 0 } else { window - consumer.granted }
    }

    fn find(&self, key: ConsumerKey) -> Option<usize> {
        self.list.binary_search_by_key(&key, |consumer| consumer.key).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConsumerKey = ConsumerKey(1);
    const B: ConsumerKey = ConsumerKey(2);

    fn refilled(consumers: &mut Consumers) -> Vec<(u64, u32)> {
        let mut grants = Vec::new();
        consumers.refill(|key, add| grants.push((key.0, add)));
        grants
    }

    #[test]
    fn a_limit_per_consumer_is_exact_and_changes_while_it_runs() {
        let mut consumers = Consumers::default();
        consumers.set_limit(2);
        assert_eq!(consumers.add(A, "a".to_owned(), false), 2);
        assert_eq!(
            [0; 3].map(|_| consumers.admit(A, 10, false)),
            [Admission::Send, Admission::Send, Admission::Refuse]
        );
        assert_eq!(refilled(&mut consumers), []);
        consumers.settled(A.0);
        assert_eq!(refilled(&mut consumers), [(1, 1)]);
        consumers.set_limit(5);
        assert_eq!(refilled(&mut consumers), [(1, 3)]);
        // Lowered again: what the broker sends on old credit goes back.
        consumers.set_limit(1);
        assert_eq!(consumers.admit(A, 10, false), Admission::Refuse);
    }

    #[test]
    fn consumers_share_the_limit_of_their_channel_without_starving() {
        let mut consumers = Consumers::default();
        consumers.set_channel_limit(1);
        assert_eq!(consumers.add(A, "a".to_owned(), false), 1);
        assert_eq!(consumers.add(B, "b".to_owned(), false), 1);
        assert_eq!(consumers.admit(B, 10, false), Admission::Send);
        assert_eq!(consumers.admit(A, 10, false), Admission::Refuse);
        assert_eq!(refilled(&mut consumers), []);
        consumers.settled(B.0);
        assert_eq!(refilled(&mut consumers), [(1, 1), (2, 1)]);
        assert_eq!(consumers.admit(A, 10, false), Admission::Send);
    }

    #[test]
    fn without_a_limit_the_window_follows_the_size_of_messages() {
        let mut consumers = Consumers::default();
        let first = consumers.add(A, "a".to_owned(), true);
        assert_eq!(u64::from(first), CONSUMER_WINDOW_BYTES_MAX / FIRST_AVERAGE_BYTES);
        for _ in 0..200 {
            assert_eq!(consumers.admit(A, 1024 * 1024, false), Admission::Send);
            consumers.refill(|_, _| {});
        }
        assert!(consumers.get(A).unwrap().granted <= first);
        for _ in 0..first {
            consumers.admit(A, 1024 * 1024, false);
            consumers.refill(|_, _| {});
        }
        assert!(consumers.get(A).unwrap().granted <= 8, "few large messages are under way");
    }

    #[test]
    fn without_a_limit_small_messages_fill_the_largest_window() {
        let mut consumers = Consumers::default();
        consumers.add(A, "a".to_owned(), true);
        let mut widest = 0;
        for _ in 0..10_000 {
            assert_eq!(consumers.admit(A, 0, false), Admission::Send);
            consumers.refill(|_, _| {});
            widest = widest.max(consumers.get(A).unwrap().granted);
        }
        assert_eq!(widest, CONSUMER_WINDOW_MESSAGES_MAX);
    }

    #[test]
    fn a_paused_channel_takes_nothing_and_resumes() {
        let mut consumers = Consumers::default();
        consumers.set_limit(3);
        consumers.add(A, "a".to_owned(), false);
        consumers.set_active(false);
        assert_eq!([0; 3].map(|_| consumers.admit(A, 1, false)), [Admission::Refuse; 3]);
        assert_eq!(refilled(&mut consumers), []);
        consumers.set_active(true);
        assert_eq!(refilled(&mut consumers), [(1, 3)]);
    }

    #[test]
    fn a_cancelled_consumer_still_counts_on_the_channel() {
        let mut consumers = Consumers::default();
        consumers.set_channel_limit(2);
        consumers.add(A, "a".to_owned(), false);
        consumers.admit(A, 1, false);
        assert_eq!(consumers.remove(A).map(|consumer| consumer.tag), Some("a".to_owned()));
        assert_eq!(consumers.admit(A, 1, false), Admission::Unknown);
        assert_eq!(consumers.add(B, "b".to_owned(), false), 1);
        consumers.settled(A.0);
        assert_eq!(refilled(&mut consumers), [(2, 1)]);
    }
}
