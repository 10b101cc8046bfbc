//! The state in pieces: what a checkpoint writes to the store and a snapshot to the log. The index of a queue is part
//! of a checkpoint only; a snapshot leaves it to the retained messages.

use serde::{Deserialize, Serialize};

use super::*;
use crate::access::{AuditEntry, UserSettings};
use crate::deduplication::RememberedImage;
use crate::queue::{IndexImage, PackedRun, PrioritySet};
use crate::schedule::ScheduleImage;
use crate::transaction::HalfImage;

/// Names one piece of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum ItemKey {
    Shard,
    Topic(TopicId),
    Queue(QueueId),
    Group(GroupId),
    Exchange(ExchangeId),
    Progress(GroupId, QueueId),
    /// Of older versions: each waiting message was a piece.
    Waiting(u64),
    Schedule,
    /// Half messages of a region of the log.
    Halves(u64),
    User(UserId),
    Audit,
    /// What a topic remembers of messages in a region of the log.
    Window(TopicId, u64),
}

impl ItemKey {
    /// Order in which pieces depend on each other: what others point to comes first.
    pub fn rank(&self) -> u8 {
        match self {
            ItemKey::Shard => 0,
            ItemKey::Group(_) => 1,
            ItemKey::Topic(_) => 2,
            ItemKey::Queue(_) => 3,
            ItemKey::Exchange(_) => 4,
            ItemKey::Progress(..) => 5,
            ItemKey::Waiting(_) => 6,
            ItemKey::Schedule => 7,
            ItemKey::Halves(_) => 8,
            ItemKey::User(_) => 9,
            ItemKey::Audit => 10,
            ItemKey::Window(..) => 11,
        }
    }
}

/// One piece of the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Item {
    Shard {
        next_id: u64,
        epoch: u64,
        boot: String,
        checkpoint: u64,
    },
    Topic {
        id: TopicId,
        name: String,
        settings: TopicSettings,
        queues: Vec<QueueId>,
        bindings: Vec<Binding>,
    },
    Queue(QueueItem),
    Group {
        id: GroupId,
        name: String,
        settings: GroupSettings,
    },
    Exchange {
        id: ExchangeId,
        name: String,
        settings: ExchangeSettings,
        bindings: Vec<Binding>,
    },
    Progress {
        group: GroupId,
        queue: QueueId,
        floor: u64,
        settled: Vec<(u64, u64)>,
        failed: Vec<(u64, u32, u64)>,
        granted_to: u64,
    },
    Waiting {
        position: u64,
        waiting: Waiting,
    },
    /// The index of the queue of the same number: directory of sealed blocks, the priorities in them by their first
    /// offsets, then entries behind them.
    Index {
        queue: QueueId,
        sealed: Vec<BlockRef>,
        priorities: Vec<(u64, PrioritySet)>,
        open: Vec<PackedRun>,
    },
    Schedule(Box<ScheduleImage>),
    /// As [`Item::Group`], of a group whose turns are not the usual ones.
    GroupInTurns {
        id: GroupId,
        name: String,
        settings: GroupSettings,
        turns: Turns,
    },
    /// As [`Item::Progress`], with offsets that may have been handed out besides those below the mark.
    ProgressApart {
        group: GroupId,
        queue: QueueId,
        floor: u64,
        settled: Vec<(u64, u64)>,
        failed: Vec<(u64, u32, u64)>,
        granted_to: u64,
        granted: Vec<(u64, u64)>,
    },
    /// Half messages whose records lie in one region of the log.
    Halves {
        region: u64,
        halves: Vec<HalfImage>,
    },
    User {
        id: UserId,
        name: String,
        settings: Box<UserSettings>,
    },
    Audit(Vec<AuditEntry>),
    /// As [`Item::Queue`], of one from which compaction has removed runs of offsets (first, end).
    QueueCompacted {
        queue: QueueItem,
        removed: Vec<(u64, u64)>,
    },
    /// Messages by which a topic knows those that are sent again, and whose records lie in one region of the log.
    Window {
        topic: TopicId,
        region: u64,
        remembered: Vec<RememberedImage>,
    },
}

/// A queue without its index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct QueueItem {
    pub id: QueueId,
    pub topic: TopicId,
    pub index: u32,
    pub next_offset: u64,
    pub min_offset: u64,
    pub last_store_ms: u64,
    pub reserved_to: u64,
    pub gaps: Vec<(u64, u64)>,
}

