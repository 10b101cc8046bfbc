//! `mailrail backup`: fetches a backup from a running broker over HTTP into a file, which has its name only once all of it
//! arrived, was checked, and is on the disk. It opens nothing that is the broker's.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use futures_util::StreamExt;
use mailrail_broker::{Contents, Unpacker};
use serde_json::json;

use crate::client::{self, Asked, say};
use crate::config::{BackupFlags, SettingsError};

/// Longest that the broker may be silent: before it begins it may have a sync to wait for.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Says on standard output what was copied. The inner error is the one line of why there is no backup.
pub fn run(flags: &BackupFlags) -> Result<Result<(), String>, SettingsError> {
    let asked = Asked::of(&flags.client)?;
    Ok(client::run(fetch(&asked, &flags.to)).map(|contents| tell(flags, &contents)))
}

fn tell(flags: &BackupFlags, contents: &Contents) {
    let Contents { start, end, made_s, bytes } = contents;
    say(&if flags.client.json {
        json!({"file": flags.to, "bytes": bytes, "start": start, "end": end, "made_s": made_s}).to_string()
    } else {
        format!("{}: {bytes} bytes, log positions {start} to {end}", flags.to.display())
    });
}

async fn fetch(asked: &Asked, to: &Path) -> Result<Contents, String> {
    let address = asked.address;
    if to.exists() {
        return Err(format!("{} exists already", to.display()));
    }
    let unasked = |error: client::Error| format!("{address} cannot be asked: {error}");
    let response = heard(address, asked.get("/v1/backup")).await?.map_err(unasked)?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        let body = client::whole_body(response).await.unwrap_or_default();
        return Err(client::refused(address, status, &body));
    }
    let mut partial = Partial::create(to)?;
    let contents = receive(address, response.into_body(), &mut partial).await?;
    partial.give_name(to)?;
    Ok(contents)
}

/// What the broker says next, if it is not silent for too long.
async fn heard<T>(address: SocketAddr, next: impl Future<Output = T>) -> Result<T, String> {
    let silent = |_| format!("{address} was silent for {} s", SILENCE_MAX.as_secs());
    tokio::time::timeout(SILENCE_MAX, next).await.map_err(silent)
}

/// Writes an archive as it arrives. A file that nobody else waits for may be written on this thread.
async fn receive(address: SocketAddr, body: Body, partial: &mut Partial) -> Result<Contents, String> {
    let wrong = |error| format!("what {address} sends is no whole backup, {error}");
    let mut unpacker = Unpacker::default();
    let mut chunks = pin!(body.into_data_stream());
    while let Some(chunk) = heard(address, chunks.next()).await? {
        let chunk: Bytes = chunk.map_err(|error| format!("{address} cut the backup off: {error}"))?;
        let mut input = &chunk[..];
        while unpacker.next(&mut input).map_err(wrong)?.is_some() {}
        partial.file.write_all(&chunk).map_err(|error| partial.failed("writing", &error))?;
    }
    unpacker.finish().map_err(wrong)
}

/// A file without its name yet; removed unless it gets one.
struct Partial {
    path: PathBuf,
    file: File,
    has_name: bool,
}

impl Partial {
    fn create(to: &Path) -> Result<Partial, String> {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let path = to.with_file_name(name);
        // One that is left of an interrupted backup is of no use. What is in it is nobody else's to read.
        let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
        let file = options.open(&path).map_err(|error| format!("making {}: {error}", path.display()))?;
        Ok(Partial { path, file, has_name: false })
    }

    fn failed(&self, action: &str, error: &std::io::Error) -> String {
        format!("{action} {}: {error}", self.path.display())
    }

    fn give_name(mut self, to: &Path) -> Result<(), String> {
        self.file.sync_all().map_err(|error| self.failed("syncing", &error))?;
        fs::rename(&self.path, to).map_err(|error| self.failed("renaming", &error))?;
        self.has_name = true;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| format!("syncing {}: {error}", folder.display()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.has_name {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// Why there is no backup of a broker whose only chunk, which is none of a backup's, comes after a silence.
    async fn told_after(silence: Duration) -> String {
        let folder = tempfile::tempdir().unwrap();
        let chunk = async move {
            tokio::time::sleep(silence).await;
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 4096]))
        };
        let mut partial = Partial::create(&folder.path().join("backup")).unwrap();
        let body = Body::from_stream(stream::once(chunk));
        receive("127.0.0.1:8600".parse().unwrap(), body, &mut partial).await.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_may_be_silent_up_to_the_limit_and_no_longer() {
        let told = told_after(SILENCE_MAX).await;
        assert!(told.starts_with("what 127.0.0.1:8600 sends is no whole backup"), "{told}");
        let told = told_after(SILENCE_MAX + Duration::from_millis(1)).await;
        assert_eq!(told, "127.0.0.1:8600 was silent for 60 s");
    }
}
