//! Where a reader begins, and what it wants.

use mailrail_broker::{Dialect, Filter, SeekTo};

use super::time;
use crate::problem::Refusal;
use crate::schema::group::SeekRequest;

/// A place to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    Offset(u64),
    TimeMs(u64),
}

impl Start {
    pub fn parse(value: &str) -> Result<Start, Refusal> {
        let wrong = || {
            Refusal::invalid(format!(
                "{value:?} is no place to start: earliest, latest, offset:N and time:T (RFC 3339) are"
            ))
        };
        match value.split_once(':') {
            None if value == "earliest" => Ok(Start::Earliest),
            None if value == "latest" => Ok(Start::Latest),
            Some(("offset", offset)) => offset.parse().map(Start::Offset).map_err(|_| wrong()),
            // A plus sign that was not escaped in a query arrives as a blank.
            Some(("time", at)) => Ok(Start::TimeMs(time(&at.replace(' ', "+"))?.0)),
            _ => Err(wrong()),
        }
    }
}

pub(crate) fn seek_to(request: &SeekRequest) -> Result<SeekTo, Refusal> {
    let start = match (&request.to, request.time_ms) {
        (Some(to), None) => Start::parse(to)?,
        (None, Some(time_ms)) => Start::TimeMs(time_ms),
        _ => return Err(Refusal::invalid("a seek needs either to or time_ms")),
    };
    match (start, request.queue) {
        (Start::Offset(offset), Some(queue_index)) => Ok(SeekTo::Offset { queue_index, offset }),
        (Start::Offset(_), None) => Err(Refusal::invalid("a seek to an offset needs its queue")),
        (_, Some(_)) => Err(Refusal::invalid("only a seek to an offset names a queue")),
        (Start::Earliest, None) => Ok(SeekTo::Earliest),
        (Start::Latest, None) => Ok(SeekTo::Latest),
        (Start::TimeMs(time_ms), None) => Ok(SeekTo::Time(time_ms)),
    }
}

/// What a reader wants: the tags, and of these what an expression is true of.
pub(crate) fn filter(tags: Option<&str>, sql: Option<&str>) -> Result<Filter, Refusal> {
    let filter = Filter::tags(tags.unwrap_or_default())?;
    match sql {
        Some(sql) => Ok(filter.and_sql(sql, Dialect::Rocketmq)?),
        None => Ok(filter),
    }
}
