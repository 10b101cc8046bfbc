//! Writing JSON strings and numbers into a buffer.
//!
//! Reading JSON lives in `json_header` (frames) and in serde (bodies).

use bytes::{BufMut, BytesMut};

/// A quoted string with what JSON demands escaped and nothing else; other text stays raw UTF-8.
pub(super) fn put_string(out: &mut BytesMut, text: &str) {
    out.put_u8(b'"');
    put_escaped(out, text.as_bytes());
    out.put_u8(b'"');
}

pub(super) fn put_number(out: &mut BytesMut, number: i64) {
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `,"name":` before a member's value; the comma is left out for the first one.
pub(super) fn put_name(out: &mut BytesMut, first: bool, name: &str) {
    if !first {
        out.put_u8(b',');
    }
    put_string(out, name);
    out.put_u8(b':');
}

/// The text of a string without its quotes: runs that need no escape are copied whole.
fn put_escaped(out: &mut BytesMut, mut text: &[u8]) {
    // Without an early exit, so that it is done many bytes at a time.
    if !text.iter().fold(false, |found, byte| found | needs_escape(*byte)) {
        return out.put_slice(text);
    }
    while let Some(length) = text.iter().position(|byte| needs_escape(*byte)) {
        let (run, rest) = text.split_at_checked(length).unwrap_or((text, &[]));
        out.put_slice(run);
        let Some((byte, rest)) = rest.split_first() else { return };
        put_escape(out, *byte);
        text = rest;
    }
    out.put_slice(text);
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn put_escape(out: &mut BytesMut, byte: u8) {
    match byte {
        b'"' => out.put_slice(b"\\\""),
        b'\\' => out.put_slice(b"\\\\"),
        b'\n' => out.put_slice(b"\\n"),
        b'\r' => out.put_slice(b"\\r"),
        b'\t' => out.put_slice(b"\\t"),
        other => {
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) };
            out.put_slice(&[b'\\', b'u', b'0', b'0', digit(other >> 4), digit(other & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_json_demands_is_escaped() {
        for (text, expected) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("a\u{1}b\u{2}", r#""a\u0001b\u0002""#),
            ("say \"hi\" \\ now\n\t\r\u{1f}", r#""say \"hi\" \\ now\n\t\r\u001f""#),
            ("grün 雪 \u{1f600}", "\"grün 雪 \u{1f600}\""),
        ] {
            let mut out = BytesMut::new();
            put_string(&mut out, text);
            assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
