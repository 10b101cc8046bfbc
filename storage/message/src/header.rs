//! Typed headers: names with values that have a type. They are stored in the form in which most of them come, a field
//! table of AMQP 0-9-1 with the value types that RabbitMQ uses, so that none loses its type. Messages without such a
//! table have their own properties as headers, whose values are text that may stand for any type.
//!
//! What is inside arrays and tables is compared as a whole, and not looked at.

use std::fmt::Write as _;

use crate::annex::AnnexKind;
use crate::property;
use crate::read::{LayoutError, bytes_at, slice_at, to_usize};
use crate::stored::StoredMessage;

/// Longest name of a header.
pub const HEADER_NAME_BYTES_MAX: usize = 255;

/// The value of a header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HeaderValue<'a> {
    /// No value: the header is there, and that is all.
    Void,
    Bool(bool),
    /// Of any width.
    Integer(i64),
    Float(f64),
    /// `value / 10^scale`
    Decimal {
        scale: u8,
        value: i32,
    },
    Text(&'a [u8]),
    /// Seconds of the Unix epoch.
    Time(u64),
    Bytes(&'a [u8]),
    /// Values in stored form.
    Array(&'a [u8]),
    /// A table in stored form.
    Table(&'a [u8]),
    /// From where there is only text.
    Untyped(&'a str),
}

impl HeaderValue<'_> {
    /// Whether both say the same. Text without a type is whatever is written like it.
    pub fn equals(&self, other: &HeaderValue<'_>) -> bool {
        match (self, other) {
            (value, HeaderValue::Untyped(text)) | (HeaderValue::Untyped(text), value) => {
                value.as_text().is_some_and(|written| written == *text)
            }
            (one, other) => one == other,
        }
    }

    /// How the value is written where there is only text; `None` for what has no short text.
    fn as_text(&self) -> Option<String> {
        let mut text = String::new();
        let written = match *self {
            HeaderValue::Untyped(value) => return Some(value.to_owned()),
            HeaderValue::Text(bytes) => return std::str::from_utf8(bytes).ok().map(str::to_owned),
            HeaderValue::Bool(value) => write!(text, "{value}"),
            HeaderValue::Integer(value) => write!(text, "{value}"),
            HeaderValue::Float(value) => write!(text, "{value}"),
            HeaderValue::Time(seconds) => write!(text, "{seconds}"),
            HeaderValue::Void
            | HeaderValue::Decimal { .. }
            | HeaderValue::Bytes(_)
            | HeaderValue::Array(_)
            | HeaderValue::Table(_) => return None,
        };
        written.ok().map(|()| text)
    }
}

/// A table of headers, read in place: names that are UTF-8, with their values. A damaged table ends early.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    pub fn new(table: &'a [u8]) -> Self {
        Headers { rest: table }
    }

    /// Reads a table to its end.
    pub fn check(table: &[u8]) -> Result<(), LayoutError> {
        let mut rest = table;
        while !rest.is_empty() {
            (rest, _) = entry(rest)?;
        }
        Ok(())
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, HeaderValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (rest, (name, value)) = entry(self.rest).ok()?;
            self.rest = rest;
            if let Ok(name) = std::str::from_utf8(name) {
                return Some((name, value));
            }
        }
        None
    }
}

/// Appends a header to a table. Returns false, and appends nothing, when its name is too long.
pub fn push_header(table: &mut Vec<u8>, name: &str, value: &HeaderValue<'_>) -> bool {
    let Ok(len) = u8::try_from(name.len()) else { return false };
    table.push(len);
    table.extend_from_slice(name.as_bytes());
    let mut counted = |tag, bytes: &[u8]| {
        table.push(tag);
        table.extend_from_slice(&crate::read::len_u32(bytes.len()).to_be_bytes());
        table.extend_from_slice(bytes);
    };
    match *value {
        HeaderValue::Text(bytes) => counted(b'S', bytes),
        HeaderValue::Untyped(text) => counted(b'S', text.as_bytes()),
        HeaderValue::Bytes(bytes) => counted(b'x', bytes),
        HeaderValue::Array(bytes) => counted(b'A', bytes),
        HeaderValue::Table(bytes) => counted(b'F', bytes),
        HeaderValue::Void => table.push(b'V'),
        HeaderValue::Bool(value) => table.extend_from_slice(&[b't', u8::from(value)]),
        HeaderValue::Integer(value) => fixed(table, b'l', &value.to_be_bytes()),
        HeaderValue::Float(value) => fixed(table, b'd', &value.to_be_bytes()),
        HeaderValue::Time(seconds) => fixed(table, b'T', &seconds.to_be_bytes()),
        HeaderValue::Decimal { scale, value } => {
            table.extend_from_slice(&[b'D', scale]);
            table.extend_from_slice(&value.to_be_bytes());
        }
    }
    true
}

