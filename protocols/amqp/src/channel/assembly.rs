//! One message on its way in: method, header, body frames. A body that comes in one frame is never copied here.
//!
//! Keeps its buffers between messages, so that a publish costs no allocation.

use bytes::{BufMut, BytesMut};

use crate::codec::content::CLASS_BASIC;
use crate::codec::limits::BODY_RESERVED_BYTES_MAX;
use crate::codec::methods::BasicPublish;
use crate::codec::{Arguments, ContentHeader, Malformed, ReplyCode};
use crate::fault::Fault;

/// Where a complete message's body lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyAt {
    /// It is the payload of the frame just handled.
    Frame,
    /// It was gathered from several frames.
    Buffer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Method,
    Header,
    Body {
        missing: u64,
    },
}

/// The state of one channel's incoming content.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    stage: Stage,
    pub exchange: String,
    pub routing_key: Vec<u8>,
    pub mandatory: bool,
    /// Property flags and values.
    pub properties: Vec<u8>,
    pub body: BytesMut,
}

impl Assembly {
    /// True between the method and the last body frame: nothing else may come on the channel.
    pub fn is_open(&self) -> bool {
        self.stage != Stage::Method
    }

    /// Bytes of a body that is not complete.
    pub fn bytes(&self) -> usize {
        if self.is_open() { self.body.len() } else { 0 }
    }

    /// Begins a message.
    pub fn publish(&mut self, method: &BasicPublish<'_>) {
        self.exchange.clear();
        self.exchange.push_str(method.exchange);
        self.routing_key.clear();
        self.routing_key.extend_from_slice(method.routing_key.as_bytes());
        self.mandatory = method.mandatory;
        self.stage = Stage::Header;
    }

    /// Takes the header. `Some` when there is no body to come.
    pub fn header(&mut self, payload: &[u8], body_bytes_max: u64) -> Result<Option<BodyAt>, Fault> {
        if self.stage != Stage::Header {
            return Err(unexpected("a content header without its method"));
        }
        let header = ContentHeader::read(payload).map_err(malformed)?;
        if header.class != CLASS_BASIC {
            return Err(unexpected(format!("a content header of class {}, not {CLASS_BASIC}", header.class)));
        }
        if header.body_bytes > body_bytes_max {
            self.stage = Stage::Method;
            let text = format!(
                "message size {} is larger than configured max size {body_bytes_max}",
                header.body_bytes
            );
            return Err(Fault::new(ReplyCode::PreconditionFailed, BasicPublish::ID, text));
        }
        self.properties.clear();
        self.properties.extend_from_slice(header.properties);
        self.forget_body();
        if header.body_bytes == 0 {
            self.stage = Stage::Method;
            return Ok(Some(BodyAt::Buffer));
        }
        self.stage = Stage::Body { missing: header.body_bytes };
        Ok(None)
    }

    /// Takes a body frame. `Some` when the message is complete.
    pub fn body(&mut self, payload: &[u8]) -> Result<Option<BodyAt>, Fault> {
        let Stage::Body { missing } = self.stage else {
            return Err(unexpected("a content body without its header"));
        };
        let bytes = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        let Some(missing) = missing.checked_sub(bytes) else {
            let text = format!("a content body is {} bytes longer than its header said", bytes - missing);
            return Err(Fault::new(ReplyCode::FrameError, BasicPublish::ID, text));
        };
        if missing == 0 && self.body.is_empty() {
            self.stage = Stage::Method;
            return Ok(Some(BodyAt::Frame));
        }
        if self.body.is_empty() {
            let whole = usize::try_from(missing + bytes).unwrap_or(usize::MAX);
            self.body.reserve(whole.min(BODY_RESERVED_BYTES_MAX));
        }
        self.body.put_slice(payload);
        self.stage = if missing == 0 { Stage::Method } else { Stage::Body { missing } };
        Ok((missing == 0).then_some(BodyAt::Buffer))
    }

    /// Empties the body's buffer; a large one is given back.
    pub fn forget_body(&mut self) {
        if self.body.capacity() > BODY_RESERVED_BYTES_MAX {
            self.body = BytesMut::new();
        }
        self.body.clear();
    }
}

fn unexpected(text: impl Into<String>) -> Fault {
    Fault::new(ReplyCode::UnexpectedFrame, BasicPublish::ID, text)
}

fn malformed(reason: Malformed) -> Fault {
    Fault::new(ReplyCode::FrameError, BasicPublish::ID, format!("a content header is malformed: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The state after the first byte of a body of so many.
    fn begun(body_bytes: usize) -> Assembly {
        let mut assembly = Assembly { stage: Stage::Header, ..Assembly::default() };
        let mut header = BytesMut::new();
        header.put_u16(CLASS_BASIC);
        header.put_u16(0);
        header.put_u64(body_bytes.try_into().unwrap());
        header.put_u16(0);
        assert_eq!(assembly.header(&header, u64::MAX), Ok(None));
        assert_eq!(assembly.body(b"x"), Ok(None));
        assembly
    }

    #[test]
    fn room_is_reserved_up_to_its_limit_whatever_the_header_claims() {
        for (body_bytes, reserved) in [
            (BODY_RESERVED_BYTES_MAX - 1, BODY_RESERVED_BYTES_MAX - 1),
            (BODY_RESERVED_BYTES_MAX, BODY_RESERVED_BYTES_MAX),
            (BODY_RESERVED_BYTES_MAX + 1, BODY_RESERVED_BYTES_MAX),
        ] {
            let mut assembly = begun(body_bytes);
            assert_eq!(assembly.body.capacity(), reserved);
            // More finds its place once it is there, and room beyond the limit is not kept for the next message.
            assert_eq!(assembly.body(&vec![b'x'; body_bytes - 1]), Ok(Some(BodyAt::Buffer)));
            assert_eq!(assembly.body.len(), body_bytes);
            assembly.forget_body();
            assert_eq!(assembly.body.capacity() > 0, body_bytes <= BODY_RESERVED_BYTES_MAX, "{body_bytes}");
        }
    }
}
