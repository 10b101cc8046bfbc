//! Withdrawing a message before its time: 370, and the handle that a send is answered with for it.
//!
//! Clients take the handle apart to find the broker, and give it back as it was.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::CommandError;
use super::read::Fields;
use crate::codec::header::Header;

const CODE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const VERSION: &str = "v1";
const SEPARATOR: char = ' ';
/// Longest handle that is taken apart.
const HANDLE_BYTES_MAX: usize = 4 * 1024;

/// 370.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallMessage<'a> {
    pub topic: &'a str,
    pub handle: &'a str,
}

impl<'a> RecallMessage<'a> {
    pub fn parse(header: &'a Header) -> Result<RecallMessage<'a>, CommandError> {
        let fields = Fields { header };
        Ok(RecallMessage { topic: fields.needed("topic")?, handle: fields.needed("recallHandle")? })
    }
}

/// Names a message that waits: RocketMQ's five words, and behind them where the message lies, which its clients pass over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallHandle {
    pub topic: String,
    pub broker_name: String,
    pub due_ms: u64,
    /// The id that the producer gave the message.
    pub unique: String,
    pub position: u64,
}

impl RecallHandle {
    /// The handle as text; `None` where a name has a blank in it, which the form has no room for.
    pub fn encode(&self) -> Option<String> {
        let words = [&self.topic, &self.broker_name, &self.unique];
        if words.iter().any(|word| word.is_empty() || word.contains(SEPARATOR)) {
            return None;
        }
        let RecallHandle { topic, broker_name, due_ms, unique, position } = self;
        Some(CODE.encode(format!("{VERSION} {topic} {broker_name} {due_ms} {unique} {position}")))
    }

    pub fn decode(text: &str) -> Option<RecallHandle> {
        if text.len() > HANDLE_BYTES_MAX {
            return None;
        }
        let decoded = String::from_utf8(CODE.decode(text).ok()?).ok()?;
        let mut words = decoded.split(SEPARATOR);
        if words.next() != Some(VERSION) {
            return None;
        }
        let topic = words.next()?.to_owned();
        let broker_name = words.next()?.to_owned();
        let due_ms = words.next()?.parse().ok()?;
        let unique = words.next()?.to_owned();
        let position = words.next()?.parse().ok()?;
        words.next().is_none().then_some(RecallHandle { topic, broker_name, due_ms, unique, position })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> RecallHandle {
        RecallHandle {
            topic: "orders".into(),
            broker_name: "mailrail".into(),
            due_ms: 1_795_336_144_547,
            unique: "7F0000010BF8".into(),
            position: 4_242,
        }
    }

    #[test]
    fn a_handle_comes_back_as_it_was_and_begins_as_clients_expect() {
        let text = handle().encode().unwrap();
        assert_eq!(RecallHandle::decode(&text), Some(handle()));
        assert_eq!(RecallHandle::decode(text.trim_end_matches('=')), Some(handle()));
        let words = String::from_utf8(CODE.decode(text).unwrap()).unwrap();
        assert_eq!(words, "v1 orders mailrail 1795336144547 7F0000010BF8 4242");
        assert_eq!(RecallHandle { topic: "two words".into(), ..handle() }.encode(), None);
    }

    #[test]
    fn what_is_no_handle_is_none() {
        let encoded = |text: &str| CODE.encode(text);
        let long = "x".repeat(HANDLE_BYTES_MAX + 1);
        let cases = [
            String::new(),
            "no base64!".into(),
            CODE.encode([0xFF, 0xFE]),
            encoded("v2 t b 1 u 2"),
            encoded("v1 t b 1 u"),
            encoded("v1 t b 1 u 2 3"),
            encoded("v1 t b -1 u 2"),
            encoded("v1 t b 1 u 18446744073709551616"),
            encoded(&format!("v1 {long} b 1 u 2")),
        ];
        for case in cases {
            assert_eq!(RecallHandle::decode(&case), None, "{case}");
        }
    }
}
