//! Body of a batch send: messages one after the other, each with its lengths.
//!
//! Compression of a whole batch and batch consume queues are not handled here.

use bytes::Bytes;
use mailrail_message::PROPERTIES_BYTES_MAX;

use crate::codec::limits::BATCH_MESSAGES_COUNT_MAX;

/// size, magic, crc, flag, body length, properties length.
const FIXED_BYTES: usize = 5 * 4 + 2;

/// One message of a batch; both parts share the memory of the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchMessage {
    /// The application's own number.
    pub flag: i32,
    pub body: Bytes,
    /// Property string, checked to be UTF-8.
    pub properties: Bytes,
}

/// A batch that cannot be split. Scope: the request; none of its messages is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("a batch holds at least one message")]
    Empty,
    #[error("batch has more than {BATCH_MESSAGES_COUNT_MAX} messages")]
    TooMany,
    #[error("message {index} of the batch is malformed: {what}")]
    Malformed { index: usize, what: &'static str },
}

/// Splits the whole batch into `messages` (cleared first), so that a bad one at its end stores nothing.
pub fn split(body: &Bytes, messages: &mut Vec<BatchMessage>) -> Result<(), BatchError> {
    messages.clear();
    let mut at = 0;
    while at < body.len() {
        if messages.len() == BATCH_MESSAGES_COUNT_MAX {
            return Err(BatchError::TooMany);
        }
        let malformed = |what| BatchError::Malformed { index: messages.len(), what };
        let (message, size) = one(body, at).map_err(malformed)?;
        messages.push(message);
        at += size;
    }
    if messages.is_empty() { Err(BatchError::Empty) } else { Ok(()) }
}

/// The message at `at` and its size.
fn one(batch: &Bytes, at: usize) -> Result<(BatchMessage, usize), &'static str> {
    const SHORT: &str = "it ends too early";
    let rest = batch.get(at..).ok_or(SHORT)?;
    let size = length(word(rest, 0).ok_or(SHORT)?)?;
    if size < FIXED_BYTES {
        return Err("its size is too small");
    }
    let message = rest.get(..size).ok_or("its size reaches outside the batch")?;
    let flag = i32::from_be_bytes(word(message, 12).ok_or(SHORT)?);
    let body_bytes = length(word(message, 16).ok_or(SHORT)?)?;
    let properties_at = body_bytes.checked_add(20).ok_or(SHORT)?;
    let tail = message.get(properties_at..).ok_or("its body reaches outside it")?;
    let (count, properties) = tail.split_first_chunk::<2>().ok_or("it has no properties length")?;
    if properties.len() != usize::from(u16::from_be_bytes(*count)) {
        return Err("its properties do not fill it");
    }
    if properties.len() > PROPERTIES_BYTES_MAX {
        return Err("its properties are too long");
    }
    if std::str::from_utf8(properties).is_err() {
        return Err("its properties are not UTF-8");
    }
    let start = at + properties_at + 2;
    let body = batch.slice(at + 20..at + properties_at);
    Ok((BatchMessage { flag, body, properties: batch.slice(start..start + properties.len()) }, size))
}

fn word(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn length(word: [u8; 4]) -> Result<usize, &'static str> {
    usize::try_from(i32::from_be_bytes(word)).map_err(|_| "it has a negative length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(messages: &[(i32, Vec<u8>, String)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (flag, body, properties) in messages {
            let size = i32::try_from(FIXED_BYTES + body.len() + properties.len()).unwrap();
            for number in [size, 0, 0, *flag, i32::try_from(body.len()).unwrap()] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            out.extend_from_slice(body);
            out.extend_from_slice(&u16::try_from(properties.len()).unwrap().to_be_bytes());
            out.extend_from_slice(properties.as_bytes());
        }
        out
    }

    fn refusal(batch: &[u8]) -> String {
        split(&Bytes::copy_from_slice(batch), &mut Vec::new()).unwrap_err().to_string()
    }

    #[test]
    fn bad_batches_are_refused_whole() {
        let good = encoded(&[(7, b"one".to_vec(), "k\u{1}v\u{2}".into())]);
        let with = |at: usize, bytes: &[u8]| {
            let mut batch = [good.clone(), good.clone()].concat();
            batch[good.len() + at..good.len() + at + bytes.len()].copy_from_slice(bytes);
            batch
        };
        assert_eq!(refusal(b""), "a batch holds at least one message");
        for (batch, expected) in [
            (
                good[..good.len() - 1].to_vec(),
                "message 0 of the batch is malformed: its size reaches outside the batch",
            ),
            (with(0, &[255; 4]), "message 1 of the batch is malformed: it has a negative length"),
            (with(0, &[0, 0, 0, 21]), "message 1 of the batch is malformed: its size is too small"),
            (with(16, &[0, 0, 0, 9]), "message 1 of the batch is malformed: it has no properties length"),
            (with(16, &[0, 0, 9, 9]), "message 1 of the batch is malformed: its body reaches outside it"),
            (with(23, &[0, 3]), "message 1 of the batch is malformed: its properties do not fill it"),
            (with(25, &[255]), "message 1 of the batch is malformed: its properties are not UTF-8"),
        ] {
            assert_eq!(refusal(&batch), expected);
        }
    }

    #[test]
    fn the_count_is_limited() {
        let one = encoded(&[(0, Vec::new(), String::new())]);
        let mut messages = Vec::new();
        split(&Bytes::from(one.repeat(BATCH_MESSAGES_COUNT_MAX)), &mut messages).unwrap();
        assert_eq!(messages.len(), BATCH_MESSAGES_COUNT_MAX);
        assert_eq!(refusal(&one.repeat(BATCH_MESSAGES_COUNT_MAX + 1)), "batch has more than 65536 messages");
    }

    proptest! {
        #[test]
        fn batches_round_trip(messages: Vec<(i32, Vec<u8>, String)>) {
            prop_assume!(!messages.is_empty());
            let mut split_up = Vec::new();
            split(&Bytes::from(encoded(&messages)), &mut split_up).unwrap();
            let expected: Vec<BatchMessage> = messages
                .into_iter()
                .map(|(flag, body, properties)| BatchMessage { flag, body: body.into(), properties: properties.into() })
                .collect();
            prop_assert_eq!(split_up, expected);
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = split(&Bytes::from(bytes), &mut Vec::new());
        }
    }
}
