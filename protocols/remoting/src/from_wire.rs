//! Wire to domain: what a send's header and properties mean to the broker.
//!
//! The way back is `to_wire`; nothing else translates.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use mailrail_broker::{
    AfterFailure, DeduplicationKey, DelayLevels, Durability, GroupSettings, Now, Topic, TopicSettings,
};
use mailrail_message::property::{self, Properties};
use mailrail_message::{Draft, StoredMessage, sys_flag, tag_hash};

use crate::codec::command::SendMessage;
use crate::codec::response_code as response;
use crate::config::DEFAULT_TOPIC_QUEUES;
use crate::names::{DEAD_LETTER_PREFIX, RETRY_PREFIX};
use crate::outstanding::Returned;
use crate::refusal::Refusal;

/// RocketMQ's limit for timers; delay levels stay below it anyway.
const TIMER_DELAY_MS_MAX: u64 = 3 * 24 * 60 * 60 * 1_000;
/// Bits of `sysFlag` that describe the body as sent. The others are the broker's to set.
const SENT_FLAGS: u32 = sys_flag::COMPRESSED | sys_flag::MULTI_TAGS | 0b111 << sys_flag::COMPRESSION_SHIFT;

const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";

/// Properties that are not stored: they were a request to the broker, or are set by it.
const UNSTORED: &[&str] = &[
    property::POP_CHECK,
    property::DELAY_LEVEL,
    TIMER_DELAY_SEC,
    TIMER_DELAY_MS,
    TIMER_DELIVER_MS,
    property::REGION,
    property::TRACE_ON,
    property::CLUSTER,
    property::LITE_OFFSETS,
];

/// What the broker reads out of a property string, in one pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Meant<'a> {
    pub(crate) tag_hash: i32,
    /// The producer's own id.
    pub(crate) unique: Option<&'a str>,
    /// It is a half message, of this group of producers, which is not asked for so long.
    pub(crate) is_half: bool,
    pub(crate) producer_group: Option<&'a str>,
    pub(crate) immunity_seconds: Option<u64>,
    no_wait: bool,
    delay_level: usize,
    timer_delay_ms: Option<u64>,
    timer_due_ms: Option<u64>,
    has_unstored: bool,
}

impl<'a> Meant<'a> {
    pub(crate) fn by(properties: &'a [u8]) -> Meant<'a> {
        let mut meant = Meant::default();
        for (key, value) in Properties::new(properties).iter() {
            match key {
                property::TAGS => meant.tag_hash = tag_hash(value),
                property::UNIQUE_ID => meant.unique = Some(value),
                property::WAIT => meant.no_wait = value.eq_ignore_ascii_case("false"),
                property::PREPARED => meant.is_half = value.eq_ignore_ascii_case("true"),
                property::PRODUCER_GROUP => meant.producer_group = Some(value),
                property::CHECK_IMMUNITY_SECONDS => meant.immunity_seconds = value.parse().ok(),
                _ if UNSTORED.contains(&key) => meant.asked(key, value),
                _ => {}
            }
        }
        meant
    }

    fn asked(&mut self, key: &str, value: &str) {
        self.has_unstored = true;
        match key {
            property::DELAY_LEVEL => self.delay_level = value.parse().unwrap_or(0),
            // Seconds win over milliseconds, as with RocketMQ.
            TIMER_DELAY_SEC => {
                self.timer_delay_ms = value.parse().ok().map(|seconds: u64| seconds.saturating_mul(1_000));
            }
            TIMER_DELAY_MS => self.timer_delay_ms = self.timer_delay_ms.or(value.parse().ok()),
            TIMER_DELIVER_MS => self.timer_due_ms = value.parse().ok(),
            _ => {}
        }
    }

    /// `WAIT=false` is the only way to ask for less than the disk.
    pub(crate) fn durability(&self) -> Durability {
        if self.no_wait { Durability::Memory } else { Durability::Disk }
    }

    /// Wall time before which nobody is to see the message, if that lies ahead.
    pub(crate) fn due_ms(&self, now: Now, levels: &DelayLevels) -> Result<Option<u64>, Refusal> {
        if self.delay_level > 0 {
            return Ok(levels.delay_ms(self.delay_level).map(|delay| now.wall_ms.saturating_add(delay)));
        }
        let delayed = self.timer_delay_ms.map(|delay| now.wall_ms.saturating_add(delay));
        let Some(due) = delayed.or(self.timer_due_ms).filter(|due| *due > now.wall_ms) else {
            return Ok(None);
        };
        if due - now.wall_ms > TIMER_DELAY_MS_MAX {
            let remark = format!(
                "timer message illegal, the delay time should not be bigger than the max delay {TIMER_DELAY_MS_MAX}ms"
            );
            return Err(Refusal::new(response::MESSAGE_ILLEGAL, remark));
        }
        Ok(Some(due))
    }

    /// The property string to store of a message that is sent again: what it was in beside its topic, it stays in.
    pub(crate) fn stored_again<'p>(&self, properties: &'p [u8]) -> Cow<'p, [u8]> {
        let stored = self.stored(properties);
        match Properties::new(&stored).get(property::LITE_QUEUES) {
            Some(_) => Cow::Owned(property::without(&stored, &[property::LITE_QUEUES])),
            None => stored,
        }
    }

    /// The property string to store.
    pub(crate) fn stored<'p>(&self, properties: &'p [u8]) -> Cow<'p, [u8]> {
        if self.has_unstored {
            Cow::Owned(property::without(properties, UNSTORED))
        } else {
            Cow::Borrowed(properties)
        }
    }
}

