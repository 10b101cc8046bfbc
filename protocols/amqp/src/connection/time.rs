//! Time and flow: heartbeats, deadlines, and whether the socket is read.
//!
//! Reads no clock: `now` comes in, the next deadline goes out.

use super::heartbeat::Beat;
use super::*;

impl<L> Connection<L> {
    /// Notes that bytes came, frames or not.
    pub fn note_received(&mut self, now: Duration) {
        self.heartbeat.note_received(now);
    }

    /// Notes that bytes went out.
    pub fn note_sent(&mut self, now: Duration) {
        self.heartbeat.note_sent(now);
    }

    /// Tells whether the socket is being read: while it is not, the client cannot be missed.
    pub fn set_reading(&mut self, now: Duration, reading: bool) {
        self.heartbeat.set_reading(now, reading);
    }

    /// Tells a client that has published, and can be told, that publishes are held back, or no longer.
    pub fn set_blocked(&mut self, reason: Option<&str>, out: &mut impl Outgoing) {
        let may_tell = self.client.capabilities.connection_blocked && self.terms.has_published;
        if self.state != State::Running || !may_tell || self.is_blocked == reason.is_some() {
            return;
        }
        self.is_blocked = reason.is_some();
        match reason {
            Some(reason) => writer::method(out, 0, &ConnectionBlocked { reason }),
            None => writer::method(out, 0, &ConnectionUnblocked),
        }
    }

    /// True once the client has published a message.
    pub fn has_published(&self) -> bool {
        self.terms.has_published
    }

    /// When [`Connection::handle_deadline`] should be called.
    pub fn deadline(&self) -> Option<Duration> {
        match (self.until, self.heartbeat.deadline()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    pub fn handle_deadline(&mut self, now: Duration, out: &mut impl Outgoing) {
        self.now = now;
        if self.until.is_some_and(|until| now >= until) {
            self.fault.get_or_insert_with(|| late(self.state));
            return self.finish();
        }
        match self.heartbeat.check(now) {
            Beat::Nothing => {}
            Beat::Send => {
                writer::heartbeat(out);
                self.heartbeat.note_sent(now);
            }
            // Nobody is there to read a close.
            Beat::Dead => {
                self.fault = Some(Fault::new(
                    ReplyCode::ConnectionForced,
                    MethodId::NONE,
                    "missed heartbeats from client",
                ));
                self.finish();
            }
        }
    }
}

/// Why a connection that ran into its deadline died.
fn late(state: State) -> Fault {
    let text = match state {
        State::Closing | State::Deaf => "connection.close was not answered in time",
        State::Refused => "login refused",
        _ => "the handshake took too long",
    };
    Fault::new(ReplyCode::ConnectionForced, MethodId::NONE, text)
}
