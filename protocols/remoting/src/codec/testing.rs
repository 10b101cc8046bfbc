//! What the codec's tests share: frames from header text, and frames as comparable values.
//!
//! Compiled for tests only.

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{Frame, FrameError, decode};

/// A JSON frame on the wire.
pub(crate) fn json_bytes(header: &str, body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(4 + header.len() + body.len()).unwrap());
    bytes.put_u32(u32::try_from(header.len()).unwrap());
    bytes.put_slice(header.as_bytes());
    bytes.put_slice(body);
    bytes
}

pub(crate) fn json_frame(header: &str, body: &[u8]) -> Result<Frame, FrameError> {
    let mut bytes = json_bytes(header, body);
    let frame = decode(&mut bytes)?.expect("the frame is whole");
    assert!(bytes.is_empty(), "all of it was taken");
    Ok(frame)
}

/// Everything observable of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub code: i32,
    pub language: &'static str,
    pub version: i32,
    pub opaque: i32,
    pub flag: i32,
    pub remark: Option<String>,
    pub fields: Vec<(String, String)>,
    pub body: Bytes,
}

pub(crate) fn seen(frame: &Frame) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Seen {
        code: frame.header.code,
        language: frame.header.language.name(),
        version: frame.header.version,
        opaque: frame.header.opaque,
        flag: frame.header.flag,
        remark: frame.header.remark().map(str::to_owned),
        fields: frame.header.fields().map(|(key, value)| (text(key), text(value))).collect(),
        body: frame.body.clone(),
    }
}
