//! A queue of inputs for one thread, which takes all of them at once.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Many put, one takes.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    /// The taker sleeps, and nobody has woken it yet.
    waiting: bool,
    /// Items that wait for a promised wake; that was promised for the first of them.
    promised: usize,
    closed: bool,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        let state = State { items: Vec::new(), waiting: false, promised: 0, closed: false };
        Inbox { state: Mutex::new(state), filled: Condvar::new() }
    }
}

impl<T> Inbox<T> {
    /// Leaves an item; dropped when the taker has gone.
    pub fn put(&self, item: T) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return;
        }
        state.items.push(item);
        if std::mem::take(&mut state.waiting) {
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Leaves an item and promises to call [`Inbox::wake`] if that returns true.
    #[must_use]
    pub fn put_promising(&self, item: T) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return false;
        }
        state.items.push(item);
        let is_first = state.waiting && state.promised == 0;
        state.promised += usize::from(is_first || state.promised > 0);
        is_first
    }

    /// Wakes the taker if it sleeps and there is something for it. Returns how many items the promise was for.
    pub fn wake(&self) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let promised = std::mem::take(&mut state.promised);
        if !state.items.is_empty() && std::mem::take(&mut state.waiting) {
            drop(state);
            self.filled.notify_one();
        }
        promised
    }

    /// Leaves an item for whenever the taker looks next: it is not worth waking it.
    pub fn put_quietly(&self, item: T) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.closed {
            state.items.push(item);
        }
    }

    /// Moves all items into `taken`, which is empty; waits for one, or for so long. The memory of both is kept.
    pub fn take(&self, wait: Option<Duration>, taken: &mut Vec<T>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.items.is_empty() && !state.closed && wait != Some(Duration::ZERO) {
            state.waiting = true;
            state = match wait {
                None => self
                    .filled
                    .wait_while(state, |state| state.items.is_empty() && !state.closed)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(wait) => {
                    let still_empty = |state: &mut State<T>| state.items.is_empty() && !state.closed;
                    let waited = self.filled.wait_timeout_while(state, wait, still_empty);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.waiting = false;
        }
        std::mem::swap(&mut state.items, taken);
    }

    /// Items put from now on are dropped.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        drop(state);
        self.filled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// What a taker gets that sleeps when `then` begins.
    fn taken_by_a_sleeper(then: impl FnOnce(&Inbox<u32>)) -> Vec<u32> {
        let inbox = Inbox::default();
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let mut taken = Vec::new();
                inbox.take(Some(LONG), &mut taken);
                taken
            });
            while !inbox.state.lock().expect("no thread panicked").waiting {
                std::thread::yield_now();
            }
            then(&inbox);
            taker.join().expect("it does not panic")
        })
    }

    #[test]
    fn items_wait_for_a_promised_wake_and_are_taken_together() {
        let taken = taken_by_a_sleeper(|inbox| {
            assert!(inbox.put_promising(1), "the first has to wake");
            assert!(!inbox.put_promising(2), "the second is covered by that");
            assert!(inbox.state.lock().expect("no thread panicked").waiting, "nobody has yet");
            assert_eq!(inbox.wake(), 2);
        });
        assert_eq!(taken, [1, 2]);
    }

    #[test]
    fn a_wake_for_nothing_leaves_the_taker_to_be_woken_by_the_next_item() {
        let began = std::time::Instant::now();
        let taken = taken_by_a_sleeper(|inbox| {
            assert_eq!(inbox.wake(), 0);
            std::thread::sleep(Duration::from_millis(20));
            inbox.put(1);
        });
        assert_eq!(taken, [1]);
        assert!(began.elapsed() < LONG, "it was woken, and did not only come to its end");
    }

    #[test]
    fn an_item_that_is_not_promised_for_wakes_at_once() {
        let taken = taken_by_a_sleeper(|inbox| {
            assert!(inbox.put_promising(1));
            inbox.put(2);
        });
        assert_eq!(taken, [1, 2]);
    }

    #[test]
    fn a_closed_inbox_takes_nothing_and_keeps_nobody_waiting() {
        let inbox = Inbox::default();
        inbox.close();
        inbox.put(1);
        assert!(!inbox.put_promising(2));
        let mut taken = Vec::new();
        inbox.take(None, &mut taken);
        assert!(taken.is_empty());
    }
}
