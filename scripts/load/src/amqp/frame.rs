//! Frames of AMQP 0-9-1: `u8 type, u16 channel, u32 size, payload, 0xCE`, and a writer for method arguments.
//! Only what a load needs; tables are written empty or with one text, and never read.
use crate::conversation::Failure;

pub const METHOD: u8 = 1;
pub const HEADER: u8 = 2;
pub const BODY: u8 = 3;
pub const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;
/// Type, channel and size.
pub const HEAD_BYTES: usize = 7;
/// Head and end byte.
pub const OVERHEAD_BYTES: usize = HEAD_BYTES + 1;
const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// Class and method number.
pub type Method = (u16, u16);

pub const START: Method = (10, 10);
pub const START_OK: Method = (10, 11);
pub const TUNE: Method = (10, 30);
pub const TUNE_OK: Method = (10, 31);
pub const OPEN: Method = (10, 40);
pub const OPEN_OK: Method = (10, 41);
pub const CONNECTION_CLOSE: Method = (10, 50);
pub const CHANNEL_OPEN: Method = (20, 10);
pub const CHANNEL_OPEN_OK: Method = (20, 11);
pub const CHANNEL_CLOSE: Method = (20, 40);
pub const QUEUE_DECLARE: Method = (50, 10);
pub const QUEUE_DECLARE_OK: Method = (50, 11);
pub const QOS: Method = (60, 10);
pub const QOS_OK: Method = (60, 11);
pub const CONSUME: Method = (60, 20);
pub const CONSUME_OK: Method = (60, 21);
pub const PUBLISH: Method = (60, 40);
pub const DELIVER: Method = (60, 60);
pub const ACK: Method = (60, 80);
pub const NACK: Method = (60, 120);
pub const CONFIRM_SELECT: Method = (85, 10);
pub const CONFIRM_SELECT_OK: Method = (85, 11);

/// One frame as found in the input.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub kind: u8,
    pub payload: &'a [u8],
    /// Bytes of the whole frame.
    pub bytes: usize,
}

impl<'a> Frame<'a> {
    /// The method's number and its arguments; `None` for another kind of frame.
    pub fn method(&self) -> Option<(Method, &'a [u8])> {
        match (self.kind, self.payload) {
            (METHOD, [c0, c1, m0, m1, arguments @ ..]) => {
                Some(((u16::from_be_bytes([*c0, *c1]), u16::from_be_bytes([*m0, *m1])), arguments))
            }
            _ => None,
        }
    }

    /// What an unexpected frame says: the reply text of a close, or its method number.
    pub fn refusal(&self) -> Failure {
        match self.method() {
            Some((CONNECTION_CLOSE | CHANNEL_CLOSE, [code0, code1, text_bytes, rest @ ..])) => {
                let text = String::from_utf8_lossy(&rest[..rest.len().min(usize::from(*text_bytes))]);
                Failure::Refused(format!("{} {text}", u16::from_be_bytes([*code0, *code1])))
            }
            Some((method, _)) => Failure::Malformed(format!("unexpected method {method:?}")),
            None => Failure::Malformed(format!("unexpected frame of type {}", self.kind)),
        }
    }
}

/// The first frame of `input`; `None` while it is incomplete.
pub fn next(input: &[u8]) -> Result<Option<Frame<'_>>, Failure> {
    let [kind, _, _, s0, s1, s2, s3, rest @ ..] = input else { return Ok(None) };
    let size = u32::from_be_bytes([*s0, *s1, *s2, *s3]) as usize;
    if size > PAYLOAD_BYTES_MAX {
        return Err(Failure::Malformed(format!("frame of {size} bytes")));
    }
    match (rest.get(..size), rest.get(size)) {
        (Some(payload), Some(&END)) => Ok(Some(Frame { kind: *kind, payload, bytes: size + OVERHEAD_BYTES })),
        (Some(_), Some(_)) => Err(Failure::Malformed("frame without end byte".to_owned())),
        _ => Ok(None),
    }
}

/// A big-endian u64 at `at`.
pub fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Appends one frame.
pub fn write(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END);
}

/// Appends one method frame; `arguments` come from the `put_*` functions.
pub fn write_method(out: &mut Vec<u8>, channel: u16, method: Method, arguments: &[u8]) {
    let mut payload = Vec::with_capacity(4 + arguments.len());
    payload.extend_from_slice(&method.0.to_be_bytes());
    payload.extend_from_slice(&method.1.to_be_bytes());
    payload.extend_from_slice(arguments);
    write(out, METHOD, channel, &payload);
}

pub fn put_short_text(arguments: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(u8::MAX as usize)];
    arguments.push(bytes.len() as u8);
    arguments.extend_from_slice(bytes);
}

pub fn put_long(arguments: &mut Vec<u8>, bytes: &[u8]) {
    arguments.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    arguments.extend_from_slice(bytes);
}

/// A table with at most one entry, a long text.
pub fn put_table(arguments: &mut Vec<u8>, entry: Option<(&str, &str)>) {
    let mut table = Vec::new();
    if let Some((name, value)) = entry {
        put_short_text(&mut table, name);
        table.push(b'S');
        put_long(&mut table, value.as_bytes());
    }
    put_long(arguments, &table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_frame_is_read_back_and_half_of_it_is_not() {
        let mut out = Vec::new();
        let mut arguments = Vec::new();
        put_short_text(&mut arguments, "queue");
        put_table(&mut arguments, Some(("x-queue-type", "quorum")));
        write_method(&mut out, 1, QUEUE_DECLARE, &arguments);
        for cut in 0..out.len() {
            assert!(next(&out[..cut]).expect("half a frame is no error").is_none());
        }
        let frame = next(&out).expect("well formed").expect("complete");
        assert_eq!(frame.bytes, out.len());
        assert_eq!(frame.method(), Some((QUEUE_DECLARE, &arguments[..])));
    }

    #[test]
    fn a_wrong_end_byte_and_a_close_are_failures() {
        let mut out = Vec::new();
        write_method(&mut out, 0, CONNECTION_CLOSE, b"\x01\x94\x09NOT_FOUND\0\x32\0\x0a");
        let text = next(&out).expect("well formed").expect("complete").refusal().to_string();
        assert_eq!(text, "the server refused: 404 NOT_FOUND");
        *out.last_mut().expect("not empty") = 0;
        assert!(next(&out).is_err());
    }
}
