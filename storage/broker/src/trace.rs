//! Traces of messages: what became of those that a topic's `trace-sample` chooses. Each step is a message of a topic of
//! its own, whose properties say what happened; how they come to be written is the business of [`crate::shard`].
//!
//! Its name is none of RocketMQ's: what clients trace by themselves goes to `RMQ_SYS_TRACE_TOPIC`, which is a topic like
//! any other.

use std::net::SocketAddr;

use mailrail_message::{Draft, StoredMessage, property};

use crate::access::Identity;
use crate::command::Name;
use crate::settings::TopicSettings;
use crate::statistics::Client;

/// The topic of all traces: read and consumed like others, written by the broker alone, and never traced.
pub const TRACE_TOPIC: &str = "MAILRAIL_SYS_TRACE_TOPIC";

/// Its settings, whoever makes it: clients cannot write what a message is said to have met.
pub(crate) fn trace_topic_settings() -> TopicSettings {
    TopicSettings { queues: 1, writable: false, ..TopicSettings::default() }
}

/// A topic's attribute for how many of a million messages are traced; 0, or none, for no message.
pub(crate) const MILLION: u32 = 1_000_000;

/// What happened to a message. The name is the tag of the trace's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TraceStage {
    /// It was taken: into a queue, or to wait for its time or for its producer.
    Stored,
    /// Its time has come: stored again, in a queue.
    Dispatched,
    /// Its producer has committed it: stored again, in a queue.
    Committed,
    /// Its producer wants it not to be seen.
    RolledBack,
    /// It was withdrawn before its time.
    Recalled,
    /// By lease, to somebody of a group.
    HandedOut,
    /// By offset.
    Read,
    /// Its lease ended, or a commit passed it.
    Settled,
    /// It is handed out no more: rejected, expired, over a length, failed too often.
    GivenUp,
    /// A copy was stored where dead letters go.
    DeadLettered,
    /// Steps of some messages are missing here: more came than could be written.
    Lost,
}

impl TraceStage {
    pub const NAMES: [(&'static str, TraceStage); 11] = [
        ("stored", TraceStage::Stored),
        ("dispatched", TraceStage::Dispatched),
        ("committed", TraceStage::Committed),
        ("rolled_back", TraceStage::RolledBack),
        ("recalled", TraceStage::Recalled),
        ("handed_out", TraceStage::HandedOut),
        ("read", TraceStage::Read),
        ("settled", TraceStage::Settled),
        ("given_up", TraceStage::GivenUp),
        ("dead_lettered", TraceStage::DeadLettered),
        ("lost", TraceStage::Lost),
    ];

    pub fn name(self) -> &'static str {
        TraceStage::NAMES.iter().find(|(_, stage)| *stage == self).map_or("", |(name, _)| name)
    }
}

/// Who did it, as far as the broker knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceActor {
    pub user: Option<String>,
    pub protocol: Option<String>,
    pub address: Option<String>,
    /// What the client calls itself.
    pub client: Option<String>,
}

impl TraceActor {
    pub(crate) fn of(identity: &Identity, client: Option<&Client>) -> Self {
        TraceActor {
            user: identity.name().map(str::to_owned),
            protocol: client.map(|client| client.protocol.to_owned()),
            address: client.map(|client| client.address.to_string()),
            client: client.and_then(Client::name),
        }
    }
}

/// One step of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRecord {
    pub stage: TraceStage,
    /// In milliseconds of the Unix epoch.
    pub at_ms: u64,
    pub topic: Name,
    /// Log position of the message: the last 16 digits of its id.
    pub position: u64,
    /// Of what is in a queue.
    pub queue: Option<u32>,
    pub offset: Option<u64>,
    pub group: Option<Name>,
    /// Handed out: which attempt it is, from 1 on.
    pub attempt: Option<u32>,
    /// How a lease ended, why a message was given up.
    pub how: Option<String>,
    /// Log position of the copy that takes the message's place, and the topic it is in.
    pub copy: Option<u64>,
    pub to: Option<String>,
    /// Steps that are missing.
    pub lost: Option<u64>,
    /// The id that its producer gave it.
    pub unique_id: Option<String>,
    pub by: Option<TraceActor>,
}

