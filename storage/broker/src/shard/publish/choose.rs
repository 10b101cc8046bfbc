//! Which queues a message goes to, with the offsets it will have there. Nothing is stored here, and nothing of a queue
//! changes but whose turn it is among those of a topic.

use mailrail_message::{StoredMessage, property};
use smallvec::smallvec;

use super::*;
use crate::limits::ROUTING_KEYS_MAX;
use crate::record::RouteEnd;
use crate::route::{self, Traits};
use crate::settings::{Lifetime, Retention};

/// Where a message goes, and how durable it must be there.
pub(super) struct Chosen {
    pub places: Places,
    pub durability: Durability,
    /// Of several topics, one that refused it because it is full.
    pub full: Option<Error>,
    /// Of the topics that have it already, what the first one remembers.
    pub first: Option<Stored>,
}

/// What a message wants of a place.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub durability: Durability,
    /// Bytes that there must be room for; one that waits needs none yet.
    pub bytes: Option<usize>,
    pub has_key: bool,
    /// What it is known by where it was stored before, and whether that must be told.
    pub key: Option<DeduplicationKey>,
    pub needs_deduplication: bool,
    pub now_ms: u64,
    /// The topic that it was sent to, if to one.
    pub own: Option<TopicId>,
}

impl Wanted {
    fn of(now: Now, item: &PublishItem) -> Self {
        let bytes = Some(item.message_len).filter(|_| !item.waits());
        let PublishItem { durability, key, needs_deduplication, .. } = *item;
        let has_key = item.handling.has_key;
        let own = match &item.destination {
            Destination::Topic { topic, .. } => Some(*topic),
            _ => None,
        };
        Wanted { durability, bytes, has_key, key, needs_deduplication, now_ms: now.wall_ms, own }
    }
}

impl Shard {
    /// The queues a message goes to, with the offsets it will have there, and how durable it must be.
    pub(super) fn choose(&mut self, now: Now, item: &PublishItem, record: &[u8]) -> Result<Chosen, Error> {
        let wanted = Wanted::of(now, item);
        let mut topics: Vec<TopicId> = Vec::new();
        match &item.destination {
            Destination::Topic { topic, queue_index } => {
                self.reach_by_tag(*topic, record, &mut topics)?;
                topics.retain(|other| other != topic);
                let first = self.first_in(*topic, &wanted)?;
                // Light queues get what their topic stores. One that waits goes to others when its time has come, and is
                // known by its own topic until then.
                if item.lites.is_some() && !item.waits() && first.is_none() {
                    self.reach_lites(*topic, record, &mut topics);
                }
                if topics.is_empty() || (wanted.key.is_some() && item.waits()) {
                    if first.is_some() {
                        return Ok(Chosen::duplicate_of(first));
                    }
                    let (place, durability) = self.place_in(*topic, *queue_index, wanted)?;
                    return Ok(Chosen { places: smallvec![place], durability, full: None, first });
                }
                return self
                    .places_in(std::iter::once((*topic, *queue_index)).chain(anywhere(topics)), wanted);
            }
            Destination::Routed(found) => topics.extend(found),
            Destination::Topics(named) => {
                limit("topics that a message names", to_u64(named.len()), to_u64(ROUTING_KEYS_MAX))?;
                for topic in named.iter().filter(|topic| self.state.topics.contains_key(topic)) {
                    topics.push(*topic);
                    self.reach_by_tag(*topic, record, &mut topics)?;
                }
                topics.sort_unstable();
                topics.dedup();
            }
            Destination::Exchange { exchange, keys } => {
                self.reach_by_keys(*exchange, keys, record, &mut topics)?
            }
        }
        if topics.is_empty() {
            return Err(Error::Unroutable);
        }
        self.places_in(anywhere(topics), wanted)
    }

    /// The topics that a message to a topic reaches through bindings that have it as their source.
    fn reach_by_tag(&self, topic: TopicId, record: &[u8], topics: &mut Vec<TopicId>) -> Result<(), Error> {
        let state = self.state.topics.get(&topic).ok_or_else(|| Error::NoTopic(format!("#{}", topic.0)))?;
        if !state.shared.settings().writable {
            return Err(Error::NotWritable(state.shared.name.to_string()));
        }
        if state.routes.is_none() {
            return Ok(());
        }
        self.reach(RouteEnd::Topic(topic), &[tag_of(record)], record, topics)
    }

