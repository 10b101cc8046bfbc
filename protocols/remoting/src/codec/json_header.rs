//! The JSON header, scanned in place: ranges are recorded, escapes are undone where they stand.
//!
//! An unescaped string is never longer than its escaped form, so nothing is allocated. Liberal as the
//! reference broker: any key order, numbers, booleans and null as values, unknown keys, white space around.
//! It is not a JSON validator: what is skipped is only bracketed, not checked.

use super::fields::Span;
use super::frame::{FrameError, replace_malformed, to_usize};
use super::header::{Header, Language};
use super::limits::JSON_NESTING_COUNT_MAX;

/// Fills `header` from `bytes`, which hold the text with escapes undone afterwards.
pub(super) fn parse(bytes: &mut [u8], header: &mut Header) -> Result<(), FrameError> {
    replace_malformed(bytes);
    let mut scanner = Scanner { bytes, at: 0 };
    let mut has_code = false;
    scanner.space();
    scanner.expect(b'{', "an object was expected")?;
    let mut more = !scanner.closes(b'}');
    while more {
        let key = scanner.key()?;
        match key.of(scanner.bytes) {
            b"code" => {
                header.code = scanner.integer()?;
                has_code = true;
            }
            b"opaque" => header.opaque = scanner.integer()?,
            b"flag" => header.flag = scanner.integer()?,
            b"version" => header.version = scanner.integer()?,
            b"language" => header.language = scanner.language()?,
            b"remark" => header.remark = scanner.value()?,
            b"extFields" => scanner.ext_fields(header)?,
            _ => scanner.skip()?,
        }
        more = scanner.next_member()?;
    }
    scanner.space();
    if scanner.peek().is_some() {
        return Err(scanner.malformed("text after the end of the header"));
    }
    if !has_code {
        return Err(scanner.malformed("the header has no code"));
    }
    Ok(())
}

