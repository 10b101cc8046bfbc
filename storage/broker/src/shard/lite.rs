//! Light queues: made when a message names them, gone with their parent or when nobody has used them.

use bytes::BytesMut;
use mailrail_commitlog::record::RECORD_HEADER_BYTES;
use mailrail_message::StoredMessage;

use super::publish::Run;
use super::*;
use crate::command::Name;
use crate::directory::Topic;
use crate::limits::TURN_PIECES_MAX;
use crate::lite::{self, LITE_OF};
use crate::publish::{Destination, Passing, PublishBatch, PublishItem};
use crate::settings::TopicSettings;

/// Light queues whose parent is gone: they go in steps, so that no delete of a topic holds up the shard.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// Names of parents, and behind which of their light queues to look next.
    parents: VecDeque<(Name, Option<Name>)>,
}

impl Orphans {
    /// Those that a stop has left.
    pub fn new(state: &State) -> Self {
        let mut orphans = Orphans::default();
        for parent in state.directory.lite_parents() {
            orphans.note(state, &parent);
        }
        orphans
    }

    /// A topic of this name is gone, or may be.
    pub fn note(&mut self, state: &State, parent: &Name) {
        if state.directory.lite_count(parent) > 0 {
            self.parents.push_back((parent.clone(), None));
        }
    }
}

impl Shard {
    pub(super) fn has_orphans(&self) -> bool {
        !self.orphans.parents.is_empty() && self.refusal().is_none()
    }

    /// Deletes some of the light queues that have lost their parent.
    pub(super) fn delete_orphans(&mut self) {
        if !self.has_orphans() {
            return;
        }
        let Some((name, after)) = self.orphans.parents.pop_front() else { return };
        let parent = self.state.directory.topic(&name);
        let lites = self.state.directory.lites(&name, after.as_deref(), TURN_PIECES_MAX);
        let Some(last) = lites.last().map(|lite| lite.name.clone()) else { return };
        for lite in lites {
            let is_orphan = parent.as_ref().is_none_or(|parent| !lite::is_under(&lite, parent));
            if is_orphan && let Err(error) = self.remove_topic(&lite) {
                tracing::warn!(topic = %lite.name, %error, "a light queue could not be deleted with its topic");
            }
        }
        self.reclaim.want();
        self.orphans.parents.push_front((name, Some(last)));
    }

    /// Makes the light queues that the first message in `buffer` behind the run names, where they are missing.
    pub(super) fn make_lites(
        &mut self,
        now: Now,
        buffer: &mut BytesMut,
        run: &mut Run,
        item: &PublishItem,
        passing: Passing,
    ) -> Result<(), Error> {
        let record = buffer.get(run.bytes..run.bytes + item.record_len).unwrap_or(&[]);
        let missing = match passing {
            Passing::Refused => self.check_lites(item, record)?,
            Passing::Over => self.makeable_lites(item, record),
        };
        if missing.is_empty() || item.waits() {
            return Ok(());
        }
        // What is in the run comes first in the log.
        self.push_run(buffer, run);
        self.create_lites(now, item, missing)
    }

    /// As [`Shard::make_lites`], for all messages of a batch that were found to be fit.
    pub(super) fn make_lites_of(&mut self, now: Now, batch: &PublishBatch) -> Result<(), Error> {
        let mut at = 0;
        for item in &batch.items {
            let record = batch.buffer.get(at..at + item.record_len).unwrap_or(&[]);
            at += item.record_len;
            if item.lites.is_some() && !item.waits() {
                let missing = self.check_lites(item, record)?;
                self.create_lites(now, item, missing)?;
            }
        }
        Ok(())
    }

    fn create_lites(&mut self, now: Now, item: &PublishItem, missing: Vec<String>) -> Result<(), Error> {
        let Some(parent) = self.lite_parent(item) else { return Ok(()) };
        let settings = self.lite_settings(&parent)?;
        for name in missing {
            if let Some(orphan) = self.state.directory.topic(&name) {
                self.remove_topic(&orphan)?;
            }
            let id = self.create_topic(&name, &settings)?;
            self.use_topic(now, id);
        }
        Ok(())
    }

    /// Names of the light queues that a message needs and that are not there; an error where it may not have them.
    pub(super) fn check_lites(&self, item: &PublishItem, record: &[u8]) -> Result<Vec<String>, Error> {
        let Some(parent) = self.lite_parent(item) else { return Ok(Vec::new()) };
        self.lite_expires_ms(&parent)?;
        let message = message_of(record);
        let names: Vec<&str> = message.iter().flat_map(lite::names).collect();
        lite::check_names(&names)?;
        let mut missing: Vec<String> = Vec::new();
        for name in names {
            if self.is_missing(name, &parent)? && !missing.iter().any(|other| other == name) {
                missing.push(name.to_owned());
            }
        }
        if !missing.is_empty() {
            lite::check_count(self.state.directory.lite_count(&parent.name) + missing.len())?;
        }
        Ok(missing)
    }

