//! What connections keep of their input, counted over all of them, and who may read on where that is too much. Holds no
//! bytes itself, and does not know what they mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::Duration;

use mailrail_broker::{Held, Share};

/// A connection reads on with so many bytes and as many to come, however little memory is left: short requests, and
/// settlements above all, always get in.
pub const SHORT_READ_BYTES: usize = 8 * 1024;
/// Bytes that every connection keeps uncounted.
pub const FREE_BYTES: usize = 2 * SHORT_READ_BYTES;
/// Longest that one connection reads on while the others wait.
pub const TURN_TIME_MAX: Duration = Duration::from_secs(10);
/// It reads no further with more than this: one largest request of any protocol.
pub const TURN_BYTES_MAX: u64 = 17 * 1024 * 1024;

/// The share of all connections. Where it is used up, those who keep much read on one at a time: everybody comes to the
/// end of a request some time, and then gives back what it took.
#[derive(Debug)]
pub struct Buffers {
    share: Arc<Share>,
    is_turn_taken: AtomicBool,
}

impl Buffers {
    pub fn new(bytes_max: u64) -> Arc<Buffers> {
        Arc::new(Buffers { share: Share::new(bytes_max), is_turn_taken: AtomicBool::new(false) })
    }

    pub fn share(&self) -> &Share {
        &self.share
    }
}

/// What one connection keeps.
#[derive(Debug)]
pub struct Buffer {
    buffers: Arc<Buffers>,
    held: Held,
    bytes: usize,
    /// While it has the turn, what it kept when that began.
    turn_from: Option<usize>,
}

impl Buffer {
    pub fn new(buffers: Arc<Buffers>) -> Buffer {
        let held = Held::new(buffers.share.clone(), 0);
        Buffer { buffers, held, bytes: 0, turn_from: None }
    }

    /// The connection keeps so many bytes from now on. Its turn ends once they are no more than when it began: whatever
    /// came in a turn has been dealt with, so turns add nothing to the share.
    pub fn keep(&mut self, bytes: usize) {
        if bytes == self.bytes {
            return;
        }
        self.bytes = bytes;
        self.held.set(u64::try_from(bytes.saturating_sub(FREE_BYTES)).unwrap_or(u64::MAX));
        if self.turn_from.is_some_and(|from| bytes <= from || !self.is_short()) {
            self.end_turn();
        }
    }

    /// Bytes that count.
    pub fn counted(&self) -> u64 {
        self.held.bytes()
    }

    /// True while all connections together keep too much.
    pub fn is_short(&self) -> bool {
        self.buffers.share.is_used_up()
    }

    pub fn has_turn(&self) -> bool {
        self.turn_from.is_some()
    }

    /// True when the connection may read on; else it is woken to ask again.
    pub fn may_read(&mut self, context: &mut Context<'_>) -> bool {
        if self.may_read_now() {
            return true;
        }
        self.held.wait(context);
        // The turn may have ended before the waker was there.
        self.may_read_now()
    }

    fn may_read_now(&mut self) -> bool {
        if self.has_turn() {
            return self.counted() <= TURN_BYTES_MAX;
        }
        if self.bytes + SHORT_READ_BYTES <= FREE_BYTES || !self.is_short() {
            return true;
        }
        if !self.buffers.is_turn_taken.swap(true, Ordering::SeqCst) {
            self.turn_from = Some(self.bytes);
        }
        self.has_turn()
    }

    /// There was nothing to read: a turn that has just begun goes to somebody else.
    pub fn read_nothing(&mut self) {
        if self.turn_from == Some(self.bytes) {
            self.end_turn();
        }
    }

    pub fn end_turn(&mut self) {
        if self.turn_from.take().is_some() {
            self.buffers.is_turn_taken.store(false, Ordering::SeqCst);
            self.buffers.share.wake_all();
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.end_turn();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn where_too_much_is_kept_one_reads_on_at_a_time_and_short_requests_always_do() {
        let buffers = Buffers::new(100_000);
        let mut context = Context::from_waker(Waker::noop());
        let [mut first, mut second, mut third] = [(); 3].map(|()| Buffer::new(buffers.clone()));
        first.keep(FREE_BYTES);
        assert_eq!(buffers.share().bytes(), 0);
        first.keep(FREE_BYTES + 60_000);
        second.keep(FREE_BYTES + 60_000);
        assert!(first.may_read(&mut context) && first.has_turn(), "it is the first to ask");
        assert!(!second.may_read(&mut context));
        third.keep(FREE_BYTES - SHORT_READ_BYTES);
        assert!(third.may_read(&mut context) && !third.has_turn());
        third.keep(FREE_BYTES);
        assert!(!third.may_read(&mut context));
        // More than there is room for, up to the largest request, and then it is done.
        let largest = FREE_BYTES + usize::try_from(TURN_BYTES_MAX).unwrap();
        first.keep(largest);
        assert!(first.may_read(&mut context));
        first.keep(largest + 1);
        assert!(!first.may_read(&mut context) && first.has_turn());
        first.keep(FREE_BYTES + 60_000);
        assert!(!first.has_turn() && second.may_read(&mut context) && second.has_turn());
        assert!(!first.may_read(&mut context) && !third.may_read(&mut context));
        drop(second);
        assert!(first.may_read(&mut context) && !first.has_turn(), "there is room again");
    }

    #[test]
    fn a_turn_goes_on_to_whoever_has_something_to_read() {
        let buffers = Buffers::new(0);
        let mut context = Context::from_waker(Waker::noop());
        let [mut first, mut second] = [(); 2].map(|()| Buffer::new(buffers.clone()));
        first.keep(FREE_BYTES + 1);
        second.keep(FREE_BYTES + 1);
        assert!(first.may_read(&mut context));
        first.read_nothing();
        assert!(!first.has_turn() && second.may_read(&mut context));
        second.keep(FREE_BYTES + 2);
        second.read_nothing();
        assert!(second.has_turn(), "half a request has come in its turn");
    }
}
