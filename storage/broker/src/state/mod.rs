//! The shard's state: a deterministic function of its log. Records change it through [`State::apply`] and
//! [`State::append`], in normal running and in replay alike; nothing here reads a clock or decides anything.
//!
//! Each part remembers the log position up to which a checkpoint already holds it (`as_of`), so that replay skips what
//! is in it.

mod compacted;
mod groups;
mod halves;
mod item;
mod pack;
mod picture;
mod positions;
mod progress;
mod queues;
mod ranges;
mod records;
mod restore;
mod routes;
mod timers;
mod topics;
mod users;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mailrail_commitlog::planted::{Bug, planted};
use rustc_hash::{FxHashMap, FxHashSet};

use self::picture::Picture;
use self::positions::Positions;
use crate::access::{Audit, User};

pub(crate) use self::item::{Item, ItemKey};
pub(crate) use self::pack::{CheckpointImage, PackError, read_checkpoint};
pub(crate) use self::picture::Piece;
pub(crate) use self::progress::{Failed, Progress};
pub(crate) use self::ranges::Ranges;
use crate::deduplication::Windows;
use crate::directory::{Directory, Exchange, Group, Topic};
use crate::ids::*;
use crate::policy::Policy;
use crate::queue::{BlockRef, Entry, Filling, Queue, Sealing};
use crate::record::{Binding, Change, RouteEnd};
use crate::route::{Routes, Traits};
use crate::schedule::Schedule;
use crate::settings::*;
use crate::store_thread::StoreJob;
use crate::transaction::Halves;

/// A record that contradicts the state it is applied to: the log is damaged or was written wrongly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Contradiction {
    #[error("queue {queue} is at offset {next}, the record names offset {found}")]
    Offset { queue: u64, next: u64, found: u64 },
}

#[derive(Debug)]
pub(crate) struct TopicState {
    pub shared: Arc<Topic>,
    pub queues: Vec<QueueId>,
    /// Queue that the next message without a choice goes to.
    pub turn: usize,
    pub policy: Arc<Policy>,
    /// Bindings that have this topic as their source.
    pub routes: Option<Routes>,
    as_of: u64,
}

#[derive(Debug)]
pub(crate) struct QueueState {
    pub shared: Arc<Queue>,
    filling: Filling,
    pub topic: TopicId,
    pub next_offset: u64,
    pub last_store_ms: u64,
    /// Offsets below may be seen unsynced: the synced log says so.
    pub reserved_to: u64,
    /// Runs of offsets (first, end) that no message has or ever will have.
    pub gaps: Vec<(u64, u64)>,
    /// Round of [`State::dirty`] that holds it already, or [`NO_ROUND`].
    dirty_in: u64,
    as_of: u64,
}