/// Parts of a draft that are the same for all messages of one request.
pub(crate) struct Envelope<'a> {
    pub(crate) send: &'a SendMessage<'a>,
    /// The topic it really goes to.
    pub(crate) topic: &'a Topic,
    pub(crate) now: Now,
    pub(crate) peer: SocketAddr,
    pub(crate) advertised: SocketAddr,
}

impl Envelope<'_> {
    pub(crate) fn draft<'d>(
        &'d self,
        flag: i32,
        body: &'d [u8],
        properties: &'d [u8],
        more_properties: &'d [u8],
    ) -> Draft<'d> {
        let born = u64::try_from(self.send.born_timestamp).ok().filter(|born| *born > 0);
        Draft {
            topic: &self.topic.name,
            flag,
            sys_flags: self.send.sys_flag.cast_unsigned() & SENT_FLAGS,
            born_ms: born.unwrap_or(self.now.wall_ms),
            born_host: self.peer,
            store_host: self.advertised,
            reconsume_times: u32::try_from(self.send.reconsume_times).unwrap_or(0),
            body,
            properties,
            more_properties,
            annexes: &[],
        }
    }

    /// What a message is known by when it is sent again, where its topic cares: SDKs give each message an id of its own
    /// once, and keep it when they try again.
    pub(crate) fn known_by(&self, meant: &Meant<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        let unique = meant.unique.filter(|unique| !unique.is_empty() && self.topic.deduplicates());
        let Some(unique) = unique else { return Ok(None) };
        Ok(Some(DeduplicationKey::of_key(unique.as_bytes())?.annex()))
    }

    /// The queue it asked for; None for negative numbers, which leave the choice to the broker.
    pub(crate) fn queue_index(&self) -> Result<Option<u32>, Refusal> {
        if self.topic.name.starts_with(DEAD_LETTER_PREFIX) {
            // It may have been asked for a queue of the retry topic; here is one.
            return Ok(Some(0));
        }
        let Ok(index) = u32::try_from(self.send.queue_id) else { return Ok(None) };
        let queues = self.topic.queues().len();
        if usize::try_from(index).is_ok_and(|index| index < queues) {
            return Ok(Some(index));
        }
        Err(Refusal::no_queue(&self.topic.name, self.send.queue_id, queues))
    }
}

