//! What ends messages and topics by itself: times to live, length limits, idleness, and where what is given up goes.
//! Kept as attributes of a topic; here they are read and checked. Who acts on them is the shard.

use std::ops::RangeInclusive;

use crate::error::Error;
use crate::limits::{DEDUPLICATION_WINDOW_MS_MAX, DELAY_MS_MAX, NAME_BYTES_MAX};
use crate::lite::{self, LITE, LITE_EXPIRES_MS, LITE_OF};
use crate::settings::{Retention, TopicSettings};
use crate::trace::MILLION;

/// Attribute: milliseconds after which a message that nobody has settled is no longer handed out.
pub const MESSAGE_TTL_MS: &str = "message-ttl-ms";
/// Attribute: milliseconds without consumer, get or declaration after which the topic is deleted.
pub const EXPIRES_MS: &str = "expires-ms";
/// Attributes: most ready entries, and most bytes of ready entries as they are stored.
pub const LENGTH_MAX: &str = "length-max";
pub const LENGTH_BYTES_MAX: &str = "length-bytes-max";
/// Attribute: what a full topic does, one of [`Overflow::NAMES`].
pub const OVERFLOW: &str = "overflow";
/// Attributes: where the default group's dead letters go: to a topic, or through an exchange (empty = to the topic that
/// the key names) with a key (missing = that of the message).
pub const DEAD_LETTER_TOPIC: &str = "dead-letter-topic";
pub const DEAD_LETTER_EXCHANGE: &str = "dead-letter-exchange";
pub const DEAD_LETTER_KEY: &str = "dead-letter-key";
/// Attribute: the highest priority of a message, up to 255; those with more count as having so much. Without it, or
/// with 0, priorities count for nothing.
pub const PRIORITY_MAX: &str = "priority-max";
/// Attributes of a topic that keeps the newest message of each key: milliseconds for which a message stays whatever
/// comes, and for which one without a body stays that is the newest of its key.
pub const COMPACTION_LAG_MS: &str = "compaction-lag-ms";
pub const TOMBSTONE_MS: &str = "tombstone-ms";
/// As Kafka keeps them.
pub const TOMBSTONE_MS_DEFAULT: u64 = 24 * 60 * 60 * 1_000;

/// Attribute: how many of a million messages are traced, see [`crate::TraceRecord`].
pub const TRACE_SAMPLE: &str = "trace-sample";

/// Attribute: milliseconds for which the topic remembers messages by their deduplication keys, and does not store them
/// again. Without it, or with 0, it remembers none.
pub const DEDUPLICATION_WINDOW_MS: &str = "deduplication-window-ms";
/// Window of a topic whose maker asks for deduplication and names none: longer than clients go on trying.
pub const DEDUPLICATION_WINDOW_MS_DEFAULT: u64 = 5 * 60 * 1_000;

/// What happens to a publish to a full topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is taken, and the oldest ready entries are given up.
    #[default]
    DropHead,
    /// It is refused with [`Error::Full`].
    Reject,
    /// It is refused as well, and goes to the dead letter.
    RejectToDeadLetter,
}

impl Overflow {
    pub const NAMES: [(&'static str, Overflow); 3] = [
        ("drop-head", Overflow::DropHead),
        ("reject-publish", Overflow::Reject),
        ("reject-publish-dlx", Overflow::RejectToDeadLetter),
    ];

    /// The value of the attribute.
    pub fn name(self) -> &'static str {
        Overflow::NAMES.iter().find(|(_, overflow)| *overflow == self).map_or("", |(name, _)| *name)
    }
}

/// Where a message goes that its topic's default group gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetter {
    /// Made when it is missing.
    Topic(String),
    /// Where the exchange leads; nowhere is a drop.
    Exchange { exchange: String, key: Option<String> },
}

/// The checked form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub message_ttl_ms: Option<u64>,
    pub expires_ms: Option<u64>,
    pub length_max: Option<u64>,
    pub length_bytes_max: Option<u64>,
    pub overflow: Overflow,
    pub dead_letter: Option<DeadLetter>,
    /// 0 = there are no priorities.
    pub priority_max: u8,
    /// Milliseconds after which its light queues go that nobody uses; `None` = it has none.
    pub lite_expires_ms: Option<u64>,
    /// How long messages stay that compaction would remove.
    pub compaction_lag_ms: u64,
    pub tombstone_ms: u64,
    /// Of a million messages, so many are traced.
    pub trace_sample: u32,
    /// `None` = what is sent again is stored again.
    pub deduplication_window_ms: Option<u64>,
}

