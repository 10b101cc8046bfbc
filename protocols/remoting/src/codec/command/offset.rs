//! Offsets: 14 query and 15 update of a group's position; 29 by time, 30 next, 31 first, 32 earliest time.
//!
//! What the answers contain is decided by the adapter.

use super::CommandError;
use super::read::{Fields, invalid};
use crate::codec::header::Header;

/// 14.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryConsumerOffset<'a> {
    pub consumer_group: &'a str,
    pub queue: QueueOf<'a>,
    /// Some(false): do not answer 0 for a young queue without a position.
    pub set_zero_if_not_found: Option<bool>,
}

/// 15.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateConsumerOffset<'a> {
    pub consumer_group: &'a str,
    pub queue: QueueOf<'a>,
    pub commit_offset: i64,
}

/// 29.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchOffset<'a> {
    pub queue: QueueOf<'a>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub boundary: Boundary,
}

/// Which of several offsets a time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// First offset stored at or after the time.
    Lower,
    /// Last offset stored at or before it.
    Upper,
}

/// A queue by topic and number; the whole header of 30, 31 and 32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueOf<'a> {
    pub topic: &'a str,
    pub queue_id: i32,
}

impl<'a> QueueOf<'a> {
    pub fn parse(header: &'a Header) -> Result<QueueOf<'a>, CommandError> {
        let fields = Fields { header };
        Ok(QueueOf { topic: fields.needed("topic")?, queue_id: fields.needed_number("queueId")? })
    }
}

impl<'a> QueryConsumerOffset<'a> {
    pub fn parse(header: &'a Header) -> Result<QueryConsumerOffset<'a>, CommandError> {
        let fields = Fields { header };
        Ok(QueryConsumerOffset {
            consumer_group: fields.needed("consumerGroup")?,
            queue: QueueOf::parse(header)?,
            set_zero_if_not_found: fields.flag("setZeroIfNotFound"),
        })
    }
}

impl<'a> UpdateConsumerOffset<'a> {
    pub fn parse(header: &'a Header) -> Result<UpdateConsumerOffset<'a>, CommandError> {
        let fields = Fields { header };
        Ok(UpdateConsumerOffset {
            consumer_group: fields.needed("consumerGroup")?,
            queue: QueueOf::parse(header)?,
            commit_offset: fields.needed_number("commitOffset")?,
        })
    }
}

impl<'a> SearchOffset<'a> {
    pub fn parse(header: &'a Header) -> Result<SearchOffset<'a>, CommandError> {
        let fields = Fields { header };
        let boundary = match fields.text("boundaryType") {
            None => Boundary::Lower,
            Some(name) if name.eq_ignore_ascii_case("lower") => Boundary::Lower,
            Some(name) if name.eq_ignore_ascii_case("upper") => Boundary::Upper,
            Some(name) => {
                return Err(invalid(header.code, "boundaryType", name.as_bytes(), "LOWER or UPPER"));
            }
        };
        let timestamp = fields.needed_number("timestamp")?;
        Ok(SearchOffset { queue: QueueOf::parse(header)?, timestamp, boundary })
    }
}
