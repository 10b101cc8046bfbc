//! The elementary types of the specification (section 4.2.5): readers over nom, writers over `BytesMut`.
//!
//! Tables have their own file. Names are UTF-8 here, which the specification recommends and the broker needs; what
//! belongs to a message is any bytes, as clients take it to be.

use std::fmt;

use bytes::{BufMut, BytesMut};
use nom::bytes::complete::take;
use nom::error::{ErrorKind, ParseError};

use super::limits::SHORT_TEXT_BYTES_MAX;

pub(crate) use nom::number::complete::{be_u16 as short, be_u32 as long, be_u64 as long_long, u8 as octet};

/// Arguments, properties or a table that do not read as the specification says. Scope: the connection (501).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a field ends before its bytes do")]
    Short,
    #[error("bytes are left over behind the last field")]
    LeftOver,
    #[error("a short string is not UTF-8")]
    NotUtf8,
    #[error("field table value type {0:#04x} is unknown")]
    UnknownTag(u8),
    #[error("field tables are nested more than {max} deep")]
    TooDeep { max: usize },
    #[error("a field table has more than {max} entries")]
    TooMany { max: usize },
    #[error("the property flags go on beyond those of class basic")]
    UnknownProperty,
}

/// What a reader gives: the rest of the input, and its value.
pub(crate) type Parsed<'a, T> = nom::IResult<&'a [u8], T, Malformed>;

impl ParseError<&[u8]> for Malformed {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Malformed::Short
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// Ends a parse: nothing may be left over.
pub(crate) fn whole<T>(parsed: Parsed<'_, T>) -> Result<T, Malformed> {
    match parsed {
        Ok(([], value)) => Ok(value),
        Ok(_) => Err(Malformed::LeftOver),
        Err(error) => Err(reason(error)),
    }
}

pub(crate) fn reason(error: nom::Err<Malformed>) -> Malformed {
    match error {
        nom::Err::Incomplete(_) => Malformed::Short,
        nom::Err::Error(reason) | nom::Err::Failure(reason) => reason,
    }
}

pub(crate) fn fail<T>(reason: Malformed) -> Result<T, nom::Err<Malformed>> {
    Err(nom::Err::Failure(reason))
}

/// A short string that belongs to a message: any bytes, mostly UTF-8.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ShortBytes<'a>(&'a [u8]);

impl<'a> ShortBytes<'a> {
    /// What is too long is cut.
    pub const fn new(bytes: &'a [u8]) -> Self {
        match bytes.split_at_checked(SHORT_TEXT_BYTES_MAX) {
            Some((first, _)) => ShortBytes(first),
            None => ShortBytes(bytes),
        }
    }

    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// `None` for what is not UTF-8.
    pub fn as_text(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}

/// What is too long is cut at a character's end.
impl<'a> From<&'a str> for ShortBytes<'a> {
    fn from(text: &'a str) -> Self {
        ShortBytes(cut(text).as_bytes())
    }
}

impl fmt::Display for ShortBytes<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&String::from_utf8_lossy(self.0))
    }
}

/// As text: that is what it mostly is.
impl fmt::Debug for ShortBytes<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.0), out)
    }
}

/// A short string: one octet of length, then any bytes.
pub(crate) fn short_bytes(input: &[u8]) -> Parsed<'_, ShortBytes<'_>> {
    let (input, len) = octet(input)?;
    let (input, bytes) = take(len)(input)?;
    Ok((input, ShortBytes(bytes)))
}

/// A short string that must be UTF-8.
pub(crate) fn short_text(input: &[u8]) -> Parsed<'_, &str> {
    let (input, bytes) = short_bytes(input)?;
    match bytes.as_text() {
        Some(text) => Ok((input, text)),
        None => fail(Malformed::NotUtf8),
    }
}

/// A long string: four octets of length, then any bytes.
pub(crate) fn long_bytes(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (input, len) = long(input)?;
    take(len)(input)
}

/// Appends a short string, cut at a character's end when it is too long (which only reply texts can be).
pub(crate) fn put_short_text(out: &mut BytesMut, text: &str) {
    put_short_bytes(out, text.into());
}

/// Appends a short string.
pub(crate) fn put_short_bytes(out: &mut BytesMut, bytes: ShortBytes<'_>) {
    out.put_u8(u8::try_from(bytes.0.len()).unwrap_or(u8::MAX));
    out.put_slice(bytes.0);
}

/// The longest beginning of a text that fits a short string.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(SHORT_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Appends a long string. Bytes come from the broker or this crate, which both stay far below 4 GiB.
pub(crate) fn put_long_bytes(out: &mut BytesMut, bytes: &[u8]) {
    debug_assert!(u32::try_from(bytes.len()).is_ok());
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reply_text_is_cut_between_characters() {
        let text = format!("{}é", "a".repeat(254));
        let mut out = BytesMut::new();
        put_short_text(&mut out, &text);
        assert_eq!(whole(short_text(&out)), Ok("a".repeat(254).as_str()));
    }

    #[test]
    fn the_longest_short_string_is_written_whole_and_a_longer_one_cut() {
        let longest = "a".repeat(SHORT_TEXT_BYTES_MAX);
        for text in [longest.clone(), format!("{longest}a")] {
            let mut out = BytesMut::new();
            put_short_text(&mut out, &text);
            assert_eq!(whole(short_text(&out)), Ok(longest.as_str()));
        }
    }

    #[test]
    fn short_strings_say_why_they_cannot_be_read() {
        let cases: &[(&[u8], Result<&str, Malformed>)] = &[
            (b"\x02ab", Ok("ab")),
            (b"\x00", Ok("")),
            (b"\x03ab", Err(Malformed::Short)),
            (b"", Err(Malformed::Short)),
            (b"\x01ab", Err(Malformed::LeftOver)),
            (b"\x01\xff", Err(Malformed::NotUtf8)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(&whole(short_text(bytes)), expected, "{bytes:?}");
        }
    }
}
