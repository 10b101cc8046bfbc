//! Withdrawing a delayed message before its time.

use axum::http::StatusCode;
use mailrail_broker::Command;
use mailrail_message::OffsetId;

use super::Asked;
use crate::problem::{Kind, Refusal, refusals};
use crate::request::PathOf;
use crate::state::Caller;

refusals! {
    NotRecalled: [LimitExceeded, MessageNotFound, NotWaiting, NoSpace];
}

/// Recalls a delayed message.
///
/// It will not become visible. The id is that of the publish. Once the message has become visible, has been recalled, or
/// where no delayed message has the id, the answer is `not-waiting`. With 204 the recall is on disk.
#[utoipa::path(
    delete, path = "/v1/messages/{id}", operation_id = "recallMessage", tag = "messages",
    params((
        "id" = String, Path, description = "The delayed message's id", example = "7F000001000026940000000000001A40",
    )),
    responses((status = 204, description = "It was recalled"), Asked, NotRecalled),
)]
pub(crate) async fn recall_message(
    Caller(state): Caller,
    PathOf(text): PathOf<String>,
) -> Result<StatusCode, Refusal> {
    let id: OffsetId = text.parse().map_err(|error| Refusal::invalid(format!("{text:?}: {error}")))?;
    // The same position on another broker is another message.
    if id.host != state.config().advertised {
        return Err(Refusal::new(Kind::MessageNotFound, format!("no message has the id {text}")));
    }
    let mut line = state.line();
    line.ask(|token| Command::Recall { token, position: id.position, topic: None }).await?;
    state.keep(line);
    Ok(StatusCode::NO_CONTENT)
}