struct Scanner<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Scanner<'_> {
    fn ext_fields(&mut self, header: &mut Header) -> Result<(), FrameError> {
        if self.peek() != Some(b'{') {
            // Some clients write `null`; whatever else it is, there are no fields in it.
            return self.skip();
        }
        self.at += 1;
        let mut more = !self.closes(b'}');
        while more {
            // Strings without white space, which is all that most clients write, are one step each.
            if let Some((key, value)) = self.plain_member() {
                if !header.entries.push(key, value) {
                    return Err(FrameError::TooManyFields);
                }
                more = self.next_member()?;
                continue;
            }
            let key = self.key()?;
            if let Some(value) = self.value()?
                && !header.entries.push(key, value)
            {
                return Err(FrameError::TooManyFields);
            }
            more = self.next_member()?;
        }
        Ok(())
    }

    /// `"key":"value"` without white space or escapes; None, with nothing taken, for anything else.
    fn plain_member(&mut self) -> Option<(Span, Span)> {
        let text = self.bytes.get(self.at..)?;
        let key_bytes = string_end(text.get(1..)?)?;
        let (key, behind) = text.split_at_checked(key_bytes + 1)?;
        let value = behind.strip_prefix(b"\":\"").filter(|_| key.first() == Some(&b'"'))?;
        let value_bytes = string_end(value)?;
        if value.get(value_bytes) != Some(&b'"') {
            return None;
        }
        let key_at = self.at + 1;
        let value_at = key_at + key_bytes + 3;
        self.at = value_at + value_bytes + 1;
        Some((Span::new(key_at, key_at + key_bytes)?, Span::new(value_at, value_at + value_bytes)?))
    }

    /// A value as text: strings unescaped, anything else as written. None for `null`.
    fn value(&mut self) -> Result<Option<Span>, FrameError> {
        if self.peek() == Some(b'"') {
            return self.string().map(Some);
        }
        let start = self.at;
        self.skip()?;
        let span = self.span(start, self.at)?;
        Ok((span.of(self.bytes) != b"null").then_some(span))
    }

    fn integer(&mut self) -> Result<i32, FrameError> {
        let start = self.at;
        let Some(span) = self.value()? else { return Ok(0) };
        parse_i32(span.of(self.bytes))
            .ok_or(FrameError::Malformed { at: start, what: "a 32-bit integer was expected" })
    }

    fn language(&mut self) -> Result<Language, FrameError> {
        let Some(span) = self.value()? else { return Ok(Language::OTHER) };
        let value = span.of(self.bytes);
        let number = parse_i32(value).and_then(|number| u8::try_from(number).ok());
        Ok(number.map_or_else(|| Language::from_name(value), Language))
    }

    /// A key and its colon; stops at the first byte of the value.
    fn key(&mut self) -> Result<Span, FrameError> {
        let key = self.string()?;
        self.space();
        self.expect(b':', "a colon was expected")?;
        self.space();
        Ok(key)
    }

    /// After a value: true at the next key, false past the end of the object.
    fn next_member(&mut self) -> Result<bool, FrameError> {
        if let Some([b',', b'"']) = self.bytes.get(self.at..self.at + 2) {
            self.at += 1;
            return Ok(true);
        }
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            Some(b'}') => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.malformed("a comma or a closing brace was expected")),
        }
    }

    /// Past an opening bracket: takes the closing one if it follows at once.
    fn closes(&mut self, bracket: u8) -> bool {
        self.space();
        let closed = self.peek() == Some(bracket);
        self.at += usize::from(closed);
        closed
    }

    fn string(&mut self) -> Result<Span, FrameError> {
        self.expect(b'"', "a string was expected")?;
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let Some(length) = string_end(rest) else {
            return Err(self.malformed("the string has no end"));
        };
        self.at = start + length;
        if rest.get(length) == Some(&b'\\') {
            let end = self.unescape()?;
            return self.span(start, end);
        }
        self.at += 1;
        self.span(start, self.at - 1)
    }

    /// At the first backslash of a string: moves the rest of it together and stops past the closing quote.
    /// Returns where the text now ends; the bytes between there and the quote are left over.
    fn unescape(&mut self) -> Result<usize, FrameError> {
        let mut end = self.at;
        loop {
            let (character, taken) = self.escape()?;
            end = self.put(end, character);
            self.at += taken;
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(length) = string_end(rest) else {
                return Err(self.malformed("the string has no end"));
            };
            let closed = rest.get(length) == Some(&b'"');
            self.bytes.copy_within(self.at..self.at + length, end);
            end += length;
            self.at += length;
            if closed {
                self.at += 1;
                return Ok(end);
            }
        }
    }

    /// The character an escape at the cursor stands for, and the length of the escape.
    fn escape(&self) -> Result<(char, usize), FrameError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        // Separators of the property string are by far the most common escapes.
        if let [_, b'u', b'0', b'0', b'0', digit @ b'0'..=b'9', ..] = rest {
            return Ok((char::from(digit - b'0'), 6));
        }
        let character = match rest.get(1) {
            Some(b'u') => return self.unicode_escape(rest),
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(&other @ (b'"' | b'\\' | b'/' | b'\'')) => char::from(other),
            _ => return Err(self.malformed("an unknown escape")),
        };
        Ok((character, 2))
    }

    /// `\uXXXX`, or two of them for a character outside the basic plane. A lone surrogate is replaced.
    fn unicode_escape(&self, rest: &[u8]) -> Result<(char, usize), FrameError> {
        let unit = hex_unit(rest.get(2..6)).ok_or_else(|| self.malformed("four hex digits were expected"))?;
        if let Some(character) = char::from_u32(unit) {
            return Ok((character, 6));
        }
        let low = match rest.get(6..8) {
            Some(b"\\u") => hex_unit(rest.get(8..12)),
            _ => None,
        };
        match low {
            Some(low @ 0xDC00..=0xDFFF) if unit < 0xDC00 => {
                let scalar = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                Ok((char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER), 12))
            }
            _ => Ok((char::REPLACEMENT_CHARACTER, 6)),
        }
    }

    /// Writes `character` at `end`, which lies at or before the escape that it came from.
    fn put(&mut self, end: usize, character: char) -> usize {
        let mut scratch = [0; 4];
        let encoded = character.encode_utf8(&mut scratch).as_bytes();
        for (offset, byte) in encoded.iter().enumerate() {
            if let Some(slot) = self.bytes.get_mut(end + offset) {
                *slot = *byte;
            }
        }
        end + encoded.len()
    }

    /// Passes over one value of any kind without looking into it.
    fn skip(&mut self) -> Result<(), FrameError> {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(b'"') => self.skip_string()?,
                Some(b'{' | b'[') => {
                    depth += 1;
                    if depth > JSON_NESTING_COUNT_MAX {
                        return Err(self.malformed("values are nested too deeply"));
                    }
                    self.at += 1;
                    continue;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':' | b' ' | b'\t' | b'\r' | b'\n') if depth > 0 => self.at += 1,
                Some(byte) if is_scalar(byte) => self.skip_scalar(),
                _ => return Err(self.malformed("a value was expected")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn skip_string(&mut self) -> Result<(), FrameError> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(length) = string_end(rest) else {
                return Err(self.malformed("the string has no end"));
            };
            if rest.get(length) == Some(&b'"') {
                self.at += length + 1;
                return Ok(());
            }
            self.at = (self.at + length + 2).min(self.bytes.len());
        }
    }

    fn skip_scalar(&mut self) {
        while self.peek().is_some_and(is_scalar) {
            self.at += 1;
        }
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), FrameError> {
        if self.peek() != Some(byte) {
            return Err(self.malformed(what));
        }
        self.at += 1;
        Ok(())
    }

    fn span(&self, start: usize, end: usize) -> Result<Span, FrameError> {
        Span::new(start, end).ok_or_else(|| self.malformed("a value lies too far out"))
    }

    fn malformed(&self, what: &'static str) -> FrameError {
        FrameError::Malformed { at: self.at, what }
    }
}

/// Where the first quote or backslash is, looking at eight bytes at a time: most strings are shorter than that.
fn string_end(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Marks the zero bytes of a word; marks above the lowest one may be wrong.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let mut at = 0;
    let mut rest = text;
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let marks = zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5C));
        if marks != 0 {
            return Some(at + to_usize(marks.trailing_zeros() / 8));
        }
        at += 8;
        rest = behind;
    }
    let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(at + length)
}

/// Bytes of numbers, `true`, `false` and `null`.
fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// Decimal digits with an optional sign; None when it is anything else or does not fit.
pub(super) fn parse_i32(text: &[u8]) -> Option<i32> {
    parse_i64(text).and_then(|number| i32::try_from(number).ok())
}

/// As [`parse_i32`], 64 bits wide.
pub(super) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number = 0_i64;
    for digit in digits {
        let value = i64::from(digit.wrapping_sub(b'0'));
        if value > 9 {
            return None;
        }
        // Downwards, so that the lowest number fits.
        number = number.checked_mul(10)?.checked_sub(value)?;
    }
    if negative { Some(number) } else { number.checked_neg() }
}

fn hex_unit(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests;
