//! The end of half messages: committed, rolled back, or given up when nobody could say what becomes of them. A commit is
//! a new complete record in place of the half message, which is then dead; its bytes are read by a reader, and it is
//! looked again whether it is still there when they are.

use bytes::Bytes;
use mailrail_message::{AnnexKind, StoredMessage, property, sys_flag};

use super::copy::Differences;
use super::trace::Change as Trace;
use super::*;
use crate::access::{Action, Identity, Resource};
use crate::command::{Decision, Name};
use crate::event::{HalfView, Stored};
use crate::limits::OPEN_HALVES_LISTED_MAX;
use crate::publish::{Destination, queue_of};
use crate::reader::{ReadContext, behind_header};
use crate::trace::TraceStage;
use crate::transaction::{Half, UNDECIDED_TOPIC};

/// Ends that are under way.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    /// By the half message, with who waits for it.
    pub under_way: FxHashMap<Position, UnderWay>,
    /// Behind the last record that ended one.
    last_end: Position,
}

/// An end that needs the bytes of the message.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// `None` for a roll back by somebody of whom it is not known yet whether they may.
    goes_to: Option<GoesTo>,
    waiters: Vec<(Arc<Mailbox>, Token)>,
}

/// Where the message goes that is stored in place of a half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoesTo {
    /// Where its producer sent it.
    ItsTopic,
    /// Where nobody misses it, and anybody finds it.
    Undecided,
}

/// A half message on its way to be dispatched.
#[derive(Debug)]
pub(crate) struct Ending {
    position: Position,
    bytes: u32,
    /// Who must be allowed to publish to its topic.
    identity: Option<Arc<Identity>>,
    message: Option<Result<Bytes, Error>>,
}

impl UnderWay {
    fn is_asked_by(&self, mailbox: &Mailbox) -> bool {
        self.waiters.iter().any(|(waiter, _)| Arc::ptr_eq(&waiter.identity(), &mailbox.identity()))
    }
}

impl Ending {
    /// Reads the message; on a reader's thread.
    pub fn read(mut self, context: &ReadContext) -> Ending {
        let message = context.whole(&[(behind_header(self.position), self.bytes)]).pop();
        let checked = |message: Bytes| match &self.identity {
            Some(identity) => may_end(context, identity, &message).map(|()| message),
            None => Ok(message),
        };
        self.message = message.map(|message| message.and_then(checked));
        self
    }
}

fn topic_of(message: &Bytes) -> Option<Name> {
    StoredMessage::parse(message).ok().map(|stored| Name::from(stored.topic()))
}

/// Whether somebody may say what becomes of a half message: who may publish to its topic.
pub(super) fn may_end(context: &ReadContext, identity: &Identity, message: &[u8]) -> Result<(), Error> {
    let stored = StoredMessage::parse(message).map_err(|error| Error::Read(error.to_string()))?;
    let topic = Resource::topic(stored.topic());
    context.directory.check(identity, Action::Publish, topic, None).map_err(Error::Denied)
}

impl Shard {
    /// A half message was appended.
    pub(super) fn start_half(&mut self, position: Position, half: Half) {
        let group = half.group.clone();
        self.state.add_half(position, half);
        self.note_checks(&group);
    }

