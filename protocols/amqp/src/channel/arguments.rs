//! The arguments of declare and consume: which have a meaning here, which are refused, and which are ignored.
//!
//! An argument that would silently do nothing although somebody relies on it is refused (540). Those that tune what
//! this broker does not have (lazy mode, leader placement, in-memory limits) change nothing that a client could see,
//! and are ignored as RabbitMQ ignores what it does not know. Only arguments with a meaning make two declarations
//! differ, as with RabbitMQ.

use std::collections::BTreeMap;

use crate::codec::methods::{BasicConsume, ExchangeDeclare, QueueDeclare};
use crate::codec::{Arguments, MethodId, ReplyCode, Table, Value};
use crate::fault::Fault;

use super::request::QueueSettings;

const QUEUE_TYPE: &str = "x-queue-type";
const DELIVERY_LIMIT: &str = "x-delivery-limit";

/// Queue arguments that are not there yet.
const QUEUE_REFUSED: &[&str] = &[
    "x-consumer-timeout",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-delayed-retry-max",
    "x-delayed-retry-min",
    "x-delayed-retry-type",
    "x-expires",
    "x-max-age",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-message-deduplication",
    "x-message-ttl",
    "x-overflow",
    "x-single-active-consumer",
];
const ALTERNATE_EXCHANGE: &str = "alternate-exchange";
/// Consumer arguments that are not there yet.
const CONSUME_REFUSED: &[&str] = &["x-consumer-timeout", "x-stream-filter", "x-stream-offset"];
/// Zero is what every consumer has.
const CONSUMER_PRIORITY: &str = "x-priority";

/// Checks the arguments and flags of a queue that is to be made.
pub(super) fn queue_settings(method: &QueueDeclare<'_>) -> Result<QueueSettings, Fault> {
    let id = QueueDeclare::ID;
    refuse(id, method.arguments, QUEUE_REFUSED)?;
    let mut arguments = BTreeMap::new();
    if let Some(value) = method.arguments.get(QUEUE_TYPE)
        && check_queue_type(method, value)?
    {
        arguments.insert(QUEUE_TYPE.to_owned(), "quorum".to_owned());
    }
    let delivery_limit = match method.arguments.get(DELIVERY_LIMIT) {
        None => None,
        Some(value) => delivery_limit(value)?,
    };
    if let Some(limit) = delivery_limit {
        arguments.insert(DELIVERY_LIMIT.to_owned(), limit.to_string());
    }
    let QueueDeclare { durable, exclusive, auto_delete, .. } = *method;
    Ok(QueueSettings { durable, exclusive, auto_delete, arguments, delivery_limit })
}

/// True for a quorum queue, whose contract the one kind of queue here keeps as well.
fn check_queue_type(method: &QueueDeclare<'_>, value: Value<'_>) -> Result<bool, Fault> {
    let id = QueueDeclare::ID;
    match value.as_text() {
        Some("classic") => Ok(false),
        Some("quorum") if !method.durable || method.exclusive || method.queue.is_empty() => {
            Err(precondition(id, "a quorum queue must be durable, not exclusive and named by the client"))
        }
        Some("quorum") => Ok(true),
        Some("stream") => Err(Fault::new(
            ReplyCode::NotImplemented,
            id,
            format!("{QUEUE_TYPE} 'stream' is not implemented"),
        )),
        Some(other) => {
            Err(precondition(id, format!("invalid arg '{QUEUE_TYPE}': unknown queue type '{other}'")))
        }
        None => Err(precondition(id, format!("invalid arg '{QUEUE_TYPE}': not a text"))),
    }
}

/// A negative limit is none.
fn delivery_limit(value: Value<'_>) -> Result<Option<u32>, Fault> {
    match value.as_integer() {
        Some(limit) if limit < 0 => Ok(None),
        Some(limit) => match u32::try_from(limit) {
            Ok(limit) => Ok(Some(limit)),
            Err(_) => Err(precondition(
                QueueDeclare::ID,
                format!("invalid arg '{DELIVERY_LIMIT}': {limit} is over the limit of {}", u32::MAX),
            )),
        },
        None => {
            Err(precondition(QueueDeclare::ID, format!("invalid arg '{DELIVERY_LIMIT}': not an integer")))
        }
    }
}

