//! Asking an expression about a message. Allocates nothing; recursion is bounded by `FILTER_DEPTH_MAX`.

use super::compare::{compare, double, long, not};
use super::*;
use crate::filter::Fields;

type Evaluated<'a> = Result<Value<'a>, Unfit>;

impl Expression {
    /// Only true is true: unknown is not, and neither is a failed conversion anywhere on the way.
    pub fn is_true_of(&self, fields: &impl Fields) -> bool {
        let root = self.nodes.len().wrapping_sub(1);
        self.value(root, fields) == Ok(Value::Bool(true))
    }

    fn value<'a>(&'a self, id: NodeId, fields: &'a impl Fields) -> Evaluated<'a> {
        let Some(node) = self.node(id) else { return Ok(Value::Null) };
        match node {
            Node::Constant(constant) => Ok(constant.value()),
            Node::Property(name) => Ok(fields.field(name)),
            Node::Negate(value) => Ok(negated(self.value(*value, fields)?)),
            Node::Arithmetic { operator, left, right } => {
                Ok(operator.of(self.value(*left, fields)?, self.value(*right, fields)?))
            }
            Node::Truth(value) => Ok(match self.value(*value, fields)? {
                Value::Null => Value::Null,
                value => Value::Bool(value == Value::Bool(true)),
            }),
            Node::Not(value) => Ok(not(self.value(*value, fields)?)),
            Node::All(parts) => self.decide(parts, false, fields),
            Node::Any(parts) => self.decide(parts, true, fields),
            Node::Compare { comparison, left, right } => {
                let (left, right) = (self.value(*left, fields)?, self.value(*right, fields)?);
                compare(self.dialect, *comparison, left, right)
            }
            Node::Between { value, low, high, is_negated } => {
                self.between(*value, [*low, *high], *is_negated, fields)
            }
            Node::IsNull { value, is_negated } => {
                Ok(Value::Bool((self.value(*value, fields)? == Value::Null) != *is_negated))
            }
            Node::In { value, list, is_negated } => Ok(match self.value(*value, fields)? {
                Value::Text(text) => Value::Bool(list.iter().any(|one| **one == *text) != *is_negated),
                _ => Value::Null,
            }),
            Node::Part { part, value, search, is_negated } => {
                Ok(Value::Bool(match self.value(*value, fields)? {
                    Value::Text(text) if !search.is_empty() => part.is_in(text, search) != *is_negated,
                    _ => false,
                }))
            }
            Node::Like { value, pattern, is_negated } => Ok(match self.value(*value, fields)? {
                Value::Text(text) => Value::Bool(pattern.fits(text) != *is_negated),
                _ => Value::Null,
            }),
        }
    }

    /// AND and OR: the first part that decides does, and those behind it are not looked at.
    fn decide<'a>(&'a self, parts: &[NodeId], decisive: bool, fields: &'a impl Fields) -> Evaluated<'a> {
        let mut is_known = true;
        for part in parts {
            match self.value(*part, fields)? {
                Value::Bool(is_true) if is_true == decisive => return Ok(Value::Bool(decisive)),
                Value::Bool(_) => {}
                _ => is_known = false,
            }
        }
        Ok(if is_known { Value::Bool(!decisive) } else { Value::Null })
    }

    /// Two comparisons under AND, or the opposite ones under OR.
    fn between<'a>(
        &'a self,
        value: NodeId,
        bounds: [NodeId; 2],
        is_negated: bool,
        fields: &'a impl Fields,
    ) -> Evaluated<'a> {
        let value = self.value(value, fields)?;
        let comparisons = if is_negated {
            [Comparison::Less, Comparison::Greater]
        } else {
            [Comparison::GreaterOrEqual, Comparison::LessOrEqual]
        };
        let mut is_known = true;
        for (bound, comparison) in bounds.into_iter().zip(comparisons) {
            match compare(self.dialect, comparison, value, self.value(bound, fields)?)? {
                Value::Bool(is_true) if is_true == is_negated => return Ok(Value::Bool(is_negated)),
                Value::Bool(_) => {}
                _ => is_known = false,
            }
        }
        Ok(if is_known { Value::Bool(!is_negated) } else { Value::Null })
    }
}

/// What is no number has no opposite.
fn negated<'a>(value: Value<'_>) -> Value<'a> {
    match value {
        Value::Int(number) => Value::Int(number.wrapping_neg()),
        Value::Long(number) => Value::Long(number.wrapping_neg()),
        Value::Double(number) => Value::Double(-number),
        _ => Value::Null,
    }
}

impl Operator {
    /// Whole numbers stay whole and wrap around, as in Java; what has no result is unknown.
    fn of<'a>(self, left: Value<'_>, right: Value<'_>) -> Value<'a> {
        if let (Some(left), Some(right)) = (long(left), long(right)) {
            return match self {
                Operator::Add => Value::Long(left.wrapping_add(right)),
                Operator::Subtract => Value::Long(left.wrapping_sub(right)),
                Operator::Multiply => Value::Long(left.wrapping_mul(right)),
                Operator::Divide if right == 0 => Value::Null,
                Operator::Divide => Value::Long(left.wrapping_div(right)),
            };
        }
        let (Some(left), Some(right)) = (double(left), double(right)) else { return Value::Null };
        Value::Double(match self {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::Divide => left / right,
        })
    }
}

impl Part {
    fn is_in(self, text: &str, search: &str) -> bool {
        match self {
            Part::Contains => text.contains(search),
            Part::StartsWith => text.starts_with(search),
            Part::EndsWith => text.ends_with(search),
        }
    }
}
