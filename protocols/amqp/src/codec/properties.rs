//! The properties of class basic: read on demand from their raw bytes, written when the server makes them itself.
//!
//! Reading and writing again would change integer widths in headers, so a client's own properties are forwarded as
//! bytes and only looked at here.

use bytes::{BufMut, BytesMut};

use super::primitive::*;
use super::table::{Table, TableBuffer};

/// Properties of a message. Absent ones are `None`; so are texts that are not UTF-8, which only the raw bytes keep,
/// but for those that must be right if they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BasicProperties<'a> {
    pub content_type: Option<&'a str>,
    pub content_encoding: Option<&'a str>,
    pub headers: Option<Table<'a>>,
    /// 2 = persistent; everything else is transient.
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<&'a str>,
    pub reply_to: Option<&'a str>,
    /// Time to live in milliseconds, as decimal text.
    pub expiration: Option<ShortBytes<'a>>,
    pub message_id: Option<&'a str>,
    /// Seconds of the Unix epoch.
    pub timestamp: Option<u64>,
    pub kind: Option<&'a str>,
    pub user_id: Option<ShortBytes<'a>>,
    pub app_id: Option<&'a str>,
    pub cluster_id: Option<&'a str>,
}

/// Flag of each property, the first in wire order highest (AMQP 0-9-1 section 4.2.6.1).
mod flag {
    pub const CONTENT_TYPE: u16 = 1 << 15;
    pub const CONTENT_ENCODING: u16 = 1 << 14;
    pub const HEADERS: u16 = 1 << 13;
    pub const DELIVERY_MODE: u16 = 1 << 12;
    pub const PRIORITY: u16 = 1 << 11;
    pub const CORRELATION_ID: u16 = 1 << 10;
    pub const REPLY_TO: u16 = 1 << 9;
    pub const EXPIRATION: u16 = 1 << 8;
    pub const MESSAGE_ID: u16 = 1 << 7;
    pub const TIMESTAMP: u16 = 1 << 6;
    pub const KIND: u16 = 1 << 5;
    pub const USER_ID: u16 = 1 << 4;
    pub const APP_ID: u16 = 1 << 3;
    pub const CLUSTER_ID: u16 = 1 << 2;
    /// No property of class basic has these; the lowest says that more flags follow.
    pub const UNKNOWN: u16 = 0b11;
}

/// Raw properties without one header; all else stays as it came. `None` where there are no headers.
pub(crate) fn without_header(raw: &[u8], name: &str) -> Option<BytesMut> {
    let (rest, (before, table)) = headers_in(raw).ok()?;
    let mut out = BytesMut::with_capacity(raw.len());
    out.extend_from_slice(raw.get(..before)?);
    put_long_bytes(&mut out, &table?.without(|key| key == name.as_bytes()));
    out.extend_from_slice(rest);
    Some(out)
}

/// Raw properties with other headers and without an expiry; all else stays as it came. `None` where they cannot be read.
pub(crate) fn with_headers(
    raw: &[u8],
    headers: impl FnOnce(Option<Table<'_>>) -> TableBuffer,
) -> Option<BytesMut> {
    let (rest, (before, table)) = headers_in(raw).ok()?;
    let (behind, (flags, until)) = around_expiration(raw, rest).ok()?;
    let mut out = BytesMut::with_capacity(raw.len() + 512);
    out.put_u16((flags | flag::HEADERS) & !flag::EXPIRATION);
    out.extend_from_slice(raw.get(2..before)?);
    headers(table).as_table().write(&mut out);
    out.extend_from_slice(rest.get(..rest.len() - until.len())?);
    out.extend_from_slice(behind);
    Some(out)
}

/// What follows the expiry in raw properties, of which the headers end before `rest`; with their flags, and what there
/// is from the expiry on.
fn around_expiration<'a>(raw: &'a [u8], rest: &'a [u8]) -> Parsed<'a, (u16, &'a [u8])> {
    let (_, flags) = short(raw)?;
    if flags & flag::UNKNOWN != 0 {
        return fail(Malformed::UnknownProperty);
    }
    let (input, _) = optional(flags, flag::DELIVERY_MODE, octet, rest)?;
    let (input, _) = optional(flags, flag::PRIORITY, octet, input)?;
    let (input, _) = optional(flags, flag::CORRELATION_ID, short_bytes, input)?;
    let (until, _) = optional(flags, flag::REPLY_TO, short_bytes, input)?;
    let (behind, _) = optional(flags, flag::EXPIRATION, short_bytes, until)?;
    Ok((behind, (flags, until)))
}

/// The headers in raw properties, with the number of bytes before them; what is left lies behind them.
fn headers_in(raw: &[u8]) -> Parsed<'_, (usize, Option<Table<'_>>)> {
    let (input, flags) = short(raw)?;
    let (input, _) = optional(flags, flag::CONTENT_TYPE, short_bytes, input)?;
    let (input, _) = optional(flags, flag::CONTENT_ENCODING, short_bytes, input)?;
    let (rest, headers) = optional(flags, flag::HEADERS, Table::read_headers, input)?;
    Ok((rest, (raw.len() - input.len(), headers)))
}

