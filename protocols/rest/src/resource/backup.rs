//! Backups of the whole broker, streamed to whoever asks. Writes no file: where a backup is kept is the client's choice.

use std::io;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use mailrail_broker::{Action, Backup, Command, Reply, Resource};
use tokio::sync::OwnedSemaphorePermit;

use crate::ask::unexpected;
use crate::problem::{Kind, Refusal, refusals};
use crate::state::{Caller, RestState};

const MEDIA_TYPE: &str = "application/x-tar";

refusals! {
    NotBackedUp: [Unauthenticated, AccessDenied, Internal, Overloaded, Stopping, ReadOnly, NoAnswer, NoSpace];
}

/// Streams a backup of everything that is stored.
///
/// A tar archive with all that was acknowledged before the request, whatever its durability, and nothing that was
/// stored after the backup began; the broker goes on meanwhile. `mailrail backup` fetches and checks one, `mailrail
/// restore` makes a data folder of it. An archive is whole only if it has the announced length. One backup is made at a
/// time, since while it is, no space of the log is given back.
#[utoipa::path(
    get, path = "/v1/backup", operation_id = "getBackup", tag = "administration",
    responses(
        (status = 200, body = String, content_type = "application/x-tar", description = "The archive"),
        NotBackedUp,
    ),
)]
pub(crate) async fn get_backup(Caller(state): Caller) -> Result<Response, Refusal> {
    state.check(Action::Administer, Resource::CLUSTER)?;
    let busy = |_| Refusal::new(Kind::Overloaded, "another backup is being made; try again later");
    let permit = state.backups().clone().try_acquire_owned().map_err(busy)?;
    let mut line = state.line();
    match line.ask(|token| Command::Sync { token }).await? {
        Reply::Done => state.keep(line),
        reply => return Err(unexpected(&reply)),
    }
    let backup = state.broker().backup()?;
    let length = backup.bytes();
    let stream = Stream { backup: Some(backup), state, _permit: permit };
    let chunks =
        unfold(stream, |mut stream| async { Some((stream.next_chunk().await.transpose()?, stream)) });
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"mailrail-backup.tar\"".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

struct Stream {
    /// `None` once it has failed.
    backup: Option<Backup>,
    state: RestState,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    /// Reads on a thread that may block, only when the client takes more. An error cuts the answer off.
    async fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let Some(mut backup) = self.backup.take() else { return Ok(None) };
        if self.state.is_stopping() {
            return Err(io::Error::other("the broker is stopping"));
        }
        let read = tokio::task::spawn_blocking(move || (backup.next_chunk(), backup)).await;
        let (chunk, backup) = read.map_err(io::Error::other)?;
        let chunk = chunk.inspect_err(|error| tracing::error!(%error, "a backup was cut off"))?;
        self.backup = Some(backup);
        Ok(chunk.map(Bytes::from))
    }
}
