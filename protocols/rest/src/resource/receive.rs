//! Receiving: messages leased to the caller by time. What cannot reach the caller goes back at once and uncounted.

use axum::extract::Request;
use axum::response::Response;
use mailrail_broker::limits::{LEASE_MS_MAX, RECEIVE_WAIT_MS_MAX};
use mailrail_broker::{Command, Delivery, Error, Filter, Name, Receipt, Token};
use tokio::sync::OwnedSemaphorePermit;

use super::{AskedWithBody, group_for_consumer, in_range, page_messages, topic_of};
use crate::ask::Line;
use crate::from_wire;
use crate::limits::ANSWER_BODY_BYTES_MAX;
use crate::problem::{Kind, Refusal, refusals};
use crate::reply::{Leases, leased_json, render};
use crate::request::{EmptyBody, PathOf, from_json, read_body};
use crate::room::Room;
use crate::schema::group::ReceiveRequest;
use crate::schema::message::ReceiveResponse;
use crate::state::{Caller, RestState};
use crate::to_wire::{Deliveries, open};

refusals! {
    NotReceived: [Forbidden, AccessDenied, TopicNotFound, ModeConflict, Differs, Locked, NoSpace];
}

/// Leases messages to the caller.
///
/// The group is made when it does not exist, and begins at the earliest message. What is not settled when the lease
/// ends counts as failed and is handed out again after the group's backoff. An empty body means the defaults.
///
/// With `tag` or `sql` the group gets only what passes; the rest is settled for it.
#[utoipa::path(
    post, path = "/v1/topics/{topic}/groups/{group}/receive", operation_id = "receiveMessages", tag = "groups",
    params(
        ("topic" = String, Path, description = "Name of the topic"),
        ("group" = String, Path, description = "Name of the group, at most 255 bytes of UTF-8"),
    ),
    request_body(content = Option<ReceiveRequest>, content_type = "application/json"),
    responses(
        (status = 200, body = ReceiveResponse, description = "Leased messages, maybe none"),
        AskedWithBody, NotReceived,
    ),
)]
pub(crate) async fn receive_messages(
    Caller(state): Caller,
    PathOf((topic, group)): PathOf<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let asked: ReceiveRequest = from_json(&parts.headers, &upload.bytes, EmptyBody::HasNoFields)?;
    // A wait must not keep others from uploading.
    drop(upload);
    page_messages(asked.max)?;
    in_range("lease_ms", asked.lease_ms, LEASE_MS_MAX)?;
    if asked.wait_ms > RECEIVE_WAIT_MS_MAX {
        let (what, value) = ("milliseconds of waiting", asked.wait_ms);
        return Err(Error::Limit { what, value, max: RECEIVE_WAIT_MS_MAX }.into());
    }
    let filter = from_wire::filter(asked.tag.as_deref(), asked.sql.as_deref())?;
    topic_of(&state, &topic)?;
    let full = |_| Refusal::new(Kind::Overloaded, "too many receives are waiting; try again later");
    let place = state.receives().clone().try_acquire_owned().map_err(full)?;
    let mut line = state.line();
    group_for_consumer(&state, &mut line, &group).await?;
    let deliveries = Receive::start(&state, line, place, (&topic, &group), &asked, filter).finish().await?;
    answer(&state, topic, deliveries).await
}

async fn answer(
    state: &RestState,
    topic: String,
    mut deliveries: Vec<Delivery>,
) -> Result<Response, Refusal> {
    let receipts = deliveries.iter().map(|delivery| delivery.receipt).collect();
    let mut leases = Leases::new(state.broker().clone(), receipts);
    let (count, bytes) = first_fitting(&deliveries);
    leases.keep_first(count);
    deliveries.truncate(count);
    let room = Room::claim(state.answers(), bytes)?;
    let host = state.config().advertised;
    let stored: Vec<_> = deliveries.iter().map(|delivery| delivery.message.clone()).collect();
    let rendered = render(stored.iter(), move || {
        let opened = open(deliveries.iter().map(|delivery| &delivery.message));
        let messages = Deliveries { topic: &topic, host, deliveries: &deliveries, opened: &opened };
        Ok((room.write(&ReceiveResponse { messages })?, opened.len()))
    });
    let (document, answered) = rendered.await?;
    leases.keep_first(answered);
    Ok(leased_json(document, leases))
}