fn fixed(table: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    table.push(tag);
    table.extend_from_slice(bytes);
}

impl<'a> StoredMessage<'a> {
    /// The message's headers, in stored order. Those of a message that came without types are its own properties,
    /// without what has a meaning to the broker.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, HeaderValue<'a>)> + use<'a> {
        let birth = self.annex(AnnexKind::Amqp);
        let table = birth.map(|birth| table_of(birth).unwrap_or_default());
        let properties = table.is_none().then(|| self.properties().iter());
        let own = |(name, _): &(&str, &str)| !property::RESERVED.contains(name);
        let untyped = properties.into_iter().flatten().filter(own);
        let typed = table.map(Headers::new).into_iter().flatten();
        typed.chain(untyped.map(|(name, value)| (name, HeaderValue::Untyped(value))))
    }
}

impl<'a> StoredMessage<'a> {
    /// Exchange and routing key that a message was published with; `None` for what did not come over AMQP.
    pub fn published_to(&self) -> Option<(&'a str, &'a [u8])> {
        let (rest, exchange) = short(self.annex(AnnexKind::Amqp)?).ok()?;
        let (_, key) = short(rest).ok()?;
        Some((std::str::from_utf8(exchange).ok()?, key))
    }
}

/// The field table in an AMQP annex: behind the exchange, the key, the flags, and two texts if the flags name them.
fn table_of(birth: &[u8]) -> Result<&[u8], LayoutError> {
    const CONTENT_TYPE: u16 = 1 << 15;
    const CONTENT_ENCODING: u16 = 1 << 14;
    const HEADERS: u16 = 1 << 13;
    const MORE_FLAGS: u16 = 1;
    let (rest, _) = short(birth)?;
    let (mut rest, _) = short(rest)?;
    let flags = u16::from_be_bytes(bytes_at(rest, 0)?);
    let mut last = flags;
    rest = behind(rest, 2);
    while last & MORE_FLAGS != 0 {
        last = u16::from_be_bytes(bytes_at(rest, 0)?);
        rest = behind(rest, 2);
    }
    for text in [CONTENT_TYPE, CONTENT_ENCODING] {
        if flags & text != 0 {
            (rest, _) = short(rest)?;
        }
    }
    if flags & HEADERS == 0 { Ok(&[]) } else { long(rest).map(|(_, table)| table) }
}

type Read<'a, T> = Result<(&'a [u8], T), LayoutError>;

fn entry(table: &[u8]) -> Read<'_, (&[u8], HeaderValue<'_>)> {
    let (rest, name) = short(table)?;
    let [tag] = bytes_at(rest, 0)?;
    let (rest, value) = value(tag, behind(rest, 1))?;
    Ok((rest, (name, value)))
}

/// Reads a value behind its tag. What is inside an array or a table is not looked at.
fn value(tag: u8, bytes: &[u8]) -> Read<'_, HeaderValue<'_>> {
    let integer = |len, value| Ok((behind(bytes, len), HeaderValue::Integer(value)));
    match tag {
        b't' => bytes_at(bytes, 0).map(|[value]| (behind(bytes, 1), HeaderValue::Bool(value != 0))),
        b'b' => integer(1, i64::from(i8::from_be_bytes(bytes_at(bytes, 0)?))),
        b'B' => integer(1, i64::from(u8::from_be_bytes(bytes_at(bytes, 0)?))),
        b's' | b'U' => integer(2, i64::from(i16::from_be_bytes(bytes_at(bytes, 0)?))),
        b'u' => integer(2, i64::from(u16::from_be_bytes(bytes_at(bytes, 0)?))),
        b'I' => integer(4, i64::from(i32::from_be_bytes(bytes_at(bytes, 0)?))),
        b'i' => integer(4, i64::from(u32::from_be_bytes(bytes_at(bytes, 0)?))),
        b'l' | b'L' => integer(8, i64::from_be_bytes(bytes_at(bytes, 0)?)),
        b'f' => {
            let value = f64::from(f32::from_be_bytes(bytes_at(bytes, 0)?));
            Ok((behind(bytes, 4), HeaderValue::Float(value)))
        }
        b'd' => Ok((behind(bytes, 8), HeaderValue::Float(f64::from_be_bytes(bytes_at(bytes, 0)?)))),
        b'D' => {
            let [scale] = bytes_at(bytes, 0)?;
            let value = i32::from_be_bytes(bytes_at(bytes, 1)?);
            Ok((behind(bytes, 5), HeaderValue::Decimal { scale, value }))
        }
        b'T' => Ok((behind(bytes, 8), HeaderValue::Time(u64::from_be_bytes(bytes_at(bytes, 0)?)))),
        b'S' => long(bytes).map(|(rest, bytes)| (rest, HeaderValue::Text(bytes))),
        b'x' => long(bytes).map(|(rest, bytes)| (rest, HeaderValue::Bytes(bytes))),
        b'A' => long(bytes).map(|(rest, bytes)| (rest, HeaderValue::Array(bytes))),
        b'F' => long(bytes).map(|(rest, bytes)| (rest, HeaderValue::Table(bytes))),
        b'V' | 0 => Ok((bytes, HeaderValue::Void)),
        other => Err(LayoutError::Range { field: "type of a header", value: i64::from(other) }),
    }
}

