//! Transactions: a message that is stored, and seen once it is committed; and messages that are stored together.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use mailrail_broker::limits::{HALF_FIRST_CHECK_MS, HALF_FIRST_CHECK_MS_MAX};
use mailrail_broker::{
    Command, Decision, Durability, Error, HalfTerms, Name, PublishBatch, Reply, Stored, Topic,
};
use mailrail_message::OffsetId;

use super::publish::{encoder, peer_of, topic_for_publish};
use super::{Asked, AskedWithBody, in_range, list_items};
use crate::ask::{Line, unexpected};
use crate::from_wire::{To, deduplication};
use crate::instant::WallTime;
use crate::problem::{Kind, Refusal, refusals};
use crate::reply::json;
use crate::request::{EmptyBody, PathOf, QueryOf, from_json, read_body};
use crate::schema::publish::{DurabilityName, PublishResponse, Published};
use crate::schema::transaction::*;
use crate::state::{Caller, RestState};
use crate::to_wire::MessageId;

refusals! {
    NotBegun: [Forbidden, AccessDenied, TopicNotFound, QueueNotFound, NoDeduplication, OutOfSequence, Busy, NoSpace];
    NotCommitted: [Forbidden, AccessDenied, TopicNotFound, TransactionNotFound, TransactionEnding, Full, NoSpace];
    NotRolledBack: [AccessDenied, TransactionNotFound, TransactionEnding, NoSpace];
    NotListed: [LimitExceeded];
    NotTogether: [Forbidden, AccessDenied, TopicNotFound, QueueNotFound, NoDeduplication, OutOfSequence, Busy, Full,
        NoSpace];
}

/// Begins a transaction.
///
/// The message is on disk when the request is answered, and nobody sees it before the transaction is committed. It stays
/// open until it is committed or rolled back, over restarts too. A RocketMQ producer of the group is asked what becomes
/// of it, if there is one, up to 15 times; what nobody decides on, or could be asked of for 3 days, goes to the topic
/// `TRANS_CHECK_MAX_TIME_TOPIC`.
#[utoipa::path(
    post, path = "/v1/transactions", operation_id = "beginTransaction", tag = "transactions",
    params(("Idempotency-Key" = Option<String>, Header, description = "What the message is known by when it is sent again")),
    request_body = TransactionRequest,
    responses(
        (status = 201, body = BegunTransaction, description = "The message is stored, and not seen"),
        AskedWithBody, NotBegun,
    ),
)]
pub(crate) async fn begin_transaction(Caller(state): Caller, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let asked: TransactionRequest<'_> = from_json(&parts.headers, &upload.bytes, EmptyBody::Refused)?;
    if asked.message.delay_ms.is_some() || asked.message.deliver_at.is_some() {
        return Err(Refusal::invalid("the message of a transaction cannot be delayed: its commit decides"));
    }
    if asked.group.is_empty() {
        return Err(Refusal::invalid("group is empty"));
    }
    let check_ms = in_range(
        "check_after_ms",
        asked.check_after_ms.unwrap_or(HALF_FIRST_CHECK_MS),
        HALF_FIRST_CHECK_MS_MAX,
    )?;
    let mut line = state.line();
    line.check_congestion()?;
    let idempotency_key = deduplication::idempotency_key(&parts.headers)?;
    let must_deduplicate = idempotency_key.is_some() || deduplication::is_asked(&asked.message);
    let topic = topic_for_publish(&state, &mut line, &asked.topic, must_deduplicate).await?;
    let mut encoder = encoder(&state, To::Topic(&topic), Durability::Disk, peer_of(&parts));
    encoder.idempotency_key = idempotency_key;
    let first_check_ms = encoder.now_ms.saturating_add(check_ms);
    let half = HalfTerms { group: Name::from(&*asked.group), first_check_ms };
    let mut batch = PublishBatch::with_capacity(upload.bytes.len(), 1);
    encoder.push(&mut batch, &asked.message, None, Some(half))?;
    let token = line.token();
    line.session().submit(vec![Command::Publish { token, batch }]);
    let results = line.published(token).await?;
    state.keep(line);
    let stored = results.into_iter().next().unwrap_or(Err(Error::Unroutable))?;
    let id = MessageId::new(state.config().advertised, stored.position);
    json(StatusCode::CREATED, &BegunTransaction { id, duplicate: stored.duplicate.then_some(true) })
}

/// Commits a transaction.
///
/// Its message can be seen then, and is on disk; the answer says where, with the id that it has from now on.
/// `transaction-not-found` is also the answer once it was committed or rolled back.
#[utoipa::path(
    post, path = "/v1/transactions/{id}/commit", operation_id = "commitTransaction", tag = "transactions",
    params(("id" = String, Path, description = "The transaction's id")),
    responses(
        (status = 200, body = Published, description = "The message is where consumers find it"),
        Asked, NotCommitted,
    ),
)]
pub(crate) async fn commit_transaction(
    Caller(state): Caller,
    PathOf(text): PathOf<String>,
) -> Result<Response, Refusal> {
    match end(&state, &text, Decision::Commit).await? {
        Reply::Stored(stored) => json(StatusCode::OK, &published(&state, &stored)),
        other => Err(unexpected(&other)),
    }
}

/// Rolls a transaction back.
///
/// Its message will never be seen. With 204 that is on disk.
#[utoipa::path(
    post, path = "/v1/transactions/{id}/rollback", operation_id = "rollBackTransaction", tag = "transactions",
    params(("id" = String, Path, description = "The transaction's id")),
    responses((status = 204, description = "It was rolled back"), Asked, NotRolledBack),
)]
pub(crate) async fn roll_back_transaction(
    Caller(state): Caller,
    PathOf(text): PathOf<String>,
) -> Result<StatusCode, Refusal> {
    end(&state, &text, Decision::RollBack).await.map(|_| StatusCode::NO_CONTENT)
}

