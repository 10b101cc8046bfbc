//! `mailrail status`: asks a running broker over HTTP whether it takes work, for health checks where there is no curl,
//! and for people. It opens nothing that is the broker's.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::config::{SettingsError, StatusFlags, resolve};

/// How long the whole conversation may take; health checks are given up on after a little more.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer; a longer one is no broker's.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Says on standard output what the broker answers. The inner error is the one line of a broker that takes no work.
pub fn run(flags: &StatusFlags) -> Result<Result<(), String>, SettingsError> {
    let address = reachable(resolve("address", &flags.address)?);
    Ok(ask(address).and_then(|answer| answer.tell(address, flags.json)))
}

/// What stands for every address can be listened on, but only one of them be asked.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
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
            let why = Problem::deserialize(&value).map(|problem| format!(": {}", problem.detail));
            return Err(format!("{address} answers {}{}", self.status.as_u16(), why.unwrap_or_default()));
        }
        if !json {
            say("ready");
        }
        Ok(())
    }
}

fn say(line: &str) {
    // Whoever closed the pipe has the exit code.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The part of a problem document that is meant for people.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

fn ask(address: SocketAddr) -> Result<Answer, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the async runtime cannot start: {error}"))?;
    let asked = runtime.block_on(async { tokio::time::timeout(TIMEOUT, converse(address)).await });
    let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs()).into()));
    asked.map_err(|error| format!("{address} cannot be asked: {error}"))
}

async fn converse(address: SocketAddr) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    tokio::spawn(connection);
    let request = Request::get("/readyz").header(header::HOST, address.to_string()).body(Body::empty())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = axum::body::to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await?;
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_asked_over_loopback() {
        for (listened, asked) in [
            ("0.0.0.0:8600", "127.0.0.1:8600"),
            ("[::]:8600", "[::1]:8600"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reachable(listened.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
