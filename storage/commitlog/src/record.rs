//! Records inside a group's payload: a small header, the bytes, and padding. What a kind means is the caller's matter.
//!
//! ```text
//! 0  u32  length of header and bytes, before padding
//! 4  u8   kind
//! 5  u8   flags, 0
//! 6  u16  0
//! 8       bytes, then zeros up to a multiple of 8
//! ```
//! All numbers are little-endian. A record's position is the log position of its header, for ever.
use thiserror::Error;

use crate::Position;
use crate::width::{from_u32, wide};

/// Bytes before each record's own.
pub const RECORD_HEADER_BYTES: usize = 8;
/// Records start at multiples of this.
pub const RECORD_ALIGN_BYTES: usize = 8;

/// Bytes that a record of `bytes` own bytes takes in a payload, its header and padding included.
pub const fn padded(bytes: usize) -> usize {
    (RECORD_HEADER_BYTES + bytes).next_multiple_of(RECORD_ALIGN_BYTES)
}

/// A buffer too short for a header, or a record longer than its length field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a record of {bytes} bytes has no header in a buffer of {room}")]
pub struct HeaderError {
    pub bytes: usize,
    pub room: usize,
}

/// Writes the header of a record of `bytes` own bytes to the start of `into`.
pub fn write_header(into: &mut [u8], kind: u8, bytes: usize) -> Result<(), HeaderError> {
    let room = into.len();
    let length = u32::try_from(RECORD_HEADER_BYTES + bytes);
    match (length, into.first_chunk_mut::<RECORD_HEADER_BYTES>()) {
        (Ok(length), Some(header)) => {
            let [a, b, c, d] = length.to_le_bytes();
            *header = [a, b, c, d, kind, 0, 0, 0];
            Ok(())
        }
        _ => Err(HeaderError { bytes, room }),
    }
}

/// A payload that is not a row of records. Its checksum may still be right: then it was written wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error("{left} bytes at {position} are too few for a record header")]
    Short { position: Position, left: usize },
    #[error("the record at {position} says {length} bytes, {left} are left")]
    Length { position: Position, length: u32, left: usize },
    #[error("the record at {position} has flags this release does not know")]
    Flags { position: Position },
}

/// One record as it lies in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub position: Position,
    pub kind: u8,
    pub bytes: &'a [u8],
}

/// The records of a payload that starts at a log position, in order. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    position: Position,
}

impl<'a> Records<'a> {
    pub fn new(payload: &'a [u8], position: Position) -> Self {
        Self { rest: payload, position }
    }

    fn take(&mut self) -> Result<Record<'a>, RecordError> {
        let (position, left) = (self.position, self.rest.len());
        let Some((header, body)) = self.rest.split_first_chunk::<RECORD_HEADER_BYTES>() else {
            return Err(RecordError::Short { position, left });
        };
        let &[a, b, c, d, kind, flags, zero_low, zero_high] = header;
        if [flags, zero_low, zero_high] != [0; 3] {
            return Err(RecordError::Flags { position });
        }
        let length = u32::from_le_bytes([a, b, c, d]);
        let wrong = RecordError::Length { position, length, left };
        let own = from_u32(length).checked_sub(RECORD_HEADER_BYTES).ok_or(wrong)?;
        let bytes = body.get(..own).ok_or(wrong)?;
        self.rest = self.rest.get(padded(own)..).ok_or(wrong)?;
        self.position += wide(padded(own));
        Ok(Record { position, kind, bytes })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = self.take();
        if taken.is_err() {
            self.rest = &[];
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0; padded(bytes.len())];
        write_header(&mut out, kind, bytes.len()).unwrap();
        out[RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + bytes.len()].copy_from_slice(bytes);
        out
    }

    #[test]
    fn records_of_every_padding_come_back_at_their_positions() {
        let bodies: Vec<Vec<u8>> = (0..20).map(|length| vec![7; length]).collect();
        let payload: Vec<u8> = bodies.iter().zip(1..).flat_map(|(body, kind)| record(kind, body)).collect();
        let mut expected_position = 4160;
        for ((found, body), kind) in Records::new(&payload, 4160).zip(&bodies).zip(1..) {
            let expected = Record { position: expected_position, kind, bytes: body };
            assert_eq!(found, Ok(expected));
            expected_position += wide(padded(body.len()));
        }
        assert_eq!(Records::new(&payload, 4160).count(), bodies.len());
    }

    #[test]
    fn a_length_outside_the_payload_is_an_error_and_ends_the_row() {
        for length in [0u32, 7, 17, u32::MAX] {
            let mut payload = record(1, b"12345678");
            payload[..4].copy_from_slice(&length.to_le_bytes());
            let found: Vec<_> = Records::new(&payload, 64).collect();
            assert_eq!(found, [Err(RecordError::Length { position: 64, length, left: 16 })]);
        }
    }

    #[test]
    fn padding_that_is_cut_off_is_an_error() {
        let payload = record(1, b"123");
        let found: Vec<_> = Records::new(&payload[..12], 0).collect();
        assert_eq!(found, [Err(RecordError::Length { position: 0, length: 11, left: 12 })]);
        let found: Vec<_> = Records::new(&payload[..4], 0).collect();
        assert_eq!(found, [Err(RecordError::Short { position: 0, left: 4 })]);
    }

    #[test]
    fn a_header_needs_room() {
        assert_eq!(write_header(&mut [0; 7], 1, 0), Err(HeaderError { bytes: 0, room: 7 }));
    }
}
