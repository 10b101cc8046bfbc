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
    "x-delayed-retry-max",
    "x-delayed-retry-min",
    "x-delayed-retry-type",
    "x-max-age",
];
/// Integer arguments, with the least that each may be.
const QUEUE_INTEGERS: &[(&str, i64)] =
    &[("x-message-ttl", 0), ("x-expires", 1), ("x-max-length", 0), ("x-max-length-bytes", 0)];
const PRIORITY_MAX: &str = "x-max-priority";
const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
const DEAD_LETTER_KEY: &str = "x-dead-letter-routing-key";
const OVERFLOW: &str = "x-overflow";
const OVERFLOWS: &[&str] = &["drop-head", "reject-publish", "reject-publish-dlx"];
const ALTERNATE_EXCHANGE: &str = "alternate-exchange";
/// Consumer arguments that are not there yet.
const CONSUME_REFUSED: &[&str] = &["x-consumer-timeout", "x-stream-filter", "x-stream-offset"];
const SINGLE_ACTIVE: &str = "x-single-active-consumer";
/// As RabbitMQ's plugin names it: messages with the same `x-deduplication-header` are stored once.
const DEDUPLICATION: &str = "x-message-deduplication";
/// Zero without it.
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
    for (name, least) in QUEUE_INTEGERS {
        if let Some(value) = method.arguments.get(name) {
            arguments.insert((*name).to_owned(), integer(name, value, *least)?.to_string());
        }
    }
    if let Some(value) = method.arguments.get(PRIORITY_MAX) {
        arguments.insert(PRIORITY_MAX.to_owned(), priority_max(value)?.to_string());
    }
    for name in [DEAD_LETTER_EXCHANGE, DEAD_LETTER_KEY, OVERFLOW] {
        if let Some(value) = method.arguments.get(name) {
            arguments.insert(name.to_owned(), text(name, value)?.to_owned());
        }
    }
    if let Some(value) = method.arguments.get(SINGLE_ACTIVE) {
        let Value::Bool(value) = value else { return Err(invalid(SINGLE_ACTIVE, "not a boolean")) };
        arguments.insert(SINGLE_ACTIVE.to_owned(), value.to_string());
    }
    match method.arguments.get(DEDUPLICATION) {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => drop(arguments.insert(DEDUPLICATION.to_owned(), true.to_string())),
        Some(_) => return Err(invalid(DEDUPLICATION, "not a boolean")),
    }
    let single_active = arguments.get(SINGLE_ACTIVE).is_some_and(|value| value == "true");
    check_together(&arguments)?;
    let QueueDeclare { durable, exclusive, auto_delete, .. } = *method;
    Ok(QueueSettings { durable, exclusive, auto_delete, arguments, delivery_limit, single_active })
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

fn integer(name: &str, value: Value<'_>, least: i64) -> Result<i64, Fault> {
    let found = value.as_integer();
    let found = found.ok_or_else(|| invalid(name, "not an integer"))?;
    if found < least { Err(invalid(name, &format!("{found} is less than {least}"))) } else { Ok(found) }
}

fn priority_max(value: Value<'_>) -> Result<u8, Fault> {
    let found = integer(PRIORITY_MAX, value, 0)?;
    let too_much = || invalid(PRIORITY_MAX, &format!("{found} is over the limit of {}", u8::MAX));
    u8::try_from(found).map_err(|_| too_much())
}

fn text<'a>(name: &str, value: Value<'a>) -> Result<&'a str, Fault> {
    value.as_text().ok_or_else(|| invalid(name, "not a text"))
}

/// What one argument says of another.
fn check_together(arguments: &BTreeMap<String, String>) -> Result<(), Fault> {
    if arguments.contains_key(DEAD_LETTER_KEY) && !arguments.contains_key(DEAD_LETTER_EXCHANGE) {
        return Err(invalid(DEAD_LETTER_KEY, &format!("there is no {DEAD_LETTER_EXCHANGE}")));
    }
    if arguments.contains_key(PRIORITY_MAX) && arguments.contains_key(QUEUE_TYPE) {
        return Err(invalid(PRIORITY_MAX, "a quorum queue has none"));
    }
    match arguments.get(OVERFLOW).filter(|overflow| !OVERFLOWS.contains(&overflow.as_str())) {
        Some(other) => Err(invalid(OVERFLOW, &format!("'{other}' is none of {}", OVERFLOWS.join(", ")))),
        None => Ok(()),
    }
}