impl QueueState {
    fn new(shared: Arc<Queue>, topic: TopicId) -> Self {
        QueueState {
            shared,
            filling: Filling::default(),
            topic,
            next_offset: 0,
            last_store_ms: 0,
            reserved_to: 0,
            gaps: Vec::new(),
            dirty_in: NO_ROUND,
            as_of: 0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct ExchangeState {
    pub shared: Arc<Exchange>,
    pub routes: Routes,
    as_of: u64,
}

#[derive(Debug, Default)]
struct ProgressState {
    progress: Progress,
    as_of: u64,
}

/// A message that waits for its time, as snapshots of older versions have each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Waiting {
    pub due_ms: u64,
    /// Bytes of the stored message.
    pub bytes: u32,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub directory: Arc<Directory>,
    pub topics: FxHashMap<TopicId, TopicState>,
    pub queues: FxHashMap<QueueId, QueueState>,
    pub groups: FxHashMap<GroupId, Arc<Group>>,
    pub exchanges: FxHashMap<ExchangeId, ExchangeState>,
    /// Target and source of every binding, the other way round than bindings are kept.
    sources: BTreeSet<(RouteEnd, RouteEnd)>,
    progress: Positions,
    schedule: Schedule,
    halves: Halves,
    windows: Windows,
    pub users: FxHashMap<UserId, Arc<User>>,
    pub audit: Audit,
    /// Topics of which messages are traced.
    pub traced: FxHashSet<TopicId>,
    pub next_id: u64,
    pub epoch: u64,
    pub boot: String,
    /// True when the last record seen is that of a clean stop.
    pub closed: bool,
    pub checkpoint: u64,
    /// Where the newest checkpoint of this run was begun.
    pub checkpoint_at: u64,
    /// Pieces that the store does not hold as they are.
    dirty: FxHashSet<ItemKey>,
    /// Counts how often those were taken.
    dirty_round: u64,
    picture: Option<Picture>,
    /// Work for the store that applying records brought up.
    pub store_jobs: Vec<StoreJob>,
}

const NO_ROUND: u64 = u64::MAX;

impl State {
    /// Carries out a change that is, or is about to be, in the log at `position`.
    pub fn apply(&mut self, position: u64, change: &Change) {
        self.closed = matches!(change, Change::Closed { .. });
        match change {
            Change::Opened { epoch, boot, .. } => {
                (self.epoch, self.boot) = (*epoch, boot.clone());
                self.dirty.insert(ItemKey::Shard);
            }
            Change::Closed { .. } => {}
            Change::TopicPut { id, name, settings, queues } => {
                self.put_topic(position, *id, name, settings, queues)
            }
            Change::TopicDeleted { id } => self.delete_topic(*id),
            Change::GroupPut { id, name, settings } => self.put_group(*id, name, settings),
            Change::GroupPutInTurns { id, name, settings, turns } => {
                self.put_group(*id, name, &GroupSettings { turns: *turns, ..settings.clone() });
            }
            Change::GroupForgotten { group, topic } => self.forget_group(*group, *topic),
            Change::ExchangePut { id, name, settings } => self.put_exchange(*id, name, settings),
            Change::ExchangeDeleted { id } => self.delete_exchange(*id),
            Change::Bound { source, binding } => self.bind(position, *source, binding),
            Change::Unbound { source, binding } => self.unbind(position, *source, binding),
            Change::Positioned { group, queue, offset } => self.reposition(position, *group, *queue, *offset),
            Change::Settled { group, queue, runs } => {
                self.change_progress(position, *group, *queue, |progress| {
                    for (first, count) in runs {
                        progress.settle(*first, *count);
                    }
                });
                self.drop_settled(*group, *queue);
            }
            Change::Returned { group, queue, first, count, attempts, not_before_ms } => {
                let failed = Failed { attempts: *attempts, not_before_ms: *not_before_ms };
                self.change_progress(position, *group, *queue, |progress| {
                    progress.fail(*first, *count, failed)
                });
            }
            Change::Granted { group, queue, to } => {
                self.change_progress(position, *group, *queue, |progress| progress.mark_granted(*to));
            }
            Change::GrantedApart { group, queue, first, count } => {
                let end = first.saturating_add(*count);
                self.change_progress(position, *group, *queue, |progress| progress.grant(*first, end));
            }
            Change::OffsetsReserved { queue, to } => self.change_queue(position, *queue, |state| {
                state.reserved_to = state.reserved_to.max(*to);
            }),
            Change::OffsetGap { queue, next } => self.skip_offsets(position, *queue, *next),
            Change::QueueTrimmed { queue, min } => self.trim_queue(*queue, *min),
            // A replay gives them with what it knows of them besides.
            Change::WaitingDropped { .. } => {}
            Change::WaitingRecalled { timer } => self.recalled(position, *timer),
            Change::HalfRolledBack { position: half } => self.half_ended(position, *half),
            Change::HalvesChecked { positions, next_check_ms } => {
                self.halves_checked(position, positions, *next_check_ms)
            }
            Change::UserPut { id, name, settings } => self.put_user(*id, name, settings),
            Change::UserDeleted { id } => self.delete_user(*id),
            Change::Audited(entry) => self.add_audit(entry),
            Change::Compacted { queue, runs } => self.compacted(*queue, runs),
            // Snapshots repeat what the state holds already; a rebuild reads them before anything else.
            Change::Snapshot(_) | Change::SnapshotEnd { .. } => {}
            Change::Checkpoint { number, .. } => self.checkpoint = self.checkpoint.max(*number),
        }
    }

    /// A number that nothing had before.
    pub fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn saw_id(&mut self, id: u64) {
        if id > self.next_id {
            self.next_id = id;
            self.dirty.insert(ItemKey::Shard);
        }
    }
}

#[cfg(test)]
mod tests;
