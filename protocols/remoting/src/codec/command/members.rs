//! GET_CONSUMER_LIST_BY_GROUP (38): the client ids that share a group.
//!
//! The answer's body is written in `body::members`.

use super::CommandError;
use super::read::Fields;
use crate::codec::header::Header;

/// 38.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerList<'a> {
    pub consumer_group: &'a str,
}

impl<'a> ConsumerList<'a> {
    pub fn parse(header: &'a Header) -> Result<ConsumerList<'a>, CommandError> {
        Ok(ConsumerList { consumer_group: Fields { header }.needed("consumerGroup")? })
    }
}
