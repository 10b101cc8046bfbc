//! Who sends a request: RocketMQ's clients sign each one, with an access key, which is a user's name, and a secret.
//!
//! What the user may do, the broker decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::codec::Frame;
use crate::codec::response_code as response;
use crate::connection::Connection;
use crate::refusal::Refusal;

const ACCESS_KEY: &[u8] = b"AccessKey";
const SIGNATURE: &[u8] = b"Signature";
/// What clients up to a version put into a request after they have signed it.
const UNSIGNED: &[u8] = b"_UNIQUE_KEY_QUERY";
pub(crate) const UNSIGNED_VERSION_MAX: i32 = 399;

/// Checks a request's signature. While there are no users, nobody's is looked at.
///
/// All requests of a connection are one user's: what was gathered for one must not be sent as another.
pub(crate) fn check(connection: &mut Connection, frame: &Frame) -> Result<(), Refusal> {
    if connection.session.broker().directory().access().is_open() {
        return Ok(());
    }
    let mut fields: BTreeMap<&[u8], &[u8]> = frame.header.fields().collect();
    let signature = fields.remove(SIGNATURE).and_then(|text| STANDARD.decode(text).ok());
    let name = fields
        .get(ACCESS_KEY)
        .and_then(|name| std::str::from_utf8(name).ok())
        .filter(|name| !name.is_empty());
    let (Some(name), Some(signature)) = (name, signature) else {
        return Err(refused("this broker has users: the request must have an AccessKey and a Signature"));
    };
    if frame.header.version <= UNSIGNED_VERSION_MAX {
        fields.remove(UNSIGNED);
    }
    let known = connection.session.identity().name();
    if known.is_some_and(|known| known != name) {
        return Err(refused("another access key was used on this connection"));
    }
    let is_known = known.is_some();
    let parts = fields.values().copied().chain([&*frame.body]);
    let (broker, from) = (connection.session.broker(), connection.peer.ip());
    let identity = broker.sign_in(name, parts, &signature, from).map_err(|_| {
        tracing::info!(peer = %connection.peer, user = name, "remoting request refused: its signature is wrong");
        refused("the AccessKey is unknown, or the Signature was not made with its secret")
    })?;
    if !is_known {
        connection.session.identify(Arc::new(identity));
    }
    Ok(())
}

fn refused(why: &'static str) -> Refusal {
    Refusal::new(response::NO_PERMISSION, why)
}
