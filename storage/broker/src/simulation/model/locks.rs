//! The model of queues that members of a group have locked: who reads them by offset, and that nobody leases from them.

use super::broker::{Key, Model};
use super::queue::Name;

#[derive(Clone, Debug)]
pub struct Lock {
    pub member: Name,
    pub session: u64,
    /// Monotonic.
    pub ends_ms: u64,
}

impl Model {
    /// Whether a member has a queue for itself from now on.
    pub fn lock(&mut self, key: Key, index: u32, lock: Lock) -> bool {
        let (at, now_ms) = ((key, index), self.mono_ms);
        let is_held = |held: &Lock| held.member != lock.member && held.ends_ms > now_ms;
        let may = !self.is_leased(key) && !self.locks.get(&at).is_some_and(is_held);
        if may {
            self.locks.insert(at, lock);
        }
        may
    }

    pub fn unlock(&mut self, key: Key, index: u32, member: Name) {
        self.locks.retain(|at, lock| *at != (key, index) || lock.member != member);
    }

    /// A group does not lease what it locks.
    pub fn may_lease(&self, key: Key) -> bool {
        let is_locked = self.locks.iter().any(|((of, _), lock)| *of == key && lock.ends_ms > self.mono_ms);
        self.is_there(key) && !is_locked
    }
}