/// The key by which steps of a message are found.
pub fn trace_key(position: u64) -> String {
    format!("{position:016X}")
}

impl TraceRecord {
    pub(crate) fn new(stage: TraceStage, at_ms: u64, topic: Name, position: u64) -> Self {
        TraceRecord {
            stage,
            at_ms,
            topic,
            position,
            queue: None,
            offset: None,
            group: None,
            attempt: None,
            how: None,
            copy: None,
            to: None,
            lost: None,
            unique_id: None,
            by: None,
        }
    }

    /// The properties of the message that it is stored as.
    pub(crate) fn properties(&self) -> Vec<u8> {
        let mut keys = trace_key(self.position);
        let more = self.copy.map(trace_key).into_iter().chain(self.unique_id.clone());
        more.for_each(|key| keys.extend([" ", &key]));
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let by = self.by.clone().unwrap_or_default();
        let pairs = [
            (property::KEYS, Some(keys)),
            (property::TAGS, Some(self.stage.name().to_owned())),
            (AT_MS, number(Some(self.at_ms))),
            (TOPIC, Some(self.topic.to_string())),
            (POSITION, Some(trace_key(self.position))),
            (QUEUE, self.queue.map(|queue| queue.to_string())),
            (OFFSET, number(self.offset)),
            (GROUP, self.group.as_ref().map(|group| group.to_string())),
            (ATTEMPT, self.attempt.map(|attempt| attempt.to_string())),
            (HOW, self.how.clone()),
            (COPY, self.copy.map(trace_key)),
            (TO, self.to.clone()),
            (LOST, number(self.lost)),
            (CLIENT_MESSAGE_ID, self.unique_id.clone()),
            (USER, by.user),
            (PROTOCOL, by.protocol),
            (ADDRESS, by.address),
            (CLIENT, by.client),
        ];
        let mut properties = Vec::with_capacity(256);
        for (name, value) in pairs {
            // A name may hold what separates properties.
            let value = value.map(|value| value.replace(['\u{1}', '\u{2}'], "?"));
            if let Some(value) = value {
                property::push(&mut properties, name, &value);
            }
        }
        properties
    }

    /// Reads a message of [`TRACE_TOPIC`]; `None` if it is no step.
    pub fn read(stored: &StoredMessage<'_>) -> Option<TraceRecord> {
        let properties = stored.properties();
        let text = |name: &str| properties.get(name).map(str::to_owned);
        let number = |name: &str| properties.get(name)?.parse::<u64>().ok();
        let position = |name: &str| u64::from_str_radix(properties.get(name)?, 16).ok();
        let stage = properties.get(property::TAGS)?;
        let (_, stage) = TraceStage::NAMES.iter().find(|(name, _)| *name == stage)?;
        let by = TraceActor {
            user: text(USER),
            protocol: text(PROTOCOL),
            address: text(ADDRESS),
            client: text(CLIENT),
        };
        Some(TraceRecord {
            stage: *stage,
            at_ms: number(AT_MS)?,
            topic: Name::from(properties.get(TOPIC)?),
            position: position(POSITION)?,
            queue: number(QUEUE).and_then(|queue| u32::try_from(queue).ok()),
            offset: number(OFFSET),
            group: properties.get(GROUP).map(Name::from),
            attempt: number(ATTEMPT).and_then(|attempt| u32::try_from(attempt).ok()),
            how: text(HOW),
            copy: position(COPY),
            to: text(TO),
            lost: number(LOST),
            unique_id: text(CLIENT_MESSAGE_ID),
            by: Some(by).filter(|by| *by != TraceActor::default()),
        })
    }

