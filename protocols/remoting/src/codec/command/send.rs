//! SEND_MESSAGE in its forms: 10 and 324 with full field names, 310, 320 and 325 with one-letter ones.
//!
//! The body is not looked into; batch bodies are split by `body::batch`.

use super::CommandError;
use super::read::{flag, number};
use crate::codec::header::{Header, text};
use crate::codec::request_code as request;

/// Header of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendMessage<'a> {
    /// Empty when the client has none.
    pub producer_group: &'a str,
    pub topic: &'a str,
    /// The topic whose settings a new topic takes (`TBW102`).
    pub default_topic: &'a str,
    pub default_topic_queues: i32,
    /// Negative: the broker chooses.
    pub queue_id: i32,
    /// Bits of the stored message (compressed, transaction, codec).
    pub sys_flag: i32,
    /// Milliseconds since 1970; 0 when the client gave none.
    pub born_timestamp: i64,
    /// The application's own number.
    pub flag: i32,
    /// `key 0x01 value 0x02` repeated.
    pub properties: &'a str,
    pub reconsume_times: i32,
    pub unit_mode: bool,
    pub max_reconsume_times: Option<i32>,
    /// The body holds several messages. This flag decides, not the request code.
    pub batch: bool,
    pub broker_name: Option<&'a str>,
    /// Codes 324 and 325: the answer of a request-reply pair.
    pub reply: bool,
}

impl<'a> SendMessage<'a> {
    /// One pass over the fields, taking either set of names whatever the code says.
    pub fn parse(header: &'a Header) -> Result<SendMessage<'a>, CommandError> {
        let code = header.code;
        let mut send = SendMessage::absent(code);
        let mut queue_id = None;
        for (key, value) in header.fields() {
            match key {
                b"a" | b"producerGroup" => send.producer_group = text(value),
                b"b" | b"topic" => send.topic = text(value),
                b"c" | b"defaultTopic" => send.default_topic = text(value),
                b"d" | b"defaultTopicQueueNums" => {
                    send.default_topic_queues = number(code, "defaultTopicQueueNums", value)?;
                }
                b"e" | b"queueId" => queue_id = Some(number(code, "queueId", value)?),
                b"f" | b"sysFlag" => send.sys_flag = number(code, "sysFlag", value)?,
                b"g" | b"bornTimestamp" => send.born_timestamp = number(code, "bornTimestamp", value)?,
                b"h" | b"flag" => send.flag = number(code, "flag", value)?,
                b"i" | b"properties" => send.properties = text(value),
                b"j" | b"reconsumeTimes" => send.reconsume_times = number(code, "reconsumeTimes", value)?,
                b"k" | b"unitMode" => send.unit_mode = flag(value),
                b"l" | b"maxReconsumeTimes" => {
                    send.max_reconsume_times = Some(number(code, "maxReconsumeTimes", value)?);
                }
                b"m" | b"batch" => send.batch = flag(value),
                b"n" | b"bname" | b"brokerName" => send.broker_name = Some(text(value)),
                _ => {}
            }
        }
        if send.topic.is_empty() {
            return Err(CommandError::Missing { request: code, field: "topic" });
        }
        send.queue_id = queue_id.ok_or(CommandError::Missing { request: code, field: "queueId" })?;
        Ok(send)
    }

    fn absent(code: i32) -> SendMessage<'a> {
        SendMessage {
            producer_group: "",
            topic: "",
            default_topic: "",
            default_topic_queues: 4,
            queue_id: -1,
            sys_flag: 0,
            born_timestamp: 0,
            flag: 0,
            properties: "",
            reconsume_times: 0,
            unit_mode: false,
            max_reconsume_times: None,
            batch: false,
            broker_name: None,
            reply: matches!(code, request::SEND_REPLY_MESSAGE | request::SEND_REPLY_MESSAGE_V2),
        }
    }
}
