//! A request that is answered with an error: its code and the text that goes with it.
//!
//! Which code a broker error becomes is decided in `to_wire`.

use std::borrow::Cow;

use crate::codec::CommandError;
use crate::codec::body::batch::BatchError;
use crate::codec::response_code as response;

/// Scope: one request. The connection lives on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: i32,
    pub(crate) remark: Cow<'static, str>,
}

const FAQ: &str = "See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";

impl Refusal {
    pub(crate) fn new(code: i32, remark: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { code, remark: remark.into() }
    }

    pub(crate) fn unsupported(code: i32) -> Refusal {
        Refusal::new(response::REQUEST_CODE_NOT_SUPPORTED, format!(" request type {code} not supported"))
    }

    /// As a broker says it.
    pub(crate) fn no_topic(topic: &str) -> Refusal {
        let remark = format!("topic[{topic}] not exist, apply first please!\n{FAQ}");
        Refusal::new(response::TOPIC_NOT_EXIST, remark)
    }

    /// As a name server says it.
    pub(crate) fn no_route(topic: &str) -> Refusal {
        let remark = format!("No topic route info in name server for the topic: {topic}\n{FAQ}");
        Refusal::new(response::TOPIC_NOT_EXIST, remark)
    }

    pub(crate) fn no_queue(topic: &str, index: i32, queues: usize) -> Refusal {
        let remark =
            format!("queueId[{index}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{queues}]");
        Refusal::new(response::INVALID_PARAMETER, remark)
    }

    pub(crate) fn busy() -> Refusal {
        Refusal::new(response::SYSTEM_BUSY, "[OVERLOAD] too much work is waiting, try again later")
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Refusal {
        Refusal::new(response::SYSTEM_ERROR, error.to_string())
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Refusal {
        Refusal::new(response::MESSAGE_ILLEGAL, error.to_string())
    }
}
