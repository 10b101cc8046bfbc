//! The compact ROCKETMQ header: fixed numbers, remark, extension fields, all with explicit lengths.
//!
//! Codes above 32767 do not fit its 16-bit code; the truncated forms of the POP family are mapped back.

use bytes::{BufMut, BytesMut};

use super::fields::Span;
use super::frame::{FrameError, replace_malformed, to_usize};
use super::header::{Header, Language};
use super::request_code as request;

/// Full codes of the requests whose code was cut to 16 bits.
const CUT_CODES: [i32; 8] = [
    request::POP_MESSAGE,
    request::ACK_MESSAGE,
    request::PEEK_MESSAGE,
    request::CHANGE_MESSAGE_INVISIBLETIME,
    request::NOTIFICATION,
    request::POLLING_INFO,
    request::BATCH_ACK_MESSAGE,
    request::POP_ROLLBACK,
];

/// Fills `header` from `bytes`; spans point into them.
pub(super) fn parse(bytes: &mut [u8], header: &mut Header) -> Result<(), FrameError> {
    let bytes_max = bytes.len();
    let mut cursor = Cursor { bytes, at: 0 };
    let code = u16::from_be_bytes(cursor.take()?);
    let [language] = cursor.take()?;
    header.language = Language(language);
    header.version = i32::from(i16::from_be_bytes(cursor.take()?));
    header.opaque = i32::from_be_bytes(cursor.take()?);
    header.flag = i32::from_be_bytes(cursor.take()?);
    header.code = if header.is_response() { i32::from(code) } else { whole_code(code) };
    let remark_bytes = cursor.long_length()?;
    if remark_bytes > 0 {
        header.remark = Some(cursor.text(remark_bytes)?);
    }
    let fields_bytes = cursor.long_length()?;
    if fields_bytes > bytes_max.saturating_sub(cursor.at) {
        return Err(cursor.malformed("the extension fields end outside the header"));
    }
    let end = cursor.at + fields_bytes;
    while cursor.at < end {
        let key_bytes = usize::from(u16::from_be_bytes(cursor.take()?));
        let key = cursor.text(key_bytes)?;
        let value_bytes = cursor.long_length()?;
        let value = cursor.text(value_bytes)?;
        if !header.entries.push(key, value) {
            return Err(FrameError::TooManyFields);
        }
    }
    if cursor.at > end {
        return Err(cursor.malformed("an extension field is longer than the fields together"));
    }
    Ok(())
}

/// The request code that `code` is, or was before it was cut to 16 bits.
fn whole_code(code: u16) -> i32 {
    let code = i32::from(code);
    CUT_CODES.into_iter().find(|whole| whole & 0xFFFF == code).unwrap_or(code)
}

struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let chunk = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let chunk = *chunk.ok_or_else(|| self.malformed("the header ends too early"))?;
        self.at += N;
        Ok(chunk)
    }

    /// A 32-bit length; lengths that would be negative in Java are over any limit here.
    fn long_length(&mut self) -> Result<usize, FrameError> {
        Ok(to_usize(u32::from_be_bytes(self.take()?)))
    }

    fn text(&mut self, length: usize) -> Result<Span, FrameError> {
        let end = self.at.saturating_add(length);
        match self.bytes.get_mut(self.at..end) {
            Some(bytes) => replace_malformed(bytes),
            None => return Err(self.malformed("a text ends outside the header")),
        }
        let span = Span::new(self.at, end).ok_or_else(|| self.malformed("a text lies too far out"))?;
        self.at = end;
        Ok(span)
    }

    fn malformed(&self, what: &'static str) -> FrameError {
        FrameError::Malformed { at: self.at, what }
    }
}

/// One extension field; keys longer than 32767 bytes don't exist among ours.
pub(super) fn put_field(out: &mut BytesMut, key: &[u8], value: &[u8]) {
    out.put_u16(u16::try_from(key.len()).unwrap_or(u16::MAX));
    out.put_slice(key);
    out.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
    out.put_slice(value);
}

#[cfg(test)]
mod tests {
    use super::super::header::Serializer;
    use super::*;

    #[test]
    fn cut_codes_of_the_pop_family_come_back_whole() {
        for (cut, whole) in [
            (3442, 200_050),
            (3443, 200_051),
            (3444, 200_052),
            (3445, 200_053),
            (3447, 200_055),
            (3543, 200_151),
        ] {
            assert_eq!(whole_code(cut), whole);
        }
        assert_eq!(whole_code(310), 310);
    }

    #[test]
    fn text_that_is_not_utf8_is_read_with_replacements() {
        let fixed = [0, 11, 0, 2, 1, 0, 0, 0, 7, 0, 0, 0, 0];
        let fields = [&[0, 0, 0, 0, 0, 0, 0, 10, 0, 1, b'k', 0, 0, 0, 3][..], &[b'a', 0xC4, b'b']].concat();
        let mut bytes = [&fixed[..], &fields].concat();
        let mut header = Header::empty(Serializer::Binary);
        parse(&mut bytes, &mut header).unwrap();
        header.raw = bytes.into();
        assert_eq!(header.field("k"), Some("a?b"));
    }

    #[test]
    fn lengths_outside_the_header_are_refused() {
        let fixed = [0, 11, 0, 2, 1, 0, 0, 0, 7, 0, 0, 0, 0];
        let cases: [(&[u8], &str); 5] = [
            (&[], "ends too early"),
            (&[255, 255, 255, 255], "a text ends outside"),
            (&[0, 0, 0, 0, 0, 0, 0, 9], "fields end outside"),
            (&[0, 0, 0, 0, 0, 0, 0, 8, 0, 1, b'k', 0, 0, 0, 9, b'v'], "a text ends outside"),
            (&[0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, b'v'], "longer than the fields together"),
        ];
        for (tail, expected) in cases {
            let mut bytes = [&fixed[..], tail].concat();
            let error = parse(&mut bytes, &mut Header::empty(Serializer::Binary)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} is not about {expected}");
        }
    }
}
