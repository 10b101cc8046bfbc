//! Frames on their way out, written in place: no frame is built apart and copied. Long bodies go by reference.
//!
//! Knows no socket; [`Outgoing`] is whatever gathers the bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::content::{CLASS_BASIC, CONTENT_HEADER_FIXED_BYTES};
use super::frame::{FRAME_END, FrameKind};
use super::limits::FRAME_OVERHEAD_BYTES;
use super::method::Arguments;

/// Bodies up to this many bytes are copied next to their headers; longer ones go by reference.
const COPIED_BODY_BYTES_MAX: usize = 2 * 1024;

/// Gathers bytes for one connection, in order.
pub trait Outgoing {
    /// Lets `write` append to the gathered bytes.
    fn append(&mut self, write: impl FnOnce(&mut BytesMut));

    /// Appends bytes by reference.
    fn push(&mut self, bytes: Bytes);
}

impl Outgoing for BytesMut {
    fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        write(self);
    }

    fn push(&mut self, bytes: Bytes) {
        self.extend_from_slice(&bytes);
    }
}

/// A message's body: `bytes` lie in `owner`, so that a long one needs no copy.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    pub bytes: &'a [u8],
    pub owner: &'a Bytes,
}

/// What follows a method that carries content.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Property flags and values.
    pub properties: &'a [u8],
    pub body: Body<'a>,
}

/// Appends a method frame.
pub fn method<M: Arguments>(out: &mut impl Outgoing, channel: u16, arguments: &M) {
    out.append(|out| put_method(out, channel, arguments));
}

/// Appends a heartbeat.
pub fn heartbeat(out: &mut impl Outgoing) {
    out.append(|out| frame(out, FrameKind::Heartbeat, 0, |_| {}));
}

/// Appends method, header and body frames of one message, with nothing between them. No frame is longer than
/// `frame_bytes_max`, but for a header that cannot be split.
pub fn message<M: Arguments>(
    out: &mut impl Outgoing,
    channel: u16,
    frame_bytes_max: u32,
    arguments: &M,
    content: Content<'_>,
) {
    let body = content.body.bytes;
    let chunk_max =
        usize::try_from(frame_bytes_max).unwrap_or(usize::MAX).saturating_sub(FRAME_OVERHEAD_BYTES);
    let chunks = body.chunks(chunk_max.max(1));
    if body.len() <= COPIED_BODY_BYTES_MAX {
        return out.append(|out| {
            put_head(out, channel, arguments, content);
            chunks.for_each(|chunk| frame(out, FrameKind::Body, channel, |out| out.put_slice(chunk)));
        });
    }
    out.append(|out| put_head(out, channel, arguments, content));
    for chunk in chunks {
        out.append(|out| put_frame_head(out, FrameKind::Body, channel, chunk.len()));
        out.push(content.body.owner.slice_ref(chunk));
        out.append(|out| out.put_u8(FRAME_END));
    }
}

fn put_head<M: Arguments>(out: &mut BytesMut, channel: u16, arguments: &M, content: Content<'_>) {
    put_method(out, channel, arguments);
    put_frame_head(out, FrameKind::Header, channel, CONTENT_HEADER_FIXED_BYTES + content.properties.len());
    out.put_u16(CLASS_BASIC);
    out.put_u16(0);
    out.put_u64(u64::try_from(content.body.bytes.len()).unwrap_or(u64::MAX));
    out.put_slice(content.properties);
    out.put_u8(FRAME_END);
}

fn put_method<M: Arguments>(out: &mut BytesMut, channel: u16, arguments: &M) {
    frame(out, FrameKind::Method, channel, |out| {
        out.put_u16(M::ID.class);
        out.put_u16(M::ID.method);
        arguments.write(out);
    });
}

fn put_frame_head(out: &mut BytesMut, kind: FrameKind, channel: u16, payload_bytes: usize) {
    out.put_u8(kind.number());
    out.put_u16(channel);
    out.put_u32(u32::try_from(payload_bytes).unwrap_or(u32::MAX));
}

/// Appends a frame whose payload is written by `write`; the length is filled in afterwards.
fn frame(out: &mut BytesMut, kind: FrameKind, channel: u16, write: impl FnOnce(&mut BytesMut)) {
    put_frame_head(out, kind, channel, 0);
    let start = out.len();
    write(out);
    let bytes = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start - 4..start) {
        place.copy_from_slice(&bytes.to_be_bytes());
    }
    out.put_u8(FRAME_END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::methods::ChannelCloseOk;

    /// What went by reference.
    #[derive(Default)]
    struct Pushed {
        gathered: BytesMut,
        pushed: Vec<Bytes>,
    }

    impl Outgoing for Pushed {
        fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
            write(&mut self.gathered);
        }

        fn push(&mut self, bytes: Bytes) {
            self.pushed.push(bytes);
        }
    }

    #[test]
    fn a_body_is_copied_up_to_the_limit_and_goes_by_reference_beyond() {
        let pushed = |body_bytes| {
            let mut out = Pushed::default();
            let owner = Bytes::from(vec![b'x'; body_bytes]);
            let content = Content { properties: &[], body: Body { bytes: &owner, owner: &owner } };
            message(&mut out, 1, 131_072, &ChannelCloseOk, content);
            assert!(out.pushed.iter().all(|bytes| bytes.as_ptr() == owner.as_ptr()));
            out.pushed.iter().map(Bytes::len).collect::<Vec<_>>()
        };
        assert_eq!(pushed(COPIED_BODY_BYTES_MAX), []);
        assert_eq!(pushed(COPIED_BODY_BYTES_MAX + 1), [COPIED_BODY_BYTES_MAX + 1]);
    }
}
