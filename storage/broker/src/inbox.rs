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
    waiting: bool,
    closed: bool,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        let state = State { items: Vec::new(), waiting: false, closed: false };
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

    /// Leaves an item for whenever the taker looks next: it is not worth waking it.
    pub fn put_quietly(&self, item: T) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.closed {
            state.items.push(item);
        }
    }

    /// Takes all items; waits for one, or for so long.
    pub fn take(&self, wait: Option<Duration>) -> Vec<T> {
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
        std::mem::take(&mut state.items)
    }

    /// Items put from now on are dropped.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        drop(state);
        self.filled.notify_all();
    }
}