/// Lists open transactions.
///
/// Those that began first come first; go on with the last one's id as `after`.
#[utoipa::path(
    get, path = "/v1/transactions", operation_id = "listTransactions", tag = "transactions",
    params(TransactionsQuery),
    responses((status = 200, body = OpenTransactions, description = "What is open, maybe nothing"), Asked, NotListed),
)]
pub(crate) async fn list_transactions(
    Caller(state): Caller,
    QueryOf(query): QueryOf<TransactionsQuery>,
) -> Result<Response, Refusal> {
    let max = list_items(query.max)?;
    let after = query.after.as_deref().map(|text| position_of(&state, text)).transpose()?;
    let group = query.group.map(Name::from);
    let mut line = state.line();
    let reply = line.ask(|token| Command::OpenHalves { token, group, after, max }).await?;
    state.keep(line);
    let Reply::Halves(halves) = reply else { return Err(unexpected(&reply)) };
    let transactions = halves.into_iter().map(|half| OpenTransaction {
        id: MessageId::new(state.config().advertised, half.position),
        group: half.group.to_string(),
        checks: half.checks,
        next_check_at: WallTime(half.next_check_ms),
    });
    json(StatusCode::OK, &OpenTransactions { transactions: transactions.collect() })
}

/// Publishes messages to several topics together.
///
/// All are stored or, where one is refused or the broker stops on the way, none. They are on disk when the request is
/// answered.
#[utoipa::path(
    post, path = "/v1/messages", operation_id = "publishTogether", tag = "transactions",
    params(("Idempotency-Key" = Option<String>, Header, description = "What the request is known by when it is sent \
        again; all its topics must deduplicate")),
    request_body = TogetherRequest,
    responses(
        (status = 201, body = PublishResponse, description = "All messages were stored"),
        AskedWithBody, NotTogether,
    ),
)]
pub(crate) async fn publish_together(Caller(state): Caller, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let asked: TogetherRequest<'_> = from_json(&parts.headers, &upload.bytes, EmptyBody::Refused)?;
    if asked.messages.is_empty() {
        return Err(Refusal::invalid("the request has no message"));
    }
    let mut line = state.line();
    line.check_congestion()?;
    let idempotency_key = deduplication::idempotency_key(&parts.headers)?;
    let topics = topics_of(&state, &mut line, &asked, idempotency_key.is_some()).await?;
    let mut batch = PublishBatch::with_capacity(upload.bytes.len(), topics.len());
    let mut due = Vec::with_capacity(topics.len());
    for (index, (message, topic)) in asked.messages.iter().zip(&topics).enumerate() {
        let mut encoder = encoder(&state, To::Topic(topic), Durability::Disk, peer_of(&parts));
        encoder.idempotency_key = idempotency_key;
        let pushed = encoder.push(&mut batch, &message.message, None, None);
        due.push(pushed.map_err(|refusal| refusal.at(index))?);
    }
    let settlements = Vec::new();
    let reply = line.ask(|token| Command::PublishTogether { token, batch, settlements }).await?;
    state.keep(line);
    let Reply::Together(results) = reply else { return Err(unexpected(&reply)) };
    let place = |(stored, due): (Result<Stored, Error>, Option<WallTime>)| match stored {
        Ok(stored) => {
            let deliver_at = due.filter(|_| !stored.duplicate);
            Ok(Published { deliver_at, ..published(&state, &stored) })
        }
        Err(Error::Forgotten { .. }) => Ok(Published::forgotten(DurabilityName::Disk)),
        Err(error) => Err(error),
    };
    let messages = results.into_iter().zip(due).map(place).collect::<Result<Vec<Published>, Error>>()?;
    json(StatusCode::CREATED, &PublishResponse { messages })
}

/// The topic of each message; a topic that is missing is made, unless the broker is configured otherwise.
async fn topics_of(
    state: &RestState,
    line: &mut Line,
    asked: &TogetherRequest<'_>,
    must_deduplicate: bool,
) -> Result<Vec<Arc<Topic>>, Refusal> {
    let mut topics: Vec<Arc<Topic>> = Vec::with_capacity(asked.messages.len());
    for message in &asked.messages {
        let known = topics.iter().rev().find(|topic| *topic.name == *message.topic).cloned();
        let topic = match known {
            Some(topic) => topic,
            None => {
                let must_deduplicate = must_deduplicate || deduplication::is_asked(&message.message);
                topic_for_publish(state, line, &message.topic, must_deduplicate).await?
            }
        };
        topics.push(topic);
    }
    Ok(topics)
}

async fn end(state: &RestState, text: &str, decision: Decision) -> Result<Reply, Refusal> {
    let position = position_of(state, text)?;
    let mut line = state.line();
    let reply = line.ask(|token| Command::EndHalf { token, position, group: None, decision }).await?;
    state.keep(line);
    Ok(reply)
}

/// The same position on another broker is another transaction.
fn position_of(state: &RestState, text: &str) -> Result<u64, Refusal> {
    let id: OffsetId = text.parse().map_err(|error| Refusal::invalid(format!("{text:?}: {error}")))?;
    if id.host != state.config().advertised {
        return Err(Refusal::new(Kind::TransactionNotFound, format!("no transaction has the id {text}")));
    }
    Ok(id.position)
}

fn published(state: &RestState, stored: &Stored) -> Published {
    Published {
        id: Some(MessageId::new(state.config().advertised, stored.position)),
        queue: stored.offset.map(|_| stored.queue_index),
        offset: stored.offset,
        queues: None,
        duplicate: stored.duplicate.then_some(true),
        durability: DurabilityName::Disk,
        deliver_at: None,
    }
}