    /// The topics that a message to an exchange reaches.
    fn reach_by_keys(
        &self,
        exchange: ExchangeId,
        keys: &[Bytes],
        record: &[u8],
        topics: &mut Vec<TopicId>,
    ) -> Result<(), Error> {
        let state = self.state.exchanges.get(&exchange);
        let state = state.ok_or_else(|| Error::NoExchange(format!("#{}", exchange.0)))?;
        if state.shared.settings.internal {
            return Err(Error::Internal(state.shared.name.to_string()));
        }
        limit("routing keys of a message", to_u64(keys.len()), to_u64(ROUTING_KEYS_MAX))?;
        let texts: SmallVec<[_; 1]> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
        let texts: SmallVec<[&str; 1]> = texts.iter().map(|text| &**text).collect();
        self.reach(RouteEnd::Exchange(exchange), &texts, record, topics)
    }

    /// The topics that the message in a record reaches from one end.
    pub(in crate::shard) fn reach(
        &self,
        source: RouteEnd,
        keys: &[&str],
        record: &[u8],
        topics: &mut Vec<TopicId>,
    ) -> Result<(), Error> {
        let message = Traits::new(keys, record);
        route::resolve(source, |from, found| self.state.lead(from, &message, found), topics)
    }

    /// Places in all topics that are not full.
    fn places_in(
        &mut self,
        topics: impl Iterator<Item = (TopicId, Option<u32>)>,
        wanted: Wanted,
    ) -> Result<Chosen, Error> {
        let (mut places, mut durability, mut full) = (Places::new(), Durability::Memory, None);
        let mut first = None;
        for (topic, queue_index) in topics {
            if let Some(stored) = self.first_in(topic, &wanted)? {
                first = first.or(Some(stored));
                continue;
            }
            match self.place_in(topic, queue_index, wanted) {
                Ok((place, least)) => {
                    durability = durability.max(least);
                    places.push(place);
                }
                Err(error @ Error::Full { .. }) => full = Some(error),
                Err(error) => return Err(error),
            }
        }
        match full {
            Some(full) if places.is_empty() => Err(full),
            full => Ok(Chosen { places, durability, full, first }),
        }
    }

    /// A place in one topic, and how durable it must be there: what was asked, at least what the topic demands, and
    /// nothing for a topic that does not outlive this run.
    fn place_in(
        &mut self,
        topic: TopicId,
        wanted_index: Option<u32>,
        wanted: Wanted,
    ) -> Result<(Place, Durability), Error> {
        self.check_length(topic, wanted.bytes)?;
        let missing = || Error::NoTopic(format!("#{}", topic.0));
        let state = self.state.topics.get_mut(&topic).ok_or_else(missing)?;
        if !wanted.has_key && state.shared.settings().retention == Retention::Compacted {
            return Err(Error::NoKey(state.shared.name.to_string()));
        }
        let index = match wanted_index {
            Some(index) => usize::try_from(index).unwrap_or(usize::MAX),
            None => {
                state.turn = (state.turn + 1) % state.queues.len().max(1);
                state.turn
            }
        };
        let Some(id) = state.queues.get(index) else {
            return Err(Error::NoQueue {
                topic: state.shared.name.to_string(),
                index: wanted_index.unwrap_or(0),
                queues: u32::try_from(state.queues.len()).unwrap_or(u32::MAX),
            });
        };
        let settings = state.shared.settings();
        let is_transient = settings.lifetime != Lifetime::Durable;
        let durability =
            if is_transient { Durability::Memory } else { settings.durability.max(wanted.durability) };
        let queue = self.state.queues.get(id).ok_or_else(missing)?;
        Ok((Place { queue: queue.shared.clone(), offset: queue.next_offset, is_transient }, durability))
    }
}

/// Topics that choose among their queues themselves.
fn anywhere(topics: Vec<TopicId>) -> impl Iterator<Item = (TopicId, Option<u32>)> {
    topics.into_iter().map(|topic| (topic, None))
}

/// The text that a topic acting as an exchange routes by.
fn tag_of(record: &[u8]) -> &str {
    let message = record.get(RECORD_HEADER_BYTES..).and_then(|bytes| StoredMessage::parse(bytes).ok());
    message.and_then(|message| message.properties().get(property::TAGS)).unwrap_or_default()
}