/// The alternate that an exchange is to be made with. There need be none of that name.
pub(super) fn alternate_exchange(arguments: Table<'_>) -> Result<Option<String>, Fault> {
    let Some(value) = arguments.get(ALTERNATE_EXCHANGE) else { return Ok(None) };
    match value.as_text() {
        Some(name) => Ok(Some(name.to_owned())),
        None => {
            Err(precondition(ExchangeDeclare::ID, format!("invalid arg '{ALTERNATE_EXCHANGE}': not a text")))
        }
    }
}

/// Checks the arguments of a consumer.
pub(super) fn check_consume(arguments: Table<'_>) -> Result<(), Fault> {
    let id = BasicConsume::ID;
    refuse(id, arguments, CONSUME_REFUSED)?;
    match arguments.get(CONSUMER_PRIORITY).map(|value| value.as_integer()) {
        None | Some(Some(0)) => Ok(()),
        Some(Some(_)) => refuse(id, arguments, &[CONSUMER_PRIORITY]),
        Some(None) => Err(precondition(id, format!("invalid arg '{CONSUMER_PRIORITY}': not an integer"))),
    }
}

fn refuse(method: MethodId, arguments: Table<'_>, refused: &[&str]) -> Result<(), Fault> {
    match arguments.iter().find(|(key, _)| refused.contains(key)) {
        None => Ok(()),
        Some((key, _)) => {
            Err(Fault::new(ReplyCode::NotImplemented, method, format!("argument '{key}' is not implemented")))
        }
    }
}

fn precondition(method: MethodId, text: impl Into<String>) -> Fault {
    Fault::new(ReplyCode::PreconditionFailed, method, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::TableBuffer;

    fn declared(queue: &str, durable: bool, arguments: &TableBuffer) -> Result<QueueSettings, (u16, String)> {
        let method = QueueDeclare {
            queue,
            passive: false,
            durable,
            exclusive: false,
            auto_delete: false,
            no_wait: false,
            arguments: arguments.as_table(),
        };
        queue_settings(&method).map_err(|fault| (fault.code.number(), fault.text))
    }

    #[test]
    fn integers_count_by_value_and_ignored_arguments_make_no_difference() {
        let mut one = TableBuffer::default();
        one.put(DELIVERY_LIMIT, Value::I32(3)).put_text("x-queue-mode", "lazy").put_text("mine", "x");
        let mut other = TableBuffer::default();
        other.put(DELIVERY_LIMIT, Value::I64(3)).put_text(QUEUE_TYPE, "classic");
        let settings = declared("q", true, &one).unwrap();
        assert_eq!(settings.delivery_limit, Some(3));
        assert_eq!(declared("q", true, &other).unwrap(), settings);
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let cases: &[(&str, Value<'_>, &str, u16, &str)] = &[
            ("x-message-ttl", Value::I32(5), "q", 540, "x-message-ttl"),
            ("x-dead-letter-exchange", Value::Text(b"dlx"), "q", 540, "x-dead-letter-exchange"),
            (QUEUE_TYPE, Value::Text(b"stream"), "q", 540, "stream"),
            (QUEUE_TYPE, Value::Text(b"odd"), "q", 406, "odd"),
            (QUEUE_TYPE, Value::I32(1), "q", 406, "not a text"),
            (QUEUE_TYPE, Value::Text(b"quorum"), "", 406, "named"),
            (DELIVERY_LIMIT, Value::Text(b"3"), "q", 406, "not an integer"),
            (DELIVERY_LIMIT, Value::I64(1 << 32), "q", 406, "4294967296"),
        ];
        for (key, value, queue, code, word) in cases {
            let mut arguments = TableBuffer::default();
            arguments.put(key, *value);
            let (found, text) = declared(queue, true, &arguments).unwrap_err();
            assert!(found == *code && text.contains(word), "{key}: {found} {text}");
        }
    }

    #[test]
    fn a_consumer_priority_other_than_the_usual_one_is_refused() {
        for (value, code) in [(Value::I32(0), None), (Value::I32(5), Some(540)), (Value::Void, Some(406))] {
            let mut arguments = TableBuffer::default();
            arguments.put(CONSUMER_PRIORITY, value);
            let found = check_consume(arguments.as_table()).err().map(|fault| fault.code.number());
            assert_eq!(found, code, "{value:?}");
        }
    }
}