impl Policy {
    /// Names of all attributes that are read here.
    pub const ATTRIBUTES: [&'static str; 16] = [
        MESSAGE_TTL_MS,
        EXPIRES_MS,
        LENGTH_MAX,
        LENGTH_BYTES_MAX,
        OVERFLOW,
        DEAD_LETTER_TOPIC,
        DEAD_LETTER_EXCHANGE,
        DEAD_LETTER_KEY,
        PRIORITY_MAX,
        LITE,
        LITE_EXPIRES_MS,
        LITE_OF,
        COMPACTION_LAG_MS,
        TOMBSTONE_MS,
        TRACE_SAMPLE,
        DEDUPLICATION_WINDOW_MS,
    ];

    /// Reads and checks what a topic's attributes say.
    pub fn of(settings: &TopicSettings) -> Result<Policy, Error> {
        let text = |name: &'static str| settings.attributes.get(name).map(String::as_str);
        let policy = Policy {
            message_ttl_ms: milliseconds(MESSAGE_TTL_MS, text(MESSAGE_TTL_MS), 0..=DELAY_MS_MAX)?,
            expires_ms: milliseconds(EXPIRES_MS, text(EXPIRES_MS), 1..=DELAY_MS_MAX)?,
            length_max: number(LENGTH_MAX, text(LENGTH_MAX))?,
            length_bytes_max: number(LENGTH_BYTES_MAX, text(LENGTH_BYTES_MAX))?,
            overflow: overflow(text(OVERFLOW))?,
            dead_letter: dead_letter(
                text(DEAD_LETTER_TOPIC),
                text(DEAD_LETTER_EXCHANGE),
                text(DEAD_LETTER_KEY),
            )?,
            priority_max: priority(text(PRIORITY_MAX))?,
            lite_expires_ms: lite::expires_ms(
                settings,
                milliseconds(LITE_EXPIRES_MS, text(LITE_EXPIRES_MS), 1..=DELAY_MS_MAX)?,
            )?,
            compaction_lag_ms: compaction(settings, COMPACTION_LAG_MS, 0)?,
            tombstone_ms: compaction(settings, TOMBSTONE_MS, TOMBSTONE_MS_DEFAULT)?,
            trace_sample: sample(text(TRACE_SAMPLE))?,
            deduplication_window_ms: deduplication(settings)?,
        };
        policy.check_topic(settings)?;
        Ok(policy)
    }

    /// True where the number of ready entries, or their bytes, have a limit.
    pub fn is_limited(&self) -> bool {
        self.length_max.is_some() || self.length_bytes_max.is_some()
    }

    /// All but a time to live is about entries that one group owns.
    fn check_topic(&self, settings: &TopicSettings) -> Result<(), Error> {
        let is_lite = settings.attributes.contains_key(LITE_OF);
        let owned = [
            (EXPIRES_MS, self.expires_ms.filter(|_| !is_lite).map(|ms| ms.to_string())),
            (LENGTH_MAX, self.length_max.map(|max| max.to_string())),
            (LENGTH_BYTES_MAX, self.length_bytes_max.map(|max| max.to_string())),
            ("dead-letter", self.dead_letter.as_ref().map(|to| format!("{to:?}"))),
        ];
        let is_owned = settings.retention == Retention::UntilSettled;
        if let Some((name, value)) = owned.into_iter().find_map(|(name, value)| Some((name, value?)))
            && !is_owned
        {
            let allowed = "only on a topic whose messages go when they are settled";
            return Err(Error::Argument { name, value, allowed });
        }
        if self.is_limited() && settings.queues > 1 {
            let value = settings.queues.to_string();
            let allowed = "with a length limit only 1";
            return Err(Error::Argument { name: "queues", value, allowed });
        }
        Ok(())
    }
}

