//! A share of the memory: how many bytes of one kind there are, whoever holds them, and who waits until they are fewer.
//! It only counts. What is held back while a share is used up is the business of those who use it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Bytes of one kind, and how many there should be at most. Bytes are counted once they are there, so a share may be
/// exceeded by one step of each thread that takes of it.
#[derive(Debug)]
pub struct Share {
    bytes_max: u64,
    bytes: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// Who waits until a share is no longer used up, the longest wait first.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Share {
    pub fn new(bytes_max: u64) -> Arc<Share> {
        Arc::new(Share { bytes_max, bytes: AtomicU64::new(0), waiting: Mutex::default() })
    }

    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Bytes that are there now.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// True while no more should be added.
    pub fn is_used_up(&self) -> bool {
        self.bytes() > self.bytes_max
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(crate) fn sub(&self, bytes: u64) {
        let before = self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if before > self.bytes_max && before - bytes <= self.bytes_max {
            self.wake_all();
        }
    }

    /// Has everybody look again who waits.
    pub fn wake_all(&self) {
        let wakers = std::mem::take(&mut self.waiting().wakers);
        wakers.into_values().for_each(Waker::wake);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one holder has of a share, and its place among those who wait. It is given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    share: Arc<Share>,
    bytes: u64,
    /// Its place among those who wait, if it has waited.
    place: Option<u64>,
}

impl Held {
    pub fn new(share: Arc<Share>, bytes: u64) -> Held {
        share.add(bytes);
        Held { share, bytes, place: None }
    }

    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds so many from now on. Costs nothing where that is no change.
    pub fn set(&mut self, bytes: u64) {
        if bytes > self.bytes {
            self.share.add(bytes - self.bytes);
        } else if bytes < self.bytes {
            self.share.sub(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Takes over what another one holds of the same share.
    pub fn absorb(&mut self, mut other: Held) {
        debug_assert!(Arc::ptr_eq(&self.share, &other.share), "bytes stay in their share");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Ready unless the share is used up; then the waker is called once it is not.
    pub fn poll_eased(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.share.is_used_up() {
            return Poll::Ready(());
        }
        self.wait(context);
        // It may have eased before the waker was there.
        if self.share.is_used_up() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Has the waker called once, when the share eases or [`Share::wake_all`] is called.
    pub fn wait(&mut self, context: &mut Context<'_>) {
        let mut waiting = self.share.waiting();
        let place = self.place.filter(|place| waiting.wakers.contains_key(place)).unwrap_or_else(|| {
            waiting.next += 1;
            waiting.next
        });
        waiting.wakers.insert(place, context.waker().clone());
        self.place = Some(place);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.share.waiting().wakers.remove(&place);
        }
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_is_held_counts_until_it_is_given_back() {
        let share = Share::new(100);
        let mut held = Held::new(share.clone(), 60);
        held.absorb(Held::new(share.clone(), 40));
        assert!((held.bytes(), share.bytes()) == (100, 100) && !share.is_used_up());
        held.set(101);
        assert!(share.is_used_up());
        held.set(7);
        assert_eq!(share.bytes(), 7);
        drop(held);
        assert_eq!(share.bytes(), 0);
    }

    #[test]
    fn whoever_waits_is_woken_once_when_it_eases() {
        let share = Share::new(100);
        let mut hog = Held::new(share.clone(), 150);
        let mut reader = Held::new(share.clone(), 0);
        let wakes = Arc::new(Wakes::default());
        let waker = wakes.clone().into();
        let mut context = Context::from_waker(&waker);
        let count = || wakes.0.load(Ordering::SeqCst);
        for _ in 0..3 {
            assert!(reader.poll_eased(&mut context).is_pending());
        }
        hog.set(101);
        assert_eq!(count(), 0);
        hog.set(100);
        assert_eq!(count(), 1, "three polls are one wait");
        assert!(reader.poll_eased(&mut context).is_ready());
        hog.set(120);
        assert!(reader.poll_eased(&mut context).is_pending());
        let mut gone = Held::new(share.clone(), 0);
        assert!(gone.poll_eased(&mut context).is_pending());
        drop(gone);
        assert_eq!(share.waiting().wakers.len(), 1, "nobody is kept who has gone");
        drop(hog);
        assert_eq!(count(), 2);
    }
}
