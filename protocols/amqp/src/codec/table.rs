//! Field tables and arrays, read in place. A [`Table`] has been checked as a whole once, so that walking it cannot
//! fail; its bytes are passed on as they came.
//!
//! Value types follow what RabbitMQ and Qpid put on the wire, not the printed specification: `s` is a 16-bit integer
//! and both `l` and `L` are signed 64-bit. Keys may occur twice; order is kept.

use bytes::{BufMut, BytesMut};
use nom::number::complete as number;

use super::limits::{TABLE_DEPTH_MAX, TABLE_ENTRIES_MAX};
use super::primitive::*;

/// One value of a table or an array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    /// `value / 10^scale`
    Decimal {
        scale: u8,
        value: i32,
    },
    /// A long string: any bytes, mostly UTF-8.
    Text(&'a [u8]),
    Array(Array<'a>),
    /// Seconds of the Unix epoch.
    Timestamp(u64),
    Table(Table<'a>),
    Void,
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Any integer, whatever its width on the wire.
    pub fn as_integer(&self) -> Option<i64> {
        Some(match *self {
            Value::I8(value) => i64::from(value),
            Value::U8(value) => i64::from(value),
            Value::I16(value) => i64::from(value),
            Value::U16(value) => i64::from(value),
            Value::I32(value) => i64::from(value),
            Value::U32(value) => i64::from(value),
            Value::I64(value) => value,
            _ => return None,
        })
    }

    /// A long string that is UTF-8.
    pub fn as_text(&self) -> Option<&'a str> {
        match *self {
            Value::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Appends type octet and value.
    pub fn write(&self, out: &mut BytesMut) {
        match *self {
            Value::Bool(value) => tagged(out, b't').put_u8(u8::from(value)),
            Value::I8(value) => tagged(out, b'b').put_i8(value),
            Value::U8(value) => tagged(out, b'B').put_u8(value),
            Value::I16(value) => tagged(out, b's').put_i16(value),
            Value::U16(value) => tagged(out, b'u').put_u16(value),
            Value::I32(value) => tagged(out, b'I').put_i32(value),
            Value::U32(value) => tagged(out, b'i').put_u32(value),
            Value::I64(value) => tagged(out, b'l').put_i64(value),
            Value::F32(value) => tagged(out, b'f').put_f32(value),
            Value::F64(value) => tagged(out, b'd').put_f64(value),
            Value::Decimal { scale, value } => {
                tagged(out, b'D').put_u8(scale);
                out.put_i32(value);
            }
            Value::Text(bytes) => put_long_bytes(tagged(out, b'S'), bytes),
            Value::Array(array) => put_long_bytes(tagged(out, b'A'), array.bytes),
            Value::Timestamp(seconds) => tagged(out, b'T').put_u64(seconds),
            Value::Table(table) => table.write(tagged(out, b'F')),
            Value::Void => out.put_u8(b'V'),
            Value::Bytes(bytes) => put_long_bytes(tagged(out, b'x'), bytes),
        }
    }
}

fn tagged(out: &mut BytesMut, tag: u8) -> &mut BytesMut {
    out.put_u8(tag);
    out
}

/// A checked field table, in wire form without its length.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Table<'a> {
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    /// No entries.
    pub const EMPTY: Table<'static> = Table { bytes: &[] };

    /// Reads the table of a method: its keys are names.
    pub(crate) fn read(input: &'a [u8]) -> Parsed<'a, Table<'a>> {
        Table::read_with(input, Keys::Text)
    }

    /// Reads the headers of a message: their keys may be any bytes.
    pub(crate) fn read_headers(input: &'a [u8]) -> Parsed<'a, Table<'a>> {
        Table::read_with(input, Keys::Bytes)
    }

    fn read_with(input: &'a [u8], keys: Keys) -> Parsed<'a, Table<'a>> {
        let (input, bytes) = long_bytes(input)?;
        match Walk::new(keys).table(bytes, TABLE_DEPTH_MAX) {
            Ok(()) => Ok((input, Table { bytes })),
            Err(reason) => fail(reason),
        }
    }

    /// Takes a table without its length prefix, after one walk over all of it.
    pub fn check(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Walk::new(Keys::Text).table(bytes, TABLE_DEPTH_MAX)?;
        Ok(Table { bytes })
    }

    /// The table's bytes, without their length.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Entries in wire order. Those whose key is not UTF-8, as headers may have them, are left out.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            loop {
                let (after, (key, value)) = entry(rest).ok()?;
                rest = after;
                if let Some(key) = key.as_text() {
                    return Some((key, value));
                }
            }
        })
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The bytes of all other entries, as they came.
    pub(crate) fn without(&self, is_left_out: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let (mut kept, mut rest) = (Vec::with_capacity(self.bytes.len()), self.bytes);
        while let Ok((after, (key, _))) = entry(rest) {
            if !is_left_out(key.as_bytes()) {
                kept.extend_from_slice(rest.get(..rest.len() - after.len()).unwrap_or_default());
            }
            rest = after;
        }
        kept
    }

    pub(crate) fn write(&self, out: &mut BytesMut) {
        put_long_bytes(out, self.bytes);
    }
}

/// A checked array, in wire form without its length.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Array<'a> {
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Values in wire order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (after, found) = value(rest).ok()?;
            rest = after;
            Some(found)
        })
    }
}