fn number(name: &'static str, text: Option<&str>) -> Result<Option<u64>, Error> {
    let read = |text: &str| {
        let allowed = "a decimal number of 0 or more";
        text.parse().map_err(|_| Error::Argument { name, value: text.to_owned(), allowed })
    };
    text.map(read).transpose()
}

fn milliseconds(
    name: &'static str,
    text: Option<&str>,
    allowed: RangeInclusive<u64>,
) -> Result<Option<u64>, Error> {
    match number(name, text)? {
        Some(value) if value > *allowed.end() => Err(Error::Limit { what: name, value, max: *allowed.end() }),
        Some(value) if value < *allowed.start() => {
            Err(Error::Argument { name, value: value.to_string(), allowed: "1 or more" })
        }
        value => Ok(value),
    }
}

/// A time that only topics have which are compacted.
fn compaction(settings: &TopicSettings, name: &'static str, otherwise: u64) -> Result<u64, Error> {
    match (settings.attributes.get(name), settings.retention) {
        (None, Retention::Compacted) => Ok(otherwise),
        (None, _) => Ok(0),
        (Some(text), Retention::Compacted) => {
            Ok(milliseconds(name, Some(text), 0..=DELAY_MS_MAX)?.unwrap_or(otherwise))
        }
        (Some(text), _) => {
            let (value, allowed) =
                (text.clone(), "only on a topic that keeps the newest message of each key");
            Err(Error::Argument { name, value, allowed })
        }
    }
}

/// For how long a topic remembers what it has stored, as its attributes say.
pub(crate) fn deduplication(settings: &TopicSettings) -> Result<Option<u64>, Error> {
    let text = settings.attributes.get(DEDUPLICATION_WINDOW_MS).map(String::as_str);
    let window = milliseconds(DEDUPLICATION_WINDOW_MS, text, 0..=DEDUPLICATION_WINDOW_MS_MAX)?;
    Ok(window.filter(|window_ms| *window_ms > 0))
}

fn priority(text: Option<&str>) -> Result<u8, Error> {
    let Some(value) = number(PRIORITY_MAX, text)? else { return Ok(0) };
    let limit = Error::Limit { what: PRIORITY_MAX, value, max: u8::MAX.into() };
    u8::try_from(value).map_err(|_| limit)
}

fn sample(text: Option<&str>) -> Result<u32, Error> {
    let Some(value) = number(TRACE_SAMPLE, text)? else { return Ok(0) };
    let limit = Error::Limit { what: TRACE_SAMPLE, value, max: MILLION.into() };
    u32::try_from(value).ok().filter(|sample| *sample <= MILLION).ok_or(limit)
}

fn overflow(text: Option<&str>) -> Result<Overflow, Error> {
    let Some(text) = text else { return Ok(Overflow::default()) };
    let found = Overflow::NAMES.iter().find(|(name, _)| *name == text);
    let allowed = "drop-head, reject-publish or reject-publish-dlx";
    found.map(|(_, overflow)| *overflow).ok_or(Error::Argument {
        name: OVERFLOW,
        value: text.to_owned(),
        allowed,
    })
}