    /// Ends the half message at a position, or begins to.
    pub(super) fn end_half(
        &mut self,
        mailbox: &Arc<Mailbox>,
        token: Token,
        position: Position,
        group: Option<Name>,
        decision: Decision,
    ) {
        let half = match self.open_half(position, group.as_ref()) {
            Ok(half) => half,
            // It may have been ended by what is not on the disk yet.
            Err(error) => {
                let last_end = self.endings.last_end;
                return self.reply_when_synced(mailbox, token, last_end, Err(error));
            }
        };
        let waiter = (mailbox.clone(), token);
        // Its topic says who may end it, and whether that is traced.
        let must_be_read = !self.state.directory.access().is_open() || self.is_tracing();
        match (self.endings.under_way.get_mut(&position), decision) {
            (Some(ending), Decision::Commit)
                if ending.goes_to == Some(GoesTo::ItsTopic) && ending.is_asked_by(mailbox) =>
            {
                ending.waiters.push(waiter);
            }
            (Some(_), _) if !planted(Bug::RolledBackHalfCommitted) => {
                self.reply(mailbox, token, Err(Error::Ending(position)));
            }
            (None, Decision::Commit) if self.is_short_of_room => {
                self.reply(mailbox, token, Err(Error::NoSpace));
            }
            (None, Decision::Commit) => {
                self.begin_ending(position, &half, Some(GoesTo::ItsTopic), vec![waiter]);
            }
            (_, Decision::Commit) => {}
            (None, Decision::RollBack) if must_be_read => {
                self.begin_ending(position, &half, None, vec![waiter]);
            }
            (_, Decision::RollBack) => {
                let result = self.log(Change::HalfRolledBack { position });
                self.note_checks(&half.group);
                self.journal.want_sync();
                self.endings.last_end = self.journal.end();
                let result = result.map(|()| Reply::Done);
                self.reply_when_synced(mailbox, token, self.journal.end(), result);
            }
        }
    }

    /// The half message at a position, if it is open and its producers are of this group.
    fn open_half(&self, position: Position, group: Option<&Name>) -> Result<Half, Error> {
        let half = self.state.halves().get(position).filter(|half| self.is_half_written(position, half));
        let why = "it was committed, rolled back or given up, or never was one";
        let half = half.ok_or(Error::NotHalf { position, why })?;
        if group.is_some_and(|group| *group != half.group) {
            return Err(Error::NotHalf { position, why: "it is of another group of producers" });
        }
        Ok(half.clone())
    }

    /// Whether a half message can be read.
    pub(super) fn is_half_written(&self, position: Position, half: &Half) -> bool {
        behind_header(position).saturating_add(u64::from(half.bytes)) <= self.journal.written_to()
    }

    pub(super) fn begin_ending(
        &mut self,
        position: Position,
        half: &Half,
        goes_to: Option<GoesTo>,
        waiters: Vec<(Arc<Mailbox>, Token)>,
    ) {
        let identity = waiters.first().map(|(mailbox, _)| mailbox.identity().clone());
        self.endings.under_way.insert(position, UnderWay { goes_to, waiters });
        let ending = Ending { position, bytes: half.bytes, identity, message: None };
        self.outputs.work.push(Work::EndHalf(ending));
    }

    /// A half message that is to be dispatched was read.
    pub(super) fn go_on_with_ending(&mut self, now: Now, ending: Ending) {
        let Ending { position, message, .. } = ending;
        let Some(UnderWay { goes_to, waiters }) = self.endings.under_way.remove(&position) else { return };
        let over = Error::NotHalf { position, why: "it was ended in the meantime" };
        let half = self.state.halves().get(position).cloned();
        let is_open = half.is_some() || planted(Bug::RolledBackHalfCommitted);
        let message = message.filter(|_| is_open).unwrap_or(Err(over));
        let topic = message.as_ref().ok().and_then(topic_of);
        let result = match self.refusal() {
            Some(refusal) => Err(refusal),
            // It was only read for its trace, which must not be what keeps it.
            None if is_open && goes_to.is_none() && self.state.directory.access().is_open() => {
                self.log(Change::HalfRolledBack { position }).map(|()| None)
            }
            None => message.and_then(|message| match goes_to {
                Some(goes_to) => self.store_committed(now, position, goes_to, &message).map(Some),
                None => self.log(Change::HalfRolledBack { position }).map(|()| None),
            }),
        };
        match &result {
            Ok(stored) => {
                match stored {
                    Some(stored) => self.state.half_ended(stored.position, position),
                    None => self.journal.want_sync(),
                }
                self.endings.last_end = self.journal.end();
            }
            Err(error) if goes_to == Some(GoesTo::Undecided) => {
                tracing::error!(%error, position, "a half message could not be given up; trying again");
                half.iter().for_each(|half| self.put_give_up_off(now, position, &half.group));
            }
            Err(_) => {}
        }
        if let (Ok(copy), Some(topic)) = (&result, &topic) {
            self.trace_ending(topic, position, goes_to, copy.as_ref(), waiters.first());
        }
        half.into_iter().for_each(|half| self.note_checks(&half.group));
        for (mailbox, token) in waiters {
            let result = result.clone().map(|stored| stored.map_or(Reply::Done, Reply::Stored));
            self.reply_when_synced(&mailbox, token, self.journal.end(), result);
        }
    }

