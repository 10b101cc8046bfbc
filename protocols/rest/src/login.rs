//! Who asks: HTTP basic authentication. What whoever it is may do, the broker decides.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mailrail_broker::Identity;

use crate::problem::{Kind, Refusal};
use crate::state::RestState;

/// Finds out who asks, and tells the handler.
pub(crate) async fn authenticate(
    State(state): State<RestState>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let (mut request, identity) = identified(&state, request).await?;
    request.extensions_mut().insert(identity);
    Ok(next.run(request).await)
}

/// Who asks. While there are no users, nobody is looked at.
pub(crate) async fn identified(
    state: &RestState,
    request: Request,
) -> Result<(Request, Arc<Identity>), Refusal> {
    if state.broker().directory().access().is_open() {
        return Ok((request, state.identity().clone()));
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let from = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |ConnectInfo(peer)| peer.ip());
    // The request's body, which is not to be held across the wait, goes on in it.
    let (parts, body) = request.into_parts();
    let identity = log_in(state, &parts.headers, from).await?;
    Ok((Request::from_parts(parts, body), identity))
}

async fn log_in(state: &RestState, headers: &HeaderMap, from: IpAddr) -> Result<Arc<Identity>, Refusal> {
    let missing = || Refusal::new(Kind::Unauthenticated, "this needs a user: `Authorization: Basic ...`");
    let header = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    let (name, password) = credentials(header.as_bytes()).ok_or_else(|| {
        Refusal::new(
            Kind::Unauthenticated,
            "the header `Authorization` is not `Basic` with a name and a password",
        )
    })?;
    let mut line = state.line();
    let identity = line.log_in(&name, &password, from).await?;
    state.keep(line);
    Ok(identity)
}

/// Name and password of RFC 7617: `Basic` and the base64 form of `NAME:PASSWORD`.
fn credentials(header: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_holds_a_name_and_a_password() {
        let encode = |scheme: &str, text: &[u8]| format!("{scheme} {}", STANDARD.encode(text));
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        let cases = [
            (encode("Basic", b"ann:secret"), pair("ann", "secret")),
            (encode("basic", b"ann:with:colons"), pair("ann", "with:colons")),
            (encode("Basic", "j\u{f6}rg:\u{20ac}".as_bytes()), pair("j\u{f6}rg", "\u{20ac}")),
            (encode("Basic", b":"), pair("", "")),
            (encode("Basic", b"no colon"), None),
            (encode("Basic", b"\xff:x"), None),
            (encode("Bearer", b"ann:secret"), None),
            ("Basic".to_owned(), None),
            ("Basic ***".to_owned(), None),
        ];
        for (header, expected) in cases {
            assert_eq!(credentials(header.as_bytes()), expected, "{header}");
        }
    }
}
