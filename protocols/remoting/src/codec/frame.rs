//! One frame: length, serializer, header and body, decoded from a growing buffer.
//!
//! Does not read sockets and does not wait: half a frame is `Ok(None)`. Any error here means that the
//! stream can no longer be understood, so it ends the connection.

use bytes::{Buf, Bytes, BytesMut};

use super::header::{Header, Serializer};
use super::limits::{EXT_FIELDS_COUNT_MAX, FRAME_BYTES_MAX, HEADER_BYTES_MAX};
use super::{binary_header, json_header};

/// Length word and head word before every header.
pub(super) const PREFIX_BYTES: usize = 8;

/// One complete frame. Header text and body share the memory it arrived in.
#[derive(Debug, Clone)]
pub struct Frame {
    pub header: Header,
    pub body: Bytes,
}

/// Bytes that are no frame. Scope: the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("frame of {bytes} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLarge { bytes: usize },
    #[error("frame of {bytes} bytes is too short to hold a header")]
    TooShort { bytes: usize },
    #[error("header of {header} bytes does not fit its frame of {frame}")]
    HeaderOutsideFrame { header: usize, frame: usize },
    #[error("header of {bytes} bytes is over the limit of {HEADER_BYTES_MAX}")]
    HeaderTooLarge { bytes: usize },
    #[error("header serializer {0} is unknown")]
    UnknownSerializer(u8),
    #[error("header is malformed at byte {at}: {what}")]
    Malformed { at: usize, what: &'static str },
    #[error("header has more than {EXT_FIELDS_COUNT_MAX} extension fields")]
    TooManyFields,
}

/// Bytes of the frame that `buffer` begins with, its length word included; None when that word is not there yet.
/// Lengths over the limit are refused here, before anybody makes room for them.
pub fn frame_bytes(buffer: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(word) = buffer.first_chunk::<4>() else { return Ok(None) };
    let bytes = to_usize(u32::from_be_bytes(*word)).saturating_add(4);
    if bytes > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes });
    }
    if bytes < PREFIX_BYTES {
        return Err(FrameError::TooShort { bytes });
    }
    Ok(Some(bytes))
}

/// Takes the first complete frame off `buffer`. Nothing is taken, and nothing copied, when it is incomplete.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some(bytes) = frame_bytes(buffer)? else { return Ok(None) };
    let Some(head) = buffer.get(4..PREFIX_BYTES).and_then(|head| head.first_chunk::<4>()) else {
        return Ok(None);
    };
    let (serializer, header_bytes) = head_word(*head, bytes)?;
    if buffer.len() < bytes {
        return Ok(None);
    }
    let mut frame = buffer.split_to(bytes);
    frame.advance(PREFIX_BYTES);
    let mut raw = frame.split_to(header_bytes);
    let mut header = Header::empty(serializer);
    match serializer {
        Serializer::Json => json_header::parse(&mut raw, &mut header)?,
        Serializer::Binary => binary_header::parse(&mut raw, &mut header)?,
    }
    header.raw = raw.freeze();
    Ok(Some(Frame { header, body: frame.freeze() }))
}

/// Serializer and header length; the length is checked against the frame before the rest arrives.
fn head_word(head: [u8; 4], frame: usize) -> Result<(Serializer, usize), FrameError> {
    let [kind, high, middle, low] = head;
    let serializer = Serializer::from_byte(kind).ok_or(FrameError::UnknownSerializer(kind))?;
    let header = to_usize(u32::from_be_bytes([0, high, middle, low]));
    if header > HEADER_BYTES_MAX {
        return Err(FrameError::HeaderTooLarge { bytes: header });
    }
    if header > frame - PREFIX_BYTES {
        return Err(FrameError::HeaderOutsideFrame { header, frame });
    }
    Ok((serializer, header))
}

/// Puts `?` in the place of every byte that is not UTF-8. Java's clients and brokers read such text with replacement
/// characters; some C++ clients write tags and properties in whatever encoding their program uses.
pub(super) fn replace_malformed(mut bytes: &mut [u8]) {
    while let Err(error) = std::str::from_utf8(bytes) {
        let at = error.valid_up_to();
        let end = error.error_len().map_or(bytes.len(), |len| at + len);
        let Some(malformed) = bytes.get_mut(at..end) else { return };
        malformed.fill(b'?');
        bytes = bytes.get_mut(end..).unwrap_or_default();
    }
}

pub(super) fn to_usize(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