/// How many deliveries an answer has room for, and their bytes. Bodies take no less room than they are stored in.
fn first_fitting(deliveries: &[Delivery]) -> (usize, usize) {
    let mut bytes = 0;
    for (count, delivery) in deliveries.iter().enumerate() {
        let with_next = bytes + delivery.message.len();
        if count > 0 && with_next > ANSWER_BODY_BYTES_MAX {
            return (count, bytes);
        }
        bytes = with_next;
    }
    (deliveries.len(), bytes)
}

/// A receive under way. When it is dropped before its answer came, because the client has gone, somebody stays behind
/// to give back what is granted all the same: a lease that ends with time does not end with its session. Its place is
/// taken as long as that may last.
struct Receive {
    state: RestState,
    line: Option<Line>,
    place: Option<OwnedSemaphorePermit>,
    token: Token,
    wait_ms: u64,
}

impl Receive {
    fn start(
        state: &RestState,
        mut line: Line,
        place: OwnedSemaphorePermit,
        (topic, group): (&str, &str),
        asked: &ReceiveRequest,
        filter: Filter,
    ) -> Receive {
        let token = line.token();
        line.session().submit(vec![Command::Receive {
            token,
            group: Name::from(group),
            topic: Name::from(topic),
            max: asked.max,
            wait_ms: asked.wait_ms,
            lease_ms: asked.lease_ms,
            filter: Some(filter),
        }]);
        let (state, wait_ms) = (state.clone(), asked.wait_ms);
        Receive { state, line: Some(line), place: Some(place), token, wait_ms }
    }

    /// The messages; none when the wait is over, or when the broker begins to stop.
    async fn finish(mut self) -> Result<Vec<Delivery>, Refusal> {
        let Some(line) = &mut self.line else { return Ok(Vec::new()) };
        let received = tokio::select! {
            received = line.deliveries(self.token, self.wait_ms) => received,
            () = self.state.stopped(), if self.wait_ms > 0 => return Ok(Vec::new()),
        };
        // Whatever the answer is, nothing is outstanding any more.
        let line = self.line.take();
        let deliveries = received?;
        if let Some(line) = line {
            self.state.keep(line);
        }
        Ok(deliveries)
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        let (Some(mut line), token, wait_ms) = (self.line.take(), self.token, self.wait_ms) else { return };
        // Without a runtime the process is ending, and time ends the leases.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (broker, place) = (self.state.broker().clone(), self.place.take());
        runtime.spawn(async move {
            let _place = place;
            if let Ok(deliveries) = line.deliveries(token, wait_ms).await {
                let receipts: Vec<Receipt> = deliveries.iter().map(|delivery| delivery.receipt).collect();
                drop(Leases::new(broker, receipts));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use mailrail_broker::{GroupId, QueueId};

    use super::*;

    #[test]
    fn an_answer_has_room_for_so_many_bytes_and_for_one_message_always() {
        let delivery = |bytes| Delivery {
            receipt: Receipt { group: GroupId(1), queue: QueueId(1), offset: 0, epoch: 1, lease: 1 },
            queue_index: 0,
            attempts: 0,
            message: vec![0; bytes].into(),
        };
        let fitting =
            |lengths: &[usize]| first_fitting(&lengths.iter().copied().map(delivery).collect::<Vec<_>>());
        let half = ANSWER_BODY_BYTES_MAX / 2;
        assert_eq!(fitting(&[half, half]), (2, ANSWER_BODY_BYTES_MAX));
        assert_eq!(fitting(&[half, half + 1]), (1, half));
        assert_eq!(fitting(&[ANSWER_BODY_BYTES_MAX + 1, 1]), (1, ANSWER_BODY_BYTES_MAX + 1));
    }
}