    /// The message that it is stored as, with these properties.
    pub(crate) fn draft<'a>(&self, properties: &'a [u8]) -> Draft<'a> {
        let host = SocketAddr::from(([127, 0, 0, 1], 0));
        Draft {
            topic: TRACE_TOPIC,
            flag: 0,
            sys_flags: 0,
            born_ms: self.at_ms,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            body: self.stage.name().as_bytes(),
            properties,
            more_properties: &[],
            annexes: &[],
        }
    }
}

const AT_MS: &str = "at_ms";
const TOPIC: &str = "topic";
const POSITION: &str = "position";
const QUEUE: &str = "queue";
const OFFSET: &str = "offset";
const GROUP: &str = "group";
const ATTEMPT: &str = "attempt";
const HOW: &str = "how";
const COPY: &str = "copy";
const TO: &str = "to";
const LOST: &str = "lost";
const CLIENT_MESSAGE_ID: &str = "client_message_id";
const USER: &str = "user";
const PROTOCOL: &str = "protocol";
const ADDRESS: &str = "address";
const CLIENT: &str = "client";

/// Whether a message at a position is among those of a million that are traced: always the same answer.
pub(crate) fn is_chosen(position: u64, of_a_million: u32) -> bool {
    // The finalizer of MurmurHash3: positions are multiples of the record's padding.
    let mut mixed = position ^ (position >> 33);
    mixed = mixed.wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^= mixed >> 33;
    mixed = mixed.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^= mixed >> 33;
    mixed % u64::from(MILLION) < u64::from(of_a_million)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn again(record: &TraceRecord) -> TraceRecord {
        let properties = record.properties();
        let mut bytes = BytesMut::new();
        record.draft(&properties).encode(&mut bytes);
        TraceRecord::read(&StoredMessage::parse(&bytes).unwrap()).unwrap()
    }

    #[test]
    fn what_a_step_says_comes_back_from_its_message() {
        for (_, stage) in TraceStage::NAMES {
            let record = TraceRecord::new(stage, 7, "t".into(), 0x40);
            assert_eq!(again(&record), record);
        }
        let by =
            TraceActor { user: Some("ann".into()), protocol: Some("amqp".into()), ..TraceActor::default() };
        let record = TraceRecord {
            queue: Some(3),
            offset: Some(u64::MAX),
            group: Some("g".into()),
            attempt: Some(2),
            how: Some("ack".into()),
            copy: Some(0x80),
            to: Some("dead".into()),
            lost: Some(9),
            unique_id: Some("U1".into()),
            by: Some(by),
            ..TraceRecord::new(TraceStage::DeadLettered, u64::MAX, "t".into(), u64::MAX)
        };
        assert_eq!(again(&record), record);
        let properties = record.properties();
        let keys = property::Properties::new(&properties).get(property::KEYS).unwrap();
        assert_eq!(keys, "FFFFFFFFFFFFFFFF 0000000000000080 U1");
    }

    #[test]
    fn a_name_cannot_end_its_property() {
        let record = TraceRecord::new(TraceStage::Stored, 7, "a\u{2}stage\u{1}b".into(), 0x40);
        assert_eq!(&*again(&record).topic, "a?stage?b");
    }

    #[test]
    fn as_many_are_chosen_as_are_asked_for_and_always_the_same() {
        let chosen = |of_a_million| {
            let positions = (0..100_000u64).map(|number| number * 64);
            positions.filter(|position| is_chosen(*position, of_a_million)).collect::<Vec<_>>()
        };
        assert_eq!((chosen(0).len(), chosen(MILLION).len()), (0, 100_000));
        let tenth = chosen(MILLION / 10);
        assert!((9_500..10_500).contains(&tenth.len()), "{}", tenth.len());
        assert_eq!(chosen(MILLION / 10), tenth);
        let hundredth = chosen(MILLION / 100);
        assert!(
            hundredth.iter().all(|position| tenth.contains(position)),
            "more only adds to what is traced"
        );
    }
}
