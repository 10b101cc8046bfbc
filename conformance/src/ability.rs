//! What a message may hold that not every SDK can send or show, with the reason; scenarios leave it out and say so.
//!
//! Only what the SDKs themselves cannot do. What a broker should do is the scenarios' matter.

use crate::sdk::{Protocol, Sdk};

/// A part of a message that some SDK has no way for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    EmptyBody,
    /// Bytes that are no text, zero bytes among them.
    BinaryBody,
    Properties,
    /// Everything but the body: tag, key, properties, attempts.
    Envelope,
}

impl Sdk {
    /// Why the SDK cannot send this, if it cannot.
    pub fn cannot_send(self, part: Part) -> Option<&'static str> {
        match (part, self) {
            (Part::EmptyBody, Sdk::JavaRocketmq | Sdk::JavaRocketmq4) => {
                Some("the Java client refuses an empty body (code 13, before it sends)")
            }
            (Part::EmptyBody, Sdk::RocketmqSpring) => {
                Some("rocketmq-spring makes no message of an empty body and fails with a null pointer")
            }
            (Part::EmptyBody, Sdk::RustRocketmq) => {
                Some("the Rust client refuses an empty body as an invalid argument")
            }
            (Part::EmptyBody, Sdk::PythonRocketmq) => {
                Some("the C++ client 1.x refuses an empty body (code -1, before it sends)")
            }
            (Part::EmptyBody, Sdk::RocketmqNodejs) => {
                Some("rocketmq-nodejs answers EMPTY_BODY and sends nothing")
            }
            (Part::Properties, Sdk::RocketmqNodejs) => Some("rocketmq-nodejs sends and shows no properties"),
            _ => None,
        }
    }

    /// Why the SDK cannot show this of a message that arrived, if it cannot.
    pub fn cannot_show(self, part: Part) -> Option<&'static str> {
        match (part, self) {
            (Part::EmptyBody, Sdk::JavaRocketmq4) => Some(
                "the Java client 4.9.8 drops all that it pulled together with an empty body (a null pointer)",
            ),
            (Part::BinaryBody, Sdk::PythonRocketmq) => {
                Some("the Python package shows a body as a C string, up to its first zero byte")
            }
            (Part::BinaryBody, Sdk::RocketmqNodejs) => {
                Some("rocketmq-nodejs shows a body as UTF-8 text only")
            }
            (Part::Properties, Sdk::RocketmqNodejs) => Some("rocketmq-nodejs sends and shows no properties"),
            (Part::Envelope, Sdk::AmqpTools) => Some("amqp-tools write out bodies and nothing else"),
            _ => None,
        }
    }

    /// Properties that the SDK adds to each message without being asked; they arrive as the user's own.
    pub fn added_properties(self) -> &'static [&'static str] {
        match self {
            Sdk::RocketmqSpring => &["id", "timestamp", "contentType"],
            Sdk::Celery => &["content-type", "content-encoding"],
            Sdk::SpringAmqp => &["content-type"],
            _ => &[],
        }
    }

    /// Whether a consumer balances as soon as the broker says that members came or went; the others do at their next turn.
    pub fn heeds_notices(self) -> bool {
        self != Sdk::AliOns
    }

    /// Why a consumer cannot leave a message unsettled and go on, if it cannot.
    pub fn cannot_hold(self) -> Option<&'static str> {
        match self {
            Sdk::AmqpTools => Some("amqp-consume settles by the exit code of what it runs for a message"),
            _ if self.protocol() == Protocol::Remoting => {
                Some("a push consumer settles by what its listener returns")
            }
            _ => None,
        }
    }

    /// Why it does not connect again by itself when the connection was lost, if it does not.
    pub fn cannot_reconnect(self) -> Option<&'static str> {
        match self {
            Sdk::Pika => Some("pika leaves reconnecting to the program"),
            Sdk::AmqpTools => Some("amqp-consume ends with its connection"),
            _ => None,
        }
    }

    /// Whether a program written with it names the queue of a message that must keep its place; the others give a key, which
    /// their SDK makes a queue of.
    pub fn names_queues(self) -> bool {
        self.protocol() != Protocol::Remoting
    }
}