fn invalid(name: &str, why: &str) -> Fault {
    precondition(QueueDeclare::ID, format!("invalid arg '{name}': {why}"))
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

/// Checks the arguments of a consumer; its priority.
pub(super) fn consumer_priority(arguments: Table<'_>) -> Result<i64, Fault> {
    let id = BasicConsume::ID;
    refuse(id, arguments, CONSUME_REFUSED)?;
    let Some(value) = arguments.get(CONSUMER_PRIORITY) else { return Ok(0) };
    let not_one = || precondition(id, format!("invalid arg '{CONSUMER_PRIORITY}': not an integer"));
    value.as_integer().ok_or_else(not_one)
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
            ("x-max-age", Value::Text(b"1h"), "q", 540, "x-max-age"),
            (PRIORITY_MAX, Value::I32(256), "q", 406, "256 is over the limit of 255"),
            (PRIORITY_MAX, Value::I32(-1), "q", 406, "-1 is less than 0"),
            (PRIORITY_MAX, Value::Text(b"5"), "q", 406, "not an integer"),
            (SINGLE_ACTIVE, Value::I32(1), "q", 406, "not a boolean"),
            (SINGLE_ACTIVE, Value::Text(b"true"), "q", 406, "not a boolean"),
            (DEDUPLICATION, Value::Text(b"true"), "q", 406, "not a boolean"),
            ("x-message-ttl", Value::I32(-5), "q", 406, "-5 is less than 0"),
            ("x-message-ttl", Value::Text(b"5"), "q", 406, "not an integer"),
            ("x-expires", Value::I32(0), "q", 406, "0 is less than 1"),
            ("x-overflow", Value::Text(b"drop-tail"), "q", 406, "'drop-tail' is none of drop-head"),
            ("x-dead-letter-exchange", Value::I32(1), "q", 406, "not a text"),
            ("x-dead-letter-routing-key", Value::Text(b"k"), "q", 406, "there is no x-dead-letter-exchange"),
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
    fn priorities_go_up_to_255_and_a_quorum_queue_has_none() {
        let mut arguments = TableBuffer::default();
        arguments.put(PRIORITY_MAX, Value::I32(255));
        let settings = declared("q", true, &arguments).unwrap();
        assert_eq!(settings.arguments.get(PRIORITY_MAX).map(String::as_str), Some("255"));
        arguments.put_text(QUEUE_TYPE, "quorum");
        let (code, text) = declared("q", true, &arguments).unwrap_err();
        assert!(code == 406 && text.contains(PRIORITY_MAX), "{code} {text}");
    }

    #[test]
    fn a_consumer_has_any_integer_as_its_priority() {
        let cases = [
            (Value::I32(0), Ok(0)),
            (Value::I32(-5), Ok(-5)),
            (Value::I64(1 << 40), Ok(1 << 40)),
            (Value::Void, Err(406)),
            (Value::Bool(true), Err(406)),
        ];
        for (value, expected) in cases {
            let mut arguments = TableBuffer::default();
            arguments.put(CONSUMER_PRIORITY, value);
            let found = consumer_priority(arguments.as_table()).map_err(|fault| fault.code.number());
            assert_eq!(found, expected, "{value:?}");
        }
    }

    #[test]
    fn deduplication_is_a_boolean_of_which_only_true_makes_a_difference() {
        for (value, expected) in [(false, None), (true, Some("true"))] {
            let mut arguments = TableBuffer::default();
            arguments.put(DEDUPLICATION, Value::Bool(value));
            let settings = declared("q", true, &arguments).unwrap();
            assert_eq!(settings.arguments.get(DEDUPLICATION).map(String::as_str), expected);
        }
    }

    #[test]
    fn one_active_consumer_is_a_boolean_that_makes_a_difference() {
        for (value, expected) in [(None, false), (Some(false), false), (Some(true), true)] {
            let mut arguments = TableBuffer::default();
            if let Some(value) = value {
                arguments.put(SINGLE_ACTIVE, Value::Bool(value));
            }
            let settings = declared("q", true, &arguments).unwrap();
            assert_eq!(settings.single_active, expected);
            assert_eq!(settings.arguments.get(SINGLE_ACTIVE).cloned(), value.map(|value| value.to_string()));
        }
    }
}
