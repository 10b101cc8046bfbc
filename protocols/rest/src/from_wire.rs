//! From what requests say to what the core takes: messages into a publish batch, settings, positions, filters. Decides
//! what is refused before anything is stored.

pub(crate) mod deduplication;
mod exchanges;
mod fields;
mod groups;
mod messages;
mod reading;
mod topics;
mod users;

use crate::instant::WallTime;
use crate::problem::Refusal;

pub(crate) use self::exchanges::{MATCH_HEADER, bind_target, binding_attributes, exchange_settings};
pub(crate) use self::fields::{describe_body, raw_fields};
pub(crate) use self::groups::group_settings;
pub(crate) use self::messages::{Encoder, To, lite_topic};
pub(crate) use self::reading::{Start, filter, seek_to};
pub(crate) use self::topics::topic_settings;
pub(crate) use self::users::rules;

pub(crate) fn time(value: &str) -> Result<WallTime, Refusal> {
    WallTime::parse(value).map_err(Refusal::invalid)
}
