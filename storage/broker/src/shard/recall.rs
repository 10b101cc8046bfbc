//! Withdrawing a message before its time. A position is what a client names, so it may be anything: the record there says
//! of what time it is, and only a timer that the schedule has is recalled.

use bytes::Bytes;

use super::trace::Change as Trace;
use super::*;
use crate::access::{Action, Identity, Resource};
use crate::command::Name;
use crate::reader::ReadContext;
use crate::schedule::{BlockRef, Known, RECALLED_TIMERS_MAX, Timer, read_block};
use crate::trace::TraceStage;

/// What is to be recalled, as far as it is known.
#[derive(Debug)]
pub(crate) struct Recall {
    mailbox: Arc<Mailbox>,
    token: Token,
    position: u64,
    /// The topic that it must be of.
    topic: Option<Name>,
    /// Who must be allowed to publish to its topic.
    identity: Arc<Identity>,
    /// The topic that it is of, once that is read.
    its_topic: Option<Name>,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Nothing,
    /// What the record at the position would be.
    Record(Result<Timer, Error>),
    /// A timer that waits if it is in one of these blocks.
    In(Timer, Vec<BlockRef>),
    Looked(Timer, Result<bool, Error>),
}

impl Recall {
    /// Reads what the shard does not know; on a reader's thread.
    pub fn read(mut self, context: &ReadContext) -> Recall {
        self.found = match self.found {
            Found::Nothing => {
                let read = self.read_record(context).map(|(timer, topic)| {
                    self.its_topic = Some(topic);
                    timer
                });
                Found::Record(read)
            }
            Found::In(timer, blocks) => {
                let look = |block| read_block(context.blocks.store(), block);
                let mut has_it = Ok(false);
                for read in blocks.iter().map(look) {
                    match read {
                        Ok(timers) if timers.contains(&timer) => has_it = Ok(true),
                        Ok(_) => {}
                        Err(error) => {
                            has_it = has_it.and_then(|has| {
                                if has { Ok(true) } else { Err(Error::Read(error.to_string())) }
                            })
                        }
                    }
                }
                Found::Looked(timer, has_it)
            }
            found => found,
        };
        self
    }

    fn read_record(&self, context: &ReadContext) -> Result<(Timer, Name), Error> {
        let none = || self.not_waiting("no waiting message is stored there");
        let message: Bytes = context.message_at(self.position).map_err(|_| none())?;
        let timer = Timer::of_record(self.position, &message).map_err(|_| none())?;
        let stored = mailrail_message::StoredMessage::parse(&message).map_err(|_| none())?;
        if self.topic.as_ref().is_some_and(|topic| &**topic != stored.topic()) {
            return Err(self.not_waiting("the message there is of another topic"));
        }
        let topic = Resource::topic(stored.topic());
        context.directory.check(&self.identity, Action::Publish, topic, None).map_err(Error::Denied)?;
        Ok((timer, Name::from(stored.topic())))
    }

    fn not_waiting(&self, why: &'static str) -> Error {
        Error::NotWaiting { position: self.position, why }
    }
}

impl Shard {
    /// Begins to withdraw the waiting message whose record is at a position.
    pub(super) fn begin_recall(
        &mut self,
        mailbox: &Arc<Mailbox>,
        token: Token,
        position: u64,
        topic: Option<Name>,
    ) {
        let (mailbox, identity) = (mailbox.clone(), mailbox.identity().clone());
        let recall =
            Recall { mailbox, token, position, topic, identity, its_topic: None, found: Found::Nothing };
        self.outputs.work.push(Work::Recall(recall));
    }

    pub(super) fn go_on_with_recall(&mut self, recall: Recall) {
        let (mailbox, token, position) = (recall.mailbox.clone(), recall.token, recall.position);
        let over = Error::NotWaiting { position, why: "it was dispatched or recalled, or never waited" };
        let (timer, is_in_block) = match recall.found {
            Found::Record(Ok(timer)) => (timer, None),
            Found::Looked(timer, Ok(is_in_block)) => (timer, Some(is_in_block)),
            Found::Record(Err(error)) | Found::Looked(_, Err(error)) => {
                return self.reply(&mailbox, token, Err(error));
            }
            Found::Nothing | Found::In(..) => return,
        };
        let result = match (self.state.knows_timer(timer.key()), is_in_block) {
            (Known::Waits, _) | (Known::In(_), Some(true)) => self.recall(timer),
            (Known::In(blocks), None) => {
                let found = Found::In(timer, blocks);
                return self.outputs.work.push(Work::Recall(Recall { found, ..recall }));
            }
            (Known::Not, _) | (Known::In(_), Some(false)) => Err(over),
        };
        if let (Ok(()), Some(topic)) = (&result, &recall.its_topic) {
            self.tracing_by(&mailbox);
            let stage = TraceStage::Recalled;
            self.trace_change(&Trace { stage, topic, position, copy: None, to: None, how: None });
        }
        self.reply_when_synced(&mailbox, token, self.journal.end(), result.map(|()| Reply::Done));
    }

    fn recall(&mut self, timer: Timer) -> Result<(), Error> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let remembered = self.state.schedule().recalled_in_blocks();
        super::consume::limit(
            "recalled messages that are far from their time",
            u64::try_from(remembered).unwrap_or(u64::MAX).saturating_add(1),
            RECALLED_TIMERS_MAX,
        )?;
        self.log(Change::WaitingRecalled { timer })?;
        self.journal.want_sync();
        Ok(())
    }
}