    /// The same, as far as there may be such.
    fn makeable_lites(&self, item: &PublishItem, record: &[u8]) -> Vec<String> {
        let Some(parent) = self.lite_parent(item).filter(|parent| self.lite_expires_ms(parent).is_ok())
        else {
            return Vec::new();
        };
        let message = message_of(record);
        let mut missing: Vec<String> = Vec::new();
        let there = self.state.directory.lite_count(&parent.name);
        for name in message.iter().flat_map(lite::names) {
            let is_fit =
                lite::check_name(name).is_ok() && lite::check_count(there + missing.len() + 1).is_ok();
            let is_missing = self.is_missing(name, &parent).unwrap_or(false);
            if is_fit && is_missing && !missing.iter().any(|other| other == name) {
                missing.push(name.to_owned());
            }
        }
        missing
    }

    /// Whether a light queue must be made; an error where another topic has that name.
    fn is_missing(&self, name: &str, parent: &Topic) -> Result<bool, Error> {
        let Some(found) = self.state.directory.topic(name) else { return Ok(true) };
        if found.lite_of.as_ref() == Some(&parent.name) {
            // One that is left of a topic that had the parent's name gives way.
            return Ok(!lite::is_under(&found, parent));
        }
        let owner =
            found.lite_of.as_deref().map_or("no topic".to_owned(), |owner| format!("topic {owner:?}"));
        let (value, allowed) = (format!("{name:?}, of {owner}"), "one that is the topic's own");
        Err(Error::Argument { name: "a light queue", value, allowed })
    }

    /// Adds those of a message's light queues that are there.
    pub(super) fn reach_lites(&self, topic: TopicId, record: &[u8], topics: &mut Vec<TopicId>) {
        let Some(parent) = self.state.topics.get(&topic).map(|parent| parent.shared.clone()) else { return };
        let message = message_of(record);
        for name in message.iter().flat_map(lite::names) {
            let lite = self.state.directory.topic(name).filter(|lite| lite::is_under(lite, &parent));
            if let Some(lite) = lite.filter(|lite| !topics.contains(&lite.id)) {
                topics.push(lite.id);
            }
        }
    }

    fn lite_parent(&self, item: &PublishItem) -> Option<Arc<Topic>> {
        let Destination::Topic { topic, .. } = &item.destination else { return None };
        self.state.topics.get(topic).map(|topic| topic.shared.clone())
    }

    /// When a topic's light queues go that nobody uses, if it may have any.
    fn lite_expires_ms(&self, parent: &Topic) -> Result<u64, Error> {
        let expires_ms = self.state.topics.get(&parent.id).and_then(|topic| topic.policy.lite_expires_ms);
        expires_ms.ok_or_else(|| {
            let allowed = "only a topic with the attribute lite, not this one, ";
            Error::Argument { name: "the parent of light queues", value: parent.name.to_string(), allowed }
        })
    }

    fn lite_settings(&self, parent: &Topic) -> Result<TopicSettings, Error> {
        let expires_ms = self.lite_expires_ms(parent)?;
        Ok(lite::settings_of(&parent.name, &parent.settings(), expires_ms))
    }

    /// The settings that a topic gets which somebody asks for as a light queue; `None` for any other.
    pub(super) fn settings_of_lite(
        &self,
        name: &str,
        asked: &TopicSettings,
    ) -> Result<Option<TopicSettings>, Error> {
        let Some(parent) = asked.attributes.get(LITE_OF) else { return Ok(None) };
        lite::check_name(name)?;
        let parent = self.state.directory.topic(parent).ok_or_else(|| Error::NoTopic(parent.clone()))?;
        let settings = self.lite_settings(&parent)?;
        if self.state.directory.topic(name).is_none() {
            lite::check_count(self.state.directory.lite_count(&parent.name) + 1)?;
        }
        Ok(Some(settings))
    }

    /// When a light queue was used in a way that nobody was told of: a message came, or somebody waits for one.
    pub(super) fn lite_used(&self, now: Now, topic: &Topic) -> Duration {
        if topic.lite_of.is_none() {
            return Duration::ZERO;
        }
        let queues = topic.queues();
        if queues.iter().any(|queue| queue.is_waited_for()) {
            return now.mono;
        }
        let stored_ms = queues.iter().filter_map(|queue| self.state.queues.get(&queue.id));
        let last_ms = stored_ms.map(|queue| queue.last_store_ms).max().unwrap_or(0);
        now.mono.saturating_sub(Duration::from_millis(now.wall_ms.saturating_sub(last_ms)))
    }
}

fn message_of(record: &[u8]) -> Option<StoredMessage<'_>> {
    record.get(RECORD_HEADER_BYTES..).and_then(|bytes| StoredMessage::parse(bytes).ok())
}