/// Reads a property when its flag is set.
fn optional<'a, T>(
    flags: u16,
    bit: u16,
    read: impl FnOnce(&'a [u8]) -> Parsed<'a, T>,
    input: &'a [u8],
) -> Parsed<'a, Option<T>> {
    if flags & bit == 0 {
        return Ok((input, None));
    }
    let (input, value) = read(input)?;
    Ok((input, Some(value)))
}

fn optional_text(flags: u16, bit: u16, input: &[u8]) -> Parsed<'_, Option<&str>> {
    let (input, bytes) = optional(flags, bit, short_bytes, input)?;
    Ok((input, bytes.and_then(ShortBytes::as_text)))
}

impl<'a> BasicProperties<'a> {
    /// Reads property flags and values.
    pub fn read(raw: &'a [u8]) -> Result<Self, Malformed> {
        whole(Self::parse(raw))
    }

    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (input, flags) = short(input)?;
        if flags & flag::UNKNOWN != 0 {
            return fail(Malformed::UnknownProperty);
        }
        let (input, content_type) = optional_text(flags, flag::CONTENT_TYPE, input)?;
        let (input, content_encoding) = optional_text(flags, flag::CONTENT_ENCODING, input)?;
        let (input, headers) = optional(flags, flag::HEADERS, Table::read_headers, input)?;
        let (input, delivery_mode) = optional(flags, flag::DELIVERY_MODE, octet, input)?;
        let (input, priority) = optional(flags, flag::PRIORITY, octet, input)?;
        let (input, correlation_id) = optional_text(flags, flag::CORRELATION_ID, input)?;
        let (input, reply_to) = optional_text(flags, flag::REPLY_TO, input)?;
        let (input, expiration) = optional(flags, flag::EXPIRATION, short_bytes, input)?;
        let (input, message_id) = optional_text(flags, flag::MESSAGE_ID, input)?;
        let (input, timestamp) = optional(flags, flag::TIMESTAMP, long_long, input)?;
        let (input, kind) = optional_text(flags, flag::KIND, input)?;
        let (input, user_id) = optional(flags, flag::USER_ID, short_bytes, input)?;
        let (input, app_id) = optional_text(flags, flag::APP_ID, input)?;
        let (input, cluster_id) = optional_text(flags, flag::CLUSTER_ID, input)?;
        let properties = BasicProperties {
            content_type,
            content_encoding,
            headers,
            delivery_mode,
            priority,
            correlation_id,
            reply_to,
            expiration,
            message_id,
            timestamp,
            kind,
            user_id,
            app_id,
            cluster_id,
        };
        Ok((input, properties))
    }

    /// Appends property flags and values.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_u16(self.flags());
        put_text(out, self.content_type);
        put_text(out, self.content_encoding);
        if let Some(headers) = self.headers {
            headers.write(out);
        }
        for value in [self.delivery_mode, self.priority].into_iter().flatten() {
            out.put_u8(value);
        }
        put_text(out, self.correlation_id);
        put_text(out, self.reply_to);
        put_bytes(out, self.expiration);
        put_text(out, self.message_id);
        if let Some(seconds) = self.timestamp {
            out.put_u64(seconds);
        }
        put_text(out, self.kind);
        put_bytes(out, self.user_id);
        put_text(out, self.app_id);
        put_text(out, self.cluster_id);
    }

    fn flags(&self) -> u16 {
        let bit = |present: bool, flag: u16| if present { flag } else { 0 };
        bit(self.content_type.is_some(), flag::CONTENT_TYPE)
            | bit(self.content_encoding.is_some(), flag::CONTENT_ENCODING)
            | bit(self.headers.is_some(), flag::HEADERS)
            | bit(self.delivery_mode.is_some(), flag::DELIVERY_MODE)
            | bit(self.priority.is_some(), flag::PRIORITY)
            | bit(self.correlation_id.is_some(), flag::CORRELATION_ID)
            | bit(self.reply_to.is_some(), flag::REPLY_TO)
            | bit(self.expiration.is_some(), flag::EXPIRATION)
            | bit(self.message_id.is_some(), flag::MESSAGE_ID)
            | bit(self.timestamp.is_some(), flag::TIMESTAMP)
            | bit(self.kind.is_some(), flag::KIND)
            | bit(self.user_id.is_some(), flag::USER_ID)
            | bit(self.app_id.is_some(), flag::APP_ID)
            | bit(self.cluster_id.is_some(), flag::CLUSTER_ID)
    }

    /// True for delivery mode 2: the message asks to survive a restart.
    pub fn is_persistent(&self) -> bool {
        self.delivery_mode == Some(2)
    }
}

