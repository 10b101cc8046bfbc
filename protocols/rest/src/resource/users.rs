//! Users and their rules: made, shown, changed, listed, deleted.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use mailrail_broker::{Action, Command, Error, Name, PasswordHash, Resource, User, UserChange};

use super::{Asked, AskedWithBody, Refused, list_items};
use crate::from_wire::rules;
use crate::problem::{Kind, Refusal, refusals};
use crate::reply::json;
use crate::request::{EmptyBody, PathOf, QueryOf, from_json, read_body};
use crate::schema::topic::ListQuery;
use crate::schema::user::{Permissions, UserList, UserRequest, UserView};
use crate::state::{Caller, RestState};
use crate::to_wire::{permissions, user_view};

refusals! {
    Unknown: [UserNotFound];
    NotPut: [LastAdministrator, NoSpace];
    NotChanged: [UserNotFound, NoSpace];
    Kept: [UserNotFound, LastAdministrator, NoSpace];
}

/// Makes a user, or changes it.
///
/// The first one must be an administrator with a password; from then on nobody may do anything who has not logged in.
/// One such user always remains.
#[utoipa::path(
    put, path = "/v1/users/{user}", operation_id = "putUser", tag = "users",
    params(("user" = String, Path, description = "Name of the user, at most 255 bytes of UTF-8")),
    request_body(content = UserRequest, content_type = "application/json"),
    responses(
        (status = 200, body = UserView, description = "It existed, and is so now"),
        (status = 201, body = UserView, description = "It was made"),
        AskedWithBody, NotPut,
    ),
)]
pub(crate) async fn put_user(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let request: UserRequest = from_json(&parts.headers, &upload.bytes, EmptyBody::HasNoFields)?;
    // What it takes to hash a password is for those who may set it.
    let is_allowed = state.check(Action::Administer, Resource::CLUSTER).is_ok();
    let change = change(&state, &name, request, is_allowed).await?;
    let is_there = state.broker().directory().access().user(&name).is_some();
    put(&state, &name, change).await?;
    let status = if is_there { StatusCode::OK } else { StatusCode::CREATED };
    json(status, &user_view(&*user_of(&state, &name)?))
}

async fn change(
    state: &RestState,
    name: &str,
    request: UserRequest,
    is_allowed: bool,
) -> Result<UserChange, Refusal> {
    let UserRequest { password, signing_secret, admin, enabled, permissions } = request;
    let rules = permissions.map(rules).transpose()?;
    let mut change = UserChange { admin, enabled, rules, ..UserChange::default() };
    if is_allowed {
        let (broker, name) = (state.broker().clone(), name.to_owned());
        let sealing = move || {
            let password = password.as_deref().map(PasswordHash::of).transpose()?;
            let secret = signing_secret.as_deref().map(|secret| broker.seal(&name, secret)).transpose()?;
            Ok::<_, Error>((password, secret))
        };
        let sealed = tokio::task::spawn_blocking(sealing).await;
        let failed = |error| {
            tracing::error!(%error, "hashing a password failed");
            Refusal::new(Kind::Internal, "the password could not be hashed")
        };
        (change.password, change.signing_secret) = sealed.map_err(failed)??;
    }
    Ok(change)
}

async fn put(state: &RestState, name: &str, change: UserChange) -> Result<(), Refusal> {
    let (name, change) = (Name::from(name), Box::new(change));
    let mut line = state.line();
    line.ask(|token| Command::PutUser { token, name, change }).await?;
    state.keep(line);
    Ok(())
}

/// The user of a path.
fn user_of(state: &RestState, name: &str) -> Result<Arc<User>, Refusal> {
    state.broker().directory().access().user(name).ok_or_else(|| Error::NoUser(name.to_owned()).into())
}

/// As [`user_of`], for those who may see it: administrators, and the user itself.
fn shown_user(state: &RestState, name: &str) -> Result<Arc<User>, Refusal> {
    if state.identity().name() != Some(name) {
        state.check(Action::Administer, Resource::CLUSTER)?;
    }
    user_of(state, name)
}

/// Shows a user, without its secrets. Users may look at themselves.
#[utoipa::path(
    get, path = "/v1/users/{user}", operation_id = "getUser", tag = "users",
    params(("user" = String, Path, description = "Name of the user")),
    responses((status = 200, body = UserView, description = "The user"), Refused, Unknown),
)]
pub(crate) async fn get_user(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
) -> Result<Response, Refusal> {
    json(StatusCode::OK, &user_view(&*shown_user(&state, &name)?))
}

/// Deletes a user.
///
/// What it does over connections that are open ends as well; messages it holds come back with the end of their leases.
#[utoipa::path(
    delete, path = "/v1/users/{user}", operation_id = "deleteUser", tag = "users",
    params(("user" = String, Path, description = "Name of the user")),
    responses((status = 204, description = "It was deleted"), Asked, Kept),
)]
pub(crate) async fn delete_user(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
) -> Result<StatusCode, Refusal> {
    let mut line = state.line();
    let name = Name::from(name);
    line.ask(|token| Command::DeleteUser { token, name }).await?;
    state.keep(line);
    Ok(StatusCode::NO_CONTENT)
}

/// Lists users, sorted by name.
#[utoipa::path(
    get, path = "/v1/users", operation_id = "listUsers", tag = "users",
    params(ListQuery),
    responses((status = 200, body = UserList, description = "One page of the list"), Refused),
)]
pub(crate) async fn list_users(
    Caller(state): Caller,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Response, Refusal> {
    state.check(Action::Administer, Resource::CLUSTER)?;
    let items = list_items(query.max)?;
    let after = query.after.unwrap_or_default();
    let all = state.broker().directory().access().users();
    let start = all.partition_point(|user| *user.name <= *after);
    let rest = all.get(start..).unwrap_or(&[]);
    let users: Vec<UserView> = rest.iter().take(items).map(|user| user_view(user)).collect();
    let next = if rest.len() > items { users.last().map(|last| last.user.clone()) } else { None };
    json(StatusCode::OK, &UserList { users, next })
}

/// Shows the rules of a user.
#[utoipa::path(
    get, path = "/v1/users/{user}/permissions", operation_id = "getPermissions", tag = "users",
    params(("user" = String, Path, description = "Name of the user")),
    responses((status = 200, body = Permissions, description = "All its rules"), Refused, Unknown),
)]
pub(crate) async fn get_permissions(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
) -> Result<Response, Refusal> {
    let permissions = permissions(&*shown_user(&state, &name)?);
    json(StatusCode::OK, &Permissions { permissions })
}

/// Gives a user other rules in place of those it has.
#[utoipa::path(
    put, path = "/v1/users/{user}/permissions", operation_id = "putPermissions", tag = "users",
    params(("user" = String, Path, description = "Name of the user")),
    request_body(content = Permissions, content_type = "application/json"),
    responses((status = 200, body = Permissions, description = "All its rules now"), AskedWithBody, NotChanged),
)]
pub(crate) async fn put_permissions(
    Caller(state): Caller,
    PathOf(name): PathOf<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let upload = read_body(&state, &parts.headers, body).await?;
    let request: Permissions = from_json(&parts.headers, &upload.bytes, EmptyBody::Refused)?;
    let rules = Some(rules(request.permissions)?);
    if state.check(Action::Administer, Resource::CLUSTER).is_ok() {
        user_of(&state, &name)?;
    }
    put(&state, &name, UserChange { rules, ..UserChange::default() }).await?;
    let permissions = permissions(&*user_of(&state, &name)?);
    json(StatusCode::OK, &Permissions { permissions })
}