fn dead_letter(
    topic: Option<&str>,
    exchange: Option<&str>,
    key: Option<&str>,
) -> Result<Option<DeadLetter>, Error> {
    let argument = |name, value: &str, allowed| Error::Argument { name, value: value.to_owned(), allowed };
    for (name, text) in [(DEAD_LETTER_EXCHANGE, exchange), (DEAD_LETTER_KEY, key), (DEAD_LETTER_TOPIC, topic)]
    {
        if let Some(text) = text.filter(|text| text.len() > NAME_BYTES_MAX) {
            return Err(argument(name, text, "at most 255 bytes"));
        }
    }
    match (topic, exchange, key) {
        (None, None, None) => Ok(None),
        (Some(""), ..) => Err(argument(DEAD_LETTER_TOPIC, "", "the name of a topic")),
        (Some(topic), None, None) => Ok(Some(DeadLetter::Topic(topic.to_owned()))),
        (Some(topic), ..) => {
            Err(argument(DEAD_LETTER_TOPIC, topic, "either a topic, or an exchange with or without a key"))
        }
        (None, Some(exchange), key) => {
            let (exchange, key) = (exchange.to_owned(), key.map(str::to_owned));
            Ok(Some(DeadLetter::Exchange { exchange, key }))
        }
        (None, None, Some(key)) => Err(argument(DEAD_LETTER_KEY, key, "a key only with an exchange")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: TopicSettings, attributes: &[(&str, &str)]) -> Result<Policy, Error> {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Policy::of(&TopicSettings { attributes: attributes.collect(), ..settings })
    }

    #[test]
    fn attributes_are_read_as_they_are_meant() {
        let found = of(
            TopicSettings::settled_queue(),
            &[
                (MESSAGE_TTL_MS, "0"),
                (EXPIRES_MS, "1"),
                (LENGTH_MAX, "10"),
                (OVERFLOW, "reject-publish-dlx"),
                (DEAD_LETTER_EXCHANGE, ""),
                (DEAD_LETTER_KEY, "k"),
                (PRIORITY_MAX, "255"),
                (TRACE_SAMPLE, "1000000"),
                (DEDUPLICATION_WINDOW_MS, "86400000"),
                ("foreign", "x"),
            ],
        );
        let expected = Policy {
            message_ttl_ms: Some(0),
            expires_ms: Some(1),
            length_max: Some(10),
            length_bytes_max: None,
            overflow: Overflow::RejectToDeadLetter,
            dead_letter: Some(DeadLetter::Exchange { exchange: String::new(), key: Some("k".to_owned()) }),
            priority_max: 255,
            lite_expires_ms: None,
            compaction_lag_ms: 0,
            tombstone_ms: 0,
            trace_sample: 1_000_000,
            deduplication_window_ms: Some(DEDUPLICATION_WINDOW_MS_MAX),
        };
        assert_eq!(found, Ok(expected));
        let none = of(TopicSettings::default(), &[(DEDUPLICATION_WINDOW_MS, "0")]);
        assert_eq!(none, Ok(Policy::default()));
        assert_eq!(of(TopicSettings::default(), &[]), Ok(Policy::default()));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_name_and_value() {
        let long = "k".repeat(NAME_BYTES_MAX + 1);
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[(MESSAGE_TTL_MS, "-1")], "message-ttl-ms is -1;"),
            (
                &[(MESSAGE_TTL_MS, "999999999999999")],
                "message-ttl-ms is 999999999999999; at most 316224000000",
            ),
            (&[(PRIORITY_MAX, "256")], "priority-max is 256; at most 255"),
            (&[(TRACE_SAMPLE, "1000001")], "trace-sample is 1000001; at most 1000000"),
            (
                &[(DEDUPLICATION_WINDOW_MS, "86400001")],
                "deduplication-window-ms is 86400001; at most 86400000",
            ),
            (&[(EXPIRES_MS, "0")], "expires-ms is 0; 1 or more"),
            (&[(LENGTH_MAX, "many")], "length-max is many;"),
            (&[(OVERFLOW, "drop-tail")], "overflow is drop-tail; drop-head"),
            (&[(DEAD_LETTER_KEY, "k")], "dead-letter-key is k; a key only with"),
            (&[(DEAD_LETTER_EXCHANGE, "x"), (DEAD_LETTER_KEY, &long)], "at most 255 bytes"),
            (&[(DEAD_LETTER_TOPIC, "t"), (DEAD_LETTER_EXCHANGE, "x")], "dead-letter-topic is t; either"),
            (&[(DEAD_LETTER_TOPIC, "")], "the name of a topic"),
        ];
        for (attributes, text) in cases {
            let error = of(TopicSettings::settled_queue(), attributes).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        for name in [EXPIRES_MS, LENGTH_MAX, LENGTH_BYTES_MAX] {
            let error = of(TopicSettings::default(), &[(name, "7")]).unwrap_err().to_string();
            assert!(error.contains("is 7; only on a topic"), "{error}");
        }
        let two = TopicSettings { queues: 2, ..TopicSettings::settled_queue() };
        let error = of(two, &[(LENGTH_MAX, "7")]).unwrap_err().to_string();
        assert!(error.contains("queues is 2; with a length limit only 1"), "{error}");
    }
}
