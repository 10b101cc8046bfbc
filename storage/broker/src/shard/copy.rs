//! Storing a message again: dispatch of one that waited, commit of a half message, or a dead letter. The copy is a new complete record.

use bytes::BytesMut;
use mailrail_message::{AnnexKind, Draft, PROPERTIES_BYTES_MAX, StoredMessage, property, tag_hash};

use super::*;
use crate::event::Stored;
use crate::publish::{Destination, Passing, PublishBatch};
use crate::schedule::Timer;
use crate::settings::Durability;

/// What a copy differs in.
#[derive(Default)]
pub(super) struct Differences {
    pub reconsume_times: Option<u32>,
    /// Properties to leave out, and to add (name, value).
    pub without: &'static [&'static str],
    pub with: Vec<(&'static str, String)>,
    /// The waiting message that the copy replaces.
    pub dispatch_of: Option<Timer>,
    /// The half message that it replaces.
    pub commit_of: Option<Position>,
    pub sys_flags: Option<u32>,
    /// The history of deaths that it has in place of any other.
    pub deaths: Option<Vec<u8>>,
}

impl Shard {
    /// Appends a copy of `stored` to where it is to go, the first topic of which names it, together with `change`: both
    /// survive a crash or neither. The copy is synced before anybody sees it. Of several topics those that are full do
    /// without it.
    pub(super) fn store_copy(
        &mut self,
        now: Now,
        stored: &StoredMessage<'_>,
        (topic, destination): (TopicId, Destination),
        differences: Differences,
        change: Option<Change>,
    ) -> Result<Stored, Error> {
        let name = self.state.topics.get(&topic).map(|topic| topic.shared.name.clone());
        let name = name.ok_or_else(|| Error::NoTopic(format!("#{}", topic.0)))?;
        let mut properties = property::without(stored.properties().as_bytes(), differences.without);
        for (key, value) in &differences.with {
            // What does not fit is left out: the message itself matters more.
            if properties.len() + key.len() + value.len() + PAIR_OVERHEAD_BYTES <= PROPERTIES_BYTES_MAX {
                property::push(&mut properties, key, value);
            }
        }
        let replaced = differences.dispatch_of.map(|Timer { due_ms, position, bytes }| {
            [&position.to_le_bytes()[..], &due_ms.to_le_bytes(), &bytes.to_le_bytes()].concat()
        });
        let has_died = differences.deaths.is_some();
        let kept = |kind| match kind {
            AnnexKind::Targets | AnnexKind::Due | AnnexKind::DispatchOf => false,
            AnnexKind::Half | AnnexKind::CommitOf => false,
            // Nobody has sent the copy: the first one is what is remembered.
            AnnexKind::Deduplication => false,
            AnnexKind::Deaths => !has_died,
            _ => true,
        };
        let stored_annexes = stored.annexes().map_while(Result::ok).filter(|annex| kept(annex.kind));
        let mut annexes: Vec<(AnnexKind, &[u8])> =
            stored_annexes.map(|annex| (annex.kind, annex.bytes)).collect();
        annexes.extend(replaced.as_ref().map(|timer| (AnnexKind::DispatchOf, timer.as_slice())));
        let committed = differences.commit_of.map(Position::to_le_bytes);
        annexes.extend(committed.as_ref().map(|half| (AnnexKind::CommitOf, half.as_slice())));
        annexes.extend(differences.deaths.as_ref().map(|deaths| (AnnexKind::Deaths, deaths.as_slice())));
        let draft = Draft {
            topic: &name,
            flag: stored.flag(),
            sys_flags: differences.sys_flags.unwrap_or(stored.sys_flags()),
            born_ms: stored.born_ms(),
            born_host: stored.born_host(),
            store_host: stored.store_host(),
            reconsume_times: differences.reconsume_times.unwrap_or(stored.reconsume_times()),
            body: stored.body(),
            properties: &properties,
            more_properties: &[],
            annexes: &annexes,
        };
        let tag = property_tag(&properties);
        let mut batch = PublishBatch::default();
        let too_large = |error: mailrail_message::DraftError| Error::Read(error.to_string());
        batch.push(&draft, destination, tag, Durability::Disk).map_err(too_large)?;
        for item in &mut batch.items {
            item.lites = item.lites.map(|_| Passing::Over);
            // It was taken before, and is not lost for want of a key.
            item.handling.has_key = true;
        }
        let mut beside = BytesMut::new();
        let change_bytes = change.as_ref().map_or(0, |change| change.encode(&mut beside));
        // Room for both in one group first; what follows then cannot roll in between. Fan-out and reserved offsets
        // make the copy longer by little.
        let bytes = batch.bytes() + change_bytes;
        // A short segment may have no room for all that routing might add, and mostly adds nothing.
        let most = (bytes + COPY_SLACK_BYTES).min(self.journal.group_bytes_max());
        self.journal.reserve(most.max(bytes))?;
        let copy = self.store_batch_of_one(now, batch)?;
        change.map_or(Ok(()), |change| self.log(change))?;
        Ok(copy)
    }
}

/// Separators around a pair and its name.
const PAIR_OVERHEAD_BYTES: usize = 3;
/// Room for what routing may add to a copy.
const COPY_SLACK_BYTES: usize = 64 * 1024;

fn property_tag(properties: &[u8]) -> i32 {
    property::Properties::new(properties).get(property::TAGS).map_or(0, tag_hash)
}
