//! Comparing two values, as each dialect has it.

use std::cmp::Ordering;

use super::value::*;
use super::{Comparison, Dialect};

/// True, false, or [`Value::Null`] for unknown.
pub(super) fn compare<'a>(
    dialect: Dialect,
    comparison: Comparison,
    left: Value<'_>,
    right: Value<'_>,
) -> Result<Value<'a>, Unfit> {
    match (dialect, comparison) {
        (Dialect::Jms, _) => Ok(jms(comparison, left, right)),
        (Dialect::Rocketmq, Comparison::Equal) => equal(left, right),
        (Dialect::Rocketmq, Comparison::NotEqual) => Ok(not(equal(left, right)?)),
        (Dialect::Rocketmq, _) => ordered(comparison, left, right),
    }
}

/// What is not boolean is unknown.
pub(super) fn not<'a>(value: Value<'_>) -> Value<'a> {
    match value {
        Value::Bool(is_true) => Value::Bool(!is_true),
        _ => Value::Null,
    }
}

/// A missing left side is unknown; a missing right side differs from all that is there.
fn equal<'a>(left: Value<'_>, right: Value<'_>) -> Result<Value<'a>, Unfit> {
    match (left, right) {
        (Value::Null, Value::Null) => Ok(Value::Bool(true)),
        (Value::Null, _) => Ok(Value::Null),
        (_, Value::Null) => Ok(Value::Bool(false)),
        (Value::Text(left), Value::Text(right)) => Ok(Value::Bool(left == right)),
        (left, right) => Ok(Value::Bool(converted(left, right)? == Some(Ordering::Equal))),
    }
}

fn ordered<'a>(comparison: Comparison, left: Value<'_>, right: Value<'_>) -> Result<Value<'a>, Unfit> {
    let ordering = match (left, right) {
        (Value::Null, _) | (_, Value::Null) => return Ok(Value::Null),
        (Value::Text(left), Value::Text(right)) => Some(doubles(to_double(left)?, to_double(right)?)),
        (left, right) => converted(left, right)?,
    };
    Ok(Value::Bool(ordering.is_some_and(|ordering| comparison.holds(ordering))))
}

/// Two values, of which at most one is text, as the type of the other; `None` for types that have nothing in common.
fn converted(left: Value<'_>, right: Value<'_>) -> Result<Option<Ordering>, Unfit> {
    let ordering = match (left, right) {
        // RocketMQ fails here rather than reading the text.
        (Value::Bool(_), Value::Text(_)) => return Err(Unfit),
        (Value::Text(left), Value::Bool(right)) => to_bool(left).cmp(&right),
        (Value::Text(left), Value::Int(right)) => to_int(left)?.cmp(&right),
        (Value::Int(left), Value::Text(right)) => left.cmp(&to_int(right)?),
        (Value::Text(left), Value::Long(right)) => to_long(left)?.cmp(&right),
        (Value::Long(left), Value::Text(right)) => left.cmp(&to_long(right)?),
        (Value::Text(left), Value::Double(right)) => doubles(to_double(left)?, right),
        (Value::Double(left), Value::Text(right)) => doubles(left, to_double(right)?),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(&right),
        (left, right) => return Ok(numbers(left, right)),
    };
    Ok(Some(ordering))
}

/// The order of two numbers, whatever their types; `None` when one is none.
pub(super) fn numbers(left: Value<'_>, right: Value<'_>) -> Option<Ordering> {
    match (long(left), long(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => Some(doubles(double(left)?, double(right)?)),
    }
}

/// Java's total order: NaN is above all, and minus zero below zero. No NaN here has a sign.
fn doubles(left: f64, right: f64) -> Ordering {
    left.total_cmp(&right)
}

pub(super) fn long(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Int(number) => Some(number.into()),
        Value::Long(number) => Some(number),
        _ => None,
    }
}

pub(super) fn double(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Double(number) => Some(number),
        value => long(value).map(long_to_double),
    }
}

/// Whatever is missing makes it unknown; values of different types compare as false, and text has no order.
fn jms<'a>(comparison: Comparison, left: Value<'_>, right: Value<'_>) -> Value<'a> {
    let is_equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    let ordering = match (left, right) {
        (Value::Null, _) | (_, Value::Null) => return Value::Null,
        (Value::Text(left), Value::Text(right)) if is_equality => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) if is_equality => Some(left.cmp(&right)),
        (left, right) => numeric(left, right),
    };
    Value::Bool(ordering.is_some_and(|ordering| comparison.holds(ordering)))
}

/// The order of two numbers as arithmetic has it: minus zero is zero, and NaN has no place.
fn numeric(left: Value<'_>, right: Value<'_>) -> Option<Ordering> {
    match (long(left), long(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => double(left)?.partial_cmp(&double(right)?),
    }
}

impl Comparison {
    pub fn holds(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::NotEqual => ordering.is_ne(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}