fn put_text(out: &mut BytesMut, text: Option<&str>) {
    put_bytes(out, text.map(ShortBytes::from));
}

fn put_bytes(out: &mut BytesMut, bytes: Option<ShortBytes<'_>>) {
    if let Some(bytes) = bytes {
        put_short_bytes(out, bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::table::{TableBuffer, Value};
    use super::*;

    #[test]
    fn what_pika_sends_is_read() {
        // delivery_mode=2, content_type "text/plain", headers {"n": 1}
        let raw = b"\xb0\x00\x0atext/plain\x00\x00\x00\x07\x01nI\x00\x00\x00\x01\x02";
        let properties = BasicProperties::read(raw).unwrap();
        assert_eq!(properties.content_type, Some("text/plain"));
        assert!(properties.is_persistent());
        assert_eq!(properties.headers.unwrap().get("n"), Some(Value::I32(1)));
    }

    #[test]
    fn one_header_is_taken_out_and_the_rest_keeps_its_bytes() {
        // content_type "\xff", headers {"BCC": ["q"], "n": 1 of 16 bits, "\xfe": void}, delivery_mode 2
        let raw = b"\xb0\x00\x01\xff\x00\x00\x00\x17\x03BCCA\x00\x00\x00\x06S\x00\x00\x00\x01q\x01ns\x00\x01\x01\xfeV\x02";
        let left = without_header(raw, "BCC").unwrap();
        assert_eq!(left, &b"\xb0\x00\x01\xff\x00\x00\x00\x08\x01ns\x00\x01\x01\xfeV\x02"[..]);
        assert_eq!(without_header(&left, "BCC").unwrap(), left);
        assert_eq!(without_header(b"\x00\x00", "BCC"), None);
    }

    #[test]
    fn flags_beyond_class_basic_and_left_over_bytes_are_malformed() {
        assert_eq!(BasicProperties::read(b"\x00\x01\x00\x00"), Err(Malformed::UnknownProperty));
        assert_eq!(BasicProperties::read(b"\x00\x00\x00"), Err(Malformed::LeftOver));
        assert_eq!(BasicProperties::read(b"\x80\x00\x05ab"), Err(Malformed::Short));
        assert_eq!(BasicProperties::read(b""), Err(Malformed::Short));
    }

    #[test]
    fn texts_that_are_none_are_left_out_and_what_follows_is_read() {
        // content_type and expiration that are not UTF-8, a header with such a key before another, app_id "a"
        let raw = b"\xa1\x08\x01\xff\x00\x00\x00\x06\x01\xfeV\x01nV\x02\x31\xff\x01a";
        let properties = BasicProperties::read(raw).unwrap();
        assert_eq!((properties.content_type, properties.app_id), (None, Some("a")));
        assert_eq!(properties.expiration, Some(ShortBytes::new(b"1\xff")));
        let headers: Vec<_> = properties.headers.unwrap().iter().collect();
        assert_eq!(headers, [("n", Value::Void)]);
    }

    prop_compose! {
        fn texts()(texts in prop::collection::vec(prop::option::of("\\PC{0,20}"), 9)) -> Vec<Option<String>> { texts }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            texts in texts(), mode: Option<u8>, priority: Option<u8>, timestamp: Option<u64>, header: Option<i64>,
        ) {
            let mut headers = TableBuffer::default();
            if let Some(value) = header {
                headers.put("n", Value::I64(value));
            }
            let text = |at: usize| texts[at].as_deref();
            let properties = BasicProperties {
                content_type: text(0), content_encoding: text(1), headers: header.map(|_| headers.as_table()),
                delivery_mode: mode, priority, correlation_id: text(2), reply_to: text(3),
                expiration: text(4).map(ShortBytes::from),
                message_id: text(5), timestamp, kind: text(6), user_id: text(7).map(ShortBytes::from), app_id: text(8), cluster_id: text(0),
            };
            let mut out = BytesMut::new();
            properties.write(&mut out);
            prop_assert_eq!(BasicProperties::read(&out), Ok(properties));
        }

        #[test]
        fn random_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = BasicProperties::read(&raw);
        }
    }
}
