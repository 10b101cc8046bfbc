//! Writing frames straight into a buffer, in the serializer of the request that they answer.
//!
//! Nothing is allocated but room in the buffer. The body is appended (or sent from elsewhere) by the caller,
//! who has said its length before.

use bytes::{BufMut, BytesMut};
use mailrail_message::OffsetId;

use super::header::{FLAG_ONE_WAY, FLAG_RESPONSE, Language, Serializer};
use super::hex_id::HexId;
use super::{binary_header, json_text};

/// The version that answers carry. Clients remember the one of the heartbeat's answer and switch features
/// by it: below 232 Java refuses SQL filters, and from 475 on clients understand "go away".
pub const VERSION: i16 = 513;

/// Room made at once; a longer header grows the buffer as it goes.
const HEADER_BYTES_USUAL: usize = 512;

/// Everything of a header but its extension fields.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub serializer: Serializer,
    pub code: i32,
    pub language: Language,
    pub version: i16,
    pub opaque: i32,
    pub flag: i32,
    pub remark: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// The answer to the request with this serializer and opaque.
    pub fn response(serializer: Serializer, opaque: i32, code: i32, remark: Option<&'a str>) -> Envelope<'a> {
        let (language, version) = (Language::JAVA, VERSION);
        Envelope { serializer, code, language, version, opaque, flag: FLAG_RESPONSE, remark }
    }

    /// A one-way request of ours to a client: always JSON, which every client reads.
    pub fn push(code: i32, opaque: i32) -> Envelope<'a> {
        let (serializer, language, version) = (Serializer::Json, Language::JAVA, VERSION);
        Envelope { serializer, code, language, version, opaque, flag: FLAG_ONE_WAY, remark: None }
    }
}

/// One frame being written. Fields come in the caller's order; [`FrameWriter::finish`] must be called.
#[must_use = "a frame without finish has no length"]
pub struct FrameWriter<'a> {
    out: &'a mut BytesMut,
    envelope: Envelope<'a>,
    start: usize,
    /// Binary: where the length of the fields stands.
    fields_at: usize,
    fields: Fields,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    Absent,
    Empty,
    Some,
}

impl<'a> FrameWriter<'a> {
    pub fn begin(out: &'a mut BytesMut, envelope: Envelope<'a>) -> FrameWriter<'a> {
        let start = out.len();
        out.reserve(HEADER_BYTES_USUAL);
        out.put_slice(&[0; super::frame::PREFIX_BYTES]);
        match envelope.serializer {
            Serializer::Json => {
                out.put_slice(b"{\"code\":");
                json_text::put_number(out, i64::from(envelope.code));
            }
            Serializer::Binary => {
                let [.., high, low] = envelope.code.to_be_bytes();
                out.put_slice(&[high, low]);
                out.put_u8(envelope.language.0);
                out.put_i16(envelope.version);
                out.put_i32(envelope.opaque);
                out.put_i32(envelope.flag);
                let remark = envelope.remark.unwrap_or_default().as_bytes();
                out.put_u32(u32::try_from(remark.len()).unwrap_or(u32::MAX));
                out.put_slice(remark);
                out.put_u32(0);
            }
        }
        let fields_at = out.len() - 4;
        FrameWriter { out, envelope, start, fields_at, fields: Fields::Absent }
    }

    /// Makes `extFields` appear even when no field follows, as answers with an empty header class have it.
    pub fn empty_fields(mut self) -> FrameWriter<'a> {
        self.open_fields();
        self
    }

    pub fn text(mut self, key: &str, value: &str) -> FrameWriter<'a> {
        match self.envelope.serializer {
            Serializer::Json => {
                self.name(key);
                json_text::put_string(self.out, value);
            }
            Serializer::Binary => binary_header::put_field(self.out, key.as_bytes(), value.as_bytes()),
        }
        self
    }

    /// A number as text: every SDK reads strings, not every one reads numbers.
    pub fn number(self, key: &str, value: i64) -> FrameWriter<'a> {
        self.plain(key, itoa::Buffer::new().format(value).as_bytes())
    }

    pub fn message_id(self, key: &str, id: OffsetId) -> FrameWriter<'a> {
        self.plain(key, HexId::new(id).as_bytes())
    }

    /// Closes the header and writes the lengths. `body_bytes` bytes of body must follow the header.
    pub fn finish(mut self, body_bytes: usize) {
        match self.envelope.serializer {
            Serializer::Json => self.end_json(),
            Serializer::Binary => {
                let length = self.out.len() - self.fields_at - 4;
                patch(self.out, self.fields_at, length);
            }
        }
        let header_bytes = self.out.len() - self.start - super::frame::PREFIX_BYTES;
        patch(self.out, self.start, 4 + header_bytes + body_bytes);
        patch(self.out, self.start + 4, header_bytes);
        if let Some(kind) = self.out.get_mut(self.start + 4) {
            *kind = self.envelope.serializer.byte();
        }
    }

    /// A value that never needs an escape.
    fn plain(mut self, key: &str, value: &[u8]) -> FrameWriter<'a> {
        match self.envelope.serializer {
            Serializer::Json => {
                self.name(key);
                self.out.put_u8(b'"');
                self.out.put_slice(value);
                self.out.put_u8(b'"');
            }
            Serializer::Binary => binary_header::put_field(self.out, key.as_bytes(), value),
        }
        self
    }

    fn name(&mut self, key: &str) {
        self.open_fields();
        json_text::put_name(self.out, self.fields == Fields::Empty, key);
        self.fields = Fields::Some;
    }

    fn open_fields(&mut self) {
        if self.fields == Fields::Absent && self.envelope.serializer == Serializer::Json {
            self.out.put_slice(b",\"extFields\":{");
            self.fields = Fields::Empty;
        }
    }

    /// What follows the extension fields, in the reference broker's order.
    fn end_json(&mut self) {
        if self.fields != Fields::Absent {
            self.out.put_u8(b'}');
        }
        self.out.put_slice(b",\"flag\":");
        json_text::put_number(self.out, i64::from(self.envelope.flag));
        self.out.put_slice(b",\"language\":\"");
        self.out.put_slice(self.envelope.language.name().as_bytes());
        self.out.put_slice(b"\",\"opaque\":");
        json_text::put_number(self.out, i64::from(self.envelope.opaque));
        if let Some(remark) = self.envelope.remark {
            self.out.put_slice(b",\"remark\":");
            json_text::put_string(self.out, remark);
        }
        self.out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
        json_text::put_number(self.out, i64::from(self.envelope.version));
        self.out.put_u8(b'}');
    }
}

/// Writes a length over the four bytes that were left for it.
fn patch(out: &mut BytesMut, at: usize, length: usize) {
    let word = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(place) = out.get_mut(at..at + word.len()) {
        place.copy_from_slice(&word);
    }
}

#[cfg(test)]
mod tests;
