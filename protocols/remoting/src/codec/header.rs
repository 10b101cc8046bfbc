//! The header of one frame: the fixed fields, the remark and the extension fields.
//!
//! Parsing lives in `json_header` and `binary_header`; meaning of the fields lives in `command`.

use bytes::Bytes;

use super::fields::{Entries, Span};

/// Set in `flag` when the frame answers a request of the other side.
pub const FLAG_RESPONSE: i32 = 0b01;
/// Set in `flag` when the sender wants no answer.
pub const FLAG_ONE_WAY: i32 = 0b10;

/// How a header is written: the top byte of the frame's second word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serializer {
    /// 0: the default of every mainstream client.
    Json,
    /// 1: the compact form Java clients use on request (`rocketmq.serialize.type=ROCKETMQ`).
    Binary,
}

impl Serializer {
    pub(super) fn from_byte(byte: u8) -> Option<Serializer> {
        match byte {
            0 => Some(Serializer::Json),
            1 => Some(Serializer::Binary),
            _ => None,
        }
    }

    pub(super) fn byte(self) -> u8 {
        match self {
            Serializer::Json => 0,
            Serializer::Binary => 1,
        }
    }
}

/// The sender's language, by its number on the wire. Unknown ones are tolerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language(pub u8);

const LANGUAGE_NAMES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS",
    "RUST", "NODE_JS",
];

impl Language {
    pub const JAVA: Language = Language(0);
    pub const OTHER: Language = Language(7);

    /// Any name but the known ones is [`Language::OTHER`].
    pub fn from_name(name: &[u8]) -> Language {
        let known = LANGUAGE_NAMES.iter().position(|known| known.as_bytes() == name);
        known.and_then(|index| u8::try_from(index).ok()).map_or(Language::OTHER, Language)
    }

    /// Name in JSON headers; `OTHER` for numbers without one.
    pub fn name(self) -> &'static str {
        LANGUAGE_NAMES.get(usize::from(self.0)).copied().unwrap_or("OTHER")
    }
}

/// One decoded header. Text is borrowed from the bytes of the frame, which it keeps alive.
#[derive(Debug, Clone)]
pub struct Header {
    /// Request code, or response code when [`Header::is_response`].
    pub code: i32,
    pub language: Language,
    /// Ordinal of the sender's release (`V4_9_4` = 401, Go always says 317).
    pub version: i32,
    /// Chosen by the requester, echoed verbatim by the answer.
    pub opaque: i32,
    pub flag: i32,
    pub serializer: Serializer,
    pub(super) remark: Option<Span>,
    pub(super) entries: Entries,
    /// The header's bytes, JSON escapes already undone in place. UTF-8 in every span.
    pub(super) raw: Bytes,
}

impl Header {
    pub(super) fn empty(serializer: Serializer) -> Header {
        Header {
            code: 0,
            language: Language::OTHER,
            version: 0,
            opaque: 0,
            flag: 0,
            serializer,
            remark: None,
            entries: Entries::default(),
            raw: Bytes::new(),
        }
    }

    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    pub fn is_one_way(&self) -> bool {
        self.flag & FLAG_ONE_WAY != 0
    }

    pub fn remark(&self) -> Option<&str> {
        self.remark.map(|span| text(span.of(&self.raw)))
    }

    /// Value of an extension field; the last one of that name. Numbers and booleans come as their text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.field_span(name).map(|span| text(span.of(&self.raw)))
    }

    /// The same value sharing the frame's memory, for what outlives the request.
    pub fn field_bytes(&self, name: &str) -> Option<Bytes> {
        let range = self.field_span(name)?.range()?;
        (range.end <= self.raw.len()).then(|| self.raw.slice(range))
    }

    /// All extension fields in wire order, as raw UTF-8: parsing a request walks them once.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|entry| (entry.key.of(&self.raw), entry.value.of(&self.raw)))
    }

    fn field_span(&self, name: &str) -> Option<Span> {
        let found = self.entries.iter().rev().find(|entry| entry.key.of(&self.raw) == name.as_bytes());
        found.map(|entry| entry.value)
    }
}

/// Field bytes as text. Decoding has checked them, so the fallback is never taken.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_go_by_number_and_by_name() {
        for (number, name) in [(0, "JAVA"), (1, "CPP"), (9, "GO"), (12, "RUST"), (13, "NODE_JS")] {
            assert_eq!(Language(number).name(), name);
            assert_eq!(Language::from_name(name.as_bytes()), Language(number));
        }
        assert_eq!(Language(200).name(), "OTHER");
        assert_eq!(Language::from_name(b"COBOL"), Language::OTHER);
    }
}