impl Item {
    /// The piece that it is, or is part of.
    fn key(&self) -> ItemKey {
        match self {
            Item::Shard { .. } => ItemKey::Shard,
            Item::Topic { id, .. } => ItemKey::Topic(*id),
            Item::Queue(queue) | Item::QueueCompacted { queue, .. } => ItemKey::Queue(queue.id),
            Item::Index { queue, .. } => ItemKey::Queue(*queue),
            Item::Group { id, .. } | Item::GroupInTurns { id, .. } => ItemKey::Group(*id),
            Item::Exchange { id, .. } => ItemKey::Exchange(*id),
            Item::Progress { group, queue, .. } | Item::ProgressApart { group, queue, .. } => {
                ItemKey::Progress(*group, *queue)
            }
            Item::Waiting { position, .. } => ItemKey::Waiting(*position),
            Item::Schedule(_) => ItemKey::Schedule,
            Item::Halves { region, .. } => ItemKey::Halves(*region),
            Item::User { id, .. } => ItemKey::User(*id),
            Item::Audit(_) => ItemKey::Audit,
            Item::Window { topic, region, .. } => ItemKey::Window(*topic, *region),
        }
    }

    /// The index of a queue as it was.
    pub fn index(queue: QueueId, image: &IndexImage) -> Item {
        let (sealed, priorities) = (image.sealed().to_vec(), image.priorities().to_vec());
        Item::Index { queue, sealed, priorities, open: image.runs() }
    }

    /// Numbers, names and bindings that it lists.
    pub fn parts(&self) -> usize {
        match self {
            Item::Shard { .. } | Item::Waiting { .. } => 0,
            Item::Topic { queues, bindings, .. } => queues.len() + bindings.len(),
            Item::Queue(queue) => queue.gaps.len(),
            Item::QueueCompacted { queue, removed } => queue.gaps.len() + removed.len(),
            Item::Group { settings, .. } | Item::GroupInTurns { settings, .. } => settings.backoff_ms.len(),
            Item::Exchange { bindings, .. } => bindings.len(),
            Item::Progress { settled, failed, .. } => settled.len() + failed.len(),
            Item::ProgressApart { settled, failed, granted, .. } => {
                settled.len() + failed.len() + granted.len()
            }
            Item::Index { sealed, open, .. } => sealed.len() + open.len(),
            Item::Schedule(image) => image.parts(),
            Item::Halves { halves, .. } => halves.len(),
            Item::User { settings, .. } => settings.rules.len(),
            Item::Audit(entries) => entries.len(),
            Item::Window { remembered, .. } => remembered.len(),
        }
    }

    /// Order in which items must be restored: that of their pieces, and an index after its queue.
    pub fn rank(&self) -> (u8, bool) {
        (self.key().rank(), matches!(self, Item::Index { .. }))
    }
}

impl State {
    /// Pieces that the next checkpoint must hold, whether or not they change until then.
    pub fn mark_dirty(&mut self, keys: Vec<ItemKey>) {
        self.dirty.extend(keys);
    }

    /// Every piece, for a snapshot.
    pub fn all_keys(&self) -> Vec<ItemKey> {
        let mut keys = vec![ItemKey::Shard];
        keys.extend(self.groups.keys().map(|id| ItemKey::Group(*id)));
        keys.extend(self.topics.keys().map(|id| ItemKey::Topic(*id)));
        keys.extend(self.queues.keys().map(|id| ItemKey::Queue(*id)));
        keys.extend(self.exchanges.keys().map(|id| ItemKey::Exchange(*id)));
        keys.extend(self.progress.iter().map(|((group, queue), _)| ItemKey::Progress(*group, *queue)));
        keys.push(ItemKey::Schedule);
        keys.extend(self.halves.regions().into_iter().map(ItemKey::Halves));
        keys.extend(self.users.keys().map(|id| ItemKey::User(*id)));
        keys.extend((!self.audit.is_empty()).then_some(ItemKey::Audit));
        keys.extend(self.windows.pieces().into_iter().map(|(topic, region)| ItemKey::Window(topic, region)));
        keys
    }

