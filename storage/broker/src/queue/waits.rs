//! Sessions that wait for an offset of a queue to become visible.

use super::*;
use crate::event::Event;
use crate::session::{Letter, Mailbox};

#[derive(Debug)]
pub(super) struct Wait {
    mailbox: Arc<Mailbox>,
    token: Token,
    pub offset: u64,
}

impl Queue {
    pub(crate) fn wait(&self, mailbox: &Arc<Mailbox>, token: Token, offset: u64) {
        {
            let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            // Waits of sessions that have gone would pile up on a quiet queue.
            waits.retain(|wait| !wait.mailbox.is_closed());
            waits.push(Wait { mailbox: mailbox.clone(), token, offset });
            self.has_waits.store(true, Ordering::SeqCst);
        }
        // An entry may have become visible before the wait was registered.
        if self.end_offset() > offset || self.is_gone() {
            let session = mailbox.session;
            self.wake(|wait| wait.mailbox.session == session && wait.token == token);
        }
    }

    pub(crate) fn stop_waiting(&self, session: SessionId, token: Token) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.retain(|wait| wait.mailbox.session != session || wait.token != token);
        self.has_waits.store(!waits.is_empty(), Ordering::SeqCst);
    }

    pub(super) fn wake(&self, ready: impl Fn(&Wait) -> bool) {
        let woken: Vec<Wait> = {
            let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            let woken = waits.extract_if(.., |wait| ready(wait)).collect();
            self.has_waits.store(!waits.is_empty(), Ordering::SeqCst);
            woken
        };
        for wait in woken {
            wait.mailbox.put([Letter::Event(Event::Readable { token: wait.token })]);
        }
    }
}
