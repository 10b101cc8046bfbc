//! HEART_BEAT (34), UNREGISTER_CLIENT (35), CHECK_CLIENT_CONFIG (46): who a connection is.
//!
//! The registry of clients is the adapter's; the JSON bodies are read in `body::heartbeat`.

use super::CommandError;
use super::read::Fields;
use crate::codec::body;
use crate::codec::header::Header;

pub use crate::codec::body::heartbeat::{CheckClientConfig, Heartbeat};

/// 35. A group is None when the client is not leaving one of that kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnregisterClient<'a> {
    pub client_id: &'a str,
    pub producer_group: Option<&'a str>,
    pub consumer_group: Option<&'a str>,
}

impl<'a> UnregisterClient<'a> {
    pub fn parse(header: &'a Header) -> Result<UnregisterClient<'a>, CommandError> {
        let fields = Fields { header };
        Ok(UnregisterClient {
            client_id: fields.needed("clientID")?,
            producer_group: fields.text("producerGroup"),
            consumer_group: fields.text("consumerGroup"),
        })
    }
}

pub(super) fn parse(header: &Header, body: &[u8]) -> Result<Heartbeat, CommandError> {
    body::heartbeat::parse(body).map_err(|source| CommandError::Body { request: header.code, source })
}

pub(super) fn parse_check(header: &Header, body: &[u8]) -> Result<CheckClientConfig, CommandError> {
    body::heartbeat::parse_check(body).map_err(|source| CommandError::Body { request: header.code, source })
}
