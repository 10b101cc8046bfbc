//! `mailrail status`: asks a running broker over HTTP whether it takes work, for health checks where there is no curl,
//! and for people. It opens nothing that is the broker's.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;

use crate::client::{self, Asked, say};
use crate::config::{ClientFlags, SettingsError};

/// How long the whole conversation may take; health checks are given up on after a little more.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Says on standard output what the broker answers. The inner error is the one line of a broker that takes no work.
pub fn run(flags: &ClientFlags) -> Result<Result<(), String>, SettingsError> {
    let asked = Asked::of(flags)?;
    Ok(ask(&asked).and_then(|answer| answer.tell(asked.address, flags.json)))
}

struct Answer {
    status: StatusCode,
    body: Bytes,
}

impl Answer {
    fn tell(&self, address: SocketAddr, json: bool) -> Result<(), String> {
        // Null where it is no JSON, as with the answer of a proxy.
        let value: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        if json {
            say(&value.to_string());
        }
        if self.status != StatusCode::OK {
            return Err(client::refused(address, self.status, &self.body));
        }
        if !json {
            say("ready");
        }
        Ok(())
    }
}

fn ask(asked: &Asked) -> Result<Answer, String> {
    let address = asked.address;
    client::run(async {
        let conversation = async {
            let response = asked.get("/readyz").await?;
            let status = response.status();
            Ok(Answer { status, body: client::whole_body(response).await? })
        };
        let asked = tokio::time::timeout(TIMEOUT, conversation).await;
        let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs()).into()));
        asked.map_err(|error: client::Error| format!("{address} cannot be asked: {error}"))
    })
}
