//! The moment of publishing, carried in the first bytes of a body, so that another process of this machine can tell how
//! long a message took from its publisher to its consumer: nanoseconds of the wall clock, since processes share no other.
use std::time::{SystemTime, UNIX_EPOCH};

use crate::conversation::Failure;

pub const STAMP_BYTES: usize = 8;

/// Nanoseconds since 1970.
pub fn wall_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Writes that the message was due `late_ns` before `wall_ns` over the first bytes of `body`.
pub fn write(body: &mut [u8], wall_ns: u64, late_ns: u64) {
    body[..STAMP_BYTES].copy_from_slice(&wall_ns.saturating_sub(late_ns).to_be_bytes());
}

/// How long ago the message with this body was due, in nanoseconds.
pub fn age_ns(body: &[u8], wall_ns: u64) -> Result<u64, Failure> {
    let stamp = body.first_chunk().ok_or_else(|| Failure::Malformed("a body without a stamp".to_owned()))?;
    Ok(wall_ns.saturating_sub(u64::from_be_bytes(*stamp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_old_as_the_time_since_it_was_due() {
        let mut body = [0xff; 10];
        write(&mut body, 5_000, 1_000);
        assert_eq!(age_ns(&body, 7_500).expect("it has a stamp"), 3_500);
        assert_eq!(age_ns(&body, 3_000).expect("it has a stamp"), 0, "a clock that was set back");
        assert_eq!(body[8..], [0xff; 2]);
        assert!(age_ns(&body[..7], 0).is_err());
    }
}
