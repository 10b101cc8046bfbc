//! What goes to and fro between the shard and those around it: its inputs, the work that readers carry out for it, and
//! what a turn leaves to be carried away. Decides nothing.

use super::*;
use crate::compaction::Compaction;
use crate::reader::ReadContext;
use crate::retention::{Expired, Expiry, Survey, Surveyed};
use crate::store_thread::GatherOutcome;

/// What reaches the shard thread.
#[derive(Debug)]
pub(crate) enum Input {
    Commands {
        mailbox: Arc<Mailbox>,
        commands: Vec<Command>,
        since: Duration,
    },
    Disconnected {
        mailbox: Arc<Mailbox>,
    },
    /// The log is in the page cache, or on the disk, up to here since a monotonic time.
    Written {
        to: Position,
        at: Duration,
    },
    Synced {
        to: Position,
        at: Duration,
    },
    /// The disk is full; what lies from here on waits for room.
    Refused {
        from: Position,
    },
    /// The disk is nearly full, or no longer.
    ShortOfRoom {
        is_short: bool,
    },
    Poisoned(String),
    /// Granted entries whose messages could not be read.
    Unread {
        receipts: Vec<Receipt>,
    },
    /// Granted entries whose messages are not what was stored.
    Damaged {
        receipts: Vec<Receipt>,
    },
    /// Granted entries whose messages are no more.
    Gone {
        receipts: Vec<Receipt>,
    },
    Expired(Expired),
    Surveyed(Surveyed),
    KeysMade {
        more: bool,
    },
    /// Granted entries whose time was over, of groups that do not own them.
    Overdue {
        receipts: Vec<Receipt>,
    },
    /// Some of what was read by offset is traced.
    TracedReads,
    Swept(Sweep),
    Compacted(Compacted),
    Looked(Look),
    DeadReady(Dead),
    DispatchReady(Dispatch),
    RecallReady(Recall),
    HalfRead(Ending),
    ChecksRead(Checks),
    /// Blocks of waiting messages were merged, or not.
    Gathered(GatherOutcome),
    CheckpointStored {
        number: u64,
        stored: bool,
    },
    Trim {
        mailbox: Arc<Mailbox>,
        token: Token,
        before: Position,
    },
    Stop,
}

/// Work that needs stored bytes: carried out by a reader, its outcome is an input again.
#[derive(Debug)]
pub(crate) enum Work {
    Dead(Dead),
    Dispatch(Dispatch),
    Recall(Recall),
    EndHalf(Ending),
    Check(Checks),
    Expire(Expiry),
    Survey(Survey),
    Sweep(Sweep),
    Compact(Box<Compaction>),
    Look(Look),
    /// Makes key files of parts of the log that are complete.
    MakeKeys,
}

impl Work {
    /// True for what goes through much of the log, and that nobody waits for.
    pub fn is_long(&self) -> bool {
        matches!(self, Work::Expire(_) | Work::Survey(_) | Work::MakeKeys | Work::Compact(_))
    }

    pub fn carry_out(self, context: &ReadContext) -> Input {
        match self {
            Work::Dead(dead) => Input::DeadReady(dead.read(context)),
            Work::Recall(recall) => Input::RecallReady(recall.read(context)),
            Work::EndHalf(ending) => Input::HalfRead(ending.read(context)),
            Work::Check(checks) => Input::ChecksRead(checks.read(context)),
            Work::Dispatch(dispatch) => Input::DispatchReady(dispatch.read(context)),
            Work::Expire(expiry) => Input::Expired(expiry.find(context)),
            Work::Survey(survey) => Input::Surveyed(survey.carry_out(context)),
            Work::Compact(compaction) => Input::Compacted((compaction.queue.id, compaction.step(context))),
            Work::Sweep(sweep) => Input::Swept(sweep.look(context)),
            Work::Look(look) => Input::Looked(look.carry_out(context)),
            Work::MakeKeys => Input::KeysMade { more: context.make_keys() },
        }
    }
}

/// What a turn of the shard gives to be carried away.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub letters: Vec<(Arc<Mailbox>, Vec<Letter>)>,
    pub work: Vec<Work>,
    pub store_jobs: Vec<StoreJob>,
    /// Bytes of publishes that were answered.
    pub freed_bytes: u64,
    /// Messages stored, and messages handed out, in this turn.
    pub published: u64,
    pub delivered: u64,
}
