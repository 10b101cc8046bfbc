//! Looking up messages: 12 by key, 33 by offset message id.
//!
//! What the answers contain is decided by the adapter.

use super::CommandError;
use super::read::Fields;
use crate::codec::header::Header;

/// 12.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMessage<'a> {
    pub topic: &'a str,
    /// One of KEYS, or the client's own id.
    pub key: &'a str,
    pub max: i32,
    /// Store times, in milliseconds since 1970.
    pub begin: i64,
    pub end: i64,
}

/// 33.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewMessage {
    /// Log position, the second half of the id.
    pub position: i64,
}

impl<'a> QueryMessage<'a> {
    pub fn parse(header: &'a Header) -> Result<QueryMessage<'a>, CommandError> {
        let fields = Fields { header };
        Ok(QueryMessage {
            topic: fields.needed("topic")?,
            key: fields.needed("key")?,
            max: fields.needed_number("maxNum")?,
            begin: fields.needed_number("beginTimestamp")?,
            end: fields.needed_number("endTimestamp")?,
        })
    }
}

impl ViewMessage {
    pub fn parse(header: &Header) -> Result<ViewMessage, CommandError> {
        Ok(ViewMessage { position: Fields { header }.needed_number("offset")? })
    }
}
