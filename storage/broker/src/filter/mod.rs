//! What a consumer wants of a topic: tags, and expressions over properties. Compiled once, asked for every entry.
//!
//! The hash in the index entry is asked first, since it needs no stored bytes; what it lets through is decided by the
//! message. Knows no queue and reads nothing: whoever reads by offset asks.

mod error;
mod fields;
mod sql;
mod tag;

use std::fmt;
use std::sync::Arc;

use mailrail_message::StoredMessage;

pub use self::error::{FilterError, Misuse};
use self::fields::{Fields, JmsFields};
pub use self::sql::Dialect;
use self::sql::{Expression, Value};
use self::tag::Tags;

/// A compiled subscription: a message passes when its tag and its properties do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// `None` lets every tag through, and messages without one.
    tags: Option<Arc<Tags>>,
    expression: Option<Arc<Expression>>,
}

impl Filter {
    /// Lets everything through.
    pub fn all() -> Filter {
        Filter::default()
    }

    /// Tags separated by `||`; `*` and nothing let everything through.
    pub fn tags(text: &str) -> Result<Filter, FilterError> {
        Ok(Filter { tags: Tags::parse(text)?.map(Arc::new), expression: None })
    }

    /// This filter, and an expression that must be true as well.
    pub fn and_sql(self, text: &str, dialect: Dialect) -> Result<Filter, FilterError> {
        let expression = Some(Arc::new(Expression::parse(text, dialect)?));
        Ok(Filter { expression, ..self })
    }

    pub fn is_all(&self) -> bool {
        self.tags.is_none() && self.expression.is_none()
    }

    /// False when the tag hash of an index entry says that its message does not pass.
    pub(crate) fn may_pass(&self, tag_hash: i32) -> bool {
        self.tags.as_ref().is_none_or(|tags| tags.has_hash(tag_hash))
    }

    /// Looks at a stored message. One that cannot be read passes: whoever opens it reports it.
    pub(crate) fn passes(&self, message: &[u8]) -> bool {
        if self.is_all() {
            return true;
        }
        let Ok(stored) = StoredMessage::parse(message) else { return true };
        self.tags.as_ref().is_none_or(|tags| tags.has(&stored))
            && self.expression.as_ref().is_none_or(|expression| match expression.dialect() {
                Dialect::Rocketmq => expression.is_true_of(&stored.properties()),
                Dialect::Jms => expression.is_true_of(&JmsFields(stored)),
            })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.tags, &self.expression) {
            (None, None) => f.write_str("*"),
            (Some(tags), None) => tags.fmt(f),
            (None, Some(expression)) => expression.fmt(f),
            (Some(tags), Some(expression)) => write!(f, "{tags} and {expression}"),
        }
    }
}

#[cfg(test)]
mod tests;