fn short(bytes: &[u8]) -> Read<'_, &[u8]> {
    let [len] = bytes_at(bytes, 0)?;
    let text = slice_at(bytes, 1, usize::from(len))?;
    Ok((behind(bytes, 1 + text.len()), text))
}

fn long(bytes: &[u8]) -> Read<'_, &[u8]> {
    let len = to_usize(u32::from_be_bytes(bytes_at(bytes, 0)?));
    let value = slice_at(bytes, 4, len)?;
    Ok((behind(bytes, 4 + value.len()), value))
}

/// What follows bytes that were read.
fn behind(bytes: &[u8], len: usize) -> &[u8] {
    bytes.get(len..).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALUES: &[HeaderValue<'_>] = &[
        HeaderValue::Void,
        HeaderValue::Bool(true),
        HeaderValue::Integer(-5),
        HeaderValue::Float(1.5),
        HeaderValue::Decimal { scale: 2, value: 314 },
        HeaderValue::Text(b"text"),
        HeaderValue::Time(1_700_000_000),
        HeaderValue::Bytes(b"\x00\xff"),
        HeaderValue::Array(b"V"),
        HeaderValue::Table(b"\x01aV"),
    ];

    #[test]
    fn what_is_written_is_read() {
        let mut table = Vec::new();
        for value in VALUES {
            assert!(push_header(&mut table, "name", value));
        }
        assert!(push_header(&mut table, &"n".repeat(HEADER_NAME_BYTES_MAX), &HeaderValue::Void));
        let before = table.clone();
        assert!(!push_header(&mut table, &"n".repeat(HEADER_NAME_BYTES_MAX + 1), &HeaderValue::Void));
        assert_eq!(table, before);
        let read: Vec<_> = Headers::new(&table).map(|(_, value)| value).take(VALUES.len()).collect();
        assert_eq!(read, VALUES);
        assert_eq!(Headers::check(&table), Ok(()));
        assert!(Headers::check(&table[..table.len() - 1]).is_err());
    }

    #[test]
    fn numbers_count_by_value_and_types_do_not_mix() {
        let wide = Headers::new(b"\x01al\0\0\0\0\0\0\0\x05").next().unwrap().1;
        let narrow = Headers::new(b"\x01ab\x05").next().unwrap().1;
        assert!(wide.equals(&narrow));
        for (index, one) in VALUES.iter().enumerate() {
            for (other_index, other) in VALUES.iter().enumerate() {
                assert_eq!(one.equals(other), index == other_index, "{one:?} {other:?}");
            }
        }
        assert!(!HeaderValue::Text(b"5").equals(&HeaderValue::Integer(5)));
    }

    #[test]
    fn text_without_a_type_is_what_is_written_like_it() {
        let cases = [
            (HeaderValue::Integer(5), "5", true),
            (HeaderValue::Integer(5), "05", false),
            (HeaderValue::Bool(true), "true", true),
            (HeaderValue::Float(1.5), "1.5", true),
            (HeaderValue::Text(b"eu"), "eu", true),
            (HeaderValue::Void, "", false),
        ];
        for (value, text, expected) in cases {
            assert_eq!(value.equals(&HeaderValue::Untyped(text)), expected, "{value:?} {text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Headers::new(&bytes).count() <= bytes.len());
            if let Ok(table) = table_of(&bytes) {
                prop_assert!(table.len() < bytes.len());
            }
        }
    }
}
