//! The content header: which class, how many bytes of body, and the properties as raw bytes.
//!
//! Properties are not read here: most of them are passed on as they came, see [`super::BasicProperties`].

use super::primitive::*;

/// Class of all content there is.
pub const CLASS_BASIC: u16 = 60;
/// Class, weight and body size before the property flags.
pub const CONTENT_HEADER_FIXED_BYTES: usize = 12;

/// A header frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    pub class: u16,
    pub body_bytes: u64,
    /// Property flags and values, unread.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Reads the payload of a header frame. The weight is unused in this protocol version and not looked at.
    pub fn read(payload: &'a [u8]) -> Result<Self, Malformed> {
        let fixed = |input| {
            let (input, class) = short(input)?;
            let (input, _) = short(input)?;
            let (properties, body_bytes) = long_long(input)?;
            Ok((&[][..], ContentHeader { class, body_bytes, properties }))
        };
        whole(fixed(payload))
    }
}
