//! CONSUMER_SEND_MSG_BACK (36): a consumer gives one message back for a later attempt.
//!
//! Levels, retry topics and dead letters are the adapter's.

use super::CommandError;
use super::read::Fields;
use crate::codec::header::Header;

/// 36.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendMessageBack<'a> {
    /// Log position of the message (`physicalOffset`).
    pub position: i64,
    pub group: &'a str,
    /// Negative: straight to the dead letter; 0: by the number of attempts; else the level itself.
    pub delay_level: i32,
    pub origin_msg_id: Option<&'a str>,
    pub origin_topic: Option<&'a str>,
    pub unit_mode: bool,
    pub max_reconsume_times: Option<i32>,
}

impl<'a> SendMessageBack<'a> {
    pub fn parse(header: &'a Header) -> Result<SendMessageBack<'a>, CommandError> {
        let fields = Fields { header };
        Ok(SendMessageBack {
            position: fields.needed_number("offset")?,
            group: fields.needed("group")?,
            delay_level: fields.number("delayLevel")?.unwrap_or(0),
            origin_msg_id: fields.text("originMsgId"),
            origin_topic: fields.text("originTopic"),
            unit_mode: fields.flag("unitMode").unwrap_or(false),
            max_reconsume_times: fields.number("maxReconsumeTimes")?,
        })
    }
}