/// The dead letter topic that a re-sent message goes to when its attempts are used up: a client that could not send
/// a message back sends it to the retry topic itself. A consumer in order retries by itself and re-sends only what it
/// gives up, so of a group that `is_in_order` the last attempt counts too.
pub(crate) fn used_up(
    send: &SendMessage<'_>,
    settings: impl FnOnce(&str) -> Option<Arc<GroupSettings>>,
    is_in_order: impl FnOnce(&str) -> bool,
) -> Option<String> {
    let group = send.topic.strip_prefix(RETRY_PREFIX)?;
    let asked = send.max_reconsume_times.and_then(|max| u32::try_from(max).ok());
    let max = match asked {
        Some(max) => Some(max),
        None => {
            settings(group).map_or(GroupSettings::rocketmq(group).attempts_max, |group| group.attempts_max)
        }
    };
    let (times, max) = (u32::try_from(send.reconsume_times).unwrap_or(0), max?);
    let is_used_up = times > max || (times == max && is_in_order(group));
    is_used_up.then(|| format!("{DEAD_LETTER_PREFIX}{group}"))
}

/// Settings of a topic that a send makes: as many queues as the client expects, within the template's.
pub(crate) fn new_topic(send: &SendMessage<'_>, system_queues: Option<u32>) -> TopicSettings {
    let asked = u32::try_from(send.default_topic_queues).unwrap_or(0);
    let queues = match system_queues {
        Some(queues) => queues,
        None if send.topic.starts_with(RETRY_PREFIX) => 1,
        None => asked.clamp(1, DEFAULT_TOPIC_QUEUES),
    };
    topic_of(queues)
}

pub(crate) fn topic_of(queues: u32) -> TopicSettings {
    TopicSettings { queues, ..TopicSettings::default() }
}

/// What becomes of a message that was sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    RetryAfterMs(u64),
    DeadLetter,
}

/// `times` is how often consumers had failed on it before this time.
pub(crate) fn fate(returned: &Returned, times: u32, settings: &GroupSettings, levels: &DelayLevels) -> Fate {
    let max = returned.attempts_max.or(settings.attempts_max);
    if returned.delay_level < 0 || max.is_some_and(|max| times >= max) {
        return Fate::DeadLetter;
    }
    if let Some(delay) = usize::try_from(returned.delay_level).ok().and_then(|level| levels.delay_ms(level)) {
        return Fate::RetryAfterMs(delay);
    }
    match (GroupSettings { attempts_max: None, ..settings.clone() }).after_failure(times.saturating_add(1)) {
        AfterFailure::RetryAfterMs(delay) => Fate::RetryAfterMs(delay),
        AfterFailure::GiveUp => Fate::DeadLetter,
    }
}

/// Properties of a returned message: as stored, and where it came from when it comes back for the first time.
pub(crate) fn returned_properties(message: &StoredMessage<'_>, id: &str, fate: Fate) -> Vec<u8> {
    let stored = message.properties();
    let mut properties =
        property::without(stored.as_bytes(), &[property::DELAY_LEVEL, property::LITE_QUEUES]);
    let topic = stored.get(property::RETRY_TOPIC).unwrap_or(message.topic());
    let origin = stored.get(property::ORIGIN_MESSAGE_ID).unwrap_or(id);
    let pairs: &[(&str, &str)] = match fate {
        Fate::RetryAfterMs(_) => &[(property::RETRY_TOPIC, topic), (property::ORIGIN_MESSAGE_ID, origin)],
        Fate::DeadLetter => &[
            (property::RETRY_TOPIC, topic),
            (property::ORIGIN_MESSAGE_ID, origin),
            (property::DLQ_ORIGIN_TOPIC, topic),
            (property::DLQ_ORIGIN_MESSAGE_ID, origin),
        ],
    };
    for (key, value) in pairs {
        if stored.get(key).is_none() {
            property::push(&mut properties, key, value);
        }
    }
    properties
}

#[cfg(test)]
mod tests;
