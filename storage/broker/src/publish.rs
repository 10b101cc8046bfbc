//! A batch of messages on its way to the shard: already in stored form, so that the shard only fills in places.

use bytes::{BufMut, Bytes, BytesMut};
use mailrail_commitlog::record;
use mailrail_message::property::{self, Properties};
use mailrail_message::{AnnexKind, Draft, DraftError};
use smallvec::SmallVec;

use crate::command::Name;
use crate::deduplication::DeduplicationKey;
use crate::ids::*;
use crate::record::{finish, kind};
use crate::settings::Durability;

/// Where a message should go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A topic; `queue_index` `None` lets the broker choose among its queues in turn.
    Topic { topic: TopicId, queue_index: Option<u32> },
    /// Several topics at once, each of which chooses its queue. Those that are no more are passed over.
    Topics(Vec<TopicId>),
    /// Those that routing has found already.
    #[doc(hidden)]
    Routed(Vec<TopicId>),
    /// Through an exchange, to where any of the keys leads.
    Exchange { exchange: ExchangeId, keys: RoutingKeys },
}

/// Routing keys of a message: nearly always one.
pub type RoutingKeys = SmallVec<[Bytes; 1]>;

/// One message of a batch. Its record lies in the batch's buffer behind that of the one before.
#[derive(Clone, Debug)]
pub(crate) struct PublishItem {
    /// Bytes of the record: header, message, padding.
    pub record_len: usize,
    /// Bytes of the message itself, behind the record header.
    pub message_len: usize,
    pub destination: Destination,
    pub tag_hash: i32,
    pub handling: Handling,
    /// It names light queues: whether those that it may not go to are passed over.
    pub lites: Option<Passing>,
    pub durability: Durability,
    /// Not to be seen before this time, in milliseconds of the Unix epoch.
    pub due_ms: Option<u64>,
    /// Not to be seen before its producer says so.
    pub half: Option<HalfTerms>,
    /// What it is known by if it was sent before.
    pub key: Option<DeduplicationKey>,
    /// It is not to be stored where nobody would notice that.
    pub needs_deduplication: bool,
}

/// What becomes of names of light queues that a message may not go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    /// The message is refused.
    Refused,
    /// They are passed over: the message was acknowledged before.
    Over,
}

impl PublishItem {
    /// True for a message that is in no queue yet.
    pub fn waits(&self) -> bool {
        self.due_ms.is_some() || self.half.is_some()
    }
}

/// Who decides what becomes of a half message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HalfTerms {
    /// Group of the producers that may be asked.
    pub group: Name,
    /// Not before this time, in milliseconds of the Unix epoch.
    pub first_check_ms: u64,
}

/// Messages to be stored by one command. One buffer for all, so that a batch costs a handful of allocations.
#[derive(Debug, Default)]
pub struct PublishBatch {
    pub(crate) buffer: BytesMut,
    pub(crate) items: Vec<PublishItem>,
}

impl PublishBatch {
    /// An empty batch with room for so many bytes of bodies and headers.
    pub fn with_capacity(bytes: usize, messages: usize) -> Self {
        PublishBatch { buffer: BytesMut::with_capacity(bytes), items: Vec::with_capacity(messages) }
    }

    /// Adds a message, stored at `durability` or what its topic demands. One whose draft has the annex of a
    /// [`DeduplicationKey`] is stored once by topics that deduplicate.
    pub fn push(
        &mut self,
        draft: &Draft<'_>,
        destination: Destination,
        tag_hash: i32,
        durability: Durability,
    ) -> Result<(), DraftError> {
        draft.check()?;
        let (record_len, message_len) = self.encode(draft, kind::MESSAGE);
        let handling = Handling::of_draft(draft);
        let to_topic = matches!(destination, Destination::Topic { .. });
        self.items.push(PublishItem {
            record_len,
            message_len,
            destination,
            tag_hash,
            handling,
            lites: (to_topic && handling.names_lites).then_some(Passing::Refused),
            durability,
            due_ms: None,
            half: None,
            key: DeduplicationKey::of_draft(draft),
            needs_deduplication: false,
        });
        Ok(())
    }

    /// The last message was given a deduplication key by somebody who counts on it: a topic that does not deduplicate
    /// refuses it with [`crate::Error::NoDeduplication`]. (Others store what has a key like anything else.)
    pub fn need_deduplication(&mut self) {
        if let Some(last) = self.items.last_mut() {
            last.needs_deduplication = true;
        }
    }

    /// Adds a message to a topic that nobody sees before `due_ms` (milliseconds of the Unix epoch).
    pub fn push_due(
        &mut self,
        draft: &Draft<'_>,
        topic: TopicId,
        queue_index: Option<u32>,
        tag_hash: i32,
        durability: Durability,
        due_ms: u64,
    ) -> Result<(), DraftError> {
        let annex = time_and_queue(due_ms, queue_index);
        let destination = Destination::Topic { topic, queue_index };
        let (annex, kind) = ((AnnexKind::Due, &annex[..]), kind::WAITING_MESSAGE);
        let item = self.encode_waiting(draft, annex, kind, destination, tag_hash, durability)?;
        self.items.push(PublishItem { due_ms: Some(due_ms), ..item });
        Ok(())
    }

