//! One request's questions to the broker, and the wait for their answers. A line has one owner at a time; an answer that
//! nobody asked for any more is dropped, except leases, which go back.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mailrail_broker::{
    Command, Delivery, Error, Event, FindRequest, Found, Identity, Queue, ReadBatch, ReadRequest, Receipt,
    Recipient, Reply, Session, Stored, Token,
};
use tokio::time::timeout;

use crate::problem::{Kind, Refusal};

/// A session of the broker with tokens of its own.
#[derive(Debug)]
pub(crate) struct Line {
    session: Session,
    last_token: u64,
    answer_ms_max: u64,
    unread: VecDeque<Event>,
}

impl Line {
    pub fn new(session: Session, answer_ms_max: u64) -> Self {
        Line { session, last_token: 0, answer_ms_max, unread: VecDeque::new() }
    }

    /// A token that no earlier question of this line had.
    pub fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Refuses publishes while too much work waits in the broker.
    pub fn check_congestion(&self) -> Result<(), Refusal> {
        if self.session.is_congested() {
            return Err(Refusal::new(Kind::Busy, "too many bytes wait to be stored; try again later"));
        }
        Ok(())
    }

    /// Asks one thing.
    pub async fn ask(&mut self, command: impl FnOnce(Token) -> Command) -> Result<Reply, Refusal> {
        let token = self.token();
        self.session.submit(vec![command(token)]);
        self.reply(token).await
    }

    /// Checks a user's password.
    pub async fn log_in(
        &mut self,
        name: &str,
        password: &str,
        from: IpAddr,
    ) -> Result<Arc<Identity>, Refusal> {
        let token = self.token();
        self.session.log_in(token, name, password, from);
        match self.reply(token).await? {
            Reply::LoggedIn(identity) => Ok(identity),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits for the reply to a command that was submitted.
    pub async fn reply(&mut self, token: Token) -> Result<Reply, Refusal> {
        match self.answer(token, self.answer_ms_max).await? {
            Event::Reply { result, .. } => Ok(result?),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits for the results of a publish that was submitted.
    pub async fn published(&mut self, token: Token) -> Result<Vec<Result<Stored, Error>>, Refusal> {
        match self.answer(token, self.answer_ms_max).await? {
            Event::Published { results, .. } => Ok(results),
            Event::Reply { result: Err(error), .. } => Err(error.into()),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits for the messages of a receive that was submitted with this wait.
    pub async fn deliveries(&mut self, token: Token, wait_ms: u64) -> Result<Vec<Delivery>, Refusal> {
        match self.answer(token, wait_ms.saturating_add(self.answer_ms_max)).await? {
            Event::Deliveries { deliveries, .. } => Ok(deliveries),
            Event::Reply { result: Err(error), .. } => Err(error.into()),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads entries, from memory at once where they are there.
    pub async fn read(&mut self, request: ReadRequest) -> Result<ReadBatch, Refusal> {
        let token = self.token();
        match self.session.read(token, request) {
            Some(result) => {
                self.session.keep_held(0);
                Ok(result?)
            }
            None => self.read_answer(token).await,
        }
    }

    /// Reads the message at a log position.
    pub async fn read_position(&mut self, position: u64) -> Result<ReadBatch, Refusal> {
        let token = self.token();
        self.session.read_position(token, position);
        self.read_answer(token).await
    }

    async fn read_answer(&mut self, token: Token) -> Result<ReadBatch, Refusal> {
        match self.answer(token, self.answer_ms_max).await? {
            Event::Read { result, .. } => Ok(result?),
            other => Err(unexpected(&other)),
        }
    }

    /// Finds messages by key.
    pub async fn find(&mut self, request: FindRequest) -> Result<Vec<Found>, Refusal> {
        let token = self.token();
        self.session.find(token, request);
        match self.answer(token, self.answer_ms_max).await? {
            Event::Found { result, .. } => Ok(result?),
            other => Err(unexpected(&other)),
        }
    }

    /// First offset of a queue stored at or after a time.
    pub async fn offset_at(&mut self, queue: &Arc<Queue>, time_ms: u64) -> Result<u64, Refusal> {
        let token = self.token();
        self.session.offset_at(token, queue, time_ms);
        match self.reply(token).await? {
            Reply::Offsets(offsets) => Ok(offsets.first().copied().flatten().unwrap_or(queue.end_offset())),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until a queue has an entry at or beyond an offset, at most so long.
    pub async fn wait_readable(&mut self, queue: &Arc<Queue>, offset: u64, wait: Duration) {
        let token = self.token();
        self.session.wait(token, queue, offset);
        if timeout(wait, self.next(token)).await.is_err() {
            self.session.stop_waiting(token, queue);
        }
    }

    async fn answer(&mut self, token: Token, wait_ms: u64) -> Result<Event, Refusal> {
        let answer = timeout(Duration::from_millis(wait_ms), self.next(token)).await;
        // Messages in it are counted among the answers next.
        self.session.keep_held(0);
        answer.map_err(|_| {
            Refusal::new(
                Kind::NoAnswer,
                format!(
                    "the broker did not answer within {wait_ms} ms; what was asked may still be carried out"
                ),
            )
        })
    }

    /// The event that answers a token. Loses nothing when it is dropped while it waits.
    async fn next(&mut self, token: Token) -> Event {
        loop {
            let found = self.unread.iter().position(|event| token_of(event) == Some(token));
            if let Some(event) = found.and_then(|at| self.unread.remove(at)) {
                return event;
            }
            self.drop_unread();
            self.unread = self.session.next_events().await.into();
        }
    }

    /// Answers to questions that were given up.
    fn drop_unread(&mut self) {
        let mut leases: Vec<Receipt> = Vec::new();
        for event in self.unread.drain(..) {
            if let Event::Deliveries { deliveries, .. } = event {
                leases.extend(deliveries.iter().map(|delivery| delivery.receipt));
            }
        }
        if !leases.is_empty() {
            self.session.release(leases);
        }
    }
}

fn token_of(event: &Event) -> Option<Token> {
    match event {
        Event::Published { token, .. }
        | Event::Reply { token, .. }
        | Event::Deliveries { to: Recipient::Request(token), .. }
        | Event::Read { token, .. }
        | Event::Found { token, .. }
        | Event::Readable { token } => Some(*token),
        Event::Deliveries { .. }
        | Event::ConsumerEnded { .. }
        | Event::Check(_)
        | Event::MembersChanged { .. } => None,
    }
}

/// The broker answered something else than the contract says: a bug, but no reason to bring the process down.
pub(crate) fn unexpected(answer: &dyn std::fmt::Debug) -> Refusal {
    tracing::error!(?answer, "an unexpected answer of the broker");
    Refusal::new(Kind::Internal, "the broker gave an answer that does not belong to the question")
}
