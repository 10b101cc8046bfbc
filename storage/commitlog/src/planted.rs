//! Bugs that a test of the tests plants, one at a time, to see that the simulation finds each. Without the feature
//! `testing` there are none: [`planted`] is a constant, and nothing of this is left in the product.

/// What goes wrong while it is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A sync is told and was not made.
    SkippedSync,
    /// A sync that failed counts as made.
    FailedSyncCounts,
    /// A segment is begun while the one before it is not synced.
    SegmentBegunEarly,
    /// A new segment's name is not made durable.
    NameNotSynced,
    /// A trimmed segment's file is used again though its old name may come back.
    OldNameNotSynced,
    /// A group says that more is synced than is.
    SyncedToTooHigh,
    /// A torn tail is cut one byte too early.
    CutTooEarly,
    /// What a killed process left in memory is built upon without a sync.
    OpenWithoutSync,
    /// A publish at `disk` is acknowledged when it is written.
    AckBeforeSync,
    /// A settlement is acknowledged before it is written.
    AckBeforeWrite,
    /// Entries are seen before they are synced.
    SeenBeforeSync,
    /// Offsets are told that the synced log does not say may run so far.
    OffsetsNotReserved,
    /// After a power cut offsets go on where the log ends.
    OffsetsNotSkipped,
    /// Store times follow the clock when it goes back.
    StoreTimeGoesBack,
    /// A checkpoint is stored before the log is synced up to it.
    CheckpointAheadOfLog,
    /// A trim does not wait for its snapshot.
    TrimAheadOfSnapshot,
    /// A trim passes a message that waits for its time.
    TrimPassesWaiting,
    /// A trim passes the record of a recall while what it recalls may be found.
    TrimPassesRecall,
    /// A replay leaves settlements out.
    SettleNotReplayed,
    /// A replay leaves out more than the checkpoint holds.
    ReplaySkipsTooMuch,
    /// A replay does not see that a waiting message was dispatched.
    DispatchNotReplayed,
    /// A replay does not see that a waiting message was recalled.
    RecallNotReplayed,
    /// Messages that are due together are dispatched the last first.
    DispatchedInAnyOrder,
    /// A waiting message is dispatched a second before its time.
    DispatchedEarly,
    /// A replay does not see that a half message was committed.
    HalfEndsTwice,
    /// A replay does not see that a half message was rolled back.
    RollBackNotReplayed,
    /// Producers are asked for a half message as if it were for the first time.
    ChecksNotCounted,
    /// A half message is committed though it was rolled back in the meantime.
    RolledBackHalfCommitted,
    /// A trim passes a half message that is open.
    TrimPassesHalf,
    /// What is to be stored as one is stored in parts.
    AtomicGroupParted,
    /// A lease ends at half its time.
    LeaseEndsEarly,
    /// An expired message is handed out.
    ExpiredHandedOut,
    /// A replay does not see that messages expire.
    ExpiryNotReplayed,
    /// A message goes to the dead letters and is not settled.
    DeadLetterNotSettled,
    /// A topic gets longer than it may.
    LengthNotLimited,
    /// Compaction removes the newest message of a key, and keeps the others.
    NewestCompacted,
    /// A replay does not see what compaction has removed.
    CompactionNotReplayed,
    /// A failed attempt is not counted.
    AttemptNotCounted,
    /// In strict order, what is behind a message that waits for its next attempt is handed out.
    FifoPassesRetry,
    /// A dead letter has only its last death.
    DeathForgotten,
    /// Messages live as long as their topic says, whatever they say themselves.
    OwnExpiryIgnored,
    /// A topic that is too long drops what is leased, too.
    LeasedDropped,
    /// Leases from before a seek go on.
    SeekKeepsLeases,
    /// A consumer's credit does not get less.
    CreditNotReduced,
    /// Where one consumer is active, others are handed messages.
    TwoActive,
    /// Of one priority the newest message comes first.
    NewestOfPriorityFirst,
    /// A replay does not see by what messages are known that are sent again.
    KeysNotReplayed,
    /// A duplicate is answered before the first message is synced.
    DuplicateToldEarly,
}

#[cfg(feature = "testing")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this bug is planted on this thread.
    pub fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }

    /// Plants a bug on this thread, in place of any other.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }
}

#[cfg(feature = "testing")]
pub use switch::{plant, planted};

/// Never: this is the product.
#[cfg(not(feature = "testing"))]
pub const fn planted(_: Bug) -> bool {
    false
}
