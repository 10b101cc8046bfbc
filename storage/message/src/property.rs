//! The property string of a message and the names that carry meaning.
//!
//! Pairs are `key 0x01 value 0x02`; the last 0x02 may be missing. A pair with an empty key or value is none, and a
//! later duplicate wins (RocketMQ `MessageDecoder.string2messageProperties`).

pub const KEY_END: u8 = 0x01;
pub const PAIR_END: u8 = 0x02;

pub const TAGS: &str = "TAGS";
/// Keys for look-up, separated by spaces.
pub const KEYS: &str = "KEYS";
/// The producer's own message id.
pub const UNIQUE_ID: &str = "UNIQ_KEY";
/// `false` asks for durability `memory`.
pub const WAIT: &str = "WAIT";
pub const DELAY_LEVEL: &str = "DELAY";
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
pub const REAL_TOPIC: &str = "REAL_TOPIC";
pub const REAL_QUEUE: &str = "REAL_QID";
/// `true` on a message that is to be a half message.
pub const PREPARED: &str = "TRAN_MSG";
/// Group of producers that decide what becomes of a half message.
pub const PRODUCER_GROUP: &str = "PGROUP";
/// Seconds for which the producers of a half message are not asked, as decimal text.
pub const CHECK_IMMUNITY_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
/// How often they were asked.
pub const CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
pub const TRANSACTION_ID: &str = "__transactionId__";
pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
pub const REGION: &str = "MSG_REGION";
pub const TRACE_ON: &str = "TRACE_ON";
pub const CLUSTER: &str = "CLUSTER";
pub const POP_CHECK: &str = "POP_CK";
pub const CORRELATION_ID: &str = "CORRELATION_ID";
pub const REPLY_TO: &str = "REPLY_TO_CLIENT";
/// Time to live in milliseconds, as decimal text.
pub const TTL: &str = "TTL";
pub const PRIORITY: &str = "_SYS_MSG_PRIORITY_";
pub const MESSAGE_TYPE: &str = "MSG_TYPE";
pub const ORDERING_KEY: &str = "__SHARDINGKEY";
/// Light queues that the message goes to as well, separated by commas.
pub const LITE_QUEUES: &str = "INNER_MULTI_DISPATCH";
/// The message's offsets there, in their order.
pub const LITE_OFFSETS: &str = "INNER_MULTI_QUEUE_OFFSET";
pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
/// On a dead letter whose message was found damaged: where that lay.
pub const DAMAGED: &str = "DAMAGED";
pub const CONTENT_TYPE: &str = "content-type";
pub const CONTENT_ENCODING: &str = "content-encoding";

/// What delays a message.
pub const DELAYS: &[&str] =
    &[DELAY_LEVEL, "TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS", "TIMER_OUT_MS"];

/// Names that are not an application's own: readers of other protocols leave them out of the user properties.
pub const RESERVED: &[&str] = &[
    TAGS,
    KEYS,
    UNIQUE_ID,
    WAIT,
    DELAY_LEVEL,
    RETRY_TOPIC,
    REAL_TOPIC,
    REAL_QUEUE,
    PREPARED,
    PRODUCER_GROUP,
    "MIN_OFFSET",
    "MAX_OFFSET",
    ORIGIN_MESSAGE_ID,
    RECONSUME_TIME,
    MAX_RECONSUME_TIMES,
    REGION,
    TRACE_ON,
    CLUSTER,
    MESSAGE_TYPE,
    POP_CHECK,
    "1ST_POP_TIME",
    "INSTANCE_ID",
    CORRELATION_ID,
    REPLY_TO,
    TTL,
    PRIORITY,
    "TIMER_DELAY_SEC",
    "TIMER_DELAY_MS",
    "TIMER_DELIVER_MS",
    "TIMER_OUT_MS",
    "TIMER_DEL_UNIQKEY",
    ORDERING_KEY,
    TRANSACTION_ID,
    CHECK_IMMUNITY_SECONDS,
    CHECK_TIMES,
    LITE_QUEUES,
    LITE_OFFSETS,
    "INNER_NUM",
    DLQ_ORIGIN_TOPIC,
    DLQ_ORIGIN_MESSAGE_ID,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    "__BORNHOST",
];

/// A property string, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    bytes: &'a [u8],
}

impl<'a> Properties<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Properties { bytes }
    }

    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Key and value of each well-formed pair, in order. Pairs that are not UTF-8 are left out.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.bytes.split(|byte| *byte == PAIR_END).filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == KEY_END)?;
            let (key, value) = (pair.get(..at)?, pair.get(at + 1..)?);
            if key.is_empty() || value.is_empty() {
                return None;
            }
            Some((std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?))
        })
    }

    /// The value of a key; a later duplicate wins.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let [found] = self.get_each([key]);
        found
    }

    /// The values of several keys, found in one pass; a later duplicate wins.
    pub fn get_each<const N: usize>(&self, keys: [&str; N]) -> [Option<&'a str>; N] {
        let mut found = [None; N];
        for pair in self.bytes.split(|byte| *byte == PAIR_END) {
            for (key, found) in keys.iter().zip(&mut found) {
                let value = pair.strip_prefix(key.as_bytes()).and_then(|rest| rest.strip_prefix(&[KEY_END]));
                if let Some(value) = value.filter(|value| !value.is_empty()) {
                    *found = std::str::from_utf8(value).ok();
                }
            }
        }
        found
    }
}

/// Appends a pair. Returns false, and appends nothing, when the pair cannot be told apart once stored: an empty key
/// or value, or a separator inside.
pub fn push(out: &mut Vec<u8>, key: &str, value: &str) -> bool {
    let separates = |byte: &u8| *byte == KEY_END || *byte == PAIR_END;
    if key.is_empty()
        || value.is_empty()
        || key.bytes().any(|b| separates(&b))
        || value.bytes().any(|b| separates(&b))
    {
        return false;
    }
    if out.last().is_some_and(|last| *last != PAIR_END) {
        out.push(PAIR_END);
    }
    out.extend_from_slice(key.as_bytes());
    out.push(KEY_END);
    out.extend_from_slice(value.as_bytes());
    out.push(PAIR_END);
    true
}

/// Copies a property string without the named keys.
pub fn without(properties: &[u8], keys: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(properties.len() + 64);
    for (key, value) in Properties::new(properties).iter() {
        if !keys.contains(&key) {
            push(&mut out, key, value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pairs_as_rocketmq_does() {
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let cases: &[(&[u8], Pairs<'_>)] = &[
            (b"", &[]),
            (b"a\x01b\x02", &[("a", "b")]),
            (b"a\x01b", &[("a", "b")]),
            (b"a\x01\x02\x01v\x02c\x01d\x02", &[("c", "d")]),
            (b"noseparator\x02c\x01d\x01e", &[("c", "d\x01e")]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(&Properties::new(bytes).iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn the_later_duplicate_wins_and_prefixes_do_not_match() {
        let properties = Properties::new(b"KEY\x01x\x02KEYS\x011\x02KEYS\x012\x02");
        assert_eq!(properties.get(KEYS), Some("2"));
        assert_eq!(properties.get("KE"), None);
        assert_eq!(properties.get_each([KEYS, "KE", "KEY"]), [Some("2"), None, Some("x")]);
    }

    #[test]
    fn a_pair_that_would_not_come_back_is_refused() {
        let mut out = Vec::new();
        assert!(!push(&mut out, "a\x01", "b") && !push(&mut out, "a", "") && out.is_empty());
        assert!(push(&mut out, "a", "b"));
        assert_eq!(without(b"x\x011\x02y\x012", &["x"]), b"y\x012\x02");
    }
}
