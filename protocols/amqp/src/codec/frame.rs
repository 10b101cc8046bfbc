//! One frame at a time off the front of the input, borrowed. Half a frame is `None`, never an error; a length over its
//! limit is refused before anybody makes room for it.
//!
//! Knows nothing of what is inside a payload.

use nom::bytes::streaming::take;
use nom::number::streaming::{be_u16, be_u32, u8 as octet};

use super::limits::*;

/// What a client says first.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";
/// What clients of the time between 0-9 and 0-9-1 say; they mean the same.
pub const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\x00\x09";
/// Behind every payload.
pub const FRAME_END: u8 = 0xCE;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    Method,
    Header,
    Body,
    Heartbeat,
}

impl FrameKind {
    pub fn number(self) -> u8 {
        match self {
            FrameKind::Method => 1,
            FrameKind::Header => 2,
            FrameKind::Body => 3,
            FrameKind::Heartbeat => 8,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => FrameKind::Method,
            2 => FrameKind::Header,
            3 => FrameKind::Body,
            8 => FrameKind::Heartbeat,
            _ => return None,
        })
    }
}

/// One complete frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: FrameKind,
    pub channel: u16,
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the whole frame.
    pub fn bytes(&self) -> usize {
        self.payload.len() + FRAME_OVERHEAD_BYTES
    }
}

/// Longest payloads taken, by kind of frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    pub body_bytes_max: usize,
    pub other_bytes_max: usize,
}

impl FrameLimits {
    /// Before tuning.
    pub const HANDSHAKE: FrameLimits = FrameLimits {
        body_bytes_max: HANDSHAKE_PAYLOAD_BYTES_MAX,
        other_bytes_max: HANDSHAKE_PAYLOAD_BYTES_MAX,
    };

    /// After tuning. Body frames may be over the agreed size by the frame's own overhead, as clients that forgot to
    /// count it make them, and as RabbitMQ takes them.
    pub fn tuned(frame_bytes_max: u32) -> Self {
        let body_bytes_max = usize::try_from(frame_bytes_max).unwrap_or(usize::MAX);
        FrameLimits { body_bytes_max, other_bytes_max: METHOD_PAYLOAD_BYTES_MAX }
    }

    fn of(&self, kind: FrameKind) -> usize {
        if kind == FrameKind::Body { self.body_bytes_max } else { self.other_bytes_max }
    }
}

/// Bytes that are no frame. Scope: the connection (501).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("frame type {0} is unknown")]
    UnknownKind(u8),
    #[error("a frame's payload of {bytes} bytes is over the limit of {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("a frame ends with {0:#04x} instead of 0xce")]
    End(u8),
}

/// The first frame of `input`; `None` while it is incomplete.
pub fn decode<'a>(input: &'a [u8], limits: &FrameLimits) -> Result<Option<Frame<'a>>, FrameError> {
    match frame(input, limits) {
        Ok((_, frame)) => frame.map(Some),
        Err(_) => Ok(None),
    }
}

/// The outer result is nom's, and fails only for want of bytes; the inner one says whether they are a frame.
fn frame<'a>(input: &'a [u8], limits: &FrameLimits) -> nom::IResult<&'a [u8], Result<Frame<'a>, FrameError>> {
    let (rest, number) = octet(input)?;
    let Some(kind) = FrameKind::from_number(number) else {
        return Ok((rest, Err(FrameError::UnknownKind(number))));
    };
    let (rest, channel) = be_u16(rest)?;
    let (rest, size) = be_u32(rest)?;
    let (bytes, max) = (usize::try_from(size).unwrap_or(usize::MAX), limits.of(kind));
    if bytes > max {
        return Ok((rest, Err(FrameError::TooLarge { bytes, max })));
    }
    let (rest, payload) = take(bytes)(rest)?;
    let (rest, end) = octet(rest)?;
    if end != FRAME_END {
        return Ok((rest, Err(FrameError::End(end))));
    }
    Ok((rest, Ok(Frame { kind, channel, payload })))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: FrameLimits = FrameLimits { body_bytes_max: 16, other_bytes_max: 32 };

    fn encoded(kind: u8, channel: u16, payload: &[u8], end: u8) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap();
        [&[kind][..], &channel.to_be_bytes(), &size.to_be_bytes(), payload, &[end]].concat()
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_above_it() {
        for (kind, max) in [(1, 32), (2, 32), (3, 16), (8, 32)] {
            let fits = encoded(kind, 7, &vec![0; max], FRAME_END);
            assert_eq!(decode(&fits, &LIMITS).unwrap().unwrap().payload.len(), max);
            // The head alone is enough to refuse.
            let over = encoded(kind, 7, &vec![0; max + 1], FRAME_END);
            assert_eq!(decode(&over[..7], &LIMITS), Err(FrameError::TooLarge { bytes: max + 1, max }));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert_eq!(decode(b"G", &LIMITS), Err(FrameError::UnknownKind(b'G')));
        assert_eq!(decode(&encoded(1, 0, b"ab", 0), &LIMITS), Err(FrameError::End(0)));
    }

    #[test]
    fn tuned_limits_forgive_the_overhead() {
        assert_eq!(FrameLimits::tuned(4_096).body_bytes_max, 4_096);
        assert_eq!(FrameLimits::tuned(4_096).other_bytes_max, METHOD_PAYLOAD_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn every_half_is_incomplete_and_the_whole_is_read(
            kind in prop_oneof![Just(1u8), Just(2), Just(3), Just(8)], channel: u16,
            payload in prop::collection::vec(any::<u8>(), 0..16), more in prop::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut bytes = encoded(kind, channel, &payload, FRAME_END);
            for cut in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..cut], &LIMITS), Ok(None));
            }
            let whole = bytes.len();
            bytes.extend(more);
            let frame = decode(&bytes, &LIMITS).unwrap().unwrap();
            prop_assert_eq!((frame.kind.number(), frame.channel, frame.bytes()), (kind, channel, whole));
            prop_assert_eq!(frame.payload, &payload[..]);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes, &LIMITS);
        }
    }
}
