//! Frames of RocketMQ remoting: `u32 total, u32 header length (top byte: serializer), header, body`.
//! Requests are templates with the opaque at a fixed place; of an answer only the few fields a load needs are looked
//! for, not a whole JSON header.
use std::io::{Read, Write};
use std::net::TcpStream;

use memchr::memmem;

use crate::conversation::Failure;

/// Opaques of one width, so that a template can be patched in place.
pub const OPAQUE_FIRST: u32 = 1_000_000;
pub const OPAQUE_LAST: u32 = 9_999_999;
const OPAQUE_DIGITS: usize = 7;
const LENGTH_BYTES: usize = 4;
const FRAME_BYTES_MAX: usize = 16 << 20;
const HEADER_BYTES_MASK: u32 = 0x00FF_FFFF;
const SUCCESS: i64 = 0;

/// One request whose header is encoded and whose opaque is patched for every use.
#[derive(Clone)]
pub struct Template {
    bytes: Vec<u8>,
    opaque_at: usize,
}

impl Template {
    /// `ext_fields` is the JSON object that `code` wants; `body_bytes` follow the header.
    pub fn new(code: u16, ext_fields: &str, body_bytes: usize) -> Self {
        let mut header =
            format!(r#"{{"code":{code},"extFields":{ext_fields},"flag":0,"language":"JAVA","opaque":"#);
        let opaque_in_header = header.len();
        header.push_str(&OPAQUE_FIRST.to_string());
        header.push_str(r#","serializeTypeCurrentRPC":"JSON","version":513}"#);
        let total = LENGTH_BYTES + header.len() + body_bytes;
        let mut bytes = Vec::with_capacity(2 * LENGTH_BYTES + header.len());
        bytes.extend_from_slice(&u32::try_from(total).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(header.as_bytes());
        Self { bytes, opaque_at: 2 * LENGTH_BYTES + opaque_in_header }
    }

    /// Where `text` begins in the encoded frame, for a caller that patches it.
    pub fn find(&self, text: &str) -> Option<usize> {
        memmem::find(&self.bytes, text.as_bytes())
    }

    /// Appends the frame's head with this opaque and gives where it begins in `out`; the body is the caller's.
    pub fn write(&self, out: &mut Vec<u8>, opaque: u32) -> usize {
        let begin = out.len();
        out.extend_from_slice(&self.bytes);
        patch_decimal(&mut out[begin + self.opaque_at..][..OPAQUE_DIGITS], u64::from(opaque));
        begin
    }
}

/// Writes `value` over `digits`, right-aligned with zeros.
pub fn patch_decimal(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// The parts of an answer a load looks at.
pub struct Answer<'a> {
    pub code: i64,
    pub opaque: i64,
    pub header: &'a [u8],
    pub body: &'a [u8],
    /// Bytes of the whole frame.
    pub bytes: usize,
}

impl Answer<'_> {
    pub fn check(&self) -> Result<(), Failure> {
        if self.code == SUCCESS { Ok(()) } else { Err(self.refusal()) }
    }

    /// The answer's own words.
    pub fn refusal(&self) -> Failure {
        Failure::Refused(String::from_utf8_lossy(self.header).into_owned())
    }

    /// A number that the server wrote as a JSON string or as a JSON number.
    pub fn number(&self, key: &str) -> Option<i64> {
        let quoted = format!("\"{key}\":");
        number_after(self.header, memmem::find(self.header, quoted.as_bytes())? + quoted.len())
    }
}

/// Finds the keys of an answer without building a searcher for every frame.
pub struct Scanner {
    code: memmem::Finder<'static>,
    opaque: memmem::Finder<'static>,
}

impl Scanner {
    pub fn new() -> Self {
        Self { code: memmem::Finder::new(b"\"code\":"), opaque: memmem::Finder::new(b"\"opaque\":") }
    }

    /// The first frame of `input`; `None` while it is incomplete.
    pub fn next<'a>(&self, input: &'a [u8]) -> Result<Option<Answer<'a>>, Failure> {
        let Some(total) = read_u32(input, 0) else { return Ok(None) };
        let total = total as usize;
        if !(LENGTH_BYTES..=FRAME_BYTES_MAX).contains(&total) {
            return Err(Failure::Malformed(format!("frame of {total} bytes")));
        }
        let Some(frame) = input.get(LENGTH_BYTES..LENGTH_BYTES + total) else { return Ok(None) };
        let header_bytes = (read_u32(frame, 0).unwrap_or(0) & HEADER_BYTES_MASK) as usize;
        let (header, body) = frame[LENGTH_BYTES..].split_at_checked(header_bytes).ok_or_else(|| {
            Failure::Malformed(format!("header of {header_bytes} in frame of {total} bytes"))
        })?;
        let find =
            |finder: &memmem::Finder<'_>, key_bytes| number_after(header, finder.find(header)? + key_bytes);
        let code = find(&self.code, br#""code":"#.len());
        let opaque = find(&self.opaque, br#""opaque":"#.len());
        match (code, opaque) {
            (Some(code), Some(opaque)) => {
                Ok(Some(Answer { code, opaque, header, body, bytes: LENGTH_BYTES + total }))
            }
            _ => Err(Failure::Malformed(String::from_utf8_lossy(header).into_owned())),
        }
    }
}

pub fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn number_after(header: &[u8], at: usize) -> Option<i64> {
    let text = header.get(at..)?;
    let text = text.strip_prefix(b"\"").unwrap_or(text);
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
    let count = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
    let value: i64 = std::str::from_utf8(&digits[..count]).ok()?.parse().ok()?;
    Some(if negative { -value } else { value })
}

/// Sends one request on a connection that is not under load yet and waits for its answer.
pub fn ask(stream: &mut TcpStream, template: &Template, body: &[u8]) -> Result<(i64, Vec<u8>), Failure> {
    let mut out = Vec::new();
    template.write(&mut out, OPAQUE_FIRST);
    out.extend_from_slice(body);
    stream.write_all(&out)?;
    let scanner = Scanner::new();
    let mut input = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match scanner.next(&input)? {
            Some(answer) if answer.opaque == i64::from(OPAQUE_FIRST) => {
                return Ok((answer.code, [answer.header, answer.body].concat()));
            }
            // A request of the server's own, such as a notice to members.
            Some(answer) => drop(input.drain(..answer.bytes)),
            None => match stream.read(&mut chunk)? {
                0 => return Err(Failure::Closed),
                count => input.extend_from_slice(&chunk[..count]),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(header: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(4 + header.len() + body.len()).expect("small").to_be_bytes().to_vec();
        bytes.extend_from_slice(&u32::try_from(header.len()).expect("small").to_be_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_template_is_a_whole_frame_with_its_opaque_in_place() {
        let template = Template::new(310, r#"{"b":"t"}"#, 2);
        let mut out = b"before".to_vec();
        let begin = template.write(&mut out, 1_234_567);
        out.extend_from_slice(b"hi");
        let scanner = Scanner::new();
        let answer = scanner.next(&out[begin..]).expect("well formed").expect("complete");
        assert_eq!((answer.code, answer.opaque, answer.body), (310, 1_234_567, &b"hi"[..]));
        assert_eq!(answer.bytes, out.len() - begin);
        serde_json::from_slice::<serde_json::Value>(answer.header).expect("the header is JSON");
    }

    #[test]
    fn answers_are_found_in_any_key_order_and_only_when_complete() {
        let header = r#"{"opaque":-3,"extFields":{"nextBeginOffset":"77","queueId":4},"code":19}"#;
        let bytes = frame(header, b"xyz");
        let scanner = Scanner::new();
        for cut in 0..bytes.len() {
            assert!(scanner.next(&bytes[..cut]).expect("half a frame is no error").is_none());
        }
        let answer = scanner.next(&bytes).expect("well formed").expect("complete");
        assert_eq!((answer.code, answer.opaque, answer.body), (19, -3, &b"xyz"[..]));
        assert_eq!((answer.number("nextBeginOffset"), answer.number("queueId")), (Some(77), Some(4)));
        assert_eq!(answer.number("absent"), None);
        assert!(answer.check().is_err());
    }

    #[test]
    fn nonsense_is_an_error() {
        let scanner = Scanner::new();
        assert!(scanner.next(&[0xff; 8]).is_err(), "longer than any frame");
        assert!(scanner.next(&[0, 0, 0, 4, 0, 0, 0, 9]).is_err(), "header longer than its frame");
        assert!(scanner.next(&frame("{}", b"")).is_err(), "neither code nor opaque");
    }
}