    fn trace_ending(
        &mut self,
        topic: &Name,
        position: Position,
        goes_to: Option<GoesTo>,
        copy: Option<&Stored>,
        waiter: Option<&(Arc<Mailbox>, Token)>,
    ) {
        if let Some((mailbox, _)) = waiter {
            self.tracing_by(mailbox);
        }
        let (stage, to, how) = match goes_to {
            Some(GoesTo::ItsTopic) => (TraceStage::Committed, None, None),
            Some(GoesTo::Undecided) => {
                (TraceStage::GivenUp, Some(Name::from(UNDECIDED_TOPIC)), Some("undecided"))
            }
            None => (TraceStage::RolledBack, None, None),
        };
        self.trace_change(&Trace { stage, topic, position, copy, to, how });
    }

    /// Stores the message in place of the half one.
    fn store_committed(
        &mut self,
        now: Now,
        position: Position,
        goes_to: GoesTo,
        message: &Bytes,
    ) -> Result<Stored, Error> {
        let stored = StoredMessage::parse(message).map_err(|error| Error::Read(error.to_string()))?;
        let flags = stored.sys_flags() & !sys_flag::TRANSACTION_BITS;
        let (topic, queue_index, sys_flags, with) = match goes_to {
            GoesTo::ItsTopic => {
                let topic = self.state.directory.topic(stored.topic());
                let topic = topic.ok_or_else(|| Error::NoTopic(stored.topic().to_owned()))?;
                let queues = u32::try_from(topic.queues().len()).unwrap_or(u32::MAX);
                let chosen = stored.annex(AnnexKind::Half).and_then(queue_of).filter(|index| *index < queues);
                (topic.id, chosen, flags | sys_flag::COMMITTED, Vec::new())
            }
            GoesTo::Undecided => {
                let origin = vec![(property::REAL_TOPIC, stored.topic().to_owned())];
                (self.dead_letter_topic(UNDECIDED_TOPIC)?, None, flags, origin)
            }
        };
        let differences = Differences {
            without: NOT_COMMITTED,
            with,
            commit_of: Some(position),
            sys_flags: Some(sys_flags),
            ..Differences::default()
        };
        let destination = Destination::Topic { topic, queue_index };
        self.store_copy(now, &stored, (topic, destination), differences, None)
    }

    /// Open half messages of a group, or of all, from the one behind a position on.
    pub(super) fn list_halves(
        &self,
        group: Option<&Name>,
        after: Option<Position>,
        max: usize,
    ) -> Vec<HalfView> {
        let from = after.map_or(0, |after| after.saturating_add(1));
        let all = self.state.halves().from(from);
        let of_group = all.filter(|(_, half)| group.is_none_or(|group| *group == half.group));
        let view = |(position, half): (Position, &Half)| HalfView {
            position,
            group: half.group.clone(),
            checks: half.checks,
            next_check_ms: half.next_check_ms,
        };
        of_group.take(max.min(OPEN_HALVES_LISTED_MAX)).map(view).collect()
    }
}

/// What a message says only as long as it is a half one. It is not delayed: whoever commits wants it seen, as with
/// RocketMQ, whose producers leave out delays.
const NOT_COMMITTED: &[&str] = &[
    property::PREPARED,
    property::REAL_TOPIC,
    property::REAL_QUEUE,
    property::CHECK_TIMES,
    property::DELAY_LEVEL,
    "TIMER_DELAY_SEC",
    "TIMER_DELAY_MS",
    "TIMER_DELIVER_MS",
    "TIMER_OUT_MS",
];
