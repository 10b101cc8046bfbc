//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): one header, two codes.
//!
//! Limits on the count and bytes of an answer are the broker's.

use std::time::Duration;

use super::CommandError;
use super::read::number;
use crate::codec::header::{Header, text};
use crate::codec::limits::PULL_SUSPEND_MILLIS_MAX;

const COMMIT_OFFSET: i32 = 0x1;
const SUSPEND: i32 = 0x2;
const SUBSCRIPTION: i32 = 0x4;
const LITE: i32 = 0x10;

/// Header of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullMessage<'a> {
    pub consumer_group: &'a str,
    pub topic: &'a str,
    pub queue_id: i32,
    pub queue_offset: i64,
    pub max_messages: i32,
    pub max_message_bytes: Option<i32>,
    pub sys_flag: i32,
    pub commit_offset: i64,
    pub suspend_timeout_millis: i64,
    /// Version of the subscription the client assumes; not always milliseconds.
    pub sub_version: i64,
    /// Sent by some clients even when [`PullMessage::carries_subscription`] is false; then it is empty.
    pub subscription: Option<&'a str>,
    /// `TAG` (also when absent) or `SQL92`.
    pub expression_type: Option<&'a str>,
}

impl<'a> PullMessage<'a> {
    /// One pass over the fields.
    pub fn parse(header: &'a Header) -> Result<PullMessage<'a>, CommandError> {
        let code = header.code;
        let mut pull = PullMessage::absent();
        let (mut queue_id, mut queue_offset) = (None, None);
        for (key, value) in header.fields() {
            match key {
                b"consumerGroup" => pull.consumer_group = text(value),
                b"topic" => pull.topic = text(value),
                b"queueId" => queue_id = Some(number(code, "queueId", value)?),
                b"queueOffset" => queue_offset = Some(number(code, "queueOffset", value)?),
                b"maxMsgNums" => pull.max_messages = number(code, "maxMsgNums", value)?,
                b"maxMsgBytes" => pull.max_message_bytes = Some(number(code, "maxMsgBytes", value)?),
                b"sysFlag" => pull.sys_flag = number(code, "sysFlag", value)?,
                b"commitOffset" => pull.commit_offset = number(code, "commitOffset", value)?,
                b"suspendTimeoutMillis" => {
                    pull.suspend_timeout_millis = number(code, "suspendTimeoutMillis", value)?;
                }
                b"subVersion" => pull.sub_version = number(code, "subVersion", value)?,
                b"subscription" => pull.subscription = Some(text(value)),
                b"expressionType" => pull.expression_type = Some(text(value)),
                _ => {}
            }
        }
        let missing = |field| CommandError::Missing { request: code, field };
        pull.queue_id = queue_id.ok_or(missing("queueId"))?;
        pull.queue_offset = queue_offset.ok_or(missing("queueOffset"))?;
        if pull.topic.is_empty() {
            return Err(missing("topic"));
        }
        if pull.consumer_group.is_empty() {
            return Err(missing("consumerGroup"));
        }
        Ok(pull)
    }

    fn absent() -> PullMessage<'a> {
        PullMessage {
            consumer_group: "",
            topic: "",
            queue_id: 0,
            queue_offset: 0,
            max_messages: 32,
            max_message_bytes: None,
            sys_flag: 0,
            commit_offset: 0,
            suspend_timeout_millis: 0,
            sub_version: 0,
            subscription: None,
            expression_type: None,
        }
    }

    /// The offset that travels along is to be committed.
    pub fn commits(&self) -> Option<i64> {
        (self.sys_flag & COMMIT_OFFSET != 0 && self.commit_offset > 0).then_some(self.commit_offset)
    }

    /// How long to hold the request when there is nothing yet; None = answer at once.
    pub fn hold(&self) -> Option<Duration> {
        let millis = u64::try_from(self.suspend_timeout_millis).unwrap_or(0).min(PULL_SUSPEND_MILLIS_MAX);
        (self.sys_flag & SUSPEND != 0 && millis > 0).then(|| Duration::from_millis(millis))
    }

    /// The expression travels in this request; otherwise it is the heartbeat's.
    pub fn carries_subscription(&self) -> bool {
        self.sys_flag & SUBSCRIPTION != 0
    }

    pub fn is_lite(&self) -> bool {
        self.sys_flag & LITE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_held_no_longer_than_the_longest_time() {
        let hold = |millis: u64| {
            let suspend_timeout_millis = i64::try_from(millis).unwrap();
            PullMessage { sys_flag: SUSPEND, suspend_timeout_millis, ..PullMessage::absent() }.hold()
        };
        let max = Some(Duration::from_millis(PULL_SUSPEND_MILLIS_MAX));
        assert_eq!(
            hold(PULL_SUSPEND_MILLIS_MAX - 1),
            Some(Duration::from_millis(PULL_SUSPEND_MILLIS_MAX - 1))
        );
        assert_eq!((hold(PULL_SUSPEND_MILLIS_MAX), hold(PULL_SUSPEND_MILLIS_MAX + 1)), (max, max));
    }
}
