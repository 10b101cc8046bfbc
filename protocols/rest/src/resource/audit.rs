//! The list of administrative changes.

use axum::http::StatusCode;
use axum::response::Response;
use mailrail_broker::limits::AUDIT_PAGE_ENTRIES_MAX;
use mailrail_broker::{Command, Reply};

use super::{Asked, in_range};
use crate::ask::unexpected;
use crate::problem::{Refusal, refusals};
use crate::reply::json;
use crate::request::QueryOf;
use crate::schema::user::{ChangeList, ChangeView, ChangesQuery};
use crate::state::Caller;
use crate::to_wire::change_view;

refusals! {
    NotShown: [InvalidRequest, LimitExceeded];
}

/// Lists administrative changes, the newest first.
///
/// The newest thousand are kept: changes of users, also those that were refused, and of topics, groups, exchanges and
/// bindings, whichever protocol they came over. While there are no users, nothing is listed.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "listChanges", tag = "administration",
    params(ChangesQuery),
    responses((status = 200, body = ChangeList, description = "One page of the list"), Asked, NotShown),
)]
pub(crate) async fn list_changes(
    Caller(state): Caller,
    QueryOf(query): QueryOf<ChangesQuery>,
) -> Result<Response, Refusal> {
    let max = in_range("max", query.max.unwrap_or(AUDIT_PAGE_ENTRIES_MAX), AUDIT_PAGE_ENTRIES_MAX)?;
    let mut line = state.line();
    let before = query.before;
    let reply = line.ask(|token| Command::Audit { token, before, max }).await?;
    let Reply::Audit(entries) = reply else { return Err(unexpected(&reply)) };
    state.keep(line);
    let changes: Vec<ChangeView> = entries.into_iter().map(change_view).collect();
    let next = changes.last().map(|last| last.number).filter(|number| *number > 1 && changes.len() == max);
    json(StatusCode::OK, &ChangeList { changes, next })
}