    /// A piece as it is now; `None` when it is no more.
    pub fn item(&self, key: ItemKey) -> Option<Item> {
        Some(match key {
            ItemKey::Shard => {
                let (next_id, epoch, boot) = (self.next_id, self.epoch, self.boot.clone());
                Item::Shard { next_id, epoch, boot, checkpoint: self.checkpoint }
            }
            ItemKey::Topic(id) => {
                let topic = self.topics.get(&id)?;
                let bindings = topic.routes.iter().flat_map(Routes::bindings).cloned().collect();
                let (name, settings) = (topic.shared.name.to_string(), (*topic.shared.settings()).clone());
                Item::Topic { id, name, settings, queues: topic.queues.clone(), bindings }
            }
            ItemKey::Queue(id) => {
                let queue = self.queues.get(&id)?;
                let removed = queue.shared.removed_runs();
                let queue = QueueItem {
                    id,
                    topic: queue.topic,
                    index: queue.shared.index,
                    next_offset: queue.next_offset,
                    min_offset: queue.shared.min_offset(),
                    last_store_ms: queue.last_store_ms,
                    reserved_to: queue.reserved_to,
                    gaps: queue.gaps.clone(),
                };
                if removed.is_empty() { Item::Queue(queue) } else { Item::QueueCompacted { queue, removed } }
            }
            ItemKey::Group(id) => {
                let group = self.groups.get(&id)?;
                let (name, settings) = (group.name.to_string(), (*group.settings()).clone());
                let turns = settings.turns;
                if turns == Turns::default() {
                    Item::Group { id, name, settings }
                } else {
                    Item::GroupInTurns { id, name, settings, turns }
                }
            }
            ItemKey::Exchange(id) => {
                let exchange = self.exchanges.get(&id)?;
                let (name, settings) = (exchange.shared.name.to_string(), exchange.shared.settings.clone());
                Item::Exchange { id, name, settings, bindings: exchange.routes.bindings().cloned().collect() }
            }
            ItemKey::Progress(group, queue) => progress_item((group, queue), self.progress(group, queue)?),
            ItemKey::Waiting(_) => return None,
            ItemKey::Schedule => Item::Schedule(Box::new(self.schedule.image())),
            ItemKey::Halves(region) => Item::Halves { region, halves: self.halves.image(region)? },
            ItemKey::User(id) => self.user_item(id)?,
            ItemKey::Audit => self.audit_item()?,
            ItemKey::Window(topic, region) => {
                Item::Window { topic, region, remembered: self.windows.image(topic, region)? }
            }
        })
    }

    /// As [`State::item`], without what retained messages carry.
    pub fn item_for_snapshot(&self, key: ItemKey) -> Option<Item> {
        match key {
            ItemKey::Schedule => Some(Item::Schedule(Box::new(self.schedule.snapshot()))),
            key => self.item(key),
        }
    }

    /// Every visible entry of a queue that is in memory, however its index is cut: for comparing.
    #[cfg(test)]
    pub fn whole_index(&self, id: QueueId) -> Option<Item> {
        let image = self.queues.get(&id)?.shared.image(u64::MAX);
        let last = image.entries().last().and_then(|last| PackedRun::of(&[last]));
        let (sealed, priorities) = (Vec::new(), Vec::new());
        Some(Item::Index { queue: id, sealed, priorities, open: last.into_iter().collect() })
    }

    /// The next checkpoint must hold everything.
    pub fn mark_all_dirty(&mut self) {
        self.dirty.extend(self.all_keys());
    }

    /// After restoring a checkpoint: nothing differs from it.
    pub fn forget_dirty(&mut self) {
        drop(self.take_dirty());
    }

    /// Pieces that changed since this was last called.
    pub(super) fn take_dirty(&mut self) -> FxHashSet<ItemKey> {
        self.dirty_round += 1;
        std::mem::take(&mut self.dirty)
    }
}

fn progress_item((group, queue): (GroupId, QueueId), progress: &Progress) -> Item {
    let failed = progress.failed.iter().map(|(offset, f)| (*offset, f.attempts, f.not_before_ms)).collect();
    let settled = progress.settled.iter().collect();
    let Progress { floor, granted_to, .. } = *progress;
    if progress.granted.len() == 0 {
        return Item::Progress { group, queue, floor, settled, failed, granted_to };
    }
    let granted = progress.granted.iter().collect();
    Item::ProgressApart { group, queue, floor, settled, failed, granted_to, granted }
}
