//! Settling and prolonging leases by receipt. A receipt counts only under the topic and group it was handed out for.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use mailrail_broker::limits::LEASE_MS_MAX;
use mailrail_broker::{Command, Outcome, Receipt, Reply};

use super::{AskedWithBody, in_range, topic_of};
use crate::ask::{Line, unexpected};
use crate::limits::RECEIPTS_MAX;
use crate::problem::{ItemProblem, Kind, Refusal, refusals};
use crate::receipt::ReceiptText;
use crate::reply::json;
use crate::request::{EmptyBody, PathOf, from_json, read_body};
use crate::schema::group::{ExtendRequest, SettleRequest, SettleResponse};
use crate::schema::text::Text;
use crate::state::{Caller, RestState};

refusals! {
    NotSettled: [TopicNotFound, GroupNotFound];
}

/// Settles leased messages.
///
/// Each receipt is settled or fails by itself. Acknowledging works as long as nobody else holds the message, even when
/// the lease has ended.
#[utoipa::path(
    post, path = "/v1/topics/{topic}/groups/{group}/settle", operation_id = "settleMessages", tag = "groups",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("group" = String, Path, description = "Name of the group"),
    ),
    request_body(content = SettleRequest, content_type = "application/json"),
    responses(
        (status = 200, body = SettleResponse, description = "All receipts were settled"),
        (status = 207, body = SettleResponse, description = "Some receipts could not be settled"),
        AskedWithBody, NotSettled,
    ),
)]
pub(crate) async fn settle_messages(
    Caller(state): Caller,
    PathOf((topic, group)): PathOf<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let asked: SettleRequest<'_> = from_json(&parts.headers, &upload.bytes, EmptyBody::Refused)?;
    let retry = Outcome::Retry { delay_ms: asked.requeue_delay_ms };
    let lists = [(asked.ack, Outcome::Ack), (asked.reject, Outcome::Reject), (asked.requeue, retry)];
    check_count(lists.iter().map(|(receipts, _)| receipts.len()).sum())?;
    let mut settling = Settling::new(&state, &topic, &group)?;
    for (receipts, outcome) in lists {
        if !receipts.is_empty() {
            settling.ask(&receipts, |token, receipts| Command::Settle {
                token: Some(token),
                receipts,
                outcome,
            });
        }
    }
    settling.answer(&state).await
}

/// Prolongs leases.
#[utoipa::path(
    post, path = "/v1/topics/{topic}/groups/{group}/extend", operation_id = "extendLeases", tag = "groups",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("group" = String, Path, description = "Name of the group"),
    ),
    request_body(content = ExtendRequest, content_type = "application/json"),
    responses(
        (status = 200, body = SettleResponse, description = "All leases were prolonged"),
        (status = 207, body = SettleResponse, description = "Some leases could not be prolonged"),
        AskedWithBody, NotSettled,
    ),
)]
pub(crate) async fn extend_leases(
    Caller(state): Caller,
    PathOf((topic, group)): PathOf<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let asked: ExtendRequest<'_> = from_json(&parts.headers, &upload.bytes, EmptyBody::Refused)?;
    check_count(asked.receipts.len())?;
    let lease_ms = in_range("lease_ms", asked.lease_ms, LEASE_MS_MAX)?;
    let mut settling = Settling::new(&state, &topic, &group)?;
    settling.ask(&asked.receipts, |token, receipts| Command::Extend { token, receipts, lease_ms });
    settling.answer(&state).await
}

fn check_count(receipts: usize) -> Result<(), Refusal> {
    if receipts == 0 {
        return Err(Refusal::invalid("the request has no receipt"));
    }
    if receipts > RECEIPTS_MAX {
        let detail = format!("the request has {receipts} receipts; at most {RECEIPTS_MAX} are allowed");
        return Err(Refusal::new(Kind::LimitExceeded, detail));
    }
    Ok(())
}

/// Receipts on their way to the broker, and those that never get there.
struct Settling {
    line: Line,
    group: mailrail_broker::GroupId,
    queues: Vec<mailrail_broker::QueueId>,
    commands: Vec<Command>,
    /// For each command: its token, and where its receipts stand in the request.
    asked: Vec<(mailrail_broker::Token, Vec<usize>)>,
    failed: Vec<ItemProblem>,
    receipts: usize,
}

impl Settling {
    fn new(state: &RestState, topic: &str, group: &str) -> Result<Settling, Refusal> {
        let missing = || mailrail_broker::Error::NoGroup { group: group.to_owned(), topic: topic.to_owned() };
        let topic = topic_of(state, topic)?;
        let group = state.broker().directory().group(group).ok_or_else(missing)?;
        Ok(Settling {
            line: state.line(),
            group: group.id,
            queues: topic.queues().iter().map(|queue| queue.id).collect(),
            commands: Vec::new(),
            asked: Vec::new(),
            failed: Vec::new(),
            receipts: 0,
        })
    }

    /// Adds one command for these receipts.
    fn ask(
        &mut self,
        texts: &[Text<'_>],
        command: impl FnOnce(mailrail_broker::Token, Vec<Receipt>) -> Command,
    ) {
        let (mut receipts, mut places) = (Vec::with_capacity(texts.len()), Vec::with_capacity(texts.len()));
        for text in texts {
            let place = self.receipts;
            self.receipts += 1;
            match self.read(text) {
                Ok(receipt) => {
                    receipts.push(receipt);
                    places.push(place);
                }
                Err(refusal) => self.failed.push(ItemProblem::new(place, refusal)),
            }
        }
        if !receipts.is_empty() {
            let token = self.line.token();
            self.commands.push(command(token, receipts));
            self.asked.push((token, places));
        }
    }

    fn read(&self, text: &str) -> Result<Receipt, Refusal> {
        let ReceiptText(receipt) = text.parse().map_err(|error: crate::receipt::NoReceipt| {
            Refusal::new(Kind::InvalidReceipt, error.to_string())
        })?;
        if receipt.group != self.group || !self.queues.contains(&receipt.queue) {
            let detail = "the receipt was handed out for another topic or group";
            return Err(Refusal::new(Kind::InvalidReceipt, detail));
        }
        Ok(receipt)
    }

    async fn answer(mut self, state: &RestState) -> Result<Response, Refusal> {
        self.line.session().submit(std::mem::take(&mut self.commands));
        for (token, places) in std::mem::take(&mut self.asked) {
            let reply = self.line.reply(token).await?;
            let Reply::Settled(results) = reply else { return Err(unexpected(&reply)) };
            for (place, result) in places.into_iter().zip(results) {
                if let Err(error) = result {
                    self.failed.push(ItemProblem::new(place, error.into()));
                }
            }
        }
        state.keep(self.line);
        self.failed.sort_by_key(|problem| problem.index);
        let status = if self.failed.is_empty() { StatusCode::OK } else { StatusCode::MULTI_STATUS };
        let done = self.receipts - self.failed.len();
        json(status, &SettleResponse { done, failed: self.failed })
    }
}