    /// Adds a message to a topic that nobody sees before it is committed, see [`crate::Command::EndHalf`].
    pub fn push_half(
        &mut self,
        draft: &Draft<'_>,
        topic: TopicId,
        queue_index: Option<u32>,
        tag_hash: i32,
        durability: Durability,
        half: HalfTerms,
    ) -> Result<(), DraftError> {
        let mut annex = time_and_queue(half.first_check_ms, queue_index);
        annex.extend_from_slice(half.group.as_bytes());
        let destination = Destination::Topic { topic, queue_index };
        let (annex, kind) = ((AnnexKind::Half, &annex[..]), kind::HALF_MESSAGE);
        let item = self.encode_waiting(draft, annex, kind, destination, tag_hash, durability)?;
        self.items.push(PublishItem { half: Some(half), ..item });
        Ok(())
    }

    /// Encodes a message that no queue leads to yet.
    fn encode_waiting(
        &mut self,
        draft: &Draft<'_>,
        annex: (AnnexKind, &[u8]),
        kind: u8,
        destination: Destination,
        tag_hash: i32,
        durability: Durability,
    ) -> Result<PublishItem, DraftError> {
        let mut annexes = draft.annexes.to_vec();
        annexes.push(annex);
        let own = Handling::of_draft(draft);
        let with_annex = Draft { annexes: &annexes, ..*draft };
        with_annex.check()?;
        let (record_len, message_len) = self.encode(&with_annex, kind);
        Ok(PublishItem {
            record_len,
            message_len,
            destination,
            tag_hash,
            // It lives from when it comes, and is handed out by what its copy says.
            handling: Handling { has_key: own.has_key, ..Handling::default() },
            lites: own.names_lites.then_some(Passing::Refused),
            durability,
            due_ms: None,
            half: None,
            key: DeduplicationKey::of_draft(draft),
            needs_deduplication: false,
        })
    }

    fn encode(&mut self, draft: &Draft<'_>, kind: u8) -> (usize, usize) {
        let start = self.buffer.len();
        self.buffer.put_bytes(0, record::RECORD_HEADER_BYTES);
        draft.encode(&mut self.buffer);
        let message_len = self.buffer.len() - start - record::RECORD_HEADER_BYTES;
        finish(&mut self.buffer, start, kind);
        (self.buffer.len() - start, message_len)
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }
}

/// How the annex of a message begins that is in no queue yet.
fn time_and_queue(time_ms: u64, queue_index: Option<u32>) -> Vec<u8> {
    let mut annex = time_ms.to_le_bytes().to_vec();
    annex.extend_from_slice(&queue_index.map_or(-1, u32::cast_signed).to_le_bytes());
    annex
}

/// The time in such an annex; `None` where it is none.
pub(crate) fn time_of(annex: &[u8]) -> Option<u64> {
    annex.first_chunk().map(|time| u64::from_le_bytes(*time))
}

/// The queue in such an annex that the producer chose.
pub(crate) fn queue_of(annex: &[u8]) -> Option<u32> {
    let index: [u8; 4] = annex.get(8..12)?.try_into().ok()?;
    u32::try_from(i32::from_le_bytes(index)).ok()
}

/// What a message's own properties say of how it is to be handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handling {
    /// How long it lives; what is no number of milliseconds is no limit.
    pub ttl_ms: Option<u64>,
    /// Of its ordering key, by which its message group is known; 0 = it has none.
    pub key_hash: u32,
    /// As far as its topic allows.
    pub priority: u8,
    /// Whether it names light queues.
    pub names_lites: bool,
    /// Whether it has a key to be looked up by.
    pub has_key: bool,
}

impl Handling {
    pub fn of(properties: Properties<'_>) -> Self {
        let [ttl, key, priority] =
            properties.get_each([property::TTL, property::ORDERING_KEY, property::PRIORITY]);
        Handling {
            ttl_ms: ttl.and_then(|ttl| ttl.parse().ok()),
            key_hash: key.map_or(0, key_hash),
            priority: priority.and_then(|text| text.parse::<u64>().ok()).map_or(0, priority_of),
            ..Handling::default()
        }
    }

    /// With what counts only while a message is taken.
    fn of_new(properties: Properties<'_>) -> Self {
        let [lites, keys] = properties.get_each([property::LITE_QUEUES, property::KEYS]);
        let has_key = keys.is_some_and(|keys| !keys.trim().is_empty());
        Handling { names_lites: lites.is_some(), has_key, ..Handling::of(properties) }
    }

    fn of_draft(draft: &Draft<'_>) -> Self {
        let own = Handling::of_new(Properties::new(draft.properties));
        if draft.more_properties.is_empty() {
            return own;
        }
        let more = Handling::of_new(Properties::new(draft.more_properties));
        Handling {
            ttl_ms: more.ttl_ms.or(own.ttl_ms),
            key_hash: if more.key_hash == 0 { own.key_hash } else { more.key_hash },
            priority: if more.priority == 0 { own.priority } else { more.priority },
            names_lites: more.names_lites || own.names_lites,
            has_key: more.has_key || own.has_key,
        }
    }
}

/// Names a message group in 32 bits. Two keys may have one name: their messages then wait for each other.
fn key_hash(key: &str) -> u32 {
    crc32c::crc32c(key.as_bytes()).max(1)
}

fn priority_of(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// When a message expires that was stored at a time; 0 = never.
pub(crate) fn expiry_ms(store_ms: u64, ttl_ms: Option<u64>) -> u64 {
    ttl_ms.map_or(0, |ttl_ms| store_ms.saturating_add(ttl_ms))
}
