//! Acts about messages that were told to wait, for a time or for what their producers say, done to the broker and to the
//! model.

use super::acts::{Names, PRODUCERS, TOPICS};
use super::halves::Ended;
use super::queue::Name as Known;
use super::rig::{Rig, Timed};
use super::*;
use crate::command::Decision;

/// What an act must be answered, now or when all is synced.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    /// A recall, and whether it withdraws something.
    Recalled(bool),
    /// The end of a half message.
    Ended(u64, Ended),
}

impl Rig {
    pub fn recall(&mut self, back: usize, names: Names) -> Said {
        let Some(Timed { number, topic, position }) = self.timed.iter().rev().nth(back).copied() else {
            return Ok(());
        };
        let named = names.among(topic, &TOPICS);
        let expected = self.model.recall(number, named);
        self.model.count(if expected { "recalls" } else { "recalls that were too late" }, 1);
        let token = self.clients[0].token();
        self.tell(0, Command::Recall { token, position, topic: named.map(Name::from) })?;
        self.expect_told(token, Told::Recalled(expected))
    }

    pub fn end_half(&mut self, back: usize, names: Names, decisions: &[Decision]) -> Said {
        let Some(timed) = self.timed.iter().rev().nth(back).copied() else { return Ok(()) };
        let its = self.model.halves.get(&timed.number).map_or(PRODUCERS[0], |half| half.producers);
        self.end_half_of(timed, names.among(its, &PRODUCERS), decisions)
    }

    pub fn end_half_of(&mut self, timed: Timed, group: Option<Known>, decisions: &[Decision]) -> Said {
        let Timed { number, position, .. } = timed;
        let expected = self.model.end_half(number, group, decisions);
        let with_tokens: Vec<_> =
            decisions.iter().map(|decision| (self.clients[0].token(), *decision)).collect();
        let command = |(token, decision): &(Token, Decision)| Command::EndHalf {
            token: *token,
            position,
            group: group.map(Name::from),
            decision: *decision,
        };
        let commands = with_tokens.iter().map(command).collect();
        let (mailbox, since) = (self.clients[0].mailbox.clone(), self.sim.now.mono);
        self.sim.shard.handle(self.sim.now, Input::Commands { mailbox, commands, since });
        self.come_to_rest()?;
        for ((token, _), ended) in with_tokens.into_iter().zip(expected) {
            let what = match ended {
                Ended::Committed(_) => "half messages committed",
                Ended::RolledBack => "half messages rolled back",
                Ended::NotHalf => "ends of no half message",
                Ended::Full => "commits to what is full",
                Ended::Busy => "ends that came second",
            };
            self.model.count(what, 1);
            self.expect_told(token, Told::Ended(number, ended))?;
        }
        Ok(())
    }

    pub fn produce(&mut self, session: usize, group: Known, stops: bool) -> Said {
        let producer = (self.session(session), group);
        if stops {
            self.model.producers.remove(&producer);
            return self.tell(session, Command::StopProducing { group: group.into() });
        }
        self.model.producers.insert(producer);
        let reply = self.ask(session, |token| Command::Produce { token, group: group.into() })?;
        must!(reply.is_ok(), "a producer is answered {reply:?}");
        Ok(())
    }

    fn expect_told(&mut self, token: Token, told: Told) -> Said {
        match self.replies.remove(&(0, token)) {
            Some(reply) => self.check_told(told, &reply),
            None if self.unsynced.is_some() => {
                self.untold.push((token, told));
                Ok(())
            }
            None => Err(format!("{told:?} was not answered")),
        }
    }

    pub fn check_told(&self, told: Told, reply: &Result<Reply, Error>) -> Said {
        let is_right = match (told, reply) {
            (Told::Recalled(true) | Told::Ended(_, Ended::RolledBack), Ok(Reply::Done))
            | (Told::Recalled(false), Err(Error::NotWaiting { .. }))
            | (Told::Ended(_, Ended::NotHalf), Err(Error::NotHalf { .. }))
            | (Told::Ended(_, Ended::Full), Err(Error::Full { .. }))
            | (Told::Ended(_, Ended::Busy), Err(Error::Ending(_))) => true,
            (Told::Ended(number, Ended::Committed(topic)), Ok(Reply::Stored(stored))) => {
                let entries = &self.model.queue(topic, stored.queue_index).entries;
                let entry = stored.offset.and_then(|offset| entries.get(&offset));
                entry.is_some_and(|entry| entry.message.number == number)
            }
            _ => false,
        };
        must!(is_right, "{told:?} is answered {reply:?}");
        Ok(())
    }
}
