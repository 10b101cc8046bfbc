//! The records of the log: messages in their own layout, and every other change of state.
//!
//! Changes are encoded with postcard. Variants and fields are only ever appended, so that older logs stay readable.

use std::cmp::Ordering;

use bytes::{BufMut, BytesMut};
use mailrail_commitlog::record;
use serde::{Deserialize, Serialize};

use crate::access::{AuditEntry, UserSettings};
use crate::ids::*;
use crate::schedule::Timer;
use crate::settings::*;
use crate::state::Item;

/// Kinds of records. Numbers are part of the stored format.
pub(crate) mod kind {
    /// A message in the queues its targets annex names.
    pub const MESSAGE: u8 = 1;
    /// A message that nobody sees yet: its due annex says when and where it will go.
    pub const WAITING_MESSAGE: u8 = 2;
    /// A [`super::Change`].
    pub const CHANGE: u8 = 3;
    /// A message that nobody sees before its producer commits it: its half annex says who that is.
    pub const HALF_MESSAGE: u8 = 4;
}

/// One end of a binding, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum RouteEnd {
    Exchange(ExchangeId),
    Topic(TopicId),
}

/// From a source to a target by key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub key: String,
    pub target: RouteEnd,
    pub attributes: Vec<u8>,
}

impl Ord for Binding {
    /// By target first, whatever the order in which the fields are stored.
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.target.cmp(&other.target).then_with(|| self.key.cmp(&other.key));
        order.then_with(|| self.attributes.cmp(&other.attributes))
    }
}

impl PartialOrd for Binding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A change of state that is not a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// First record of an epoch.
    Opened {
        epoch: u64,
        boot: String,
        wall_ms: u64,
    },
    /// Last record of a clean stop: nothing was lost after it.
    Closed {
        wall_ms: u64,
    },
    TopicPut {
        id: TopicId,
        name: String,
        settings: TopicSettings,
        queues: Vec<QueueId>,
    },
    TopicDeleted {
        id: TopicId,
    },
    GroupPut {
        id: GroupId,
        name: String,
        settings: GroupSettings,
    },
    /// A group's position on one topic is forgotten.
    GroupForgotten {
        group: GroupId,
        topic: TopicId,
    },
    ExchangePut {
        id: ExchangeId,
        name: String,
        settings: ExchangeSettings,
    },
    ExchangeDeleted {
        id: ExchangeId,
    },
    Bound {
        source: RouteEnd,
        binding: Binding,
    },
    Unbound {
        source: RouteEnd,
        binding: Binding,
    },
    /// Everything below the offset is settled, nothing from it on: a commit, a seek, a purge, a new group's start.
    Positioned {
        group: GroupId,
        queue: QueueId,
        offset: u64,
    },
    /// Runs of settled offsets: (first, count).
    Settled {
        group: GroupId,
        queue: QueueId,
        runs: Vec<(u64, u64)>,
    },
    /// Came back unsettled: now so many failed attempts, not to be handed out before a wall time.
    Returned {
        group: GroupId,
        queue: QueueId,
        first: u64,
        count: u64,
        attempts: u32,
        not_before_ms: u64,
    },
    /// Entries below may have been handed out in this epoch.
    Granted {
        group: GroupId,
        queue: QueueId,
        to: u64,
    },
    /// Offsets below may be seen unsynced.
    OffsetsReserved {
        queue: QueueId,
        to: u64,
    },
    /// The next offset is `next`; those between were lost with a crash of the machine.
    OffsetGap {
        queue: QueueId,
        next: u64,
    },
    /// Entries below are no more.
    QueueTrimmed {
        queue: QueueId,
        min: u64,
    },
    /// A waiting message will never be dispatched. Written by older versions; the newer one says its time too.
    WaitingDropped {
        position: u64,
    },
    /// A part of a snapshot of the whole state.
    Snapshot(Box<Item>),
    /// The snapshot that began at `start` is complete with so many items.
    SnapshotEnd {
        start: u64,
        items: u64,
    },
    /// The store holds everything up to `position`, durably.
    Checkpoint {
        number: u64,
        position: u64,
    },
    /// A waiting message will never be dispatched: it was withdrawn, or its topic is no more.
    WaitingRecalled {
        timer: Timer,
    },
    /// As [`Change::GroupPut`], of a group whose turns are not the usual ones.
    GroupPutInTurns {
        id: GroupId,
        name: String,
        settings: GroupSettings,
        turns: Turns,
    },
    /// Entries that may have been handed out in this epoch, besides those below the mark.
    GrantedApart {
        group: GroupId,
        queue: QueueId,
        first: u64,
        count: u64,
    },
    /// The half message at a position will never be seen. (One that is committed is replaced by a record that says so
    /// itself.)
    HalfRolledBack {
        position: u64,
    },
    /// The producers of half messages were asked once more what becomes of them, and are not asked again before a time.
    HalvesChecked {
        positions: Vec<u64>,
        next_check_ms: u64,
    },
    /// A user as it is from now on.
    UserPut {
        id: UserId,
        name: String,
        settings: Box<UserSettings>,
    },
    UserDeleted {
        id: UserId,
    },
    /// Somebody changed something, or was refused to.
    Audited(Box<AuditEntry>),
    /// Newer messages have the keys of these: runs of offsets (first, count) that are no more.
    Compacted {
        queue: QueueId,
        runs: Vec<(u64, u64)>,
    },
}

impl Change {
    /// Appends the change as a whole padded record; returns its bytes.
    pub fn encode(&self, out: &mut BytesMut) -> usize {
        let start = out.len();
        out.put_bytes(0, record::RECORD_HEADER_BYTES);
        // Writing to memory cannot fail, and these types have no shape that postcard refuses.
        let written = postcard::to_io(self, out.writer());
        debug_assert!(written.is_ok(), "a change failed to encode");
        finish(out, start, kind::CHANGE);
        out.len() - start
    }

    pub fn decode(bytes: &[u8]) -> Result<Change, postcard::Error> {
        postcard::from_bytes(bytes)
    }
}

/// Completes the record that starts at `start`: header in front, padding behind.
pub(crate) fn finish(out: &mut (impl BufMut + AsMut<[u8]> + Length), start: usize, kind: u8) {
    let own = out.length() - start - record::RECORD_HEADER_BYTES;
    out.put_bytes(0, record::padded(own) - record::RECORD_HEADER_BYTES - own);
    if let Some(header) = out.as_mut().get_mut(start..) {
        let written = record::write_header(header, kind, own);
        debug_assert!(written.is_ok(), "a record of {own} bytes has no header");
    }
}

/// Length of a growing buffer, whichever kind it is.
pub(crate) trait Length {
    fn length(&self) -> usize;
}

impl Length for Vec<u8> {
    fn length(&self) -> usize {
        self.len()
    }
}

impl Length for BytesMut {
    fn length(&self) -> usize {
        self.len()
    }
}

/// Kind and own length of the record whose first bytes are given.
pub(crate) fn header(bytes: &[u8]) -> Option<(u8, usize)> {
    let [a, b, c, d, kind, ..] = bytes else { return None };
    let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?;
    Some((*kind, length.checked_sub(record::RECORD_HEADER_BYTES)?))
}