fn entry(input: &[u8]) -> Parsed<'_, (ShortBytes<'_>, Value<'_>)> {
    let (input, key) = short_bytes(input)?;
    let (input, value) = value(input)?;
    Ok((input, (key, value)))
}

/// Reads one value; what is inside a table or an array is not looked at.
fn value(input: &[u8]) -> Parsed<'_, Value<'_>> {
    let (input, tag) = octet(input)?;
    Ok(match tag {
        b't' => number::u8(input).map(|(rest, value)| (rest, Value::Bool(value != 0)))?,
        b'b' => number::i8(input).map(|(rest, value)| (rest, Value::I8(value)))?,
        b'B' => number::u8(input).map(|(rest, value)| (rest, Value::U8(value)))?,
        b's' | b'U' => number::be_i16(input).map(|(rest, value)| (rest, Value::I16(value)))?,
        b'u' => number::be_u16(input).map(|(rest, value)| (rest, Value::U16(value)))?,
        b'I' => number::be_i32(input).map(|(rest, value)| (rest, Value::I32(value)))?,
        b'i' => number::be_u32(input).map(|(rest, value)| (rest, Value::U32(value)))?,
        b'l' | b'L' => number::be_i64(input).map(|(rest, value)| (rest, Value::I64(value)))?,
        b'f' => number::be_f32(input).map(|(rest, value)| (rest, Value::F32(value)))?,
        b'd' => number::be_f64(input).map(|(rest, value)| (rest, Value::F64(value)))?,
        b'D' => {
            let (rest, scale) = octet(input)?;
            let (rest, value) = number::be_i32(rest)?;
            (rest, Value::Decimal { scale, value })
        }
        b'S' => long_bytes(input).map(|(rest, bytes)| (rest, Value::Text(bytes)))?,
        b'A' => long_bytes(input).map(|(rest, bytes)| (rest, Value::Array(Array { bytes })))?,
        b'T' => number::be_u64(input).map(|(rest, value)| (rest, Value::Timestamp(value)))?,
        b'F' => long_bytes(input).map(|(rest, bytes)| (rest, Value::Table(Table { bytes })))?,
        b'V' | 0 => (input, Value::Void),
        b'x' => long_bytes(input).map(|(rest, bytes)| (rest, Value::Bytes(bytes)))?,
        other => return fail(Malformed::UnknownTag(other)),
    })
}

/// What the keys of a table may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    Text,
    Bytes,
}

/// One walk over everything inside a table. `depth` bounds the recursion.
struct Walk {
    keys: Keys,
    entries_left: usize,
}

impl Walk {
    fn new(keys: Keys) -> Self {
        Walk { keys, entries_left: TABLE_ENTRIES_MAX }
    }

    fn table(&mut self, mut bytes: &[u8], depth: usize) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            let (rest, key) = short_bytes(bytes).map_err(reason)?;
            if self.keys == Keys::Text && key.as_text().is_none() {
                return Err(Malformed::NotUtf8);
            }
            bytes = self.value(rest, depth)?;
        }
        Ok(())
    }

    fn array(&mut self, mut bytes: &[u8], depth: usize) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            bytes = self.value(bytes, depth)?;
        }
        Ok(())
    }

    /// Checks one value with everything inside it; returns what follows.
    fn value<'a>(&mut self, bytes: &'a [u8], depth: usize) -> Result<&'a [u8], Malformed> {
        let too_many = Malformed::TooMany { max: TABLE_ENTRIES_MAX };
        self.entries_left = self.entries_left.checked_sub(1).ok_or(too_many)?;
        let (rest, found) = value(bytes).map_err(reason)?;
        let deeper = || depth.checked_sub(1).ok_or(Malformed::TooDeep { max: TABLE_DEPTH_MAX });
        match found {
            Value::Table(table) => self.table(table.bytes, deeper()?)?,
            Value::Array(array) => self.array(array.bytes, deeper()?)?,
            _ => {}
        }
        Ok(rest)
    }
}

/// A table or array under construction. The server's own tables use only the types that every client reads:
/// t, S, I, l, d, T, F, A, V.
#[derive(Clone, Debug, Default)]
pub struct TableBuffer {
    bytes: BytesMut,
}

impl TableBuffer {
    /// Appends an entry. Keys longer than a short string are cut.
    pub fn put(&mut self, key: &str, value: Value<'_>) -> &mut Self {
        put_short_text(&mut self.bytes, key);
        value.write(&mut self.bytes);
        self
    }

    /// Appends a text.
    pub fn put_text(&mut self, key: &str, text: &str) -> &mut Self {
        self.put(key, Value::Text(text.as_bytes()))
    }

    /// The table so far.
    pub fn as_table(&self) -> Table<'_> {
        Table { bytes: &self.bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl From<Vec<u8>> for TableBuffer {
    /// Goes on behind entries in wire form.
    fn from(entries: Vec<u8>) -> Self {
        TableBuffer { bytes: BytesMut::from(&*entries) }
    }
}

/// An array under construction.
#[derive(Clone, Debug, Default)]
pub struct ArrayBuffer {
    bytes: BytesMut,
}

impl ArrayBuffer {
    pub fn push(&mut self, value: Value<'_>) {
        value.write(&mut self.bytes);
    }

    /// The array so far.
    pub fn as_array(&self) -> Array<'_> {
        Array { bytes: &self.bytes }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
