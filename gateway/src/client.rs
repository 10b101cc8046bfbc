//! What the subcommands that ask a running broker share: one HTTP request over one connection, and what to say of the
//! answer. It knows no operation of the API.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::body::{Body, Bytes};
use axum::http::request::Builder;
use axum::http::{Request, Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::config::{ClientFlags, SettingsError, password_in, resolve};

/// Longest answer that is read whole; a longer one is no broker's.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs a conversation to its end.
pub fn run<T>(conversation: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the async runtime cannot start: {error}"))?;
    runtime.block_on(conversation)
}

/// A broker, and as whom it is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub address: SocketAddr,
    authorization: Option<String>,
}

impl Asked {
    pub fn of(flags: &ClientFlags) -> Result<Asked, SettingsError> {
        let address = reachable(resolve("address", &flags.address)?);
        let password = match &flags.password_file {
            Some(path) => Some(password_in(path)?),
            None => flags.password.clone(),
        };
        let encode = |user: &String| {
            let pair = format!("{user}:{}", password.as_deref().unwrap_or_default());
            format!("Basic {}", STANDARD.encode(pair))
        };
        Ok(Asked { address, authorization: flags.user.as_ref().map(encode) })
    }

    /// The head of the answer to a GET; its body comes as it is read.
    pub async fn get(&self, path: &str) -> Result<Response<Body>, Error> {
        self.send(Request::get(path), Body::empty()).await
    }

    /// The head of the answer to a request.
    pub async fn send(&self, request: Builder, body: Body) -> Result<Response<Body>, Error> {
        let stream = TokioIo::new(TcpStream::connect(self.address).await?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        let mut request = request.header(header::HOST, self.address.to_string());
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        Ok(sender.send_request(request.body(body)?).await?.map(Body::new))
    }
}

/// The body of a short answer.
pub async fn whole_body(response: Response<Body>) -> Result<Bytes, Error> {
    Ok(axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await?)
}

/// The part of a problem document that is meant for people.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// One line on an answer that is not what was asked for.
pub fn refused(address: SocketAddr, status: StatusCode, body: &[u8]) -> String {
    let why = serde_json::from_slice::<Problem>(body).map(|problem| format!(": {}", problem.detail));
    format!("{address} answers {}{}", status.as_u16(), why.unwrap_or_default())
}

/// What stands for every address can be listened on, but only one of them be asked.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Says it on standard output.
pub fn say(line: &str) {
    // Whoever closed the pipe has the exit code.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_limit_and_no_farther() {
        let read = async |bytes| whole_body(Response::new(Body::from(vec![b'x'; bytes]))).await;
        assert_eq!(read(ANSWER_BYTES_MAX).await.unwrap().len(), ANSWER_BYTES_MAX);
        assert!(read(ANSWER_BYTES_MAX + 1).await.is_err());
    }

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
